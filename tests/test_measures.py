"""The measures by hand, by relation, and against loops; what is undefined, and that it stays with its sample."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from house import reference_measures as reference
from house.cases import case
from lightning_cam.attribution import measures
from lightning_cam.attribution.measures import (
    attention_drift,
    attention_entropy,
    background_attention_lift,
    background_attention_ratio,
    border_attention_ratio,
    box_iou,
    is_constant,
    is_empty,
    is_finite,
    nan_mean,
    pointing_accuracy,
)

OF_MASKS = [background_attention_ratio, background_attention_lift, pointing_accuracy, box_iou]
OF_MASS = [background_attention_ratio, background_attention_lift]
OF_MAPS = [border_attention_ratio, attention_entropy]
SIZES = [  # (map, mask)
    ((7, 7), (28, 28)),
    ((7, 5), (23, 17)),
    ((4, 4), (10, 6)),
    ((8, 9), (8, 9)),
    ((9, 5), (6, 4)),
    ((1, 6), (3, 20)),
]
sizes = pytest.mark.parametrize(("grid", "size"), SIZES, ids=str)
of_masks = pytest.mark.parametrize("measure", OF_MASKS)
of_maps = pytest.mark.parametrize("measure", OF_MAPS)
MAPS_ONLY = {measure.__name__: lambda maps, _, measure=measure: measure(maps) for measure in OF_MAPS}
EVERY = {measure.__name__: measure for measure in OF_MASKS} | MAPS_ONLY
OF_SHARES = {name: measure for name, measure in EVERY.items() if name not in ("pointing_accuracy", "box_iou")}
of_shares = pytest.mark.parametrize("measure", OF_SHARES.values(), ids=OF_SHARES)
every = pytest.mark.parametrize("measure", EVERY.values(), ids=EVERY)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)

# Written by hand. The object is the middle 2 x 2; the map's mass is 20, of which 8 + 4 lie inside.
MAP = torch.tensor(
    [
        [
            [0.0, 0.0, 0.0, 2.0],
            [0.0, 8.0, 0.0, 2.0],
            [0.0, 4.0, 0.0, 2.0],
            [0.0, 0.0, 0.0, 2.0],
        ]
    ]
)
MASK = torch.zeros(1, 4, 4, dtype=torch.bool)
MASK[:, 1:3, 1:3] = True


def random_maps(n: int, grid: tuple[int, int], seed: int = 0) -> Tensor:
    """Half the cells zero, as after the ReLU of a CAM; float64."""
    return torch.randn(n, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).relu()


def full_maps(n: int, grid: tuple[int, int], seed: int = 0) -> Tensor:
    """No zeros, so that no two regions are equally large: of those the first counts, which a flip changes; float64."""
    return torch.rand(n, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.05


def random_masks(n: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """One rectangle each, neither empty nor everything."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(n, *size, dtype=torch.bool)
    for mask in masks:
        y, x = (int(torch.randint(side - 1, (), generator=generator)) for side in size)
        mask[y : y + 1 + size[0] // 2, x : x + 1 + size[1] // 2] = True
    return masks


def assert_equal(values: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(values, expected.to(values), rtol=1e-5, atol=1e-6, equal_nan=True)


# by hand


@dtypes
@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (background_attention_ratio, 8 / 20),
        (background_attention_lift, math.log(8 / 12) - math.log(12 / 4)),
        (pointing_accuracy, 1.0),
        (box_iou, 0.0),  # the largest region is the right column: four cells, against the two that hold the peak
    ],
)
def test_the_hand_example(measure: Callable[..., Tensor], expected: float, dtype: torch.dtype) -> None:
    values = measure(MAP.to(dtype), MASK)

    assert values.dtype == dtype
    assert_equal(values, torch.tensor([expected]))


@dtypes
def test_the_border_of_the_hand_example(dtype: torch.dtype) -> None:
    # A cell is 0.25 wide and the ring 0.1: edges lie 0.4 in it, corners 1 - 0.6 * 0.6 = 0.64, the middle not at all.
    expected = (2 * 0.64 + 2 * 0.4 + 2 * 0.4 + 2 * 0.64) / 20

    assert_equal(border_attention_ratio(MAP.to(dtype)), torch.tensor([expected]))


@dtypes
def test_the_entropy_of_the_hand_example(dtype: torch.dtype) -> None:
    expected = -(0.4 * math.log(0.4) + 0.2 * math.log(0.2) + 4 * 0.1 * math.log(0.1)) / math.log(16)

    assert_equal(attention_entropy(MAP.to(dtype)), torch.tensor([expected]))


