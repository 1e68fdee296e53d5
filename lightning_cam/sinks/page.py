"""The records that are handed to a sink, and the one-method contract of a sink."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..verdict import Verdict


@dataclass(frozen=True, eq=False)
class Tile:
    """One probe at one check, ready to be shown.

    Attributes:
        name: The probe's name, unique on a page.
        caption: What the picture says, as text.
        image: ``(h, w, 3)`` uint8 RGB.
        bands: ``(h, w)`` uint8, the attention bands of `render.BAND_NAMES` over the input panel; 0 elsewhere.
        values: Numbers of this probe that one may want to sort by, such as its background attention.
    """

    name: str
    caption: str
    image: NDArray[np.uint8]
    bands: NDArray[np.uint8]
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Page:
    """What one check shows.

    Attributes:
        prefix: First part of every key, such as "cam".
        step: On the axis that Lightning's own scalars use.
        epoch: The epoch in which the check was made.
        scalars: The check's scalars by their logged key; NaN where undefined. Empty on a page that is no check.
        tiles: One per shown probe.
        verdict: What is known so far; the last page of a fit has the final one. None where nothing was judged.
        alert: Whether the verdict is bad news that nobody has been told yet.
        strip: ``(h, w, 3)`` uint8 evolution strip; only the last page of a fit has one.
        evidence: ``(h, w, 3)`` uint8 pictures by cue: what convicted the model; only the last page of a fit has them.
        text: Markdown; only the last page of a fit has one.
    """

    prefix: str
    step: int
    epoch: int
    scalars: Mapping[str, float] = field(default_factory=dict)
    tiles: tuple[Tile, ...] = ()
    verdict: Verdict | None = None
    alert: bool = False
    strip: NDArray[np.uint8] | None = None
    evidence: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    text: str | None = None


class Sink(Protocol):
    """Keeps pages. Called from one worker thread, in order; may raise, which costs the others nothing."""

    def write(self, page: Page) -> None:
        """Keeps one page."""
