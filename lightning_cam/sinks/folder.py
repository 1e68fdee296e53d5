"""Keeps pages in a folder: pictures, the series of scalars, the summary. Needs no logger."""

import errno
import glob
import hashlib
import importlib.metadata
import itertools
import json
import math
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from ..text import words
from ..verdict import Verdict
from .page import Page, png

HISTORY = "history.jsonl"
VERDICT = "verdict.json"
RUN = "run.json"  # says which run a folder belongs to
UNFINISHED = ".lightning_cam.tmp"
MOST_BYTES_OF_RUN = 10_000  # of `RUN`, which holds an identifier
MOST_BYTES_OF_NAME = 90  # with what is put before and behind it 135; encrypted home folders (eCryptfs) allow 143
MOST_BYTES_OF_HISTORY = 200_000_000  # a line has about 1 kB: 200,000 checks
MIN_FREE = 500_000_000  # bytes that pictures leave on the disk: the next checkpoint matters more


class FolderSink:
    """Keeps pictures, the series of scalars, the verdict and a summary as files.

    ``step_00000012/<probe>.png``, ``history.jsonl`` (a line per check) and ``verdict.json`` at each check; at the end
    ``evolution.png``, ``evidence_<cue>.png`` and ``summary.md``. A file is either whole or not there. A run that is
    resumed into the same folder continues the series; a step that comes again replaces the earlier one.

    Args:
        path: The folder; made when the first page comes.
    """

    def __init__(self, path: Path | str) -> None:
        self._root = Path(path)
        self._lines: dict[int, str] = {}
        self._ends_whole = False  # whether the history ends where we think it does

    def write(self, page: Page) -> None:
        """Keeps one page.

        Raises:
            OSError: The folder cannot be written to, or the disk is nearly full.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        require_space(self._root)
        if page.scalars:
            self._add_to_history(page)
        for tile in page.tiles:
            _write_whole(self._root / f"step_{page.step:08d}" / f"{safe_name(tile.name)}.png", tile.png)
        if page.strip is not None:
            _write_whole(self._root / "evolution.png", png(page.strip))
        for cue, picture in page.evidence.items():
            _write_whole(self._root / f"evidence_{safe_name(cue)}.png", png(picture))
        if page.verdict is not None:
            verdict = _verdict_entry(page, page.verdict)
            _write_whole(self._root / VERDICT, json.dumps(verdict, indent=1, allow_nan=False).encode())
        if page.text is not None:
            _write_whole(self._root / "summary.md", page.text.encode("utf-8", "replace"))

    def _add_to_history(self, page: Page) -> None:
        """Appends a line, or writes the file anew: the first time, for a step out of order, after a failure."""
        path = self._root / HISTORY
        append = self._ends_whole and page.step > max(self._lines) and path.exists()
        if not self._lines:
            self._lines = {row["step"]: _line(row) for row in read_history(self._root)}
        self._lines[page.step] = _line(_row(page))
        self._ends_whole = False
        if append:
            with path.open("ab") as file:
                file.write(self._lines[page.step].encode())
        else:
            _write_whole(path, "".join(line for _, line in sorted(self._lines.items())).encode())
        self._ends_whole = True


def read_history(folder: Path | str) -> list[dict[str, Any]]:
    """The rows of a folder's ``history.jsonl``: step, epoch and the scalars, None where undefined.

    A line that a killed run left unfinished is skipped. A folder without a history has no rows.

    Raises:
        ValueError: The file is too large to be a series of checks.
    """
    path = Path(folder) / HISTORY
    if not path.is_file():
        return []
    if path.stat().st_size > MOST_BYTES_OF_HISTORY:
        raise ValueError(f"'{path}' has more than {MOST_BYTES_OF_HISTORY // 10**6} MB, so no run wrote it")
    return [
        row
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if (row := _parsed(line)) is not None
    ]


def safe_name(name: str) -> str:
    """A file name without its ending that stays in its folder and on every file system; different names stay different.

    Letters of every script are kept. The digest tells names apart that a file system takes for the same, because of
    capitals or of how accents are stored; with it no name is a reserved one.

    >>> safe_name("../../etc/passwd"), safe_name("狗")
    ('etc_passwd-3754d6cb3a', '狗-cecd675a4c')
    """
    letters = words(name).encode(sys.getfilesystemencoding(), "ignore")[:MOST_BYTES_OF_NAME]
    readable = letters.decode(sys.getfilesystemencoding(), "ignore").lstrip("-_")[:40]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{readable or 'probe'}-{digest}"


def require_space(folder: Path) -> None:
    """Raises an OSError while there is still room: a full disk would fail the training's own writes as well."""
    if folder.exists() and shutil.disk_usage(folder).free < MIN_FREE:  # a remote folder does not exist here
        raise OSError(f"less than {MIN_FREE // 10**6} MB free at {folder}, no room for pictures")


def require_room(folder: Path, n_bytes: int, *, behind: int = 0) -> None:
    """Raises an OSError if ``n_bytes`` cannot be written behind the first ``behind`` bytes of a file in ``folder``.

    Free space does not tell: a quota, or a limit on the size of files, may be nearer. So room is taken and given back,
    where the system can do so without writing.
    """
    if not hasattr(os, "posix_fallocate") or not folder.exists():  # macOS, Windows; a remote folder
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), behind, n_bytes)
        except OSError as error:
            if error.errno in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT):  # others: this file system cannot tell
                raise


def _row(page: Page) -> dict[str, Any]:
    """The check's line; JSON knows no NaN and no infinity."""
    scalars = {key: float(value) if math.isfinite(value) else None for key, value in page.scalars.items()}
    return {"step": page.step, "epoch": page.epoch, **scalars}


def _verdict_entry(page: Page, verdict: Verdict) -> dict[str, Any]:
    """A verdict with what it is worth: of which run and probe, made when and with what, whether the fit had ended."""
    return {
        "final": page.is_final,
        "run": page.run,
        "probe": page.probe,
        "written": time.time(),
        "versions": {"lightning_cam": _installed_version(), "torch": str(torch.__version__)},
        "step": page.step,
        "epoch": page.epoch,
        **verdict.as_json(),
        "tested": list(verdict.tested),
        "untested": list(verdict.untested),
    }


def _installed_version() -> str:
    try:
        return importlib.metadata.version("lightning-cam")
    except importlib.metadata.PackageNotFoundError:  # run from a folder of sources
        return "unknown"


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


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _write_whole(path: Path, data: bytes) -> None:
    """Writes beside the file and then puts it in place, so that a killed run leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}{UNFINISHED}")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def folder_of_run(folder: Path, run: str) -> Path:
    """``folder``, or one beside it with a number: the one that this run has, else the next free one.

    Another run's folder is never taken, and the folder is taken at once, so that two runs which start together differ.

    Args:
        folder: Where a run's pictures go.
        run: Identifier of the run, the same after it was resumed.
    """
    owned = [path for path in sorted(folder.parent.glob(f"{glob.escape(folder.name)}*")) if _owner(path) == run]
    if owned:
        return owned[0]
    for number in itertools.count(1):
        free = folder if number == 1 else folder.with_name(f"{folder.name}_{number}")
        try:
            free.mkdir(parents=True)
        except FileExistsError:
            continue
        break
    _write_whole(free / RUN, json.dumps({"run": run}).encode())
    return free


def _owner(folder: Path) -> str | None:
    """The run that a folder belongs to; None where nothing says so."""
    path = folder / RUN
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES_OF_RUN:
            return None
        run = json.loads(path.read_bytes())["run"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return run if isinstance(run, str) else None
