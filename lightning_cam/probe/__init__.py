"""The probe: the fixed images that are looked at, and how they are drawn, checked and kept."""

from .checks import MASK_SOURCES
from .drawn import Preprocess
from .normalization import Normalize
from .record import Probe

__all__ = ["MASK_SOURCES", "Normalize", "Preprocess", "Probe"]
