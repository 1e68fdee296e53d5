"""Masks that are not given as masks: read from annotations, or guessed from the pictures of a probe alone."""

from .annotations import Annotations, annotations, as_annotations
from .guessing import guess
from .segmenting import mask_of, write_masks

__all__ = ["Annotations", "annotations", "as_annotations", "guess", "mask_of", "write_masks"]
