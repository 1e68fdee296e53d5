"""Faults 7 to 19, of the probe images. More of them are in the tests of folders and data sets."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from house.faulty import beside, refused, watching
from house.models import Net as Classifier
from house.models import fixed, images
from house.trainings import SIZE, Net, loader, pictures, probe, trainer
from lightning_cam import CAMCallback, LightningCAMWarning, Probe, examine

LABELS = torch.tensor([0, 1, 2])


def test_a_data_set_that_fails_switches_off_and_the_user_gets_the_exception_where_the_training_meets_it(
    tmp_path: Path,
) -> None:
    class Broken(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            raise KeyError("opened in the workers only")

    run = trainer(tmp_path, CAMCallback(), num_sanity_val_steps=0)
    said = "your data set raised KeyError: 'opened in the workers only'. To choose .*, pass CAMCallback\\(probe="
    with pytest.warns(LightningCAMWarning, match=said), pytest.raises(KeyError, match="opened in the workers only"):
        run.fit(Net(), loader(), DataLoader(Broken(*pictures(8).tensors)))
    assert run.global_step == 6


@pytest.mark.parametrize("channels", [1, 4])
def test_a_wrong_number_of_channels_costs_the_checks_and_says_so(channels: int, tmp_path: Path) -> None:
    wrong = Probe(torch.rand(4, channels, SIZE, SIZE), torch.arange(4) % 2)
    run = beside(tmp_path, watching(probe=wrong))

    assert run.untouched
    not_what_the_model_sees, failure, off = run.said
    assert f"at 3x{SIZE}x{SIZE} in your step" in not_what_the_model_sees
    assert f"at {channels}x{SIZE}x{SIZE} from the probe" in not_what_the_model_sees
    assert f"to have 3 channels, but got {channels} channels" in failure
    assert "switched off for this fit" in off


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
def test_pixels_that_are_no_numbers_are_refused(value: float) -> None:
    spoilt = images().clone()
    spoilt[1, 0, 3, 4] = value

    with pytest.raises(ValueError, match="image 1 holds NaN or Inf; leave it out"):
        Probe(spoilt, LABELS)
    with pytest.raises(ValueError, match="item 1 holds NaN or Inf"):
        Probe.from_dataset(TensorDataset(spoilt, LABELS))


def masks() -> Tensor:
    """Everywhere, nowhere, and in a corner."""
    found = torch.zeros(3, 12, 16, dtype=torch.bool)
    found[0] = True
    found[2, :6, :8] = True
    return found


def test_masks_that_say_nothing_are_left_out_of_means_and_counted() -> None:
    report = examine(fixed(Classifier), Probe(images(), LABELS, masks=masks()), layer="stage", trials=())

    for measure in ("background_attention_ratio", "background_attention_lift", "pointing_accuracy"):
        assert report.values[measure].isnan().tolist() == [True, True, False]
        assert report.scalars[measure] == pytest.approx(float(report.values[measure][2]))
    assert report.scalars["undefined_rate"] == pytest.approx(2 / 3)


def test_without_any_mask_nothing_is_said_of_backgrounds() -> None:
    with pytest.warns(UserWarning, match="no picture of the probe has a mask"):
        probe = Probe(images(), LABELS, masks=masks() & False)
    report = examine(fixed(Classifier), probe, layer="stage", trials=())

    assert not any("background" in key or "pointing" in key for key in report.scalars)


def saved(values: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((values * 255).byte().numpy()).save(path)


def from_tensors(_folder: Path, mask: Tensor) -> Probe:
    return Probe(images(1), LABELS[:1], masks=mask[None])


def from_dataset(_folder: Path, mask: Tensor) -> Probe:
    return Probe.from_dataset(TensorDataset(images(1), LABELS[:1]), masks=[mask])


def from_folder(folder: Path, mask: Tensor) -> Probe:
    saved(images(1)[0].permute(1, 2, 0), folder / "images" / "cat" / "1.png")
    saved(mask.float(), folder / "masks" / "cat" / "1.png")
    return Probe.from_folder(folder / "images", masks=folder / "masks")


WAYS = pytest.mark.parametrize("build", [from_tensors, from_dataset, from_folder], ids=lambda build: build.__name__)


@WAYS
def test_a_mask_of_another_size_is_refused(build: Callable[[Path, Tensor], Probe], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mask.*(12, 16|16x12)"):
        build(tmp_path, masks()[2, :, :15])


@WAYS
def test_a_mask_that_is_not_binary_is_refused(build: Callable[[Path, Tensor], Probe], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mask.*(must be bool|two levels)"):
        build(tmp_path, torch.rand(12, 16))


def test_a_label_out_of_range_is_said_before_training_starts(tmp_path: Path) -> None:
    wrong = Probe(probe().images, torch.arange(6))

    refused(tmp_path, CAMCallback(wrong), "expected class indices from 0 to 1")


def test_a_negative_label_is_refused() -> None:
    with pytest.raises(ValueError, match="class indices from 0, got -1"):
        Probe(images(), LABELS - 1)


def test_an_empty_probe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one image"):
        Probe(images()[:0], LABELS[:0])
    with pytest.raises(ValueError, match="empty data set"):
        Probe.from_dataset(TensorDataset(images()[:0], LABELS[:0]))
    with pytest.raises(ValueError, match="has no sub-folders"):
        Probe.from_folder(tmp_path)


def test_a_name_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="unique, got 'a' more than once; add an index"):
        Probe(images(), LABELS, names=["a", "b", "a"])


def test_copies_of_an_image_are_said_once(tmp_path: Path) -> None:
    doubled = Probe(probe(4).images[[0, 1, 2, 3, 0]], torch.tensor([0, 1, 0, 1, 0]))
    run = beside(tmp_path, watching(probe=doubled))

    assert run.untouched
    assert run.said == ["lightning_cam: 1 of 5 probe images are copies, such as '0_4'; leave them out"]


def test_a_probe_that_is_trained_on_is_not_noticed(tmp_path: Path) -> None:
    """Nobody can compare it with what augmentation makes of the training data; the docstring asks for other images."""
    callback = watching(probe=probe(6))  # the first six images of the training data
    run = beside(tmp_path, callback)

    assert run.untouched
    assert run.said == []
    assert "images that the model is not trained on" in " ".join((CAMCallback.__doc__ or "").split())


def test_a_probe_that_is_drawn_from_the_training_data_is_said(tmp_path: Path) -> None:
    run = beside(tmp_path, watching(probe=None), limit_val_batches=0)

    assert run.untouched
    assert run.said == ["lightning_cam: there is no validation data yet, so the probe is drawn from the training data"]
