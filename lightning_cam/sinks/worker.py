"""Draws and writes pages beside the training: one thread with a bounded queue."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

from ..text import error_text
from .page import Page, Sink

MOST_FAILURES_IN_A_ROW = 3  # then a logger, a sink or the check itself is given up for this fit: it fails for good
MOST_REMEMBERED_FAILURES = 20


class Worker:
    """Draws pages and hands them to every sink, in order, in one daemon thread. No failure there raises here.

    The caller reads `dropped` and `failures`, and warns of them itself. Submit and close from one thread only.

    Args:
        sinks: Each gets every page. A sink that fails three times in a row gets no more.
        max_pending: Pages that may wait in the queue. Further pages are dropped, since the training must not wait.
    """

    def __init__(self, sinks: Sequence[Sink], *, max_pending: int = 4) -> None:
        self.dropped = 0
        self._max_pending = max_pending
        self._failures: deque[str] = deque(maxlen=MOST_REMEMBERED_FAILURES)
        self._sinks = list(sinks)
        self._failed_in_a_row = [0] * len(self._sinks)
        self._waiting: SimpleQueue[Callable[[], Page] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def failures(self) -> tuple[str, ...]:
        """The failures so far, as text: an exception object would keep its frames' tensors alive."""
        return tuple(self._failures)

    def submit(self, draw: Callable[[], Page], *, wait: bool = False) -> bool:
        """Queues a page and returns at once; False if it was dropped.

        Args:
            draw: Makes the page, in the worker's thread.
            wait: Whether the page may wait behind a full queue instead of being dropped. The caller never waits.
        """
        if self._closed or (not wait and self._waiting.qsize() >= self._max_pending):
            self.dropped += 1
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="lightning_cam pictures", daemon=True)
            self._thread.start()
        self._waiting.put(draw)
        return True

    def close(self, timeout: float = 60.0) -> None:
        """Waits up to ``timeout`` seconds until all pages of the queue are written. Pages left then are dropped.

        No page is begun after this returns. May be called twice.
        """
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._waiting.put(None)
        thread.join(timeout)
        if thread.is_alive():
            self._failures.append(f"pictures were not finished after {timeout:g} s")
        self.dropped += self._emptied()
        self._waiting.put(None)

    def _emptied(self) -> int:
        """Takes every page out of the queue, and returns how many there were."""
        n_pages = 0
        with suppress(Empty):
            while True:
                n_pages += self._waiting.get_nowait() is not None
        return n_pages

    def _work(self) -> None:
        while (draw := self._waiting.get()) is not None:
            self._keep(draw)

    def _keep(self, draw: Callable[[], Page]) -> None:
        working = [i for i, failed in enumerate(self._failed_in_a_row) if failed < MOST_FAILURES_IN_A_ROW]
        if not working:
            return
        try:
            page = draw()
        except (Exception, SystemExit) as error:  # a broken picture must not end the worker
            self._failures.append(f"drawing: {error_text(error)}")
            return
        for i in working:
            self._write(i, page)

    def _write(self, i: int, page: Page) -> None:
        """Hands the page to one sink; its failure costs the other sinks nothing."""
        name = type(self._sinks[i]).__name__
        try:
            self._sinks[i].write(page)
        except (Exception, SystemExit) as error:  # a user's sink or a full disk may raise anything, as sys.exit does
            self._failed_in_a_row[i] += 1
            self._failures.append(f"{name}: {error_text(error)}")
            if self._failed_in_a_row[i] == MOST_FAILURES_IN_A_ROW:
                self._failures.append(
                    f"{name}: gets no more pictures, it failed {MOST_FAILURES_IN_A_ROW} times in a row"
                )
        else:
            self._failed_in_a_row[i] = 0
