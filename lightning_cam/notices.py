"""Warnings of this package: one class to filter them by, and the place in the user's code that they point to."""

import contextlib
import sys
import warnings
from pathlib import Path

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
