"""The pictures of one fit, drawn and kept on another thread."""

from collections.abc import Sequence
from functools import partial

from ..examination import Evidence, Reading, Report
from ..probe import Probe
from ..verdict import Verdict
from .page import Sink
from .pages import Frame, check_page, final_page, shown_probes
from .worker import Worker

MAX_PENDING = 16  # checks whose pictures may wait; they hold grids, not pictures, so this is small
MAX_FRAMES = 64  # kept for the evolution strip; beyond that every second one goes


class Album:
    """A page for each check, and a last one with the evolution strip.

    Args:
        probe: Whose pictures.
        name: First part of every key.
        sinks: Where pages go.
        n_images: How many probe images get a picture series.
    """

    def __init__(self, probe: Probe, name: str, sinks: Sequence[Sink], n_images: int) -> None:
        self._probe = probe
        self._name = name
        self._shown = shown_probes(probe.targets, n_images)
        self._frames: list[Frame] = []
        self._worker = Worker(sinks, max_pending=MAX_PENDING)

    def add(
        self, report: Report, reading: Reading, verdict: Verdict | None, *, alert: bool, drawn: bool = False
    ) -> None:
        """Hands over what a check saw, without the pictures if they are drawn already; never waits."""
        frame = Frame.of(report, reading, self._shown[:0] if drawn else self._shown)
        if len(self._frames) == MAX_FRAMES:
            del self._frames[1::2]
        self._frames += [] if drawn else [frame]
        self._worker.submit(partial(check_page, self._probe, frame, self._name, verdict, alert=alert))

    def finish(
        self, history: Sequence[Reading], verdict: Verdict | None, evidence: Sequence[Evidence], *, alert: bool
    ) -> None:
        """Hands over the last page."""
        frames = tuple(self._frames)
        last = partial(final_page, self._probe, frames, history, self._name, verdict, evidence, alert=alert)
        self._worker.submit(last, wait=True)

    def close(self, timeout: float) -> list[str]:
        """Waits for what is still to be drawn; what was lost, in words."""
        self._worker.close(timeout)
        dropped, failures = self._worker.dropped, dict.fromkeys(self._worker.failures)
        slow = [f"pictures of {dropped} checks were dropped, drawing was too slow"] if dropped else []
        return [*slow, *(f"pictures could not be kept ({failure!r})" for failure in failures)]
