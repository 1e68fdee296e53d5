"""Faults 20 to 29, of models and their maps: at most a check is lost. More are in the tests of engine and measures."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from house import models
from house.faulty import beside, three_checks_lost, watching
from house.models import fixed, images
from house.trainings import Net
from lightning_cam import Probe, Report, examine, render

LABELS = torch.tensor([0, 1, 2])


def seen(model: nn.Module, **options: Any) -> Report:
    return examine(model, **{"probe": Probe(images(), LABELS), "layer": "stage", "trials": ()} | options)


def summed_gradients(_activations: Tensor, gradients: Tensor) -> Tensor:
    """A `CamMethod` whose maps say which score they are of."""
    return gradients.sum(1)


class WithUnused(Net):
    def build(self) -> None:
        super().build()
        self.unused = nn.Conv2d(3, 3, 1)


def test_a_layer_that_does_not_run_switches_off_and_says_so(tmp_path: Path) -> None:
    callback = watching(layer="unused")
    run = beside(tmp_path, callback, WithUnused)

    assert three_checks_lost(run, "RuntimeError: layer unused does not run in a forward pass; choose another one")
    assert callback.history == ()


class Regression(Net):
    def build(self) -> None:
        super().build()
        self.head = nn.Linear(4, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.mse_loss(self(batch[0])[:, 0], batch[1].float())

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...


def test_a_regression_is_watched(tmp_path: Path) -> None:
    callback = watching()
    run = beside(tmp_path, callback, Regression)

    assert run.untouched
    assert run.said == []
    assert callback.history[-1].scalars["cam/undefined_rate"] < 1


def test_a_regression_is_explained_by_its_output() -> None:
    model = fixed(lambda: models.Net(1))
    report = seen(model, probe=Probe(images(), torch.ones(3).long()), method=summed_gradients)

    torch.testing.assert_close(report.grid_maps, share_of_a_cell(model.head.weight[[0, 0, 0]] / 2, report))


def share_of_a_cell(weights: Tensor, report: Report) -> Tensor:
    """Summed gradients behind global average pooling, by hand: ``(N, K)`` weights of a head, the same in each cell."""
    _, height, width = report.grid_maps.shape
    return (weights.detach().sum(1) / height / width)[:, None, None].expand(-1, height, width)


def test_a_multi_label_model_is_explained_by_the_given_class_and_by_the_highest() -> None:
    model = fixed(models.Net)
    report = seen(model, method=summed_gradients)

    torch.testing.assert_close(report.grid_maps, share_of_a_cell(model.head.weight[LABELS], report))
    highest = report.logits.argmax(1)
    torch.testing.assert_close(report.predicted_grid_maps, share_of_a_cell(model.head.weight[highest], report))


class Reader(Net):
    """A transformer whose head reads the class token of its last block: the other tokens lead nowhere there."""

    def build(self) -> None:
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True) for _ in range(2))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.token.expand(len(x), -1, -1), self.patches(x).flatten(2).mT], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0])


def test_a_transformers_last_block_is_said_to_give_empty_maps(tmp_path: Path) -> None:
    run = beside(tmp_path, watching(layer="blocks.1"), Reader)

    assert run.untouched
    (said,) = run.said
    assert "every map of the check at step 1 is empty: " in said
    assert "the class scores do not depend on this layer there" in said


def test_the_automatic_choice_is_a_layer_whose_tokens_count(tmp_path: Path) -> None:
    callback = watching()
    run = beside(tmp_path, callback, Reader)

    assert run.untouched
    assert run.said == []
    assert callback.history[-1].scalars["cam/zero_map_rate"] < 1


class OneCell(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, (12, 16)), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3))


def test_a_map_of_one_cell_is_kept_and_measures_nothing() -> None:
    masked = Probe(images(), LABELS, masks=images().mean(1) > 0.5)
    report = seen(fixed(OneCell), probe=masked, layer="0")

    assert report.grid_maps.shape == (3, 1, 1)
    assert report.maps.isfinite().all()
    assert all(values.isnan().all() for values in report.values.values())
    assert report.scalars["undefined_rate"] == 1


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_weights_that_are_no_numbers_from_the_start_stop_nothing(value: float, tmp_path: Path) -> None:
    class Broken(Net):
        def build(self) -> None:
            super().build()
            nn.init.constant_(self.head.weight, value)

    callback = watching(layer="body.0")
    run = beside(tmp_path, callback, Broken)

    assert run.untouched
    assert callback.history[-1].scalars["cam/undefined_rate"] == 1
    assert not any(math.isinf(value) for value in callback.history[-1].scalars.values())


def test_a_head_of_zeros_gives_empty_maps_and_no_nan() -> None:
    model = fixed(models.Net)
    nn.init.zeros_(model.head.weight)
    report = seen(model)

    assert not report.maps.any()
    assert report.scalars["zero_map_rate"] == 1
    assert report.values["attention_entropy"].isnan().all()


def test_a_head_of_zeros_before_the_first_step_is_not_worth_a_word(tmp_path: Path) -> None:
    class Zero(Net):
        def build(self) -> None:
            super().build()
            nn.init.zeros_(self.head.weight)

    callback = watching(layer="body.2")
    run = beside(tmp_path, callback, Zero)

    assert run.untouched
    assert run.said == []
    before, after = (reading.scalars["cam/zero_map_rate"] for reading in callback.history[:2])
    assert before == 1 > after


@pytest.mark.parametrize("value", [0.0, 3.0, math.nan, math.inf], ids=str)
def test_a_constant_map_is_drawn_and_has_no_peak(value: float) -> None:
    masked = Probe(images(), LABELS, masks=images().mean(1) > 0.5)
    report = seen(fixed(models.Net), probe=masked, method=lambda a, _: torch.full_like(a[:, 0], value))
    picture, _ = render.tile(masked.images[0], report.maps[0], masked.masks[0], ("one",) * 3, correct=True)

    assert report.values["pointing_accuracy"].isnan().all()
    assert report.values["background_attention_ratio"].isnan().all() == (value != 3.0)
    assert not np.isinf(render.density(report.maps[0])).any()
    assert picture.ndim == 3
