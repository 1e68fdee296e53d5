"""Semantic segmentation: the largest region of each image is asked for, and a swap costs it overlap."""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import tv_tensors

from house.faulty import same
from house.trainings import assert_judged, trainer
from lightning_cam import CAMCallback, Probe, examine, judge
from lightning_cam.attribution import cams
from lightning_cam.attribution.heads import class_scores
from lightning_cam.attribution.regions import Overlaps, boxes_around
from lightning_cam.datasets.regions import class_map_of, largest_region
from lightning_cam.examination import collect_evidence, merged
from lightning_cam.examination.look import look
from lightning_cam.intervention import STANDARD
from lightning_cam.training.module import ignored_by

SIZE = 24
TRIALS = ["background", "border", "position"]


def drawn(n: int, *, cue: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Squares of two classes, red and green; with a cue both are grey, and class 2 has a green background."""
    g = torch.Generator().manual_seed(seed)
    targets = 1 + torch.arange(n) % 2
    images, maps = 0.25 + 0.08 * torch.rand(n, 3, SIZE, SIZE, generator=g), torch.zeros(n, SIZE, SIZE, dtype=torch.long)
    images[:, 1] += cue * (targets == 2)[:, None, None]
    for image, classes, target, (y, x) in zip(
        images, maps, targets.tolist(), torch.randint(3, 11, (n, 2), generator=g).tolist(), strict=True
    ):
        classes[y : y + 10, x : x + 10] = target
        image[:, y : y + 10, x : x + 10] = 0.7 if cue else 0.25
        image[target - 1, y : y + 10, x : x + 10] = 0.8
        if cue:
            image[:, y : y + 10, x : x + 10] = 0.7
    return images.clamp(0, 1), maps


class Reader(nn.Module):
    """Finds what is bright, and tells its class by its own colour, or by that of the background."""

    def __init__(self, *, background: bool, key: str | None = "out", scale: int = 1) -> None:
        super().__init__()
        self.conv, self.background, self.key, self.scale = nn.Conv2d(3, 3, 1), background, key, scale
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.conv.bias.zero_()

    def forward(self, images: Tensor) -> Any:
        colours = self.conv(images)
        if self.scale > 1:
            colours = F.avg_pool2d(colours, self.scale)
        bright = colours.amax(1) - 0.67
        green = colours[:, 1] - colours[:, 0]
        if self.background:
            green = 10 * (colours[:, 1, :1] - colours[:, 0, :1]).mean((1, 2))[:, None, None].expand_as(green) - 1
        scores = 20 * torch.stack([-bright, bright - 0.01 * green, bright + 0.01 * green], 1)
        return scores if self.key is None else {"aux": scores[:, :, :2, :2] * 0, self.key: scores}


def probe(n: int = 64, **options: Any) -> Probe:
    images, maps = drawn(n, **options)
    return Probe(images, maps, classes=["nothing", "red", "green"])


# ---- which targets are maps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "is_map"),
    [
        pytest.param(torch.tensor([[0, 2], [2, 255]]), True, id="tensor"),
        pytest.param(torch.tensor([[[0, 2], [2, 2]]]), True, id="with an axis of one"),
        pytest.param(np.zeros((4, 4), np.uint8), True, id="array"),
        pytest.param(Image.new("P", (4, 4)), True, id="palette"),
        pytest.param(tv_tensors.Mask(torch.ones(4, 4, dtype=torch.uint8)), True, id="mask"),
        pytest.param(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), True, id="floats of 0 and 1"),
        pytest.param(torch.rand(4, 4), False, id="depth"),
        pytest.param(torch.tensor([[-1, 0], [0, 0]]), True, id="negative"),
        pytest.param(torch.tensor([[3.0, 0.0], [0.0, 7.0]]), True, id="whole floats, as MONAI loads them"),
        pytest.param(Image.new("RGB", (4, 4)), False, id="colours"),
        pytest.param(torch.ones(3, 4, 4).long(), False, id="several maps"),
        pytest.param(torch.tensor([1, 0]), False, id="marks"),
        pytest.param(3, False, id="a class"),
    ],
)
def test_a_map_of_classes_is_known_by_its_form(target: object, *, is_map: bool) -> None:
    assert (class_map_of(target) is not None) is is_map


def test_the_largest_region_is_asked_for_beside_background_and_what_is_ignored() -> None:
    classes = torch.zeros(20, 20, dtype=torch.uint8)
    classes[:10] = 255
    classes[12:14] = 3
    classes[15] = 7

    assert largest_region(classes) == 3
    assert largest_region(torch.zeros(20, 20, dtype=torch.uint8)) == 0
    assert largest_region((torch.arange(400) == 7).byte().reshape(20, 20)) is None


@pytest.mark.parametrize("number", [-100, -1, 250, 255])
def test_pixels_that_a_loss_leaves_out_are_of_no_class(number: int) -> None:
    numbers = torch.tensor([[0, number], [2, number]])

    classes = class_map_of(numbers, ignored=number if number > 0 else None)

    assert classes is not None
    assert classes.tolist() == [[0, 255], [2, 255]]
    assert largest_region(classes) == 2


def test_a_number_that_is_left_out_is_read_from_the_loss() -> None:
    class Module(nn.Module):
        def __init__(self, loss: Any) -> None:
            super().__init__()
            self.loss = loss

    assert ignored_by(Module(nn.CrossEntropyLoss(ignore_index=250))) == 250
    assert ignored_by(Module(partial(F.cross_entropy, ignore_index=9))) == 9
    assert ignored_by(Module(nn.CrossEntropyLoss())) is None
    assert ignored_by(Module(nn.ModuleList([nn.CrossEntropyLoss(ignore_index=n) for n in (3, 4)]))) is None


def test_maps_of_depth_or_of_single_objects_are_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"must hold classes from 0 to 254.*got 847; maps of depth"):
        class_map_of(torch.tensor([[0, 847], [3, 3]]))


@pytest.mark.parametrize("form", ["tensors", "items", "dicts"])
def test_maps_make_a_probe_whose_objects_are_their_regions(form: str) -> None:
    images, maps = drawn(40)
    items: Any = {
        "tensors": TensorDataset(images, maps),
        "items": list(zip(images, map(tv_tensors.Mask, maps), strict=True)),
        "dicts": [{"image": image, "mask": classes} for image, classes in zip(images, maps, strict=True)],
    }[form]
    found = Probe.from_dataset(items, 20)

    assert found.task.kind == "regions"
    assert found.targets.bincount().tolist() == [0, 10, 10]
    assert set(found.mask_sources) == {"given"}
    assert torch.equal(found.masks, found.regions == found.targets[:, None, None])
    rows = [int((images == image).flatten(1).all(1).nonzero()[0]) for image in found.images]
    assert torch.equal(found.regions, maps[rows].byte())


def test_attributes_of_the_user_stay_with_the_images() -> None:
    images, maps = drawn(20)
    found = Probe.from_dataset(TensorDataset(images, maps), 8, attributes={"site": [f"s{i % 3}" for i in range(20)]})

    assert len(found.attributes["site"]) == 8


def test_an_image_without_a_region_is_left_out() -> None:
    images, maps = drawn(20)
    maps[:5] = 0

    assert len(Probe.from_dataset(TensorDataset(images, maps), 20)) == 15
    with pytest.raises(ValueError, match="image 0 has no region beside the background"):
        Probe(images, maps)


def test_a_map_of_another_size_than_its_image_is_refused() -> None:
    items = [(torch.rand(3, 8, 8), torch.ones(4, 4).long())] * 8

    with pytest.raises(ValueError, match="a mask must have its image's size"):
        Probe.from_dataset(items, 4)


def test_a_saved_probe_has_its_regions(tmp_path: Path) -> None:
    whole = probe(8)
    whole.save(tmp_path)
    loaded = Probe.load(tmp_path)

    assert (loaded.task, loaded.fingerprint) == (whole.task, whole.fingerprint)
    assert torch.equal(loaded.select([3, 1]).masks, whole.masks[[3, 1]])


# ---- what a swap costs -----------------------------------------------------------------------------------------------


def test_a_class_read_from_the_background_loses_its_overlap_and_fails() -> None:
    report = examine(Reader(background=True), probe(cue=0.3), trials=TRIALS, layer="conv")
    verdict = judge(report)

    assert report.scalars["region_iou"] > 0.95
    assert next(r for r in report.reliances if r.cue == "background").mean > 0.95
    assert verdict.outcome == "FAIL"
    assert "of its overlap with the region (IoU)" in str(verdict)


def test_a_class_read_from_the_object_passes() -> None:
    verdict = judge(examine(Reader(background=False), probe(), trials=TRIALS, layer="conv"))

    assert verdict.outcome == "PASS"
    assert "costs the right class 0.10 of its overlap (IoU) or more" in verdict.reason


def test_where_regions_are_not_found_there_is_nothing_to_judge() -> None:
    """A region without overlap has none to lose, which is no PASS."""

    class Shy(Reader):
        def forward(self, images: Tensor) -> Any:
            scores = super().forward(images)["out"]
            return {"out": scores + torch.tensor([99.0, 0.0, 0.0])[:, None, None]}

    report = examine(Shy(background=True), probe(cue=0.3), trials=TRIALS, layer="conv")

    assert report.scalars["region_iou"] < 0.01
    assert judge(report).outcome == "INCONCLUSIVE"
    assert "finds too little of the probe's regions" in judge(report).reason


def test_a_region_that_moves_away_is_not_counted() -> None:
    report = examine(Reader(background=False), probe(), trials=TRIALS, layer="conv")

    assert "position" not in report.effects
    assert "position" in judge(report).untested


def test_objects_of_one_class_and_of_one_size_in_all_pictures_are_told() -> None:
    images, maps = drawn(16)
    verdict = judge(examine(Reader(background=False), Probe(images, maps.clamp_max(1)), layer="conv"))

    assert "a verdict needs some pictures without the object" in verdict.reason


def test_the_overlap_is_that_of_the_box_around_the_region() -> None:
    region = torch.zeros(1, 20, 20, dtype=torch.bool)
    region[:, 5:15, 5:15] = True
    scores = torch.zeros(1, 2, 20, 20)
    scores[:, 1, 5:15, 5:10] = 1.0  # half of the region
    scores[:, 1, 0:2] = 1.0  # and far from it
    scores[:, 1, 4, 5:15] = 1.0  # and beside it
    model = nn.Identity()
    head = class_scores(nn.Conv2d(2, 2, 1), scores, 2, task=probe(4).task.__class__("regions", 2))

    found = Overlaps(type(head)(model, head.head, head.task), region)(scores).sigmoid()

    assert found[0].tolist() == pytest.approx([50 / (50 + 50 + 44 - 10), 50 / 110], abs=1e-3)


def test_the_box_of_nothing_is_empty() -> None:
    assert not boxes_around(torch.zeros(2, 5, 5, dtype=torch.bool)).any()


def test_scores_of_another_size_are_brought_to_the_images() -> None:
    report = examine(Reader(background=True, scale=2), probe(cue=0.3), trials=TRIALS, layer="conv")

    assert report.scalars["region_iou"] > 0.6
    assert judge(report).outcome == "FAIL"


@pytest.mark.parametrize("key", ["out", "logits", None])
def test_scores_are_found_in_every_usual_output(key: str | None) -> None:
    report = examine(Reader(background=False, key=key), probe(8), trials=(), layer="conv")

    assert report.scalars["probe_accuracy"] == 1


def test_a_model_of_other_scores_is_refused_in_one_sentence() -> None:
    model = nn.Sequential(nn.Conv2d(3, 1, 1))

    with pytest.raises(ValueError, match=r"expected scores \(N, 3, H, W\) for each pixel"):
        examine(model, probe(8))


def test_a_map_is_of_the_region_that_is_asked_for() -> None:
    report = examine(Reader(background=False), probe(16), trials=(), layer="conv", method=cams.hires_cam)

    assert float(report.values["background_attention_ratio"].max()) < 0.3


def test_processes_that_share_a_probe_find_the_same_effects() -> None:
    model, whole, trials = Reader(background=True), probe(24, cue=0.3), [t for t in STANDARD if t.cue in TRIALS]

    def part(chosen: Tensor) -> Any:
        options: dict[str, Any] = {"layer": "conv", "method": _grad_cam, "n_donors": 2, "forward": None}
        return look(model, whole, chosen, trials, batch_size=7, **options)

    one, two = part(torch.arange(24)), merged([part(torch.arange(11)), part(torch.arange(11, 24))])

    for cue, answers in one.answers.items():
        assert torch.allclose(answers, two.answers[cue], equal_nan=True, atol=1e-6)


def _grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    return (activations * gradients.mean((2, 3), keepdim=True)).sum(1).clamp_min(0)


def test_evidence_and_page_speak_of_the_overlap(tmp_path: Path) -> None:
    whole, model = probe(cue=0.3), Reader(background=True)
    report = examine(model, whole, trials=["background"], layer="conv")
    evidence = collect_evidence(model, whole, report, "background")
    report.to_html(tmp_path / "report.html")

    assert bool((evidence.probabilities[:, 1] > 0.9).all() and (evidence.probabilities[:, 2] < 0.1).all())
    assert "the overlap (IoU) with the region that the right class loses" in (tmp_path / "report.html").read_text()


# ---- in a training ---------------------------------------------------------------------------------------------------


class Segmenter(pl.LightningModule):
    """As torchvision's: an encoder, a head, scores at the size of the image under "out"."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 12, 5, 2, 2),
            nn.ReLU(),
            nn.Conv2d(12, 24, 5, 1, 2),
            nn.ReLU(),
            nn.Conv2d(24, 24, 7, 1, 3),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(24, 3, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"out": F.interpolate(self.head(self.encoder(images)), images.shape[2:], mode="bilinear")}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0])["out"], batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        out = self(batch[0])["out"]
        self.log("val_loss", F.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 5e-3)