@dtypes
def test_drift_is_one_minus_the_cosine(dtype: torch.dtype) -> None:
    maps = torch.tensor([[[3.0, 4.0]], [[1.0, 0.0]], [[1.0, 2.0]]], dtype=dtype)
    previous = torch.tensor([[[4.0, 3.0]], [[0.0, 5.0]], [[10.0, 20.0]]], dtype=dtype)

    assert_equal(attention_drift(maps, previous), torch.tensor([1 - 24 / 25, 1.0, 0.0]))


def test_a_coarse_map_shares_its_cells_with_the_mask() -> None:
    maps = torch.tensor([[[1.0, 3.0]]])
    masks = torch.tensor([[[True, True, True, False, False]]])  # all of the left cell, a fifth of the right

    assert_equal(background_attention_ratio(maps, masks), torch.tensor([3 * 0.8 / 4]))


@dtypes
def test_the_box_surrounds_the_largest_region_above_20_percent(dtype: torch.dtype) -> None:
    maps = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5], [0.0, 0.19, 0.2, 0.0]]], dtype=dtype)
    masks = torch.zeros(2, 3, 4, dtype=torch.bool)
    masks[0, 1:, 2:] = True  # the map's box: 0.2 is in, 0.19 is not, and neither is the peak, alone in its corner
    masks[1, 2, :3] = True  # three pixels, one of them in the map's four

    assert_equal(box_iou(maps.expand(2, -1, -1), masks), torch.tensor([1.0, 1 / 6]))


def test_a_coarse_map_is_stretched_before_its_box_is_drawn() -> None:
    maps = torch.tensor([[[0.0, 1.0]]])  # as 8 pixels: 0, 0, 1/8, 3/8, 5/8, 7/8, 1, 1
    masks = torch.tensor([[[False, False, False, False, True, True, True, True]]])

    assert_equal(box_iou(maps, masks), torch.tensor([4 / 5]))


@dtypes
def test_exactly_20_percent_counts_whatever_the_rounding(dtype: torch.dtype) -> None:
    masks = torch.zeros(1, 10, 6, dtype=torch.bool)
    # Rows get 0.1 0.5 0.9 0.7 0.3 of the peak from the second pixel on, columns 1/2 5/6 1/6. The highest product is
    # 0.9 * 5/6; exactly a fifth of it are 0.3 * 1/2, in the last row of the box, and 0.9 * 1/6, in its last column.
    masks[0, 2:6, 1:4] = True
    for scale, axes in itertools.product((1e-6, 0.1, 0.3, 0.7, 1.0, 3.0, 1e6), ((), (1,), (2,), (1, 2))):
        maps = torch.zeros(1, 4, 4, dtype=dtype)
        maps[0, 1, 1] = scale

        with case(scale, axes):
            assert box_iou(maps.flip(axes), masks.flip(axes)).tolist() == [1.0]


def test_an_infinite_cell_proposes_no_box_when_stretched() -> None:
    maps = torch.ones(1, 7, 7)
    maps[0, 3, 3] = torch.inf

    assert box_iou(maps, random_masks(1, (28, 28))).isnan().all()


# pointing


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([5.0, 1.0, 1.0, 0.0], 0.0),
        ([1.0, 5.0, 0.0, 0.0], 1.0),
        ([5.0, 5.0, 1.0, 5.0], 1 / 3),
        ([0.0, 0.0, 0.0, 5.0], 0.0),
    ],
    ids=["miss", "hit", "one peak of three", "last cell"],
)
def test_equal_peaks_share_the_answer(cells: list[float], expected: float) -> None:
    masks = torch.tensor([[[False, True, False, False]]])

    assert_equal(pointing_accuracy(torch.tensor([[cells]]), masks), torch.tensor([expected]))


def test_a_peak_between_pixels_is_their_mean() -> None:
    maps = torch.tensor([[[1.0, 0.0]]])
    masks = torch.tensor([[[True, False, False, False]]])  # the left cell's centre lies on the mask's edge

    assert pointing_accuracy(maps, masks).tolist() == [0.5]


# uniform


@dtypes
@sizes
def test_a_uniform_map_has_the_backgrounds_share(
    grid: tuple[int, int], size: tuple[int, int], dtype: torch.dtype
) -> None:
    masks = random_masks(4, size)

    ratio = background_attention_ratio(torch.full((4, *grid), 0.37, dtype=dtype), masks)

    torch.testing.assert_close(ratio, 1 - masks.to(dtype).mean(dim=(1, 2)), rtol=1e-6, atol=1e-6)


