"""What loggers get that upload to a server: fewer pictures of a long run, and the page of the run as one file."""

from .folder import FolderSink, versions
from .page import Page, Tile
from .report_page import RunPage

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
