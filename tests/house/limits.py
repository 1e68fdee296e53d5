"""Limits on what a reader of files may take."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_GROWTH = 300_000_000  # bytes of address space beyond what is in use


@contextmanager
def little_memory() -> Iterator[None]:
    """What asks for much more memory than there is in use gets a `MemoryError`, which nobody may raise."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MAX_GROWTH, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
