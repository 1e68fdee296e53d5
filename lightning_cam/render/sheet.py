"""A sheet: rows of pictures under heads, each row with its name."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .paint import FAINT, GAP, INK, PAPER, wrapped, write_text
from .scale import Picture

HEAD, LABEL = 80, 24  # heights of title, explanation and heads of one line, and of a row's name
LINE = 20  # height of each further line of heads
LEAST_WIDTH = 560  # a title needs room


@dataclass(frozen=True, eq=False)
class SheetRow:
    """Pictures ``(h, w, 3)`` beside each other, and what is written above them."""

    name: str
    pictures: Sequence[Picture]


def sheet(rows: Sequence[SheetRow], heads: Sequence[str], *, title: str, says: str = "") -> Picture:
    """All rows, the n-th picture of each under the n-th head; columns are as wide as the widest picture."""
    everything = [picture for row in rows for picture in row.pictures]
    pitch = max((picture.shape[1] for picture in everything), default=0) + GAP
    columns = max([len(heads), *(len(row.pictures) for row in rows)], default=0)
    heights = [LABEL + max((len(picture) for picture in row.pictures), default=0) + GAP for row in rows]
    lines = [wrapped(head, 16, pitch - GAP - 1) for head in heads]
    head_height = HEAD + LINE * (max(map(len, lines), default=1) - 1)
    canvas = Image.new("RGB", (max(columns * pitch + GAP, LEAST_WIDTH), head_height + sum(heights) + GAP), PAPER)
    draw = ImageDraw.Draw(canvas)
    write_text(draw, (GAP, GAP), title, 20, INK, canvas.width - 2 * GAP)
    write_text(draw, (GAP, 34), says, 16, FAINT, canvas.width - 2 * GAP)
    for column, head_lines in enumerate(lines):
        for i, line in enumerate(reversed(head_lines)):  # the last one stands on the pictures
            write_text(draw, (GAP + column * pitch, head_height - 22 - LINE * i), line, 16, INK, pitch - GAP)
    top = head_height
    for row, height in zip(rows, heights, strict=True):
        write_text(draw, (GAP, top + 2), row.name, 16, FAINT, canvas.width - 2 * GAP)
        for column, picture in enumerate(row.pictures):
            canvas.paste(Image.fromarray(picture), (GAP + column * pitch, top + LABEL))
        top += height
    return np.asarray(canvas)
