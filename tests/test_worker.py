"""Pictures are made off the training thread: never waited for, never a reason to stop."""

import gc
import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial

import pytest
import torch

from lightning_cam import Probe, examine
from lightning_cam.examination import Reading
from lightning_cam.sinks import MemorySink, Page, Worker, album
from lightning_cam.verdict import Verdict

WAIT = 30.0  # seconds after which a test has hung


def page(step: int) -> Callable[[], Page]:
    return partial(Page, "cam", step=step, epoch=0)


class GatedSink(MemorySink):
    """Begins to write, says so, and goes on when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.gate = threading.Event(), threading.Event()

    def write(self, page: Page) -> None:
        self.begun.set()
        assert self.gate.wait(WAIT)
        super().write(page)


class FailingSink:
    """Fails at the given calls."""

    def __init__(self, *calls: int, error: BaseException | None = None) -> None:
        self.calls = 0
        self._failing = calls
        self._error = error or OSError("disk full")

    def write(self, page: Page) -> None:
        self.calls += 1
        if self.calls in self._failing:
            raise self._error


def steps(sink: MemorySink) -> list[int]:
    return [page.step for page in sink.pages]


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lightning_cam pictures"]


def test_everything_is_kept_in_order_by_every_sink() -> None:
    first, second = MemorySink(), MemorySink()
    worker = Worker([first, second], max_pending=100)
    for step in range(50):
        assert worker.submit(page(step))
    worker.close()

    assert steps(first) == steps(second) == list(range(50))
    assert (worker.dropped, worker.failures) == (0, ())


def test_a_slow_sink_costs_pages_not_time() -> None:
    sink = GatedSink()
    worker = Worker([sink], max_pending=2)
    worker.submit(page(0))
    assert sink.begun.wait(WAIT)

    assert [worker.submit(page(step)) for step in range(1, 6)] == [True, True, False, False, False]
    assert worker.dropped == 3
    sink.gate.set()
    worker.close()
    assert steps(sink) == [0, 1, 2]


def test_a_page_that_must_not_be_lost_waits_behind_a_full_queue() -> None:
    sink = GatedSink()
    worker = Worker([sink], max_pending=1)
    worker.submit(page(0))
    assert sink.begun.wait(WAIT)
    worker.submit(page(1))

    assert worker.submit(page(9), wait=True)
    sink.gate.set()
    worker.close()
    assert steps(sink) == [0, 1, 9]
    assert worker.dropped == 0


def test_pages_are_drawn_in_the_worker() -> None:
    drawn_by: list[str] = []

    def render() -> Page:
        drawn_by.append(threading.current_thread().name)
        return page(0)()

    worker = Worker([MemorySink()])
    worker.submit(render)
    worker.close()

    assert drawn_by == ["lightning_cam pictures"]


def test_a_failing_sink_costs_the_others_nothing() -> None:
    healthy = MemorySink()
    worker = Worker([FailingSink(2), healthy])
    for step in range(3):
        worker.submit(page(step))
    worker.close()

    assert steps(healthy) == [0, 1, 2]
    assert worker.failures == ("FailingSink: OSError: disk full",)


def test_a_sink_that_ends_the_process_ends_neither_the_worker_nor_the_others() -> None:
    class Quitting(MemorySink):
        def write(self, page: Page) -> None:
            sys.exit("no licence")

    healthy = MemorySink()
    worker = Worker([Quitting(), healthy])
    for step in range(3):
        worker.submit(page(step))
    worker.close()

    assert steps(healthy) == [0, 1, 2]
    assert worker.dropped == 0
    assert worker.failures[0] == "Quitting: SystemExit: no licence"


def test_a_sink_that_fails_three_times_in_a_row_gets_no_more() -> None:
    broken, healthy = FailingSink(*range(100)), MemorySink()
    worker = Worker([broken, healthy], max_pending=10)
    for step in range(10):
        worker.submit(page(step))
    worker.close()

    assert broken.calls == 3
    assert steps(healthy) == list(range(10))
    assert worker.failures[-1] == "FailingSink: gets no more pictures, it failed 3 times in a row"


def test_a_sink_that_fails_now_and_then_stays() -> None:
    moody = FailingSink(1, 2, 4, 5, 7, 8)
    worker = Worker([moody], max_pending=10)
    for step in range(10):
        worker.submit(page(step))
    worker.close()

    assert moody.calls == 10


def test_when_no_sink_is_left_nothing_is_drawn() -> None:
    drawn: list[int] = []

    def render(step: int) -> Page:
        drawn.append(step)
        return page(step)()

    worker = Worker([FailingSink(*range(100))], max_pending=10)
    for step in range(6):
        worker.submit(partial(render, step))
    worker.close()

    assert drawn == [0, 1, 2]


def test_a_picture_that_cannot_be_drawn_is_counted_and_the_next_is_kept() -> None:
    def broken() -> Page:
        raise ValueError("no such probe")

    sink = MemorySink()
    worker = Worker([sink])
    worker.submit(broken)
    worker.submit(page(1))
    worker.close()

    assert steps(sink) == [1]
    assert worker.failures == ("drawing: ValueError: no such probe",)


def test_a_failure_keeps_no_tensor_alive() -> None:
    refs = []

    def broken() -> Page:
        tensor = torch.zeros(3)
        refs.append(weakref.ref(tensor))
        raise ValueError("no")

    worker = Worker([MemorySink()])
    worker.submit(broken)
    worker.close()
    gc.collect()

    assert refs[0]() is None


def test_failures_are_remembered_up_to_a_bound() -> None:
    moody = FailingSink(*(call for call in range(1, 300) if call % 3))
    worker = Worker([moody], max_pending=1000)
    for step in range(300):
        worker.submit(page(step))
    worker.close()

    assert moody.calls == 300
    assert len(worker.failures) == 20


def test_no_thread_is_left_after_close_and_closing_twice_is_fine() -> None:
    worker = Worker([MemorySink()])
    worker.submit(page(0))
    assert len(workers()) == 1

    worker.close()
    worker.close()

    assert workers() == []


def test_without_a_page_there_is_no_thread() -> None:
    worker = Worker([MemorySink()])
    assert workers() == []
    worker.close()


def test_after_close_a_page_is_dropped_and_counted() -> None:
    sink = MemorySink()
    worker = Worker([sink])
    worker.close()

    assert not worker.submit(page(0), wait=True)
    assert worker.dropped == 1
    assert workers() == []


def test_closing_gives_up_on_a_sink_that_hangs_and_begins_nothing_more() -> None:
    sink = GatedSink()
    worker = Worker([sink])
    for step in range(3):
        worker.submit(page(step))
    assert sink.begun.wait(WAIT)
    (thread,) = workers()

    worker.close(timeout=0.01)

    assert thread.daemon  # the process can end
    assert worker.failures == ("pictures were not finished after 0.01 s",)
    assert worker.dropped == 2
    sink.gate.set()
    thread.join(WAIT)
    assert not thread.is_alive()
    assert steps(sink) == [0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_was_ended_is_noticed() -> None:
    worker = Worker([FailingSink(1, error=KeyboardInterrupt())])
    worker.submit(page(0))
    for thread in workers():
        thread.join(WAIT)
    worker.submit(page(1))
    worker.close()

    assert worker.dropped == 1


def test_a_page_that_cannot_be_drawn_leaves_its_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """An end of a fit is kept, whatever its pictures are."""

    def broken(*_: object, **__: object) -> Page:
        raise ValueError("no such probe")

    monkeypatch.setattr(album, "final_page", broken)
    sink, verdict = MemorySink(), Verdict("INCONCLUSIVE", 0.0, (), (), "not yet")
    pages = album.Album(Probe(torch.rand(4, 3, 8, 8), torch.arange(4) % 2), "cam", [sink], 2)
    pages.finish([Reading(7, 1, {})], verdict, [], alert=False)

    assert pages.close(60.0) == ["pictures could not be kept ('drawing: ValueError: no such probe')"]
    assert [(page.step, page.verdict, page.is_final) for page in sink.pages] == [(7, verdict, True)]


def test_scalars_are_kept_of_checks_whose_pictures_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(album, "check_page", lambda _, frame, *__, **___: Page("cam", frame.reading.step, 0))
    probe, sink = Probe(torch.rand(4, 3, 8, 8), torch.arange(4) % 2), GatedSink()
    pages = album.Album(probe, "cam", [sink], 0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    report = examine(model, probe, trials=())
    for step in range(40):
        pages.add(report, Reading(step, 0, {"cam/lift": 0.5}), None, alert=False)
    sink.gate.set()

    assert "pictures of 2" in pages.close(60.0)[0]
    assert steps(sink) == list(range(40))
