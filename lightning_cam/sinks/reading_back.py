"""What a run left in its folder, read back for a shell: the verdict, the scalars, where the pictures are."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from ..cues import Remedy
from ..intervention import Reliance
from ..text import printable
from ..verdict import FAIL, INCONCLUSIVE, PASS, WARN, Finding, Verdict
from .folder import HISTORY, VERDICT, read_history
from .wording import lines

EXIT_CODES = {PASS: 0, FAIL: 1, WARN: 3, INCONCLUSIVE: 4}
PICTURES = ("evolution.png", "evidence_*.png", "step_*", "summary.md")

Record = TypeVar("Record", Finding, Reliance, Remedy, Verdict)


@dataclass(frozen=True)
class Kept:
    """The verdict of a run, read back.

    Attributes:
        file: Where it was read.
        n_files: Verdicts that there were to choose from.
        verdict: What it says.
        step: When it was made.
    """

    file: Path
    n_files: int
    verdict: Verdict
    step: int


def newest(folder: Path) -> Kept:
    """The verdict that was written last at or below ``folder``.

    Raises:
        ValueError: There is none, or it cannot be read.
    """
    files = (path for path in folder.rglob(VERDICT) if path.is_file())
    verdicts = sorted(files, key=lambda path: (path.stat().st_mtime_ns, path))
    if not verdicts:
        what = f"no {VERDICT} at or below" if folder.is_dir() else "there is no folder"
        raise ValueError(f"{what} '{folder}'; give the folder of a run that was trained with CAMCallback")
    try:
        entry = json.loads(verdicts[-1].read_bytes())
        return Kept(verdicts[-1], len(verdicts), _verdict(entry), int(entry["step"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"'{verdicts[-1]}' is no verdict that can be read ({type(error).__name__}: {error})"
        ) from error


def verdict_lines(kept: Kept) -> list[str]:
    """The verdict as text, and where it comes from."""
    others = f", the newest of {kept.n_files}" if kept.n_files > 1 else ""
    return [*lines(kept.verdict), f"from {printable(kept.file)} (step {kept.step}{others})"]


def report_lines(kept: Kept) -> list[str]:
    """The verdict, the scalars before and after the training, and the pictures."""
    folder = kept.file.parent
    return [*verdict_lines(kept), "", *_scalar_lines(read_history(folder)), "", *_picture_lines(folder)]


def _scalar_lines(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every scalar at the first and at the last check, as a table."""
    ends = [*history[:1], *history[1:][-1:]]
    keys = list(dict.fromkeys(key for row in reversed(ends) for key in row if key not in ("step", "epoch")))
    if not keys:
        return [f"no scalars in {HISTORY}"]
    names = [printable(key) for key in keys]
    width = max(map(len, names))
    head = " " * width + "".join(f"{'step ' + str(row['step']):>14}" for row in ends)
    cells = ["".join(f"{_cell(row.get(key)):>14}" for row in ends) for key in keys]
    return [head, *(f"{name:<{width}}{cell}" for name, cell in zip(names, cells, strict=True))]


def _picture_lines(folder: Path) -> list[str]:
    """The pictures that there are, a line for each kind."""
    kinds = [sorted(path.name for path in folder.glob(kind)) for kind in PICTURES]
    names = [printable(name) for files in kinds for name in _few(files)]
    return [f"in {printable(folder)}:", *(f"  {name}" for name in names or ["no pictures"])]


def _few(names: Sequence[str]) -> Sequence[str]:
    return names if len(names) < 4 else [f"{names[0]} to {names[-1]}, {len(names)} in all"]


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else "-"


def _verdict(entry: Mapping[str, Any]) -> Verdict:
    if entry["outcome"] not in EXIT_CODES:
        raise ValueError(f"the outcome is {entry['outcome']!r}, not one of {', '.join(EXIT_CODES)}")
    measured = tuple(_record(Reliance, reliance) for reliance in entry["measured"])
    return _record(Verdict, entry, findings=tuple(map(_finding, entry["findings"])), measured=measured)


def _finding(entry: Mapping[str, Any]) -> Finding:
    return _record(Finding, entry, classes=tuple(map(str, entry["classes"])), remedy=_record(Remedy, entry["remedy"]))


def _record(kind: type[Record], entry: Mapping[str, Any], **replacements: Any) -> Record:
    """The fields of ``entry`` that ``kind`` has; a later version may have written more."""
    values = {
        field.name: _value(field.type, entry[field.name]) for field in fields(kind) if field.name not in replacements
    }
    return kind(**values, **replacements)


def _value(kind: Any, value: Any) -> Any:
    """What JSON could not hold is NaN again."""
    if kind is float:
        return math.nan if value is None else float(value)
    if kind is str and not isinstance(value, str):
        raise TypeError(f"text was expected, got {value!r}")
    return value
