"""Shows pages in Comet, in the logger's own experiment. Scalars get there through Lightning."""

from collections.abc import Iterator
from copy import copy
from io import BytesIO
from typing import Any

from ..text import printable
from .folder import REPORT, FolderSink
from .page import Page, png
from .uploads import Upload, Uploads
from .wording import lines


class CometSink:
    """Logs an image series per probe, ``<prefix>/<probe>``, among the graphics of the experiment.

    At the end come ``<prefix>/evolution``, ``<prefix>/evidence/<cue>`` and, among the assets, the page of the run as
    ``<prefix>/report.html``. The verdict is ``<prefix>/verdict`` among the other values, which a list of experiments
    shows as a column. Bad news come as a notification, which Comet sends by mail.

    Args:
        experiment: What ``CometLogger.experiment`` gives; it is not ended here.
        folder: Keeps the same run as files; see `uploads.ReportFile`.
    """

    def __init__(self, experiment: Any, folder: FolderSink | None = None) -> None:
        self._experiment = experiment
        self._uploads = Uploads(folder)

    def __getstate__(self) -> dict[str, Any]:
        """All but the experiment, which cannot leave its process."""
        return {**vars(self), "_experiment": None}

    def write(self, page: Page) -> None:
        """Logs one page.

        Raises:
            RuntimeError: The sink was copied from another process; its experiment stayed there.
        """
        if self._experiment is None:
            raise RuntimeError("this sink has the experiment of another process; make one with CometSink here")
        experiment, upload = _at(self._experiment, page.step), self._uploads.of(page)
        for name, encoded, caption in _encoded(upload):  # arrays would get stretched colours
            experiment.log_image(BytesIO(encoded), name=f"{page.prefix}/{name}", metadata={"caption": caption})
        if upload.report is not None:
            experiment.log_asset_data(upload.report, name=f"{page.prefix}/{REPORT}", overwrite=True)
        if upload.facts:
            experiment.log_others(dict(upload.facts))
        if page.verdict is not None and page.alert:
            title, text = f"{page.prefix}: {page.verdict.outcome}", "\n".join(lines(page.verdict))
            experiment.send_notification(title, page.verdict.outcome, {"verdict": text})


def _at(experiment: Any, step: int) -> Any:
    """The experiment with a current step of its own.

    It has one for all threads, which ``step=`` moves: the training's metrics would get our step, and our pictures
    theirs.
    """
    own = copy(experiment)
    own.curr_step = step
    return own


def _encoded(upload: Upload) -> Iterator[tuple[str, bytes, str]]:
    """Name, PNG file and caption of each picture."""
    yield from ((printable(tile.name), tile.png, printable(tile.caption)) for tile in upload.tiles)
    yield from ((name, png(picture.image), picture.caption) for name, picture in upload.pictures.items())
