"""Each edit brings one property of the donor and leaves the rest: by value on scenes made by hand."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from house.cases import case
from house.natural import natural
from lightning_cam.intervention import MARGIN, STANDARD, DonorSwap, Edit, edits, filters, parts
from lightning_cam.intervention.masks import ENOUGH_MASKS, off_object

HEIGHT, WIDTH = 40, 56
SEAM = 3  # pixels on either side of a mask's edge in which an edit of this size may mix


def box(top: int, left: int, height: int = 12, width: int = 12, *, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    """A mask ``(1, H, W)``."""
    mask = torch.zeros(1, *size, dtype=torch.bool)
    mask[:, top : top + height, left : left + width] = True
    return mask


def ellipse(scale: int) -> Tensor:
    """A mask eight times as fine, ``(1, 8 scale H, 8 scale W)``."""
    height, width = 8 * scale * HEIGHT, 8 * scale * WIDTH
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return ((y / 0.6) ** 2 + (x / 0.45) ** 2 < 1)[None]


def unknown(n: int = 1, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    return torch.zeros(n, *size, dtype=torch.bool)


def scene(mask: Tensor, inside: list[float], outside: list[float]) -> Tensor:
    """Two colours, ``(1, C, H, W)``."""
    colours = torch.tensor([outside, inside])
    return colours[mask.long()].movedim(-1, 1)


def grown(mask: Tensor, by: int = SEAM) -> Tensor:
    return F.max_pool2d(mask.float(), 2 * by + 1, stride=1, padding=by) > 0


def shrunk(mask: Tensor, by: int = SEAM) -> Tensor:
    return ~grown(~mask, by)


def at(image: Tensor, mask: Tensor) -> Tensor:
    """Pixels of one image where the mask is True, ``(C, pixels)``."""
    return image[0][:, mask[0]]


IMAGE_MASK, DONOR_MASK = box(8, 10), box(22, 36)
IMAGE = scene(IMAGE_MASK, [0.9, 0.1, 0.3], [0.2, 0.3, 0.4])
DONOR = scene(DONOR_MASK, [0.0, 1.0, 0.0], [0.6, 0.5, 0.7])
DONOR_GROUND = torch.tensor([[0.6], [0.5], [0.7]])

RING = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
RING[4:-4, 6:-6] = False  # pixels that lie at least half in the outer tenth: 4 of 40 rows, 5.6 of 56 columns
CORNERS = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
for rows in (slice(0, 8), slice(-8, None)):
    for columns in (slice(0, 11), slice(-11, None)):
        CORNERS[rows, columns] = True
REGION = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
REGION[30:36, 3:20] = True

swap_region = edits.swap_region(REGION)
SWAPS = {
    "background": (edits.swap_background, torch.ones(HEIGHT, WIDTH, dtype=torch.bool)),
    "border": (edits.swap_border, RING),
    "corner": (edits.swap_corners, CORNERS),
    "region": (swap_region, REGION),
}
EDITS = {trial.cue: trial.swap.edit for trial in STANDARD if isinstance(trial.swap, DonorSwap)} | {
    "region": swap_region
}
swaps = pytest.mark.parametrize(("edit", "region"), SWAPS.values(), ids=SWAPS)


def ids(*but: str) -> pytest.MarkDecorator:
    named = {cue: edit for cue, edit in EDITS.items() if cue not in but}
    return pytest.mark.parametrize("edit", named.values(), ids=named)


# swaps of what surrounds the object


@swaps
def test_the_donors_background_comes_where_the_swap_reaches(edit: Edit, region: Tensor) -> None:
    result = edit(IMAGE, IMAGE_MASK, DONOR, DONOR_MASK)

    outside = region & ~grown(IMAGE_MASK)
    assert outside.sum() > 50
    torch.testing.assert_close(at(result, outside), DONOR_GROUND.expand(3, int(outside.sum())))


@swaps
def test_what_the_swap_does_not_reach_stays(edit: Edit, region: Tensor) -> None:
    result = edit(IMAGE, IMAGE_MASK, DONOR, DONOR_MASK)

    kept = ~region & ~grown(IMAGE_MASK)
    torch.testing.assert_close(at(result, kept), at(IMAGE, kept))


@swaps
def test_the_inside_of_the_object_stays(edit: Edit, region: Tensor) -> None:
    mask = box(0, 0, 20, 30)
    image = natural(1, HEIGHT, WIDTH)

    result = edit(image, mask, DONOR, DONOR_MASK)

    inside = shrunk(mask)
    assert (region & inside).any() or edit is swap_region
    torch.testing.assert_close(at(result, inside), at(image, inside))


@swaps
def test_nothing_of_the_donors_object_shows(edit: Edit, region: Tensor) -> None:
    mask = box(25, 0, 15, WIDTH)  # in the border, two corners and the region

    result = edit(IMAGE, IMAGE_MASK, scene(mask, [0.0, 1.0, 0.0], [0.6, 0.5, 0.7]), mask)

    inside = region & ~grown(IMAGE_MASK)
    torch.testing.assert_close(at(result, inside), DONOR_GROUND.expand(3, int(inside.sum())))


@pytest.mark.parametrize("scale", [1, 4], ids=["small", "large"])
@pytest.mark.parametrize("old", [0.0, 1.0], ids=["from black", "from white"])
def test_an_object_before_another_background_is_as_if_it_had_been_there(old: float, scale: int) -> None:
    """The pixels on its outline are part object, part background; of the old one nothing stays."""
    fine = F.interpolate(ellipse(scale).float()[:, None], scale_factor=0.125, mode="area")  # coverage of each pixel
    before, expected = (fine * 0.3 + (1 - fine) * ground for ground in (old, 1 - old))
    mask = fine[:, 0] > 0.5

    result = edits.swap_background(before, mask, torch.full_like(before, 1 - old), unknown(size=tuple(mask.shape[1:])))

    edge = (fine[0, 0] > 0) & (fine[0, 0] < 1)
    error = (result - expected)[0, 0]
    assert error[edge].abs().mean() < 0.05
    assert error[edge].mean().abs() < 0.01
    assert error[~edge].abs().max() < 0.05


def test_a_hard_edge_stays_hard() -> None:
    image = scene(IMAGE_MASK, [1.0], [0.0])

    result = edits.swap_background(image, IMAGE_MASK, torch.full_like(image, 0.5), unknown())

    torch.testing.assert_close(result, scene(IMAGE_MASK, [1.0], [0.5]))


def test_the_outline_of_an_object_stays() -> None:
    """A drawn one may be two pixels wide; without it models react to backgrounds that they do not use."""
    image = scene(IMAGE_MASK, [1.0], [1.0])
    outline = IMAGE_MASK & ~shrunk(IMAGE_MASK, 2)
    image[:, :, outline[0]] = 0.0

    result = edits.swap_background(image, IMAGE_MASK, torch.ones_like(image), unknown())

    assert at(result, outline).mean() < 0.2


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (2, 2)], ids=str)
def test_objects_that_are_all_edge_stay(size: tuple[int, int]) -> None:
    mask = box(10, 10, *size)

    result = edits.swap_background(scene(mask, [1.0], [0.0]), mask, torch.zeros(1, 1, HEIGHT, WIDTH), unknown())

    assert at(result, mask).min() > 0.2
    assert at(result, ~grown(mask)).max() == 0


def test_what_the_donors_mask_just_misses_does_not_show() -> None:
    donor = scene(grown(DONOR_MASK, 1), [0.0, 1.0, 0.0], [0.6, 0.5, 0.7])

    result = edits.swap_background(IMAGE, IMAGE_MASK, donor, DONOR_MASK)

    off = ~grown(IMAGE_MASK)
    torch.testing.assert_close(at(result, off), DONOR_GROUND.expand(3, int(off.sum())))


OUTER_CELLS = torch.tensor([[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
OUTER_PIXELS = OUTER_CELLS.repeat_interleave(HEIGHT // 4, 0).repeat_interleave(WIDTH // 4, 1)


@pytest.mark.parametrize(
    ("edit", "region"),
    [
        (edits.swap_border, RING),
        (edits.swap_corners, CORNERS),
        (edits.swap_region(OUTER_CELLS), OUTER_PIXELS),
    ],
    ids=["border", "corner", "region"],
)
def test_without_masks_the_region_is_the_donors_whole(edit: Edit, region: Tensor) -> None:
    image, donor = natural(1, HEIGHT, WIDTH), natural(1, HEIGHT, WIDTH, seed=1)

    result = edit(image, unknown(), donor, unknown())

    assert torch.equal(result, torch.where(region, donor, image))


def test_without_masks_the_inner_cells_of_a_region_stay() -> None:
    """The object may lie there; the image with a mask shows that the same cells are swapped where it is known."""
    images, donors = natural(2, HEIGHT, WIDTH), natural(2, HEIGHT, WIDTH, seed=1)
    masks = torch.cat([unknown(), box(0, 0, 2, 2)])

    result = edits.swap_region(torch.ones(4, 4, dtype=torch.bool))(images, masks, donors, masks)

    inner = (slice(None), slice(10, 30), slice(14, 42))
    assert torch.equal(result[0][inner], images[0][inner])
    assert torch.equal(result[1][inner], donors[1][inner])
    assert torch.equal(result[0][:, :10], donors[0][:, :10])


@pytest.mark.parametrize("too_wide", [1, 2])
def test_a_mask_that_is_a_little_too_wide_carries_no_rim_of_the_old_background(too_wide: int) -> None:
    mask = box(20, 24, 24, 24, size=(80, 80))
    ground = torch.tensor([0.6, 0.5, 0.7])[:, None, None].expand(1, 3, 80, 80)

    swapped = edits.swap_background(
        scene(mask, [0.9, 0.1, 0.3], [0.2, 0.3, 0.4]), grown(mask, too_wide), ground, unknown(size=(80, 80))
    )

    torch.testing.assert_close(swapped, scene(mask, [0.9, 0.1, 0.3], [0.6, 0.5, 0.7]), atol=0.1, rtol=0)


def test_a_rim_in_a_colour_that_neither_object_nor_background_has_is_the_objects() -> None:
    rim = IMAGE_MASK & ~shrunk(IMAGE_MASK, 1)
    ringed = torch.where(rim[:, None], scene(rim, [0.4, 1.0, 0.4], [0.0, 0.0, 0.0]), IMAGE)

    swapped = edits.swap_background(ringed, IMAGE_MASK, DONOR, DONOR_MASK)

    assert at(swapped, rim)[0].mean() == pytest.approx(0.4, abs=0.1)


def test_a_textured_background_arrives_as_it_is() -> None:
    donor = natural(1, HEIGHT, WIDTH)

    result = edits.swap_background(IMAGE, IMAGE_MASK, donor, DONOR_MASK)

    seen = ~grown(IMAGE_MASK) & ~grown(DONOR_MASK)
    torch.testing.assert_close(at(result, seen), at(donor, seen))


@swaps
def test_a_donor_without_a_background_lends_its_pixels(edit: Edit, region: Tensor) -> None:
    """Not black, which no picture of the probe has."""
    everywhere = torch.ones_like(DONOR_MASK)

    result = edit(IMAGE, IMAGE_MASK, torch.full_like(DONOR, 0.7), everywhere)

    assert at(result, region & ~grown(IMAGE_MASK)).min() == pytest.approx(0.7, abs=1e-5)


# colours


def test_the_brightest_level_becomes_the_donors() -> None:
    image = 0.8 * natural(1, HEIGHT, WIDTH)
    donor = natural(1, HEIGHT, WIDTH, seed=1) * torch.tensor([1.0, 0.8, 0.7])[:, None, None]

    result = edits.match_tone(image, unknown(), donor, unknown())

    level = partial(np.quantile, q=0.98, axis=(1, 2), method="inverted_cdf")
    np.testing.assert_allclose(level(result[0]), level(donor[0]), rtol=1e-5)


def test_tone_scales_every_channel() -> None:
    image = torch.tensor([0.4, 0.3, 0.2])[None, :, None, None].expand(1, 3, 5, 5)
    donor = torch.tensor([0.8, 0.2, 0.2])[None, :, None, None].expand(1, 3, 5, 5)

    result = edits.match_tone(image, unknown(size=(5, 5)), donor, unknown(size=(5, 5)))

    torch.testing.assert_close(result, donor)


def test_tone_changes_by_a_factor_of_two_at_most() -> None:
    dark, bright = torch.full((1, 1, 5, 5), 0.1), torch.full((1, 1, 5, 5), 0.9)
    none = unknown(size=(5, 5))

    torch.testing.assert_close(edits.match_tone(dark, none, bright, none), dark * 2)
    torch.testing.assert_close(edits.match_tone(bright, none, dark, none), bright / 2)


# detail


def chequered(mask: Tensor, inside: float, outside: float) -> Tensor:
    """Pixels that alternate around 0.5 by as much as is given on and off the object."""
    rows, columns = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH)
    signs = 1 - 2 * ((rows + columns) % 2)
    return (0.5 + signs * torch.where(mask, inside, outside))[:, None]


def detail(image: Tensor, mask: Tensor, sigma: float = 0.7) -> float:
    """Standard deviation, off the mask, of what a Gaussian takes from the brightness."""
    grey = image[0].mean(0).double().numpy()
    return float((grey - ndimage.gaussian_filter(grey, sigma, mode="nearest"))[~mask[0].numpy()].std())


@pytest.mark.parametrize("level", [0.05, 0.1, 0.4])
def test_detail_off_the_object_becomes_as_strong_as_the_donors(level: float) -> None:
    result = edits.match_frequencies(
        chequered(IMAGE_MASK, 0.1, 0.2), IMAGE_MASK, chequered(DONOR_MASK, 0.5, level), DONOR_MASK
    )

    inner = ~grown(IMAGE_MASK)[0]
    inner[:3] = inner[-3:] = inner[:, :3] = inner[:, -3:] = False
    contrast = (result[0, 0] - 0.5).abs()[inner]
    torch.testing.assert_close(contrast, torch.full_like(contrast, level), atol=0.01, rtol=0)


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.0, 2.0])
def test_detail_off_the_object_goes_most_of_the_way_on_textured_pictures(sigma: float) -> None:
    """Octaves overlap, so not all of it."""
    image = natural(1, HEIGHT, WIDTH)
    donor = filters.blurred(natural(1, HEIGHT, WIDTH, seed=1), sigma)

    result = edits.match_frequencies(image, IMAGE_MASK, donor, DONOR_MASK)

    before, after = detail(image, grown(IMAGE_MASK)), detail(result, grown(IMAGE_MASK))
    wanted = detail(donor, grown(DONOR_MASK))
    assert before > 1.5 * wanted
    assert wanted < after < wanted + 0.25 * (before - wanted)


def test_the_objects_own_texture_is_not_part_of_the_frequencies() -> None:
    image = chequered(IMAGE_MASK, 0.1, 0.2)
    rough = chequered(DONOR_MASK, 0.5, 0.2)

    torch.testing.assert_close(edits.match_frequencies(image, IMAGE_MASK, rough, DONOR_MASK), image, atol=0.01, rtol=0)


# place


def centre(mask: Tensor) -> tuple[float, float]:
    rows, columns = mask.nonzero().double().mean(0).tolist()
    return rows, columns


@pytest.mark.parametrize(("height", "width"), [(12, 12), (6, 20), (2, 2)])
def test_the_object_lands_at_the_donors_centre_before_its_own_background(height: int, width: int) -> None:
    donor_mask = box(22, 30, height, width)
    moved = box(28 - 12 // 2 - (12 - height) // 2, 36 - (12 - width) // 2 - 6, 12, 12)
    assert centre(moved[0]) == centre(donor_mask[0])

    result = edits.move_object(IMAGE, IMAGE_MASK, DONOR, donor_mask)

    expected = scene(moved, [0.9, 0.1, 0.3], [0.2, 0.3, 0.4])
    sure = shrunk(moved) | ~grown(moved)
    torch.testing.assert_close(at(result, sure), at(expected, sure))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (HEIGHT - 2, WIDTH - 2), (0, WIDTH - 2)])
def test_the_object_stays_whole_at_the_edge(top: int, left: int) -> None:
    donor_mask = box(top, left, 2, 2)
    moved = box(min(top, HEIGHT - 12), min(left, WIDTH - 12))
    image = scene(IMAGE_MASK, [0.9], [0.2])

    result = edits.move_object(image, IMAGE_MASK, image, donor_mask)

    torch.testing.assert_close(at(result, shrunk(moved)), torch.full((1, int(shrunk(moved).sum())), 0.9))
    torch.testing.assert_close(at(result, ~grown(moved)), torch.full((1, int((~grown(moved)).sum())), 0.2))


def test_without_masks_the_whole_picture_moves() -> None:
    image, donor, expected = (
        scene(box(*place, 8, 8), [0.9, 0.8, 0.9], [0.1, 0.2, 0.1]) for place in ((14, 20), (20, 14), (20, 14))
    )

    torch.testing.assert_close(edits.move_object(image, unknown(), donor, unknown()), expected)


def test_a_picture_that_moves_is_mirrored_at_its_edges() -> None:
    image, donor = (scene(box(14, left, 12, 12), [0.9], [0.1]) for left in (20, 24))
    image = image.clone()
    image[0, 0, :, 0] = 0.2

    result = edits.move_object(image, unknown(), donor, unknown())

    assert torch.equal(result[0, 0, :, 4:], image[0, 0, :, :-4])
    assert torch.equal(result[0, 0, :, :4], image[0, 0, :, 1:5].flip(1))


def test_one_missing_mask_moves_the_picture_as_two_do() -> None:
    image, donor = (scene(box(*place, 8, 8), [0.9], [0.1]) for place in ((4, 6), (24, 40)))
    expected = edits.move_object(image, unknown(), donor, unknown())

    assert torch.equal(edits.move_object(image, box(4, 6, 8, 8), donor, unknown()), expected)
    assert torch.equal(edits.move_object(image, unknown(), donor, box(24, 40, 8, 8)), expected)


# every edit


@ids("background")
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_pictures_as_their_own_donors_stay(edit: Edit, level: float) -> None:
    image = torch.full((1, 3, HEIGHT, WIDTH), level)

    torch.testing.assert_close(edit(image, unknown(), image, unknown()), image)


@ids("background")
def test_a_picture_as_its_own_donor_without_a_mask_stays(edit: Edit) -> None:
    image = natural(2, HEIGHT, WIDTH)

    torch.testing.assert_close(edit(image, unknown(2), image, unknown(2)), image)


@ids()
def test_a_picture_as_its_own_donor_stays_but_for_the_seam(edit: Edit) -> None:
    image = natural(1, HEIGHT, WIDTH)

    result = edit(image, IMAGE_MASK, image, IMAGE_MASK)

    sure = shrunk(IMAGE_MASK) | ~grown(IMAGE_MASK)
    torch.testing.assert_close(at(result, sure), at(image, sure))
    assert (result - image).abs().max() < 0.35


@ids()
@pytest.mark.parametrize("size", [(24, 24), (17, 40), (41, 16), (5, 5)], ids=str)
def test_results_are_pictures_and_inputs_stay(edit: Edit, size: tuple[int, int]) -> None:
    if edit is swap_region:
        edit = edits.swap_region(torch.ones(size, dtype=torch.bool))
    bands = {"box": (2, 4), "all": (0, None), "all but a row": (1, None), "a pixel": (0, 1), "none": (0, 0)}
    for channels, (mask, (top, bottom)) in itertools.product((1, 3, 4), bands.items()):
        images = torch.rand(2, channels, *size)
        masks = torch.zeros(2, *size, dtype=torch.bool)
        masks[:, top:bottom, : 1 if mask == "a pixel" else None] = True
        masks[1] &= masks[1].flip(1)
        before = images.clone(), masks.clone()

        result = edit(images, masks, images.flip(0), masks.flip(0))

        with case(f"{channels} channels", mask):
            assert result.shape == images.shape
            assert result.dtype == images.dtype
            assert ((result >= 0) & (result <= 1 + 1e-6)).all()
            assert torch.equal(images, before[0])
            assert torch.equal(masks, before[1])


@ids("region")
def test_one_black_and_one_white_picture_stay_pictures(edit: Edit) -> None:
    pictures = torch.stack([torch.zeros(3, HEIGHT, WIDTH), torch.ones(3, HEIGHT, WIDTH)])
    masks = torch.cat([IMAGE_MASK, unknown()])

    result = edit(pictures, masks, pictures.flip(0), masks.flip(0))

    assert ((result >= 0) & (result <= 1 + 1e-6)).all()


@ids()
def test_every_picture_is_edited_by_itself(edit: Edit) -> None:
    """Neither the order nor the other pictures matter."""
    images, donors = natural(3, HEIGHT, WIDTH), natural(3, HEIGHT, WIDTH, seed=1)
    masks, donor_masks = torch.cat([box(4, 5), box(20, 30), unknown()]), torch.cat([box(9, 9), unknown(), box(1, 2)])
    order = torch.tensor([2, 0, 1])

    result = edit(images, masks, donors, donor_masks)

    permuted = edit(images[order], masks[order], donors[order], donor_masks[order])
    torch.testing.assert_close(permuted, result[order])
    for one in range(3):
        alone = slice(one, one + 1)
        torch.testing.assert_close(edit(images[alone], masks[alone], donors[alone], donor_masks[alone]), result[alone])


@ids()
def test_double_precision_gives_the_same(edit: Edit) -> None:
    images, donors = natural(1, HEIGHT, WIDTH), natural(1, HEIGHT, WIDTH, seed=1)

    result = edit(images.double(), IMAGE_MASK, donors.double(), DONOR_MASK)

    assert result.dtype == torch.float64
    torch.testing.assert_close(result.float(), edit(images, IMAGE_MASK, donors, DONOR_MASK), atol=1e-5, rtol=0)


# equalisers


def test_hidden_background_is_grey_and_the_object_stays() -> None:
    result = parts.hide_background(IMAGE, IMAGE_MASK)

    expected = scene(IMAGE_MASK, [0.9, 0.1, 0.3], [0.5, 0.5, 0.5])
    sure = shrunk(IMAGE_MASK) | ~grown(IMAGE_MASK)
    torch.testing.assert_close(at(result, sure), at(expected, sure))


def test_hidden_object_gives_way_to_its_surroundings() -> None:
    result = parts.hide_object(IMAGE, IMAGE_MASK)

    torch.testing.assert_close(result, scene(unknown(), [0.0, 0.0, 0.0], [0.2, 0.3, 0.4]))


def test_hidden_middle_leaves_the_outer_fifth() -> None:
    image = natural(1, 10, 20)

    result = parts.hide_middle(image)

    expected = image.clone()
    expected[:, :, 2:-2, 4:-4] = 0.5
    assert torch.equal(result, expected)


# where a picture is looked at


def test_off_the_object_is_outside_the_widened_mask() -> None:
    size = (100, 120)

    result = off_object(box(30, 40, 20, 10, size=size))

    assert torch.equal(result, (~box(27, 37, 26, 16, size=size)).float())


@pytest.mark.parametrize("mask", [unknown(), ~unknown(), ~box(0, 0, 2, WIDTH)], ids=["none", "all", "all but 2 rows"])
def test_without_surroundings_the_outer_ring_is_looked_at(mask: Tensor) -> None:
    assert torch.equal(off_object(mask), RING[None].float())


def test_images_without_a_mask_cannot_lift_a_mean_above_the_margin() -> None:
    """An effect is 1 at most."""
    largest_mean = (1 - ENOUGH_MASKS) * 1.0

    assert largest_mean == pytest.approx(MARGIN)


# fill


def test_filled_pictures_keep_what_is_known() -> None:
    image = natural(2, 33, 21)
    known = torch.rand(2, 33, 21) > 0.5

    result = filters.fill(image, known)

    assert torch.equal(result.masked_select(known[:, None]), image.masked_select(known[:, None]))


@pytest.mark.parametrize("size", [(33, 21), (1, 7), (2, 2), (64, 64)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_surroundings_fill_with_the_constant(size: tuple[int, int], dtype: torch.dtype) -> None:
    known = torch.zeros(1, *size, dtype=torch.bool)
    known[:, 0, 0] = known[:, -1, -1] = True
    image = torch.where(known[:, None], 0.3, 77.0).to(dtype)

    torch.testing.assert_close(filters.fill(image, known), torch.full((1, 1, *size), 0.3, dtype=dtype))


def test_holes_are_filled_from_the_nearest_side() -> None:
    image = torch.cat([torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)], 3)
    known = ~box(8, 16, 16, 32, size=(32, 64))

    result = filters.fill(image, known)[0, 0]

    assert result[12:20, 17].max() < 0.3
    assert result[12:20, 46].min() > 0.7
    assert ((result >= 0) & (result <= 1)).all()


def test_a_pair_of_known_pixels_is_averaged_by_hand() -> None:
    image = torch.tensor([[[[0.2, 9.0], [9.0, 0.6]]]])
    known = torch.tensor([[[True, False], [False, True]]])

    torch.testing.assert_close(filters.fill(image, known), torch.tensor([[[[0.2, 0.4], [0.4, 0.6]]]]))


def test_a_picture_known_everywhere_is_itself() -> None:
    image = natural(1, 9, 9)

    assert torch.equal(filters.fill(image, torch.ones(1, 9, 9, dtype=torch.bool)), image)


# blurred


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.4, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blur_is_scipys_gaussian(sigma: float, dtype: torch.dtype) -> None:
    image = torch.rand(2, 3, 11, 17, dtype=torch.float64)
    reach = max(1, math.floor(3 * sigma + 0.5))

    expected = ndimage.gaussian_filter(image.numpy(), sigma, mode="nearest", radius=reach, axes=(2, 3))
    torch.testing.assert_close(
        filters.blurred(image.to(dtype), sigma), torch.from_numpy(expected).to(dtype), atol=1e-5, rtol=0
    )
