"""Warnings of this package: one class to filter them by, and the place in the user's code that they point to."""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

_NOT_THE_USERS = (str(Path(__file__).parent), contextlib.__file__)


class LightningCAMWarning(UserWarning):
    """Every warning of this package, so that ``warnings.filterwarnings`` can silence or raise them alone."""


def warn(text: str) -> None:
    """Warns, and names the first caller outside this package.

    The frames are counted here: a ``stacklevel`` written by hand is wrong as soon as a function is split in two.
    """
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame, level = frame.f_back, level + 1
    warnings.warn(f"lightning_cam: {text}", LightningCAMWarning, stacklevel=level)


@contextlib.contextmanager
def told_to(say: Callable[[str], None]) -> Iterator[None]:
    """Our own warnings are lines for a person, without the place in the code. Others are shown as ever."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", LightningCAMWarning)
        show = warnings.showwarning

        def showing(text: Any, category: type[Warning], *place: Any, **more: Any) -> Any:
            if issubclass(category, LightningCAMWarning):
                say(str(text).removeprefix("lightning_cam: "))
            else:
                show(text, category, *place, **more)

        warnings.showwarning = cast(Any, showing)
        yield
