"""Transforms: by value what changes and what does not, on everything that torchvision's v2 takes."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from lightning_cam.transforms import FlattenAlpha, RandomBackground, RandomReencode, RandomStyle, keep_alpha

RED = (250, 20, 10)
HIDDEN, SEEN = (7, 8, 9), (100, 150, 200)


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def image_of(picture: Image.Image) -> Tensor:
    return functional.pil_to_tensor(picture)


def see_through() -> Image.Image:
    """Three pixels in a row: transparent, half transparent, opaque."""
    picture = Image.new("RGBA", (3, 1))
    for x, (colour, alpha) in enumerate([(HIDDEN, 0), (SEEN, 128), (SEEN, 255)]):
        picture.putpixel((x, 0), (*colour, alpha))
    return picture


def half(colour: tuple[int, ...], front: tuple[int, ...] = SEEN) -> list[float]:
    """By hand: alpha 128 of 255."""
    return [front[i] * 128 / 255 + colour[i] * 127 / 255 for i in range(3)]


def objects(height: int = 20, width: int = 30) -> tv_tensors.Mask:
    mask = torch.zeros(height, width, dtype=torch.uint8)
    mask[5:10, 5:20] = 3
    return tv_tensors.Mask(mask)


# ---- FlattenAlpha


AS_GIVEN: list[Any] = [
    pytest.param(lambda p: p, 255, id="PIL"),
    pytest.param(image_of, 255, id="bytes"),
    pytest.param(lambda p: image_of(p).double() / 255, 1, id="float64"),
    pytest.param(lambda p: image_of(p).float() / 255, 1, id="float32"),
    pytest.param(lambda p: tv_tensors.Image(p), 255, id="tv_tensors"),
    pytest.param(lambda p: tv_tensors.Video(image_of(p)[None]), 255, id="video"),
]


@pytest.mark.parametrize(("given", "most"), AS_GIVEN)
def test_alpha_is_flattened_onto_the_colour_by_value(given: Callable[[Image.Image], Any], most: int) -> None:
    flat = FlattenAlpha(RED)(given(see_through()))

    values = image_of(flat) if isinstance(flat, Image.Image) else flat
    transparent, between, opaque = (values.double() * (255 / most)).reshape(3, 3).T
    assert transparent.tolist() == pytest.approx(RED, abs=1e-4)
    assert between.tolist() == pytest.approx(half(RED), abs=0.51 if most == 255 else 1e-4)
    assert opaque.tolist() == pytest.approx(SEEN, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
def test_opaque_pixels_stay_the_same_to_the_bit(dtype: torch.dtype) -> None:
    image = functional.to_dtype(noise(2, 4, 40, 50), dtype, scale=True)
    image[:, 3, :, :25] = 1 if dtype.is_floating_point else 255

    flat = FlattenAlpha()(image)

    assert flat.dtype == dtype
    assert torch.equal(flat[..., :25], image[:, :3, :, :25])


def test_opaque_pixels_of_pictures_stay_the_same_to_the_bit() -> None:
    colours = noise(40, 50, 3).numpy()
    picture = Image.fromarray(np.dstack([colours, np.full((40, 50), 255, np.uint8)]))

    assert np.array_equal(np.asarray(FlattenAlpha()(picture)), colours)


def test_grey_with_alpha_becomes_rgb() -> None:
    picture = Image.new("LA", (2, 1))
    picture.putpixel((0, 0), (80, 0))
    picture.putpixel((1, 0), (80, 255))

    assert image_of(FlattenAlpha(RED)(picture)).flatten(1).T.tolist() == [list(RED), [80, 80, 80]]
    assert FlattenAlpha(RED)(image_of(picture)).flatten(1).T.tolist() == [list(RED), [80, 80, 80]]


def test_a_transparent_colour_of_a_palette_is_flattened() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([*HIDDEN, *SEEN])
    picture.putpixel((1, 0), 1)
    picture.info["transparency"] = 0

    assert image_of(FlattenAlpha(RED)(picture)).flatten(1).T.tolist() == [list(RED), list(SEEN)]


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK"])
def test_pictures_without_transparency_become_rgb_as_they_are(mode: str) -> None:
    picture = Image.fromarray(noise(8, 9, 3).numpy()).convert(mode)

    flat = FlattenAlpha()(picture)

    assert flat.mode == "RGB"
    assert flat.tobytes() == picture.convert("RGB").tobytes()


def test_tensors_without_transparency_become_rgb_as_they_are() -> None:
    colour, grey = noise(2, 3, 4, 5), noise(2, 1, 4, 5)

    assert torch.equal(FlattenAlpha()(colour), colour)
    assert torch.equal(FlattenAlpha()(grey), grey.repeat(1, 3, 1, 1))
    FlattenAlpha()(grey).add_(1)  # its values have memory of their own


def test_a_random_colour_is_another_for_each_call_and_one_within() -> None:
    flatten, clear = FlattenAlpha(), torch.zeros(4, 5, 6)

    flat = [flatten(clear) for _ in range(20)]

    assert all(torch.equal(image, image[:, :1, :1].expand(3, 5, 6)) for image in flat)
    assert len({tuple(image[:, 0, 0].tolist()) for image in flat}) > 10  # some are black


# ---- RandomBackground


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_background_changes_and_the_object_does_not(dtype: torch.dtype, channels: int) -> None:
    image, mask = functional.to_dtype(noise(channels, 20, 30), dtype, scale=True), objects()

    changed, same = RandomBackground()(tv_tensors.Image(image), mask)

    inside = mask > 0
    assert isinstance(changed, tv_tensors.Image)
    assert changed.dtype == dtype
    assert torch.equal(changed[:, inside], image[:, inside])
    assert (changed[:, ~inside] == image[:, ~inside]).float().mean() < 0.05
    assert same is mask


def test_the_background_of_a_picture_changes() -> None:
    picture, mask = Image.fromarray(noise(20, 30, 3).numpy()), objects()

    changed, _ = RandomBackground()(picture, mask)

    inside = mask > 0
    assert changed.mode == "RGB"
    assert torch.equal(image_of(changed)[:, inside], image_of(picture)[:, inside])
    assert not torch.equal(image_of(changed), image_of(picture))


def test_boxes_and_labels_of_a_sample_stay() -> None:
    boxes = tv_tensors.BoundingBoxes(torch.tensor([[5, 5, 20, 10]]), format="XYXY", canvas_size=(20, 30))
    sample = {"image": tv_tensors.Image(noise(3, 20, 30)), "mask": objects(), "boxes": boxes, "label": torch.tensor(4)}

    changed = RandomBackground()(sample)

    assert changed.keys() == sample.keys()
    assert all(changed[key] is sample[key] for key in ("mask", "boxes", "label"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_backgrounds_are_smooth_and_span_the_range(dtype: torch.dtype) -> None:
    image, nothing = torch.zeros(3, 64, 64, dtype=dtype), tv_tensors.Mask(torch.zeros(64, 64))

    made = torch.stack([RandomBackground()(image, nothing)[0] for _ in range(100)])

    grounds = functional.to_dtype(made, torch.float32, scale=True)
    assert grounds.min() == 0
    assert grounds.max() > 0.999
    assert grounds.mean() == pytest.approx(0.375, abs=0.075)
    assert grounds.diff(dim=-1).abs().max() < 8 / 64 + 1 / 255
    assert any(ground.std((1, 2)).max() < 1e-6 for ground in grounds)  # plain colours are among them


@pytest.mark.parametrize("flatten", [False, True])
def test_black_white_and_grey_backgrounds_come_up_as_files_have_them(*, flatten: bool) -> None:
    """Channels drawn apart have none, and a model that knows no black or white background still reacts to them."""
    torch.manual_seed(0)
    n, nothing = 1000, tv_tensors.Mask(torch.zeros(1000, 4, 4))
    if flatten:
        made = torch.stack([FlattenAlpha()(torch.zeros(4, 4, 4)) for _ in range(n)])
    else:
        made, _ = RandomBackground()(torch.zeros(n, 3, 4, 4), nothing)

    brightest = torch.stack([ground.max() for ground in made])
    dullest = torch.stack([(ground.amax(0) - ground.amin(0)).max() for ground in made])
    whitest = torch.stack([ground.min() for ground in made])

    assert (brightest < 0.01).float().mean() == pytest.approx(1 / 6, abs=0.05)
    assert ((dullest < 0.01) & (brightest >= 0.01)).float().mean() == pytest.approx(5 / 36, abs=0.05)
    assert (whitest > 0.99).float().mean() == pytest.approx(1 / 36, abs=0.02)
    assert (dullest > 0.3).float().mean() > 0.1


def test_parts_of_an_object_are_all_kept() -> None:
    parts = torch.zeros(2, 4, 6)
    parts[0, 0, 0] = parts[1, 3, 5] = 1
    image = noise(3, 4, 6)

    changed, _ = RandomBackground()(image, tv_tensors.Mask(parts))

    kept = parts.any(0)
    assert torch.equal(changed[:, kept], image[:, kept])
    assert not torch.equal(changed[:, ~kept], image[:, ~kept])


@pytest.mark.parametrize("with_parts", [False, True])
def test_pictures_of_a_batch_have_their_own_mask_and_background(*, with_parts: bool) -> None:
    torch.manual_seed(0)
    images = torch.full((4, 3, 6, 8), 0.123)
    mask = torch.zeros(4, 6, 8)
    for i in range(4):
        mask[i, i] = 1

    changed, _ = RandomBackground()(images, tv_tensors.Mask(mask[:, None] if with_parts else mask))

    kept = mask.bool()[:, None].expand_as(images)
    assert torch.equal(changed[kept], images[kept])
    assert (changed != images)[~kept].all()
    assert len({tuple(image[:, 5, 0].tolist()) for image in changed}) > 1  # some are black


# ---- RandomReencode


def jpeg(images: Tensor, quality: int) -> Tensor:
    """Picture by picture, through torchvision's transform of pictures."""
    flat = images.reshape(-1, *images.shape[-3:])
    encoded = [image_of(v2.JPEG(quality)(functional.to_pil_image(image))) for image in flat]
    return torch.stack(encoded).reshape(images.shape)


