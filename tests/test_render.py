"""What pictures show: one colour scale for all of them, readable on any photo, and names that stay text."""

import math
import random
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from house.markup import Tags
from lightning_cam import Probe, render
from lightning_cam.examination import Reading
from lightning_cam.render import paint, scale, strips, tiles
from lightning_cam.sinks.frames import Frame
from lightning_cam.sinks.pages import check_page

EMPTY = torch.zeros(4, 4)
evidence = sys.modules["lightning_cam.render.evidence"]  # the function of the same name hides it
NOT_FINITE = torch.full((4, 4), math.nan)
EVEN = torch.ones(4, 4)
CORNER = torch.zeros(4, 4).index_put((torch.tensor(0), torch.tensor(0)), torch.tensor(1.0))


def photo(value: float, size: tuple[int, int] = (32, 32), channels: int = 3) -> Tensor:
    return torch.full((channels, *size), value)


def square_mask() -> Tensor:
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[8:24, 8:24] = True
    return mask


def panels(picture: np.ndarray, size: tuple[int, int] = (224, 224)) -> tuple[np.ndarray, np.ndarray]:
    """The input and the overlay of a tile, which end above the legend."""
    height, width = size
    bottom = picture.shape[0] - paint.LEGEND_HEIGHT - 2 * paint.GAP
    left = paint.GAP + (tiles.PANEL - width) // 2
    right = left + tiles.PANEL + paint.GAP
    return picture[bottom - height : bottom, left : left + width], picture[
        bottom - height : bottom, right : right + width
    ]


def overlay_of(attention: Tensor, image: Tensor | None = None, mask: Tensor | None = None) -> np.ndarray:
    picture, _ = render.tile(photo(0.5) if image is None else image, attention, mask, ["a"])
    return panels(picture)[1]


# ---- the scale -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_density_is_the_value_over_the_mean(dtype: torch.dtype) -> None:
    expected = [[0, 0.5, 1], [2.5, 1, 1]]

    np.testing.assert_allclose(
        render.density(torch.tensor([[0, 1, 2], [5, 2, 2]], dtype=dtype)), expected, rtol=0, atol=0
    )


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1e30])
def test_density_does_not_depend_on_the_unit_of_the_map(factor: float) -> None:
    attention = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))

    np.testing.assert_allclose(render.density(attention * factor), render.density(attention), rtol=1e-5)


@pytest.mark.parametrize(
    "attention",
    [EMPTY, NOT_FINITE, torch.tensor([[1.0, math.inf]]), torch.tensor([[1.0, math.nan]])],
    ids=["empty", "nan", "inf", "one nan"],
)
def test_what_has_no_density_is_shown_as_none(attention: Tensor) -> None:
    assert not render.density(attention).any()


def test_one_cell_is_the_even_share() -> None:
    assert render.density(torch.tensor([[3.0]])) == 1


def test_colour_grows_with_attention_up_to_eight_times_the_even_share() -> None:
    share = np.array([[0, 0.5, 1, 2, 4, 8, 100]], dtype=np.float32)
    place = scale.strength(share)

    np.testing.assert_allclose(place, [[0, 0.184535, 0.315465, 0.5, 0.732487, 1, 1]], atol=1e-6)


@pytest.mark.parametrize(
    ("share_of_cells", "density", "expected"),
    [(1.0, 1.0, 2.0), (0.02, 2.5, 3.0), (0.02, 5.0, 6.0), (0.02, 30.0, 8.0), (0.002, 30.0, 2.0)],
    ids=["even", "2.5x", "5x", "more than 8x", "one cell in 500"],
)
def test_the_scale_ends_where_199_of_200_cells_end(share_of_cells: float, density: float, expected: float) -> None:
    n = round(10_000 * share_of_cells)
    rest = (10_000 - n * density) / max(10_000 - n, 1)
    attention = torch.full((10_000,), rest).index_fill(0, torch.arange(n), density).reshape(100, 100)

    assert scale.scale_end([attention]) == expected


def test_the_scale_ends_at_two_without_any_map() -> None:
    assert scale.scale_end([]) == scale.scale_end([EMPTY, NOT_FINITE]) == 2.0


def test_colours_reach_their_end_where_the_scale_ends() -> None:
    share = np.array([[0, 1, 2, 3, 8]], dtype=np.float32)

    np.testing.assert_allclose(scale.strength(share, 3), [[0, 0.5, 0.792481, 1, 1]], atol=1e-6)


