"""Data of other tasks than the classification of images, told in words that people use for them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..text import shortened

_TASKS = {  # by keys of a dict
    "segmentation": ("mask", "masks", "segmentation", "semantic", "segmentation_mask"),
    "detection": ("boxes", "bbox", "bboxes", "annotations", "objects", "keypoints"),
    "text": ("input_ids", "token_ids", "tokens", "text", "sentence"),
    "sound": ("audio", "waveform", "input_values", "input_features"),
}
_MOST_LETTERS = 40  # of a value that is quoted
_MOST_LETTERS_OF_KEYS = 200  # a table may have thousands of columns


class FormError(ValueError):
    """The items of a data set are no images with one class each."""


def described(value: Any) -> str:
    """A value of an item where something else was expected, and the task that it is usual in.

    >>> described(torch.tensor([0.0, 1.0, 1.0])), described(0.25)
    ('Tensor of shape (3,), as in multi-label classification', '0.25, as in regression')
    """
    task = task_of(value)
    return form_of(value) + (f", as in {task}" if task else "")


def form_of(value: Any) -> str:
    """A value in few words: itself if it is short, else its kind and shape."""
    kind = type(value).__name__
    if isinstance(value, Mapping):
        return f"keys {shortened(str(sorted(map(str, value))), _MOST_LETTERS_OF_KEYS)}"
    shape = getattr(value, "shape", None)
    if shape is not None and torch.Size(shape).numel() != 1:
        return f"{kind} of shape {tuple(shape)}"
    if isinstance(value, (Image.Image, Tensor, str, int, float)) or shape is not None:
        text = f"a {value.mode} picture" if isinstance(value, Image.Image) else repr(value)
        return shortened(text, _MOST_LETTERS)
    return f"{kind} of {len(value)}" if isinstance(value, Sequence) else kind


def task_of(value: Any) -> str:
    """The task that a target of this form is usual in; empty where none comes to mind."""
    if isinstance(value, Mapping):
        return next((task for task, keys in _TASKS.items() if not value.keys().isdisjoint(keys)), "")
    if isinstance(value, Image.Image):
        return "segmentation"
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
        return task_of(value[0])
    try:
        numbers = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return ""
    are_marks = bool(((numbers == 0) | (numbers == 1)).all())
    are_whole = not numbers.is_floating_point() or bool((numbers % 1 == 0).all())  # MONAI loads labels as floats
    if numbers.ndim == 1 and numbers.numel() > 1 and are_marks:
        return "multi-label classification"
    if numbers.ndim >= 2 and min(numbers.shape[-2:]) > 1 and are_whole:
        return "segmentation"
    return "regression" if numbers.is_floating_point() and numbers.numel() else ""
