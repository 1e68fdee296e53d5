"""WHEN to look: everything that needs a running training. No other part of the package knows a trainer."""

from .callback import CAMCallback
from .looker import Looker

__all__ = ["CAMCallback", "Looker"]
