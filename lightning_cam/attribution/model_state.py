"""What a model can reach that is no module, parameter or buffer: where its forward may keep state out of sight."""

import functools
import inspect
import sys
import sysconfig
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import CellType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

from torch import nn

_MOST_OBJECTS = 10_000
MOST_ITEMS = 10_000  # of a container; a longer one holds data rather than state, and copying it would be slow
_ELSEWHERE = {"_trainer", "_fabric"}  # attributes of Lightning modules that lead out of the model
_LIBRARIES = {"torch", "torchmetrics", "torchvision", "pytorch_lightning", "lightning", "timm"}
_HARMLESS = {"abc", "typing", "builtins"}  # modules whose classes are bases and hold no state
_OURS = __name__.partition(".")[0]
_STANDARD = Path(sysconfig.get_path("stdlib"))


def containers_of(modules: Iterable[nn.Module]) -> list[Any]:
    """Containers that may hold state, each once: attributes of modules and of plain objects, and what is in them."""
    modules = list(modules)
    containers: list[Any] = [vars(module) for module in modules]
    containers.append([value for module in modules for hook in _hooks_of(module) for value in _behind(hook)])
    identities = set(map(id, containers))
    for container in containers:  # grows while it is walked
        for value in values_in(container) if len(containers) <= _MOST_OBJECTS else ():
            inside = _state_of(value)
            if inside is not None and len(inside) <= MOST_ITEMS and id(inside) not in identities:
                identities.add(id(inside))
                containers.append(inside)
    return containers


def values_in(container: Any) -> Iterable[Any]:
    """The values of a dictionary, or the items of another container."""
    return container.values() if isinstance(container, dict) else container


def _state_of(value: Any) -> Any:
    """A container itself, the attributes of a plain object, or None."""
    if isinstance(value, (list, dict, set, deque)):
        return value
    with suppress(TypeError):  # a class whose own class has no hash
        kind: type = type(value)
        return attributes_of(value) if is_plain_class(kind) else None
    return None


@functools.lru_cache(maxsize=1024)
def is_plain_class(kind: type) -> bool:
    """Whether a class and its bases are the user's own: objects of other packages may belong to other threads."""
    return all(base.__module__ in _HARMLESS or base is SimpleNamespace or is_own(base) for base in kind.__mro__) and (
        kind.__module__ not in _HARMLESS
    )


@functools.lru_cache(maxsize=1024)
def is_own(kind: type) -> bool:
    """Whether a class is written by the user: in a notebook, or in a file that no package manager has installed."""
    name = str(kind.__module__)
    file = getattr(sys.modules.get(name), "__file__", None)
    if not isinstance(file, str):
        return name == "__main__"
    path = Path(file)
    is_installed = {"site-packages", "dist-packages"} & set(path.parts)
    return not is_installed and name.partition(".")[0] != _OURS and _STANDARD not in path.parents


def _hooks_of(module: nn.Module) -> Iterator[Any]:
    yield from (*module._forward_pre_hooks.values(), *module._forward_hooks.values())


def cells_of(module: nn.Module) -> Iterator[CellType]:
    """Variables that the forward hooks of a module share with the function around them."""
    for hook in _hooks_of(module):
        yield from _cells(hook)


def _cells(function: Any) -> Iterator[CellType]:
    closure = function.__closure__ if isinstance(function, FunctionType) else None
    yield from (cell for cell in closure or () if cell != CellType())  # an empty one has no content to read


def _behind(hook: Any) -> Iterator[Any]:
    """What a hook holds: variables it closes over, the object whose method it is, arguments of a partial."""
    yield from (cell.cell_contents for cell in _cells(hook))
    if isinstance(hook, MethodType):
        yield hook.__self__
    if isinstance(hook, functools.partial):
        yield from (*hook.args, *hook.keywords.values(), *_behind(hook.func))


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
                yield from variables_of(inspect.unwrap(method)).items()


def own_classes(model: nn.Module) -> set[type]:
    """The user's own classes among those of the modules, their bases, and those that their methods name."""
    kinds = {kind for module in model.modules() for kind in type(module).__mro__}
    with suppress(TypeError):  # a class whose own class has no hash
        kinds |= {value for _, value in named_by_methods(model) if isinstance(value, type)}
        return set(filter(is_own, kinds))
    return set()


def variables_of(function: Any) -> dict[str, Any]:
    """Global and enclosing variables that a function names, by name."""
    try:
        variables = inspect.getclosurevars(function)
    except (TypeError, ValueError):  # no Python function, or one that names what does not exist yet
        return {}
    return {**variables.globals, **variables.nonlocals}


def _inside(value: Any) -> Any:
    """The container that an object is or has, unless it is as long as data."""
    inside = value if isinstance(value, (dict, list, tuple, set, deque)) else attributes_of(value)
    return inside if len(inside) <= _MOST_OBJECTS else None


def attributes_of(value: Any) -> dict[str, Any]:
    """Instance attributes, past any `__getattr__` of the object's own."""
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    return list(container.items()) if isinstance(container, dict) else list(enumerate(container))
