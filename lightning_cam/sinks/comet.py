"""Shows pages in Comet, in the logger's own experiment. Scalars get there through Lightning."""

from collections.abc import Iterator, Sequence
from copy import copy
from io import BytesIO
from typing import Any

from ..text import key_part, printable
from .folder import REPORT, FolderSink
from .page import Page, Tile, png
from .uploads import ReportFile, Thinned
from .wording import lines, standing


class CometSink:
    """Logs an image series per probe, ``<prefix>/<probe>``, among the graphics of the experiment.

    At the end come ``<prefix>/evolution``, ``<prefix>/evidence/<cue>`` and, among the assets, the page of the run as
    ``<prefix>/report.html``. The verdict is ``<prefix>/verdict`` among the other values, which a list of experiments
    shows as a column. Bad news come as a notification, which Comet sends by mail.

    Args:
        experiment: What ``CometLogger.experiment`` gives; it is not ended here.
        folder: Keeps the same run as files; see `ReportFile`.
    """

    def __init__(self, experiment: Any, folder: FolderSink | None = None) -> None:
        self._experiment = experiment
        self._thinned = Thinned()
        self._report = ReportFile(folder)

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
        experiment, report = _at(self._experiment, page.step), self._report.of(page)
        for name, encoded, caption in _pictures(page, self._thinned.of(page)):  # arrays would get stretched colours
            experiment.log_image(BytesIO(encoded), name=f"{page.prefix}/{name}", metadata={"caption": caption})
        if report is not None:
            experiment.log_asset_data(report, name=f"{page.prefix}/{REPORT}", overwrite=True)
        if page.verdict is not None and report is not None:
            facts = standing(page.verdict, is_final=page.is_final)
            experiment.log_others({f"{page.prefix}/{key}": value for key, value in facts.items()})
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


def _pictures(page: Page, tiles: Sequence[Tile]) -> Iterator[tuple[str, bytes, str]]:
    """Name, PNG file and caption of each picture."""
    yield from ((printable(tile.name), tile.png, printable(tile.caption)) for tile in tiles)
    if page.strip is not None:
        yield "evolution", png(page.strip), f"evolution up to step {page.step}"
    for cue, picture in page.evidence.items():
        yield f"evidence/{key_part(cue)}", png(picture), f"only the {printable(cue)} was swapped"
