"""What a run left in its folder, read back for a shell: the verdict, the scalars, where the pictures are."""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from ..attributes import AttributeReading, Group, Loss
from ..cues import Remedy
from ..intervention import Reliance
from ..text import printable
from ..verdict import FAIL, INCONCLUSIVE, PASS, WARN, Finding, Outcome, Verdict, located
from .consistency import ContradictoryError, contradiction_in
from .history import HISTORY, read_history
from .places import PROBE, RUN, Owner, files_named, read_owner
from .verdict_file import VERDICT
from .wording import lines

EXIT_CODES = {PASS: 0, FAIL: 1, WARN: 3, INCONCLUSIVE: 4}
CONTRADICTION = 5  # exit code of a verdict that contradicts itself
MOST_BYTES = 10_000_000  # of a verdict, which has some kB, or some hundred with a thousand classes
PICTURES = ("report.html", "evolution.png", "evidence_*.png", "step_*", "summary.md")

Record = TypeVar("Record", AttributeReading, Finding, Group, Loss, Reliance, Remedy, Verdict)


@dataclass(frozen=True)
class Kept:
    """The verdict of a run, read back.

    Attributes:
        file: Where it was read.
        n_files: Verdicts that there were to choose from.
        verdict: What it says.
        step: When it was made.
        is_final: Whether the fit had ended; None where the file does not say, as an earlier version left it.
        run: Identifier of the run, empty where the file does not say.
        probe: Fingerprint of its probe, empty where the file does not say.
        images: What `PerImage.from_json` reads, unread; None where the file does not say.
    """

    file: Path
    n_files: int
    verdict: Verdict
    step: int
    is_final: bool | None
    run: str
    probe: str = ""
    images: Any = None

    @property
    def outcome(self) -> Outcome:
        """What counts: the verdict's outcome if the fit had ended, else "INCONCLUSIVE"."""
        return self.verdict.outcome if self.is_final else INCONCLUSIVE


@dataclass(frozen=True)
class Unjudged:
    """A run without a verdict, as its folder says.

    Attributes:
        file: Where it was read.
        owner: What the folder says of the run.
    """

    file: Path
    owner: Owner
    outcome: Outcome = INCONCLUSIVE


def newest(folder: Path) -> Kept | Unjudged:
    """What the last run at or below ``folder`` left, by what the files say: copies have other times.

    A run without a verdict counts as well: an older verdict is of another model.

    Raises:
        ContradictoryError: The verdict contradicts itself.
        ValueError: There is no run, or one of the verdicts cannot be read: it may be the newest.
    """
    verdicts = files_named(VERDICT, folder)
    kept = {path.parent: _dated(path, len(verdicts)) for path in verdicts}
    unjudged = {run.file.parent: (run.owner.began, run) for run in _unjudged(folder, kept)}
    if not kept and not unjudged:
        what = f"no {VERDICT} at or below" if folder.is_dir() else "there is no folder"
        raise ValueError(f"{what} '{folder}'; give the folder of a run that was trained with CAMCallback")
    runs: dict[Path, tuple[float, Kept | Unjudged]] = {**kept, **unjudged}
    _, last = max(runs.values(), key=_age)
    if isinstance(last, Kept) and (contradiction := contradiction_in(last.verdict)):
        raise ContradictoryError(f"'{last.file}' contradicts itself: {contradiction}. Train again, or restore the file")
    return last


def _age(dated: tuple[float, Kept | Unjudged]) -> tuple[float, int, Path]:
    when, run = dated
    return when, run.step if isinstance(run, Kept) else 0, run.file


def _unjudged(folder: Path, kept: Mapping[Path, tuple[float, Kept]]) -> Iterator[Unjudged]:
    """Runs without a verdict of their own: there is none in their folder, or it is of the run that they resumed."""
    for path in files_named(RUN, folder):
        owner = read_owner(path.parent)
        if owner is None or not owner.began:  # not ours, or of an earlier version, which says no time
            continue
        _, verdict = kept.get(path.parent, (0.0, None))
        if verdict is None or verdict.run in owner.earlier:
            yield Unjudged(path, owner)


def _dated(path: Path, n_files: int) -> tuple[float, Kept]:
    entry = _entry(path)
    return entry["written"], _kept(entry, path, n_files)


