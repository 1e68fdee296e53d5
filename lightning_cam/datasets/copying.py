"""Copies of data sets: state is copied, data is shared."""

import copy
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

_SHARED_FROM = 2**20  # bytes; a larger array is data rather than state
_MOST_OBJECTS = 10_000  # in a data set; a container with more is data


def copy_of(dataset: Any) -> Any:
    """A copy with its own state and the same data; None if copying fails, for example because a file is open."""
    try:
        return copy.deepcopy(dataset, {id(shared): shared for shared in _data_in(dataset)})
    except Exception:  # of whatever the data set holds
        return None


def _data_in(dataset: Any) -> Iterator[Any]:
    """Objects that are too large to be state: long containers, large arrays and tensors, and all after many objects."""
    waiting, identities = deque([dataset]), {id(dataset)}
    n_objects = 0
    while waiting:
        value = waiting.popleft()
        n_objects += 1
        if n_objects > _MOST_OBJECTS or _is_data(value):
            yield value
            continue
        inside = value if isinstance(value, (dict, list, tuple, set, deque)) else getattr(value, "__dict__", {})
        for item in list(inside.values() if isinstance(inside, dict) else inside):
            if id(item) not in identities and not isinstance(item, (str, bytes, int, float, type(None))):
                identities.add(id(item))
                waiting.append(item)


def _is_data(value: Any) -> bool:
    if isinstance(value, (Tensor, np.ndarray)):
        return bool(value.nbytes >= _SHARED_FROM)
    if isinstance(value, Image.Image):  # a copy of one with a palette is another picture
        return True
    return isinstance(value, (dict, list, tuple, set, deque)) and len(value) > _MOST_OBJECTS
