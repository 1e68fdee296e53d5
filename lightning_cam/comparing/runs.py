"""A run as a comparison needs it: its verdict, its effects image by image, its accuracy, and a letter to call it by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .. import statistics
from ..intervention import Reliance
from ..sinks.consistency import ContradictoryError
from ..sinks.history import read_history
from ..sinks.per_image import PerImage, looks_the_same
from ..sinks.reading_back import Kept, Unjudged, newest
from ..text import printable
from ..verdict import INCONCLUSIVE, WARN, Verdict

MOST_RUNS = 26  # one letter each
_UNKNOWN_N = 64  # images, where a file does not say it: of a probe that nobody sized
_ROUNDING = 1e-3  # effects are kept with four decimals


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One run of a comparison.

    Attributes:
        letter: "A" for the baseline, then "B" and so on.
        name: The part of the path that tells it from the other runs.
        kept: Its newest verdict.
        images: Effects of single images; None where there are none that can be read.
        doubt: Why there are none, in a sentence; empty where there are.
        accuracy: Share of the probe that it was right on; NaN where it is not known.
        learned: Whether it tells the classes apart better than by chance; None where it is not known.
    """

    letter: str
    name: str
    kept: Kept
    images: PerImage | None
    doubt: str
    accuracy: float
    learned: bool | None

    @property
    def verdict(self) -> Verdict:
        """What its file says."""
        return self.kept.verdict

    @property
    def standing(self) -> str:
        """The outcome and the step at which it was reached."""
        return f"{self.verdict.outcome} at step {self.kept.step}"

    @property
    def remarks(self) -> list[str]:
        """Why its figures may be worth less, a sentence each."""
        interim = f"the fit of {self.letter} had not ended: these are its figures at step {self.kept.step}"
        old = f"the file of {self.letter} does not say whether the fit had ended, since an earlier version wrote it"
        why, _, _ = self.verdict.reason.partition("; ")  # the rest is on the run's own page
        open_ = f"the verdict of {self.letter} is {self.verdict.outcome}: {why}"
        said = {True: [], False: [interim], None: [old]}[self.kept.is_final]
        return [*said, open_] if self.verdict.outcome in (WARN, INCONCLUSIVE) else said

    @property
    def found(self) -> tuple[str, ...]:
        """Cues that its verdict found, strongest first."""
        return tuple(finding.cue for finding in self.verdict.findings)

    @property
    def measured(self) -> dict[str, Reliance]:
        """Reliances with an interval, by cue."""
        return {reliance.cue: reliance for reliance in self.verdict.measured if not math.isnan(reliance.low)}

    def ends(self, reliance: Reliance) -> tuple[float, float, float]:
        """Mean, low and high of its 95 % interval, which is no narrower than the number of images allows."""
        images = self.images
        n = _UNKNOWN_N if images is None else statistics.effective_n(images.effects[reliance.cue], images.targets)
        interval = (reliance.low, reliance.high)
        return reliance.mean, *statistics.with_unseen(reliance.mean, interval, n, level=0.95)


def read_runs(folders: Sequence[Path]) -> list[ComparedRun]:
    """The newest verdicts at or below the folders.

    Raises:
        ContradictoryError: A verdict contradicts itself.
        ValueError: A folder has no verdict that can be read, or there are too few or too many.
    """
    if not 2 <= len(folders) <= MOST_RUNS:
        raise ValueError(f"2 to {MOST_RUNS} runs can be compared, got {len(folders)}; the first is the baseline")
    runs = [_run(chr(ord("A") + number), _judged(folder)) for number, folder in enumerate(folders)]
    return [replace(run, name=name) for run, name in zip(runs, _names([run.kept.file for run in runs]), strict=True)]


def _judged(folder: Path) -> Kept:
    kept = newest(folder)
    if isinstance(kept, Unjudged):
        raise ValueError(f"the newest run in '{folder}' has no verdict; lightning-cam check says why")
    return kept


def _run(letter: str, kept: Kept) -> ComparedRun:
    images, doubt = _images(letter, kept)
    if images is None:
        return ComparedRun(letter, "", kept, None, doubt, _logged_accuracy(kept.file.parent), None)
    right = images.predicted == images.targets
    accuracy = float(right.double().mean())
    return ComparedRun(letter, "", kept, images, "", accuracy, statistics.has_learned(right, images.targets))


def _images(letter: str, kept: Kept) -> tuple[PerImage | None, str]:
    """None with a sentence where the file has none."""
    if kept.images is None:
        return None, f"the file of {letter} keeps no effects of single images, as an earlier version wrote it"
    try:
        images = PerImage.from_json(kept.images)
    except ValueError as error:
        return None, f"the effects of single images of {letter} cannot be read ({error})"
    for reliance in kept.verdict.measured:
        _require_agreement(kept, images, reliance)
    return images, ""


def _require_agreement(kept: Kept, images: PerImage, reliance: Reliance) -> None:
    values = images.effects.get(reliance.cue)
    mean = math.nan if values is None else statistics.stratified_mean(values, images.targets)
    if abs(mean - reliance.mean) > _ROUNDING or math.isnan(mean) != math.isnan(reliance.mean):
        raise ContradictoryError(
            f"'{kept.file}' contradicts itself: the reliance on {reliance.cue} is {reliance.mean:.4f}, but the mean of "
            f"its images is {mean:.4f}. Train again, or restore the file"
        )


def _logged_accuracy(folder: Path) -> float:
    """Of the last check, by what the series of scalars says."""
    rows = [row for row in read_history(folder) for key in row if key.endswith("probe_accuracy")]
    values = [value for key, value in (rows[-1] if rows else {}).items() if key.endswith("probe_accuracy")]
    return float(values[0]) if values and values[0] is not None else math.nan


def _names(files: Sequence[Path]) -> list[str]:
    """Of every path what tells it from the others: pages are shown to people whom the rest does not concern.

    >>> _names([Path("/home/me/runs/biased/v_0/verdict.json"), Path("/home/me/runs/tried/v_0/verdict.json")])
    ['biased', 'tried']
    """
    paths = [file.absolute().parts for file in files]
    while all(len(path) > 1 for path in paths) and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]
    while all(len(path) > 1 for path in paths) and len({path[-1] for path in paths}) == 1:
        paths = [path[:-1] for path in paths]
    return [printable("/".join(path)) for path in paths]


def shared_rows(one: PerImage, other: PerImage) -> tuple[Tensor, Tensor]:
    """Rows of the pictures that both have, in pairs: those of the same name and class that look the same."""
    theirs = {name: row for row, name in enumerate(other.names)}
    pairs = [(row, theirs[name]) for row, name in enumerate(one.names) if name in theirs]
    kept = [pair for pair in pairs if _is_same(one, other, *pair)]
    rows = torch.tensor(kept, dtype=torch.long).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _is_same(one: PerImage, other: PerImage, row: int, other_row: int) -> bool:
    classes = one.classes[int(one.targets[row])], other.classes[int(other.targets[other_row])]
    return classes[0] == classes[1] and looks_the_same(one.glances[row], other.glances[other_row])
