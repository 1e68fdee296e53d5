"""Shows pages in TensorBoard, with the logger's own writer. Scalars get there through Lightning."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..tensorboard_tab import events
from ..text import printable
from .folder import require_room, require_space, versions
from .page import Page, png
from .tab import RunSeries
from .wording import markdown

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import SummaryWriter


SPARE = 2**20  # bytes that pictures leave to the scalars of the training, which go to the same file


class TensorBoardSink:
    """Writes one image series per probe, ``<prefix>/<probe>``, so that a slider over the steps shows it change.

    The evolution strip is ``<prefix>/evolution``, what convicted a model ``<prefix>/evidence/<cue>``, the summary with
    the verdict the text ``<prefix>/summary``; bad news come as ``<prefix>/verdict`` when they are news.

    Args:
        writer: Stays the logger's; it is not closed here.
    """

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer
        self._series: dict[str, RunSeries] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Where it writes: a writer's thread and file stay in their process."""
        return {"log_dir": self._writer.log_dir}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # here, since importing it takes a second

        self._writer = SummaryWriter(state["log_dir"])
        self._series = {}

    def write(self, page: Page) -> None:
        """Writes one page at its step.

        Raises:
            OSError: The disk, a quota or the largest possible file is nearly full. The writer would notice later, on
                its own thread, and raise it at the training's next scalar.
        """
        folder = Path(self._writer.log_dir)
        require_space(folder)
        require_room(folder, 2 * _n_bytes(page) + SPARE, behind=_longest_file(folder))  # twice: the last page may wait
        for series, text in self._series.setdefault(page.prefix, RunSeries()).of(page, versions()):
            self._put(events.summary(events.tag_of(page.prefix, series), text), page.step)
        for tile in page.tiles:
            self._add(f"{page.prefix}/{printable(tile.name)}", tile.image, tile.png, page.step)
        if page.strip is not None:
            self._add(f"{page.prefix}/evolution", page.strip, png(page.strip), page.step)
        for cue, picture in page.evidence.items():
            self._add(f"{page.prefix}/evidence/{printable(cue)}", picture, png(picture), page.step)
        if page.verdict is not None and page.alert:
            self._writer.add_text(f"{page.prefix}/verdict", markdown(page.verdict), page.step)
        if page.text is not None:
            self._writer.add_text(f"{page.prefix}/summary", page.text, page.step)

    def _add(self, tag: str, image: NDArray[np.uint8], encoded: bytes, step: int) -> None:
        """What ``add_image`` does, with a picture that is encoded already. The folder needs the same bytes."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # here, since importing it takes a second

        height, width, _ = image.shape
        picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
        self._put(Summary(value=[Summary.Value(tag=tag, image=picture)]), step)

    def _put(self, summary: Summary, step: int) -> None:
        self._writer._get_file_writer().add_summary(summary, step)  # type: ignore[no-untyped-call]  # torch has no types


def _n_bytes(page: Page) -> int:
    """At most, since pictures are compressed."""
    pictures = [
        *(tile.image for tile in page.tiles),
        *page.evidence.values(),
        *([] if page.strip is None else [page.strip]),
    ]
    return sum(picture.nbytes for picture in pictures) + len(page.text or "")


def _longest_file(folder: Path) -> int:
    """Bytes of the longest event file; 0 where there is none yet."""
    return max((file.stat().st_size for file in folder.glob("events.out.tfevents.*")), default=0)


def image_hint(log_dir: Path | str) -> str:
    """The command that opens TensorBoard with every picture; by default it keeps 10 per probe and loses the first.

    >>> image_hint("logs/my run")
    "tensorboard --logdir 'logs/my run' --samples_per_plugin images=1000"
    """
    return f"tensorboard --logdir {shlex.quote(str(log_dir))} --samples_per_plugin images=1000"
