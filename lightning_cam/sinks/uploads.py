"""What loggers get that upload to a server: fewer pictures of a long run, and the page of the run as one file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..text import key_part, printable
from .folder import FolderSink
from .page import Page, Tile
from .report_page import RunPage
from .verdict_file import versions
from .wording import standing

# A run of 1000 checks gets pictures at 113 of them. W&B advises fewer than 1000 files a run, and MLflow needs three
# requests for a picture.
DOUBLINGS = 5  # the first 2 ** 5 checks are shown; then every second until their number has doubled, every fourth, ...


class Thinned:
    """Which tiles of a fit are shown: those of growing numbers of checks, and always those of the last one."""

    def __init__(self) -> None:
        self._n_checks = 0
        self._waiting: tuple[Tile, ...] = ()

    def of(self, page: Page) -> tuple[Tile, ...]:
        """The tiles to show with a page; takes every page of the fit, in order."""
        if page.text is not None:
            return self._waiting
        if not page.tiles:
            return ()
        is_due = self._n_checks % 2 ** max(0, self._n_checks.bit_length() - DOUBLINGS) == 0
        self._n_checks += 1
        self._waiting = () if is_due else page.tiles
        return page.tiles if is_due else ()


class ReportFile:
    """The page of the run, for a logger that keeps files: with it a finding can be sent to others.

    Args:
        folder: Keeps the same run. Its page has the checks from before a run was resumed as well.
    """

    def __init__(self, folder: FolderSink | None = None) -> None:
        self._folder = folder
        self._page = RunPage()

    def of(self, page: Page) -> str | None:
        """The whole file at an alert and at the end, else None; takes every page of the fit, in order."""
        in_folder = None if self._folder is None else self._folder.page_of(page.run)
        run_page = in_folder or self._page
        run_page.add(page)
        return run_page.html(page, versions()) if page.alert or page.text is not None else None


class Picture(NamedTuple):
    """A picture ``(h, w, 3)`` uint8 RGB of a whole run, or of a whole check."""

    image: NDArray[np.uint8]
    caption: str


@dataclass(frozen=True, eq=False)
class Upload:
    """What a page sends to a server.

    Attributes:
        tiles: Those that are shown.
        pictures: Evidence first, then the evolution, then figures of a check, by key without the page's prefix.
        report: The page of the run as one file, at an alert and at the end; else None.
        facts: For the columns of a list of runs, by key with the prefix; only where there is a report.
    """

    tiles: tuple[Tile, ...]
    pictures: Mapping[str, Picture]
    report: str | None
    facts: Mapping[str, str]


class Uploads:
    """Chooses what of each page is uploaded; takes every page of the fit, in order.

    Args:
        folder: See `ReportFile`.
    """

    def __init__(self, folder: FolderSink | None = None) -> None:
        self._thinned = Thinned()
        self._report = ReportFile(folder)

    def of(self, page: Page) -> Upload:
        """What to send of a page."""
        report = self._report.of(page)
        facts = {} if page.verdict is None or report is None else standing(page.verdict, is_final=page.is_final)
        keyed = {f"{page.prefix}/{key}": value for key, value in facts.items()}
        tiles = self._thinned.of(page)
        shown = page.figures if tiles or page.text is not None else {}
        figures = {name: Picture(image, f"{name} at step {page.step}") for name, image in shown.items()}
        return Upload(tiles, {**_pictures(page), **figures}, report, keyed)


def _pictures(page: Page) -> dict[str, Picture]:
    pictures = {
        f"evidence/{key_part(cue)}": Picture(image, f"only the {printable(cue)} was swapped")
        for cue, image in page.evidence.items()
    }
    if page.strip is not None:
        pictures["evolution"] = Picture(page.strip, f"evolution up to step {page.step}")
    return pictures
