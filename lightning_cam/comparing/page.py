"""A comparison as one page that asks for nothing: the sentence, the table, and the maps of all runs on one slider."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import front
from ..cues import cue_named
from ..intervention import MARGIN, Reliance
from ..sinks.folder import MOST_BYTES_OF_REPORT, REPORT
from ..sinks.page_words import WORST, place
from ..sinks.places import write_whole
from ..sinks.report_page import RunPage, read_back
from ..sinks.wording import capital, phrases_of
from ..text import printable
from .runs import ComparedRun
from .wording import cell, difference, meaning

if TYPE_CHECKING:
    from .comparison import RunComparison

_MARK = '<meta name="generator" content="lightning-cam compare">'  # of the template: no other file has it
_MOST_OF_HEAD = 10_000  # bytes of a page before which the mark stands


def html(comparison: "RunComparison") -> str:
    """The whole page."""
    pages = [_page_of(run) for run in comparison.runs]
    entries = zip(comparison.runs, pages, strict=True)
    phrases = phrases_of(comparison.runs[0].verdict)
    return front.comparison(
        {
            "sentences": list(map(printable, comparison.sentences)),
            "runs": [{"letter": run.letter, "name": run.name, "standing": run.standing} for run in comparison.runs],
            "rows": [_row(comparison, what) for what in comparison.rows],
            "remarks": list(map(printable, (*comparison.remarks, comparison.certainty))),
            "margin": MARGIN,
            "head": capital(phrases.head),
            "figure": phrases.figure,
            "without": [run.letter for run, page in zip(comparison.runs, pages, strict=True) if not page.checks],
            "maps": f"[{','.join(_maps(run, page) for run, page in entries if page.checks)}]",
        }
    )


def write(comparison: "RunComparison", path: Path) -> None:
    """Writes the page, whole or not at all.

    Raises:
        ValueError: There is a file that is no page of a comparison.
    """
    if os.path.lexists(path) and not path.is_dir() and _MARK not in _beginning_of(path):
        raise ValueError(
            f"'{path}' is there and is no page of lightning-cam compare; move it away or give another name"
        )
    write_whole(path, html(comparison).encode("utf-8", "replace"))


def _beginning_of(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST_OF_HEAD).decode("utf-8", "replace")


def _page_of(run: ComparedRun) -> RunPage:
    """What the run's own page has on its slider; nothing where that cannot be read."""
    path = run.kept.file.parent / REPORT
    if not path.is_file() or path.stat().st_size > MOST_BYTES_OF_REPORT:
        return RunPage()
    return read_back(path.read_text(encoding="utf-8", errors="replace"))


def _maps(run: ComparedRun, page: RunPage) -> str:
    """JSON for the script. The lines of a page are JSON already."""
    checks = ",".join(line for _, line in sorted(page.checks.items()))
    title = front.embedded(f"{run.letter}: {run.name}")
    return f'{{"title":{title},"portraits":{page.portraits},"checks":[{checks}]}}'


def _row(comparison: "RunComparison", what: str) -> dict[str, Any]:
    """A line of the table, with the places of its picture in per cent of the width."""
    changes = [changes[what] for changes in comparison.changes]
    reliances = [run.measured.get(what) for run in comparison.runs]
    return {
        "name": printable(what),
        "words": printable(cue_named(what).words),
        "is_found": any(what in run.found for run in comparison.runs),
        "intervals": [None if each is None else _interval(each) for each in reliances] if any(reliances) else [],
        "before": cell(changes[0], after=False),
        "others": [
            {"after": cell(each, after=True), "difference": difference(each), "meaning": meaning(each)}
            for each in changes
        ],
        "zero": place(0.0),
        "margin": place(MARGIN),
    }


def _interval(reliance: Reliance) -> dict[str, float]:
    ends = {end: place(getattr(reliance, end)) for end in ("low", "mean", "high")}
    return {**ends, "goes_on": reliance.low < WORST}
