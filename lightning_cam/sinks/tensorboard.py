"""Shows pages in TensorBoard, with the logger's own writer. Scalars get there through Lightning."""

from __future__ import annotations

import math
import shlex
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..tensorboard_tab import events
from ..text import printable
from . import headings
from .disk import require_room, require_space
from .page import Page, jpeg
from .tab import RunSeries, is_kept
from .verdict_file import versions
from .wording import markdown

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import SummaryWriter


EVENT_FILES = "events.out.tfevents.*"
MOST_DRAWN = 50  # checks whose pictures are all kept; 16 tiles have 0.4 MB. By default TensorBoard shows ten of them
WHERE_THE_REST_IS = (
    "The tab Attention has this verdict with its evidence, and the maps of every check. It is there if TensorBoard "
    "runs where lightning_cam is installed. Custom Scalars has the curves. Images shows ten checks of each "
    "picture; it shows more after `tensorboard --samples_per_plugin images=1000`."
)
SO_FAR = "This is a verdict on the training so far. The tab Attention shows its evidence when the fit has ended."
MOST_SEARCHED = 2**26  # bytes of event files that are searched for a layout
# TensorBoard takes the last layout of a run, so that of a second callback has to hold the first one's as well.
_LAYOUTS: WeakKeyDictionary[SummaryWriter, _Layouts] = WeakKeyDictionary()
_LAYING_OUT = threading.Lock()  # each callback writes from a thread of its own
SPARE = 2**20  # bytes that pictures leave to the scalars of the training, which go to the same file


class TensorBoardSink:
    """Writes what the tab *Attention* shows, and pictures and words for TensorBoard's own tabs.

    Each probe is an image series ``where_it_looks/<prefix>/<probe>``; beside them are the strip of all checks,
    ``evolution``, and what convicted a model, ``evidence/<cue>``. The last verdict is the text ``<prefix>/summary``;
    bad news come as ``<prefix>/verdict`` when they are news. The tab *Custom Scalars* gets charts, also of several
    callbacks, unless the run has some of the user's.

    Args:
        writer: Stays the logger's; it is not closed here.
    """

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer
        self._runs: dict[str, _Run] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Where it writes: a writer's thread and file stay in their process."""
        return {"log_dir": self._writer.log_dir}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # here, since importing it takes a second

        self._writer = SummaryWriter(state["log_dir"])
        self._runs = {}

    def write(self, page: Page) -> None:
        """Writes one page at its step.

        Raises:
            OSError: The disk, a quota or the largest possible file is nearly full. The writer would notice later, on
                its own thread, and raise it at the training's next scalar.
        """
        folder = Path(self._writer.log_dir)
        require_space(folder)
        require_room(folder, 2 * _n_bytes(page) + SPARE, behind=_longest_file(folder))  # twice: the last page may wait
        run = self._runs.setdefault(page.prefix, _Run())
        for series, text in run.series.of(page, versions()):
            self._put(events.summary(events.tag_of(page.prefix, series), text), page.step)
        self._add_pictures(page, run)
        self._add_layout(page, run)
        self._add_text(page)

    def _add_text(self, page: Page) -> None:
        """Bad news when they come, and the verdict at the end. The numbers are in the tabs of the scalars."""
        if page.text is not None:
            text = page.text if page.verdict is None else f"{markdown(page.verdict)}\n\n{WHERE_THE_REST_IS}"
            self._writer.add_text(f"{page.prefix}/summary", text, page.step)
        elif page.verdict is not None and page.alert:
            self._writer.add_text(f"{page.prefix}/verdict", f"{markdown(page.verdict)}\n\n{SO_FAR}", page.step)

    def _add_pictures(self, page: Page, run: _Run) -> None:
        """Of a long training fewer and fewer tiles; the tab has the maps of all checks."""
        if page.tiles:
            run.n_drawn += 1
        shown = page.tiles if page.alert or is_kept(run.n_drawn - 1, MOST_DRAWN) else ()
        pictures = {printable(tile.name): tile.image for tile in shown}
        pictures |= dict(page.figures) if shown or page.text is not None else {}
        if page.strip is not None:
            pictures["evolution"] = page.strip
        pictures |= {f"evidence/{printable(cue)}": picture for cue, picture in page.evidence.items()}
        for name, picture in pictures.items():
            self._add(headings.picture_tag(page.prefix, name), picture, page.step)

    def _add_layout(self, page: Page, run: _Run) -> None:
        """When there are trials, and when more has points. TensorBoard knows one: the user's stays, ours add up."""
        pointed = {key for key, value in page.scalars.items() if math.isfinite(value)}
        if pointed <= run.pointed or not any(key.endswith("_low") for key in pointed):
            return
        run.pointed |= pointed
        guessed = page.snapshot is not None and page.snapshot.portraits.is_guessed
        layout = headings.layout(page.prefix, run.pointed, guessed=guessed)
        with _LAYING_OUT:
            self._writer.flush()
            ours = _LAYOUTS.setdefault(self._writer, _Layouts())
            is_new = not layout.items() <= ours.charts.items()
            if is_new and _n_layouts(Path(self._writer.log_dir)) == ours.n_written:
                ours.charts |= layout
                ours.n_written += 1
                self._writer.add_custom_scalars(ours.charts)

    def _add(self, tag: str, image: NDArray[np.uint8], step: int) -> None:
        """What ``add_image`` does, as JPEG."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # here, since importing it takes a second

        height, width, _ = image.shape
        picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=jpeg(image))
        self._put(Summary(value=[Summary.Value(tag=tag, image=picture)]), step)

    def _put(self, summary: Summary, step: int) -> None:
        self._writer._get_file_writer().add_summary(summary, step)  # type: ignore[no-untyped-call]  # torch has no types


@dataclass
class _Run:
    """What was written of a callback's run so far.

    Attributes:
        series: For the tab.
        n_drawn: Checks with pictures.
        pointed: Keys of the scalars that have a point in a chart, if they have one.
    """

    series: RunSeries = field(default_factory=RunSeries)
    n_drawn: int = 0
    pointed: set[str] = field(default_factory=set)


@dataclass
class _Layouts:
    """What was written of the layouts of a writer.

    Attributes:
        charts: All of ours, by title.
        n_written: How many layouts of ours its file has.
    """

    charts: headings.Layout = field(default_factory=dict)
    n_written: int = 0


def _n_layouts(folder: Path) -> float:
    """How many there are; infinitely many where the files are too long to be searched, as after a resume."""
    files = list(folder.glob(EVENT_FILES))
    is_long = sum(file.stat().st_size for file in files) > MOST_SEARCHED
    return math.inf if is_long else sum(file.read_bytes().count(headings.LAYOUT.encode()) for file in files)


def _n_bytes(page: Page) -> int:
    """At most, since pictures are compressed."""
    pictures = [
        *(tile.image for tile in page.tiles),
        *page.evidence.values(),
        *page.figures.values(),
        *([] if page.strip is None else [page.strip]),
    ]
    return sum(picture.nbytes for picture in pictures) + len(page.text or "")


def _longest_file(folder: Path) -> int:
    """Bytes of the longest event file; 0 where there is none yet."""
    return max((file.stat().st_size for file in folder.glob(EVENT_FILES)), default=0)


def command(log_dir: Path | str) -> str:
    """What opens TensorBoard on a folder.

    >>> command("logs/my run")
    "tensorboard --logdir 'logs/my run'"
    """
    return f"tensorboard --logdir {shlex.quote(str(log_dir))}"
