"""Draws where a model looks, so that a person understands it without explanation. Gives ``(h, w, 3)`` uint8 RGB arrays.

All pictures share one colour scale, see `scale`. Works on any thread and uses no random numbers.
"""

from .evidence import OF_CLASSES, OF_REGIONS, OF_VALUES, SwapRow, evidence
from .paint import outlined, photo_of
from .scale import BAND_NAMES, COLOURS, COLOURS_AGAINST, Picture, bands, density, scale_end, strength
from .strips import Row, select_steps, strip
from .summaries import scalar_table
from .tiles import tile, tile_lines
from .units import Curve, UnitRow, curve_sheet, unit_sheet

__all__ = [
    "BAND_NAMES",
    "COLOURS",
    "COLOURS_AGAINST",
    "OF_CLASSES",
    "OF_REGIONS",
    "OF_VALUES",
    "Curve",
    "Picture",
    "Row",
    "SwapRow",
    "UnitRow",
    "bands",
    "curve_sheet",
    "density",
    "evidence",
    "outlined",
    "photo_of",
    "scalar_table",
    "scale_end",
    "select_steps",
    "strength",
    "strip",
    "tile",
    "tile_lines",
    "unit_sheet",
]
