"""Maps of one class of objects alone: which two answers there are, their names, and which place is asked for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..datasets.regions import BACKGROUND
from ..datasets.values import Scale
from .task import PRESENCE, SIZES, Task

_NO, _SMALL, _LARGE = "no ", "small ", "large "


def one_object(
    maps: Tensor, largest: Tensor, classes: Sequence[str] | None
) -> tuple[Tensor, tuple[str, ...], Task] | None:
    """Answers ``(N,)`` of 0 and 1, their names, and the task; None where maps ``(N, H, W)`` have several classes.

    Args:
        maps: Of classes.
        largest: ``(N,)`` class of the largest region of each.
        classes: Names of the classes, or of the answers.
    """
    numbers = sorted(set(largest.tolist()) - {BACKGROUND})
    if len(numbers) != 1:
        return None
    (number,) = numbers
    name = _name(classes, number)
    if bool((largest == BACKGROUND).any()):
        return (largest == number).long(), (f"{_NO}{name}", name), Task(PRESENCE, 2, region=number)
    areas = (maps == number).flatten(1).sum(1)
    is_large = areas >= Scale.of(areas).middle
    return is_large.long(), (f"{_SMALL}{name}", f"{_LARGE}{name}"), Task(SIZES, 2, region=number)


def _name(classes: Sequence[str] | None, number: int) -> str:
    if not classes or isinstance(classes, str):
        return "object"
    return (classes[number] if number < len(classes) else classes[-1]).removeprefix(_LARGE)


def places(maps: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The object of each map, ``(N, H, W)`` bool, and which of them are lent ``(N,)``.

    A map without an object is lent that of another, in turn. So a swap keeps, fills and asks for the same places on
    either side, and what editing does to a picture cancels.
    """
    objects = maps == number
    has_object = objects.flatten(1).any(1)
    lenders = has_object.nonzero()[:, 0]
    turns = (~has_object).long().cumsum(0) - 1
    rows = torch.where(
        has_object, torch.arange(len(maps)), lenders[turns % max(len(lenders), 1)] if len(lenders) else 0
    )
    return objects[rows], ~has_object
