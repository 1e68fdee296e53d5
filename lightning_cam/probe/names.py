"""Names of probe images: fit for a dashboard's tag, and each one once."""

from collections.abc import Sequence
from itertools import count

from ..text import words


def tag(class_name: str, of_image: str | int) -> str:
    """Name of an image in a class.

    >>> tag("tabby cat", 7)
    'tabby_cat_7'
    """
    return words(f"{class_name}_{of_image}", also="-_.")


def distinct(names: Sequence[str]) -> list[str]:
    """``names`` with a number behind those that came before.

    >>> distinct(["cat_1", "cat_1", "dog_1"])
    ['cat_1', 'cat_1-2', 'dog_1']
    """
    unique: dict[str, None] = {}
    for name in names:
        free = (f"{name}-{number}" for number in count(2) if f"{name}-{number}" not in {*names, *unique})
        unique[next(free) if name in unique else name] = None
    return list(unique)
