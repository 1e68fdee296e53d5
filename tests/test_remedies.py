"""Remedies: there is one for every cue, its code runs as it stands, and it takes the cue away."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from lightning_cam import audit_dataset, transforms
from lightning_cam.cues import CUES, cue_of_fact, remedy_for
from lightning_cam.demo.pictures import write_pictures

NAMES = [cue.name for cue in CUES]


def pasted(cue: str) -> dict[str, Any]:
    """What names the code of a remedy leaves, run with nothing but itself."""
    names: dict[str, Any] = {}
    exec(remedy_for(cue).code, names)
    return names


def scene(mode: str = "RGB") -> Image.Image:
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    picture = small.resize((90, 60), Image.Resampling.BICUBIC).convert(mode)
    if mode == "RGBA":
        picture.putalpha(small.getchannel(0).resize((90, 60)).point(lambda value: 255 * (value > 127)))
    return picture


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("cue", NAMES)
def test_the_code_of_a_remedy_runs_as_it_stands_and_changes_the_picture(cue: str, mode: str) -> None:
    transform, picture = pasted(cue)["transform"], scene(mode)

    given = functional.to_dtype(functional.to_image(picture), torch.float32, scale=True)
    made = functional.to_dtype(functional.to_image(transform(picture)), torch.float32, scale=True)
    if cue != "background" or mode == "RGBA":  # without transparency nothing hides behind the object
        assert made.shape != given.shape or not torch.equal(made, given)
    assert 0 <= made.min() < made.max() <= 1


def test_the_remedies_work_one_after_the_other_in_a_data_set(tmp_path: Path) -> None:
    for name, mode in (("a", "RGB"), ("b", "RGBA")):
        (tmp_path / name).mkdir()
        scene(mode).save(tmp_path / name / "0.png")
    remedies = [pasted(cue)["transform"] for cue in ("background", "codec", "tone", "frequency", "position", "border")]

    dataset = ImageFolder(str(tmp_path), v2.Compose([*remedies, v2.ToImage()]), loader=pasted("background")["loader"])

    assert [tuple(image.shape) for image, _ in dataset] == [(3, 224, 224)] * 2


def test_the_background_remedy_has_one_for_masks() -> None:
    image = functional.to_image(scene())
    mask = torch.zeros(60, 90)
    mask[20:40, 30:60] = 1

    changed, _ = pasted("background")["with_mask"](image, tv_tensors.Mask(mask))

    assert torch.equal(changed[:, mask > 0], image[:, mask > 0])
    assert not torch.equal(changed, image)


def test_cues_that_the_audit_names_have_remedies() -> None:
    for fact in ("format", "alpha", "border colour", "corner top left", "mean colour", "width", "fine detail", "DPI"):
        assert cue_of_fact(fact).remedy.what


def test_only_what_no_network_sees_has_no_code() -> None:
    assert [cue for cue in [*NAMES, "file"] if not remedy_for(cue).code] == ["file"]


def found(dataset: Any) -> set[str]:
    return {finding.fact for finding in audit_dataset(dataset).findings}


def test_random_backgrounds_take_the_background_away(tmp_path: Path) -> None:
    write_pictures(tmp_path, n_train=0, n_val=50)
    pictures = ImageFolder(str(tmp_path / "val"))
    masks = ImageFolder(str(tmp_path / "val_masks"), v2.Compose([v2.Grayscale(), v2.PILToTensor()]))
    other = transforms.RandomBackground()
    mended = [(other(picture, tv_tensors.Mask(masks[i][0]))[0], label) for i, (picture, label) in enumerate(pictures)]

    beside_the_object = {"background pixels", "border colour", "plain border", "corner top left", "corner top right"}
    assert beside_the_object <= found(pictures_of(pictures))
    assert not beside_the_object & found(mended)


def pictures_of(dataset: ImageFolder) -> list[tuple[Image.Image, int]]:
    """Without their files."""
    return [dataset[i] for i in range(len(dataset))]


def test_random_encoding_takes_the_codec_away() -> None:
    rng = np.random.default_rng(0)
    pictures = [(photo(rng, encoded=label == 1), label) for label in (0, 1) * 50]

    assert "blockiness" in found(pictures)
    remedy = pasted("codec")["transform"]
    assert "blockiness" not in found([(remedy(picture), label) for picture, label in pictures])


def photo(rng: np.random.Generator, *, encoded: bool) -> Image.Image:
    """Clouds and a little noise, straight or out of a JPEG file."""
    clouds = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    noisy = np.asarray(clouds, float) + rng.normal(0, 5, (64, 64, 3))
    picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    if not encoded:
        return picture
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=60)
    return Image.open(file).convert("RGB")
