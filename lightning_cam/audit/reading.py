"""Reading pictures in threads into columns of facts."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import UnidentifiedImageError

from ..datasets.pictures import FORMATS, UNREADABLE, quiet_pillow
from .facts import PictureFacts
from .pixels import measure, textures
from .sources import Source

Columns: TypeAlias = dict[str, npt.NDArray[Any]]
Progress: TypeAlias = Callable[[int, int], None]
_Row: TypeAlias = dict[str, Any]  # facts of one picture

_CHUNK = 16  # pictures that a thread measures together: few Python calls, and arrays that malloc keeps


def read_all(
    source: Source, chosen: Sequence[int], workers: int, progress: Progress | None
) -> tuple[list[int], Columns, tuple[tuple[str, str], ...]]:
    """Indices of the pictures that could be read, their facts by name ``(N, ...)``, and which were skipped and why.

    Threads, because Pillow decodes without holding Python's lock: they scale as processes do, and need neither import
    this package again nor have the caller guard its ``__main__``.
    """
    chunks = [chosen[start : start + _CHUNK] for start in range(0, len(chosen), _CHUNK)]
    outcomes: list[_Row | str] = []
    with quiet_pillow(), ThreadPoolExecutor(workers if source.from_files else 1) as pool:
        for rows in pool.map(partial(_read_chunk, source), chunks):
            outcomes += rows
            if progress:
                progress(len(outcomes), len(chosen))
    read = {index: row for index, row in zip(chosen, outcomes, strict=True) if not isinstance(row, str)}
    skipped = [(source.names[i], reason) for i, reason in zip(chosen, outcomes, strict=True) if isinstance(reason, str)]
    names = next(iter(read.values()), {})
    return list(read), {name: np.array([row[name] for row in read.values()]) for name in names}, tuple(skipped)


def _read_chunk(source: Source, chunk: Sequence[int]) -> list[_Row | str]:
    """For each picture its facts, or why it cannot be read."""
    outcomes = [_try_read(source, index) for index in chunk]
    readings = [outcome for outcome in outcomes if isinstance(outcome, PictureFacts)]
    measured = textures([r.crop for r in readings]) | measure(np.stack([r.copy for r in readings])) if readings else {}
    rows = iter({name: column[i] for name, column in measured.items()} for i in range(len(readings)))
    return [outcome if isinstance(outcome, str) else {**outcome.facts, **next(rows)} for outcome in outcomes]


def _try_read(source: Source, index: int) -> PictureFacts | str:
    if not source.from_files:  # What goes wrong in a data set is its owner's to see.
        return source.read(index)
    try:
        return source.read(index)
    except UnidentifiedImageError:
        return f"not one of {', '.join(FORMATS)}"
    except UNREADABLE as error:  # Pillow's and the system's words, without the path
        return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
