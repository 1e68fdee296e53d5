"""WHERE a model looks: the layer, the capture, the maps and what is measured on them."""

from . import cams, features, localisation, measures, pixels, trust

__all__ = ["cams", "features", "localisation", "measures", "pixels", "trust"]
