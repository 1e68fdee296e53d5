"""Guessed masks: the cover holds the object, doubt is no mask, and nothing outside is changed."""

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from house.photographs import photographs
from lightning_cam import maskers
from lightning_cam.maskers import barrier, consensus
from planted.plan import Run
from planted.scenes import pictures


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that has hardly learned, where that does not matter."""
    monkeypatch.setattr(consensus, "_STEPS", 3)


def recall(found: Tensor, masks: Tensor) -> Tensor:
    return (found & masks).sum((1, 2)) / masks.sum((1, 2))


@pytest.mark.parametrize("side", [64, pytest.param(224, marks=pytest.mark.slow)])
def test_the_cover_holds_the_object_and_the_core_is_object(side: int) -> None:
    images, masks = photographs(24, side)

    cover, core = maskers.guess(images)

    assert cover.any((1, 2)).float().mean() >= 0.9
    assert (recall(cover, masks) >= 0.8).float().mean() >= 0.95
    assert recall(cover, masks).mean() >= 0.95
    assert (core & masks).sum() / core.sum() > 0.7
    assert (~cover).float().mean() > 0.4


@pytest.mark.slow
@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize("objects", ["creatures", "figures"])
def test_the_cover_holds_drawn_objects_over_textures(objects: str, side: int) -> None:
    drawn = pictures(Run(objects, 2, "background_texture", 0.5, seed=3), "probe", leaves=None, strength=0.5)
    size, masks = (side, side), drawn.masks[:48, None].float()

    cover, _ = maskers.guess(F.interpolate(drawn.images[:48].float() / 255, size=size, mode="bilinear"))

    kept = recall(cover, F.interpolate(masks, size=size, mode="nearest")[:, 0] > 0.5)[cover.any((1, 2))]
    assert len(kept) >= 40
    assert kept.mean() >= 0.95
    assert (kept >= 0.8).float().mean() >= 0.95


@pytest.mark.slow
def test_a_guess_costs_a_few_seconds() -> None:
    """Of one core, for as many pictures as a probe has by default. It is 0.7 s, of which two thirds are the network."""
    images, _ = photographs(64, 224)

    started = time.thread_time()
    maskers.guess(images)

    assert time.thread_time() - started < 3


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "images",
    [
        pytest.param(torch.full((4, 3, 64, 64), 0.3), id="plain"),
        pytest.param(torch.rand(4, 3, 32, 64, generator=torch.Generator().manual_seed(0)), id="too small"),
    ],
)
def test_pictures_without_an_object_to_find_get_no_mask(images: Tensor) -> None:
    assert not torch.stack(maskers.guess(images)).any()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (3, 1, 64, 96), (2, 5, 80, 64), (2, 3, 64, 1000)])
def test_any_picture_can_be_guessed_at(shape: tuple[int, ...]) -> None:
    cover, core = maskers.guess(torch.rand(shape, generator=torch.Generator().manual_seed(1)))

    assert cover.shape == core.shape == (shape[0], *shape[2:])
    assert cover.dtype == core.dtype == torch.bool
    assert not (core & ~cover).any()


def blocks(*places: tuple[int, int, int, int]) -> Tensor:
    """What a finder gives of 8 pictures: 1 in some blocks of rows and columns."""
    scores = torch.zeros(8, 64, 64)
    for top, bottom, left, right in places:
        scores[:, top:bottom, left:right] = 1
    return scores


@pytest.fixture
def guessed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Cover and core of a picture in which both finders give this."""

    def guess(own: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        monkeypatch.setattr(barrier, "saliency", lambda _: own)
        monkeypatch.setattr(consensus, "likeness", lambda _: shared)
        cover, core = maskers.guess(torch.zeros(8, 3, 64, 64))
        return cover[0], core[0]

    return guess


def test_the_cover_is_all_that_either_finder_gives_and_more_and_the_core_what_both_give(
    guessed: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> None:
    cover, core = guessed(blocks((20, 40, 16, 36)), blocks((20, 40, 24, 44)))

    assert cover[17:43, 13:47].all()  # 6 % of 64 pixels on each side, less a pixel that smoothing may take
    assert cover.sum() <= (20 + 10) * (28 + 10)
    assert core[22:38, 26:34].all()
    assert core.sum() <= (20 + 2) * (12 + 2)


@pytest.mark.parametrize(
    ("own", "shared"),
    [
        pytest.param([(20, 40, 8, 28)], [(20, 40, 26, 46)], id="finders that hardly agree"),
        pytest.param([(3, 61, 3, 61)], [(3, 61, 3, 61)], id="hardly any background"),
    ],
)
def test_a_guess_in_doubt_is_none(
    own: list[tuple[int, int, int, int]],
    shared: list[tuple[int, int, int, int]],
    guessed: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> None:
    assert not torch.stack(guessed(blocks(*own), blocks(*shared))).any()


def test_small_pieces_are_noise_and_holes_are_object(
    guessed: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> None:
    scores = blocks((20, 44, 20, 44), (4, 9, 50, 55))
    scores[:, 28:34, 28:34] = 0
    cover, core = guessed(scores, scores)

    assert core[22:42, 22:42].all()
    assert not cover[:12, 46:].any()


def world() -> list[object]:
    """What a guess must leave as it is."""
    return [
        random.getstate(),
        str(np.random.get_state()),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
    ]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "context",
    [nullcontext, torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu"), lambda: torch.device("meta")],
    ids=["plain", "no_grad", "inference", "autocast", "device"],
)
def test_a_guess_is_the_same_everywhere_and_changes_nothing(
    context: Callable[[], AbstractContextManager[object]],
) -> None:
    images, _ = photographs(6)
    expected, before = maskers.guess(images), world()

    with context():
        torch.rand(1, device="cpu", generator=torch.Generator("cpu"))
        cover, core = maskers.guess(images)

    assert torch.equal(cover, expected[0])
    assert torch.equal(core, expected[1])
    assert world() == before


def test_the_barrier_is_what_a_path_must_climb() -> None:
    """A square of 9 behind a wall of 4 on a ground of 1: 8 higher than any way out; the wall is 3."""
    picture = torch.ones(1, 1, 7, 7)
    picture[..., 1:6, 1:6], picture[..., 2:5, 2:5] = 4, 9

    distances = barrier._barriers(picture)[0, 0]

    assert distances[[3, 1, 0], 3].tolist() == [8, 3, 0]


def test_the_consensus_is_what_middles_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture has red in its middle and at one place of its frame; blue elsewhere. The place is red as well."""
    monkeypatch.setattr(consensus, "_STEPS", 40)
    images = torch.zeros(12, 3, 64, 64)
    images[:, 2], images[:, :, 20:44, 20:44] = 60, torch.tensor([60.0, 0, 0])[:, None, None]
    images[0, :, 0:16, 0:16] = torch.tensor([60.0, 0, 0])[:, None, None]

    likeness = consensus.likeness(images)

    assert likeness[:, 28:36, 28:36].min() > 0.8 > 0.3 > likeness[1:, :6].max()
    assert likeness[0, 5, 5] > 0.5
