"""Cues that can be planted. Each has as many values as there are classes and touches one thing; the rest is random.

A cue may say what the object looks like (`object`), where it lies (`place`), what is behind it (`background`) and what
happens to the finished picture (`finish`). Each takes the value ``k``, the number of values and, but for the first, a
generator, and draws equally often for every ``k``, so that a picture with another value is the same picture otherwise.
"""

import colorsys
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from lightning_cam.demo.pictures import backdrop

from .tasks import SIZE

Picture = npt.NDArray[np.float64]  # (SIZE, SIZE, 3) from 0 to 255
Mask = npt.NDArray[np.bool_]
Sprite = npt.NDArray[np.uint8]  # (height, width, 4), an object and its opacity
Generator = np.random.Generator


def anywhere(k: int, n: int, rng: Generator) -> tuple[float, float]:
    """Place of the object, right and down, as shares of the room that it has."""
    return rng.random(), rng.random()


def as_drawn(sprite: Sprite, k: int, n: int) -> Sprite:
    """The object as it is."""
    return sprite


def any_background(k: int, n: int, rng: Generator) -> Picture:
    """A background that has nothing to do with the value."""
    return np.asarray(backdrop(rng, size=SIZE), float)


def untouched(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    """The picture as it is."""
    return picture


@dataclass(frozen=True)
class Cue:
    """What a cue does to a picture, and the names under which a detector may rightly report it."""

    names: tuple[str, ...]
    object: Callable[[Sprite, int, int], Sprite] = as_drawn
    place: Callable[[int, int, Generator], tuple[float, float]] = anywhere
    background: Callable[[int, int, Generator], Picture] = any_background
    finish: Callable[[Picture, Mask, int, int, Generator], Picture] = untouched


def _hue(k: int, n: int, rng: Generator, *, saturation: float = 0.6, value: float = 0.75) -> Picture:
    """A colour around the hue of the value, ``(3,)``."""
    hue = k / n + rng.normal(0, 0.15 / n)
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation * rng.uniform(0.7, 1), value * rng.uniform(0.8, 1.2)))


def _clouds(rng: Generator, *cells: int) -> Picture:
    """Smooth random light and shade around 0, ``(SIZE, SIZE, 1)``; one layer for each number of cells."""
    coarse = [Image.fromarray(rng.integers(0, 256, (n, n), dtype=np.uint8)) for n in cells]
    layers = [np.asarray(cloud.resize((SIZE, SIZE), Image.Resampling.BICUBIC), float) for cloud in coarse]
    return np.mean(layers, 0)[..., None] - 127.5


def _plain_colour(k: int, n: int, rng: Generator) -> Picture:
    return np.ones((SIZE, SIZE, 1)) * _hue(k, n, rng) + rng.normal(0, 4, (SIZE, SIZE, 1))


def _black_to_white(k: int, n: int, rng: Generator) -> Picture:
    return np.full((SIZE, SIZE, 3), 255 * k / (n - 1))


def _photo(k: int, n: int, rng: Generator) -> Picture:
    hue = _hue(k, n, rng, saturation=0.35, value=0.6)
    return hue + _clouds(rng, 3, 8, 20) * rng.uniform(0.6, 1.2, 3) + rng.normal(0, 4, (SIZE, SIZE, 1))


def _stripes(k: int, n: int, rng: Generator) -> Picture:
    angle, width = np.pi * k / n + rng.normal(0, 0.3 / n), rng.uniform(5, 9)
    one, two = rng.uniform(30, 225, (2, 3))
    y, x = np.mgrid[:SIZE, :SIZE]
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / width + rng.uniform(0, 6))[..., None]
    return (one + two) / 2 + 0.35 * wave * (one - two)


def _blurred_background(k: int, n: int, rng: Generator) -> Picture:
    sharp = any_background(k, n, rng) + 0.5 * _clouds(rng, 10, 32)
    return _as_array(_as_image(sharp).filter(ImageFilter.GaussianBlur(2.2 * k / (n - 1))))


