"""Reading pictures in threads into columns of facts."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import UnidentifiedImageError

from ..datasets.pictures import FORMATS, UNREADABLE, quiet_pillow
from ..patches import Points
from .facts import PictureFacts
from .pixels import measure, textures
from .recurring import windows_of
from .sources import PictureSource

Columns: TypeAlias = dict[str, npt.NDArray[Any]]
Progress: TypeAlias = Callable[[int, int], None]
_Row: TypeAlias = dict[str, Any]  # facts of one picture

_WINDOWS = "windows"  # in a row, beside its facts
_CHUNK = 16  # pictures that a thread measures together: few Python calls, and arrays small enough for malloc to reuse


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read of pictures.

    Attributes:
        readable: Indices of the pictures that can be read.
        columns: Their facts by name, ``(N, ...)``.
        windows: Where some of them have their finest detail, by index, see `recurring.chosen`.
        skipped: Name and reason of each picture that cannot be read.
    """

    readable: list[int]
    columns: Columns
    windows: dict[int, Points]
    skipped: tuple[tuple[str, str], ...]


def read_all(
    source: PictureSource,
    indices: Sequence[int],
    searched: Collection[int],
    workers: int,
    progress: Progress | None,
) -> Reading:
    """Reads pictures; those that are ``searched`` for small patches have windows as well.

    Threads scale as processes do here, because Pillow releases Python's lock while it decodes. Processes would import
    the package again, and the caller would have to guard its ``__main__``.
    """
    chunks = [indices[start : start + _CHUNK] for start in range(0, len(indices), _CHUNK)]
    outcomes: list[_Row | str] = []
    with quiet_pillow(), ThreadPoolExecutor(workers if source.from_files else 1) as pool:
        for rows in pool.map(partial(_read_chunk, source, searched), chunks):
            outcomes += rows
            if progress:
                progress(len(outcomes), len(indices))
    rows_by_index = {index: row for index, row in zip(indices, outcomes, strict=True) if not isinstance(row, str)}
    reasons = {index: reason for index, reason in zip(indices, outcomes, strict=True) if isinstance(reason, str)}
    windows = {index: row.pop(_WINDOWS) for index, row in rows_by_index.items() if _WINDOWS in row}
    names = next(iter(rows_by_index.values()), {})
    columns = {name: np.array([row[name] for row in rows_by_index.values()]) for name in names}
    skipped = tuple((source.names[index], reason) for index, reason in reasons.items())
    return Reading(list(rows_by_index), columns, windows, skipped)


def _read_chunk(source: PictureSource, searched: Collection[int], chunk: Sequence[int]) -> list[_Row | str]:
    """The facts of each picture, or the reason why it cannot be read."""
    outcomes = [_try_read(source, index) for index in chunk]
    windows = [
        {_WINDOWS: windows_of(outcome)} if index in searched and isinstance(outcome, PictureFacts) else {}
        for index, outcome in zip(chunk, outcomes, strict=True)
    ]
    readings = [outcome for outcome in outcomes if isinstance(outcome, PictureFacts)]
    measured = textures([r.crop for r in readings]) | measure(np.stack([r.copy for r in readings])) if readings else {}
    rows = iter({name: column[i] for name, column in measured.items()} for i in range(len(readings)))
    return [
        outcome if isinstance(outcome, str) else {**outcome.facts, **next(rows), **more}
        for outcome, more in zip(outcomes, windows, strict=True)
    ]


def _try_read(source: PictureSource, index: int) -> PictureFacts | str:
    if not source.from_files:  # An error in the user's own data set is for the user to see.
        return source.read(index)
    try:
        return source.read(index)
    except UnidentifiedImageError:
        return f"not one of {', '.join(FORMATS)}"
    except UNREADABLE as error:  # the words of Pillow or the system; the path is listed beside them
        return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
