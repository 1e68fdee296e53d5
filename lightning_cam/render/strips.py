"""Attention over time: every probe's maps side by side, from the first check to the last."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from .paint import FAINT, GAP, INK, LEGEND_SAYS, PAPER, RIGHT, WRONG, legend, outlined, overlay, photo_of, write_text
from .scale import Picture

CELL = 112  # longest side of a panel, in pixels
PITCH = CELL + GAP
MAX_ROWS, MAX_COLUMNS = 8, 10
HEAD, LABEL, BAR = 92, 22, 4  # heights of the title and column heads, a row's name, the line under a map
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
    """

    name: str
    image: Tensor
    maps: Sequence[Tensor]
    mask: Tensor | None = None
    correct: Sequence[bool] = ()


LEAST_WIDTH = 7 * PITCH + GAP  # the title and the legend stand side by side


def strip(rows: Sequence[Row], steps: Sequence[int], *, title: str) -> Picture:
    """A row per probe: its input, then its map at up to 10 of the ``steps``, the first and the last among them.

    Of more than 8 rows the first 8 are shown, and the title says so.
    """
    shown, columns = rows[:MAX_ROWS], select_steps(len(steps), MAX_COLUMNS)
    photos = [photo_of(row.image, CELL) for row in shown]
    heights = [LABEL + len(photo) + BAR + GAP for photo in photos]
    width = max(GAP + (1 + len(columns)) * PITCH, LEAST_WIDTH)
    canvas = Image.new("RGB", (width, HEAD + sum(heights)), PAPER)
    cut = f" (first {len(shown)} of {len(rows)})" if len(shown) < len(rows) else ""
    _write_head(canvas, title + cut, [steps[i] for i in columns], explain=any(row.correct for row in shown))
    top = HEAD
    for row, photo, height in zip(shown, photos, heights, strict=True):
        _draw_row(canvas, top, row, photo, columns)
        top += height
    return np.asarray(canvas)


def select_steps(n: int, at_most: int) -> list[int]:
    """Indices of ``at_most`` of ``n`` checks, evenly spread; the first and the last are among them.

    >>> select_steps(100, 4)
    [0, 33, 66, 99]
    """
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, at_most)).tolist()})


def _write_head(canvas: Image.Image, title: str, steps: Sequence[int], *, explain: bool) -> None:
    draw = ImageDraw.Draw(canvas)
    legend_left = canvas.width - LEGEND_WIDTH - GAP
    write_text(draw, (GAP, GAP), title, 20, INK, legend_left - 2 * GAP)
    canvas.paste(Image.fromarray(legend(LEGEND_WIDTH)), (legend_left, GAP))
    write_text(draw, (legend_left, 44), " ".join(LEGEND_SAYS), 15, FAINT, LEGEND_WIDTH)
    if explain:
        write_text(draw, (GAP, 40), "line under a map: predicted", 16, FAINT, 220)
        write_text(draw, (GAP + 212, 40), "right", 16, RIGHT, 50)
        write_text(draw, (GAP + 258, 40), "wrong", 16, WRONG, 60)
    for column, text in enumerate(["input", *(f"step {step}" for step in steps)]):
        write_text(draw, (GAP + column * PITCH, 70), text, 16, INK, CELL)


def _draw_row(canvas: Image.Image, top: int, row: Row, photo: Picture, columns: Sequence[int]) -> None:
    draw = ImageDraw.Draw(canvas)
    height, width = photo.shape[:2]
    write_text(draw, (GAP, top + 2), row.name, 16, FAINT, canvas.width - 2 * GAP)
    canvas.paste(Image.fromarray(outlined(photo, row.mask)), (GAP, top + LABEL))
    for column, i in enumerate(columns, start=1):
        left = GAP + column * PITCH
        canvas.paste(Image.fromarray(overlay(photo, row.maps[i], row.mask)), (left, top + LABEL))
        if row.correct:
            bar = (left, top + LABEL + height, left + width - 1, top + LABEL + height + BAR - 1)
            draw.rectangle(bar, fill=RIGHT if row.correct[i] else WRONG)