@pytest.mark.parametrize("background", [0.0, 0.5, 1.0], ids=["black", "grey", "white"])
def test_outside_and_inside_are_told_apart_by_colour_and_light(background: float) -> None:
    """As in a model of the demo that looks at the background, where 0.83 of the attention lies."""
    attention = torch.full((32, 32), 1.1).masked_fill(square_mask(), 0.7)
    picture, _ = render.tile(photo(background), attention, square_mask(), ["a"], outside=0.83, end=2.0)
    top = picture.shape[0] - paint.LEGEND_HEIGHT - 2 * paint.GAP - tiles.GAUGE_LINE - tiles.PANEL
    outside, inside = picture[top + 20, 260], picture[top + 112, 352]
    lit, dark = picture[top + 20, 492], picture[top + 112, 584]

    assert np.linalg.norm(outside.astype(int) - inside) > 60  # 20 to 50 on a scale that ends at 8x
    assert lit.astype(int).sum() > 1.4 * dark.astype(int).sum()


def test_without_attention_the_spotlight_is_dark() -> None:
    picture, _ = render.tile(photo(1.0), EMPTY, None, ["a"])
    bottom = picture.shape[0] - paint.LEGEND_HEIGHT - 2 * paint.GAP

    assert (picture[bottom - 224 : bottom, 472:696] == 0).all()


