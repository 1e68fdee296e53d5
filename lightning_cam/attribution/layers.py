"""The layers of a model by name: one name for each, with `torch.compile` or without."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from torch import nn

Layers: TypeAlias = str | Sequence[str]
"""Dotted name of a layer, or of several."""


def check_layers(model: nn.Module, layer: Layers) -> tuple[str, ...]:
    """Plain names, each once, of the layers that a user named.

    Raises:
        TypeError: Something else than names.
        ValueError: No name, or the model has no such layer.
    """
    names = [layer] if isinstance(layer, (str, nn.Module)) else list(layer)
    other = next((name for name in names if not isinstance(name, str)), None)
    if other is not None:
        raise TypeError(
            f"expected names of layers, found {type(other).__name__}; {class_name(model)} has "
            f"{outermost(named_layers(model))}"
        )
    if not names:
        raise ValueError("expected the name of a layer, found no name; leave layer= out to have one found")
    return tuple(dict.fromkeys(check_layer(model, name) for name in names))


def check_layer(model: nn.Module, name: str) -> str:
    """The layer's plain name, without the `_orig_mod` segments that `torch.compile` adds: it is valid either way.

    Raises:
        ValueError: The model has no such layer.
    """
    layers, plain = named_layers(model), _plain(name)
    if plain in layers:
        return plain
    near = _nearest(plain, layers)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ValueError(f"no layer {name!r} in {class_name(model)}; {hint}it has {outermost(layers)}")


def module_of(model: nn.Module, name: str) -> nn.Module:
    """The module behind a layer's name, compiled or not.

    >>> module_of(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), "1")
    ReLU()
    """
    return named_layers(model)[check_layer(model, name)]


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every module inside the model by its plain name; a module used under two names has both."""
    named = ((_plain(name), module) for name, module in model.named_modules(remove_duplicate=False))
    return {name: module for name, module in named if name}


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _nearest(name: str, layers: Mapping[str, nn.Module]) -> list[str]:
    """Up to three similar names. Names that only lack the wrapper's attribute, as `conv` for `net.conv`, come first."""
    wrapped = [other for other in layers if other.endswith(f".{name}")]
    return list(dict.fromkeys(wrapped + difflib.get_close_matches(name, layers)))[:3]


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's own module inside the one that Lightning Fabric returns from its `setup`; others as they are.

    The wrapper lets nobody but `fabric.backward` ask for gradients, and puts its own name before those of layers.
    """
    wrapped = any(kind.__name__ == "_FabricModule" for kind in type(model).__mro__)
    return model.module if wrapped and isinstance(model.module, nn.Module) else model


def class_name(model: nn.Module) -> str:
    """Name of the model's own class, also where `torch.compile` wraps it."""
    return type(getattr(model, "_orig_mod", model)).__name__


def outermost(layers: Mapping[str, nn.Module]) -> list[str]:
    """Names of the layers that the model holds itself, for messages: all names would fill a screen."""
    return [name for name in layers if "." not in name]
