"""Under which headings TensorBoard shows what. They sort behind `loss`, `train` and `val`, whose place is in front.

TensorBoard orders its cards by the first part of their tag, opens the first two parts, and leaves the others closed.
"""

from collections.abc import Iterable
from typing import Any

USES = "what_it_uses"
COSTS = "what_looking_costs"
LOOKS = "where_it_looks"
INTERVALS = "with_intervals"
_MEASURES_OF_ATTENTION = ("attention", "pointing_accuracy", "box_iou", "zero_map_rate", "undefined_rate")
_COSTS = ("seconds", "seconds_outside_model", "overhead")
_ENDS = ("_low", "_high")  # of an interval
LAYOUT = "custom_scalars__config__"  # the one tag from which TensorBoard takes a layout

Layout = dict[str, dict[str, list[Any]]]


def picture_tag(name: str, picture: str) -> str:
    """The tag of a picture."""
    return f"{LOOKS}/{name}/{picture}"


def tag_of(key: str) -> str:
    """The tag of a scalar: its key, under a heading.

    >>> tag_of("cam/reliance/border"), tag_of("cam/reliance/border_low")
    ('what_it_uses/cam/reliance/border', 'with_intervals/cam/reliance/border_low')
    >>> tag_of("cam/background_attention_ratio"), tag_of("cam/seconds")
    ('where_it_looks/cam/background_attention_ratio', 'what_looking_costs/cam/seconds')
    """
    _, _, quantity = key.partition("/")
    if quantity.endswith(_ENDS):
        return f"{INTERVALS}/{key}"
    if quantity in _COSTS:
        return f"{COSTS}/{key}"
    is_attention = not quantity.startswith("reliance/") and any(part in quantity for part in _MEASURES_OF_ATTENTION)
    return f"{LOOKS if is_attention else USES}/{key}"


def layout(name: str, keys: Iterable[str], *, guessed: bool = False) -> Layout:
    """The charts of the tab *Custom Scalars*: first what matters, then each cue with its interval.

    No chart has the lines of several cues: TensorBoard colours lines by run, and names them nowhere near.

    Args:
        name: First part of the keys.
        keys: Those that have a point: a chart without one stays empty.
        guessed: Whether nobody drew the masks of the objects.
    """
    known = set(keys)
    cues = sorted(key for key in known if known.issuperset(key + end for end in _ENDS))
    outside = f"share of the attention outside the object{', as far as guessed' * guessed}"
    first = {
        "shortcut score: the largest loss that is certain": f"{name}/shortcut_score",
        outside: f"{name}/background_attention_ratio",
        "accuracy on the probe": f"{name}/probe_accuracy",
    }
    charts = {title: ["Multiline", [f"{tag_of(key)}$"]] for title, key in first.items() if key in known}
    bands = {
        f"lost with another {key.rpartition('/')[2]}": ["Margin", [tag_of(key), *(tag_of(key + end) for end in _ENDS)]]
        for key in cues
    }
    return {f"{name}: first": charts, **({f"{name}: each cue with its interval": bands} if cues else {})}
