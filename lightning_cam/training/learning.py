"""What the units have learnt, beside each check, where the user asked for it."""

from contextlib import nullcontext

from torch import nn

from ..attribution.self_check import self_checked
from ..examination import Learning, look_at_units
from ..probe import Probe
from .attempts import Failure
from .failures import Failures
from .in_step import in_step
from .module import forward_of
from .observer import Judged, Observer
from .ranks import from_first, rank
from .rhythm import Occasion

A_LOOK = "looking at the units"


class Units:
    """Looks at the units, in the first process; in one that does not look it costs nothing.

    Args:
        is_on: Whether the user asked for it.
        failures: Counts what goes wrong, which stops neither the training nor the checks.
    """

    def __init__(self, failures: Failures, *, is_on: bool) -> None:
        self._is_on = is_on
        self._failures = failures
        self._shown: tuple[int, ...] | None = None  # the same units at each check, so that one sees them change
        self._is_verified = False  # whether a look was found to change nothing

    def look(
        self, model: nn.Module, probe: Probe, observer: Observer, outcome: Judged | Failure, occasion: Occasion
    ) -> tuple[dict[str, float], Learning | None]:
        """Scalars, the same in every process, and in the first what else there is to see. All have to call this.

        Not after a check that failed, nor again of the same weights.
        """
        is_due = self._is_on and not isinstance(outcome, Failure) and not occasion.completes
        if not is_due or from_first(self._failures.too_many(A_LOOK)):
            return {}, None
        learning: Learning | None = None
        with self._failures.surviving(A_LOOK), in_step(model, probe, forward_of(model, observer.forward)) as run:
            if rank() == 0 and observer.report is not None:
                layer = observer.report.layer.rpartition(" + ")[2]  # of several the last one
                with nullcontext() if self._is_verified else self_checked(model):
                    at_once = observer.images_a_pass
                    learning = look_at_units(model, probe, layer, self._shown, forward=run, batch_size=at_once)
                self._shown = learning.strongest.units
                self._is_verified = True
        return from_first({} if learning is None else learning.scalars), learning
