"""Boxes, MaxBoxAcc, PxAP and the pointing game against the papers' definitions in loops, and what is undefined."""

import math

import pytest
import torch
from torch import Tensor

from house import reference_localisation as reference
from lightning_cam import localisation

GRIDS = [((4, 5), (13, 11)), ((6, 6), (6, 6))]
grids = pytest.mark.parametrize(("grid", "size"), GRIDS, ids=str)


def cases(grid: tuple[int, int], size: tuple[int, int], n: int = 6) -> tuple[Tensor, Tensor]:
    """Maps and masks that overlap more or less."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(n, *size, dtype=torch.bool)
    for i, mask in enumerate(masks):
        mask[i % 3 : i % 3 + size[0] // 2, i % 2 : i % 2 + size[1] // 2] = True
    inside = torch.nn.functional.adaptive_avg_pool2d(masks[:, None].double(), grid)[:, 0]
    noise = torch.randn(n, *grid, generator=generator, dtype=torch.double)
    return inside + noise.abs(), masks


@grids
def test_box_accuracy_is_choes(grid: tuple[int, int], size: tuple[int, int]) -> None:
    maps, masks = cases(grid, size)

    found = localisation.box_accuracy(maps, masks, overlap=0.4, n_thresholds=11)

    expected = reference.box_accuracies(maps.tolist(), masks.tolist(), 0.4, found.thresholds.tolist())
    assert found.accuracies.tolist() == pytest.approx(expected)
    assert found.best == pytest.approx(max(expected))
    assert 0 < found.best < 1
    assert found.threshold == found.thresholds[expected.index(max(expected))]
    assert found.n_defined == len(maps)


@grids
def test_pixel_precision_is_choes(grid: tuple[int, int], size: tuple[int, int]) -> None:
    maps, masks = cases(grid, size)

    found = localisation.pixel_precision(maps, masks, n_thresholds=21)

    expected = reference.pixel_average(maps.tolist(), masks.tolist(), found.thresholds.tolist())
    assert found.average == pytest.approx(expected, abs=1e-6)
    assert 0.4 < found.average < 1


def test_a_perfect_map_and_an_inverted_one_are_the_ends() -> None:
    _, masks = cases((6, 6), (6, 6))

    assert localisation.pixel_precision(masks.float(), masks).average == 1
    assert localisation.box_accuracy(masks.float(), masks, overlap=1).best == 1
    assert localisation.pixel_precision((~masks).float(), masks).average < 0.3


@pytest.mark.parametrize("tolerance", [0, 2, 4.5])
@grids
def test_the_pointing_game_is_zhangs(grid: tuple[int, int], size: tuple[int, int], tolerance: float) -> None:
    maps, masks = cases(grid, size, 24)

    hits = localisation.pointing_hits(maps, masks, tolerance=tolerance)

    pairs = zip(maps.tolist(), masks.tolist(), strict=True)
    assert hits.tolist() == [reference.pointing_hit(values, mask, tolerance) for values, mask in pairs]
    assert 0 < hits.mean() < 1 or tolerance > 2


def test_the_localisation_error_counts_wrong_answers_and_boxes_beside_the_object() -> None:
    masks = torch.tensor([[[True, True, False, False]]]).expand(4, -1, -1).clone()
    masks[3] = False
    beside, on = [[0.0, 0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0, 0.0]]

    error = localisation.localisation_error(
        torch.tensor([on, on, beside, on]), masks, torch.tensor([True, False, True, True])
    )

    assert error[:3].tolist() == [0, 1, 1]
    assert error[3].isnan()


def test_the_share_moves_the_box() -> None:
    maps = torch.tensor([[[0.1, 0.4, 1.0, 0.2]]])

    assert localisation.boxes(maps, (1, 4)).tolist() == [[1, 0, 4, 1]]
    assert localisation.boxes(maps, (1, 4), share=0.5).tolist() == [[2, 0, 3, 1]]


@pytest.mark.parametrize("bad", ["constant", "empty", "nan"])
def test_what_is_undefined_is_left_out(bad: str) -> None:
    maps, masks = cases((4, 5), (13, 11), 4)
    maps[1] = {"constant": 0.3, "empty": 0.0, "nan": math.nan}[bad]
    masks[2] = False
    rest, kept = [0, 3], localisation.box_accuracy(maps, masks, n_thresholds=5)

    assert kept.accuracies.equal(localisation.box_accuracy(maps[rest], masks[rest], n_thresholds=5).accuracies)
    assert kept.n_defined == 2
    of_rest = localisation.pixel_precision(maps[rest], masks[rest], n_thresholds=9).average
    assert localisation.pixel_precision(maps, masks, n_thresholds=9).average == of_rest
    assert localisation.pointing_hits(maps, masks).isnan().tolist() == [False, True, True, False]
    assert localisation.boxes(maps, (13, 11)).isnan().any(1).tolist() == [False, True, False, False]


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_find_is_nan_and_no_error(n: int) -> None:
    maps, masks = torch.zeros(n, 3, 3), torch.zeros(n, 9, 9, dtype=torch.bool)

    assert math.isnan(localisation.box_accuracy(maps, masks, n_thresholds=3).best)
    assert math.isnan(localisation.pixel_precision(maps, masks, n_thresholds=3).average)
    assert localisation.pointing_hits(maps, masks).isnan().all()


def test_one_threshold_is_refused() -> None:
    maps, masks = cases((4, 5), (13, 11))
    with pytest.raises(ValueError, match="two thresholds or more"):
        localisation.box_accuracy(maps, masks, n_thresholds=1)


def test_a_volume_of_equal_slices_is_its_slice() -> None:
    maps, masks = cases((4, 5), (13, 11))
    deep_maps, deep_masks = (each[:, None].expand(-1, 3, -1, -1) for each in (maps, masks))

    assert localisation.pointing_hits(deep_maps, deep_masks).equal(localisation.pointing_hits(maps, masks))
    of_slices, of_volumes = (localisation.pixel_precision(*each) for each in ((maps, masks), (deep_maps, deep_masks)))
    assert of_volumes.average == pytest.approx(of_slices.average)
    deep = localisation.box_accuracy(deep_maps, deep_masks, n_thresholds=5)
    assert deep.overlaps == pytest.approx(localisation.box_accuracy(maps, masks, n_thresholds=5).overlaps, abs=1e-6)
