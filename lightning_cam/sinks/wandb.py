"""Shows pages in Weights & Biases, in the logger's own run. Scalars get there through Lightning."""

import math
import re
from collections.abc import Sequence
from typing import Any

from ..render import BAND_NAMES
from ..text import cell, message, printable
from .folder import REPORT, FolderSink
from .page import Page, Tile
from .uploads import Upload, Uploads
from .wording import lines

MAX_IMAGES = 108  # W&B drops the rest of a longer list
MAX_ROWS = 10_000  # of a table that W&B shows whole


class WandbSink:
    """Logs the pictures of a check as one list, ``<prefix>/probes``, so that one slider moves all of them.

    At the end come ``<prefix>/evolution``, ``<prefix>/evidence/<cue>``, the page of the run as the panel
    ``<prefix>/report`` and as an artifact, and ``<prefix>/probe_table`` with a row per check and probe. The verdict is
    in the run's summary, ``<prefix>/verdict``. Bad news come as an alert, which W&B sends by mail or to Slack.

    Never passes ``step=``: a row whose step lies behind the run's own counter would be thrown away.

    Args:
        run: What ``WandbLogger.experiment`` gives; it is not finished here.
        folder: Keeps the same run as files; see `uploads.ReportFile`.
    """

    def __init__(self, run: Any, folder: FolderSink | None = None) -> None:
        self._run = run
        self._uploads = Uploads(folder)
        self._rows: list[dict[str, Any]] = []
        self._last: tuple[Tile, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """All but the run, which cannot leave its process."""
        return {**vars(self), "_run": None}

    def write(self, page: Page) -> None:
        """Logs one page. Artifact and table come last: W&B makes none while its server is out of reach.

        Raises:
            RuntimeError: The sink was copied from another process; its run stayed there.
        """
        if self._run is None:
            raise RuntimeError("this sink has the run of another process; make one with WandbSink(run) here")
        upload = self._uploads.of(page)
        self._remember(page)
        self._log(page, _media(upload))
        if upload.facts:
            self._run.summary.update(dict(upload.facts))
        if page.verdict is not None and page.alert:
            self._run.alert(
                f"{page.prefix}: {page.verdict.outcome}", "\n".join(map(message, lines(page.verdict))), level="WARN"
            )
        if upload.report is not None:
            self._run.log_artifact(_artifact(f"{page.prefix}-report-{self._run.id}", upload.report))
        if page.text is not None and self._rows:
            self._log(page, {"probe_table": _table(self._rows, self._last)})

    def _remember(self, page: Page) -> None:
        """Rows for the table; a check that comes again has no tiles."""
        where = {"step": page.step, "epoch": page.epoch}
        self._rows += [{**where, "probe": cell(t.name), "caption": cell(t.caption), **t.values} for t in page.tiles]
        self._last = page.tiles or self._last

    def _log(self, page: Page, media: dict[str, Any]) -> None:
        if media:
            keyed = {f"{page.prefix}/{key}": value for key, value in media.items()}
            self._run.log({**keyed, "trainer/global_step": page.step})


def _media(upload: Upload) -> dict[str, Any]:
    """Pictures and the report by the end of their key."""
    import wandb  # optional, see the extra of the same name

    media: dict[str, Any] = {
        name: wandb.Image(picture.image, caption=picture.caption, file_type="png")
        for name, picture in upload.pictures.items()
    }
    if upload.tiles:
        media["probes"] = [_image(tile) for tile in upload.tiles[:MAX_IMAGES]]
    if upload.report is not None:
        media["report"] = wandb.Html(upload.report, inject=False)  # a style of W&B's would be refused by the page
    return media


def _image(tile: Tile) -> Any:
    """JPEG, which is ten times faster to encode than PNG, with the attention bands to switch on and off."""
    import wandb

    bands = {"mask_data": tile.bands, "class_labels": dict(enumerate(BAND_NAMES))}
    caption = f"{printable(tile.name)}\n{printable(tile.caption)}"
    return wandb.Image(tile.image, caption=caption, file_type="jpg", masks={"attention": bands})


def _artifact(name: str, report: str) -> Any:
    import wandb

    artifact = wandb.Artifact(re.sub(r"[^A-Za-z0-9_.-]", "_", name), type="report")
    with artifact.new_file(REPORT, encoding="utf-8") as file:
        file.write(report)
    return artifact


def _table(rows: list[dict[str, Any]], last: Sequence[Tile]) -> Any:
    """One column per key that any row has; empty where a number is undefined. The last check has its pictures."""
    import wandb

    columns = list(dict.fromkeys(key for row in rows for key in row))
    pictures = [None] * (len(rows) - len(last)) + [wandb.Image(tile.image, file_type="jpg") for tile in last]
    data = [[*(_cell(row.get(c)) for c in columns), shown] for row, shown in zip(rows, pictures, strict=True)]
    return wandb.Table(columns=[*columns, "picture"], data=data[-MAX_ROWS:])


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