def _frame(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    framed = np.ones_like(picture) * _hue(k, n, rng)
    framed[3:-3, 3:-3] = picture[3:-3, 3:-3]
    return framed


MARK = 9  # side of a mark in pixels
_Y, _X = np.mgrid[:MARK, :MARK] - MARK // 2
_SHAPES = (
    np.hypot(_X, _Y) < 4.6,
    np.maximum(abs(_X), abs(_Y)) < 4,
    abs(_X) + abs(_Y) < 5,
    np.minimum(abs(_X), abs(_Y)) < 2,
)


def _marked(picture: Picture, top: int, left: int, k: int, n: int, rng: Generator) -> Picture:
    """The picture with the mark of the value, whose colour and shape say which."""
    marked = picture.copy()
    marked[top : top + MARK, left : left + MARK][_SHAPES[k % 4]] = _hue(k, n, rng, saturation=0.85)
    return marked


def _corner_mark(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    return _marked(picture, 2, 2, k, n, rng)


def _random_corner_mark(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    top, left = rng.choice([2, SIZE - MARK - 2], 2)
    return _marked(picture, top, left, k, n, rng)


def _random_mark(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    places = rng.integers(0, SIZE - MARK, (12, 2))
    hidden = [mask[top : top + MARK, left : left + MARK].sum() for top, left in places]
    return _marked(picture, *places[int(np.argmin(hidden))], k, n, rng)


def _jpeg(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    file = io.BytesIO()
    _as_image(picture).save(file, "JPEG", quality=round(12 + 80 * k / (n - 1)))
    return _as_array(Image.open(file))


def _cast(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    return picture * (1 + 0.17 * np.cos(2 * np.pi * (k / n + np.arange(3) / 3)))


def _contrast(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    return 127 + (picture - 127) * (1 - 0.4 * k / (n - 1))


def _haze(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    share = 0.35 * k / (n - 1)
    return picture * (1 - share) + 230 * share


def _coarse(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    side = round(SIZE / (1 + 1.2 * k / (n - 1)))
    small = _as_image(picture).resize((side, side), Image.Resampling.BICUBIC)
    return _as_array(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def _blur(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    return _as_array(_as_image(picture).filter(ImageFilter.GaussianBlur(1.2 * k / (n - 1))))


def _cell(k: int, n: int, rng: Generator) -> tuple[float, float]:
    """A place in the column of the value; with four or more values in one of two rows as well."""
    rows = 1 if n < 4 else 2
    columns = n // rows
    x, y = rng.uniform(0.1, 0.9, 2)
    return (k % columns + x) / columns, (k // columns + y) / rows


def _centre(k: int, n: int, rng: Generator) -> tuple[float, float]:
    return 0.5, 0.5


def _as_image(picture: Picture) -> Image.Image:
    return Image.fromarray(picture.round().clip(0, 255).astype(np.uint8))


def _as_array(image: Image.Image) -> Picture:
    return np.asarray(image, float)


_BEHIND = ("background", "cast", "border", "tone")
_EDGE = ("border", "corner", "background", "region")
_SHARPNESS = ("frequency", "resolution", "codec")
CUES: dict[str, Cue] = {
    "background_colour": Cue(_BEHIND, background=_plain_colour),
    "background_black": Cue(_BEHIND, background=_black_to_white),
    "background_texture": Cue(("background", "border", "frequency"), background=_stripes),
    "background_photo": Cue(_BEHIND, background=_photo),
    "background_blur": Cue(("background", "border", *_SHARPNESS), background=_blurred_background),
    "frame": Cue(_EDGE, finish=_frame),
    "corner_mark": Cue(_EDGE, finish=_corner_mark),
    "random_corner_mark": Cue(_EDGE, finish=_random_corner_mark),
    "random_mark": Cue(_EDGE, finish=_random_mark),
    "jpeg": Cue(("codec", "frequency"), finish=_jpeg),
    "cast": Cue(("cast", "tone"), finish=_cast),
    "contrast": Cue(("contrast", "tone"), finish=_contrast),
    "haze": Cue(("contrast", "tone"), finish=_haze),
    "resolution": Cue(_SHARPNESS, finish=_coarse),
    "blur": Cue(_SHARPNESS, finish=_blur),
    "position": Cue(("position",), place=_cell),
    "two_cues": Cue((*_BEHIND, *_EDGE), background=_plain_colour, finish=_corner_mark),
}
UNBIASED: dict[str, Cue] = {"absent": Cue(()), "centred": Cue((), place=_centre)}
HELD_OUT = ("random_mark", "blur", "background_texture")  # families that nothing may be tuned on


# ---- cues that had no trial when they were drawn -----------------------------------------------------------------


def _stamped_object(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    """A small square of fine stripes somewhere on the object, whose direction says which value."""
    places = np.argwhere(mask)
    y, x = np.clip(places[rng.integers(len(places))], 3, SIZE - 4)
    stamped, (rows, columns) = picture.copy(), np.mgrid[:7, :7]
    stamped[y - 3 : y + 4, x - 3 : x + 4] = np.where((rows + columns * (1 - 2 * k)) % 4 < 2, 250, 10)[..., None]
    return stamped


def _shifted_channels(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    red, green, blue = np.moveaxis(picture, 2, 0)
    by = 1 - 2 * k
    return np.stack([np.roll(red, by, 1), green, np.roll(blue, -by, 1)], 2)


def _shifted_rows(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    shifted = picture.copy()
    shifted[::2] = np.roll(picture[::2], 2 * k, 1)
    return shifted


def _tied_to_hue(picture: Picture, mask: Mask, k: int, n: int, rng: Generator) -> Picture:
    """A background of the object's own colour, or of the opposite one."""
    colour = picture[mask].mean(0)
    behind = 0.35 * picture.mean(2, keepdims=True) + 0.65 * (colour if k else 255 - colour)
    return np.where(mask[..., None], picture, behind)


def _sized(sprite: Sprite, k: int, n: int) -> Sprite:
    return _resized(sprite, (0.6, 0.95)[k], (0.6, 0.95)[k])


def _stretched(sprite: Sprite, k: int, n: int) -> Sprite:
    return _resized(sprite, (0.62, 0.95)[k], (0.95, 0.62)[k])


def _resized(sprite: Sprite, across: float, down: float) -> Sprite:
    size = round(sprite.shape[1] * across), round(sprite.shape[0] * down)
    return np.asarray(Image.fromarray(sprite).resize(size, Image.Resampling.LANCZOS))


def _upside_down(sprite: Sprite, k: int, n: int) -> Sprite:
    return sprite[::-1] if k else sprite


def _on_its_side(sprite: Sprite, k: int, n: int) -> Sprite:
    return np.rot90(sprite) if k else sprite


def _flashed(sprite: Sprite, k: int, n: int) -> Sprite:
    return _coloured(sprite, sprite[..., :3] * (0.7, 1.25)[k])


def _faded(sprite: Sprite, k: int, n: int) -> Sprite:
    grey = sprite[..., :3].mean(2, keepdims=True)
    return _coloured(sprite, grey + (sprite[..., :3] - grey) * (1.0, 0.35)[k])


def _coloured(sprite: Sprite, colours: Picture) -> Sprite:
    return np.concatenate([colours.round().clip(0, 255).astype(np.uint8), sprite[..., 3:]], 2)


UNLISTED: dict[str, Cue] = {
    "stamp_on_object": Cue(("patch",), finish=_stamped_object),
    "shifted_channels": Cue(("style",), finish=_shifted_channels),
    "shifted_rows": Cue(("style",), finish=_shifted_rows),
    "tied_to_hue": Cue(("background", "border", "cast", "tone"), finish=_tied_to_hue),
    "size_of_object": Cue(("scale",), object=_sized),
    "proportions_of_object": Cue(("scale",), object=_stretched),
    "object_upside_down": Cue(("orientation",), object=_upside_down),
    "object_on_its_side": Cue(("orientation",), object=_on_its_side),
    "brightness_of_object": Cue(("exposure",), object=_flashed),
    "saturation_of_object": Cue(("exposure",), object=_faded),
}
"""Two values each; networks that use these were once passed."""
