"""Attention over time: every probe's maps side by side, from the first check to the last."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from ..text import percent
from .paint import (
    FAINT,
    GAP,
    INK,
    LEGEND_SAYS,
    LEGEND_SAYS_AGAINST,
    PAPER,
    RIGHT,
    WRONG,
    draw_gauge,
    legend,
    outlined,
    overlay,
    photo_of,
    write_text,
)
from .scale import Picture, scale_end

CELL = 112  # longest side of a panel, in pixels
PITCH = CELL + GAP
MAX_ROWS, MAX_COLUMNS = 8, 10
HEAD, LABEL, BAR = 92, 22, 4  # heights of the title and column heads, a row's name, the line under a map
GAUGE_LINE, GAUGE_WIDTH = 22, 62  # of the bar and the number under that line
LEGEND_WIDTH = 288


@dataclass(frozen=True, eq=False)
class Row:
    """One probe over time.

    Attributes:
        name: Written above the row.
        image: ``(C, H, W)`` in [0, 1].
        maps: One ``(h, w)`` map per step.
        mask: ``(H, W)`` bool, or None.
        correct: Per step, whether the prediction was right. Empty to leave that out of the picture.
        outside: Per step, the share of the attention outside the object. Empty to leave that out; needs the mask.
        guessed: Whether nobody drew the mask.
    """

    name: str
    image: Tensor
    maps: Sequence[Tensor]
    mask: Tensor | None = None
    correct: Sequence[bool] = ()
    outside: Sequence[float] = ()
    guessed: bool = False


LEAST_WIDTH = 7 * PITCH + GAP  # the title and the legend stand side by side


def strip(rows: Sequence[Row], steps: Sequence[int], *, title: str, against: bool = False) -> Picture:
    """A row per probe: its input, then its map at up to 10 of the ``steps``, the first and the last among them.

    Of more than 8 rows the first 8 are shown, and the title says so. The colours end where the maps of all rows and
    steps end. Maps of what argues ``against`` a class have colours of their own.
    """
    shown, columns = rows[:MAX_ROWS], select_steps(len(steps), MAX_COLUMNS)
    photos = [photo_of(row.image, CELL) for row in shown]
    gauge = GAUGE_LINE * any(row.mask is not None and row.outside for row in shown)
    heights = [LABEL + len(photo) + BAR + gauge + GAP for photo in photos]
    width = max(GAP + (1 + len(columns)) * PITCH, LEAST_WIDTH)
    head = HEAD + gauge
    canvas = Image.new("RGB", (width, head + sum(heights)), PAPER)
    cut = f" (first {len(shown)} of {len(rows)})" if len(shown) < len(rows) else ""
    end = scale_end(attention for row in rows for attention in row.maps)
    _write_head(canvas, title + cut, end, explain=any(row.correct for row in shown), against=against)
    if gauge:
        _write_gauge(canvas, guessed=any(row.guessed for row in shown))
    _write_columns(canvas, head - 22, [steps[i] for i in columns])
    top, draw = head, partial(overlay, against=against)
    for row, photo, height in zip(shown, photos, heights, strict=True):
        _draw_row(canvas, top, row, photo, {i: draw(photo, row.maps[i], row.mask, end) for i in columns})
        top += height
    return np.asarray(canvas)


def select_steps(n: int, at_most: int) -> list[int]:
    """Indices of ``at_most`` of ``n`` checks, evenly spread; the first and the last are among them.

    >>> select_steps(100, 4)
    [0, 33, 66, 99]
    """
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, at_most)).tolist()})


def _write_head(canvas: Image.Image, title: str, end: float, *, explain: bool, against: bool) -> None:
    draw = ImageDraw.Draw(canvas)
    legend_left = canvas.width - LEGEND_WIDTH - GAP
    write_text(draw, (GAP, GAP), title, 20, INK, legend_left - 2 * GAP)
    canvas.paste(Image.fromarray(legend(LEGEND_WIDTH, end, against=against)), (legend_left, GAP))
    write_text(
        draw, (legend_left, 44), " ".join(LEGEND_SAYS_AGAINST if against else LEGEND_SAYS), 15, FAINT, LEGEND_WIDTH
    )
    if explain:
        write_text(draw, (GAP, 40), "line under a map: predicted", 16, FAINT, 220)
        write_text(draw, (GAP + 212, 40), "right", 16, RIGHT, 50)
        write_text(draw, (GAP + 258, 40), "wrong", 16, WRONG, 60)


def _write_gauge(canvas: Image.Image, *, guessed: bool) -> None:
    what = "the object, as far as guessed" if guessed else "the object"
    says = f"bar: attention outside {what}; mark: where even attention would end"
    write_text(ImageDraw.Draw(canvas), (GAP, 62), says, 16, FAINT, canvas.width - 2 * GAP)


def _write_columns(canvas: Image.Image, top: int, steps: Sequence[int]) -> None:
    draw = ImageDraw.Draw(canvas)
    for column, text in enumerate(["input", *(f"step {step}" for step in steps)]):
        write_text(draw, (GAP + column * PITCH, top), text, 16, INK, CELL)


def _draw_row(canvas: Image.Image, top: int, row: Row, photo: Picture, overlays: Mapping[int, Picture]) -> None:
    draw = ImageDraw.Draw(canvas)
    height, width = photo.shape[:2]
    write_text(draw, (GAP, top + 2), row.name, 16, FAINT, canvas.width - 2 * GAP)
    canvas.paste(Image.fromarray(outlined(photo, row.mask)), (GAP, top + LABEL))
    for column, (i, drawn) in enumerate(overlays.items(), start=1):
        left = GAP + column * PITCH
        canvas.paste(Image.fromarray(drawn), (left, top + LABEL))
        if row.correct:
            bar = (left, top + LABEL + height, left + width - 1, top + LABEL + height + BAR - 1)
            draw.rectangle(bar, fill=RIGHT if row.correct[i] else WRONG)
        if row.mask is not None and row.outside and not math.isnan(row.outside[i]):
            below = top + LABEL + height + BAR + 6
            draw_gauge(draw, (left, below), GAUGE_WIDTH, row.outside[i], row.mask)
            write_text(draw, (left + GAUGE_WIDTH + 6, below - 6), percent(row.outside[i]), 15, INK, CELL - GAUGE_WIDTH)
