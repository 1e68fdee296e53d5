"""The evidence against a model: an image with the cue of its own class and of another, and the predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from .paint import FAINT, GAP, INK, PAPER, RIGHT, TRACK, WRONG, Colour, photo_of, write_text
from .scale import Picture

SWAP_PANEL = 160  # longest side of a panel, in pixels
HEAD, LABEL, BAR, FOOT = 104, 22, 6, 30  # heights of title and column heads, a row's name, a bar, bar with number


@dataclass(frozen=True, eq=False)
class SwapRow:
    """One image and its edited versions in a trial.

    Attributes:
        name: Written above the row.
        true: Name of its class.
        panels: Three images ``(C, H, W)``: unchanged, with the cue of its own class, with the cue of another class.
        probabilities: The model's probability of the right class, for each panel.
        predictions: Written under the panels instead of the class, where there are some.
    """

    name: str
    true: str
    panels: tuple[Tensor, ...]
    probabilities: tuple[float, ...]
    predictions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Words:
    """What stands above the panels: what bars are, and whose cues the second and the third column have."""

    bars: str
    same: str
    other: str


OF_CLASSES = Words("bar and number: the model's probability of the right class", "of its own class", "of another class")
OF_OBJECTS = Words("bar and number: confidence at the object's box", "of its own class", "of another class")
OF_REGIONS = Words("bar and number: overlap (IoU) of the right class", "of its own class", "of another class")
OF_PRESENCE = Words(
    "bar and number: overlap (IoU), or 1 less that of a find where nothing is",
    "of its own kind, with or without",
    "of the other kind",
)
OF_SIZES = Words("bar and number: overlap (IoU) with the object", "of about its size", "of another size")
OF_VALUES = Words("number: the predicted value; bar: how near to its half", "of about its value", "of another value")


def evidence(swaps: Sequence[SwapRow], *, cue: str, title: str, words: Words = OF_CLASSES) -> Picture:
    """A row per image and three panels a row; a bar under each is the probability of the right class, 0 to 1."""
    rows = [[photo_of(panel, SWAP_PANEL) for panel in swap.panels] for swap in swaps]
    heights = [LABEL + len(row[0]) + FOOT + GAP for row in rows]
    canvas = Image.new("RGB", (3 * (SWAP_PANEL + GAP) + GAP, HEAD + sum(heights)), PAPER)
    _draw_head(canvas, cue, title, words)
    top = HEAD
    for swap, row, height in zip(swaps, rows, heights, strict=True):
        _draw_row(canvas, top, swap, row)
        top += height
    return np.asarray(canvas)


def _draw_head(canvas: Image.Image, cue: str, title: str, words: Words) -> None:
    draw = ImageDraw.Draw(canvas)
    write_text(draw, (GAP, GAP), title, 20, INK, canvas.width - 2 * GAP)
    write_text(draw, (GAP, 36), words.bars, 16, FAINT, canvas.width - GAP)
    heads = (("the image", "as it is", RIGHT), (cue, words.same, RIGHT), (cue, words.other, WRONG))
    for column, (first, second, colour) in enumerate(heads):
        left = GAP + column * (SWAP_PANEL + GAP)
        write_text(draw, (left, 62), first, 17, colour, SWAP_PANEL)
        write_text(draw, (left, 80), second, 17, colour, SWAP_PANEL)


def _draw_row(canvas: Image.Image, top: int, swap: SwapRow, photos: Sequence[Picture]) -> None:
    write_text(ImageDraw.Draw(canvas), (GAP, top + 2), swap.name, 16, FAINT, canvas.width - 2 * GAP)
    for column, (photo, probability) in enumerate(zip(photos, swap.probabilities, strict=True)):
        left = GAP + column * (SWAP_PANEL + GAP)
        canvas.paste(Image.fromarray(photo), (left, top + LABEL))
        # The number first: names may be long.
        says = swap.predictions[column] if swap.predictions else f"{probability:.2f} {swap.true}"
        _draw_bar(canvas, (left, top + LABEL + len(photo)), probability, says, WRONG if column == 2 else RIGHT)


def _draw_bar(canvas: Image.Image, at: tuple[int, int], probability: float, says: str, colour: Colour) -> None:
    """A bar whose length is the probability, a panel's width for 1. NaN, which was not measured, has no bar."""
    draw = ImageDraw.Draw(canvas)
    left, top = at[0], at[1] + 2
    canvas.paste(TRACK, (left, top, left + SWAP_PANEL, top + BAR))
    if probability > 0:
        canvas.paste(colour, (left, top, left + round(SWAP_PANEL * probability), top + BAR))
    write_text(draw, (left, top + BAR + 1), says, 17, colour, SWAP_PANEL)
