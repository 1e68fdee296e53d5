"""Self-supervised models: a picture is asked which class mean of the probe its embedding is most similar to."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from house import loops
from house.trainings import trainer
from house.twins import digest
from lightning_cam import CAMCallback, Probe, Similarity, examine, pixels
from lightning_cam.attribution.similarity import scoring


class Contrasting(pl.LightningModule):
    """SimCLR: two views of a picture are to be alike, and unlike those of others.

    With ``grounds`` views have the same ground, and the bar moves or turns; else the same bar has other grounds.
    """

    def __init__(self, *, grounds: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.head = loops.network()[:7], nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8))
        self.grounds = grounds

    def view(self, images: Tensor) -> Tensor:
        is_bar = images.amin(1, keepdim=True) > 0.85
        if self.grounds:  # the bar goes elsewhere, and may turn
            moved = is_bar.roll((int(torch.randint(9, ())), int(torch.randint(9, ()))), (2, 3))
            moved = moved.mT if torch.rand(()) < 0.5 else moved
            ground = images.where(~is_bar, images.amin((2, 3), keepdim=True) + 0.05)
            return ground.where(~moved, 0.9)
        grey = 0.15 + 0.4 * torch.rand(len(images), 1, 1, 1)
        return images.where(is_bar, grey + 0.1 * torch.rand_like(images))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        one, other = (F.normalize(self.head(self.encoder(self.view(batch[0])))) for _ in range(2))
        return F.cross_entropy(one @ other.T / 0.2, torch.arange(len(one)))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01)


def trained(folder: Path, *callbacks: CAMCallback, planted: bool) -> dict[str, Tensor]:
    run, module = trainer(folder, *callbacks, max_epochs=6), Contrasting(grounds=planted)
    images, targets, _ = loops.bars(256, 0, planted=planted)
    run.fit(module, DataLoader(TensorDataset(images, targets), 64, shuffle=True))
    return module.state_dict()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lightning_cam. FAIL", "ignore:.isinstance.treespec:FutureWarning")
@pytest.mark.parametrize(("planted", "outcome"), [(True, "FAIL"), (False, "PASS")])
def test_an_embedding_is_judged_by_what_makes_pictures_alike(planted: bool, outcome: str, tmp_path: Path) -> None:
    watch = CAMCallback(
        loops.probe(planted=planted),
        forward=Similarity(lambda module, images: module.encoder(images)),
        trials=("background",), max_overhead=1, sinks=[], verbose=False, on_error="raise",
    )  # fmt: skip
    weights = trained(tmp_path, watch, planted=planted)

    assert watch.history[-1].scalars["cam/probe_accuracy"] > 0.9
    assert watch.verdict is not None
    assert watch.verdict.outcome == outcome, str(watch.verdict)
    assert not planted or digest(weights) == digest(trained(tmp_path, planted=planted))


# ---- scores ----------------------------------------------------------------------------------------------------------


class Table(nn.Module):
    """The embedding of a picture is the row that its first pixel numbers."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows, self.body = nn.Parameter(rows), nn.Conv2d(1, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.rows[(images[:, 0, 0, 0] * len(self.rows)).long()] + 0 * self.body(images).mean((1, 2, 3))[:, None]


def numbers(n: int, classes: int = 2, targets: Tensor | None = None) -> Probe:
    images = ((torch.arange(n) + 0.5) / n)[:, None, None, None].expand(n, 1, 4, 4)
    return Probe(images, torch.arange(n) % classes if targets is None else targets)


def logits(rows: Tensor, probe: Probe) -> Tensor:
    model = Table(rows)
    score = scoring(model, probe, Similarity(), batch_size=7)
    assert score is not None
    return score(model, probe.inputs()).detach()


def right(rows: Tensor, probe: Probe) -> float:
    return float((logits(rows, probe).argmax(1) == probe.targets).float().mean())


def test_random_embeddings_of_many_numbers_are_right_by_chance() -> None:
    """Were images counted in their own means, all would be right."""
    rows = torch.randn(64, 512, generator=torch.Generator().manual_seed(0))

    assert right(rows, numbers(64)) < 0.7


def test_embeddings_that_lie_by_class_are_told_apart() -> None:
    rows = torch.eye(4)[torch.arange(64) % 4] + 5 + 0.1 * torch.randn(64, 4, generator=torch.Generator().manual_seed(0))

    assert right(rows, numbers(64, 4)) == 1
    assert logits(rows, numbers(64, 4)).softmax(1).amax(1).min() > 0.9


@pytest.mark.parametrize(
    ("rows", "probe"),
    [
        (torch.ones(8, 3), numbers(8)),
        (torch.zeros(8, 3), numbers(8)),
        (torch.rand(8, 3), numbers(8, targets=torch.zeros(8, dtype=torch.long))),
        (torch.rand(8, 3), numbers(8, targets=torch.tensor([0, 0, 0, 3, 3, 3, 3, 1]))),
        (torch.rand(1, 3), numbers(1)),
        (torch.rand(8, 1), numbers(8)),
    ],
    ids=["all alike", "all zero", "one class", "classes without images", "one image", "one number"],
)
def test_scores_are_finite(rows: Tensor, probe: Probe) -> None:
    assert logits(rows, probe).isfinite().all()


def test_an_embedding_that_is_nan_is_no_answer_and_spoils_no_other() -> None:
    rows = torch.eye(2)[torch.arange(8) % 2]
    rows[3] = torch.nan

    assert logits(rows, numbers(8)).isfinite().all(1).tolist() == [i != 3 for i in range(8)]
    assert not logits(rows * torch.nan, numbers(8)).isfinite().any()


@pytest.mark.parametrize("form", [lambda z: {"embedding": z}, lambda z: (z[:, :, None, None],), lambda z: z[:, None]])
def test_an_embedding_is_found_in_an_output_and_averaged(form: Any) -> None:
    rows, probe = torch.randn(8, 5), numbers(8)
    model = Table(rows)
    score = scoring(model, probe, Similarity(lambda net, images: form(net(images))), 8)

    assert score is not None
    torch.testing.assert_close(score(model, probe.inputs()).detach(), logits(rows, probe))


def test_what_cannot_be_compared_is_said() -> None:
    model, values = Table(torch.rand(8, 3)), Probe(numbers(8).images, torch.rand(8))
    with pytest.raises(ValueError, match="one class per image"):
        scoring(model, values, Similarity(), 8)
    with pytest.raises(ValueError, match=r"the output has 2; pass Similarity\(lambda"):
        scoring(model, numbers(8), Similarity(lambda net, images: (net(images), net(images))), 8)


def test_reports_maps_and_explanations_take_embeddings() -> None:
    model, probe = loops.network()[:7], loops.probe(planted=True, n=16)
    report = examine(model, probe, forward=Similarity())

    assert report.grid_maps.isfinite().all()
    assert float(report.grid_maps.sum()) > 0
    assert pixels.saliency(model, probe, forward=Similarity()).shape == (16, 24, 24)
    assert examine(model, probe.with_rest(torch.zeros(16)), trials=(), forward=Similarity(lambda m, x, rest: m(x)))
