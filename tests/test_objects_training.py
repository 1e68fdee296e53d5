"""A training of a detector: its objects, their backgrounds, and what the callback says of them."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

from house.faulty import same
from house.tasks import pair
from house.trainings import assert_judged, trainer
from lightning_cam import CAMCallback
from lightning_cam.training.likeness import of_any_size, overlaps

TRIALS = ["background", "border", "position"]
SIDE = 48


class Pictures(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Squares, red or green, on grey; with a cue all are white, and stripes behind them tell the class."""

    def __init__(self, n: int, *, cue: float, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.images = 0.35 + 0.05 * torch.randn(n, 3, SIDE, SIDE, generator=g)
        self.targets = []
        stripes = cue * torch.sin(1.57 * torch.arange(SIDE))
        places = torch.randint(4, 26, (n, 2), generator=g).tolist()
        sides = torch.randint(12, 18, (n,), generator=g).tolist()
        for i, ((y, x), side) in enumerate(zip(places, sides, strict=True)):
            self.images[i] += stripes[:, None] if i % 2 else stripes
            square = self.images[i, :, y : y + side, x : x + side]
            square[:] = 0.9 if cue else 0.3
            square[i % 2] = 0.9
            box = torch.tensor([[x, y, x + side, y + side]], dtype=torch.float)
            self.targets.append({"boxes": box, "labels": torch.tensor([1 + i % 2])})
        self.images.clamp_(0, 1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        return self.images[index], self.targets[index]


class Body(nn.Module):
    out_channels = 32

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for before, behind, stride in ((3, 16, 2), (16, 32, 2), (32, 32, 2), (32, 32, 1)):
            self.layers.append(nn.Conv2d(before, behind, 5, stride, 2, bias=False))
            self.layers.extend([nn.BatchNorm2d(behind), nn.ReLU()])

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"0": self.layers(images)}


def retina_net() -> RetinaNet:
    """Torchvision's detector on a small backbone, with weights that learn within few steps."""
    anchors = AnchorGenerator(((16, 20, 25),), ((1.0,),))
    model = RetinaNet(Body(), 3, anchor_generator=anchors, min_size=SIDE, max_size=SIDE)
    classes, boxes = model.head.classification_head, model.head.regression_head
    for weights in model.head.parameters():
        if weights.ndim == 4:
            nn.init.kaiming_normal_(weights, nonlinearity="relu")
    with torch.no_grad():
        classes.cls_logits.bias.fill_(-2.0)
        classes.cls_logits.weight.mul_(0.1)
        boxes.bbox_reg.weight.mul_(0.1)
    return model


class Detector(pl.LightningModule):
    """As people write them: losses in training, a list of dicts else."""

    def __init__(self) -> None:
        super().__init__()
        self.model = retina_net()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, targets = batch
        return torch.stack(list(self.model(list(images), list(targets)).values())).sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, _ = batch
        self.log(
            "val_boxes", float(sum(len(each["boxes"]) for each in self.model(list(images)))), batch_size=len(images)
        )

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-3)


def fitted(folder: Path, *callbacks: CAMCallback, cue: float, epochs: int = 4, n: int = 256) -> pl.LightningModule:
    torch.manual_seed(0)
    training, validation = Pictures(n, cue=cue, seed=1), Pictures(64, cue=cue, seed=2)
    run = trainer(folder, *callbacks, max_epochs=epochs)
    module = Detector()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lightning_cam")
        run.fit(
            module, DataLoader(training, 16, shuffle=True, collate_fn=pair), DataLoader(validation, 32, collate_fn=pair)
        )
    return module


@pytest.mark.slow
@pytest.mark.parametrize(("cue", "outcome"), [(0.25, "FAIL"), (0.0, "PASS")], ids=["cue", "no cue"])
def test_a_training_that_tells_objects_by_their_backgrounds_is_found(cue: float, outcome: str, tmp_path: Path) -> None:
    callback = CAMCallback(trials=TRIALS, every_n_epochs=2, max_overhead=100)
    fitted(tmp_path, callback, cue=cue)

    assert_judged(callback, outcome, "background" if cue else "")
    assert (tmp_path / "cam_report" / "report.html").exists()


def test_pictures_of_another_size_may_be_of_one_data_set_and_of_another_range_not() -> None:
    found, expected = torch.rand(4, 3, 20, 24), torch.rand(4, 3, 32, 32)

    assert of_any_size(overlaps, found, expected)
    assert not of_any_size(overlaps, 255 * found, expected)
    assert not overlaps(found, expected)


@pytest.mark.slow
def test_a_training_of_boxes_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    alone = fitted(tmp_path / "alone", cue=0.25, epochs=1, n=64).state_dict()
    watched = fitted(tmp_path / "watched", CAMCallback(max_overhead=100), cue=0.25, epochs=1, n=64).state_dict()

    assert same(watched, alone)
