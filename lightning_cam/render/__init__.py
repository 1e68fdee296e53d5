"""Draws where a model looks, so that a person understands it without explanation. Gives ``(h, w, 3)`` uint8 RGB arrays.

All pictures share one colour scale, see `scale`. Works on any thread and uses no random numbers.
"""

from .evidence import OF_CLASSES, OF_OBJECTS, OF_PRESENCE, OF_REGIONS, OF_SIZES, OF_VALUES, SwapRow, evidence
from .films import film
from .paint import captioned, outlined, overlay, photo_of
from .scale import BAND_NAMES, COLOURS, COLOURS_AGAINST, ENDS, Picture, bands, density, scale_end, strength
from .sheet import SheetRow, sheet
from .strips import Row, select_steps, strip
from .summaries import scalar_table
from .tiles import tile, tile_lines
from .units import CELL, FILTERS_A_SIDE, Curve, UnitRow, curve_sheet, filter_tile, patch_tile, unit_sheet

__all__ = [
    "BAND_NAMES",
    "CELL",
    "COLOURS",
    "COLOURS_AGAINST",
    "ENDS",
    "FILTERS_A_SIDE",
    "OF_CLASSES",
    "OF_OBJECTS",
    "OF_PRESENCE",
    "OF_REGIONS",
    "OF_SIZES",
    "OF_VALUES",
    "Curve",
    "Picture",
    "Row",
    "SheetRow",
    "SwapRow",
    "UnitRow",
    "bands",
    "captioned",
    "curve_sheet",
    "density",
    "evidence",
    "film",
    "filter_tile",
    "outlined",
    "overlay",
    "patch_tile",
    "photo_of",
    "scalar_table",
    "scale_end",
    "select_steps",
    "sheet",
    "strength",
    "strip",
    "tile",
    "tile_lines",
    "unit_sheet",
]
