"""The scalars of a fit's checks as markdown."""

import math
from collections.abc import Mapping, Sequence

from ..text import escape
from .strips import select_steps

MAX_COLUMNS = 6


def scalar_table(
    title: str,
    steps: Sequence[int],
    scalars: Sequence[Mapping[str, float]],
    *,
    opening: Sequence[str] = (),
) -> str:
    r"""A table of the scalars at up to 6 checks, the first and the last among them, and how to open the pictures.

    Args:
        title: Heading; escaped, like every key.
        steps: One per check.
        scalars: One mapping per check; a key that is missing or NaN at a check is shown as "-".
        opening: Commands, shown as code.

    >>> print(scalar_table("cam", [0, 12], [{"cam/drift": math.nan}, {"cam/drift": 0.25}]))
    ## cam
    <BLANKLINE>
    | | step 0 | step 12 |
    |---|---:|---:|
    | cam/drift | - | 0.25 |
    """
    columns = select_steps(len(steps), MAX_COLUMNS)
    keys = dict.fromkeys(key for i in columns for key in scalars[i])
    head = ["", *(f"step {steps[i]}" for i in columns)]
    body = [[escape(key), *(_number(scalars[i].get(key, math.nan)) for i in columns)] for key in keys]
    table = [_row(head), "|---" + "|---:" * len(columns) + "|", *map(_row, body)] if columns else ["No check was made."]
    how = ["", "To open the pictures:", "", *(f"    {' '.join(line.split())}" for line in opening)] if opening else []
    return "\n".join([f"## {escape(title)}", "", *table, *how])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells).lstrip() + " |"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"