@pytest.mark.parametrize("outside", [0.0, 0.001, 0.5, 1.0, math.nan], ids=str)
def test_a_bar_is_as_long_as_the_share_outside_and_a_mark_is_at_the_even_share(outside: float) -> None:
    picture, _ = render.tile(photo(0.5), EVEN, square_mask(), ["a"], outside=outside)
    bar = picture[picture.shape[0] - paint.LEGEND_HEIGHT - 2 * paint.GAP - tiles.GAUGE_LINE + paint.GAP + 4, 240:696]
    length = 0 if math.isnan(outside) else round(456 * outside)
    mark = range(456 * 3 // 4 - 2, 456 * 3 // 4 + 2)  # a quarter of the picture is object

    for x, pixel in enumerate(bar):
        expected = paint.OUTSIDE if x < length else paint.TRACK
        assert x in mark or pixel.tolist() == list(expected), x
    assert bar[mark[1]].tolist() == list(paint.INK)


def test_equal_density_has_equal_colour_in_every_picture() -> None:
    flat = torch.tensor([[2.0, 0, 1, 1]])  # peak at twice the mean
    peaked = torch.tensor([[8.0, 2, 0, 0, 0, 0, 0, 0, 0, 0]])  # twice the mean beside a peak of eight
    grey = np.full((1, 10, 3), 128, dtype=np.uint8)

    colour = scale.tinted(grey[:, :4], render.density(flat))[0, 0]

    np.testing.assert_array_equal(scale.tinted(grey, render.density(peaked))[0, 1], colour)


def test_an_even_map_looks_even_and_not_like_none() -> None:
    overlay = overlay_of(EVEN)

    assert (overlay == overlay[0, 0]).all()
    assert np.abs(overlay[0, 0].astype(int) - 128).max() > 10


@pytest.mark.parametrize("background", [0, 255], ids=["black", "white"])
def test_the_even_share_is_plain_to_see_on_black_and_on_white(background: int) -> None:
    colours = scale.tinted(np.full((1, 2, 3), background, dtype=np.uint8), np.array([[0, 1]], dtype=np.float32))[0]

    assert np.abs(colours[1].astype(int) - colours[0]).max() > 80


def test_the_photo_keeps_its_colours_where_nobody_looks_and_loses_them_where_one_does() -> None:
    green = np.full((1, 3, 3), (20, 200, 40), dtype=np.uint8)
    grey = np.full((1, 3, 3), 128, dtype=np.uint8)  # as bright as the green, by ITU-R BT.601
    share = np.array([[0, 3, 8]], dtype=np.float32)

    assert scale.tinted(green, share)[0, 0].tolist() == [20, 200, 40]
    assert np.abs(scale.tinted(green, share)[0, 1:].astype(int) - scale.tinted(grey, share)[0, 1:]).max() <= 1


# Severe deuteranomaly and protanomaly (Machado et al. 2009, table 1, severity 1.0), for linear RGB.
COLOUR_VISION = {
    "full": np.eye(3),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}


@pytest.mark.parametrize("vision", COLOUR_VISION.values(), ids=COLOUR_VISION)
@pytest.mark.parametrize("background", [0, 128, 255], ids=["black", "grey", "white"])
def test_the_marks_of_the_legend_are_told_apart(background: int, vision: np.ndarray) -> None:
    marks = np.array([[0, 1, 2, 4, 8]], dtype=np.float32)
    colours = scale.tinted(np.full((1, 5, 3), background, dtype=np.uint8), marks)[0] / 255.0

    seen = (colours**2.2 @ vision.T).clip(0, 1) ** (1 / 2.2) * 255
    apart = np.linalg.norm(np.diff(seen, axis=0), axis=1)

    assert apart.min() > 18, apart


def test_right_and_wrong_are_told_apart_by_every_colour_vision() -> None:
    colours = np.array([paint.RIGHT, paint.WRONG]) / 255.0

    for vision in COLOUR_VISION.values():
        right, wrong = (colours**2.2 @ vision.T).clip(0, 1) ** (1 / 2.2) * 255
        assert np.linalg.norm(right - wrong) > 100


# ---- tiles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", [EMPTY, NOT_FINITE], ids=["empty", "not finite"])
def test_without_attention_the_photo_keeps_its_colours(attention: Tensor) -> None:
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    shown, overlay = panels(render.tile(image, attention, square_mask(), ["a"])[0])

    np.testing.assert_array_equal(overlay[:-20], shown[:-20])
    assert (overlay[-20:] != shown[-20:]).any()


def test_an_empty_and_a_broken_map_say_different_things() -> None:
    assert (overlay_of(EMPTY) != overlay_of(NOT_FINITE)).any()


@pytest.mark.parametrize("background", [0.0, 1.0], ids=["black", "white"])
def test_the_object_is_outlined_on_any_background(background: float) -> None:
    shown, overlay = panels(render.tile(photo(background), EMPTY, square_mask(), ["a"])[0])
    seven = 224 // 32

    np.testing.assert_array_equal(shown[100, 8 * seven - 1 : 8 * seven + 1, 0], [0, 255])
    np.testing.assert_array_equal(shown[100, 24 * seven - 1 : 24 * seven + 1, 0], [255, 0])
    np.testing.assert_array_equal(overlay[: 8 * seven + 1], shown[: 8 * seven + 1])


@pytest.mark.parametrize("mask", [None, torch.zeros(32, 32, dtype=torch.bool)], ids=["none", "missing"])
def test_without_an_object_nothing_is_outlined(mask: Tensor | None) -> None:
    picture, _ = render.tile(photo(0.5), EVEN, mask, ["a"])

    assert (panels(picture)[0] == 128).all()
    np.testing.assert_array_equal(picture, render.tile(photo(0.5), EVEN, None, ["a"])[0])


def test_the_peak_is_where_it_belongs() -> None:
    overlay = overlay_of(CORNER).astype(int)

    assert np.abs(overlay[:20, :20] - scale.COLOURS[-1]).max() < 25
    assert (overlay[120:, 120:] == 128).all()


def test_a_small_image_keeps_its_pixels() -> None:
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    shown, _ = panels(render.tile(image, EVEN, None, ["a"])[0])
    expected = np.round(image.numpy() * 255).transpose(1, 2, 0).repeat(7, axis=0).repeat(7, axis=1)

    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((8, 8), (224, 224)),
        ((150, 150), (224, 224)),
        ((1000, 500), (224, 112)),
        ((48, 96), (112, 224)),
        ((1, 300), (1, 224)),
    ],
    ids=str,
)
def test_every_size_comes_to_a_readable_one(size: tuple[int, int], expected: tuple[int, int]) -> None:
    picture, bands = render.tile(photo(0.5, size), EVEN, torch.ones(size, dtype=torch.bool), ["a"])

    assert picture.shape == (4 * paint.GAP + 30 + expected[0] + 35, 704, 3)
    assert picture.dtype == bands.dtype == np.uint8
    assert bands.shape == picture.shape[:2]
    assert (bands == 1).sum() == expected[0] * expected[1]


def test_one_channel_is_grey_and_more_than_three_are_the_first_three() -> None:
    grey, two = photo(0.25, channels=1), torch.stack([torch.zeros(32, 32), torch.ones(32, 32)])
    six = torch.rand(6, 32, 32, generator=torch.Generator().manual_seed(0))

    assert (panels(render.tile(grey, EVEN, None, ["a"])[0])[0] == 64).all()
    assert (panels(render.tile(two, EVEN, None, ["a"])[0])[0] == 128).all()
    np.testing.assert_array_equal(render.tile(six, EVEN, None, ["a"])[0], render.tile(six[:3], EVEN, None, ["a"])[0])


