"""What a model can reach that is no module, parameter or buffer: where its forward may keep state out of sight."""

import inspect
from collections import deque
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from torch import nn

_MOST_OBJECTS = 10_000
_ELSEWHERE = {"_trainer", "_fabric"}  # attributes of Lightning modules that lead out of the model
_LIBRARIES = {"torch", "torchmetrics", "torchvision", "pytorch_lightning", "lightning", "timm"}


def held_by(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Every object in the attributes of the modules, and in those objects and containers in turn, with its path.

    Reads instance dictionaries alone, so that no property runs. Ends after ten thousand objects.
    """
    waiting: deque[tuple[str, Any]] = deque((name, vars(module)) for name, module in model.named_modules())
    visited: set[int] = set()
    while waiting and len(visited) < _MOST_OBJECTS:
        path, container = waiting.popleft()
        for key, value in _items(container):
            if (
                key in _ELSEWHERE
                or id(value) in visited
                or isinstance(value, (nn.Module, type, ModuleType, FunctionType))
            ):
                continue
            where = f"{path}.{key}".lstrip(".")
            yield where, value
            inside = _inside(value)
            if inside:
                visited.add(id(value))
                waiting.append((where, inside))


def named_by_methods(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Global and enclosing variables that the methods of the model's own classes name."""
    kinds = {kind for module in model.modules() for kind in type(module).__mro__}
    for kind in kinds:
        if kind.__module__.partition(".")[0] not in _LIBRARIES | {"builtins"}:
            for method in filter(inspect.isfunction, vars(kind).values()):
                yield from _named_by(inspect.unwrap(method)).items()


def _named_by(function: Any) -> dict[str, Any]:
    try:
        variables = inspect.getclosurevars(function)
    except (TypeError, ValueError):  # no Python function, or one that names what does not exist yet
        return {}
    return {**variables.globals, **variables.nonlocals}


def _inside(value: Any) -> Any:
    """The container that an object is or has, unless it is as long as data."""
    inside = value if isinstance(value, (dict, list, tuple, set, deque)) else _dictionary(value)
    return inside if len(inside) <= _MOST_OBJECTS else None


def _dictionary(value: Any) -> dict[str, Any]:
    """Instance attributes, past any `__getattr__` of the object's own."""
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    return list(container.items()) if isinstance(container, dict) else list(enumerate(container))
