"""The probe: the fixed images that are looked at, and how they are drawn, checked and kept."""

from ..datasets.normalization import Normalize
from .checks import MASK_SOURCES
from .drawn import Preprocess
from .record import Probe

__all__ = ["MASK_SOURCES", "Normalize", "Preprocess", "Probe"]
