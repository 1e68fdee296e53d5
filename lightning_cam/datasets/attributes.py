"""Attributes of items that a user knows, such as the site: where each value comes from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

AttributeSource: TypeAlias = str | int | Callable[[Any], object] | Sequence[object] | Mapping[str, object]
"""Where the values of an attribute come from.

A key or field of an item, its position in a tuple, a function from an item to a value, a value for each item, or a
mapping from file names to values, which `tables.by_position` turns into one for each item.
"""
AttributeSources: TypeAlias = Mapping[str, AttributeSource]


def attribute_text(value: object) -> str:
    """A value of an attribute as text; empty where it is not known.

    >>> [attribute_text(value) for value in (np.int64(3), None, float("nan"), "lab")]
    ['3', '', '', 'lab']
    """
    if isinstance(value, (Tensor, np.generic)):
        value = value.item()
    return "" if value is None or value != value else str(value)


def check_sources(sources: AttributeSources | None, n_items: int) -> AttributeSources:
    """The sources; values for all items as lists, because some columns of tables have an index of their own.

    Raises:
        ValueError: They have no names, or values are more or fewer than items.
    """
    table: Any = sources
    if hasattr(table, "columns") and hasattr(table, "to_dict"):  # of pandas
        sources = table.to_dict("list")
    if not isinstance({} if sources is None else sources, Mapping):
        form = type(sources).__name__
        raise ValueError(f'attributes must be like {{"site": values}} with a value per picture, got {form}')
    checked: dict[str, AttributeSource] = {}
    for name, source in (sources or {}).items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"an attribute must have a name, got {name!r}")
        if isinstance(source, (str, int)) or callable(source):
            checked[name] = source
            continue
        n_values = len(source) if hasattr(source, "__len__") else None
        if n_values != n_items or isinstance(source, Mapping):
            given = type(source).__name__ if n_values is None else f"{n_values}"
            raise ValueError(f"the attribute {name!r} needs a value for each of {n_items} pictures, got {given}")
        checked[name] = list(source)
    return checked


def values_at(sources: AttributeSources, item: Any, index: int) -> tuple[str, ...]:
    """The values of an item, in the order of the sources.

    Raises:
        ValueError: The item has no such key or field.
    """
    return tuple(attribute_text(_value_at(name, source, item, index)) for name, source in sources.items())


def _value_at(name: str, source: AttributeSource, item: Any, index: int) -> object:
    if callable(source):
        return source(item)
    if not isinstance(source, (str, int, Mapping)):
        return source[index]
    is_there = isinstance(item, Mapping) and source in item
    if is_there or (isinstance(source, int) and isinstance(item, (tuple, list)) and -len(item) <= source < len(item)):
        return item[source]
    if isinstance(source, str) and hasattr(item, source):
        return getattr(item, source)
    for part in item if isinstance(item, (tuple, list)) else ():  # a target that is a dict
        if isinstance(part, Mapping) and source in part:
            return part[source]
    raise ValueError(f"the attribute {name!r} is to be {source!r} of an item, and item {index} has no such field")
