"""The records that are handed to a sink, and the one-method contract of a sink."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..audit import AuditResult
from ..probe import Probe
from ..verdict import Verdict
from .mistakes import ShownMistakes
from .per_image import PerImage
from .snapshot import Snapshot

# Encoding is the dearest part of a picture. Twenty tiles of 472x315: 5.3 ms each at Pillow's own level 6, 2.5 ms at 1,
# for files that are a sixth larger.
_PNG_LEVEL = 1


def png(image: NDArray[np.uint8]) -> bytes:
    """A picture ``(h, w, 3)`` as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="png", compress_level=_PNG_LEVEL)
    return file.getvalue()


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """A picture ``(h, w, 3)`` as a JPEG file: a fifth of a PNG, and the words on it stay readable."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="jpeg", quality=85)
    return file.getvalue()


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

    @cached_property
    def png(self) -> bytes:
        """The image as a PNG file, encoded once for all sinks."""
        return png(self.image)


@dataclass(frozen=True)
class Run:
    """Which fit a page is of.

    Attributes:
        name: Identifier of the fit.
        resumes: Of the fit whose checkpoint it resumed; empty for none.
        first_step: Where it began.
        is_fit: Whether there was a training; not where a finished model was looked at.
    """

    name: str = ""
    resumes: str = ""
    first_step: int = 0
    is_fit: bool = True


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
        numbers: The last part of the text, with all scalars: of use to few, so that a file may fold it.
        is_final: Whether the fit has ended, or an alert on this page ends it.
        run: Which fit it is of.
        probe: Fingerprint of the probe.
        snapshot: The same probes as numbers, for a page that draws them itself; None where no probe is shown.
        audit: Of the training data, where there is one.
        images: What the verdict rests on; None where no cue was swapped.
        mistakes: The surest ones of the whole validation set; only the last page of a fit has them.
        off: Why nothing is looked at any more, on a page that says nothing else; empty on every other page.
        figures: ``(h, w, 3)`` uint8 pictures by name that belong to no single probe: of a check, such as "features", or
            of the whole fit, such as "map_groups".
        films: GIF files of all slices of some volumes, by name; only the last page of a fit has them.
        facts: What was looked at and how, for people whom the run's name tells nothing.
        untrusted: Names of the probes whose maps are the same with random weights; only on the last page of a fit.
        reviewable: The probe, on the last page of a fit whose masks need a look: a folder keeps it for a review.
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
    numbers: str = ""
    is_final: bool = False
    run: Run = Run()
    probe: str = ""
    snapshot: Snapshot | None = None
    audit: AuditResult | None = None
    images: PerImage | None = None
    mistakes: ShownMistakes | None = None
    off: str = ""
    figures: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    untrusted: tuple[str, ...] = ()
    reviewable: Probe | None = None
    films: Mapping[str, bytes] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


class Sink(Protocol):
    """Keeps pages. Called from one worker thread, in order; may raise, which costs the others nothing."""

    def write(self, page: Page) -> None:
        """Keeps one page."""
