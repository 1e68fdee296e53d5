"""The pictures of one fit, drawn and kept by another thread."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial

from ..audit import AuditResult
from ..examination import Evidence, Learning, Reading, Report
from ..probe import Probe
from ..render import ENDS, Picture, scale_end
from ..text import error_text, printable
from ..verdict import Verdict
from .frames import Frame, in_numbers, portraits_of, shown_probes, snapshot_of
from .map_groups import groups_figure
from .mistakes import SurestMistakes
from .page import Page, Run, Sink
from .pages import check_page, compared, facts_of, final_page
from .per_image import PerImage, glances
from .slices import films_of, pictured
from .snapshot import MOST_PROBES, Portraits
from .units import UnitFrame, units_over_time, with_figures
from .worker import MOST_REMEMBERED_FAILURES, Worker

NO_RUN = Run()
MAX_PENDING = 16  # checks whose pictures may wait; each holds maps of some hundred numbers, not pictures yet
MAX_FRAMES = 64  # checks kept for the evolution strip; beyond that every second one is left out


class Album:
    """A page for each check, and a last one with the evolution strip.

    Args:
        probe: The images of the pictures.
        name: First part of every key.
        sinks: Receivers of the pages.
        n_images: How many probe images get a picture series.
        run: Which fit they are of.
        audit: Of the training data.
    """

    def __init__(
        self,
        probe: Probe,
        name: str,
        sinks: Sequence[Sink],
        n_images: int,
        *,
        run: Run = NO_RUN,
        audit: AuditResult | None = None,
    ) -> None:
        self._audit = audit
        self._probe = pictured(probe)
        self._names = dict(zip(probe.names, self._probe.names, strict=True))  # of volumes, with the slice
        self._fingerprint = probe.fingerprint
        self._name = name
        self._run = run
        self._shown = shown_probes(probe.targets, n_images)
        # Numbers are cheap: whoever wants pictures at all gets a page of as many probes as it has room for.
        self._portrayed = shown_probes(probe.targets, max(n_images, MOST_PROBES) if n_images else 0)
        self._frames: list[Frame] = []
        self._units: list[UnitFrame] = []
        self._last: Report | None = None  # whose maps are grouped at the end
        self._swapped: Report | None = None  # the last one of a check that swapped cues: the verdict rests on it
        self._end = 0.0  # of the colours so far; it never falls, so that few pictures of a run have another scale
        self._portraits: Portraits | None = None
        self._undrawn: deque[str] = deque(maxlen=MOST_REMEMBERED_FAILURES)  # pages of which the verdict alone is kept
        self._worker = Worker(sinks, max_pending=MAX_PENDING)

    def add(
        self,
        report: Report,
        reading: Reading,
        verdict: Verdict | None,
        *,
        alert: bool,
        is_final: bool = False,
        drawn: bool = False,
        learning: Learning | None = None,
    ) -> None:
        """Queues the page of a check and never waits. One with an alert is not dropped: it may be the last.

        ``is_final`` says that the alert may end the fit; ``drawn`` leaves the pictures out, since they are there;
        ``learning`` is drawn beside them.
        """
        frame = Frame.of(report, reading, self._shown[:0] if drawn else self._shown)
        if len(self._frames) == MAX_FRAMES:
            del self._frames[1::2]
        self._frames += [] if drawn else [frame]
        self._last, self._swapped = report, report if report.effects else self._swapped
        numbers = in_numbers(report, reading, frame.shown if drawn else self._portrayed)
        page = partial(self._check_page, frame, numbers, verdict, alert=alert, so_far=tuple(self._frames))
        if learning is not None:
            page = partial(with_figures, page, learning)
            if len(self._units) == MAX_FRAMES:
                del self._units[1::2]
            self._units.append(UnitFrame.of(reading.step, learning))
        bare = Page(self._name, reading.step, reading.epoch, reading.scalars, verdict=verdict, alert=alert)
        if not self._worker.submit(self._signed(page, bare, is_final=is_final), wait=alert):
            line = replace(bare, verdict=None, run=self._run)
            self._worker.submit(
                lambda: line, wait=True
            )  # a line of the series costs nothing, and is kept of each check

    def _check_page(
        self, frame: Frame, numbers: Frame, verdict: Verdict | None, *, alert: bool, so_far: Sequence[Frame]
    ) -> Page:
        self._end = max(self._end, scale_end(each.maps for each in so_far))
        page = check_page(self._probe, frame, self._name, verdict, alert=alert, end=self._end)
        if not len(numbers.shown):
            return page
        self._portraits = self._portraits or portraits_of(self._probe, numbers)  # once, by the thread that draws
        return replace(page, snapshot=snapshot_of(numbers, self._portraits))

    def finish(
        self,
        history: Sequence[Reading],
        verdict: Verdict | None,
        evidence: Sequence[Evidence],
        mistakes: SurestMistakes | None = None,
        *,
        alert: bool,
        reviewable: Probe | None = None,
        untrusted: Sequence[str] | None = None,
    ) -> None:
        """Queues the last page, which is never dropped.

        ``reviewable`` is a probe to keep for a review of its masks. ``untrusted`` are as on a `Page`, None if unknown.
        """
        frames, units, report = tuple(self._frames), tuple(self._units), self._last

        def last() -> Page:
            page = final_page(self._probe, frames, history, self._name, verdict, evidence, alert=alert)
            is_against = bool(frames) and frames[-1].is_against
            shown = None if mistakes is None else mistakes.shown(is_against=is_against)
            figures = self._last_figures(units, report)
            films = {} if report is None else films_of(report, self._shown, end=self._end or ENDS[-1])
            names = tuple(printable(self._names.get(name, name)) for name in untrusted or ())
            facts = (
                {} if report is None else {"random weights": compared(None if untrusted is None else len(untrusted))}
            )
            page = replace(page, figures=figures, films=films, untrusted=names, facts=facts)
            return replace(page, mistakes=shown, reviewable=reviewable)

        step, epoch = history[-1].step, history[-1].epoch
        bare = Page(self._name, step, epoch, verdict=verdict, alert=alert)
        self._worker.submit(self._signed(last, bare, is_final=True), wait=True)

    def _last_figures(self, units: Sequence[UnitFrame], report: Report | None) -> dict[str, Picture]:
        """Where nobody looks at pictures, none."""
        figures = {"features_over_time": units_over_time(units)} if units else {}
        groups = groups_figure(self._probe, report) if report is not None and len(self._shown) else None
        return figures if groups is None else {**figures, "map_groups": groups}

    def say_off(self, page: Page) -> None:
        """Queues the page that says why nothing is looked at any more. It is never dropped."""
        self._worker.submit(lambda: page, wait=True)

    def _signed(self, draw: Callable[[], Page], bare: Page, *, is_final: bool) -> Callable[[], Page]:
        """The page with the run and the probe that it is about, and what the verdict on it rests on.

        Where it cannot be drawn, ``bare`` is kept in its place: the verdict does not need a picture.
        """
        report = self._swapped

        def signed() -> Page:
            images = None if report is None else PerImage.of(report, self._probe, self._glances)
            page = replace(self._drawn(draw, bare), run=self._run, probe=self._fingerprint, audit=self._audit)
            return replace(
                page, is_final=is_final, images=images, facts={**facts_of(self._probe, report), **page.facts}
            )

        return signed

    def _drawn(self, draw: Callable[[], Page], bare: Page) -> Page:
        try:
            return draw()
        except Exception as error:
            self._undrawn.append(f"drawing: {error_text(error)}")
            return bare

    @cached_property
    def _glances(self) -> tuple[str, ...]:
        """Computed once, by the thread that draws."""
        return glances(self._probe.images)

    def close(self, timeout: float) -> list[str]:
        """Waits for the pages that are still to be drawn, and returns in words which pictures were lost."""
        self._worker.close(timeout)
        dropped, failures = self._worker.dropped, dict.fromkeys([*self._undrawn, *self._worker.failures])
        slow = [f"pictures of {dropped} checks were dropped, drawing was too slow"] if dropped else []
        return [*slow, *(f"pictures could not be kept ({failure!r})" for failure in failures)]
