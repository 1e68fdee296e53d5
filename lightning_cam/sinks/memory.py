"""Keeps pages in memory: for tests and notebooks."""

from .page import Page


class MemorySink:
    """Keeps every page it is given, in order.

    >>> from lightning_cam.sinks import Page
    >>> sink = MemorySink()
    >>> sink.write(Page("cam", step=3, epoch=0, scalars={"cam/pointing_accuracy": 0.5}))
    >>> sink.pages[-1].step
    3
    """

    def __init__(self) -> None:
        self.pages: list[Page] = []

    def write(self, page: Page) -> None:
        """Keeps one page."""
        self.pages.append(page)
