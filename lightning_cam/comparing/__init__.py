"""Runs beside each other: whether a remedy helped, from what the runs left in their folders."""

from .comparison import RunComparison, compare

__all__ = ["RunComparison", "compare"]
