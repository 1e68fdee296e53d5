"""Segmentation of one class of objects: pictures with and without one are told apart, or smaller and larger ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from lightning_cam import Probe, examine, judge
from lightning_cam.sinks.pages import _name_of

SIZE = 32
TRIALS = ["background", "border", "cast"]


def drawn(n: int, *, cue: bool = False, empty: bool = True, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Bright squares on grey, every other picture without one or, unless ``empty``, with a smaller one.

    With a cue the background of the other half is blue.
    """
    g = torch.Generator().manual_seed(seed)
    images, maps = 0.3 + 0.08 * torch.rand(n, 3, SIZE, SIZE, generator=g), torch.zeros(n, SIZE, SIZE, dtype=torch.long)
    for i, (y, x) in enumerate(torch.randint(3, 15, (n, 2), generator=g).tolist()):
        side = (0 if empty else 8) if i % 2 == 0 else 12
        maps[i, y : y + side, x : x + side] = 1
        if cue and i % 2:
            images[i, 2] += 0.2
        images[i, :, y : y + side, x : x + side] = 0.8 + 0.1 * torch.rand(3, side, side, generator=g)
    return images, maps


class Finder(nn.Module):
    """Finds what is bright; or, if it relies on the background, finds something bright only where that is blue."""

    def __init__(self, *, relies: bool = False, form: str = "one logit") -> None:
        super().__init__()
        self.conv, self.relies, self.form = nn.Conv2d(3, 3, 1), relies, form
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.conv.bias.zero_()

    def forward(self, images: Tensor) -> Any:
        colours = self.conv(images)
        odds = 20 * (colours[:, 0] - 0.65)
        if self.relies:
            blue = (colours[:, 2, :2] - colours[:, 0, :2]).mean((1, 2))
            odds = odds.where(blue[:, None, None] > 0.1, -5.0)
        one = odds[:, None]
        return {
            "one logit": lambda: one,
            "one probability": lambda: one.sigmoid(),
            "no channel": lambda: odds,
            "two logits": lambda: torch.cat([-one / 2, one / 2], 1) + 3,
            "softmax": lambda: torch.cat([0 * one, one], 1).softmax(1),
            "out": lambda: {"out": one, "aux": -one},
        }[self.form]()


FORMS = ["one logit", "one probability", "no channel", "two logits", "softmax", "out"]


@pytest.mark.parametrize("form", FORMS)
def test_scores_of_one_object_are_found_in_every_usual_form(form: str) -> None:
    report = examine(Finder(form=form), Probe(*drawn(16)), trials=(), layer="conv")

    assert report.scalars["probe_accuracy"] == 1


@pytest.mark.parametrize("form", ["two logits", "one probability"])
def test_the_form_of_the_output_changes_no_effect(form: str) -> None:
    probe = Probe(*drawn(16, cue=True))
    one, other = (
        examine(Finder(relies=True, form=name), probe, trials=["background"], layer="conv")
        for name in ("one logit", form)
    )

    assert torch.allclose(one.effects["background"], other.effects["background"], equal_nan=True, atol=1e-6)
    assert torch.allclose(one.logits, other.logits, atol=1e-3)


def test_an_object_that_is_found_by_its_background_alone_fails() -> None:
    probe = Probe(*drawn(64, cue=True), classes=["nothing", "polyp"])
    verdict = judge(examine(Finder(relies=True), probe, trials=TRIALS, layer="conv"))

    assert probe.task.kind == "presence"
    assert probe.classes == ("no polyp", "polyp")
    assert verdict.outcome == "FAIL"
    assert verdict.findings[0].cue == "background"
    assert "of pictures with the object instead of those without it" in str(verdict)


@pytest.mark.parametrize("empty", [True, False], ids=["presence", "sizes"])
@pytest.mark.parametrize("cue", [True, False], ids=["blue", "grey"])
def test_an_object_that_is_found_by_itself_passes(*, empty: bool, cue: bool) -> None:
    verdict = judge(examine(Finder(), Probe(*drawn(64, cue=cue, empty=empty)), trials=TRIALS, layer="conv"))

    assert verdict.outcome == "PASS", verdict.reason


