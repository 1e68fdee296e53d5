"""The series of scalars of a run as a file: a line of JSON per check."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .page import Page
from .places import create, write_whole

HISTORY = "history.jsonl"
MOST_BYTES_OF_HISTORY = 200_000_000  # a line has about 1 kB: 200,000 checks


class History:
    """The file of one run, and what stands in it.

    Attributes:
        lines: By step.
    """

    def __init__(self, path: Path, lines: Mapping[int, str] | None = None) -> None:
        self.lines = dict(lines or {})
        self._path = path
        self._ends_whole = False  # whether the file ends where we think it does

    def add(self, page: Page, *, is_new: bool) -> None:
        """Appends a line, or writes the file anew: the first time, for a step out of order, after a failure."""
        path = self._path
        append = self._ends_whole and page.step > max(self.lines) and _is_alone(path) and _ends_a_line(path)
        if not self.lines and not is_new:
            self.lines = {row["step"]: _line(row) for row in read_history(path.parent) if "epoch" in row}
        self.lines[page.step] = _line(_row(page))
        self._ends_whole = False
        if append:
            _append(path, self.lines[page.step].encode())
        else:
            lines = [line for _, line in sorted(self.lines.items())] + ([] if is_new else _lines_of_others(path))
            (create if is_new else write_whole)(path, "".join(lines).encode())
        self._ends_whole = True


def _append(path: Path, line: bytes) -> None:
    """Adds the whole line or nothing: the disk may fill in the middle of it."""
    n_bytes = path.stat().st_size
    try:
        with path.open("ab") as file:
            file.write(line)
    except OSError:
        os.truncate(path, n_bytes)
        raise


def read_history(folder: Path | str) -> list[dict[str, Any]]:
    """The rows of a folder's ``history.jsonl``: step, epoch and the scalars, None where undefined.

    A line that a killed run left unfinished is skipped. A folder without a history has no rows.

    Raises:
        ValueError: The file is too large to be a series of checks.
    """
    lines = _history_text(Path(folder) / HISTORY).splitlines()
    return [row for line in lines if (row := _parsed(line)) is not None]


def _history_text(path: Path) -> str:
    if not path.is_file():
        return ""
    if path.stat().st_size > MOST_BYTES_OF_HISTORY:
        raise ValueError(f"'{path}' has more than {MOST_BYTES_OF_HISTORY // 10**6} MB, so no run wrote it")
    return path.read_text(encoding="utf-8", errors="replace")


def _parsed(line: str) -> dict[str, Any] | None:
    """A row as `_row` makes it, None where the line is none: it may be torn, or not ours."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # nesting or digits without end
        return None
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        return None
    return {key: value if _is_finite(value) else None for key, value in row.items()}


def _is_finite(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _row(page: Page) -> dict[str, Any]:
    """The check's line; JSON knows no NaN and no infinity."""
    scalars = {key: float(value) if math.isfinite(value) else None for key, value in page.scalars.items()}
    return {"step": page.step, "epoch": page.epoch, **scalars}


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _is_alone(path: Path) -> bool:
    """Whether bytes added to a file end up there alone: it may be a link, or a copy may share its bytes."""
    return path.exists() and not path.is_symlink() and path.stat().st_nlink == 1


def _ends_a_line(path: Path) -> bool:
    """Whether what is added begins a line: an editor of the user's may have left the last one open."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1))
        return file.read() == b"\n"


def _lines_of_others(path: Path) -> list[str]:
    """Lines of a history that no run wrote, such as notes of the user's."""
    return [f"{line}\n" for line in _history_text(path).split("\n") if _is_of_others(line)]


def _is_of_others(line: str) -> bool:
    row = _parsed(line)
    is_torn = row is None and (line.startswith('{"step": ') or "\0" in line or "\ufffd" in line)  # a run was killed
    return bool(line) and not is_torn and (row is None or "epoch" not in row)
