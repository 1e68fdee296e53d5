"""Figures of up to ten classes that differ in shape only: five bodies, each with two kinds of headgear.

Colours, patterns, sizes and poses come from the same distributions for all classes.
"""

import colorsys

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Points = npt.NDArray[np.float64]  # (n, 2), from -1 to 1

SHEET = 160  # side of the sheet that is drawn on before it is scaled down
CLASSES = {4: (0, 1, 2, 3), 10: tuple(range(10))}  # by number of classes: which kinds of figure they are


def draw(kind: int, rng: np.random.Generator, *, size: int) -> Image.Image:
    """One figure as ``(size, size)`` RGBA; ``kind`` is twice the body plus the headgear."""
    hue = rng.random()
    coat, trim = _colour(rng, hue), _colour(rng, hue + rng.uniform(0.15, 0.85))
    sheet = Image.new("RGBA", (SHEET, SHEET))
    for part in _HEADGEAR[kind % 2](rng):
        _fill(sheet, part, trim)
    outline = _wobbled(_BODIES[kind // 2](), rng)
    _fill(sheet, outline, coat)
    _decorate(sheet, outline, rng, trim)
    for side in (-1, 1):
        _fill(sheet, _oval(side * rng.uniform(0.1, 0.18), rng.uniform(-0.1, 0.1), 0.08, 0.09), (250, 250, 250))
    tilted = sheet.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC, expand=True)
    return _scaled(tilted.crop(tilted.getbbox()), rng, size)


def _colour(rng: np.random.Generator, hue: float) -> tuple[int, ...]:
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.3, 0.8), rng.uniform(0.5, 1)))


def _oval(x: float, y: float, width: float, height: float) -> Points:
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return np.stack([x + width * np.cos(t), y + height * np.sin(t)], 1)


def _corners(n: int, inner: float = 1.0, turn: float = 0.0) -> Points:
    """A regular shape of ``n`` corners, or a star whose inner corners lie at ``inner``."""
    t = np.linspace(0, 2 * np.pi, 2 * n, endpoint=False) - np.pi / 2 + turn
    radius = np.where(np.arange(2 * n) % 2, inner, 1.0)
    return np.stack([radius * np.cos(t), radius * np.sin(t)], 1)


_BODIES = (
    lambda: 0.5 * _corners(24),
    lambda: 0.56 * _corners(4, np.cos(np.pi / 4), np.pi / 4),
    lambda: 0.64 * _corners(3, np.cos(np.pi / 3)) + (0, 0.08),
    lambda: 0.62 * _corners(5, 0.5),
    lambda: _oval(0, 0, 0.34, 0.62),
)


def _wobbled(points: Points, rng: np.random.Generator) -> Points:
    return points * rng.uniform(0.88, 1.1, 2) + rng.uniform(-0.03, 0.03, points.shape)


def _horns(rng: np.random.Generator) -> list[Points]:
    lean, length = rng.uniform(0.25, 0.45), rng.uniform(0.75, 0.95)
    return [np.array([(s * 0.1, -0.2), (s * lean, -length), (s * 0.3, -0.2)]) for s in (-1, 1)]


def _knob(rng: np.random.Generator) -> list[Points]:
    x, y = rng.uniform(-0.2, 0.2), -rng.uniform(0.72, 0.85)
    return [np.array([(-0.06, -0.2), (x - 0.05, y), (x + 0.05, y), (0.06, -0.2)]), _oval(x, y, 0.15, 0.15)]


_HEADGEAR = (_horns, _knob)


def _fill(sheet: Image.Image, points: Points, colour: tuple[int, ...]) -> None:
    pixels = [(float(x), float(y)) for x, y in (points + 1) * (SHEET / 2)]
    draw = ImageDraw.Draw(sheet)
    draw.polygon(pixels, fill=colour)
    draw.line([*pixels, *pixels[:2]], fill=(40, 40, 40), width=3)


def _decorate(sheet: Image.Image, outline: Points, rng: np.random.Generator, trim: tuple[int, ...]) -> None:
    """Draws up to five spots that stay inside the body."""
    for _ in range(rng.integers(0, 6)):
        x, y = outline[rng.integers(len(outline))] * rng.uniform(0, 0.55)
        radius = rng.uniform(0.04, 0.12)
        ImageDraw.Draw(sheet).polygon([tuple(p) for p in (_oval(x, y, radius, radius) + 1) * (SHEET / 2)], fill=trim)


def _scaled(figure: Image.Image, rng: np.random.Generator, size: int) -> Image.Image:
    scale = size * rng.uniform(0.75, 0.96) / max(figure.size)
    figure = figure.resize([max(1, round(side * scale)) for side in figure.size], Image.Resampling.LANCZOS)
    picture = Image.new("RGBA", (size, size))
    picture.paste(figure, tuple((size - side) // 2 for side in figure.size))
    return picture
