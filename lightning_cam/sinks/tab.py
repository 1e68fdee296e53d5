"""A run as series of events for TensorBoard's tab *Attention*: the same as `report.html`, in pieces."""

from collections.abc import Iterator, Mapping

from ..front import embedded
from ..tensorboard_tab.events import CHECK, PORTRAITS, WORDS
from .page import Page
from .report_page import RunPage


class RunSeries:
    """What a page adds to the series of its run."""

    def __init__(self) -> None:
        self._run = RunPage()
        self._portraits = self._run.portraits

    def of(self, page: Page, versions: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """The series that have an event at this page, each with its text. TensorBoard keeps one event for a step."""
        self._run.add(page)
        if self._run.portraits != self._portraits:
            self._portraits = self._run.portraits
            yield PORTRAITS, self._portraits
        if page.step in self._run.checks and (page.snapshot is not None or page.scalars):
            yield CHECK, self._run.checks[page.step]
        yield WORDS, embedded(self._run.words_after(page, versions))
