"""Probes drawn from folders of real image files."""

import io
import shutil
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageOps, PngImagePlugin
from torch import Tensor
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder

from lightning_cam.probe import Probe

WIDTH, HEIGHT = 40, 30
BOX = (10, 5, 29, 24)  # of the object: left, top, right, bottom, ends included


def photo(seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(values)


def ellipse(size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse(BOX, fill=255)
    return mask


def cutout(background: str = "white") -> Image.Image:
    """Noise before a plain background."""
    image = Image.new("RGB", (WIDTH, HEIGHT), background)
    image.paste(photo().point([90 + value // 4 for value in range(256)] * 3), mask=ellipse())
    return image


def transparent() -> Image.Image:
    image = photo()
    image.putalpha(ellipse())
    return image


def as_mask(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture) > 0)


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def probe_of(path: Path, **options: Any) -> Probe:
    """The probe of one file, in a class of its own."""
    return Probe.from_folder(path.parent.parent, **options)


def oriented(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


# The choice


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("b cat", "a dog", "c eel")):
        for index in range(4 * (number + 1)):
            saved(photo(100 * number + index), tmp_path / name / "deep" / f"{index}.png")
    return tmp_path


def test_it_gives_what_image_folder_gives(folder: Path) -> None:
    reference = ImageFolder(folder, v1.ToTensor())
    probe = Probe.from_folder(folder)

    names = [f"{reference.classes[target]}_{Path(path).stem}".replace(" ", "_") for path, target in reference.samples]
    assert len(probe) == len(reference)
    assert probe.classes == tuple(reference.classes)
    for position, name in enumerate(probe.names):
        image, target = reference[names.index(name)]
        assert torch.equal(probe.images[position], image)
        assert probe.targets[position] == target


def test_classes_are_balanced_and_the_choice_repeats(folder: Path) -> None:
    probe = Probe.from_folder(folder, 9)

    assert Counter(probe.targets.tolist()) == {0: 3, 1: 3, 2: 3}
    assert Probe.from_folder(str(folder), 9).fingerprint == probe.fingerprint
    assert Probe.from_folder(folder, 9, seed=1).names != probe.names


def test_only_the_chosen_files_are_read(folder: Path) -> None:
    chosen = {name.rsplit("_", 1)[1] for name in Probe.from_folder(folder, 3).names if name.startswith("c")}
    for path in (folder / "c eel" / "deep").iterdir():
        if path.stem not in chosen:
            path.write_bytes(b"")

    assert len(Probe.from_folder(folder, 3)) == 3


def test_other_files_are_passed_over(folder: Path) -> None:
    (folder / "README.md").write_text("hello")
    (folder / "a dog" / "notes.txt").write_text("hello")

    assert len(Probe.from_folder(folder)) == 24


def test_random_states_are_as_before(folder: Path) -> None:
    before = torch.get_rng_state()
    Probe.from_folder(folder, 3)

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("missing", "is none; check the path"),
        ("empty", "has no sub-folders"),
        ("half", "class folder 'b' .* no image"),
    ],
)
def test_a_folder_without_classes_is_refused(tmp_path: Path, place: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "half" / "b").mkdir(parents=True)
    saved(photo(), tmp_path / "half" / "a" / "1.png")

    with pytest.raises(ValueError, match=message):
        Probe.from_folder(tmp_path / place)


def test_a_wrong_request_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="n must be at least 1"):
        Probe.from_folder(folder, 0)
    with pytest.raises(ValueError, match=r"size must be \(height, width\)"):
        Probe.from_folder(folder, size=224)  # type: ignore[arg-type]  # what people try


# Every kind of file


def palette() -> Image.Image:
    return photo().quantize(16)


def palette_with_transparent_index() -> Image.Image:
    image = palette()
    image.info["transparency"] = 3
    return image


def palette_with_alpha_bytes() -> Image.Image:
    image = palette()
    image.info["transparency"] = bytes([0, 100, 255])
    return image


KINDS = {
    "png": (photo, "png"),
    "jpeg": (photo, "jpg"),
    "webp": (photo, "webp"),
    "bmp": (photo, "bmp"),
    "tiff": (photo, "tif"),
    "gif": (palette, "gif"),
    "palette": (palette, "png"),
    "palette, transparent index": (palette_with_transparent_index, "png"),
    "palette, alpha bytes": (palette_with_alpha_bytes, "png"),
    "grey": (lambda: photo().convert("L"), "png"),
    "grey with alpha": (lambda: transparent().convert("LA"), "png"),
    "one bit": (lambda: photo().convert("1"), "png"),
    "alpha": (transparent, "png"),
    "cmyk jpeg": (lambda: photo().convert("CMYK"), "jpg"),
    "cmyk tiff": (lambda: photo().convert("CMYK"), "tif"),
    "upper case": (photo, "PNG"),
}


@pytest.mark.parametrize(("make", "suffix"), KINDS.values(), ids=KINDS)
def test_every_mode_gives_the_colours_that_pillow_gives(tmp_path: Path, make: Any, suffix: str) -> None:
    path = saved(make(), tmp_path / "a" / f"1.{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about palettes
        with Image.open(path) as picture:
            expected = v1.functional.to_tensor(picture.convert("RGB"))

    assert torch.equal(probe_of(path).images[0], expected)


def test_the_colour_under_transparency_shows(tmp_path: Path) -> None:
    path = saved(transparent(), tmp_path / "a" / "1.png")

    assert torch.equal(probe_of(path).images[0], v1.functional.to_tensor(photo()))


@pytest.mark.parametrize(("make", "suffix"), KINDS.values(), ids=KINDS)
def test_one_channel_on_request(tmp_path: Path, make: Any, suffix: str) -> None:
    path = saved(make(), tmp_path / "a" / f"1.{suffix}")
    colour, grey = probe_of(path), probe_of(path, grayscale=True)

    expected = (colour.images[0] * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0, keepdim=True)
    torch.testing.assert_close(grey.images[0], expected, rtol=0, atol=1 / 255)


DEEP = np.array([[0, 300, 32768], [60000, 65534, 65535]], dtype=np.uint16)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    path = saved(Image.fromarray(DEEP), tmp_path / "a" / f"1.{suffix}")
    expected = torch.from_numpy(DEEP.astype(np.float32) / 65535)

    torch.testing.assert_close(probe_of(path, grayscale=True).images[0, 0], expected)
    torch.testing.assert_close(probe_of(path).images[0], expected.expand(3, -1, -1))


@pytest.mark.parametrize(("dtype", "white"), [(np.int32, 65535), (np.float32, 1)])
def test_wide_grey_is_scaled(tmp_path: Path, dtype: Any, white: int) -> None:
    path = saved(Image.fromarray(np.array([[0, white]], dtype=dtype)), tmp_path / "a" / "1.tif")

    assert probe_of(path, grayscale=True).images.flatten().tolist() == [0, 1]


@pytest.mark.parametrize(("dtype", "value"), [("int32", 70000), ("int32", -5), ("float32", 255), ("float32", np.nan)])
def test_grey_without_a_known_scale_is_refused(tmp_path: Path, dtype: Any, value: float) -> None:
    path = saved(Image.fromarray(np.array([[0, value]], dtype=dtype)), tmp_path / "a" / "1.tif")

    with pytest.raises(ValueError, match=r"a/1.tif: grey values of mode . must lie in 0.*; rescale the file"):
        probe_of(path)


# Files that cannot be read


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def with_broken_chunk() -> bytes:
    data = bytearray(encoded(photo(), "PNG"))
    place = data.index(b"IDAT")
    data[place : place + 4] = b"\x00\x01\x02\x03"
    return bytes(data)


BROKEN = {
    "empty": b"",
    "text": b"not an image",
    "torn png": encoded(photo(), "PNG")[:200],
    "torn jpeg": encoded(photo(), "JPEG")[:400],
    "torn webp": encoded(photo(), "WEBP")[:300],
    "torn tiff": encoded(photo(), "TIFF")[:300],
    "torn gif": encoded(palette(), "GIF")[:100],
    "broken chunk": with_broken_chunk(),
    "postscript": encoded(photo(), "EPS"),
    "another format": encoded(photo(), "PPM"),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a" / "broken.png"
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"a/broken.png cannot be read as an image \(.*repair or remove it"):
        probe_of(path)


def test_a_jpeg_named_png_is_read(tmp_path: Path) -> None:
    path = saved(photo(), tmp_path / "a" / "1.png", format="JPEG")

    assert len(probe_of(path)) == 1


@pytest.mark.parametrize("side", [5001, 10_000, 20_000], ids=["ours", "Pillow's warning", "Pillow's error"])
def test_a_file_of_many_pixels_is_not_decoded(tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(Image.new("1", (side, side)), tmp_path / "a" / "bomb.png")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda _: pytest.fail("decoded"))

    with pytest.raises(ValueError, match=r"a/bomb.png.*(more than 25 million; make it smaller|decompression bomb)"):
        probe_of(path)


def test_the_limits_of_pillow_stay_as_they_are(folder: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS, warnings.filters[:]
    Probe.from_folder(folder, 3)

    assert (Image.MAX_IMAGE_PIXELS, warnings.filters[:]) == before


# Masks


def mask_of(probe: Probe) -> tuple[Tensor, str]:
    assert probe.masks is not None
    return probe.masks[0], probe.mask_sources[0]


def test_alpha_masks_the_object(tmp_path: Path) -> None:
    mask, source = mask_of(probe_of(saved(transparent(), tmp_path / "a" / "1.png")))

    assert source == "alpha"
    assert torch.equal(mask, as_mask(ellipse()))


def test_a_half_transparent_edge_belongs_to_the_object(tmp_path: Path) -> None:
    image = photo()
    image.putalpha(ellipse().point(lambda value: value // 200))

    assert torch.equal(mask_of(probe_of(saved(image, tmp_path / "a" / "1.png")))[0], as_mask(ellipse()))


def test_a_transparent_palette_index_masks_the_object(tmp_path: Path) -> None:
    path = saved(palette_with_transparent_index(), tmp_path / "a" / "1.png")
    mask, source = mask_of(probe_of(path))

    assert source == "alpha"
    assert torch.equal(mask, torch.from_numpy(np.array(palette()) != 3))


@pytest.mark.parametrize("alpha", [255, 0, 128], ids=["opaque", "invisible", "glass"])
def test_an_alpha_channel_that_does_not_vary_is_no_mask(tmp_path: Path, alpha: int) -> None:
    image = photo()
    image.putalpha(alpha)

    assert probe_of(saved(image, tmp_path / "a" / "1.png")).masks is None


def test_an_opaque_alpha_channel_does_not_hide_a_plain_background(tmp_path: Path) -> None:
    path = saved(cutout().convert("RGBA"), tmp_path / "a" / "1.png")

    assert mask_of(probe_of(path))[1] == "border"


@pytest.mark.parametrize("background", ["white", "black", "#2060ff"])
def test_an_object_before_a_plain_background_is_found(tmp_path: Path, background: str) -> None:
    mask, source = mask_of(probe_of(saved(cutout(background), tmp_path / "a" / "1.png")))

    assert source == "border"
    assert torch.equal(mask, as_mask(ellipse()))


def iou(first: Tensor, second: Tensor) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize("background", ["white", "black"])
def test_pixels_that_are_mixed_with_the_background_are_not_the_object(tmp_path: Path, background: str) -> None:
    image, mask = (each.resize((50, 40), Image.Resampling.BILINEAR) for each in large_cutout(background))
    found, _ = mask_of(probe_of(saved(image, tmp_path / "a" / "1.png")))
    opacity = torch.from_numpy(np.array(mask)).float() / 255

    assert iou(found, opacity > 0.5) > 0.9
    assert not found[opacity < 0.25].any()


def test_a_line_keeps_its_soft_outline(tmp_path: Path) -> None:
    drawn = Image.new("L", (200, 160))
    ImageDraw.Draw(drawn).line((40, 40, 160, 120), fill=255, width=5)
    image = Image.merge("RGB", [drawn.resize((100, 80), Image.Resampling.BOX)] * 3)
    found, source = mask_of(probe_of(saved(image, tmp_path / "a" / "1.png")))

    assert source == "border"
    assert found.sum() > 150


def large_cutout(background: str = "white") -> tuple[Image.Image, Image.Image]:
    mask = Image.new("L", (200, 160))
    ImageDraw.Draw(mask).ellipse((50, 30, 150, 120), fill=255)
    smooth = photo().resize((200, 160)).point([60 + value // 2 for value in range(256)] * 3)
    image = Image.new("RGB", (200, 160), background)
    image.paste(smooth, mask=mask)
    return image, mask


@pytest.mark.parametrize("quality", [95, 75, 50, 30])
def test_jpeg_noise_on_white_does_not_hide_the_object(tmp_path: Path, quality: int) -> None:
    image, expected = large_cutout()
    mask, source = mask_of(probe_of(saved(image, tmp_path / "a" / "1.jpg", quality=quality)))

    assert source == "border"
    assert iou(mask, as_mask(expected)) > 0.9


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_photograph_has_no_mask(tmp_path: Path, suffix: str) -> None:
    rows, columns = np.mgrid[0:120, 0:160]
    sky = 230 - rows * 0.9 + 12 * np.sin(columns / 15)
    ground = 60 + 40 * np.sin(columns / 7) * np.cos(rows / 5)
    scene = np.where(rows < 70 + 8 * np.sin(columns / 20), sky, ground)[..., None] * [0.8, 0.9, 1.0]
    path = saved(Image.fromarray(scene.clip(0, 255).astype(np.uint8)), tmp_path / "a" / f"1.{suffix}")

    assert probe_of(path).masks is None


def test_finding_masks_can_be_switched_off(tmp_path: Path) -> None:
    cut = saved(cutout(), tmp_path / "a" / "1.png")

    assert probe_of(cut, find_masks=False).masks is None


MASK_FILES = {
    "png": (ellipse, "png"),
    "one bit": (lambda: ellipse().convert("1"), "png"),
    "zero and one": (lambda: ellipse().point(lambda value: value // 255), "png"),
    "rgb": (lambda: ellipse().convert("RGB"), "bmp"),
    "jpeg": (ellipse, "jpg"),
    "palette": (lambda: ellipse().convert("P"), "png"),
    "alpha": (lambda: Image.merge("LA", (Image.new("L", (WIDTH, HEIGHT)), ellipse())), "png"),
    "sixteen bit": (lambda: Image.fromarray(np.array(ellipse()).astype(np.uint16) * 257), "tif"),
}


@pytest.mark.parametrize(("make", "suffix"), MASK_FILES.values(), ids=MASK_FILES)
def test_a_file_at_the_same_place_is_the_mask(tmp_path: Path, make: Any, suffix: str) -> None:
    saved(transparent().rotate(180), tmp_path / "images" / "a" / "deep" / "1.png")
    saved(make(), tmp_path / "masks" / "a" / "deep" / f"1.{suffix}")
    mask, source = mask_of(Probe.from_folder(tmp_path / "images", masks=tmp_path / "masks"))

    assert source == "folder"
    assert iou(mask, as_mask(ellipse())) > (0.97 if suffix == "jpg" else 0.9999)


def test_masks_may_lie_beside_the_classes(tmp_path: Path) -> None:
    saved(photo(), tmp_path / "a" / "1.png")
    saved(ellipse(), tmp_path / "masks" / "a" / "1.png")
    probe = Probe.from_folder(tmp_path, masks=tmp_path / "masks")

    assert (probe.classes, probe.mask_sources) == (("a",), ("folder",))


def test_images_without_a_mask_file_look_for_another_mask(tmp_path: Path) -> None:
    for index, image in enumerate((photo(), transparent(), cutout(), photo(1))):
        saved(image, tmp_path / "images" / "a" / f"{index}.png")
    saved(ellipse(), tmp_path / "masks" / "a" / "0.png")
    probe = Probe.from_folder(tmp_path / "images", masks=tmp_path / "masks")

    sources = dict(zip(probe.names, probe.mask_sources, strict=True))
    assert sources == {"a_0": "folder", "a_1": "alpha", "a_2": "border", "a_3": "none"}


def levels() -> Image.Image:
    """Numbered regions."""
    return Image.fromarray(np.tile(np.array([1, 2, 3, 4], dtype=np.uint8), (HEIGHT, WIDTH // 4)))


@pytest.mark.parametrize(
    ("mask", "name", "message"),
    [
        pytest.param(
            ellipse((WIDTH + 1, HEIGHT)), "a/1.png", "mask .*a/1.png must be .* 40x30 pixels, got 41x30", id="size"
        ),
        pytest.param(
            levels(), "a/1.png", r"a/1.png: .*two levels, got 1, 2, 3, 4.*mask == level_of_the_object", id="levels"
        ),
        pytest.param(
            ellipse(), "b/1.png", "no image has a mask in .*, not even a/1.png; name masks as their", id="place"
        ),
        pytest.param(ellipse(), "../1.png", "a folder or a file of masks was expected", id="no folder"),
    ],
)
def test_a_wrong_mask_file_is_refused(tmp_path: Path, mask: Image.Image, name: str, message: str) -> None:
    saved(photo(), tmp_path / "images" / "a" / "1.png")
    saved(mask, tmp_path / "masks" / name)
    if name.startswith(".."):
        shutil.rmtree(tmp_path / "masks")

    with pytest.raises(ValueError, match=message):
        Probe.from_folder(tmp_path / "images", masks=tmp_path / "masks")


# EXIF orientation


@pytest.mark.parametrize("value", range(2, 9))
def test_images_lie_as_stored_with_a_warning(tmp_path: Path, value: int) -> None:
    path = saved(photo(), tmp_path / "a" / "1.png", exif=oriented(value))
    with pytest.warns(UserWarning, match="1 of 1 files ask in EXIF to be turned; .* pass upright=True") as caught:
        probe = probe_of(path)

    assert torch.equal(probe.images[0], ImageFolder(tmp_path, v1.ToTensor())[0][0])
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("value", range(1, 9))
def test_upright_turns_images_and_masks_alike(tmp_path: Path, value: int) -> None:
    path = saved(transparent(), tmp_path / "images" / "a" / "1.png", exif=oriented(value))
    saved(ellipse(), tmp_path / "masks" / "a" / "1.png")
    with Image.open(path) as picture:
        turned = ImageOps.exif_transpose(picture)
    expected = v1.functional.to_tensor(turned.convert("RGB")), as_mask(turned.getchannel("A"))

    for options in ({}, {"masks": tmp_path / "masks"}):
        probe = probe_of(path, upright=True, **options)
        assert torch.equal(probe.images[0], expected[0])
        assert torch.equal(mask_of(probe)[0], expected[1])


@pytest.mark.parametrize("value", [0, 1, 9, 500])
def test_an_orientation_that_means_nothing_is_passed_over(tmp_path: Path, value: int) -> None:
    path = saved(photo(), tmp_path / "a" / "1.jpg", exif=oriented(value))

    assert torch.equal(probe_of(path).images, probe_of(path, upright=True).images)


# Sizes and input


def test_images_of_several_sizes_name_the_way_out(tmp_path: Path) -> None:
    saved(photo(), tmp_path / "a" / "1.png")
    saved(photo().resize((20, 20)), tmp_path / "a" / "2.png")

    with pytest.raises(ValueError, match=r"pass size=\(height, width\)"):
        Probe.from_folder(tmp_path)


def test_size_brings_images_and_masks_to_one_size(tmp_path: Path) -> None:
    saved(transparent(), tmp_path / "a" / "1.png")
    saved(transparent().resize((120, 90)), tmp_path / "a" / "2.png")
    probe = Probe.from_folder(tmp_path, size=(15, 20))

    assert probe.images.shape == (2, 3, 15, 20)
    assert probe.masks is not None
    half = as_mask(ellipse().resize((20, 15), Image.Resampling.BOX).point(lambda value: 255 * (value > 127)))
    assert all(iou(mask, half) > 0.85 for mask in probe.masks)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"masks": [1, 2]}, "got a list; a function"), ({"segmenter": "rembg"}, "got 'rembg'; lightning-cam masks DIR")],
    ids=["masks", "segmenter"],
)
def test_what_can_be_no_mask_is_refused_in_one_sentence(folder: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Probe.from_folder(folder, **wrong)


def test_masks_may_be_arrays() -> None:
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[:, 1:3, 1:3] = True
    probe = Probe(torch.rand(2, 3, 4, 4), torch.tensor([0, 1]), masks=masks)  # type: ignore[arg-type]

    assert torch.equal(probe.masks, torch.as_tensor(masks))


def test_preprocess_is_kept(tmp_path: Path) -> None:
    path = saved(photo(), tmp_path / "a" / "1.png")

    assert probe_of(path, preprocess=torch.sqrt).preprocess is torch.sqrt


def test_a_probe_from_files_survives_a_folder(tmp_path: Path) -> None:
    saved(transparent(), tmp_path / "images" / "a" / "1.png")
    saved(cutout(), tmp_path / "images" / "ä b" / "1.png")
    probe = Probe.from_folder(tmp_path / "images")
    probe.save(tmp_path / "probe")
    loaded = Probe.load(tmp_path / "probe")

    assert (loaded.fingerprint, loaded.mask_sources) == (probe.fingerprint, ("alpha", "border"))


def test_a_link_to_nothing_is_left_out_and_said(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for number in range(2):
            Image.new("RGB", (8, 8)).save(tmp_path / label / f"{number}.png")
    (tmp_path / "cat" / "lost.png").symlink_to(tmp_path / "nowhere.png")

    with pytest.warns(UserWarning, match=r"1 files of .* are left out, since they are links to nothing.*lost\.png"):
        probe = Probe.from_folder(tmp_path, 6)

    assert len(probe) == 4
