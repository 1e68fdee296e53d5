"""What every logger gets that uploads: pictures of fewer and fewer checks, and the page of the run as one file."""

import copy
from dataclasses import replace

import pytest

from house.pages import bad_news, check, last_page
from lightning_cam import sinks
from lightning_cam.sinks.report_page import read_back
from lightning_cam.sinks.uploads import ReportFile, Thinned


def shown(n_checks: int) -> list[int]:
    """Steps of the checks whose pictures are shown in a fit of so many, the last page among them."""
    thinned = Thinned()
    pages = [check(step, f"leaf {step}") for step in range(n_checks)] + [last_page(n_checks - 1)]
    return [int(tile.name.split()[1]) for page in pages for tile in thinned.of(page)]


def test_every_check_of_a_short_run_is_shown() -> None:
    assert shown(20) == list(range(20))
    assert shown(32) == list(range(32))


def test_a_long_run_is_shown_at_fewer_and_fewer_checks_and_at_its_last() -> None:
    assert shown(70) == [*range(32), *range(32, 64, 2), 64, 68, 69]
    assert len(shown(1000)) == 113
    assert shown(1000)[-1] == 999


def test_a_check_that_is_completed_later_counts_once() -> None:
    thinned = Thinned()
    pages = [check(0, "a"), check(0, lift=0.5), check(1, "a"), check(1, lift=0.5)]

    assert [len(thinned.of(page)) for page in pages] == [1, 0, 1, 0]


def test_the_report_comes_with_bad_news_and_at_the_end() -> None:
    report = ReportFile()
    pages = [check(0, lift=0.5), bad_news(4), bad_news(6, alert=False), replace(last_page(8), is_final=True)]
    texts = [report.of(page) for page in pages]

    assert [text is not None for text in texts] == [False, True, False, True]
    assert texts[-1] is not None
    assert "relies on border" in texts[-1]  # what an earlier page said
    assert sorted(read_back(texts[-1]).checks) == [0]


@pytest.mark.parametrize("name", ["CometSink", "LitLoggerSink", "WandbSink"])
def test_a_sink_that_went_to_another_process_says_what_to_do(name: str) -> None:
    sink = copy.copy(getattr(sinks, name)(object()))

    with pytest.raises(RuntimeError, match=f"make one with {name}"):
        sink.write(check(0, "a"))
