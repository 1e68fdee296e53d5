"""The probe: the fixed images that are looked at, and how they are drawn, checked and kept."""

from ..datasets.normalization import Normalize
from .checks import COVERING, GUESS, MASK_SOURCES, WIDENED
from .drawn import Preprocess
from .masking import Segmenter
from .probe import Probe

__all__ = ["COVERING", "GUESS", "MASK_SOURCES", "WIDENED", "Normalize", "Preprocess", "Probe", "Segmenter"]
