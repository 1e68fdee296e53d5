"""From attention to colour, by one function that never changes.

A map is shown as attention density, its value over its own mean, where 1x is the even share. A fixed function of the
density gives colour and opacity; nothing is stretched to one picture's own range, so pictures of different checks and
probes can be compared, and even attention looks even.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Picture: TypeAlias = NDArray[np.uint8]  # (h, w, 3)
Density: TypeAlias = NDArray[np.float32]  # (h, w)

BAND_EDGES = (1.0, 2.0, 4.0, 8.0)
BAND_NAMES = ("below the even share", "1x to 2x", "2x to 4x", "4x to 8x", "8x and more")

# From none to 8x: matplotlib's "plasma" between 10 % and 90 %, so that neither end is lost on black or on white.
COLOURS = np.array([(65, 4, 157), (126, 3, 168), (204, 71, 120), (248, 149, 64), (252, 206, 37)], dtype=np.float32)
OPACITY = 0.9  # the largest
OPAQUE = 0.5  # place on the scale where it is reached; with 1 the even share was too pale to see on white and on black
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def density(attention: Tensor) -> Density:
    """A map ``(h, w)`` over its mean: 1 is the even share. All 0 if the map is empty or not finite."""
    values: Density = attention.detach().float().cpu().numpy()
    mean = values.mean(dtype=np.float64)
    if not (np.isfinite(mean) and mean > 0):
        return np.zeros(values.shape, dtype=np.float32)
    share: Density = (values / mean).astype(np.float32)
    return share


def bands(share: Density) -> NDArray[np.uint8]:
    """A density in five steps, numbered as in `BAND_NAMES`.

    >>> bands(np.array([[0.5, 1.0], [3.9, 8.0]], dtype=np.float32))
    array([[0, 1],
           [2, 4]], dtype=uint8)
    """
    return np.digitize(share, BAND_EDGES).astype(np.uint8)


def strength(share: Density) -> Density:
    """Place on the colour scale: 0 at none, 0.32 at the even share, 1 from 8x on. ``log2(1 + share) / log2(9)``."""
    place: Density = np.minimum(np.log2(1 + share) / np.log2(np.float32(9)), np.float32(1))
    return place


def tinted(photo: Picture, share: Density) -> Picture:
    """The photo under the colours of a density of its size.

    Where the map is strong, the photo turns grey: orange over green would look like neither.
    """
    place = strength(share)
    colours = np.stack([np.interp(place, np.linspace(0, 1, len(COLOURS)), channel) for channel in COLOURS.T], axis=-1)
    kept = np.maximum(1 - 2 * place, 0)[..., None]
    faded = kept * photo + (1 - kept) * (photo @ LUMA)[..., None]
    opacity = OPACITY * np.minimum(place / OPAQUE, 1)[..., None]
    drawn: Picture = np.round((1 - opacity) * faded + opacity * colours).astype(np.uint8)
    return drawn
