"""Properties of whole pictures: what is read, what an image is at another level, and what a swap of levels says."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from house.cases import case
from house.natural import natural, through_jpeg
from house.swapping import effects_of
from lightning_cam.intervention import (
    STANDARD,
    Donors,
    LevelSwap,
    Material,
    Session,
    Trial,
    draw_donors,
    limited,
)
from lightning_cam.intervention.codec import PRISTINE, jpeg_quality
from lightning_cam.intervention.effects import PROBABILITY
from lightning_cam.intervention.exposures import exposure_levels
from lightning_cam.intervention.levels import (
    Levels,
    LevelsOf,
    cast_levels,
    codec_levels,
    contrast_levels,
    resolution_levels,
    shared_steps,
    sharpness_differs_off_object,
)
from lightning_cam.intervention.rims import rim_levels
from lightning_cam.intervention.sizes import size_levels
from lightning_cam.intervention.stamps import patch_levels
from lightning_cam.intervention.styles import style_levels
from lightning_cam.intervention.turns import turn_levels

N, SIZE = 40, 48
TARGETS = torch.arange(N) % 2
MASKS = torch.zeros(N, SIZE, SIZE, dtype=torch.bool)
MASKS[:, 14:34, 14:34] = True
UNKNOWN = torch.zeros_like(MASKS)
EVERY = torch.arange(N)
CAST = torch.tensor([1.15, 1.0, 0.9])[:, None, None]
masks = pytest.mark.parametrize("masks", [MASKS, UNKNOWN], ids=["masks", "no masks"])


def pictures(*, channels: int = 3, seed: int = 0) -> Tensor:
    """``(N, C, H, W)`` between 0.2 and 0.7, pairwise the same for both classes."""
    return 0.2 + 0.5 * natural(N // 2, SIZE, SIZE, channels=channels, seed=seed).repeat_interleave(2, 0)


def of_class_1(change: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return torch.where((TARGETS == 1)[:, None, None, None], change(images), images)


def other(levels: Levels, images: Tensor) -> Tensor:
    """Every image on the level of the other class, where that changes it."""
    moved = levels.changes[EVERY, 1 - TARGETS]
    result = images.clone()
    result[moved] = levels.bring(EVERY[moved], 1 - TARGETS[moved])
    return result


# cast


@masks
def test_a_cast_is_brought_to_either_class(masks: Tensor) -> None:
    images = of_class_1(lambda x: x * CAST, pictures())

    result = other(cast_levels(images, masks, TARGETS), images)

    swapped_pairs = images.reshape(-1, 2, 3, SIZE, SIZE).flip(1).reshape(images.shape)
    torch.testing.assert_close(result, swapped_pairs, atol=0.02, rtol=0)


@masks
def test_classes_without_a_cast_have_none_to_bring(masks: Tensor) -> None:
    assert not cast_levels(pictures(), masks, TARGETS).changes.any()


def test_the_objects_colours_are_not_part_of_the_cast() -> None:
    images = pictures()
    green = torch.where(
        (MASKS & (TARGETS == 1)[:, None, None])[:, None], torch.tensor([[[0.0]], [[1.0]], [[0.0]]]), images
    )

    assert not cast_levels(green, MASKS, TARGETS).changes.any()


def test_the_typical_cast_is_that_of_most_pictures_of_a_class() -> None:
    images = of_class_1(lambda x: x * CAST, pictures())
    images[1::10] /= CAST  # a fifth of the class

    levels = cast_levels(images, MASKS, TARGETS)

    result = levels.bring(EVERY[::2], torch.ones(N // 2, dtype=torch.long))
    torch.testing.assert_close(result, images[::2] * CAST, atol=0.02, rtol=0)


def tinted(agreement: float, *, cast: float = 0.2, seed: int, n: int = 240) -> tuple[Tensor, Tensor]:
    """Plain pictures of chance tints, and their classes; a cast goes with class 1 that often."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % 2
    agrees = torch.rand(n, generator=generator) < agreement
    tints = 0.08 * torch.randn(n, 3, generator=generator) + cast * torch.tensor([-1.0, 0.5, 0.5]) * (
        (targets == 1) == agrees
    ).float().unsqueeze(1)
    return 0.4 * (tints - tints.mean(1, keepdim=True)).exp()[:, :, None, None].expand(n, 3, SIZE, SIZE), targets


