"""Masks that are not given as masks: read from annotations, or guessed from the pictures of a probe alone."""

from .annotations import Annotations, annotations, as_annotations
from .guessing import can_guess, guess
from .segmenting import mask_of, write_masks

__all__ = ["Annotations", "annotations", "as_annotations", "can_guess", "guess", "mask_of", "write_masks"]
