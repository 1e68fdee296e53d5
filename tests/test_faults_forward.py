"""Faults 30 to 37, of what a forward does: at most a check is lost. More are in the tests of engine and callback."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torchmetrics import MeanMetric

from house import models
from house.faulty import beside, refused, three_checks_lost, watching
from house.models import fixed, images
from house.trainings import SIZE, Net, probe
from lightning_cam import CAMCallback, Probe, Report, examine

LABELS = torch.tensor([0, 1, 2])


def seen(model: nn.Module, **options: Any) -> Report:
    return examine(model, **{"probe": Probe(images(), LABELS), "layer": "stage", "trials": ()} | options)


class Lazy(Net):
    def build(self) -> None:
        super().build()
        self.head = nn.LazyLinear(2)


def test_parameters_that_wait_for_the_first_forward_are_waited_for(tmp_path: Path) -> None:
    callback = watching()
    run = beside(tmp_path, callback, Lazy, num_sanity_val_steps=0)

    assert run.untouched
    assert run.said == []
    assert [reading.step for reading in callback.history] == [1, 3, 5, 7, 9, 11]


def test_a_backbone_without_gradients_is_looked_into() -> None:
    report, expected = seen(fixed(models.NoGradBackbone)), seen(fixed(models.Net))

    assert torch.equal(report.grid_maps, expected.grid_maps)
    assert report.grid_maps.any()


class DetachedHead(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).detach().mean((2, 3)))


class Reentrant(Net):
    def forward(self, x: Tensor) -> Tensor:
        features = checkpoint(self.body, x.requires_grad_(), use_reentrant=True)
        return self.head(features.mean((2, 3)))


class Scripted(Net):
    def build(self) -> None:
        super().build()
        self.body = torch.jit.script(self.body)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        pytest.param(
            DetachedHead, "RuntimeError: autograd finds no way from the class scores to layer body.0", id="detached"
        ),
        pytest.param(Reentrant, "RuntimeError: ", id="reentrant checkpoint"),
        pytest.param(Scripted, "RuntimeError: ", id="scripted"),
    ],
)
def test_what_autograd_cannot_see_switches_off_cleanly(
    build: Callable[[], nn.Module], why: str, tmp_path: Path
) -> None:
    assert three_checks_lost(beside(tmp_path, watching(layer="body.0"), build), why)


def crowded(most: int, error: Callable[[], Any]) -> type[Net]:
    """A network whose memory does not suffice for more than so many probe images."""

    class Crowded(Net):
        def forward(self, x: Tensor) -> Tensor:
            if not self.training and not torch.is_inference_mode_enabled() and len(x) > most and x.shape[-1] == SIZE:
                error()
            return super().forward(x)

        def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    return Crowded


def cuda_gives_up() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


GIVING_UP = {"CUDA": cuda_gives_up, "CPU": lambda: torch.empty(10**15)}  # the second one is real


@pytest.mark.parametrize("error", GIVING_UP.values(), ids=GIVING_UP)
def test_out_of_memory_halves_the_batch_and_says_so_once(error: Callable[[], Any], tmp_path: Path) -> None:
    callback = watching(layer="body.0")
    run = beside(tmp_path, callback, crowded(3, error))

    assert run.untouched
    assert run.said == ["lightning_cam: out of memory with 32 images a pass; trying with half"]
    assert len(callback.history) == 7


def test_out_of_memory_with_a_single_image_switches_off(tmp_path: Path) -> None:
    run = beside(tmp_path, watching(layer="body.0"), crowded(0, cuda_gives_up))

    assert run.untouched
    assert [text.split(";")[0].split("(")[0] for text in run.said] == [
        "lightning_cam: out of memory with 32 images a pass",
        "lightning_cam: a check failed, training goes on ",
        "lightning_cam: switched off for this fit, training goes on",
    ]


class WithLengths(Net):
    def forward(self, images: Tensor, lengths: Tensor) -> Tensor:
        return super().forward(images) + 0 * lengths.sum()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0], batch[1]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...


def test_a_forward_that_wants_more_than_images_is_said_before_training_starts(tmp_path: Path) -> None:
    message = r"take images alone \(.*'lengths'\); pass CAMCallback\(forward="

    refused(tmp_path, CAMCallback(probe()), message, WithLengths, sanity_steps=2)


def test_without_a_sanity_check_the_first_validation_may_show_how_forward_is_called(tmp_path: Path) -> None:
    run = beside(tmp_path, watching(), WithLengths, num_sanity_val_steps=0)

    assert run.untouched
    assert "take images alone" in run.said[0]


def test_a_forward_that_wants_more_than_images_can_be_given_it(tmp_path: Path) -> None:
    callback = watching(forward=lambda module, images: module(images, torch.ones(len(images))), on_error="raise")

    assert beside(tmp_path, callback, WithLengths).untouched
    assert len(callback.history) == 7


class Again(Net):
    def build(self) -> None:
        super().build()
        self.stage = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stage(self.stage(self.body(x))).mean((2, 3)))


def test_a_layer_that_runs_twice_is_said_once(tmp_path: Path) -> None:
    callback = watching(layer="stage")
    run = beside(tmp_path, callback, Again)

    assert run.untouched
    assert len(callback.history) == 7
    assert run.said == [
        "lightning_cam: layer 'stage' runs 2 times in a forward pass; the maps are of its last run, "
        "choose another with layer='...'"
    ]


class Chatty(Net):
    """Logs, counts and updates a metric in its forward."""

    def build(self) -> None:
        super().build()
        self.register_buffer("n_calls", torch.zeros(()))
        self.mean = MeanMetric()

    def forward(self, x: Tensor) -> Tensor:
        self.n_calls += 1
        self.mean.update(x.mean())
        self.log("brightness", x.mean(), on_step=False, on_epoch=True)
        return super().forward(x)

    def on_train_epoch_end(self) -> None:
        self.log("mean", self.mean.compute())


def test_a_forward_that_logs_and_counts_does_not_notice(tmp_path: Path) -> None:
    callback = watching()
    run = beside(tmp_path, callback, Chatty)
    ours, theirs = run.trainer.callback_metrics, run.alone.callback_metrics

    assert run.untouched  # the buffer included
    assert run.said == []
    assert len(callback.history) == 7
    assert {key: float(value) for key, value in ours.items() if not key.startswith("cam/")} == {
        key: float(value) for key, value in theirs.items()
    }
    assert {"brightness", "mean"} <= theirs.keys()


class Resized(Net):
    """Its head loses a class after the first epoch."""

    def build(self) -> None:
        super().build()
        self.head = nn.Linear(4, 3)

    def on_train_epoch_end(self) -> None:
        self.head = nn.Linear(4, 2)


def test_a_head_that_loses_classes_costs_the_checks_not_the_training(tmp_path: Path) -> None:
    callback = watching(probe=Probe(probe().images, torch.arange(6) % 3))
    run = beside(tmp_path, callback, Resized)

    assert three_checks_lost(run, "ValueError: expected class indices from 0 to 1")
    assert [reading.step for reading in callback.history] == [0, 1, 3, 5]
