"""Attempts that end in a result or in a failure, the same in every process."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..attribution.self_check import TouchedError
from ..origins import is_ours, raised
from .failures import steers_lightning
from .module import NoForwardError
from .options import Options
from .ranks import n_ranks

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """Why a check has no result, the same in every process.

    Attributes:
        text: Class and message of the exception, and whose code raised it.
        is_configuration: Whether it is a `ValueError` of this package: another check would raise it, too.
        has_touched: Whether the model's own ``forward`` changed something that a check must leave as it is.
        lacks_forward: Whether it is not known how the model gives class scores.
    """

    text: str
    is_configuration: bool
    has_touched: bool
    lacks_forward: bool = False


def lets_through(options: Options, failure: Failure, *, before_training: bool) -> bool:
    """Whether a failure reaches the training: before it, what an argument of the user's own may have caused."""
    given = options.probe or options.layer or options.forward or options.score
    return options.on_error == "raise" or (before_training and failure.is_configuration and given is not None)


def attempt(act: Callable[[], T], lets_through: Callable[[Failure], bool]) -> T | Failure:
    """Turns an exception into a result: nothing of ours stops a training, and no process leaves the others waiting."""
    try:
        return act()
    except Exception as error:
        is_configuration = isinstance(error, ValueError) and is_ours(error)
        is_touched, lacks_forward = isinstance(error, TouchedError), isinstance(error, NoForwardError)
        failure = Failure(raised(error), is_configuration, is_touched, lacks_forward)
        if steers_lightning(error) or (n_ranks() == 1 and lets_through(failure)):
            raise
        return failure


def raise_everywhere(failure: Failure, lets_through: Callable[[Failure], bool]) -> None:
    """The same exception in every process, if it is let through."""
    if lets_through(failure):
        raise (ValueError if failure.is_configuration else RuntimeError)(failure.text)
