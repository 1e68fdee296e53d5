"""What objects have by themselves, and a class may have by a habit: their size, how they are turned, their light."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lightning_cam import Probe, examine, judge
from lightning_cam.examination import what_is_left
from lightning_cam.intervention.exposures import exposure_levels
from lightning_cam.intervention.levels import LevelsOf, class_steps
from lightning_cam.intervention.masks import widened
from lightning_cam.intervention.sizes import size_levels
from lightning_cam.intervention.turns import _TURNS, turn_levels

N, SIDE = 48, 40
LABELS = torch.arange(N) % 2
EVERYTHING = torch.arange(N)
Scenes = tuple[Tensor, Tensor]  # images and masks


def scenes(heights: Tensor, widths: Tensor, light: Tensor, *, colour: Tensor | float = 1.0) -> Scenes:
    """Triangles, narrow at the top, of given sides and light, before clouds of mid-grey; nothing else says a class."""
    generator = torch.Generator().manual_seed(0)
    coarse = 0.4 + 0.2 * torch.rand(N, 3, 6, 6, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")
    rows, columns = torch.arange(SIDE)[None, :, None] - 20, torch.arange(SIDE)[None, None] - 20
    height, width = heights[:, None, None] / 2, widths[:, None, None] / 2
    masks = (rows.abs() < height) & (columns.abs() <= width * (rows + height + 1) / (2 * height + 1))
    tint = torch.tensor([1.0, 0.7, 0.4])[None] * torch.as_tensor(colour).reshape(-1, 1)
    tint = tint + 0.7 * (1 - torch.as_tensor(colour).reshape(-1, 1))
    objects = light[:, None] * tint * (0.9 + 0.2 * torch.rand(N, 1, generator=generator))
    return torch.where(masks[:, None], objects[:, :, None, None].clamp(0, 1), images), masks


def of_class(zero: float, one: float) -> Tensor:
    return torch.tensor([zero, one])[LABELS] + torch.linspace(-0.05, 0.05, N)


def alike(value: float) -> Tensor:
    return of_class(value, value)


def upright() -> Scenes:
    return scenes(alike(14), alike(14), alike(0.9))


def sized() -> Scenes:
    return scenes(of_class(10, 20), of_class(10, 20), alike(0.6))


def stretched() -> Scenes:
    return scenes(of_class(10, 24), of_class(24, 10), alike(0.6))


def flashed() -> Scenes:
    return scenes(alike(14), alike(14), of_class(0.4, 0.8))


def faded() -> Scenes:
    return scenes(alike(14), alike(14), alike(0.6), colour=of_class(1.0, 0.3))


def turned(way: int = 0) -> Scenes:
    """Of class 1, pictures that are upside down, mirrored, or on their left or right side."""
    images, masks = upright()
    if way == 1:  # a triangle is its own mirror image: leave the right half
        masks = masks & (torch.arange(SIDE) >= 20)
        images = torch.where(masks[:, None], images, 0.5)
    rows = LABELS == 1
    images[rows], masks[rows] = _TURNS[way](images[rows]), _TURNS[way](masks[rows])
    return images, masks


def area(images: Tensor) -> Tensor:
    """Pixels of the object, which is more saturated than the clouds."""
    return (50 * (images.amax(1) - images.amin(1) - 0.25)).sigmoid().sum((1, 2))


def swapped(levels_of: LevelsOf, images: Tensor, masks: Tensor) -> Tensor:
    return levels_of(images, masks, LABELS).bring(EVERYTHING, 1 - LABELS)


@pytest.mark.parametrize("make", [sized, stretched])
def test_objects_get_the_size_and_the_proportions_of_the_other_class(make: Callable[[], Scenes]) -> None:
    images, masks = make()

    found = swapped(size_levels, images, masks)

    expected = area(images).roll(1)
    assert torch.allclose(area(found), expected, rtol=0.3)
    extents = (area_along(found, 2), area_along(found, 1))
    wanted = (area_along(images, 2).roll(1), area_along(images, 1).roll(1))
    for one, other in zip(extents, wanted, strict=True):  # a soft edge is thinner than a pixel of the object
        assert torch.allclose(one[2:], other[2:], rtol=0.25)


def area_along(images: Tensor, dim: int) -> Tensor:
    return ((images.amax(1) - images.amin(1)) > 0.25).any(dim).float().sum(1)


@pytest.mark.parametrize("zoom", [1, 6])
def test_at_their_own_size_objects_are_pasted_where_they_were(zoom: int) -> None:
    images, masks = (each[:16].repeat_interleave(zoom, -1).repeat_interleave(zoom, -2) for each in sized())
    levels = size_levels(images, masks, LABELS[:16])

    found = levels.bring(EVERYTHING[:16], LABELS[:16])

    assert levels.changes.all()
    torch.testing.assert_close(found, images, atol=1e-5, rtol=0)


def test_an_object_is_enlarged_as_far_as_it_stays_whole() -> None:
    images, masks = scenes(of_class(10, 30), of_class(10, 30), alike(0.6))
    shift = torch.where(LABELS == 0, 14, 0)
    images, masks = (
        torch.stack([one.roll((int(by), -int(by)), (-2, -1)) for one, by in zip(each, shift, strict=True)])
        for each in (images, masks)
    )

    found = swapped(size_levels, images, masks)

    assert torch.allclose(area(found)[LABELS == 0], area(images)[LABELS == 1], rtol=0.25)


def test_an_object_that_would_be_larger_than_the_picture_fills_it() -> None:
    sides = of_class(10, 36)
    sides[0] = 18

    found = swapped(size_levels, *scenes(sides, sides, alike(0.6)))

    assert area_along(found, 2)[0] >= 35  # at its top it is thinner than a pixel


@pytest.mark.parametrize("way", range(4), ids=["upside down", "mirrored", "to the left", "to the right"])
def test_pictures_are_turned_as_those_of_the_other_class_are(way: int) -> None:
    images, masks = turned(way)

    found = swapped(turn_levels, images, masks)

    assert torch.equal(found[LABELS == 0], _TURNS[way](images)[LABELS == 0])
    assert torch.equal(_TURNS[way](found)[LABELS == 1], images[LABELS == 1])


def test_a_quarter_turn_would_not_fit_pictures_that_are_no_squares() -> None:
    images, masks = turned(2)

    assert not turn_levels(images[..., :-2], masks[..., :-2], LABELS).changes.any()


def test_a_class_that_faces_one_way_is_not_turned() -> None:
    images, masks = upright()
    masks[LABELS == 1] &= torch.arange(SIDE) >= 17  # narrow at the top as the others, and at the right as well

    assert not turn_levels(images, masks, LABELS).changes.any()


@pytest.mark.parametrize("classes", [(0, 1), (1, 0)])
def test_what_is_tall_in_one_class_and_wide_in_the_other_is_not_turned(classes: tuple[float, float]) -> None:
    images, masks = scenes(of_class(10, 24), of_class(24, 10), alike(0.9))

    assert not turn_levels(images, masks, torch.tensor(classes)[LABELS].long()).changes.any()


@pytest.mark.parametrize("make", [flashed, faded])
def test_objects_get_the_light_of_the_other_class_and_surroundings_stay(make: Callable[[], Scenes]) -> None:
    images, masks = make()

    found = swapped(exposure_levels, images, masks)

    inside, beside = masks[:, None].expand_as(images), ~widened(masks, 1)[:, None].expand_as(images)
    assert (found - images.roll(1, 0))[inside].abs().mean() < 0.4 * (images.roll(1, 0) - images)[inside].abs().mean()
    assert torch.equal(found[beside], images[beside])


NONE = torch.zeros(N, SIDE, SIDE, dtype=torch.bool)
CUES = {
    "scale": (size_levels, sized),
    "orientation": (turn_levels, turned),
    "exposure": (exposure_levels, flashed),
}
each_cue = pytest.mark.parametrize(("levels_of", "make"), CUES.values(), ids=CUES)


@each_cue
def test_classes_that_are_alike_are_left_alone(levels_of: LevelsOf, make: Callable[[], Scenes]) -> None:
    images, masks = make()
    cases = {
        "alike": (*upright(), LABELS),
        "without masks": (images, NONE, LABELS),
        "without a background": (images, ~NONE, LABELS),
        "labels that say nothing": (images, masks, EVERYTHING // 2 % 2),
        "one class": (images, masks, torch.zeros_like(LABELS)),
        "one image": (images[:1], masks[:1], LABELS[:1]),
        "two pixels": (torch.zeros(N, 3, 2, 2), torch.ones(N, 2, 2).bool(), LABELS),
        "masks in one class": (images, masks & (LABELS == 0)[:, None, None], LABELS),
    }

    changes = {name: levels_of(*case).changes.any().item() for name, case in cases.items()}

    assert changes == dict.fromkeys(cases, False)


@each_cue
def test_an_image_without_a_mask_and_a_class_without_an_image_stay_out(
    levels_of: LevelsOf, make: Callable[[], Scenes]
) -> None:
    images, masks = make()
    masks[0] = False

    levels = levels_of(images, masks, 2 * LABELS)

    assert not levels.changes[0].any()
    assert not levels.changes[:, 1].any()
    assert levels.changes[1:, [0, 2]].any(1).all()


@pytest.mark.parametrize(("n_classes", "is_taken"), [(2, True), (8, False)])
def test_among_many_classes_a_step_must_be_longer(n_classes: int, is_taken: bool) -> None:
    labels = torch.arange(160) % n_classes
    values = 0.2 * (labels == 1) + 0.01 * torch.arange(160).remainder(7)

    steps = class_steps(values[:, None], labels, n_classes, 0.11)

    assert bool(steps.any()) is is_taken
    assert torch.equal(steps, -steps.T)


class Reads(nn.Module):
    """Class 1 where a reading of the picture lies above a limit."""

    def __init__(self, reading: Callable[[Tensor], Tensor], limit: float) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 3, 1, bias=False)
        self.same.weight.data = torch.eye(3)[:, :, None, None]
        self.reading, self.limit = reading, limit

    def forward(self, images: Tensor) -> Tensor:
        score = self.reading(self.same(images)) - self.limit
        return 20 * torch.stack([-score, score], 1)


READERS = {
    "scale": (lambda x: area(x) / 100, 1.0, sized),
    "orientation": (
        lambda x: (x - 0.5)[:, 0, 21:].abs().mean((1, 2)) - (x - 0.5)[:, 0, :20].abs().mean((1, 2)),
        0.0,
        turned,
    ),
    "exposure": (lambda x: x[:, 0, 18:22, 18:22].mean((1, 2)), 0.6, flashed),
}


@pytest.mark.parametrize("cue", READERS)
def test_a_model_that_lives_on_it_is_warned_of_by_its_name_unless_that_is_expected(cue: str) -> None:
    reading, limit, make = READERS[cue]
    images, masks = make()
    labels = 1 - LABELS if cue == "orientation" else LABELS
    probe = Probe(images, labels, masks=masks)

    model = Reads(reading, limit)
    report = examine(model, probe, trials=["background", cue], layer="same")

    verdict = judge(report)
    assert (verdict.outcome, [finding.cue for finding in verdict.findings]) == ("WARN", [cue])
    assert verdict.findings[0].accuracy_own - verdict.findings[0].accuracy_other > 0.8
    assert judge(report, expected_cues=[cue]).outcome == "PASS"
    left = what_is_left(model, probe, report, cue, verdict.findings[0].remedy)
    assert (left is None) == (cue == "scale")  # its remedy goes by the mask, which the swap leaves behind


def test_where_classes_are_alike_the_model_is_asked_nothing() -> None:
    images, masks = upright()
    asked: list[int] = []

    def counted(model: nn.Module, inputs: Tensor) -> Tensor:
        asked.append(len(inputs))
        return model(inputs)

    model, probe = Reads(lambda x: x[:, 0, 20, 20], 0.6), Probe(images, LABELS, masks=masks)
    counts = []
    for trials in (("cast",), ("cast", *CUES)):
        asked.clear()
        examine(model, probe, trials=trials, layer="same", forward=counted)
        counts.append(sum(asked))

    assert counts[0] == counts[1]