@pytest.mark.parametrize("shape", [(1, 24, 32), (3, 24, 32), (2, 2, 3, 24, 32)])
def test_bytes_are_encoded_like_pictures(shape: tuple[int, ...]) -> None:
    image = noise(*shape)

    assert torch.equal(RandomReencode((50, 50))(image), jpeg(image, 50))


def test_an_empty_batch_stays_empty() -> None:
    assert RandomReencode()(torch.zeros(0, 3, 8, 8)).shape == (0, 3, 8, 8)


def test_pictures_are_encoded_as_torchvision_does() -> None:
    picture = Image.fromarray(noise(24, 32, 3).numpy())

    assert RandomReencode((50, 50))(picture).tobytes() == v2.JPEG(50)(picture).tobytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 24, 32), (3, 24, 32), (2, 2, 3, 24, 32)])
def test_floats_are_encoded_like_their_bytes(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    image = noise(*shape)

    encoded = RandomReencode((50, 50))(image.to(dtype) / 255)

    assert encoded.dtype == dtype
    assert torch.equal((encoded.double() * 255).round().byte(), jpeg(image, 50))


def test_floats_are_rounded_to_bytes() -> None:
    encoded = RandomReencode((100, 100))(torch.full((1, 16, 16), 100.8 / 255))

    assert (encoded * 255).flatten().tolist() == pytest.approx([101] * 256)


def test_floats_a_little_outside_are_clipped_and_do_not_wrap() -> None:
    image = torch.full((3, 16, 16), 1.005)
    image[..., :8] = -0.005

    encoded = RandomReencode((95, 95))(image)

    assert encoded[..., :7].max() < 0.05
    assert encoded[..., 9:].min() > 0.95


def test_grey_pictures_stay_grey() -> None:
    assert RandomReencode()(Image.fromarray(noise(8, 9).numpy())).mode == "L"


def test_qualities_differ_between_calls_and_stay_within_their_range() -> None:
    image = noise(3, 24, 32)
    possible = [jpeg(image, quality) for quality in range(60, 64)]

    made = [RandomReencode((60, 63))(image) for _ in range(40)]

    chosen = [next(i for i, one in enumerate(possible) if torch.equal(one, image)) for image in made]
    assert set(chosen) == {0, 1, 2, 3}


# ---- all of them


def flatten(image: Any) -> Any:
    return FlattenAlpha()(image)


def background(image: Any) -> Any:
    return RandomBackground(0.7)(image, tv_tensors.Mask(torch.zeros(image.shape[-2:])))[0]


def reencode(image: Any) -> Any:
    return RandomReencode(p=0.7)(image)


@pytest.mark.parametrize(("change", "channels"), [(flatten, 4), (background, 3), (reencode, 3)])
def test_a_seed_draws_the_same_again(change: Callable[[Any], Any], channels: int) -> None:
    def run(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.stack([change(noise(channels, 16, 16)) for _ in range(8)])

    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))


