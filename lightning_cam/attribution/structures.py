"""Tensors inside tuples, dictionaries, dataclasses and plain objects. No function writes to its arguments."""

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias

from torch import Tensor, nn

Path: TypeAlias = tuple[str, ...]
"""Keys, attributes and positions, from the outside to a tensor."""

_DEEPEST = 5  # nested containers, a call's arguments included; outputs and batches nest no deeper in practice


def tensors_in(structure: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor with at least one axis, in order, with its path."""
    if isinstance(structure, Tensor):
        if structure.ndim:
            yield path, structure
    elif len(path) < _DEEPEST:
        for name, value in _parts(structure):
            yield from tensors_in(value, (*path, name))


def mapped(structure: Any, change: Callable[[Path, Any], Any], path: Path = ()) -> Any:
    """A copy of the same shape. ``change`` gives its leaves from the old ones: tensors, numbers, texts."""
    if isinstance(structure, Tensor) or len(path) >= _DEEPEST:
        return change(path, structure)
    parts = {name: mapped(value, change, (*path, name)) for name, value in _parts(structure)}
    if not parts and not isinstance(structure, (Mapping, tuple, list)):
        return change(path, structure)
    if isinstance(structure, MutableMapping):
        copied = copy.copy(structure)
        for key in structure:
            copied[key] = parts[str(key)]
        return copied
    if isinstance(structure, Mapping):
        return {key: parts[str(key)] for key in structure}
    if isinstance(structure, (tuple, list)):
        values = list(parts.values())
        return type(structure)(*values) if hasattr(structure, "_fields") else type(structure)(values)
    copied = copy.copy(structure)
    for name, value in parts.items():
        object.__setattr__(copied, name, value)  # frozen dataclasses too; the copy is ours
    return copied


def _parts(structure: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(structure, Mapping):
        yield from ((str(key), value) for key, value in structure.items())
    elif isinstance(structure, tuple) and hasattr(structure, "_fields"):
        yield from zip(structure._fields, structure, strict=True)
    elif isinstance(structure, (tuple, list)):
        yield from ((str(position), value) for position, value in enumerate(structure))
    elif hasattr(structure, "__dict__") and not isinstance(structure, (nn.Module, type)) and not callable(structure):
        yield from vars(structure).items()
