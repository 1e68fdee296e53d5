"""Shows pages in Weights & Biases, in the logger's own run. Scalars get there through Lightning."""

import html
import math
from typing import Any

from ..render import BAND_NAMES
from ..text import cell, key_part, message, printable
from .page import Page, Tile
from .wording import lines

MAX_IMAGES = 108  # W&B drops the rest of a longer list
MAX_ROWS = 10_000  # of a table that W&B shows whole


class WandbSink:
    """Logs a page's pictures in one call, ``<prefix>/probes``; at the end strip, evidence and text, then two tables.

    Bad news come as an alert, which W&B sends by mail or to Slack. The tables come last and alone: W&B makes none while
    its server is out of reach.

    ``<prefix>/evolution_table`` has a row per check, ``<prefix>/probe_table`` a row per check and probe. Never passes
    ``step=``: a row whose step lies behind the run's own counter would be thrown away.

    Args:
        run: What ``WandbLogger.experiment`` gives; it is not finished here.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        self._checks: list[dict[str, Any]] = []
        self._probes: list[dict[str, Any]] = []

    def __getstate__(self) -> dict[str, Any]:
        """All but the run, which cannot leave its process."""
        return {**vars(self), "_run": None}

    def write(self, page: Page) -> None:
        """Logs one page.

        Raises:
            RuntimeError: The sink was copied from another process; its run stayed there.
        """
        if self._run is None:
            raise RuntimeError("this sink has the run of another process; make one with WandbSink(run) here")
        where = {"step": page.step, "epoch": page.epoch}
        if page.scalars:
            row = {**where, **page.scalars}
            if self._checks and self._checks[-1].items() <= row.items():  # the same check, completed
                self._checks.pop()
            self._checks.append(row)
        self._probes += [{**where, "probe": cell(t.name), "caption": cell(t.caption), **t.values} for t in page.tiles]
        self._log(page, _media(page))
        if page.alert and page.verdict is not None:
            self._run.alert(
                f"{page.prefix}: {page.verdict.outcome}", "\n".join(map(message, lines(page.verdict))), level="WARN"
            )
        if page.strip is not None:
            self._log(page, {"evolution_table": _table(self._checks), "probe_table": _table(self._probes)})

    def _log(self, page: Page, media: dict[str, Any]) -> None:
        if media:
            keyed = {f"{page.prefix}/{key}": value for key, value in media.items()}
            self._run.log({**keyed, "trainer/global_step": page.step})


def _media(page: Page) -> dict[str, Any]:
    """Pictures and text by the end of their key."""
    import wandb  # optional, see the extra of the same name

    media: dict[str, Any] = {}
    if page.tiles:
        media["probes"] = [_image(tile) for tile in page.tiles[:MAX_IMAGES]]
    if page.strip is not None:
        media["evolution"] = wandb.Image(page.strip, caption=f"evolution up to step {page.step}", file_type="png")
    for cue, picture in page.evidence.items():
        caption = f"only the {printable(cue)} was swapped"
        media[f"evidence/{key_part(cue)}"] = wandb.Image(picture, caption=caption, file_type="png")
    if page.text is not None:
        media["summary"] = wandb.Html(f"<pre>{html.escape(page.text)}</pre>")
    return media


def _image(tile: Tile) -> Any:
    """JPEG, which is ten times faster to encode than PNG, with the attention bands to switch on and off."""
    import wandb

    bands = {"mask_data": tile.bands, "class_labels": dict(enumerate(BAND_NAMES))}
    caption = f"{printable(tile.name)}\n{printable(tile.caption)}"
    return wandb.Image(tile.image, caption=caption, file_type="jpg", masks={"attention": bands})


def _table(rows: list[dict[str, Any]]) -> Any:
    """One column per key that any row has; empty cells where a number is undefined."""
    import wandb

    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["step"]
    return wandb.Table(columns=[*columns], data=[[_cell(row.get(c)) for c in columns] for row in rows[-MAX_ROWS:]])


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
