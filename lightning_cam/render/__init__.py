"""Draws where a model looks, so that a person understands it without explanation. Gives ``(h, w, 3)`` uint8 RGB arrays.

All pictures share one colour scale, see `scale`. Works on any thread and uses no random numbers.
"""

from .evidence import SwapRow, evidence
from .scale import BAND_NAMES, Picture, bands, density
from .strips import Row, select_steps, strip
from .summaries import scalar_table
from .tiles import tile, tile_lines

__all__ = [
    "BAND_NAMES",
    "Picture",
    "Row",
    "SwapRow",
    "bands",
    "density",
    "evidence",
    "scalar_table",
    "select_steps",
    "strip",
    "tile",
    "tile_lines",
]
