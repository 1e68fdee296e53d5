"""Messages between the processes that train one model together. A single process gets its own message back.

Every function here is a collective: all processes call the same ones in the same order, whatever has failed in one.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

T = TypeVar("T")


def n_ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if n_ranks() > 1 else 0


def share_of(n: int) -> tuple[Tensor, int]:
    """Indices of the images that this process looks at, of ``n``, and how many of them are its own.

    All processes get equally many. Those beyond their own belong to another process, and only make the passes equal.
    """
    size = -(-n // n_ranks())
    first = rank() * size
    return torch.arange(first, first + size) % n, min(max(n - first, 0), size)


def from_everyone(mine: T) -> list[T]:
    """The value of each process, by rank."""
    if n_ranks() == 1:
        return [mine]
    found: list[Any] = [None] * n_ranks()
    dist.all_gather_object(found, mine)
    return found


def from_first(mine: T) -> T:
    """The value of the first process."""
    if n_ranks() == 1:
        return mine
    found: list[Any] = [mine]
    dist.broadcast_object_list(found, src=0)
    return found[0]  # type: ignore[no-any-return] # an object list holds anything
