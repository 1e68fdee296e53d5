"""Small patches that recur in one class: they are found anywhere, shown with their files, and swapped in trials."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lightning_cam import AuditResult, Probe, audit, audit_dataset, cli, examine, judge, patches
from lightning_cam.cues import patch_remedy
from lightning_cam.intervention.stamps import patch_levels, patches_lie_off_object

N = 60
LABELS = torch.arange(N) % 2


def scenes(n: int = N, size: int = 40) -> Tensor:
    """Clouds with a little noise, that say nothing about a class."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 6, 6, generator=generator)
    clouds = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    return (clouds + 0.03 * torch.randn(n, 3, size, size, generator=generator)).clamp(0, 1)


def stripes(label: int, side: int = 7) -> Tensor:
    rows, columns = torch.arange(side)[:, None], torch.arange(side)
    return (((rows + columns) if label else (rows - columns)) % 4 < 2).float()


def stamped(images: Tensor, labels: Tensor, share: float = 1.0) -> tuple[Tensor, Tensor]:
    """Images with stripes at random places, and these places; only those of class 1 where ``labels`` says so."""
    rng, images = np.random.default_rng(1), images.clone()
    places = torch.from_numpy(rng.integers(0, images.shape[2] - 7, (len(images), 2)))
    for i, (y, x) in enumerate(places.tolist()):
        if labels[i] >= 0 and rng.random() < share:
            images[i, :, y : y + 7, x : x + 7] = stripes(int(labels[i]))
    return images, places


ONE_CLASS = torch.where(LABELS == 1, 1, -1)


def found(images: Tensor, labels: Tensor = LABELS) -> tuple[patches.Patch, ...]:
    return patches.find(patches.points_of(images), labels)


def test_a_stamp_at_random_places_is_found_where_it_is() -> None:
    images, places = stamped(scenes(), ONE_CLASS)

    (patch,) = found(images)

    assert (patch.label, patch.share, patch.elsewhere) == (1, 1.0, 0.0)
    assert patch.p_value < 1e-6
    assert patch.rows.tolist() == list(range(1, N, 2))
    assert (patch.places - places[patch.rows]).abs().max() <= 1


def test_a_stamp_on_a_part_of_a_class_is_found() -> None:
    (patch,) = found(stamped(scenes(), ONE_CLASS, share=0.6)[0])

    assert 0.4 < patch.share < 0.8


def test_a_stamp_on_all_classes_belongs_to_none() -> None:
    assert found(stamped(scenes(), torch.ones(N))[0]) == ()


def test_nothing_is_found_in_clean_pictures() -> None:
    assert found(scenes()) == ()


def test_shots_of_one_scene_are_no_stamps() -> None:
    images = scenes(2)[LABELS] + 0.001 * torch.arange(N)[:, None, None, None]

    assert found(images) == ()


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        pytest.param(torch.zeros(8, 3, 20, 20), torch.arange(8) % 2, id="empty pictures"),
        pytest.param(torch.rand(8, 3, 20, 20), torch.zeros(8, dtype=torch.long), id="one class"),
        pytest.param(torch.rand(1, 1, 20, 20), torch.zeros(1, dtype=torch.long), id="one picture"),
        pytest.param(torch.rand(0, 3, 20, 20), torch.zeros(0, dtype=torch.long), id="no picture"),
        pytest.param(torch.rand(8, 3, 5, 30), torch.arange(8) % 2, id="smaller than a window"),
        pytest.param(torch.rand(8, 3, 7, 7), torch.arange(8) % 2, id="one window"),
        pytest.param(torch.full((8, 3, 20, 20), math.nan), torch.arange(8) % 2, id="NaN"),
    ],
)
def test_there_is_nothing_to_find_in_odd_pictures(images: Tensor, labels: Tensor) -> None:
    assert found(images, labels) == ()


def test_pictures_of_several_sizes_are_searched_together() -> None:
    images = [stamped(scenes(size=size), ONE_CLASS)[0] for size in (30, 40)]
    points = [patches.points_of(images[i % 3 == 0][i : i + 1]) for i in range(N)]

    (patch,) = patches.find(patches.together(points), LABELS)

    assert patch.share == 1
    assert patches.find(patches.together([]), torch.zeros(0)) == ()


# the audit


