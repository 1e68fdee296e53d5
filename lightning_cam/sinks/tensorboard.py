"""Shows pages in TensorBoard, with the logger's own writer. Scalars get there through Lightning."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from .folder import require_space
from .wording import markdown

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from . import Page


class TensorBoardSink:
    """Writes one image series per probe, ``<prefix>/<probe>``, so that a slider over the steps shows it change.

    The evolution strip is ``<prefix>/evolution``, what convicted a model ``<prefix>/evidence/<cue>``, the summary with
    the verdict the text ``<prefix>/summary``; bad news come as ``<prefix>/verdict`` when they are news.

    Args:
        writer: Stays the logger's; it is not closed here.
    """

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def write(self, page: Page) -> None:
        """Writes one page at its step.

        Raises:
            OSError: The disk is nearly full. The writer would notice later, in the training's next scalar.
        """
        require_space(Path(self._writer.log_dir))
        for tile in page.tiles:
            self._writer.add_image(f"{page.prefix}/{tile.name}", tile.image, page.step, dataformats="HWC")
        if page.strip is not None:
            self._writer.add_image(f"{page.prefix}/evolution", page.strip, page.step, dataformats="HWC")
        for cue, picture in page.evidence.items():
            self._writer.add_image(f"{page.prefix}/evidence/{cue}", picture, page.step, dataformats="HWC")
        if page.verdict is not None and page.alert:
            self._writer.add_text(f"{page.prefix}/verdict", markdown(page.verdict), page.step)
        if page.text is not None:
            self._writer.add_text(f"{page.prefix}/summary", page.text, page.step)


def image_hint(log_dir: Path | str) -> str:
    """The command that opens TensorBoard with every picture; by default it keeps 10 per probe and loses the first.

    >>> image_hint("logs/my run")
    "tensorboard --logdir 'logs/my run' --samples_per_plugin images=1000"
    """
    return f"tensorboard --logdir {shlex.quote(str(log_dir))} --samples_per_plugin images=1000"
