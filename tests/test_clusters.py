"""Maps that are alike make a group, and whatever maps there are, something is said of them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_cam import Probe, Report, features
from lightning_cam.sinks.map_groups import groups_figure


def spots(places: list[tuple[int, int]], n: int, size: int = 24) -> Tensor:
    """``n`` maps with a soft spot at each of the places, moved by up to two pixels."""
    generator = torch.Generator().manual_seed(0)
    moves = torch.randint(-2, 3, (len(places) * n, 2), generator=generator)
    centres = torch.tensor(places).repeat_interleave(n, 0) + moves
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    distance = (rows - centres[:, 0, None, None]) ** 2 + (columns - centres[:, 1, None, None]) ** 2
    return torch.exp(-distance / 18) + 0.01 * torch.rand(len(centres), size, size, generator=generator)


def test_maps_at_three_places_are_three_groups_with_their_classes() -> None:
    maps = spots([(5, 5), (12, 18), (19, 6)], 30)
    targets = torch.tensor([0] * 30 + [0] * 15 + [1] * 15 + [1] * 30)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(1))
    found = features.map_clusters(maps[order], targets[order])

    place = torch.arange(90)[order] // 30
    groups = [set(found.members[place == each].tolist()) for each in range(3)]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3
    by_place = [next(iter(group)) for group in groups]
    assert found.sizes.tolist() == [30, 30, 30]
    torch.testing.assert_close(found.purity[by_place].float(), torch.tensor([1.0, 0.5, 1.0]))
    assert found.classes[by_place[0]] == 0
    assert found.classes[by_place[2]] == 1
    peak = divmod(int(found.means[by_place[0]].argmax()), 12)
    assert max(abs(peak[0] - 2.5), abs(peak[1] - 2.5)) <= 1
    assert all(found.members[row] == group for group, row in enumerate(found.typical.tolist()))


def test_maps_of_one_place_are_one_group_and_brightness_does_not_count() -> None:
    maps = spots([(12, 12)], 40) * torch.linspace(0.01, 100, 40)[:, None, None]

    assert features.map_clusters(maps, torch.zeros(40)).sizes.tolist() == [40]


def test_a_few_maps_that_look_at_a_corner_are_a_group_of_their_own() -> None:
    maps = torch.cat([spots([(12, 12)], 56), spots([(3, 20)], 8)])

    assert features.map_clusters(maps, torch.arange(64) // 56).purity.tolist() == [1, 1]


def test_the_number_of_groups_can_be_given() -> None:
    found = features.map_clusters(spots([(5, 5), (19, 19)], 20), torch.arange(40) % 2, n_clusters=2)

    assert found.sizes.tolist() == [20, 20]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 9, 20])
@pytest.mark.parametrize("kind", ["zero", "nan", "same", "noise", "one pixel"])
def test_any_maps_have_an_answer(n: int, kind: str) -> None:
    maps = {
        "zero": torch.zeros(n, 7, 5),
        "nan": torch.full((n, 7, 5), torch.nan),
        "same": torch.ones(n, 7, 5),
        "noise": torch.rand(n, 7, 5),
        "one pixel": torch.rand(n, 1, 1),
    }[kind]
    found = features.map_clusters(maps, torch.arange(n))

    is_empty = kind in ("zero", "nan")
    assert ((found.members == -1) == is_empty).all()
    assert int(found.sizes.sum()) == (0 if is_empty else n)
    assert repr(found).startswith("MapClusters(")


def test_other_forms_are_refused() -> None:
    with pytest.raises(ValueError, match=r"maps \(N, h, w\) and targets"):
        features.map_clusters(torch.zeros(3, 4), torch.zeros(3))
    with pytest.raises(ValueError, match="at least one group"):
        features.map_clusters(torch.zeros(3, 4, 4), torch.zeros(3), n_clusters=0)


# ---- on the page -----------------------------------------------------------------------------------------------------


def shown(maps: Tensor, labels: Tensor, **options: Any) -> Any:
    """The figure of a report with these maps."""
    images = torch.rand(len(maps), 3, 20, 30, generator=torch.Generator().manual_seed(0))
    probe = Probe(images, labels, classes=["a", "b"], **options)
    logits = torch.zeros(len(maps), 2)
    report = Report("x", "m", maps, maps, logits, {}, True, (), None, {}, (), {}, 0.0, targets=labels, probe=probe)
    return groups_figure(probe, report)


def test_each_group_is_a_row_with_its_mean_and_its_pictures() -> None:
    maps = torch.zeros(30, 12, 12)
    maps[:20, 2, 2] = maps[20:, 8, 8] = 1
    two = shown(maps + 0.001 * torch.rand(30, 12, 12), (torch.arange(30) >= 20).long())
    one = shown(torch.ones(30, 12, 12) + 0.001 * torch.rand(30, 12, 12), torch.arange(30) % 2)

    assert two.shape[0] > one.shape[0] + 80
    assert two.shape[1] >= 6 * 112


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("value", [0.0, 1.0, torch.nan])
def test_few_maps_and_maps_of_nothing_are_no_error(n: int, value: float) -> None:
    figure = shown(torch.full((n, 7, 7), value), torch.zeros(n, dtype=torch.long))

    assert (figure is None) == (value != 1)
