"""Whose code raised an exception: this package's own, or the user's, which it calls."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

import torch

from .text import error_text

T = TypeVar("T")

_HOUSE = Path(__file__).parent
# Users call these in data sets and steps of their own.
_LENT = tuple(str(_HOUSE / name) for name in ("transforms.py", "metrics.py"))
_TORCH = str(Path(torch.__file__).parent)
_NAME = "_lightning_cam_origin"  # of the attribute that keeps the origin where the traceback is lost
_OF_DATA = ("__getitem__", "__getitems__", "__len__", "__iter__")


def calling(who: str, act: Callable[..., T], *args: Any) -> T:
    """Calls the user's code, and notes on an exception that it is from ``who``: a traceback ends at a process."""
    try:
        return act(*args)
    except Exception as error:
        if not hasattr(error, _NAME):
            with suppress(Exception):  # the user's own class may refuse it
                setattr(error, _NAME, who)
        raise


def is_ours(error: BaseException) -> bool:
    """Whether a line of this package raised an exception on purpose."""
    frames = list(_frames(error))
    return not hasattr(error, _NAME) and bool(frames) and _is_of_house(frames[-1])


def raised(error: BaseException) -> str:
    """Class and message of an exception, and who raised it: "your forward raised ValueError: ..."."""
    who = None if is_ours(error) else getattr(error, _NAME, None) or _culprit(list(_frames(error)))
    return f"{who} raised {error_text(error)}" if who else error_text(error)


def _culprit(frames: list[CodeType]) -> str | None:
    """The user's function that this package called; None where it called a library, or nobody knows."""
    last = max((position for position, code in enumerate(frames) if _is_of_house(code)), default=-1)
    called = frames[last + 1 :]
    names = [code.co_name for code in called]
    if last >= 0 and names and frames[last].co_name == "prepare":
        return "your preprocess"
    if "forward" in names:
        return "your forward"
    if any(name in _OF_DATA for name in names):
        return "your data set"
    own = next((code.co_name for code in called if not code.co_filename.startswith(_TORCH)), None)
    return None if own is None else f"your {own.strip('<>')}"


def _is_of_house(code: CodeType) -> bool:
    return Path(code.co_filename).is_relative_to(_HOUSE) and code.co_filename not in _LENT


def _frames(error: BaseException) -> Iterator[CodeType]:
    """From the outermost to the one that raised."""
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame.f_code
        traceback = traceback.tb_next
