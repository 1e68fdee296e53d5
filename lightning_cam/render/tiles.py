"""One probe at one check: the input beside where the model looks, in colours and as a spotlight."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from ..text import percent
from .paint import (
    FAINT,
    GAP,
    INK,
    LEGEND_HEIGHT,
    LEGEND_SAYS,
    LEGEND_SAYS_AGAINST,
    PAPER,
    RIGHT,
    WRONG,
    density_at,
    draw_gauge,
    legend,
    outlined,
    overlay,
    photo_of,
    shortened,
    spotlight,
    text_length,
    write_text,
)
from .scale import ENDS, Picture, bands

PANEL = 224  # longest side of a panel, in pixels
HEADLINE, LINE = 30, 25  # heights of the first and of the other lines of text
GAUGE_LINE = 24  # height of the line with the attention outside the object
SPOTLIGHT_SAYS = ("dark: the model does", "not look there")
SPOTLIGHT_SAYS_AGAINST = ("dark: nothing there", "argues against it")
HEADLINE_COLOURS = {True: RIGHT, False: WRONG, None: INK}


def tile(
    image: Tensor,
    attention: Tensor,
    mask: Tensor | None,
    lines: Sequence[str],
    *,
    correct: bool | None = None,
    outside: float | None = None,
    end: float = ENDS[-1],
    against: bool = False,
) -> tuple[Picture, NDArray[np.uint8]]:
    """The input and, beside it, where the model looks, in colours and as a spotlight, under lines of text.

    Args:
        image: ``(C, H, W)`` in [0, 1]; one channel is grey, of more than three the first three are shown.
        attention: ``(h, w)`` or ``(H, W)`` raw map.
        mask: ``(H, W)`` bool, drawn as an outline; None or all False draws none.
        lines: The first is the headline, in a colour that says ``correct``.
        correct: Whether the prediction is right; None if that cannot be said.
        outside: Share of the attention outside the object, shown as a bar; NaN where undefined, None for no bar.
        end: Multiple of the even share at which the colours end.
        against: Whether the map shows what argues against the class.

    Returns:
        The picture ``(h, w, 3)``, and ``(h, w)`` the `bands` of attention over its input panel, 0 elsewhere.
    """
    photo = photo_of(image, PANEL)
    height, width = photo.shape[:2]
    left, top = GAP + (PANEL - width) // 2, 2 * GAP + HEADLINE + LINE * (len(lines) - 1)
    bar = GAUGE_LINE if mask is not None and outside is not None else 0
    canvas = Image.new("RGB", (4 * GAP + 3 * PANEL, top + height + GAP + bar + LEGEND_HEIGHT + GAP), PAPER)
    _write_lines(canvas, lines, correct)
    canvas.paste(Image.fromarray(outlined(photo, mask)), (left, top))
    canvas.paste(Image.fromarray(overlay(photo, attention, mask, end, against=against)), (left + PANEL + GAP, top))
    canvas.paste(Image.fromarray(spotlight(photo, attention, mask, end)), (left + 2 * (PANEL + GAP), top))
    if mask is not None and outside is not None:
        _write_outside(canvas, top + height + GAP, outside, mask)
    _write_footer(canvas, top + height + GAP + bar, end, against=against)
    placed = np.zeros((canvas.height, canvas.width), dtype=np.uint8)
    placed[top : top + height, left : left + width] = bands(density_at(attention, photo))
    return np.asarray(canvas), placed


def _write_lines(canvas: Image.Image, lines: Sequence[str], correct: bool | None) -> None:
    draw = ImageDraw.Draw(canvas)
    width = canvas.width - 2 * GAP
    draw.rectangle((0, 0, canvas.width, 4), fill=HEADLINE_COLOURS[correct])
    write_text(draw, (GAP, GAP + 2), lines[0], 24, HEADLINE_COLOURS[correct], width)
    for i, line in enumerate(lines[1:]):
        write_text(draw, (GAP, GAP + HEADLINE + LINE * i), line, 20, INK, width)


def _write_outside(canvas: Image.Image, top: int, outside: float, mask: Tensor) -> None:
    draw = ImageDraw.Draw(canvas)
    write_text(draw, (GAP, top - 4), f"outside the object {percent(outside)}", 17, INK, PANEL)
    draw_gauge(draw, (2 * GAP + PANEL, top + 2), 2 * PANEL + GAP, outside, mask)


def _write_footer(canvas: Image.Image, top: int, end: float, *, against: bool) -> None:
    draw = ImageDraw.Draw(canvas)
    words = (LEGEND_SAYS_AGAINST, SPOTLIGHT_SAYS_AGAINST) if against else (LEGEND_SAYS, SPOTLIGHT_SAYS)
    for i, (first, last) in enumerate(zip(*words, strict=True)):
        write_text(draw, (GAP, top - 4 + 19 * i), first, 17, FAINT, PANEL)
        write_text(draw, (3 * GAP + 2 * PANEL, top - 4 + 19 * i), last, 17, FAINT, PANEL)
    canvas.paste(Image.fromarray(legend(PANEL, end, against=against)), (2 * GAP + PANEL, top - 2))


def tile_lines(
    true: str,
    predicted: str | None,
    probability: float,
    background_attention: float | None,
    step: int,
    *,
    is_empty: bool = False,
    against: bool = False,
    guessed: bool = False,
    of_volume: str = "",
    score: float | None = None,
    has_answer: bool = True,
) -> tuple[str, str, str]:
    """The lines of text above the panels of a tile, for the attention of the true class or what argues against it.

    ``background_attention`` is NaN where it is undefined, as for an empty map, and None where there is no mask. A right
    answer with an empty map is no failure of the map: "healthy" may be known by what is absent, and the line says so.
    ``guessed`` says that nobody drew the mask, ``of_volume`` which slice is shown. ``predicted`` is None where the
    model's answer is NaN. ``score`` is one of the user's own, which the map explains in place of the class;
    ``has_answer`` is False where the model gives no class scores beside it.

    >>> tile_lines("scab", "rust", 0.934, 0.62, 1200)
    ('wrong: predicted rust (0.93)', 'attention for true class scab', 'background attention 0.62, step 1200')
    >>> tile_lines("healthy", "healthy", 0.9, None, 7, is_empty=True)[1]
    'no evidence for healthy: known by what is absent?'
    >>> tile_lines("scab", None, 0.0, None, 7, score=2.5, has_answer=False)[:2]
    ('score 2.5', 'attention for the score')
    """
    is_right = predicted == true
    answer = "no answer: the scores are NaN"
    if predicted is not None:
        answer = f"{'right' if is_right else 'wrong'}: predicted {_short(predicted)} ({probability:.2f})"
    side = f"{'evidence against' if against else 'attention for'} "
    side += f"true class {_short(true)}" if score is None else "the score" + f" of {score:.3g}" * has_answer
    if score is not None and not has_answer:
        answer = f"score {score:.3g}"
    known_by_absence = is_empty and is_right and not against and score is None
    return (
        answer,
        f"no evidence for {_short(true)}: known by what is absent?" if known_by_absence else side,
        f"{of_volume}{', ' * bool(of_volume)}{_share(background_attention)}{' (guessed mask)' * guessed}, step {step}",
    )


def _share(background_attention: float | None) -> str:
    if background_attention is None:
        return "no mask"
    return "background attention " + ("undefined" if np.isnan(background_attention) else f"{background_attention:.2f}")


def _short(name: str, longest: int = 18) -> str:
    """A name that leaves room for the number behind it, in letters of any width."""
    cut = name if len(name) <= longest else f"{name[: longest - 3]}..."
    return shortened(cut, 24, 2 * PANEL + GAP - text_length("wrong: predicted  (0.00)", 24) - 1)
