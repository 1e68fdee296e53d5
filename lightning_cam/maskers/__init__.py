"""Masks that are not given as masks: read from annotations, or guessed from the pictures of a probe alone."""

from .annotations import Annotations, annotations, as_annotations
from .guessing import guess

__all__ = ["Annotations", "annotations", "as_annotations", "guess"]
