"""From attention to colour, by one function for all pictures of a run.

A map is shown as attention density, its value over its own mean, where 1x is the even share. A function of the density
gives colour and opacity. Nothing is stretched to one picture's own range: the scale ends where the maps of the whole
run end. So pictures of different checks and probes can be compared, and even attention looks even.
"""

from collections.abc import Iterable
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
# Of evidence against a class: blue throughout, around the blue of the page's differences. No cell looks like attention.
COLOURS_AGAINST = np.array(
    [(4, 36, 84), (10, 76, 158), (20, 120, 230), (76, 170, 250), (128, 216, 255)], dtype=np.float32
)
# Where the colours can end. Never below 2x: even attention must look even. Few, so that most runs share a scale.
ENDS = (2.0, 3.0, 4.0, 6.0, 8.0)
BELOW = 0.995  # share of a run's cells below the end; single hot cells do not make the rest pale
OPACITY = 0.9  # the largest
OPAQUE = 0.5  # place on the scale where it is reached; with 1 the even share was too pale to see on white and on black
LIGHT = np.array([255, 238, 190], dtype=np.float32)  # of the spotlight: a black background must be seen lit
HAZE = 0.35  # share of the light's own colour where it falls
DUSK = 1.5  # power of the place on the scale; with 1 the dark parts of a nearly even map were hardly darker
LEVELS = 64  # of light: their steps cannot be seen, and files are smaller
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


def scale_end(maps: Iterable[Tensor]) -> float:
    """The first of `ENDS` that 199 of 200 cells of all maps ``(..., h, w)`` do not pass, or the last one.

    >>> import torch
    >>> scale_end([torch.ones(8, 8)]), scale_end([torch.eye(16)])
    (2.0, 8.0)
    """
    cells = [density(each).ravel() for some in maps for each in some.reshape(-1, *some.shape[-2:])]
    most = float(np.quantile(np.concatenate(cells), BELOW)) if cells else 0.0
    return next((end for end in ENDS if most <= end), ENDS[-1])


def strength(share: Density, end: float = ENDS[-1]) -> Density:
    """Place on the colour scale: 0 at none, 1 from ``end`` on. ``log2(1 + share) / log2(1 + end)``.

    The even share is at 0.32 where the scale ends at 8x, and at 0.63 where it ends at 2x.
    """
    place: Density = np.minimum(np.log2(1 + share) / np.log2(np.float32(1 + end)), np.float32(1))
    return place


def spotlit(photo: Picture, share: Density, end: float = ENDS[-1]) -> Picture:
    """The photo as under a lamp that shines where the model looks, and dark elsewhere."""
    light = (np.round(LEVELS * strength(share, end)) / LEVELS)[..., None] ** DUSK
    drawn: Picture = np.round(light * ((1 - HAZE) * photo + HAZE * LIGHT)).astype(np.uint8)
    return drawn


def tinted(photo: Picture, share: Density, end: float = ENDS[-1], *, against: bool = False) -> Picture:
    """The photo under the colours of a density of its size.

    Where the map is strong, the photo turns grey: orange over green would look like neither. What argues ``against`` a
    class has colours of its own.
    """
    place, ramp = strength(share, end), COLOURS_AGAINST if against else COLOURS
    colours = np.stack([np.interp(place, np.linspace(0, 1, len(ramp)), channel) for channel in ramp.T], axis=-1)
    kept = np.maximum(1 - 2 * place, 0)[..., None]
    faded = kept * photo + (1 - kept) * (photo @ LUMA)[..., None]
    opacity = OPACITY * np.minimum(place / OPAQUE, 1)[..., None]
    drawn: Picture = np.round((1 - opacity) * faded + opacity * colours).astype(np.uint8)
    return drawn
