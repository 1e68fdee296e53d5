"""What is done about a shortcut: the user chooses it, and it happens once a fit."""

from collections.abc import Callable
from typing import Any, Literal

from ..verdict import FAIL, ShortcutError, Verdict
from .failures import warn

OnShortcut = Literal["warn", "stop", "raise"] | Callable[[Verdict], None]


class Alarm:
    """Goes off at the first "FAIL" of a fit and then never again.

    Args:
        on_shortcut: As in `CAMCallback`.
    """

    def __init__(self, on_shortcut: OnShortcut) -> None:
        self._on_shortcut = on_shortcut
        self._is_spent = False

    @property
    def ends_fit(self) -> bool:
        """Whether going off may end the fit, so that no later verdict follows."""
        return self._on_shortcut != "warn"

    def news(self, verdict: Verdict | None) -> Verdict | None:
        """The verdict if it is the first "FAIL", else None. Asking uses the alarm up."""
        if verdict is None or verdict.outcome != FAIL or self._is_spent:
            return None
        self._is_spent = True
        return verdict

    def act(self, trainer: Any, verdict: Verdict, *, is_printed: bool = False) -> None:
        """Does what the user wants done. An exception from here is meant to reach the training.

        Args:
            trainer: Of the fit.
            verdict: The one that set the alarm off.
            is_printed: Whether the terminal shows all of it already, so that a warning says it in a line.
        """
        if callable(self._on_shortcut):
            self._on_shortcut(verdict)  # in every process: what one does alone, such as stopping, the others wait for
        elif self._on_shortcut == "raise":
            raise ShortcutError(verdict)
        else:
            trainer.should_stop = trainer.should_stop or self._on_shortcut == "stop"
            failing = (finding.cause or finding.cue for finding in verdict.findings if finding.outcome == FAIL)
            cues = " and ".join(dict.fromkeys(failing))
            warn(f"the verdict above is {verdict.outcome}, because of {cues}" if is_printed else str(verdict))