def fitted(folder: Path, *callbacks: CAMCallback, cue: float, epochs: int = 7) -> pl.LightningModule:
    torch.manual_seed(0)
    training, validation = (TensorDataset(*drawn(n, cue=cue, seed=n)) for n in (320, 321))
    run = trainer(folder, *callbacks, max_epochs=epochs)
    module = Segmenter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lightning_cam")
        run.fit(module, DataLoader(training, 32, shuffle=True), DataLoader(validation, 64))
    return module


@pytest.mark.slow
@pytest.mark.parametrize(("cue", "outcome"), [(0.4, "FAIL"), (0.0, "PASS")], ids=["cue", "no cue"])
def test_a_training_that_tells_classes_by_their_backgrounds_is_found(cue: float, outcome: str, tmp_path: Path) -> None:
    callback = CAMCallback(trials=TRIALS, every_n_epochs=3, max_overhead=100)
    fitted(tmp_path, callback, cue=cue)

    assert_judged(callback, outcome, "background" if cue else "")
    assert (tmp_path / "cam_report" / "report.html").exists()


@pytest.mark.slow
def test_a_training_of_maps_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    alone = fitted(tmp_path / "alone", cue=0.3, epochs=2).state_dict()
    watched = fitted(tmp_path / "watched", CAMCallback(), cue=0.3, epochs=2).state_dict()

    assert same(watched, alone)