def step_to_class_1(images: Tensor, targets: Tensor, *, masks_known: bool = True) -> float:
    """Mean change of the logarithm of red in images of class 0 that are brought to class 1."""
    chosen = (targets == 0).nonzero()[:, 0]
    masks = torch.zeros(len(images), SIZE, SIZE, dtype=torch.bool)
    masks[:, SIZE // 3 : SIZE // 2, SIZE // 3 : SIZE // 2] = masks_known
    levels = cast_levels(images, masks, targets)
    if not levels.changes[chosen, 1].all():
        return 0.0
    brought = levels.bring(chosen, torch.ones_like(chosen))
    return float((brought / images[chosen]).log()[:, 0].mean())


@pytest.mark.parametrize("masks_known", [True, False])
def test_a_step_is_as_long_as_classes_differ(masks_known: bool) -> None:
    images, targets = tinted(0.7, seed=0)

    medians = [float(images[targets == k, 0, 0, 0].log().median()) for k in (0, 1)]
    step = step_to_class_1(images, targets, masks_known=masks_known)
    assert step == pytest.approx(medians[1] - medians[0], abs=0.02)


@pytest.mark.slow
def test_tints_that_go_with_classes_by_chance_make_short_steps() -> None:
    steps = torch.tensor([step_to_class_1(*tinted(0.5, cast=0, seed=seed), masks_known=False) for seed in range(200)])

    assert 0 < (steps != 0).sum() < 20
    assert steps.abs().max() < 0.055


@pytest.mark.parametrize("of", ["whole pictures", "backgrounds"])
def test_casts_that_seldom_go_with_classes_are_asked_of_whole_pictures_and_lead_to_no_finding(of: str) -> None:
    tinted_ones, targets = tinted(0.65, seed=0, n=64)
    masks = MASKS[:1].expand(64, -1, -1)
    plain = torch.where(masks[:, None], 0.4, tinted_ones)
    images = tinted_ones if of == "whole pictures" else plain

    changes, trial = cast_levels(images, masks, targets).changes, next(one for one in STANDARD if one.cue == "cast")

    assert changes.any() == (of == "whole pictures")
    outcome = limited(trial, images, masks, masks, targets).at_most
    assert outcome == ("INCONCLUSIVE" if of == "whole pictures" else "FAIL")


def test_one_picture_of_another_cast_takes_its_class_only_a_little_along() -> None:
    images = pictures()
    images[1] *= 0.3

    assert not cast_levels(images, MASKS, TARGETS).changes.any()


def test_another_background_is_no_cast_where_masks_are_known() -> None:
    """Red before green would bleach the object until no model knows it. What is cut keeps its hue."""
    images = of_class_1(lambda x: x * torch.tensor([1.0, 0.2, 0.6])[:, None, None], pictures())

    one_missing = MASKS & (EVERY > 0)[:, None, None]

    assert not cast_levels(images, MASKS, TARGETS).changes.any()
    assert not cast_levels(images, one_missing, TARGETS).changes.any()
    result = other(cast_levels(images, UNKNOWN, TARGETS), images)
    gains = (result[::2] / images[::2]).log().mean((0, 2, 3))
    assert gains.abs().max() == pytest.approx(0.4, abs=0.01)
    wanted = torch.tensor([1.0, 0.2, 0.6]).log()
    torch.testing.assert_close(F.normalize(gains, dim=0), F.normalize(wanted, dim=0), atol=0.05, rtol=0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_number_of_channels_has_a_cast(channels: int) -> None:
    images = of_class_1(lambda x: x * 0.8, pictures(channels=channels))

    result = other(cast_levels(images, MASKS, TARGETS), images)

    torch.testing.assert_close(result[::2], images[1::2], atol=0.01, rtol=0)


# contrast


def hazy(images: Tensor) -> Tensor:
    return 0.6 * images + 0.3


@masks
def test_contrast_and_brightness_are_brought_to_either_class(masks: Tensor) -> None:
    images = of_class_1(hazy, pictures())

    result = other(contrast_levels(images, masks, TARGETS), images)

    swapped_pairs = images.reshape(-1, 2, 3, SIZE, SIZE).flip(1).reshape(images.shape)
    torch.testing.assert_close(result, swapped_pairs, atol=0.03, rtol=0)


def test_plain_backgrounds_have_a_contrast_to_one_another() -> None:
    n = 4 * N
    colours = 0.2 + 0.6 * torch.rand(n, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    masks, targets = MASKS.repeat(4, 1, 1), TARGETS.repeat(4)
    images = torch.where(masks[:, None], pictures().repeat(4, 1, 1, 1), colours)
    images[targets == 1] = hazy(images[targets == 1])

    levels = contrast_levels(images, masks, targets)

    chosen = (targets == 0).nonzero()[:, 0]
    brought = levels.bring(chosen, torch.ones_like(chosen))
    assert levels.changes[torch.arange(n), 1 - targets].all()
    torch.testing.assert_close(brought, hazy(images[chosen]), atol=0.08, rtol=0)


@pytest.mark.parametrize("opposed", [False, True])
@pytest.mark.parametrize("known", [MASKS, ~MASKS], ids=["objects", "backgrounds"])
def test_contrast_of_objects_or_of_backgrounds_alone_is_their_own(known: Tensor, opposed: bool) -> None:
    images = pictures()
    elsewhere = 0.45 + 1.6 * (images - 0.45) if opposed else images
    unlike = of_class_1(lambda x: torch.where(known[:, None], hazy(x), elsewhere), images)

    assert not contrast_levels(unlike, MASKS, TARGETS).changes.any()


def test_what_lies_close_around_a_small_object_is_no_contrast_of_its_own() -> None:
    small = torch.zeros_like(MASKS)
    small[:, 22:26, 22:26] = True
    images = torch.where(small[:, None], 0.5, pictures())

    assert not contrast_levels(of_class_1(hazy, images), small, TARGETS).changes.any()


@pytest.mark.parametrize(
    ("unsure", "step", "is_shared"),
    [(MASKS, 0.1, False), (~MASKS, 0.18, True)],
    ids=["objects", "backgrounds"],
)
def test_contrast_of_objects_that_surely_differ_is_shared_as_far_as_backgrounds_may_differ(
    unsure: Tensor, step: float, is_shared: bool
) -> None:
    images, flatter = pictures(), of_class_1(lambda x: 0.45 + 0.6 * (x - 0.45), pictures())
    spread = 0.3 * torch.randn(N, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    changes = []
    for length in (step, 1.2):
        varied = 0.45 + (spread - length * TARGETS[:, None, None, None]).exp() * (images - 0.45)
        levels = contrast_levels(torch.where(unsure[:, None], varied, flatter), MASKS, TARGETS)
        changes.append(bool(levels.changes.any()))

    assert changes == [is_shared, True]


@pytest.mark.parametrize(("errors", "is_shared"), [(1.5, False), (3.5, True)])
def test_without_masks_contrast_is_shared_where_the_surroundings_surely_differ_alone(
    errors: float, is_shared: bool
) -> None:
    targets = torch.arange(64) % 2
    spread = torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
    inside = targets[:, None].float()
    medians = torch.stack([spread[targets == label].quantile(0.5) for label in (0, 1)])
    centred = spread - medians[targets][:, None]
    slope = errors * float(centred.std()) * (torch.pi / 2 / (64 / 4)) ** 0.5
    outside = centred + slope * inside

    sure, longest = (shared_steps(outside, inside, targets, is_sure=is_sure) for is_sure in (True, False))

    assert bool(sure.any()) is is_shared
    assert longest.any()


def test_contrast_that_grows_from_class_to_class_is_shared_though_no_two_surely_differ() -> None:
    n_classes, n = 8, 160
    targets = torch.arange(n) % n_classes
    varied = 0.25 * torch.randn(n, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    gains = (-0.08 * targets[:, None, None, None] + torch.where(MASKS[:1, None], 0, varied)).exp()
    images = 0.45 + gains * (natural(1, SIZE, SIZE).expand(n, -1, -1, -1) - 0.45) / 2

    levels = contrast_levels(images, MASKS[:1].expand(n, -1, -1), targets)

    brought = levels.bring(torch.tensor([0]), torch.tensor([7]))
    assert levels.changes[0].tolist() == [False, *[True] * 7]
    assert (brought[0].std() / images[0].std()).log() == pytest.approx(-0.56, abs=0.05)


@pytest.mark.parametrize("object_has_more", [True, False])
def test_contrast_is_brought_as_far_as_objects_and_backgrounds_agree(object_has_more: bool) -> None:
    images = pictures()
    strong, weak = (0.45 + gain * (images - 0.45) for gain in (0.8, 0.6))
    more = MASKS if object_has_more else ~MASKS
    images = of_class_1(lambda _: torch.where(more[:, None], strong, weak), images)

    levels = contrast_levels(images, MASKS, TARGETS)

    brought = levels.bring(EVERY[::2], torch.ones(N // 2, dtype=torch.long))
    gains = brought.std((1, 2, 3)) / images[::2].std((1, 2, 3))
    torch.testing.assert_close(gains, torch.full_like(gains, 0.8), atol=0.03, rtol=0)


def test_where_all_lie_before_the_same_black_every_picture_stays_as_it_is() -> None:
    images = torch.where(MASKS[:, None], of_class_1(hazy, pictures()), 0)

    levels = contrast_levels(images, MASKS, TARGETS)

    assert not levels.changes.any()
    torch.testing.assert_close(levels.bring(EVERY, 1 - TARGETS), images)


def test_haze_is_brought_in_full_though_backgrounds_vary_widely() -> None:
    """Else a model that relies on nothing but haze would pass."""
    spread = torch.randn(N, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    images = 0.45 + torch.where(MASKS[:, None], 0.0, spread).exp() * (pictures() - 0.45)
    images, chosen = of_class_1(lambda x: 0.45 + 0.6 * (x - 0.45), images), EVERY[::2]

    levels = contrast_levels(images, MASKS, TARGETS)

    brought = levels.bring(chosen, torch.ones_like(chosen))
    gains = brought[:, :, MASKS[0]].std((1, 2)) / images[chosen][:, :, MASKS[0]].std((1, 2))
    assert gains.mean() == pytest.approx(0.6, abs=0.1)


@pytest.mark.parametrize(
    ("spread", "masks", "most"), [(0.1, MASKS, "WARN"), (1.0, MASKS, "INCONCLUSIVE"), (1.0, None, "WARN")]
)
def test_haze_that_backgrounds_do_not_surely_show_is_no_finding(spread: float, masks: Tensor | None, most: str) -> None:
    varied = spread * torch.randn(N, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    images = 0.45 + torch.where(MASKS[:, None], 0.0, varied).exp() * (pictures() - 0.45)
    (trial,) = (trial for trial in STANDARD if trial.cue == "contrast")

    seen = limited(trial, of_class_1(lambda x: 0.45 + 0.6 * (x - 0.45), images), masks, masks, TARGETS)

    assert seen.at_most == most


def test_pictures_that_are_only_darker_have_no_other_contrast() -> None:
    assert not contrast_levels(of_class_1(lambda x: x - 0.15, pictures()), MASKS, TARGETS).changes.any()


def test_contrast_changes_twofold_at_most() -> None:
    images = 0.5 + 0.3 * natural(N // 2, SIZE, SIZE).repeat_interleave(2, 0)
    flat = of_class_1(lambda x: 0.2 * (x - 0.5) + 0.5, images)

    brought = contrast_levels(flat, MASKS, TARGETS).bring(EVERY[::2], torch.ones(N // 2, dtype=torch.long))

    assert (brought.std() / flat[::2].std()).log() == pytest.approx(-0.7, abs=0.01)


@pytest.mark.parametrize(("darker", "is_contrast"), [(0.25, True), (0.35, False)])
def test_pictures_that_are_much_darker_are_another_matter_than_contrast(darker: float, is_contrast: bool) -> None:
    images = 0.55 + 0.4 * natural(N // 2, SIZE, SIZE).repeat_interleave(2, 0)
    mean = images.mean()

    levels = contrast_levels(of_class_1(lambda x: 0.6 * (x - mean) + mean - darker, images), MASKS, TARGETS)

    assert levels.changes[EVERY, 1 - TARGETS].tolist() == [is_contrast] * N


@pytest.mark.slow
def test_contrast_that_goes_with_classes_by_chance_is_seldom_brought() -> None:
    brought = 0
    for seed in range(100):
        contrast = 0.3 + torch.rand(N, 1, 1, 1, generator=torch.Generator().manual_seed(seed))
        images = 0.45 + contrast * (pictures(seed=seed) - 0.45)
        brought += bool(contrast_levels(images, MASKS, TARGETS).changes.any())

    assert brought < 10


# resolution


def halved(images: Tensor, factor: int = 2) -> Tensor:
    """What a picture is after it was stored at a lower resolution."""
    small = F.interpolate(images, scale_factor=1 / factor, mode="bilinear", antialias=True)
    return F.interpolate(small, size=images.shape[2:], mode="bilinear")


@masks
@pytest.mark.parametrize("factor", [2, 3])
def test_the_sharper_class_becomes_as_blurred_as_the_other(factor: int, masks: Tensor) -> None:
    images = of_class_1(lambda x: halved(x, factor), pictures())

    levels = resolution_levels(images, masks, TARGETS)
    result = other(levels, images)

    assert levels.changes.tolist() == [[False, label == 0] for label in TARGETS.tolist()]
    blurred, sharp = images[1::2], images[::2]
    assert (result[::2] - blurred).square().mean() < (sharp - blurred).square().mean() / 10


def test_a_blurred_background_blurs_no_object() -> None:
    images = pictures()
    behind = torch.where(MASKS[:, None], images, of_class_1(halved, images))

    assert not resolution_levels(behind, MASKS, TARGETS).changes.any()


def test_classes_as_sharp_stay_as_they_are_whatever_their_contrast() -> None:
    images = of_class_1(lambda x: 0.5 + 0.6 * (x - 0.5), natural(N // 2, SIZE, SIZE).repeat_interleave(2, 0))

    assert not resolution_levels(images, UNKNOWN, TARGETS).changes.any()


def test_detail_below_half_a_grey_level_is_none() -> None:
    images = of_class_1(lambda x: 0.5 + 1e-4 * x, torch.full((N, 3, SIZE, SIZE), 0.5) + 1e-4 * natural(N, SIZE, SIZE))

    assert not resolution_levels(of_class_1(halved, images), UNKNOWN, TARGETS).changes.any()


def test_each_of_three_classes_is_blurred_to_the_ones_below() -> None:
    images, targets = natural(N // 4, SIZE, SIZE).repeat(4, 1, 1, 1), torch.arange(N) // (N // 4) % 3
    for label, factor in ((1, 2), (2, 3)):
        images[targets == label] = halved(images[targets == label], factor)

    levels = resolution_levels(images, UNKNOWN, targets)

    reached = torch.tensor([[False, True, True], [False, False, True], [False, False, False]])
    assert torch.equal(levels.changes, reached[targets])
    both = levels.bring(torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2]))
    assert torch.equal(both[:1], levels.bring(torch.tensor([0]), torch.tensor([1])))
    assert (both[0] - both[1]).abs().max() > 0.01


def test_sharpness_shows_off_the_object_where_whole_pictures_differ_in_it() -> None:
    images = natural(N, SIZE, SIZE)
    smooth_objects = torch.where(MASKS[:, None], of_class_1(halved, images), images)

    assert sharpness_differs_off_object(of_class_1(halved, images), MASKS, TARGETS)
    assert not sharpness_differs_off_object(smooth_objects, MASKS, TARGETS)
    assert resolution_levels(smooth_objects, MASKS, TARGETS).changes.any()


def test_what_the_object_throws_around_itself_is_not_sharpness_off_it() -> None:
    """A bright object lies in the coarse octaves of its surroundings."""
    images = natural(N // 2, SIZE, SIZE).repeat_interleave(2, 0)
    bright = torch.where(MASKS[:, None], of_class_1(torch.ones_like, images), images)

    assert not sharpness_differs_off_object(bright, MASKS, TARGETS)


@pytest.mark.parametrize(
    ("smooth", "known", "most"), [(False, MASKS, "WARN"), (True, MASKS, "FAIL"), (True, None, "WARN")]
)
def test_sharpness_convicts_where_masks_show_that_it_is_not_the_objects(
    smooth: bool, known: Tensor | None, most: str
) -> None:
    images = natural(N, SIZE, SIZE)
    whole = of_class_1(halved, images)
    (trial,) = (trial for trial in STANDARD if trial.cue == "resolution")

    seen = limited(trial, whole if smooth else torch.where(MASKS[:, None], whole, images), known, known, TARGETS)

    assert seen.at_most == most


# codec


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_becomes_what_jpeg_would_leave_of_it(channels: int) -> None:
    images = of_class_1(lambda x: through_jpeg(x, 20), pictures(channels=channels))

    levels = codec_levels(images, UNKNOWN, TARGETS)

    assert levels.of.tolist() == (1 - TARGETS).tolist()
    assert levels.changes.tolist() == [[label == 0, False] for label in TARGETS.tolist()]
    result = levels.bring(EVERY[::2], torch.zeros(N // 2, dtype=torch.long))
    assert torch.equal(result, through_jpeg(images[::2], 20))


def test_quality_is_lost_from_level_to_level_and_never_won() -> None:
    images = pictures()
    qualities = [15, 40, 65, 90, PRISTINE]
    for i, quality in enumerate(qualities[:4]):
        images[i::5] = through_jpeg(images[i::5], quality)

    levels = codec_levels(images, UNKNOWN, TARGETS)

    assert levels.of.tolist() == [i % 5 for i in range(N)]
    assert torch.equal(levels.changes, torch.ones(N, 5).tril(-1)[EVERY % 5] > 0)
    brought = levels.bring(torch.tensor([4, 4, 3]), torch.tensor([0, 3, 1]))
    assert [abs(read - wanted) <= 1 for read, wanted in zip(jpeg_quality(brought), (15, 90, 40), strict=True)] == [
        True
    ] * 3


def test_of_many_qualities_a_few_typical_ones_are_levels() -> None:
    images = natural(N, SIZE, SIZE)
    images = torch.cat([through_jpeg(image[None], 30 + i) for i, image in enumerate(images)])

    levels = codec_levels(images, UNKNOWN, TARGETS)

    assert levels.changes.shape[1] == 5
    assert sorted(levels.of.tolist()) == levels.of.tolist()
    assert levels.of.bincount().min() >= 5


def test_pictures_that_jpeg_cannot_hold_have_no_quality() -> None:
    grey = of_class_1(lambda x: through_jpeg(x, 20), natural(N, SIZE, SIZE, channels=1))
    images = torch.cat([torch.zeros(N, 3, SIZE, SIZE), grey], 1)

    assert not codec_levels(images, UNKNOWN, TARGETS).changes.any()


@pytest.mark.parametrize("images", [torch.rand(N, 2, 16, 16), torch.rand(N, 4, 16, 16), torch.rand(N, 3, 6, 30)])
def test_pictures_in_which_no_jpeg_can_be_read_are_all_alike(images: Tensor) -> None:
    levels = codec_levels(images, torch.zeros(N, *images.shape[2:], dtype=torch.bool), TARGETS)

    assert levels.changes.tolist() == [[False]] * N


# every property

PROPERTIES = {
    "cast": cast_levels,
    "contrast": contrast_levels,
    "resolution": resolution_levels,
    "codec": codec_levels,
    "patch": patch_levels,
    "style": style_levels,
    "edge": rim_levels,
    "scale": size_levels,
    "orientation": turn_levels,
    "exposure": exposure_levels,
}
properties = pytest.mark.parametrize("levels_of", PROPERTIES.values(), ids=PROPERTIES)


def test_the_standard_trials_of_properties_are_these() -> None:
    assert {t.cue: t.swap.levels_of for t in STANDARD if isinstance(t.swap, LevelSwap)} == PROPERTIES


@properties
@pytest.mark.parametrize("size", [(24, 24), (17, 40), (5, 5), (1, 1)], ids=str)
def test_results_are_pictures_and_inputs_stay(levels_of: LevelsOf, size: tuple[int, int]) -> None:
    targets = torch.arange(8) % 2
    known = torch.zeros(8, *size, dtype=torch.bool)
    known[:, : size[0] // 2] = True
    half = known.clone()
    for channels in (1, 3, 4):
        shape = (8, channels, *size)
        pictures_of = {
            "noise": 1 - torch.rand(shape) * (0.2 + 0.6 * targets[:, None, None, None]),
            "black": torch.zeros(shape),
            "white": torch.ones(shape),
            "classes black and white": targets.float()[:, None, None, None].expand(shape),
        }
        for kind, images in pictures_of.items():
            before = images.clone()

            levels = levels_of(images, known, targets)

            chosen, wanted = levels.changes.nonzero().T
            result = levels.bring(chosen, wanted) if len(chosen) else images
            with case(f"{channels} channels", kind):
                assert result.shape[1:] == images.shape[1:]
                assert result.isfinite().all()
                assert result.min() >= 0
                assert result.max() <= 1
                assert torch.equal(images, before)
                assert torch.equal(known, half)
                assert not (kind in ("black", "white") and levels.changes.any())


@properties
def test_labels_with_gaps_are_levels_too(levels_of: LevelsOf) -> None:
    images = of_class_1(lambda x: through_jpeg(halved(x) * 0.8, 20), pictures())

    near, far = (levels_of(images, MASKS, targets) for targets in (TARGETS, 3 + 4 * TARGETS))

    chosen = near.changes.any(1).nonzero()[:, 0]
    of_half = {
        resolution_levels: N // 2,
        codec_levels: N // 2,
        patch_levels: 0,
        rim_levels: 0,
        size_levels: 0,
        turn_levels: 0,
        exposure_levels: 0,
    }
    assert len(chosen) == of_half.get(levels_of, N)
    stride = 1 if levels_of is codec_levels else 4
    wanted = near.changes[chosen].int().argmax(1)
    moved = far.bring(chosen, wanted if stride == 1 else 3 + stride * wanted)
    assert torch.equal(near.bring(chosen, wanted), moved)


# effects


def steps(of: list[int], n_levels: int, *, lowers_only: bool = False) -> Trial:
    """A property that is the grey of the picture."""

    def levels_of(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
        own = torch.tensor(of)
        reached = torch.arange(n_levels) < own[:, None] if lowers_only else torch.arange(n_levels) != own[:, None]

        def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
            return wanted[:, None, None, None].expand(-1, *images.shape[1:]) / 10

        return Levels(own, reached, bring)

    return Trial("grey", LevelSwap(levels_of))


class Graded:
    """A model that is as sure of class 0 as is given for each level of grey; counts the images."""

    def __init__(self, *sureness: float) -> None:
        self.sureness, self.n = torch.tensor(sureness), 0

    def __call__(self, pixels: Tensor) -> Tensor:
        self.n += len(pixels)
        sure = self.sureness[(pixels[:, 0, 0, 0] * 10).round().long()]
        return torch.stack([sure, 1 - sure], 1)


def swap(trial: Trial, of: list[int], targets: Tensor, model: Graded, chosen: Tensor | None = None) -> Tensor:
    images = (torch.tensor(of) / 10)[:, None, None, None].expand(-1, 1, 2, 2)
    plain = model(images if chosen is None else images[chosen])
    model.n = 0
    material = Material(images, targets, None, draw_donors(targets, 2, 0))
    given = trial.swap.answers(Session(material, torch.arange(len(images)) if chosen is None else chosen, plain, model))
    effects: Tensor = trial.swap.effects(given, material)[:, PROBABILITY]
    return effects


def test_answers_are_weighed_by_how_often_each_class_has_a_level() -> None:
    of, targets, model = [0, 0, 1, 1, 2, 2, 2, 2], torch.arange(8) // 4, Graded(0.9, 0.6, 0.1)

    found = swap(steps(of, 3), of, targets, model)

    # The own class has 0 and 1 half of the time each, the other one always 2; and the reverse.
    torch.testing.assert_close(found, torch.full((8,), (0.9 + 0.6) / 2 - 0.1))
    assert model.n == 8 * 2  # every image on the two levels that are not its own, once


@pytest.mark.parametrize(("often", "reads_as"), [(10, 1.0), (9, 1.0), (8, 5 / 11), (6, 1 / 11), (5, -1 / 11)])
def test_levels_that_go_along_with_the_class_stand_for_it(often: int, reads_as: float) -> None:
    """Images of the own class that lie on the level of the other would hide what hangs on it; not so by chance."""
    targets = torch.arange(22) // 11
    of = [int(i % 11 >= often) if i < 11 else int(i % 11 < often) for i in range(22)]

    found = swap(steps(of, 2), of, targets, Graded(0.9, 0.1))

    torch.testing.assert_close(found, torch.full((22,), 0.8 * reads_as))


def test_shares_of_the_images_are_the_same_as_all_at_once() -> None:
    of, targets, model = [0, 1, 1, 2, 2, 0, 2, 1], torch.arange(8) % 2, Graded(0.9, 0.5, 0.2)
    whole = swap(steps(of, 3), of, targets, model)

    parts = [swap(steps(of, 3), of, targets, model, part) for part in (torch.arange(3), torch.arange(3, 8))]

    torch.testing.assert_close(torch.cat(parts), whole)


def test_images_that_can_reach_no_level_of_their_donors_say_nothing() -> None:
    of, targets = [1, 1, 0, 0], torch.tensor([0, 0, 1, 1])

    found = swap(steps(of, 2, lowers_only=True), of, targets, Graded(0.1, 0.8))

    torch.testing.assert_close(found, torch.tensor([0.7, 0.7, math.nan, math.nan]), equal_nan=True)


def test_levels_that_neither_class_of_a_pair_has_say_nothing() -> None:
    of, targets, model = [1, 1, 1, 1, 0, 0], torch.arange(6) // 2, Graded(0.1, 0.8)
    images = (torch.tensor(of) / 10)[:, None, None, None].expand(-1, 1, 2, 2)
    own = torch.tensor([[1], [0], [3], [2], [5], [4]])
    donors = Donors(same=own, other=torch.tensor([[2], [3], [0], [4], [0], [1]]))

    def three(pixels: Tensor) -> Tensor:
        return torch.cat([model(pixels).flip(1), torch.zeros(len(pixels), 1)], 1)

    found = effects_of([steps(of, 2, lowers_only=True)], images, targets, None, donors, three)["grey"]

    expected = torch.tensor([math.nan] * 3 + [(0.8 - 0.1) / 2] + [math.nan] * 2)
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("chosen", [None, torch.tensor([2, 3])], ids=["all", "a share"])
def test_where_all_are_alike_nothing_is_known_and_no_model_is_asked(chosen: Tensor | None) -> None:
    of, model = [1, 1, 1, 1], Graded(0.1, 0.8)

    found = swap(steps(of, 2, lowers_only=True), of, torch.arange(4) % 2, model, chosen)

    assert found.isnan().all()
    assert model.n == 0


def test_a_class_counts_against_those_of_its_donors_alone() -> None:
    of, targets = [0, 0, 1, 1, 2, 2], torch.tensor([0, 0, 1, 1, 2, 2])
    images = (torch.tensor(of) / 10)[:, None, None, None].expand(-1, 1, 2, 2)
    answers = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]])

    def model(pixels: Tensor) -> Tensor:
        return answers[(pixels[:, 0, 0, 0] * 10).round().long()]

    donors = Donors(
        same=torch.tensor([[1], [0], [3], [2], [5], [4]]), other=torch.tensor([[2], [4], [0], [4], [0], [2]])
    )

    found = effects_of([steps(of, 3)], images, targets, None, donors, model)["grey"]

    # Image 0 with class 1: loses 0.7 - 0.3, which wins 0.4 - 0.2; image 1 with class 2; and so on.
    by_hand = [(0.4 + 0.2) / 2, (0.5 + 0.5) / 2, (0.2 + 0.4) / 2, (0.2 + 0.3) / 2, (0.5 + 0.5) / 2, (0.3 + 0.2) / 2]
    torch.testing.assert_close(found, torch.tensor(by_hand))


def test_evidence_is_at_the_levels_of_the_first_donors() -> None:
    of, targets = [0, 1, 2, 2], torch.tensor([0, 0, 1, 1])
    images = (torch.tensor(of) / 10)[:, None, None, None].expand(-1, 1, 2, 2)
    donors = Donors(same=torch.tensor([[1], [0], [3], [2]]), other=torch.tensor([[2], [3], [0], [1]]))

    same, others = steps(of, 3).swap.pictures(Material(images, targets, None, donors), torch.tensor([0, 3]), 0)

    torch.testing.assert_close(same[:, 0, 0, 0], torch.tensor([0.1, 0.2]))
    torch.testing.assert_close(others[:, 0, 0, 0], torch.tensor([0.2, 0.1]))


@pytest.mark.parametrize("cue", ["cast", "resolution", "codec"])
def test_evidence_leaves_what_cannot_change_as_it_is(cue: str) -> None:
    images = of_class_1(lambda x: through_jpeg(halved(x), 20), pictures())
    (trial,) = (trial for trial in STANDARD if trial.cue == cue)

    same, others = trial.swap.pictures(Material(images, TARGETS, MASKS, draw_donors(TARGETS, 1, 0)), EVERY, 0)

    assert torch.equal(same, images)
    assert torch.equal(others[1::2], images[1::2])
    assert torch.equal(others[::2], images[::2]) == (cue == "cast")
