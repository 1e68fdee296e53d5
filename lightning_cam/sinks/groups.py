"""Right answers by group of pictures, in words and as rows of the page."""

from typing import Any

from ..attributes import AttributeReading, Group
from ..text import percent, printable
from ..verdict import Verdict

MOST_GROUPS = 12  # of an attribute on the page, the worst first: more are no help to a reader


def group_lines(verdict: Verdict) -> list[str]:
    """A line for each attribute: its worst group of enough pictures, and how its values go with the classes."""
    return [_line(reading) for reading in verdict.attributes]


def _line(reading: AttributeReading) -> str:
    worst, n = reading.worst, len(reading.groups)
    if worst is None:
        return f"{reading.attribute}: no class has enough pictures with one value to say how often the model is right"
    return (
        f"{reading.attribute}: right on {percent(worst.accuracy)} of the {worst.n} pictures of {worst.class_name!r} "
        f"with {worst.value!r}, the worst of {n} groups of class and value; {_association(reading)}"
    )


def _association(reading: AttributeReading) -> str:
    """How values go with the classes of the probe, whatever the model does."""
    if not reading.association_p <= 0.05:  # or NaN
        return "in the probe, values do not go with classes"
    return f"in the probe, values go with classes (Cramer's V {reading.association:.2f})"


def attribute_entries(verdict: Verdict) -> list[dict[str, Any]]:
    """What the page says of each attribute."""
    return [
        {
            "name": printable(reading.attribute),
            "text": f"{_association(reading)[:1].upper()}{_association(reading)[1:]}.",
            "rows": [_row(group) for group in reading.groups[:MOST_GROUPS]],
            "n_more": max(len(reading.groups) - MOST_GROUPS, 0),
        }
        for reading in verdict.attributes
        if reading.groups
    ]


def _row(group: Group) -> dict[str, str]:
    return {
        "class": printable(group.class_name),
        "value": printable(group.value),
        "right": percent(group.accuracy),
        "n": str(group.n),
    }
