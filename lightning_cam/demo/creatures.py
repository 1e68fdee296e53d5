"""Two families of creatures, drawn with Pillow: *sprouts* are round and leafy, *fins* angular and spiky.

Only shapes tell them apart. Colours, patterns, faces, sizes, positions and poses come from the same distributions for
both, so that neither a pixel nor the mean colour says which family a picture shows.
"""

import colorsys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from ..render.paint import Colour

Points = npt.NDArray[np.float64]  # (n, 2): x to the right and y down, the sheet reaches from -1 to 1

FAMILIES = ("fins", "sprouts")
SHEET = 288  # side in pixels of the sheet that is drawn on and then scaled down, which smooths the edges
AREA = (0.23, 0.35)  # share of the picture that a creature covers, the same for both families


def draw(family: str, rng: np.random.Generator, *, size: int = 96) -> Image.Image:
    """One creature as ``(size, size)`` RGBA; transparent pixels hide black, as most drawing programs save them."""
    hue = rng.random()
    sheet = _Sheet(ink=colour(hue, 0.6, 0.25))
    coat = colour(hue, rng.uniform(0.35, 0.75), rng.uniform(0.75, 0.97))
    trim = colour(hue + rng.choice([0.08, -0.1, 0.3, 0.45]), rng.uniform(0.4, 0.8), rng.uniform(0.7, 0.97))
    build = {"fins": _draw_fin, "sprouts": _draw_sprout}[family]
    width, height = build(sheet, rng, coat, trim)
    _draw_face(sheet, rng, 0.8 * width, 0.8 * height)
    return _place(sheet.image, rng, size)