def _entry(path: Path) -> dict[str, Any]:
    """What a file says. It is not read where it is larger than any verdict."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"'{path}' has more than {MOST_BYTES // 10**6} MB, so it is no verdict")
    with _explained(path):
        entry = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
        written = float(entry.get("written", 0.0))  # earlier versions did not say it: their verdicts are older
        return {**entry, "step": int(entry["step"]), "written": written}


def _kept(entry: Mapping[str, Any], path: Path, n_files: int) -> Kept:
    with _explained(path):
        is_final, run, probe = entry.get("final"), entry.get("run", ""), entry.get("probe", "")
        if is_final not in (True, False, None) or not isinstance(run, str) or not isinstance(probe, str):
            raise TypeError("'final' must be true or false, 'run' and 'probe' text")
        return Kept(path, n_files, verdict_of(entry), entry["step"], is_final, run, probe, entry.get("images"))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"'{path}' is no verdict that can be read ({type(error).__name__}: {error})") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def verdict_lines(kept: Kept | Unjudged) -> list[str]:
    """The verdict as text, and where it comes from."""
    if isinstance(kept, Unjudged):
        return _unjudged_lines(kept)
    others = f", the newest of {kept.n_files}" if kept.n_files > 1 else ""
    folder = kept.file.parent
    verdict = located(kept.verdict, folder) if (folder / PROBE).is_dir() else kept.verdict
    shown = [*lines(verdict), f"from {printable(kept.file)} (step {kept.step}{others})"]
    return shown if kept.is_final else [_interim_line(kept), *shown]


def _interim_line(kept: Kept) -> str:
    """Why a verdict does not count."""
    if kept.is_final is None:
        return (
            "INCONCLUSIVE: the file does not say whether the fit had ended, since an earlier version wrote it. It says:"
        )
    run = f" of run {printable(kept.run[:12])}" if kept.run else ""
    return f"INCONCLUSIVE: the fit{run} had not ended at this verdict. Resume it, or train again. So far it is:"


def _unjudged_lines(run: Unjudged) -> list[str]:
    """Why there is no verdict. An older one, which may be there, is of another run."""
    name, since = printable(run.owner.run[:12]), time.strftime("%Y-%m-%d %H:%M", time.localtime(run.owner.began))
    if run.owner.off:
        why = f"the callback was switched off: {printable(run.owner.off)}"
    elif run.owner.ended is not None and not run.owner.earlier:  # else it may be the end of the run before
        why = "its fit ended without one, since it had no trials or no check was made with them"
    else:
        why = "its fit goes on, or was broken off before the first verdict. Wait for its end, or train again"
    return [
        f"INCONCLUSIVE: the newest run has no verdict; {why}",
        f"from {printable(run.file)} (run {name}, since {since})",
    ]


def report_lines(kept: Kept | Unjudged) -> list[str]:
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


def verdict_of(entry: Mapping[str, Any]) -> Verdict:
    """A verdict from what `Verdict.as_json` made of it."""
    if entry["outcome"] not in EXIT_CODES:
        raise ValueError(f"the outcome is {entry['outcome']!r}, not one of {', '.join(EXIT_CODES)}")
    measured = tuple(_reliance(reliance) for reliance in entry["measured"])
    why_untested = {str(cue): str(why) for cue, why in entry.get("why_untested", {}).items()}
    return _record(
        Verdict,
        entry,
        findings=tuple(map(_finding, entry["findings"])),
        measured=measured,
        why_untested=why_untested,
        expected=tuple(map(str, entry.get("expected", ()))),
        attributes=tuple(map(_attribute, entry.get("attributes", ()))),
    )


def _attribute(entry: Mapping[str, Any]) -> AttributeReading:
    loss = entry["loss"] and _record(Loss, entry["loss"], group=_record(Group, entry["loss"]["group"]))
    return _record(
        AttributeReading, entry, groups=tuple(_record(Group, group) for group in entry["groups"]), loss=loss or None
    )


def _reliance(entry: Mapping[str, Any]) -> Reliance:
    hanging = {str(name): tuple(figures) for name, figures in entry.get("hanging", {}).items()}
    unsettled = entry.get("unsettled", {})
    if isinstance(unsettled, list):  # as an earlier version wrote it, without numbers
        unsettled = dict.fromkeys(unsettled, (0, 0))
    counts = {str(name): (int(n), int(n_all)) for name, (n, n_all) in unsettled.items()}
    n, n_images = int(entry.get("n", 0)), int(entry.get("n_images", 0))
    return _record(Reliance, entry, hanging=hanging, unsettled=counts, n=n, n_images=n_images)


def _finding(entry: Mapping[str, Any]) -> Finding:
    return _record(Finding, entry, classes=tuple(map(str, entry["classes"])), remedy=_remedy(entry["remedy"]))


def _remedy(entry: Mapping[str, Any]) -> Remedy:
    other = entry.get("other")
    return _record(Remedy, entry, other=None if other is None else _record(Remedy, other, other=None))


def _record(kind: type[Record], entry: Mapping[str, Any], **replacements: Any) -> Record:
    """The fields of ``entry`` that ``kind`` has; a later version may have written more, and an earlier one fewer."""
    values = {
        field.name: _value(field.type, entry[field.name])
        for field in fields(kind)
        if field.name not in replacements and (field.name in entry or field.default is MISSING)
    }
    return kind(**values, **replacements)


def _value(kind: Any, value: Any) -> Any:
    """What JSON could not hold is NaN again."""
    if kind is float:
        return math.nan if value is None else float(value)
    if kind is str and not isinstance(value, str):
        raise TypeError(f"text was expected, got {value!r}")
    return value
