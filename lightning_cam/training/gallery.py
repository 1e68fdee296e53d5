"""The pictures of one fit: a page for each check, a last page, and how a person gets to see them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..audit import AuditResult
from ..examination import Evidence, Learning, Reading, Report
from ..probe import Probe
from ..sinks.album import Album
from ..sinks.folder import REPORT, FolderSink
from ..sinks.mistakes import SurestMistakes
from ..sinks.page import Page, Run, Sink
from ..sinks.pages import last_words
from ..verdict import Verdict, located
from .failures import Failures, warn
from .loggers import default_sinks, folder_of


class Gallery:
    """The pictures of one fit. In a process that opens none, every method does nothing.

    Args:
        name: First part of every key.
        sinks: As in `CAMCallback`; None means the trainer's loggers and a folder.
        n_images: How many probe images get a series of pictures; 0 keeps scalars and the verdict alone.
        failures: Counts what cannot be opened or drawn.
        audit: Of the training data; the page of the run shows what it found.
    """

    def __init__(
        self,
        name: str,
        sinks: Sequence[Sink] | None,
        n_images: int,
        failures: Failures,
        audit: AuditResult | None = None,
    ) -> None:
        self._audit = audit
        self._name = name
        self._sinks = sinks
        self._n_images = n_images
        self._failures = failures
        self._album: Album | None = None
        self._run = Run()
        self._kept_in: Path | None = None
        self._open_sinks: list[Sink] = []
        self._openings: list[str] = []  # commands and addresses that show a person the pictures

    def __getstate__(self) -> dict[str, Any]:
        """All but the thread that draws: it stays with this fit, and a copy of the callback opens its own."""
        return {**vars(self), "_album": None, "_open_sinks": []}

    @property
    def is_open(self) -> bool:
        """Whether this process keeps pictures."""
        return self._album is not None

    @property
    def kept_in(self) -> Path | None:
        """The folder of the run; None where no sink keeps files."""
        return self._kept_in

    def open(self, trainer: Any, probe: Probe, *, run: Run) -> None:
        """Opens the sinks. In the first process only: the others have no logger to write to."""
        folder = self._folder if self._sinks is None else None
        found, openings = default_sinks(trainer, folder, self._failures, run=run)
        self.open_with(probe, run, found if self._sinks is None else self._sinks, openings)

    def open_with(self, probe: Probe, run: Run, sinks: Sequence[Sink], openings: Sequence[str]) -> None:
        """As `open`, with sinks at hand. ``openings`` are commands and addresses that show a person the pictures."""
        self._run, self._openings = run, list(openings)
        self._open_sinks = list(sinks)
        self._kept_in = next((sink.path for sink in sinks if isinstance(sink, FolderSink)), None)
        self._album = Album(probe, self._name, sinks, self._n_images, run=run, audit=self._audit)

    def located(self, verdict: Verdict | None) -> Verdict | None:
        """The verdict with the folder of the run where it names a command for that."""
        return verdict if verdict is None or self._kept_in is None else located(verdict, self._kept_in)

    @property
    def _folder(self) -> str:
        return f"{self._name}_report"

    def say_off(self, reason: str) -> None:
        """Keeps why nothing is looked at any more; of a fit whose gallery is open."""
        if self._album is not None:
            self._album.say_off(self._page_off(reason, self._run))

    def say_never_on(self, trainer: Any, reason: str, *, run: Run) -> None:
        """Keeps why nothing is looked at in this fit. `lightning-cam check` finds the reason in the run's folder."""
        sinks = self._sinks
        if sinks is None:
            sinks = [FolderSink(place) for place in folder_of(trainer, self._folder, self._failures, run=run)]
        for sink in sinks:
            with self._failures.surviving("keeping why nothing is looked at"):
                sink.write(self._page_off(reason, run))

    def _page_off(self, reason: str, run: Run) -> Page:
        return Page(self._name, run.first_step, 0, off=reason, run=run)

    def add(
        self,
        report: Report | None,
        reading: Reading,
        verdict: Verdict | None,
        *,
        alert: bool,
        is_final: bool,
        drawn: bool,
        learning: Learning | None = None,
    ) -> None:
        """Queues the page of a check. ``drawn`` says that an earlier check of the same weights has the pictures."""
        with self._failures.surviving("drawing"):
            if self._album is not None and report is not None:
                self._album.add(
                    report, reading, verdict, alert=alert, is_final=is_final, drawn=drawn, learning=learning
                )

    def finish(
        self,
        history: Sequence[Reading],
        verdict: Verdict | None,
        evidence: Sequence[Evidence],
        mistakes: SurestMistakes | None,
        *,
        alert: bool,
        reviewable: Probe | None,
        untrusted: Sequence[str] | None = None,
    ) -> None:
        """Queues the last page."""
        if self._album is not None:
            self._album.finish(
                history, verdict, evidence, mistakes, alert=alert, reviewable=reviewable, untrusted=untrusted
            )

    def last_words(self, probe: Probe, report: Report, n_checks: int, verdict: Verdict | None) -> str:
        """What the terminal shows at the end of the fit: the verdict, and how to see the pictures."""
        return last_words(probe, report, n_checks, self._openings_that_are(), verdict)

    def _openings_that_are(self) -> list[str]:
        """Without the page of a folder, where it could not be written; with another folder, if the run had to move."""
        reports = [sink.report_of(self._run) for sink in self._open_sinks if isinstance(sink, FolderSink)]
        written = [str(report) for report in reports if report is not None]
        missing = [] if written or not reports else [f"no {REPORT} of the end could be written to {self._kept_in}"]
        ways = [each for each in self._openings if not each.endswith(REPORT)]
        return [*written, *missing, *ways] if len(ways) < len(self._openings) else ways

    def close(self, timeout: float = 60.0) -> None:
        """Waits up to ``timeout`` seconds for the pictures that are still to be drawn. Safe to call twice."""
        album, self._album = self._album, None
        for loss in album.close(timeout) if album is not None else ():
            warn(loss)