def test_pixels_out_of_range_are_clipped_not_wrapped() -> None:
    image = photo(0.5)
    image[:, 0, 0], image[:, 0, 1], image[:, 0, 2] = -1, 2, math.nan

    assert panels(render.tile(image, EVEN, None, ["a"])[0])[0][0, [0, 7, 14], 0].tolist() == [0, 255, 0]


def test_right_and_wrong_are_seen_at_a_glance() -> None:
    top = {c: render.tile(photo(0.5), EVEN, None, ["a"], correct=c)[0][0, 0].tolist() for c in (True, False, None)}

    assert top == {True: [86, 180, 233], False: [255, 130, 50], None: [240, 240, 240]}


def test_bands_lie_on_the_input_and_count_multiples_of_the_even_share() -> None:
    shares = torch.tensor([[0.5, 1.5], [3.0, 0.0]]).repeat_interleave(2, 0)  # the mean is 1.25
    _, bands = render.tile(photo(0.5), shares / 1.25, None, ["a", "b"])
    shown, overlay = panels(bands)

    assert [int(shown[y, x]) for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1))] == [0, 1, 2, 0]
    assert not overlay.any()
    assert bands.sum() == shown.sum()


def test_lines_say_who_is_right_how_sure_where_and_when() -> None:
    assert render.tile_lines("a", "a", 0.5, math.nan, 0) == (
        "right: predicted a (0.50)",
        "attention for true class a",
        "background attention undefined, step 0",
    )


def test_lines_say_that_there_is_no_mask() -> None:
    assert render.tile_lines("a", "a", 0.5, None, 7)[2] == "no mask, step 7"


def test_a_guessed_mask_is_marked() -> None:
    lines = render.tile_lines("a", "a", 0.5, 0.25, 7, guessed=True)

    assert lines[2] == "background attention 0.25 (guessed mask), step 7"


def test_a_page_tells_a_missing_mask_from_an_empty_map() -> None:
    masks = torch.stack([torch.ones(8, 8), torch.zeros(8, 8), torch.ones(8, 8)]).bool()
    masks[:, :4] = False
    probe = Probe(torch.rand(3, 3, 8, 8), torch.tensor([0, 0, 1]), masks=masks)
    background = torch.tensor([0.25, math.nan, math.nan])
    frame = Frame(Reading(7, 0, {}), torch.arange(3), torch.zeros(3, 2, 2), torch.full((3, 2), 0.5), background)
    page = check_page(probe, frame, "cam")

    expected = ["background attention 0.25, step 7", "no mask, step 7", "background attention undefined, step 7"]
    assert [tile.caption.split("; ")[2] for tile in page.tiles] == expected


