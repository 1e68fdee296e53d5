"""The parts that tiles and strips are put together from: photos, outlines, overlays, text, the legend."""

import math
import re
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from .fonts import plain_font, runs
from .scale import ENDS, Density, Picture, density, spotlit, strength, tinted

Colour: TypeAlias = tuple[int, int, int]

GAP = 8
PAPER: Colour = (24, 24, 28)
INK: Colour = (240, 240, 240)
FAINT: Colour = (170, 170, 175)
RIGHT: Colour = (86, 180, 233)  # sky blue and vermilion: told apart by every kind of colour vision
WRONG: Colour = (255, 130, 50)

BAR, TEXT = 12, 17  # heights of the legend's colour bar and of its marks
LEGEND_HEIGHT = 2 + BAR + 4 + TEXT
LEGEND_SAYS = ("attention, as multiple", "of the even share")
LEGEND_SAYS_AGAINST = ("against it, as multiple", "of the even share")
GAUGE = 10  # height of the bar of the attention outside the object
TRACK: Colour = (70, 70, 76)  # the part of a bar that is not filled
OUTSIDE: Colour = (252, 206, 37)  # the yellow of strong attention


def photo_of(image: Tensor, longest: int) -> Picture:
    """``(C, H, W)`` in [0, 1] as RGB whose longest side is ``longest``; small images keep their pixels visible.

    One or two channels are shown as grey, of more than three the first three.
    """
    values = image.detach().float().cpu().nan_to_num().clamp(0, 1).numpy()
    rgb = values[:3] if len(values) >= 3 else np.broadcast_to(values.mean(axis=0), (3, *values.shape[1:]))
    scale = longest / max(rgb.shape[1:])
    height, width = (max(round(side * scale), 1) for side in rgb.shape[1:])
    pixels = np.ascontiguousarray(np.round(rgb * 255).astype(np.uint8).transpose(1, 2, 0))
    resampling = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize((width, height), resampling))


def density_at(attention: Tensor, photo: Picture) -> Density:
    """The density of a map ``(h, w)`` at the photo's size: bilinear, pixel centres as with ``align_corners=False``."""
    height, width = photo.shape[:2]
    return np.asarray(Image.fromarray(density(attention)).resize((width, height), Image.Resampling.BILINEAR))


def overlay(
    photo: Picture, attention: Tensor, mask: Tensor | None, end: float = ENDS[-1], *, against: bool = False
) -> Picture:
    """Photo, colours and outline; for a map without attention, the bare photo and a word that says so."""
    share = density_at(attention, photo)
    if share.any():
        return outlined(tinted(photo, share, end, against=against), mask)
    empty = "none against it" if against else "no attention"
    return captioned(outlined(photo, mask), empty if bool(attention.isfinite().all()) else "not finite")


def captioned(picture: Picture, says: str) -> Picture:
    """The picture, with a line of text over its lower edge."""
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, canvas.height - 20, canvas.width, canvas.height), fill=PAPER)
    write_text(draw, (4, canvas.height - 18), says, 14, INK, canvas.width - 4)
    return np.asarray(canvas)


def spotlight(photo: Picture, attention: Tensor, mask: Tensor | None, end: float = ENDS[-1]) -> Picture:
    """The photo, lit where the model looks, and the outline."""
    return outlined(spotlit(photo, density_at(attention, photo), end), mask)


def draw_gauge(draw: ImageDraw.ImageDraw, at: tuple[int, int], width: int, outside: float, mask: Tensor) -> None:
    """A bar of the share of the attention outside the object; a mark where even attention would end.

    NaN, for a map without attention, has no bar.
    """
    left, top = at
    bottom = top + GAUGE - 1
    draw.rectangle((left, top, left + width - 1, bottom), fill=TRACK)
    length = 0 if math.isnan(outside) else round(width * outside)
    if length:
        draw.rectangle((left, top, left + length - 1, bottom), fill=OUTSIDE)
    even = left + round(width * (1 - float(mask.float().mean())))
    draw.rectangle((even - 2, top - 2, even + 1, bottom + 2), fill=PAPER)
    draw.rectangle((even - 1, top - 2, even, bottom + 2), fill=INK)


