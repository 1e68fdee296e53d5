"""Shows pages in MLflow, in the logger's own run. Scalars get there through Lightning."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from PIL import Image

from ..text import shortened
from .folder import REPORT, FolderSink
from .page import Page
from .uploads import Uploads

# MLflow takes two files and a tag for each picture: 0.5 s where eight jobs share two cores, and more over a network.
MOST_SERIES = 8
LONGEST_KEY = 80  # letters; MLflow makes a file name of it and adds 100
LONGEST_TAG = 500  # letters

T = TypeVar("T")


class MLflowSink:
    """Logs an image series per probe, ``<prefix>/probes/<probe>``, of eight probes at most: a section of their own.

    At the end come ``<prefix>/evolution``, ``<prefix>/evidence/<cue>`` and, among the artifacts, the page of the run as
    ``<prefix>/report.html``. The verdict is a tag, ``<prefix>/verdict``, which a list of runs shows as a column.

    Args:
        client: What ``MLFlowLogger.experiment`` gives.
        run_id: Of the logger's run.
        folder: Keeps the same run as files; see `uploads.ReportFile`.
    """

    def __init__(self, client: Any, run_id: str, folder: FolderSink | None = None) -> None:
        self._client = client
        self._run_id = run_id
        self._uploads = Uploads(folder)

    def __getstate__(self) -> dict[str, Any]:
        """Which run it is of; another process makes a client of its own."""
        return {**vars(self), "_client": self._client.tracking_uri}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from mlflow import MlflowClient  # optional, see the extra of the same name

        self.__dict__.update({**state, "_client": MlflowClient(state["_client"])})

    def write(self, page: Page) -> None:
        """Logs one page. What matters most comes first: a server may go away."""
        upload = self._uploads.of(page)
        if upload.report is not None:
            self._client.log_text(self._run_id, upload.report, f"{page.prefix}/{REPORT}")
        for key, value in upload.facts.items():
            self._client.set_tag(self._run_id, key, shortened(value, LONGEST_TAG))
        images = {name: picture.image for name, picture in upload.pictures.items()}
        images |= {f"probes/{tile.name}": tile.image for tile in spread(upload.tiles, MOST_SERIES)}
        for name, image in images.items():
            key = f"{page.prefix}/{plain(name)}"
            self._client.log_image(self._run_id, Image.fromarray(image), key=key, step=page.step, synchronous=True)


def spread(items: Sequence[T], n: int) -> Sequence[T]:
    """At most ``n`` of the items, as far apart as they can be: probes of a class stand side by side.

    >>> spread("abcdef", 3)
    'ace'
    """
    return items[:: -(-len(items) // n) or 1]


def plain(name: str) -> str:
    """A name in the letters that MLflow takes; different names stay different.

    >>> plain("sub/leaf 1"), plain("Käfer: 3")
    ('sub/leaf 1', 'Kafer_ 3-517595')
    """
    from anyascii import anyascii  # not on a bare machine, where the other sinks are tested

    letters = re.sub(r"[^A-Za-z0-9_./ -]+", "_", anyascii(name))[:LONGEST_KEY]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return letters if letters == name else f"{letters}-{digest}"
