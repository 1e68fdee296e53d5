"""WHEN to look. The only wing that exists because a training runs, and the only one that knows a trainer."""

from .callback import CAMCallback

__all__ = ["CAMCallback"]