def test_a_page_without_masks_says_so() -> None:
    probe = Probe(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    frame = Frame(Reading(7, 0, {}), torch.arange(2), torch.ones(2, 2, 2), torch.eye(2), torch.full((2,), math.nan))
    page = check_page(probe, frame, "cam")

    assert ["no mask" in tile.caption for tile in page.tiles] == [True, True]


def test_a_long_name_leaves_room_for_the_probability() -> None:
    headline = render.tile_lines("a", "x" * 300, 0.93, 0.5, 0)[0]

    assert headline == f"wrong: predicted {'x' * 15}... (0.93)"


@pytest.mark.parametrize(
    "text",
    ["x" * 500, "中文 日本", "naïve\n\x00\u202e", "", "\ud800"],
    ids=["long", "other script", "accents and controls", "none", "half a character"],
)
def test_any_text_can_be_drawn_and_stays_inside(text: str) -> None:
    picture, _ = render.tile(photo(0.5), EVEN, None, [text, text], correct=True)
    margin = slice(picture.shape[1] - paint.GAP + 1, None)

    assert (picture[5:, margin] == paint.PAPER).all()


def test_text_is_drawn() -> None:
    blank, said = (render.tile(photo(0.5), EVEN, None, [text])[0] for text in ("", "Käfer"))

    assert (blank != said).sum() > 100


# ---- strips ----------------------------------------------------------------------------------------------------------


def row(n_maps: int, **options: object) -> render.Row:
    return render.Row("leaf", photo(0.5), [EVEN] * n_maps, **options)  # type: ignore[arg-type]  # options of Row


def cell(picture: np.ndarray, number: int, column: int) -> np.ndarray:
    """The panel in a row and a column (0 is the input) of a strip of square images."""
    top = strips.HEAD + number * (strips.LABEL + 112 + strips.BAR + paint.GAP) + strips.LABEL
    left = paint.GAP + column * 120
    return picture[top : top + 112, left : left + 112]


def test_a_strip_starts_with_the_input_and_shows_each_step() -> None:
    maps = [EMPTY, EVEN, CORNER]
    picture = render.strip([render.Row("leaf", photo(0.5), maps)], [0, 5, 10], title="cam")

    assert (cell(picture, 0, 0) == 128).all()
    for column, attention in enumerate(maps, start=1):
        np.testing.assert_array_equal(
            cell(picture, 0, column), paint.overlay(paint.photo_of(photo(0.5), 112), attention, None)
        )


def test_a_strip_of_many_checks_keeps_the_first_and_the_last() -> None:
    maps = [EMPTY, *[EVEN] * 98, CORNER]
    picture = render.strip([render.Row("leaf", photo(0.5), maps)], list(range(100)), title="cam")

    assert picture.shape[1] == paint.GAP + 11 * 120
    for column, attention in ((1, EMPTY), (10, CORNER)):
        expected = paint.overlay(paint.photo_of(photo(0.5), 112), attention, None, 2.0)  # 98 of 100 maps are even
        np.testing.assert_array_equal(cell(picture, 0, column), expected)


def test_a_strip_of_many_probes_shows_eight_and_says_so() -> None:
    picture, eight = (render.strip([row(2)] * n, [0, 1], title="cam") for n in (20, 8))

    assert picture.shape == eight.shape
    assert (picture[:30] != eight[:30]).any()


def test_a_strip_marks_right_and_wrong_under_each_map() -> None:
    picture = render.strip([row(2, correct=[False, True])], [0, 1], title="cam")
    below = strips.HEAD + strips.LABEL + 112

    assert picture[below, 8 + 120].tolist() == list(paint.WRONG)
    assert picture[below, 8 + 240].tolist() == list(paint.RIGHT)
    assert picture[below, 8].tolist() == list(paint.PAPER)


def test_a_strip_says_how_much_of_the_attention_lies_outside() -> None:
    rows = [render.Row("leaf", photo(0.5), [EVEN, EVEN], square_mask(), outside=[0.25, math.nan])]
    picture = render.strip(rows, [0, 1], title="cam")
    below = strips.HEAD + strips.GAUGE_LINE + strips.LABEL + 112 + strips.BAR + 6 + 5

    assert picture[below, 128 + 10].tolist() == list(paint.OUTSIDE)
    assert picture[below, 128 + 20].tolist() == list(paint.TRACK)
    assert (picture[below, 248:360] == paint.PAPER).all()


def test_a_strip_holds_images_of_other_shapes() -> None:
    flat, tall = (
        render.Row("x", photo(0.5, size, channels=1), [EVEN], torch.ones(size) > 0) for size in ((20, 80), (300, 100))
    )

    assert render.strip([flat, tall], [3], title="cam").shape == (92 + 2 * (22 + 4 + 8) + 28 + 112, 848, 3)


@pytest.mark.parametrize("n", [0, 1, 2, 9, 10, 11, 1000])
def test_selected_steps_are_in_order_and_hold_both_ends(n: int) -> None:
    chosen = render.select_steps(n, 10)

    assert len(chosen) == min(n, 10)
    assert chosen == sorted(set(chosen))
    assert n == 0 or (chosen[0] == 0 and chosen[-1] == n - 1)


# ---- evidence --------------------------------------------------------------------------------------------------------


def swap(*values: float, size: tuple[int, int] = (32, 32), channels: int = 3, name: str = "leaf") -> render.SwapRow:
    """Panels of these values, whose probabilities are 1, 0.5 and 0."""
    return render.SwapRow(name, name, tuple(photo(v, size, channels) for v in values), (1.0, 0.5, 0.0))


def proof(*swaps: render.SwapRow) -> np.ndarray:
    return render.evidence(swaps, cue="border", title="cam")


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(32, 32), (20, 40), (40, 20), (300, 200)], ids=str)
def test_evidence_shows_three_panels_a_row(size: tuple[int, int], channels: int) -> None:
    picture = proof(swap(0, 0.5, 1, size=size, channels=channels))
    height, width = (round(side * 160 / max(size)) for side in size)
    top = evidence.HEAD + evidence.LABEL

    assert picture.shape == (top + height + evidence.FOOT + paint.GAP, 512, 3)
    for left, value in zip((8, 176, 344), (0, 128, 255), strict=True):
        assert (picture[top : top + height, left : left + width] == value).all()


