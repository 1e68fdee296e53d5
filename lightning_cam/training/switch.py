"""Whether a fit is still looked at. What ends the looking is said, and is kept beside the results."""

from typing import Any

from ..sinks.page import Run
from ..sinks.worker import MOST_FAILURES_IN_A_ROW
from .attempts import Failure
from .comparison import UNSEEN
from .failures import Failures, warn
from .gallery import Gallery
from .journal import Journal
from .mistakes import Mistakes
from .monitors import Monitors
from .observer import Observer
from .remarks import refusal

A_CHECK = "a check"


class Switch:
    """Of one fit. Once off it stays off.

    Attributes:
        is_off: Whether nothing is looked at any more.
    """

    def __init__(
        self,
        observer: Observer,
        gallery: Gallery,
        *,
        journal: Journal,
        mistakes: Mistakes,
        monitors: Monitors,
        failures: Failures,
    ) -> None:
        self.is_off = False
        self._observer = observer
        self._gallery = gallery
        self._journal = journal
        self._mistakes = mistakes
        self._monitors = monitors
        self._failures = failures

    def turn_off(self, reason: str) -> None:
        """Looks at nothing any more, and says why."""
        self.is_off = True
        self._mistakes.forget()
        # What was judged so far is of other weights than the last ones, so it is no verdict on the model.
        self._observer.doubt = f"the callback was switched off before the end of the fit: {reason}"
        self._gallery.say_off(reason)
        warn(f"switched off for this fit, training goes on; {reason}")

    def never_on(self, trainer: Any, reason: str, *, run: Run) -> None:
        """Switches off before anything is looked at, and keeps the reason where `lightning-cam check` finds it."""
        self.turn_off(reason)
        self.keep_monitors_alive(trainer)
        if trainer.is_global_zero and not trainer.fast_dev_run:
            self._gallery.say_never_on(trainer, reason, run=run)

    def keep_monitors_alive(self, trainer: Any) -> None:
        """Before others look at a key that has no value any more, which would end the training."""
        if self.is_off:
            self._monitors.update(trainer, (), is_off=True)

    def ends_at(self, failure: Failure) -> bool:
        """Switches off where another check would fail in the same way. Returns whether it did."""
        if failure.has_touched:
            self.turn_off(failure.text.removeprefix("TouchedError: "))
        elif failure.is_configuration and not self._journal.readings:
            doubt = self._observer.doubt if failure.lacks_forward else ""
            self.turn_off(refusal(failure.text) if doubt in ("", UNSEEN) else doubt)
        return self.is_off

    def count(self, failure: Failure) -> None:
        """Says the first failure of a fit once, and gives up after several in a row."""
        self._failures.count(A_CHECK, failure.text)
        if self._failures.too_many(A_CHECK):
            self.turn_off(f"{MOST_FAILURES_IN_A_ROW} checks in a row failed, the last with {failure.text!r}")