# ---- RandomStyle


@pytest.mark.parametrize("shape", [(3, 9, 7), (1, 9, 7), (2, 3, 9, 7), (0, 3, 9, 7), (3, 1, 1)], ids=str)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_a_style_keeps_shape_type_and_range(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    image = torch.rand(shape) * (1 if dtype.is_floating_point else 255)
    made = RandomStyle()(image.to(dtype))

    assert (made.shape, made.dtype) == (image.shape, dtype)
    assert made.numel() == 0 or 0 <= made.min() <= made.max() <= (1 if dtype.is_floating_point else 255)


def test_a_style_is_another_at_each_call_and_shifts_the_channels_by_themselves() -> None:
    image = torch.full((3, 32, 32), 0.2)
    image[:, 12:20, 12:20] = 0.9
    made = [RandomStyle()(image) for _ in range(20)]

    red, blue = ([(one[i] > 0.6).nonzero().float().mean(0).round().tolist() for one in made] for i in (0, 2))
    assert len(torch.stack(made).unique(dim=0)) == 20
    assert sum(one != other for one, other in zip(red, blue, strict=True)) > 10


@pytest.mark.parametrize(
    "transform", [RandomBackground(0), RandomReencode(p=0), RandomStyle(0)], ids=["background", "reencode", "style"]
)
def test_p_of_0_is_identity(transform: v2.Transform) -> None:
    image, mask = noise(3, 20, 30), objects()

    assert all(transform(image, mask)[0] is image for _ in range(20))


@pytest.mark.parametrize(
    "transform",
    [RandomBackground(0.3), RandomReencode(p=0.3), RandomStyle(0.3)],
    ids=["background", "reencode", "style"],
)
def test_p_is_the_chance_of_a_change(transform: v2.Transform) -> None:
    image, mask = noise(3, 20, 30), objects()

    changed = [transform(image, mask)[0] is not image for _ in range(300)]

    assert np.mean(changed) == pytest.approx(0.3, abs=0.1)


def test_transforms_do_not_write_into_what_they_are_given() -> None:
    image, mask = torch.rand(4, 20, 30), objects()
    before = image.clone()

    FlattenAlpha()(image)
    RandomBackground()(image[:3], mask)
    RandomReencode()(image[:3])
    RandomStyle()(image[:3])

    assert torch.equal(image, before)


@pytest.mark.parametrize(
    "transform", [FlattenAlpha(RED), RandomBackground(0.5), RandomReencode((20, 30), 0.5), RandomStyle(0.5)]
)
def test_transforms_travel_to_workers_and_say_what_they_are(transform: v2.Transform) -> None:
    copied = pickle.loads(pickle.dumps(transform))

    assert repr(copied) == repr(transform)
    assert {"colour", "p"} & set(vars(copied))


def test_an_image_folder_of_both_kinds_is_loaded_by_workers(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    see_through().resize((16, 16), Image.Resampling.NEAREST).save(tmp_path / "a" / "0.png")
    Image.new("RGB", (16, 16), "white").save(tmp_path / "b" / "0.jpg")
    steps = v2.Compose([FlattenAlpha(RED), RandomReencode(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])

    (batch,) = DataLoader(ImageFolder(str(tmp_path), steps, loader=keep_alpha), batch_size=2, num_workers=1)

    images, _ = batch
    assert images.shape == (2, 3, 16, 16)
    assert (images[0, :, 8, 0] * 255).tolist() == pytest.approx(RED, abs=25)
    assert images[1].min() > 0.9


def test_keep_alpha_keeps_transparency_and_makes_everything_else_rgb(tmp_path: Path) -> None:
    see_through().save(tmp_path / "alpha.png")
    palette = Image.new("P", (2, 1))
    palette.save(tmp_path / "palette.gif", transparency=0)
    Image.new("L", (2, 1), 9).save(tmp_path / "grey.png")

    assert keep_alpha(str(tmp_path / "alpha.png")).tobytes() == see_through().tobytes()
    assert keep_alpha(str(tmp_path / "palette.gif")).mode == "RGBA"
    assert keep_alpha(str(tmp_path / "grey.png")).getpixel((0, 0)) == (9, 9, 9)


def rgb_with_a_clear_colour() -> Image.Image:
    picture = Image.new("RGB", (4, 4))
    picture.info["transparency"] = (0, 0, 0)
    return picture


NORMALISED = torch.linspace(-2, 2, 48).reshape(3, 4, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda: FlattenAlpha((300, 0, 0)), "red, green and blue from 0 to 255", id="colour out of range"),
        pytest.param(lambda: FlattenAlpha((1, 2)), r"got \(1, 2\)", id="two parts"),  # type: ignore[arg-type] # on purpose
        pytest.param(lambda: FlattenAlpha()(torch.zeros(5, 4, 4)), "1 to 4 channels, got 5", id="five channels"),
        pytest.param(
            lambda: FlattenAlpha()(torch.zeros(4, 4)), r"\(..., C, H, W\), .* got torch.float32 \(4, 4\)", id="2d"
        ),
        pytest.param(lambda: FlattenAlpha()(NORMALISED), "got -2 to 2; put Normalize after", id="normalised, flatten"),
        pytest.param(lambda: RandomReencode()(NORMALISED), "got -2 to 2; put Normalize after", id="normalised, JPEG"),
        pytest.param(lambda: RandomReencode()(torch.full((3, 4, 4), torch.nan)), "got nan to nan", id="NaN"),
        pytest.param(
            lambda: RandomReencode()(torch.zeros(3, 4, 4, dtype=torch.long)), "torch.int64", id="whole numbers"
        ),
        pytest.param(lambda: RandomReencode()(torch.zeros(4, 4, 4)), "got 4; put FlattenAlpha", id="JPEG with alpha"),
        pytest.param(lambda: RandomReencode()(see_through()), r"got RGBA; put FlattenAlpha\(\)", id="RGBA picture"),
        pytest.param(lambda: RandomReencode()(rgb_with_a_clear_colour()), "put FlattenAlpha", id="a clear colour"),
        pytest.param(lambda: RandomReencode((0, 50)), "quality", id="quality 0"),
        pytest.param(lambda: RandomReencode(p=2), "a probability from 0 to 1, got 2", id="chance above 1"),
        pytest.param(lambda: RandomBackground(-0.1), "a probability from 0 to 1, got -0.1", id="chance below 0"),
        pytest.param(lambda: RandomBackground(0)(noise(3, 4, 4)), r"one tv_tensors.Mask .* has 0; call", id="no mask"),
        pytest.param(lambda: RandomBackground()(noise(3, 4, 4), objects(4, 4), objects(4, 4)), "has 2", id="two masks"),
        pytest.param(
            lambda: RandomBackground()(noise(3, 4, 6), tv_tensors.Mask(torch.zeros(4, 5))),
            r"mask of pictures \(3, 4, 6\) must be \(4, 6\) or \('k', 4, 6\), got \(4, 5\)",
            id="mask of another size",
        ),
        pytest.param(
            lambda: RandomBackground()(noise(2, 3, 4, 6), tv_tensors.Mask(torch.zeros(3, 4, 6))),
            r"must be \(2, 4, 6\) or",
            id="masks of another batch",
        ),
        pytest.param(lambda: RandomBackground()(see_through(), objects(1, 3)), "got RGBA; put", id="RGBA in front"),
        pytest.param(lambda: RandomBackground()(NORMALISED, objects(4, 4)), "put Normalize after", id="normalised"),
    ],
)
def test_what_cannot_be_changed_says_the_way_out(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