@dtypes
@sizes
def test_a_uniform_map_has_no_lift(grid: tuple[int, int], size: tuple[int, int], dtype: torch.dtype) -> None:
    lift = background_attention_lift(torch.full((4, *grid), 0.37, dtype=dtype), random_masks(4, size))

    torch.testing.assert_close(lift, torch.zeros(4, dtype=dtype), rtol=0, atol=1e-6)


def test_a_uniform_map_has_no_lift_however_small_the_object() -> None:
    masks = torch.zeros(1, 224, 224, dtype=torch.bool)
    masks[0, 3, 5] = True

    torch.testing.assert_close(background_attention_lift(torch.ones(1, 7, 7), masks), torch.zeros(1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("grid", [(2, 2), (7, 5), (224, 224)], ids=str)
def test_a_uniform_map_has_entropy_one_and_a_border_of_36_percent(grid: tuple[int, int]) -> None:
    maps = torch.full((1, *grid), 0.37)

    assert_equal(attention_entropy(maps), torch.ones(1))
    assert_equal(border_attention_ratio(maps), torch.tensor([0.36]))


# the ends of the lift


def test_lift_of_an_unseen_side_is_that_of_one_cell() -> None:
    maps = torch.zeros(2, 4, 4)
    maps[0, 1, 1] = maps[1, 0, 0] = 3.0

    lift = background_attention_lift(maps, MASK.expand(2, -1, -1))

    assert background_attention_ratio(maps, MASK.expand(2, -1, -1)).tolist() == [0.0, 1.0]
    assert_equal(lift, torch.tensor([-math.log(16 / 0.25), math.log(16 / 0.75)]))


def test_lift_rises_with_the_ratio_up_to_both_ends() -> None:
    shares = torch.cat([torch.tensor([0.0, 1e-9]), torch.linspace(0.001, 0.999, 200), torch.tensor([1 - 1e-7, 1.0])])
    maps = (1 - shares[:, None, None]) * MASK + shares[:, None, None] * ~MASK / 3

    lift = background_attention_lift(maps, MASK.expand(len(maps), -1, -1))

    assert (lift.diff() >= 0).all()
    assert (lift.diff()[10:-20] > 0).all()


@sizes
def test_lift_changes_sign_when_object_and_background_swap(grid: tuple[int, int], size: tuple[int, int]) -> None:
    maps, masks = random_maps(5, grid), random_masks(5, size)

    assert_equal(background_attention_lift(maps, ~masks), -background_attention_lift(maps, masks))


# undefined


def maps_without_a_place() -> dict[str, Tensor]:
    ordinary = random_maps(1, (4, 4))[0].float()
    return {
        "empty": torch.zeros(4, 4),
        "nan": torch.where(ordinary == ordinary.max(), torch.nan, ordinary),
        "infinite": torch.where(ordinary == ordinary.max(), torch.inf, ordinary),
        "all infinite": torch.full((4, 4), torch.inf),
        "nan at a zero": torch.where(torch.arange(16).view(4, 4) == 0, torch.nan, MAP[0]),
    }


@pytest.mark.parametrize("bad", maps_without_a_place().values(), ids=maps_without_a_place())
@every
def test_a_map_without_a_place_is_undefined_and_spoils_no_other(measure: Callable[..., Tensor], bad: Tensor) -> None:
    maps, masks = torch.stack([MAP[0], bad, MAP[0]]), MASK.expand(3, -1, -1)

    values = measure(maps, masks)

    assert values.isnan().tolist() == [False, True, False]
    assert torch.equal(values[[0, 2]], measure(maps[[0, 2]], masks[[0, 2]]))


@pytest.mark.parametrize("bad", maps_without_a_place().values(), ids=maps_without_a_place())
def test_drift_from_or_to_a_map_without_a_place_is_undefined(bad: Tensor) -> None:
    maps, previous = torch.stack([MAP[0], bad, MAP[0]]), torch.stack([bad, MAP[0], MAP[0]])

    assert attention_drift(maps, previous).isnan().tolist() == [True, True, False]


@of_shares
def test_a_mass_too_large_to_add_up_is_undefined(measure: Callable[..., Tensor]) -> None:
    assert measure(MAP * 2e37, MASK).isnan().all()


@every
def test_a_single_cell_says_nothing(measure: Callable[..., Tensor]) -> None:
    assert measure(torch.ones(2, 1, 1), MASK.expand(2, -1, -1)).isnan().all()


def test_drift_of_a_single_cell_is_undefined() -> None:
    assert attention_drift(torch.ones(1, 1, 1), torch.ones(1, 1, 1)).isnan().all()


@of_masks
def test_a_missing_mask_is_undefined_and_spoils_no_other(measure: Callable[..., Tensor]) -> None:
    masks = torch.cat([MASK, torch.zeros_like(MASK), MASK])

    values = measure(MAP.expand(3, -1, -1), masks)

    assert values.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("measure", [*OF_MASS, pointing_accuracy])
def test_a_mask_that_cannot_be_missed_is_undefined(measure: Callable[..., Tensor]) -> None:
    assert measure(MAP, torch.ones_like(MASK)).isnan().all()


def test_the_box_of_a_whole_image_is_a_box() -> None:
    assert_equal(
        box_iou(MAP, torch.ones_like(MASK)), torch.tensor([reference.box_iou(MAP[0].tolist(), [[True] * 4] * 4)])
    )


@pytest.mark.parametrize("measure", [pointing_accuracy, box_iou])
@pytest.mark.parametrize("size", [(4, 4), (32, 24)], ids=str)
def test_a_constant_map_has_no_peak_and_no_box(measure: Callable[..., Tensor], size: tuple[int, int]) -> None:
    assert measure(torch.full((3, 4, 4), 0.37), random_masks(3, size)).isnan().all()


@of_shares
def test_a_map_with_negative_values_has_no_shares(measure: Callable[..., Tensor]) -> None:
    assert measure(MAP - 0.5, MASK).isnan().all()


# relations


@every
def test_scale_changes_nothing(measure: Callable[..., Tensor]) -> None:
    scales = torch.tensor([1e-12, 1e-3, 1.0, 37.0, 1e12], dtype=torch.float64)[:, None, None]
    for grid, size in SIZES:
        maps, masks = random_maps(5, grid), random_masks(5, size)

        with case(grid, size):
            assert_equal(measure(maps * scales, masks), measure(maps, masks))


@every
def test_vanishing_gradients_still_count(measure: Callable[..., Tensor]) -> None:
    assert_equal(measure(MAP * 1e-30, MASK), measure(MAP, MASK))


def test_drift_ignores_scale() -> None:
    maps, previous = random_maps(3, (7, 7)).float(), random_maps(3, (7, 7), seed=1).float()

    assert_equal(attention_drift(maps * 1e-25, previous * 1e5), attention_drift(maps, previous))


def test_drift_of_equal_maps_is_exactly_zero() -> None:
    maps = random_maps(5, (7, 7)).float()

    assert attention_drift(maps, maps.clone()).tolist() == [0.0] * 5


@every
def test_permuting_the_batch_permutes_the_values(measure: Callable[..., Tensor]) -> None:
    order = torch.tensor([3, 0, 4, 2, 1])
    for grid, size in SIZES:
        maps, masks = random_maps(5, grid), random_masks(5, size)

        with case(grid, size):
            assert_equal(measure(maps[order], masks[order]), measure(maps, masks)[order])


@every
def test_one_sample_is_worth_the_same_alone(measure: Callable[..., Tensor]) -> None:
    for grid, size in SIZES:
        maps, masks = random_maps(5, grid), random_masks(5, size)

        alone = torch.cat([measure(maps[i : i + 1], masks[i : i + 1]) for i in range(5)])

        with case(grid, size):
            assert_equal(alone, measure(maps, masks))


@every
def test_flipping_map_and_mask_changes_nothing(measure: Callable[..., Tensor]) -> None:
    for (grid, size), axis in itertools.product(SIZES, (1, 2)):
        maps, masks = full_maps(5, grid), random_masks(5, size)

        with case(grid, size, axis):
            assert_equal(measure(maps.flip(axis), masks.flip(axis)), measure(maps, masks))


@every
def test_transposing_map_and_mask_changes_nothing(measure: Callable[..., Tensor]) -> None:
    for grid, size in SIZES:
        maps, masks = full_maps(5, grid), random_masks(5, size)

        with case(grid, size):
            assert_equal(measure(maps.mT, masks.mT), measure(maps, masks))


@every
def test_inputs_are_not_written_to(measure: Callable[..., Tensor]) -> None:
    maps, masks = MAP.clone(), MASK.clone()

    measure(maps, masks)

    assert torch.equal(maps, MAP)
    assert torch.equal(masks, MASK)


# loops


@of_masks
def test_masked_measures_equal_the_loops(measure: Callable[..., Tensor]) -> None:
    loop = getattr(reference, measure.__name__)
    for grid, size in SIZES:
        maps, masks = random_maps(8, grid), random_masks(8, size)

        values = measure(maps, masks)

        expected = [loop(m.tolist(), k.tolist()) for m, k in zip(maps, masks, strict=True)]
        with case(grid, size):
            assert_equal(values, torch.tensor(expected, dtype=torch.float64))


@of_maps
@pytest.mark.parametrize("grid", [(7, 7), (3, 11), (1, 2), (16, 9)], ids=str)
def test_mapwise_measures_equal_the_loops(measure: Callable[..., Tensor], grid: tuple[int, int]) -> None:
    maps = random_maps(8, grid)

    values = measure(maps)

    loop = getattr(reference, measure.__name__)
    assert_equal(values, torch.tensor([loop(m.tolist()) for m in maps], dtype=torch.float64))


@pytest.mark.parametrize("grid", [(7, 7), (3, 11)], ids=str)
def test_drift_equals_the_loop(grid: tuple[int, int]) -> None:
    maps, previous = random_maps(8, grid), random_maps(8, grid, seed=1)

    values = attention_drift(maps, previous)

    expected = [reference.attention_drift(m.tolist(), p.tolist()) for m, p in zip(maps, previous, strict=True)]
    assert_equal(values, torch.tensor(expected, dtype=torch.float64))


# range


def test_rounding_takes_no_value_out_of_range() -> None:
    maps = full_maps(500, (14, 14)).float()
    part = torch.rand(500, 14, 14, generator=torch.Generator().manual_seed(1)) < 0.5
    on_the_edge = torch.ones(14, 14, dtype=torch.bool)
    on_the_edge[1:-1, 1:-1] = False

    assert (attention_entropy(maps[:, :1, :1].expand_as(maps)) <= 1).all()
    assert (border_attention_ratio(maps * on_the_edge) <= 1).all()
    assert (attention_drift(maps * part, maps * ~part) <= 1).all()
    assert (background_attention_ratio(maps, part) <= 1).all()


# facts about maps


def test_facts_about_maps() -> None:
    maps = torch.stack([MAP[0], torch.zeros(4, 4), torch.ones(4, 4), torch.full((4, 4), torch.nan), MAP[0] / 0])

    assert is_empty(maps).tolist() == [False, True, False, False, False]
    assert is_constant(maps).tolist() == [False, True, True, False, False]
    assert is_finite(maps).tolist() == [True, True, True, False, False]


def test_nan_mean_skips_what_is_undefined() -> None:
    assert nan_mean(torch.tensor([1.0, torch.nan, 4.0])).item() == 2.5
    assert nan_mean(torch.tensor([torch.nan])).isnan()
    assert nan_mean(torch.zeros(0)).isnan()
    assert nan_mean(torch.zeros(3)).shape == ()


# errors


@pytest.mark.parametrize(
    ("maps", "masks"),
    [
        (MAP, MASK.float()),
        (MAP, MASK.expand(3, -1, -1)),
        (MAP.expand(3, -1, -1), MASK),
        (MAP[:, None], MASK),
        (MAP, MASK[:, None]),
    ],
    ids=["float masks", "more masks", "more maps", "maps with channels", "masks with channels"],
)
@of_masks
def test_what_would_broadcast_to_a_plausible_number_raises(
    measure: Callable[..., Tensor], maps: Tensor, masks: Tensor
) -> None:
    with pytest.raises(ValueError, match=r"expected maps \(N, h, w\) and bool masks \(N, H, W\), got maps"):
        measure(maps, masks)


def test_drift_between_different_grids_raises() -> None:
    with pytest.raises(ValueError, match=r"expected previous maps of shape \(2, 7, 7\), got \(2, 14, 14\)"):
        attention_drift(torch.ones(2, 7, 7), torch.ones(2, 14, 14))


def test_no_probes_give_no_values() -> None:
    for measure in OF_MASKS:
        assert measure(torch.ones(0, 7, 7), torch.ones(0, 28, 28, dtype=torch.bool)).shape == (0,)
    for measure in OF_MAPS:
        assert measure(torch.ones(0, 7, 7)).shape == (0,)


def test_a_measure_is_a_function_of_maps_and_masks() -> None:
    measure: measures.Measure = measures.box_iou

    assert measure(MAP, MASK).shape == (1,)