def outlined(photo: Picture, mask: Tensor | None) -> Picture:
    """The photo with a line around the object, white inside and black outside: one of them stands out on any photo."""
    if mask is None:
        return photo
    height, width = photo.shape[:2]
    pixels = Image.fromarray(mask.cpu().numpy().astype(np.uint8))
    inside = np.asarray(pixels.resize((width, height), Image.Resampling.NEAREST)) > 0
    drawn: Picture = photo.copy()
    drawn[_with_neighbours(inside) & ~inside] = 0
    drawn[_with_neighbours(~inside) & inside] = 255
    return drawn


def _with_neighbours(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The region and every pixel beside it."""
    grown: NDArray[np.bool_] = region.copy()
    grown[1:] |= region[:-1]
    grown[:-1] |= region[1:]
    grown[:, 1:] |= region[:, :-1]
    grown[:, :-1] |= region[:, 1:]
    return grown


def legend(width: int, end: float = ENDS[-1], *, against: bool = False) -> Picture:
    """The colour bar with its marks, ``(35, width, 3)``, over mid-grey."""
    canvas = Image.new("RGB", (width, LEGEND_HEIGHT), PAPER)
    draw = ImageDraw.Draw(canvas)
    share = ((1 + end) ** np.linspace(0, 1, width, dtype=np.float32) - 1).astype(np.float32)
    grey = np.full((BAR, width, 3), 128, dtype=np.uint8)
    canvas.paste(Image.fromarray(tinted(grey, np.broadcast_to(share, (BAR, width)), end, against=against)), (0, 2))
    marks = [(0.0, "0"), *((value, f"{value:g}x") for value in (1.0, 2.0, 4.0) if value < end), (end, f"{end:g}x+")]
    for value, text in marks:
        x = float(strength(np.array(value, dtype=np.float32), end)) * (width - 1)
        draw.line((x, 2 + BAR, x, 4 + BAR), fill=FAINT)
        length = text_length(text, TEXT) + 1
        write_text(draw, (int(min(max(x - length / 2, 0), width - length)), 3 + BAR), text, TEXT, FAINT, width)
    return np.asarray(canvas)


def write_text(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: Colour, width: int
) -> None:
    """One line of text, cut off with dots where it would be wider than ``width``.

    Drawn twice, a pixel apart: dashboards shrink pictures without smoothing, and thin strokes would fall through.
    """
    line = shortened(text, size, width - 1)
    left, baseline = float(at[0]), at[1] + plain_font(size).getmetrics()[0]
    for piece, font in runs(line, size):
        for x in (left, left + 1):
            draw.text((x, baseline), piece, fill=colour, font=font, anchor="ls")
        left += font.getlength(piece)


def text_length(text: str, size: int) -> float:
    """Width of one line of text in pixels."""
    return sum(font.getlength(piece) for piece, font in runs(text, size))


def wrapped(text: str, size: int, width: float) -> list[str]:
    """Lines that fit into ``width`` pixels, broken behind spaces and underscores; one piece alone may be too long.

    >>> wrapped("against_grad_cam_plus_plus", 16, 112)
    ['against_grad_', 'cam_plus_plus']
    """
    lines = [""]
    for piece in re.findall(r"[^ _]*[ _]*", text):
        if lines[-1] and text_length(lines[-1] + piece.rstrip(), size) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def shortened(text: str, size: int, width: float) -> str:
    """A text, or as much of it as fits into ``width`` pixels, and dots."""
    line = text
    while line and (length := text_length(line, size)) > width:
        kept = min(len(line.rstrip(".")) - 1, int(len(line) * width / length))
        line = f"{line[:kept].rstrip('. ')}..." if kept > 1 else ""
    return line
