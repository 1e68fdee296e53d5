"""Nothing of ours stops a training: what fails is counted, said once, and given up after three times in a row."""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from .ranks import rank

MOST_IN_A_ROW = 3


class Failures:
    """What failed in one fit, by what was tried.

    Args:
        raises: Whether everything is let through, for those who asked for it.
    """

    def __init__(self, *, raises: bool) -> None:
        self._raises = raises
        self._in_a_row: Counter[str] = Counter()
        self._said: set[str] = set()

    @contextmanager
    def surviving(self, what: str) -> Iterator[None]:
        """Counts what fails inside instead of letting it reach the training."""
        try:
            yield
        except Exception as error:
            if self._raises or steers_lightning(error):
                raise
            self.count(what, as_text(error))
        else:
            self.succeeded(what)

    def count(self, what: str, failure: str) -> None:
        """Takes note of a failure, which is said the first time."""
        self._in_a_row[what] += 1
        self.say_once(what, f"{what} failed, training goes on ({failure!r})")

    def succeeded(self, what: str) -> None:
        """Starts the count anew."""
        self._in_a_row[what] = 0

    def too_many(self, what: str) -> bool:
        """Whether it has failed so often in a row that it is not worth another try."""
        return self._in_a_row[what] >= MOST_IN_A_ROW

    def say_once(self, subject: str, text: str) -> None:
        """Warns, unless there was a warning on the same subject."""
        if subject not in self._said:
            self._said.add(subject)
            warn(text)


def as_text(error: Exception) -> str:
    """What an exception says; the object itself would keep its frames' tensors alive."""
    return f"{type(error).__name__}: {error}"


def steers_lightning(error: Exception) -> bool:
    """Whether an exception is Lightning's way to end a fit, such as a tuner's, and no failure."""
    return type(error).__name__ == "_TunerExitException"


def warn(text: str) -> None:
    """A warning of ours, which says so; of processes that train together, the first speaks for all."""
    if rank() == 0:
        warnings.warn(f"lightning_cam: {text}", stacklevel=3)