@pytest.fixture(scope="module")
def audited() -> AuditResult:
    images = stamped(scenes(), ONE_CLASS)[0]
    return audit_dataset([(image, int(label)) for image, label in zip(images, LABELS, strict=True)])


def test_an_audit_finds_the_stamp_and_shows_it_with_its_files(audited: AuditResult) -> None:
    (finding,) = (each for each in audited.findings if each.cue == "patch")
    (patch,) = audited.patches
    assert finding.text.startswith("100 % of '1' pictures and 0 % of others show the same small patch")
    assert "item 1, item 3, item 5" in finding.text
    assert (finding.severity, finding.told_apart, audited.ok) == ("strong", "1", False)
    assert (patch.told_apart, patch.files[:2], patch.picture.dtype) == ("1", ("item 1", "item 3"), np.uint8)
    middle = patch.picture[40:60, 40:60].reshape(-1, 3)
    assert {0, 255} <= {*middle.flatten().tolist()}
    assert audited.as_json()["patches"][0]["files"][0] == "item 1"
    assert "item 1" in repr(patch)
    assert finding.remedy.startswith("100 % of '1' pictures show the patch, at places that vary: cut the patch away")
    assert finding.code.startswith("# 100 % of '1' pictures show the patch, at places that vary\n")


@pytest.mark.parametrize("size", [(40, 40), (80, 60)])
def test_a_patch_in_one_place_is_covered_there_in_every_picture(size: tuple[int, int]) -> None:
    images = scenes()
    images[1::2, :, 3:10, 30:37] = stripes(1)
    (patch, *_) = found(images)
    box = patches.common_box(patch.places, torch.tensor([40, 40]).expand_as(patch.places))
    remedy = patch_remedy("a\nb", patch.share, box)
    names: dict[str, Any] = {}

    exec(remedy.code, names)
    after = names["transform"](torch.zeros(3, *size))

    assert "100 % of 'a\\nb' pictures show the patch in one place" in remedy.what
    rows, columns = slice(3 * size[0] // 40, 10 * size[0] // 40), slice(30 * size[1] // 40, 37 * size[1] // 40)
    assert (after[:, rows, columns] > 0).all()
    assert (after == 0).float().mean() > 0.6


def test_the_place_of_few_pictures_is_one_and_of_scattered_ones_none() -> None:
    sizes = torch.tensor([[40, 40], [80, 80]])

    assert patches.common_box(torch.tensor([[4, 4], [8, 8]]), sizes) is not None
    assert patches.common_box(torch.tensor([[4, 4], [60, 8]]), sizes) is None
    assert patches.common_box(torch.tensor([[0, 33]]), sizes[:1]) == pytest.approx((0.0, 0.65, 0.35, 1.0))


def test_the_command_writes_a_picture_of_the_patch_once(
    audited: AuditResult, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "audit_dataset", lambda *_, **__: audited)

    codes = [cli.main(["audit", "pictures", "--out", str(tmp_path / "out")]) for _ in range(2)]

    (picture,) = (tmp_path / "out").iterdir()
    assert codes == [1, 1]
    assert str(picture) in capsys.readouterr().out
    with Image.open(picture) as shown:
        assert np.array_equal(np.asarray(shown), audited.patches[0].picture)


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_file_in_the_way_of_a_picture_stays_and_the_findings_are_printed(
    place: str,
    audited: AuditResult,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "audit_dataset", lambda *_, **__: audited)
    file = audited.patches[0].save(tmp_path / "out")
    file.write_text("mine")

    assert cli.main(["audit", "pictures", "--out", str(tmp_path / "out" if place == "folder" else file)]) == 1

    printed = capsys.readouterr()
    assert file.read_text() == "mine"
    assert "show the same small patch" in printed.out
    assert "cannot be written" in printed.err


def test_an_audit_of_clean_pictures_has_no_patch() -> None:
    result = audit_dataset([(image, int(label)) for image, label in zip(scenes(), LABELS, strict=True)])

    assert (result.patches, result.ok) == ((), True)


# the trial


def test_levels_swap_stamps_in_place() -> None:
    images, places = stamped(scenes(), LABELS)

    levels = patch_levels(images, torch.zeros(N, 40, 40, dtype=torch.bool), LABELS)

    assert len(set(levels.of.tolist())) == 2
    assert (levels.of > 0).all()
    assert (levels.of[LABELS == 0] == levels.of[0]).all()
    swapped, bare = (levels.bring(torch.tensor([0]), torch.tensor([level]))[0] for level in (int(levels.of[1]), 0))
    y, x = places[0].tolist()
    inside = (slice(None), slice(y, y + 7), slice(x, x + 7))
    torch.testing.assert_close(swapped[inside], stripes(1).expand(3, 7, 7), atol=0.02, rtol=0)
    assert bare[inside].std() < 0.5 * images[0][inside].std()
    far = torch.ones(40, 40, dtype=torch.bool)
    far[max(0, y - 3) : y + 10, max(0, x - 3) : x + 10] = False
    assert torch.equal(swapped[:, far], images[0][:, far])


def test_without_a_patch_there_is_one_level_that_changes_nothing() -> None:
    levels = patch_levels(scenes(), torch.zeros(N, 40, 40, dtype=torch.bool), LABELS)

    assert levels.changes.sum() == 0
    assert levels.changes.shape == (N, 1)


def test_stamps_beside_objects_are_no_part_of_them() -> None:
    images, _ = stamped(scenes(), ONE_CLASS)
    masks = torch.zeros(N, 40, 40, dtype=torch.bool)

    assert patches_lie_off_object(images, masks, LABELS)
    assert not patches_lie_off_object(images, ~masks, LABELS)
    assert not patches_lie_off_object(scenes(), masks, LABELS)


class ByStamp(torch.nn.Sequential):
    """Tells classes by the direction of stripes, at whatever place."""

    def __init__(self) -> None:
        kernels = torch.stack([stripes(label) - 0.5 for label in (0, 1)])[:, None].expand(2, 3, 7, 7) / 3
        look = torch.nn.Conv2d(3, 2, 7, bias=False)
        look.weight = torch.nn.Parameter(kernels.clone())
        super().__init__(look, torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten())


class ByBrightness(torch.nn.Sequential):
    """Looks at whole pictures; a stamp is as bright as dark."""

    def __init__(self) -> None:
        look = torch.nn.Conv2d(3, 2, 1)
        look.weight = torch.nn.Parameter(torch.tensor([-4.0, 4.0])[:, None, None, None].expand(2, 3, 1, 1) / 3)
        look.bias = torch.nn.Parameter(torch.tensor([2.0, -2.0]))
        super().__init__(look, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())


def test_who_lives_on_a_stamp_is_told_so() -> None:
    masks = torch.zeros(N, 40, 40, dtype=torch.bool)
    masks[:, 15:25, 15:25] = True
    probe = Probe(stamped(scenes(), LABELS)[0], LABELS, masks=masks)

    verdict = judge(examine(ByStamp(), probe, layer="0", trials=["patch"]))

    assert (verdict.outcome, [finding.cue for finding in verdict.findings]) == ("FAIL", ["patch"])
    assert "pictures show the patch, at places that vary" in verdict.findings[0].remedy.what


def test_who_ignores_a_stamp_is_not_accused() -> None:
    images = scenes()
    labels = (images.mean((1, 2, 3)) > images.mean((1, 2, 3)).median()).long()
    assert labels.float().mean() == 0.5
    masks = torch.zeros(N, 40, 40, dtype=torch.bool)
    masks[:, 15:25, 15:25] = True
    probe = Probe(stamped(images, labels)[0], labels, masks=masks)

    (reliance,) = examine(ByBrightness(), probe, layer="0", trials=["patch"]).reliances

    assert abs(reliance.mean) < 0.03


def test_a_stamp_that_the_border_cuts_off_has_a_place_inside() -> None:
    """Its second part lies at the edge of picture 2: the first one would begin three pixels above and left of it."""
    places = torch.tensor([[[9, 9], [12, 12]], [[5, 7], [8, 10]], [[20, 20], [0, 0]]])
    at, hits = torch.tensor([[0, 0, 0], [1, 1, 1]]), torch.tensor([[True, True, False], [True, True, True]])

    rows, found = patches._occurrences(torch.tensor([0, 1]), hits, at, places)

    assert rows.tolist() == [0, 1, 2]
    assert found.tolist() == [[9, 9], [5, 7], [0, 0]]
