"""Free memory that the C library keeps, given back to the system."""

import ctypes
import sys
from collections.abc import Callable
from functools import cache

from torch import Tensor

_LARGE = 2**24  # values of images, 64 MiB as float32: work on fewer leaves too little behind to be worth a call


def give_back(images: Tensor) -> None:
    """Gives free memory back, after work on images that are large or many; no program can see it but by its size.

    Planes of 16 MiB are below the size from which glibc maps memory for a tensor alone. A small tensor that is made
    later keeps all of the free ones below it: 320 MiB after a single trial on images of 2048 x 2048 pixels.
    """
    trim = _malloc_trim()
    if trim is not None and images.numel() > _LARGE:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """None where the C library has no such function."""
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # musl, or an interpreter without dynamic linking
        return None
