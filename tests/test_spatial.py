"""Geometry on the pixel grid, by hand, by relation, and against loops."""

import pytest
import torch
from torch import Tensor

from house import reference_measures as reference
from lightning_cam.spatial import (
    area_average,
    at_cell_centres,
    border_ring,
    boxes_to_masks,
    largest_component,
    mask_boxes,
    upsample,
)

# (mask, grid): whole cells, cells across pixels, a finer grid, equal, one cell, a row
SIZES = [
    ((28, 28), (7, 7)),
    ((23, 17), (7, 5)),
    ((5, 3), (8, 7)),
    ((6, 9), (6, 9)),
    ((4, 5), (1, 1)),
    ((1, 7), (1, 3)),
]
sizes = pytest.mark.parametrize(("size", "grid"), SIZES, ids=str)


def random_masks(n: int, size: tuple[int, int], share: float = 0.5, seed: int = 0) -> Tensor:
    return torch.rand(n, *size, generator=torch.Generator().manual_seed(seed)) < share


def drawn(*rows: str) -> Tensor:
    """A mask as it looks: `#` is True; one sample."""
    return torch.tensor([[character == "#" for character in row] for row in rows])[None]


# upsample


def test_upsampling_interpolates_between_cell_centres() -> None:
    maps = torch.tensor([[[0.0, 4.0]]])

    assert upsample(maps, (2, 4)).tolist() == [[[0.0, 1.0, 3.0, 4.0], [0.0, 1.0, 3.0, 4.0]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_upsampling_equals_the_loop_and_keeps_the_type(dtype: torch.dtype) -> None:
    maps = torch.rand(2, 4, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))

    upsampled = upsample(maps, (9, 11))

    expected = torch.tensor([reference.bilinear(m.tolist(), 9, 11) for m in maps], dtype=dtype)
    torch.testing.assert_close(upsampled, expected)


# area_average


def test_a_pixel_across_two_cells_counts_for_both() -> None:
    masks = drawn("##.")

    averaged = area_average(masks, (1, 2))

    assert averaged.dtype == torch.float32
    torch.testing.assert_close(averaged, torch.tensor([[[1.0, 1 / 3]]]))


@sizes
def test_area_average_equals_the_loop(size: tuple[int, int], grid: tuple[int, int]) -> None:
    masks = random_masks(3, size)

    averaged = area_average(masks, grid)

    torch.testing.assert_close(averaged, torch.tensor([reference.covered(m.tolist(), *grid) for m in masks]))


@sizes
def test_area_average_keeps_the_mean(size: tuple[int, int], grid: tuple[int, int]) -> None:
    masks = random_masks(4, size)

    averaged = area_average(masks, grid)

    torch.testing.assert_close(averaged.mean(dim=(1, 2)), masks.float().mean(dim=(1, 2)), rtol=1e-6, atol=0)


@sizes
def test_whole_and_empty_cells_are_exact(size: tuple[int, int], grid: tuple[int, int]) -> None:
    masks = torch.stack([torch.ones(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool)])

    whole, empty = area_average(masks, grid)

    assert (whole == 1).all()
    assert (empty == 0).all()


def test_area_average_is_exact_under_autocast() -> None:
    masks = random_masks(2, (23, 17))
    expected = area_average(masks, (7, 5))

    with torch.autocast("cpu", torch.bfloat16):
        averaged = area_average(masks, (7, 5))

    assert torch.equal(averaged, expected)


# at_cell_centres


@pytest.mark.parametrize(
    ("rows", "grid", "expected"),
    [
        (("...", ".#.", "..."), (1, 1), [[1.0]]),  # one pixel at the centre
        (("....", ".#..", "....", "...."), (1, 1), [[0.25]]),  # four around it
        (("##..",), (1, 2), [[1.0, 0.0]]),
        (("#.",), (1, 4), [[1.0, 1.0, 0.0, 0.0]]),  # a finer grid
        (("#.", ".#"), (2, 2), [[1.0, 0.0], [0.0, 1.0]]),
    ],
    ids=["odd", "even", "two cells", "finer", "equal"],
)
def test_centres_read_the_pixels_they_touch(rows: tuple[str, ...], grid: tuple[int, int], expected: list) -> None:
    assert at_cell_centres(drawn(*rows), grid).tolist() == [expected]


# boxes


def test_a_box_covers_the_pixels_whose_centre_it_holds() -> None:
    boxes = torch.tensor([[1.0, 0.0, 3.0, 2.0], [0.6, 0.4, 1.4, 1.6], [-5.0, 1.0, 1.0, 9.0]])

    masks = boxes_to_masks(boxes, (3, 4))

    expected = torch.cat(
        [
            drawn(".##.", ".##.", "...."),
            drawn("....", "....", "...."),  # rows 0 and 1, but between two columns' centres
            drawn("....", "#...", "#..."),  # cut at the image
        ]
    )
    assert torch.equal(masks, expected)


def test_a_nan_box_is_an_empty_mask() -> None:
    assert not boxes_to_masks(torch.full((1, 4), torch.nan), (3, 4)).any()


def test_mask_boxes_surround_every_true_pixel() -> None:
    masks = torch.cat([drawn("....", ".#..", "...#"), drawn("#...", "....", "...."), drawn("####", "####", "####")])

    assert mask_boxes(masks).tolist() == [[1.0, 1.0, 4.0, 3.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 4.0, 3.0]]


def test_an_empty_mask_has_no_box_and_spoils_no_other() -> None:
    boxes = mask_boxes(torch.cat([drawn("..", ".."), drawn("..", ".#")]))

    assert boxes[0].isnan().all()
    assert boxes[1].tolist() == [1.0, 1.0, 2.0, 2.0]


def test_boxes_survive_the_way_to_masks_and_back() -> None:
    boxes = torch.tensor([[2.0, 1.0, 7.0, 3.0], [0.0, 0.0, 9.0, 5.0]])

    assert torch.equal(mask_boxes(boxes_to_masks(boxes, (5, 9))), boxes)


# border_ring


def test_the_ring_cuts_through_cells() -> None:
    expected = torch.tensor(
        [
            [0.75, 0.5, 0.5, 0.5, 0.75],
            [0.5, 0.0, 0.0, 0.0, 0.5],
            [0.5, 0.0, 0.0, 0.0, 0.5],
            [0.5, 0.0, 0.0, 0.0, 0.5],
            [0.75, 0.5, 0.5, 0.5, 0.75],
        ]
    )
    torch.testing.assert_close(border_ring((5, 5)), expected)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("size", [(1, 1), (7, 7), (7, 13), (20, 4), (224, 160)], ids=str)
def test_the_ring_has_the_same_area_on_every_grid(size: tuple[int, int], share: float) -> None:
    ring = border_ring(size, share=share)

    assert ring.mean().item() == pytest.approx(1 - (1 - 2 * share) ** 2, abs=1e-6)
    torch.testing.assert_close(ring, ring.flip(0, 1))
    torch.testing.assert_close(ring.T, border_ring(size[::-1], share=share))


# largest_component

SHAPES = {
    "corner to corner does not touch": (("##.", "..#", "..#", "..#"), ("...", "..#", "..#", "..#")),
    "spiral": (
        ("#######", "......#", "#####.#", "#...#.#", "#.###.#", "#.....#", "#######"),
        ("#######", "......#", "#####.#", "#...#.#", "#.###.#", "#.....#", "#######"),
    ),
    "comb, joined only at the bottom": (("#.#.#", "#.#.#", "#####"), ("#.#.#", "#.#.#", "#####")),
    "a row's end does not touch the next row's start": (("..##", "##..", "...."), ("..##", "....", "....")),
    "of equals, the first": (("..#", "#.#", "#.."), ("..#", "..#", "...")),
    "nothing": (("...", "..."), ("...", "...")),
    "everything": (("##", "##", "##"), ("##", "##", "##")),
    "one pixel": (("#",), ("#",)),
}


@pytest.mark.parametrize(("rows", "expected"), SHAPES.values(), ids=SHAPES)
def test_the_largest_region_remains(rows: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert torch.equal(largest_component(drawn(*rows)), drawn(*expected))


def test_regions_of_different_images_do_not_touch() -> None:
    masks = torch.cat([drawn("#..", "...", "###"), drawn("###", "...", "##."), drawn("..#", "..#", "..#")])

    kept = largest_component(masks)

    assert torch.equal(kept, torch.cat([drawn("...", "...", "###"), drawn("###", "...", "..."), masks[2:]]))


@pytest.mark.parametrize("share", [0.3, 0.55, 0.6, 0.65, 0.9])
def test_largest_component_equals_the_flood(share: float) -> None:
    masks = random_masks(6, (24, 31), share)

    kept = largest_component(masks)

    assert torch.equal(kept, torch.tensor([reference.largest(m.tolist()) for m in masks]))


def test_the_input_is_not_written_to() -> None:
    masks = random_masks(2, (8, 8))
    before = masks.clone()

    largest_component(masks)

    assert torch.equal(masks, before)
