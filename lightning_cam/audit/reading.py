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
from .sources import PictureSource

Columns: TypeAlias = dict[str, npt.NDArray[Any]]
Progress: TypeAlias = Callable[[int, int], None]
_Row: TypeAlias = dict[str, Any]  # facts of one picture

_CHUNK = 16  # pictures that a thread measures together: few Python calls, and arrays small enough for malloc to reuse


def read_all(
    source: PictureSource, indices: Sequence[int], workers: int, progress: Progress | None
) -> tuple[list[int], Columns, tuple[tuple[str, str], ...]]:
    """The indices of the readable pictures, their facts by name ``(N, ...)``, and name and reason of each skipped one.

    Threads scale as processes do here, because Pillow releases Python's lock while it decodes. Processes would import
    the package again, and the caller would have to guard its ``__main__``.
    """
    chunks = [indices[start : start + _CHUNK] for start in range(0, len(indices), _CHUNK)]
    outcomes: list[_Row | str] = []
    with quiet_pillow(), ThreadPoolExecutor(workers if source.from_files else 1) as pool:
        for rows in pool.map(partial(_read_chunk, source), chunks):
            outcomes += rows
            if progress:
                progress(len(outcomes), len(indices))
    rows_by_index = {index: row for index, row in zip(indices, outcomes, strict=True) if not isinstance(row, str)}
    reasons = {index: reason for index, reason in zip(indices, outcomes, strict=True) if isinstance(reason, str)}
    names = next(iter(rows_by_index.values()), {})
    columns = {name: np.array([row[name] for row in rows_by_index.values()]) for name in names}
    return list(rows_by_index), columns, tuple((source.names[index], reason) for index, reason in reasons.items())


def _read_chunk(source: PictureSource, chunk: Sequence[int]) -> list[_Row | str]:
    """The facts of each picture, or the reason why it cannot be read."""
    outcomes = [_try_read(source, index) for index in chunk]
    readings = [outcome for outcome in outcomes if isinstance(outcome, PictureFacts)]
    measured = textures([r.crop for r in readings]) | measure(np.stack([r.copy for r in readings])) if readings else {}
    rows = iter({name: column[i] for name, column in measured.items()} for i in range(len(readings)))
    return [outcome if isinstance(outcome, str) else {**outcome.facts, **next(rows)} for outcome in outcomes]


def _try_read(source: PictureSource, index: int) -> PictureFacts | str:
    if not source.from_files:  # An error in the user's own data set is for the user to see.
        return source.read(index)
    try:
        return source.read(index)
    except UnidentifiedImageError:
        return f"not one of {', '.join(FORMATS)}"
    except UNREADABLE as error:  # the words of Pillow or the system; the path is listed beside them
        return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
