"""All slices of a volume, one after another, as a moving picture: the slice beside where the model looks in it."""

import io
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .paint import FAINT, GAP, INK, LEGEND_HEIGHT, PAPER, legend, outlined, photo_of, write_text
from .scale import ENDS, density, tinted

PANEL = 224  # longest side of a panel, in pixels
MOST_SLICES = 48  # of a film; of more, every second or third is left out
MILLISECONDS = 250  # that a slice is shown


def film(
    image: Tensor, attention: Tensor, mask: Tensor | None, title: str, *, end: float = ENDS[-1], against: bool = False
) -> bytes:
    """An animated GIF. The even share is that of the whole volume, so slices can be compared.

    Args:
        image: ``(C, D, H, W)`` in [0, 1].
        attention: ``(D, H, W)`` raw map.
        mask: ``(D, H, W)`` bool; None draws no outline.
        title: What it is of; the number of the slice follows.
        end: Multiple of the even share at which the colours end.
        against: Whether the map shows what argues against the class.
    """
    file = io.BytesIO()
    first, *others = _slices(image, attention, mask, title, end, against)
    first.save(file, format="gif", save_all=True, append_images=others, duration=MILLISECONDS, loop=0)
    return file.getvalue()


def _slices(
    image: Tensor, attention: Tensor, mask: Tensor | None, title: str, end: float, against: bool
) -> Iterator[Image.Image]:
    shares = torch.from_numpy(density(attention))
    for place in range(0, len(shares), -(-len(shares) // MOST_SLICES)):
        photo = photo_of(image[:, place], PANEL)
        height, width = photo.shape[:2]
        share = np.asarray(Image.fromarray(shares[place].numpy()).resize((width, height), Image.Resampling.BILINEAR))
        outline = None if mask is None or not mask[place].any() else mask[place]
        top, left = GAP + 44, GAP + (PANEL - width) // 2
        canvas = Image.new("RGB", (3 * GAP + 2 * PANEL, top + height + GAP + LEGEND_HEIGHT + GAP), PAPER)
        draw = ImageDraw.Draw(canvas)
        write_text(draw, (GAP, GAP), title, 18, INK, canvas.width - 2 * GAP)
        write_text(draw, (GAP, GAP + 22), f"slice {place + 1} of {len(shares)}", 17, FAINT, PANEL)
        canvas.paste(Image.fromarray(outlined(photo, outline)), (left, top))
        drawn = outlined(tinted(photo, share, end, against=against), outline)
        canvas.paste(Image.fromarray(drawn), (left + PANEL + GAP, top))
        canvas.paste(Image.fromarray(legend(PANEL, end, against=against)), (2 * GAP + PANEL, top + height + GAP))
        yield canvas