def test_a_bar_is_as_long_as_the_probability() -> None:
    bars = proof(swap(0.5, 0.5, 0.5))[evidence.HEAD + evidence.LABEL + 160 + 3]

    assert (bars[8:168] == paint.RIGHT).all()
    assert (bars[176:256] == paint.RIGHT).all()
    assert (bars[256:336] == evidence.TRACK).all()
    assert (bars[344:504] == evidence.TRACK).all()


def test_evidence_of_more_images_has_more_rows() -> None:
    one, two = proof(swap(0, 0, 0)), proof(swap(0, 0, 0), swap(1, 1, 1))

    assert len(two) - len(one) == evidence.LABEL + 160 + evidence.FOOT + paint.GAP
    np.testing.assert_array_equal(two[: len(one)], one)


@pytest.mark.parametrize("name", ["x" * 500, "\u4e2d", "", "a\nb\x00"], ids=ascii)
def test_any_name_leaves_the_number_and_stays_inside(name: str) -> None:
    picture = render.evidence([swap(0.5, 0.5, 0.5, name=name)], cue=name, title=name)
    foot = picture[-paint.GAP - 20 :, 8:40]

    assert (picture[:, -paint.GAP + 1 :] == paint.PAPER).all()
    np.testing.assert_array_equal(foot, proof(swap(0.5, 0.5, 0.5))[-paint.GAP - 20 :, 8:40])


def test_an_unknown_probability_has_no_bar() -> None:
    unknown = render.SwapRow("a", "a", (photo(0.5),) * 3, (math.nan,) * 3)

    assert (proof(unknown)[evidence.HEAD + evidence.LABEL + 160 + 3, 8:168] == evidence.TRACK).all()


# ---- the summary -----------------------------------------------------------------------------------------------------


NASTY = [
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![x](http://a/b.png)",
    "a|b",
    "*a* _b_ `c`",
    "# a",
    "&lt;b&gt;",
    "<img src=x onerror=alert(1)//",
]


@pytest.mark.parametrize("name", NASTY)
def test_a_name_stays_text_in_a_dashboard(name: str) -> None:
    page = Tags(render.scalar_table(name, [0], [{name: 0.5}]))

    assert page.tags == {"h2", "table", "thead", "tbody", "tr", "th", "td"}
    assert page.text.count(name) == 2


def test_a_summary_shows_the_first_and_the_last_check() -> None:
    checks = [{"cam/lift": float(step)} for step in range(100)]
    lines = render.scalar_table("cam", list(range(100)), checks).splitlines()

    assert lines[2] == "| | step 0 | step 20 | step 40 | step 59 | step 79 | step 99 |"
    assert lines[4] == "| cam/lift | 0 | 20 | 40 | 59 | 79 | 99 |"


def test_a_summary_shows_what_only_some_checks_have() -> None:
    text = render.scalar_table("cam", [0, 9], [{"a": 1.0}, {"a": math.inf, "b": 0.123456}])

    assert "| a | 1 | - |" in text
    assert "| b | - | 0.123 |" in text


def test_a_summary_tells_how_to_open_the_pictures() -> None:
    text = render.scalar_table("cam", [0], [{"a": 1.0}], opening=["tensorboard --logdir 'x'\n# gone"])

    assert Tags(text).text.strip().endswith("tensorboard --logdir 'x' # gone")


def test_a_summary_of_nothing_says_so() -> None:
    assert "No check was made." in render.scalar_table("cam", [], [])


# ---- the promise -----------------------------------------------------------------------------------------------------


def test_drawing_draws_nothing_from_random_generators_and_leaves_its_inputs() -> None:
    image, attention, mask = photo(0.5), CORNER.clone(), square_mask()
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    render.tile(image, attention, mask, ["a"])
    render.strip([render.Row("a", image, [attention], mask)], [0], title="a")

    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert torch.equal(image, photo(0.5))
    assert torch.equal(attention, CORNER)
    assert torch.equal(mask, square_mask())


def test_maps_with_a_history_can_be_drawn() -> None:
    attention = torch.rand(4, 4, dtype=torch.bfloat16).requires_grad_()

    assert render.tile(photo(0.5).half(), attention, None, ["a"])[0].any()
