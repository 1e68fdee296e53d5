"""Nothing of ours stops a training: a failure is counted, said once, and after three in a row not tried again."""

import pickle
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from .. import notices
from ..sinks.worker import MOST_FAILURES_IN_A_ROW
from ..text import error_text
from .ranks import rank


class Failures:
    """The failures of one fit, counted apart for each attempt, such as "a check" or "drawing".

    Args:
        raises: Whether exceptions are let through instead, for ``on_error="raise"``.
    """

    def __init__(self, *, raises: bool) -> None:
        self._raises = raises
        self._in_a_row: Counter[str] = Counter()
        self._said: set[str] = set()

    @contextmanager
    def surviving(self, what: str) -> Iterator[None]:
        """Counts an exception from inside the block instead of letting it reach the training."""
        try:
            yield
        except Exception as error:
            if self._raises or steers_lightning(error):
                raise
            self.count(what, error_text(error))
        else:
            self.succeeded(what)

    def count(self, what: str, failure: str) -> None:
        """Counts a failure, and warns of it the first time."""
        self._in_a_row[what] += 1
        self.say_once(what, f"{what} failed, training goes on ({failure!r})")

    def succeeded(self, what: str) -> None:
        """Starts the count anew."""
        self._in_a_row[what] = 0

    def give_up(self, what: str) -> None:
        """Has an attempt count as failed too often."""
        self._in_a_row[what] = MOST_FAILURES_IN_A_ROW

    def too_many(self, what: str) -> bool:
        """Whether an attempt has failed so often in a row that another try is not worth its time."""
        return self._in_a_row[what] >= MOST_FAILURES_IN_A_ROW

    def say_once(self, subject: str, text: str) -> None:
        """Warns, unless there was a warning on the same subject."""
        if subject not in self._said:
            self._said.add(subject)
            warn(text)


def steers_lightning(error: Exception) -> bool:
    """Whether an exception is Lightning's way to end a fit, such as a tuner's, and no failure."""
    return type(error).__name__ == "_TunerExitException"


def warn(text: str) -> None:
    """Warns in the first process, which speaks for all that train together. Never raises, whatever the filters are."""
    if rank() == 0:
        try:
            notices.warn(text)
        except Exception:  # a filter made an error of it, or whoever shows warnings failed
            print_instead(f"lightning_cam: {text}")


@contextmanager
def without_errors_from_warnings() -> Iterator[None]:
    """Warnings inside are shown after it. There a filter that makes errors of them stops nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            given = list(caught)
    for each in given if rank() == 0 else ():
        try:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        except Exception:
            print_instead(str(each.message))


def print_progress(text: str) -> None:
    """For a person who waits."""
    if rank() == 0:
        print(f"lightning_cam: {text}", flush=True)  # noqa: T201 - see above


def print_instead(text: str) -> None:
    """For a text that may not be a warning: there it would stop a training, or hide the exception that does."""
    with suppress(Exception):  # no terminal, or one that has gone
        print(text, file=sys.stderr)  # noqa: T201 - see above


def explain_pickling(exception: BaseException, arguments: Mapping[str, Any]) -> None:
    """Names the arguments of the callback that made a strategy fail which spawns processes, if that is what failed."""
    if isinstance(exception, (pickle.PicklingError, AttributeError, TypeError)) and "pickle" in str(exception):
        for argument in cannot_be_sent(arguments):
            warn(f"{argument}= of CAMCallback cannot be sent to other processes; define it at the top of a module")


def cannot_be_sent(arguments: Mapping[str, Any]) -> list[str]:
    """Names of the arguments that a strategy which spawns processes cannot hand to them."""
    return [name for name, value in arguments.items() if not _can_be_pickled(value)]


def _can_be_pickled(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # pickling calls methods of the user's objects, which may raise anything
        return False
    return True