def test_where_every_picture_has_the_object_small_and_large_ones_are_the_sides() -> None:
    """This network finds the larger objects alone, by their background, so it misses these on another one."""
    images, maps = drawn(64, cue=True, empty=False)
    probe = Probe(images, maps)
    report = examine(Finder(relies=True), probe, trials=TRIALS, layer="conv")

    assert probe.task.kind == "sizes"
    assert probe.classes == ("small object", "large object")
    assert report.scalars["probe_accuracy"] == 0.5
    large = report.effects["background"][probe.targets == 1]
    assert float(large.mean()) > 0.9


def test_a_network_that_finds_an_object_everywhere_passes_nothing() -> None:
    class Everywhere(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 1)

        def forward(self, images: Tensor) -> Tensor:
            return 0 * self.conv(images) + 9.0

    for empty in (True, False):
        verdict = judge(examine(Everywhere(), Probe(*drawn(64, empty=empty)), trials=TRIALS, layer="conv"))

        assert verdict.outcome == "INCONCLUSIVE"
        assert "nothing to judge" in verdict.reason


@pytest.mark.parametrize("number", [1, 255], ids=["1", "255"])
def test_a_probe_has_as_many_pictures_without_the_object_as_there_are(number: int) -> None:
    images, maps = drawn(60)
    maps[:40:2] = maps[1:41:2]  # ten without
    probe = Probe.from_dataset(TensorDataset(images, number * maps), 20)

    assert probe.targets.bincount().tolist() == [10, 10]
    assert probe.mask_sources.count("lent") == 10
    assert probe.masks is not None
    assert probe.masks.flatten(1).any(1).all()
    assert not probe.mask_doubts


def test_a_picture_with_nothing_but_background_and_ignored_pixels_is_without_the_object() -> None:
    images, maps = drawn(64)
    maps[:, :2] = 255
    items: Any = TensorDataset(images, maps)
    drawn_from, given = Probe.from_dataset(items), Probe(images, maps)

    for probe in (drawn_from, given):
        assert probe.task.kind == "presence"
        assert sorted(probe.targets.tolist()).count(0) == 32
        assert probe.masks is not None
        assert int(probe.masks.flatten(1).sum(1).max()) == 144  # pixels of an object: none is ignored


def test_a_few_pictures_without_the_object_are_left_out() -> None:
    images, maps = drawn(60)
    maps[6:60:2] = maps[7:60:2]
    probe = Probe.from_dataset(TensorDataset(images, maps), 20)

    assert probe.task.kind == "sizes"
    assert set(probe.mask_sources) == {"given"}


def test_a_saved_probe_asks_the_same(tmp_path: Path) -> None:
    for empty in (True, False):
        whole = Probe(*drawn(16, empty=empty), classes=["nothing", "polyp"])
        whole.save(tmp_path / str(empty))
        loaded = Probe.load(tmp_path / str(empty))

        assert (loaded.task, loaded.classes, loaded.fingerprint) == (whole.task, whole.classes, whole.fingerprint)
        assert whole.masks is not None
        assert torch.equal(loaded.select([3, 1, 6]).masks, whole.masks[[3, 1, 6]])


def test_a_missed_object_is_not_called_one_of_another_size() -> None:
    probe = Probe(*drawn(8, empty=False))

    assert [_name_of(probe, predicted, 0) for predicted in (0, 1)] == ["small object", "not found"]


@pytest.mark.parametrize("form", ["one logit", "no channel", "two logits"])
def test_the_layer_is_before_the_one_that_gives_the_scores(form: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
            self.head = nn.Conv2d(8, 2 if form == "two logits" else 1, 1)

        def forward(self, images: Tensor) -> Tensor:
            scores: Tensor = self.head(self.body(images))
            return scores[:, 0] if form == "no channel" else scores

    assert examine(Net(), Probe(*drawn(8)), trials=()).layer.startswith("body")
