"""Shows pages on lightning.ai, in the logger's own experiment. Scalars get there through Lightning."""

import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from ..text import printable
from .folder import REPORT, FolderSink
from .page import Page
from .uploads import Uploads


class LitLoggerSink:
    """Logs an image series per probe, ``<prefix>/<probe>``.

    At the end come ``<prefix>/evolution``, ``<prefix>/evidence/<cue>`` and, among the artifacts, the page of the run as
    ``<prefix>/report.html``. The verdict is in the metadata, ``<prefix>/verdict``.

    Args:
        experiment: What ``LitLogger.experiment`` gives; it is not finished here.
        folder: Keeps the same run as files; see `uploads.ReportFile`.
    """

    def __init__(self, experiment: Any, folder: FolderSink | None = None) -> None:
        self._experiment = experiment
        self._uploads = Uploads(folder)

    def __getstate__(self) -> dict[str, Any]:
        """All but the experiment, which cannot leave its process."""
        return {**vars(self), "_experiment": None}

    def write(self, page: Page) -> None:
        """Logs one page. What matters most comes first: a server may go away.

        Raises:
            RuntimeError: The sink was copied from another process; its experiment stayed there.
        """
        if self._experiment is None:
            raise RuntimeError("this sink has the experiment of another process; make one with LitLoggerSink here")
        upload = self._uploads.of(page)
        if upload.report is not None:
            self._keep(f"{page.prefix}/{REPORT}", upload.report)
        for key, value in upload.facts.items():
            self._experiment[key] = value
        images = {name: picture.image for name, picture in upload.pictures.items()}
        self._show(page, images | {printable(tile.name): tile.image for tile in upload.tiles})

    def _show(self, page: Page, images: dict[str, Any]) -> None:
        import litlogger  # optional, see the extra of the same name

        for name, image in images.items():
            shown = litlogger.Image(Image.fromarray(image))
            self._experiment[f"{page.prefix}/{name}"].append(shown, step=page.step)

    def _keep(self, key: str, report: str) -> None:
        """Uploaded when this returns, so the file is needed no longer."""
        import litlogger

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / REPORT
            path.write_text(report, encoding="utf-8")
            self._experiment[key] = litlogger.File(str(path))
