"""Draws where a model looks, so that a person understands it without explanation. Gives ``(h, w, 3)`` uint8 RGB arrays.

All pictures share one colour scale, see `scale`. Works on any thread and uses no random numbers.
"""

from .evidence import Swap, evidence
from .scale import BAND_NAMES, Picture, bands, density
from .strips import Row, select_steps, strip
from .summaries import summary
from .tiles import tile, tile_lines

__all__ = [
    "BAND_NAMES",
    "Picture",
    "Row",
    "Swap",
    "bands",
    "density",
    "evidence",
    "select_steps",
    "strip",
    "summary",
    "tile",
    "tile_lines",
]
