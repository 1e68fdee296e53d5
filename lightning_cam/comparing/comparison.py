"""The comparison of runs with the first one: what changed, in records and in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ..text import percent, printable
from . import page
from .changes import LEVEL, Change, changes_from
from .runs import ComparedRun, read_runs
from .wording import sentence, table


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Runs beside the first one, the baseline.

    Attributes:
        runs: The baseline, then the others.
        changes: Of each other run, by cue and for the accuracy on the probe. Their intervals hold together.
        remarks: What a reader has to know of runs and probes, a sentence each.
    """

    runs: tuple[ComparedRun, ...]
    changes: tuple[Mapping[str, Change], ...]
    remarks: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """Whether the remedy helped, for each run but the first."""
        baseline, *others = self.runs
        return tuple(sentence(baseline, run, changes) for run, changes in zip(others, self.changes, strict=True))

    @property
    def rows(self) -> tuple[str, ...]:
        """What is compared: every cue that a run has measured, and the accuracy last."""
        return tuple(dict.fromkeys([*(what for each in self.changes for what in list(each)[:-1]), *self.changes[0]]))

    @property
    def certainty(self) -> str:
        """What the intervals are worth."""
        return (
            f"all intervals together hold with {percent(LEVEL)} certainty, over pictures; another training with the "
            "same settings would differ as well"
        )

    def to_html(self, path: str | PathLike[str]) -> None:
        """Writes the comparison as one page that opens from disk and asks for nothing.

        Raises:
            ValueError: There is a file, and it is no page of an earlier comparison.
        """
        page.write(self, Path(path))

    def __str__(self) -> str:
        width = max(len(run.name) for run in self.runs)
        runs = [f"{run.letter}  {run.name:<{width}}  {run.standing}" for run in self.runs]
        lines = [
            *self.sentences,
            "",
            *runs,
            "",
            *table(self.runs, self.changes, self.rows),
            "",
            *self.remarks,
            self.certainty,
        ]
        return "\n".join(map(printable, lines))


def compare(baseline: str | PathLike[str], *others: str | PathLike[str]) -> RunComparison:
    """Compares what trainings left: how much less or more each relies on every cue than the first one does.

    Images that both runs looked at are compared in pairs. ``print`` the result, or write it with `to_html`.

    Args:
        baseline: The folder of a run, or one above it; its newest verdict counts, as in ``lightning-cam check``.
        others: The same of the runs to compare with it.

    Raises:
        ContradictoryError: A verdict contradicts itself.
        ValueError: A folder has no verdict that can be read.
    """
    runs = read_runs([Path(baseline), *map(Path, others)])
    changes, remarks = changes_from(runs[0], runs[1:])
    standing = [remark for run in runs for remark in run.remarks]
    return RunComparison(tuple(runs), tuple(changes), (*standing, *remarks))
