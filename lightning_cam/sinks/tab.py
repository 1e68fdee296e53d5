"""A run as series of events for TensorBoard's tab *Attention*: the same as `report.html`, in pieces."""

from collections.abc import Iterator, Mapping

from ..front import embedded
from ..tensorboard_tab.events import CHECK, MOST_EVENTS, PORTRAITS, WORDS
from .page import Page
from .report_page import RunPage


class RunSeries:
    """What a page adds to the series of its run."""

    def __init__(self) -> None:
        self._run = RunPage()
        self._portraits = self._run.portraits
        self._n_checks = 0

    def of(self, page: Page, versions: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """The series that have an event at this page, each with its text. TensorBoard keeps one event for a step."""
        self._run.add(page)
        if self._run.portraits != self._portraits:
            self._portraits = self._run.portraits
            yield PORTRAITS, self._portraits
        if page.step in self._run.checks and (page.snapshot is not None or page.scalars or page.untrusted):
            self._n_checks += 1
            if is_kept(self._n_checks - 1, MOST_EVENTS):
                yield CHECK, self._run.checks[page.step]
        if page.is_final or page.alert or is_kept(self._n_checks, MOST_EVENTS):
            words = self._run.words_after(page, versions)  # its figures once: the file only grows
            yield WORDS, embedded(words if page.is_final else {**words, "figures": []})


def is_kept(n: int, n_full: int) -> bool:
    """Whether the ``n``-th check is kept in a file that only grows: up to ``n_full`` all are, then ever fewer.

    >>> [n for n in range(20) if is_kept(n, 4)]
    [0, 1, 2, 3, 4, 6, 8, 12, 16]
    """
    return n % (1 << (n // n_full).bit_length()) == 0