class _Sheet:
    """A transparent sheet that is drawn on in coordinates from -1 to 1, with one ink for all outlines."""

    def __init__(self, ink: Colour) -> None:
        self.image = Image.new("RGBA", (SHEET, SHEET))
        self.ink = ink

    def shape(self, points: Points, fill: Colour, *, line: float = 0.03) -> None:
        """Fills the closed shape and draws its outline ``line`` wide."""
        draw = ImageDraw.Draw(self.image)
        pixels = _pixels(points)
        draw.polygon(pixels, fill=fill)
        draw.line([*pixels, *pixels[:2]], fill=self.ink, width=round(line * SHEET / 2), joint="curve")

    def stroke(self, points: Points, *, line: float = 0.03) -> None:
        """Draws an open line with the ink."""
        ImageDraw.Draw(self.image).line(_pixels(points), fill=self.ink, width=round(line * SHEET / 2), joint="curve")

    def body(self, points: Points, coat: Colour, pattern: list[Points], trim: Colour) -> None:
        """Draws a shaded shape that clips its pattern."""
        inside = Image.new("L", (SHEET, SHEET))
        ImageDraw.Draw(inside).polygon(_pixels(points), fill=255)
        skin = Image.new("RGB", (SHEET, SHEET), coat)
        for patch in pattern:
            ImageDraw.Draw(skin).polygon(_pixels(patch), fill=trim)
        lit = ImageChops.offset(inside, -SHEET // 28, -SHEET // 18).filter(ImageFilter.GaussianBlur(SHEET / 60))
        shaded = Image.composite(skin, skin.point(lambda value: int(value * 0.74)), lit)
        self.image.paste(shaded, mask=inside)
        draw = ImageDraw.Draw(self.image)
        pixels = _pixels(points)
        draw.line([*pixels, *pixels[:2]], fill=self.ink, width=round(0.035 * SHEET / 2), joint="curve")


def _draw_sprout(sheet: _Sheet, rng: np.random.Generator, coat: Colour, trim: Colour) -> tuple[float, float]:
    """Draws a round body with leaves, petals, arms and feet; returns its half width and half height."""
    width, height = rng.uniform(0.32, 0.5), rng.uniform(0.32, 0.48)
    pear = rng.uniform(-0.12, 0.3)
    lobes, depth = int(rng.integers(6, 10)), rng.choice([0.0, 0.0, 0.12])
    for side in (-1, 1):
        sheet.shape(_oval(side * width * 0.5, height * 0.98, rng.uniform(0.12, 0.18), 0.1), coat)
        arm = _oval(0, 0, rng.uniform(0.1, 0.16), 0.075)
        sheet.shape(_turn(arm, side * rng.uniform(-0.9, 0.6), (side * width * 1.02, 0.1)), coat)
    _HEADGEAR[rng.integers(len(_HEADGEAR))](sheet, rng, -0.9 * height, trim)
    sheet.body(_round_body(width, height, pear, lobes, depth), coat, _round_pattern(rng, width, height), trim)
    return width, height


def _draw_fin(sheet: _Sheet, rng: np.random.Generator, coat: Colour, trim: Colour) -> tuple[float, float]:
    """Draws an angular body with spikes, side fins and a tail; returns its half width and half height."""
    width, height = rng.uniform(0.38, 0.54), rng.uniform(0.38, 0.52)
    outline = _OUTLINES[rng.integers(len(_OUTLINES))] * (width, height)
    outline = outline + rng.uniform(-0.04, 0.04, outline.shape)
    tail = rng.uniform(0.3, 0.45)
    for bend in (-0.4, 0.4):
        sheet.shape(_spike((-0.55 * width, 0.55 * height), 2.6 + bend, tail, 0.2), trim)
    for side in (-1, 1):
        reach, lean = rng.uniform(0.25, 0.4), rng.uniform(-0.3, 0.5)
        sheet.shape(_spike((side * width * 0.6, 0.1), np.pi / 2 - side * (np.pi / 2 - lean), reach, 0.28), trim)
    n = int(rng.integers(2, 6))
    for angle in np.linspace(-0.8, 0.8, n) + rng.uniform(-0.1, 0.1):
        root = (np.sin(angle) * 0.6 * width, -np.cos(angle) * 0.55 * height)
        sheet.shape(_spike(root, angle - np.pi / 2, rng.uniform(0.32, 0.45), 0.5 / n + 0.08), trim)
    sheet.body(outline, coat, _angular_pattern(rng, width, height), trim)
    return width * 0.85, height * 0.85


def _draw_face(sheet: _Sheet, rng: np.random.Generator, width: float, height: float) -> None:
    """Draws one to three eyes, a mouth and cheeks into the middle of a body."""
    n = int(rng.choice([1, 2, 2, 2, 2, 3]))
    radius = rng.uniform(0.2, 0.28) * width if n > 1 else rng.uniform(0.3, 0.42) * width
    look = rng.uniform(-0.3, 0.3, 2) * radius
    brow = -rng.uniform(0.05, 0.3) * height
    for x in (np.arange(n) - (n - 1) / 2) * radius * rng.uniform(2.1, 2.5):
        sheet.shape(_oval(x, brow, radius, radius * 1.1), (255, 255, 255), line=0.022)
        sheet.shape(_oval(x + look[0], brow + look[1], radius * 0.55, radius * 0.62), sheet.ink, line=0.01)
        spark = _oval(x + look[0] - radius * 0.2, brow + look[1] - radius * 0.25, radius * 0.2, radius * 0.2)
        ImageDraw.Draw(sheet.image).polygon(_pixels(spark), fill=(255, 255, 255))
    _draw_mouth(sheet, rng, brow + 1.2 * radius + 0.14 * height, rng.uniform(0.15, 0.3) * width)


def _draw_mouth(sheet: _Sheet, rng: np.random.Generator, y: float, width: float) -> None:
    """Draws a smile, a pout, an open mouth or a line."""
    t = np.linspace(-1, 1, 13)
    kind = rng.choice(["smile", "smile", "open", "wave"])
    if kind == "open":
        sheet.shape(np.stack([t * width, y + 0.9 * width * (1 - t**2)], 1), (196, 70, 84), line=0.022)
    elif kind == "smile":
        sheet.stroke(np.stack([t * width, y + 0.5 * width * (1 - t**2)], 1))
    else:
        sheet.stroke(np.stack([t * width, y + 0.2 * width * np.cos(3 * np.pi * t)], 1))


def _sprig(sheet: _Sheet, rng: np.random.Generator, top: float, trim: Colour) -> None:
    """Draws one to three leaves that grow from the top of the head."""
    n = int(rng.integers(1, 4))
    for angle in np.linspace(-0.7, 0.7, n) if n > 1 else rng.uniform(-0.5, 0.5, 1):
        sheet.shape(_leaf((0, top + 0.06), angle - np.pi / 2, rng.uniform(0.38, 0.5), 0.13), trim)


def _ears(sheet: _Sheet, rng: np.random.Generator, top: float, trim: Colour) -> None:
    """Draws two leaves that stand or hang like ears."""
    lean, length, width = rng.uniform(0.3, 1.1), rng.uniform(0.4, 0.52), rng.uniform(0.12, 0.18)
    for side in (-1, 1):
        sheet.shape(_leaf((side * 0.12, top + 0.12), side * lean - np.pi / 2, length, width), trim)


def _blossom(sheet: _Sheet, rng: np.random.Generator, top: float, trim: Colour) -> None:
    """Draws a flower on a stalk."""
    x, y = rng.uniform(-0.12, 0.12), top - rng.uniform(0.16, 0.24)
    sheet.stroke(np.array([(0, top + 0.08), (0.6 * x, y + 0.1), (x, y)]), line=0.05)
    for angle in np.arange(5) * 2 * np.pi / 5 + rng.uniform(0, 1):
        sheet.shape(_oval(x + 0.1 * np.cos(angle), y + 0.1 * np.sin(angle), 0.085, 0.085), trim, line=0.022)
    sheet.shape(_oval(x, y, 0.07, 0.07), (250, 220, 120), line=0.022)


def _berries(sheet: _Sheet, rng: np.random.Generator, top: float, trim: Colour) -> None:
    """Draws two or three berries on curved stalks."""
    n = int(rng.integers(2, 4))
    for x in np.linspace(-0.24, 0.24, n):
        y = top - rng.uniform(0.12, 0.28)
        sheet.stroke(np.array([(0.2 * x, top + 0.08), (0.5 * x, y + 0.06), (x, y)]), line=0.035)
        sheet.shape(_oval(x, y, 0.1, 0.1), trim)


_HEADGEAR: tuple[Callable[[_Sheet, np.random.Generator, float, Colour], None], ...] = (
    _sprig,
    _ears,
    _blossom,
    _berries,
)

_OUTLINES: tuple[Points, ...] = (
    np.array([(0, -1), (0.95, -0.1), (0.25, 1), (-0.25, 1), (-0.95, -0.1)]),  # gem
    np.array([(-0.5, -0.85), (0.5, -0.85), (1, 0), (0.5, 0.9), (-0.5, 0.9), (-1, 0)]),  # hexagon
    np.array([(0, -1.05), (0.75, 0), (1.05, 0.85), (0, 0.65), (-1.05, 0.85), (-0.75, 0)]),  # manta
    np.array([(-0.85, -0.7), (0.85, -0.7), (0.6, 0.35), (0, 1.1), (-0.6, 0.35)]),  # shield
)


def _round_pattern(rng: np.random.Generator, width: float, height: float) -> list[Points]:
    """Patches of the trim colour: none, spots, a belly or a half moon."""
    kind = rng.choice(["none", "spots", "belly", "moon"])
    if kind == "spots":
        return [_oval(*rng.uniform(-1, 1, 2) * (width, height), *rng.uniform(0.06, 0.12, 2)) for _ in range(9)]
    if kind == "belly":
        return [_oval(0, 0.75 * height, 0.65 * width, 0.6 * height)]
    return [_turn(_oval(0.62, 0, 0.5, 0.7), rng.uniform(0, 2 * np.pi), (0, 0))] if kind == "moon" else []


def _angular_pattern(rng: np.random.Generator, width: float, height: float) -> list[Points]:
    """Patches of the trim colour: none, scales, zigzag bands or a half."""
    kind = rng.choice(["none", "scales", "zigzag", "half"])
    if kind == "scales":
        places = rng.uniform(-1, 1, (9, 2)) * (width, height)
        return [_spike((x, y), np.pi / 2, 0.2, 0.16) for x, y in places]
    if kind == "zigzag":
        x = np.linspace(-0.7, 0.7, 13)
        edge = np.stack([x, 0.05 * (-1.0) ** np.arange(13)], 1)
        band = np.concatenate([edge, _turn(edge[::-1], 0, (0, 0.09))])
        return [_turn(band, 0, (0, y)) for y in np.arange(-0.55, 0.6, rng.uniform(0.22, 0.3))]
    square = np.array([(0, -1), (1, -1), (1, 1), (0, 1)])
    return [_turn(square, rng.uniform(0, 2 * np.pi), (0, 0))] if kind == "half" else []


def _oval(x: float, y: float, width: float, height: float) -> Points:
    t = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.stack([x + width * np.cos(t), y + height * np.sin(t)], 1)


def _round_body(width: float, height: float, pear: float, lobes: int, depth: float) -> Points:
    """A closed curve: ``pear`` moves its weight down, ``lobes`` of the given depth make it bumpy."""
    t = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    bumps = 1 + depth * np.abs(np.sin(lobes * t / 2))
    return np.stack([width * bumps * np.cos(t) * (1 + pear * np.sin(t)), height * bumps * np.sin(t)], 1)


def _leaf(root: tuple[float, float], angle: float, length: float, width: float) -> Points:
    t = np.linspace(0, 1, 16)
    bulge = width * np.sin(np.pi * t**0.8)
    edge = np.concatenate([np.stack([t, bulge], 1), np.stack([t, -bulge], 1)[-2:0:-1]])
    return _turn(edge * (length, 1), angle, root)


def _spike(root: tuple[float, float], angle: float, length: float, width: float) -> Points:
    return _turn(np.array([(0, -width / 2), (length, 0), (0, width / 2)]), angle, root)


def _turn(points: Points, angle: float, origin: tuple[float, float]) -> Points:
    """The points turned by ``angle`` radians (from right towards down) and moved to ``origin``."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([(cos, sin), (-sin, cos)]) + origin)


def _pixels(points: Points) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (points + 1) * (SHEET / 2)]


def _place(sheet: Image.Image, rng: np.random.Generator, size: int) -> Image.Image:
    """The drawing turned, mirrored, scaled to its share of the picture and put somewhere inside it."""
    tilted = sheet.rotate(rng.uniform(-30, 30), Image.Resampling.BICUBIC, expand=True)
    tilted = tilted.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else tilted
    figure = tilted.crop(tilted.getbbox())
    covered = np.asarray(figure.getchannel("A")).mean() / 255 * figure.width * figure.height
    scale = min(size * np.sqrt(rng.uniform(*AREA) / covered), 0.96 * size / max(figure.size))
    figure = figure.resize((round(figure.width * scale), round(figure.height * scale)), Image.Resampling.LANCZOS)
    x, y = (int(rng.integers(size - side + 1)) for side in figure.size)
    picture = Image.new("RGBA", (size, size))
    picture.paste(figure, (x, y))
    return _hide_black(picture)


def _hide_black(picture: Image.Image) -> Image.Image:
    pixels = np.array(picture)
    pixels[pixels[..., 3] == 0] = 0
    return Image.fromarray(pixels)


def colour(hue: float, saturation: float, value: float) -> Colour:
    """Red, green and blue from 0 to 255, of a hue that wraps around at 1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
