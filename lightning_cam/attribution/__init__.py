"""WHERE a model looks: the layer, the capture, the maps and what is measured on them."""

from . import cams, features, localisation, measures, pixels, trust
from .similarity import Similarity

__all__ = ["Similarity", "cams", "features", "localisation", "measures", "pixels", "trust"]
