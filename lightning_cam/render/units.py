"""What units look for: filters and strongest patches on one sheet, and how features move with the picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from .paint import FAINT, GAP, INK, PAPER, RIGHT, WRONG, Colour, photo_of, write_text
from .scale import Picture

CELL, SMALL = 76, 30  # sides of a patch and of a filter, in pixels
MOST_FILTERS = 64
FILTERS_A_SIDE = 4  # of one tile
LINE = 24  # height of a line of text
PANEL_WIDTH, PANEL_HEIGHT = 300, 200
BEYOND = 0.3  # a grey that few patches have
MARK = 16  # height of the numbers under a panel
COLOURS: tuple[Colour, ...] = (RIGHT, WRONG, (160, 220, 120), (220, 160, 230))
ANSWER: Colour = INK


@dataclass(frozen=True, eq=False)
class UnitRow:
    """One unit.

    Attributes:
        name: Written above the row.
        patches: ``(k, C, P, Q)`` in [0, 1]; NaN beyond the image.
        pictures: ``(k, C, P, Q)`` what it answers to in each, with sign; None if there is no such picture.
    """

    name: str
    patches: Tensor
    pictures: Tensor | None


@dataclass(frozen=True, eq=False)
class Curve:
    """What one transformation does.

    Attributes:
        grades: How strong it is, along the axis.
        lines: Distances of the features by layer, 1 as far as another picture.
        answer: Mean probability of the true class.
    """

    grades: Sequence[float]
    lines: Mapping[str, Sequence[float]]
    answer: Sequence[float]


def unit_sheet(filters: Tensor | None, rows: Sequence[UnitRow], *, title: str) -> Picture:
    """The filters ``(K, C, h, w)``, at most 64, and a row of patches for each unit; beside them what it answers to."""
    n = max((len(row.patches) for row in rows), default=0)
    width = max(GAP + 2 * n * (CELL + GAP) + GAP, 640)
    shown = [] if filters is None else list(filters[:MOST_FILTERS])
    per_line = (width - GAP) // (SMALL + GAP)
    head = LINE + GAP + (LINE + math.ceil(len(shown) / per_line) * (SMALL + GAP) if shown else 0)
    canvas = Image.new("RGB", (width, head + len(rows) * (LINE + CELL + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(canvas)
    write_text(draw, (GAP, GAP), title, 20, INK, width - 2 * GAP)
    if filters is not None and shown:
        cut = f" (first {MOST_FILTERS} of {len(filters)})" if len(filters) > MOST_FILTERS else ""
        says = f"filters of the first convolution{cut}; grey is a weight of 0"
        write_text(draw, (GAP, LINE + GAP), says, 16, FAINT, width - 2 * GAP)
    for i, kernel in enumerate(shown):
        left, top = GAP + i % per_line * (SMALL + GAP), 2 * LINE + GAP + i // per_line * (SMALL + GAP)
        canvas.paste(Image.fromarray(photo_of(kernel, SMALL)), (left, top))
    for i, row in enumerate(rows):
        _draw_unit(canvas, head + i * (LINE + CELL + GAP), row, n)
    return np.asarray(canvas)


def _draw_unit(canvas: Image.Image, top: int, row: UnitRow, n: int) -> None:
    draw, middle = ImageDraw.Draw(canvas), GAP + n * (CELL + GAP) + GAP
    write_text(draw, (GAP, top), row.name, 16, FAINT, middle - GAP)
    if row.pictures is not None and len(row.pictures):
        write_text(draw, (middle, top), "what it answers to in each", 16, FAINT, canvas.width - middle - GAP)
    for left, images in ((GAP, row.patches), (middle, row.pictures)):
        for i, image in enumerate([] if images is None else images):
            picture = photo_of(_beyond_grey(image) if images is row.patches else _signed(image), CELL)
            canvas.paste(Image.fromarray(picture), (left + i * (CELL + GAP), top + LINE))


def patch_tile(patch: Tensor) -> Picture:
    """A patch ``(C, P, Q)`` as it is drawn in a row; NaN is beyond the image."""
    return photo_of(_beyond_grey(patch), CELL)


def filter_tile(filters: Tensor) -> Picture:
    """The first filters ``(K, C, h, w)``, at most 16, on one tile."""
    canvas, side = Image.new("RGB", (CELL, CELL), PAPER), CELL // FILTERS_A_SIDE
    for i, kernel in enumerate(filters[: FILTERS_A_SIDE**2]):
        at = (i % FILTERS_A_SIDE * side, i // FILTERS_A_SIDE * side)
        canvas.paste(Image.fromarray(photo_of(kernel, side - 1)), at)
    return np.asarray(canvas)


def _beyond_grey(patch: Tensor) -> Tensor:
    """What lies beyond the image is no dark part of it."""
    return patch.nan_to_num(BEYOND)


def _signed(picture: Tensor) -> Tensor:
    """Around grey, as strong as its strongest value."""
    values = picture.nan_to_num()
    return 0.5 + 0.5 * values / values.abs().max().clamp(min=1e-30)  # a unit that answers to nothing is grey


def curve_sheet(curves: Mapping[str, Curve], *, title: str) -> Picture:
    """A panel for each transformation: the distances of the features, and the probability of the true class."""
    names = list(dict.fromkeys(name for curve in curves.values() for name in curve.lines))
    head, pitch = LINE * (2 + len(names)) + 2 * GAP, PANEL_WIDTH + 5 * GAP
    width = max(len(curves) * pitch + 3 * GAP, 640)
    canvas = Image.new("RGB", (width, head + LINE + PANEL_HEIGHT + MARK + 2 * GAP), PAPER)
    draw = ImageDraw.Draw(canvas)
    write_text(draw, (GAP, GAP), title, 20, INK, width - 2 * GAP)
    entries = [
        (f"distance of the features of {name}; 1: as far as another picture", _colour(names, name)) for name in names
    ]
    for i, (text, colour) in enumerate([*entries, ("probability of the true class", ANSWER)]):
        top = GAP + LINE * (i + 1)
        draw.line((GAP, top + 10, GAP + 28, top + 10), fill=colour, width=3)
        write_text(draw, (GAP + 36, top), text, 16, FAINT, width - GAP - 44)
    for i, (name, curve) in enumerate(curves.items()):
        _draw_panel(draw, (4 * GAP + i * pitch, head), name, curve, names)
    return np.asarray(canvas)


def _colour(names: Sequence[str], name: str) -> Colour:
    return COLOURS[names.index(name) % len(COLOURS)]


def _draw_panel(draw: ImageDraw.ImageDraw, at: tuple[int, int], name: str, curve: Curve, names: Sequence[str]) -> None:
    left, top = at[0], at[1] + LINE
    bottom = top + PANEL_HEIGHT
    write_text(draw, (left, at[1]), name, 16, INK, PANEL_WIDTH)
    values = [value for line in curve.lines.values() for value in line if math.isfinite(value)]
    end = max([1.0, *values])
    for level in (0.0, 1.0):
        height = bottom - level / end * PANEL_HEIGHT
        draw.line((left, height, left + PANEL_WIDTH, height), fill=FAINT)
        write_text(draw, (left - 2 * GAP, int(height) - 10), f"{level:g}", 15, FAINT, 2 * GAP)
    for grade, where in ((curve.grades[0], 0), (curve.grades[-1], PANEL_WIDTH - 36)):
        write_text(draw, (left + where, bottom + 4), f"{grade:g}", 15, FAINT, 60)
    lines = [(line, _colour(names, layer)) for layer, line in curve.lines.items()]
    for line, colour in [*lines, (curve.answer, ANSWER)]:
        _draw_line(draw, (left, bottom), curve.grades, [value / end for value in line], colour)


def _draw_line(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    grades: Sequence[float],
    heights: Sequence[float],
    colour: Colour,
) -> None:
    """From point to point; one beside an undefined value has no line."""
    span = max(grades) - min(grades) or 1.0
    points = [
        (corner[0] + (grade - min(grades)) / span * PANEL_WIDTH, corner[1] - height * PANEL_HEIGHT)
        for grade, height in zip(grades, heights, strict=True)
    ]
    for one, other in pairwise(points):
        if math.isfinite(one[1]) and math.isfinite(other[1]):
            draw.line((*one, *other), fill=colour, width=3)
