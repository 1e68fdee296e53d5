"""Large images: fewer are tested, in parts, with the same results."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_cam import Probe, examine
from lightning_cam.examination import collect_evidence
from lightning_cam.intervention import filters, swaps
from lightning_cam.intervention.edits import move_object

LOOK, EVIDENCE = (sys.modules[f"lightning_cam.examination.{name}"] for name in ("look", "evidence"))


def probe_of(n: int = 8, side: int = 32) -> Probe:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, 3, side, side, generator=generator)
    masks = torch.zeros(n, side, side, dtype=torch.bool)
    masks[:, side // 4 : side // 2, side // 4 : side // 2] = True
    return Probe(images, torch.arange(n) % 2, masks=masks)


def model() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    return nn.Sequential(*layers)


def test_images_in_parts_give_what_all_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = examine(model(), probe_of())
    for module, name in ((swaps, "_MOST_VALUES"), (swaps, "_MOST_KEPT_VALUES"), (filters, "_MOST_VALUES")):
        monkeypatch.setattr(module, name, 1)
    monkeypatch.setattr(swaps, "_VALUES_A_PART", 3 * 3 * 32 * 32)
    monkeypatch.setattr(LOOK, "MOST_VALUES_A_PASS", 2 * 3 * 32 * 32)
    passes: list[int] = []

    def forward(net: nn.Module, inputs: Tensor) -> Tensor:
        passes.append(len(inputs))
        return net(inputs)

    report = examine(model(), probe_of(), forward=forward)

    assert max(passes) <= 3
    assert set(report.effects) == set(expected.effects)
    for cue, effects in expected.effects.items():
        torch.testing.assert_close(report.effects[cue], effects, equal_nan=True, atol=1e-5, rtol=0)
    torch.testing.assert_close(report.grid_maps, expected.grid_maps)
    assert report.scalars == pytest.approx(expected.scalars, abs=1e-4, nan_ok=True)


def test_evidence_in_parts_is_that_of_all_at_once_and_no_larger_than_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = examine(model(), probe_of(), trials=["border"])
    expected = collect_evidence(model(), probe_of(), report, "border")
    monkeypatch.setattr(swaps, "_MOST_VALUES", 1)
    monkeypatch.setattr(EVIDENCE, "LONGEST", 16)
    evidence = collect_evidence(model(), probe_of(), report, "border")

    torch.testing.assert_close(evidence.probabilities, expected.probabilities)
    assert evidence.images.shape == (4, 3, 3, 16, 16)
    torch.testing.assert_close(evidence.images.mean((3, 4)), expected.images.mean((3, 4)))


class Items:
    """Images of many classes; all share one memory."""

    def __init__(self, n_classes: int, side: int) -> None:
        self.targets = [index % n_classes for index in range(10 * n_classes)]
        self.image = torch.full((1, 1, 1), 0.5).expand(3, side, side)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.image, self.targets[index]


def test_of_few_large_images_each_class_has_two_and_a_sentence_says_how_many() -> None:
    sentences: list[str] = []
    probe = Probe.from_dataset(Items(10, 1500), None, find_masks=False, say=sentences.append)

    assert len(probe) == 7
    assert min(probe.targets.unique(return_counts=True)[1]) >= 2
    assert ["only 7 of them" in sentence and "n=28" in sentence for sentence in sentences] == [True]


def test_as_many_large_images_as_the_user_asks_for() -> None:
    assert len(Probe.from_dataset(Items(2, 1500), 9, find_masks=False)) == 9


def test_large_images_go_one_by_one_and_small_ones_all_at_once() -> None:
    rows = torch.arange(4)

    assert [len(part) for part in swaps.in_parts(rows, torch.empty(4, 3, 2048, 2048, device="meta"))] == [1] * 4
    assert [len(part) for part in swaps.in_parts(rows, torch.empty(64, 3, 224, 224, device="meta"))] == [4]
    assert [len(part) for part in swaps.in_parts(rows[:0], torch.empty(4, 3, 2048, 2048, device="meta"))] == [0]


class Largest(TorchDispatchMode):
    """Keeps how many values the largest tensor has that is made under it."""

    values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.values = max(self.values, made.numel())
        return made


def test_a_picture_is_moved_without_a_larger_one() -> None:
    images, unknown = probe_of(4).images, torch.zeros(4, 32, 32, dtype=torch.bool)
    own, donors = move_object.read(images, unknown)
    with Largest() as largest:
        moved = move_object.give(images, own, tuple(each.flip(0) for each in donors))

    assert not torch.equal(moved, images)
    assert largest.values == images.numel()
