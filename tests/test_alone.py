"""A report and a verdict show themselves: as a file, and in a notebook."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import torch

from house.browser import in_chromium, opened
from house.pages import convicted
from house.shortcut import BORDER, CLASSES, Framed, framed_probe
from lightning_cam import Report, examine, judge
from lightning_cam.examination import Reading, collect_evidence
from lightning_cam.intervention import Reliance
from lightning_cam.sinks import MemorySink
from lightning_cam.sinks.album import Album
from lightning_cam.sinks.alone import UNASKED
from lightning_cam.sinks.pages import evidence_picture
from lightning_cam.sinks.report_page import RunPage
from lightning_cam.sinks.snapshot import data_uri
from lightning_cam.sinks.wording import most_in

SEVEN = tuple("abcdefg")
OF_EIGHT = replace(
    convicted(), measured=(Reliance("border", 0.5, 0.2, 0.7, 0.0, dict.fromkeys("abcdefgh", (0.5, 0.0)), 8.0),)
)
CASES = ((SEVEN, OF_EIGHT), (SEVEN, convicted("border", SEVEN)))
HOSTILE = '"></iframe><script>document.title = "theirs"</script>'


@pytest.fixture(scope="module")
def report() -> Report:
    torch.manual_seed(0)
    return examine(Framed(), framed_probe(classes=[HOSTILE, CLASSES[1]]), trials=BORDER)


def test_a_report_is_written_as_a_page(report: Report, tmp_path: Path) -> None:
    report.to_html(tmp_path / "look.html")
    page = (tmp_path / "look.html").read_text()

    assert page.startswith("<!doctype html>")
    assert judge(report).outcome in page
    assert report.layer in page
    assert HOSTILE not in page


def test_a_page_shows_the_evidence_that_it_was_given(report: Report, tmp_path: Path) -> None:
    assert report.probe is not None
    evidence = collect_evidence(Framed(), report.probe, report, "border")
    verdict = convicted("border", SEVEN)
    report.to_html(tmp_path / "without.html", verdict)
    report.to_html(tmp_path / "with.html", verdict, [evidence])

    without, shown = ((tmp_path / name).read_text() for name in ("without.html", "with.html"))
    assert UNASKED in without
    assert UNASKED not in shown
    assert data_uri(evidence_picture(report.probe, evidence)) in shown


def test_a_page_says_what_was_looked_at(report: Report) -> None:
    assert report.probe is not None
    sink = MemorySink()
    album = Album(report.probe, "cam", [sink], 2)
    album.add(report, Reading(1, 0, {"cam/probe_accuracy": 1.0}), None, alert=False)
    album.close(60)

    n, (page,) = len(report.probe), sink.pages
    assert page.facts["pictures"] == f"{n} of 2 classes"
    assert page.facts["masks of objects"].startswith(f"{n} ")
    assert (page.facts["layer"], page.facts["method"]) == (report.layer, report.method)
    html = RunPage().html(page, {})
    assert all(f"<dd>{value}</dd>" in html for value in page.facts.values())
    assert "<dt>made</dt>" in html


def test_a_report_is_written_with_the_verdict_that_is_given(report: Report, tmp_path: Path) -> None:
    report.to_html(tmp_path / "look.html", convicted())

    assert "blur at random" in (tmp_path / "look.html").read_text()


def test_without_trials_no_verdict_is_invented(tmp_path: Path) -> None:
    examine(Framed(), framed_probe(), trials=()).to_html(tmp_path / "look.html")

    assert "No verdict: no cue was swapped" in (tmp_path / "look.html").read_text()


def test_a_report_without_its_probe_says_what_is_missing(report: Report, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no probe, so there are no pictures"):
        replace(report, probe=None).to_html(tmp_path / "look.html")
    assert replace(report, probe=None)._repr_html_() is None


def test_in_a_notebook_a_report_is_a_frame_that_nothing_leaves(report: Report) -> None:
    frame = report._repr_html_()

    assert frame is not None
    attributes = re.fullmatch(r'<iframe srcdoc="([^"<>]*)" ([^<>]*)></iframe>', frame)
    assert attributes is not None
    assert 'sandbox="allow-scripts"' in attributes[2]
    assert 'height="' in attributes[2]
    assert unescape(attributes[1]).startswith("<!doctype html>")


def test_in_a_notebook_a_verdict_is_words() -> None:
    html = convicted("border", (HOSTILE,))._repr_html_()

    assert "<h3>FAIL: The model relies on a shortcut</h3>" in html
    assert "blur at random" in html
    assert "transform = 1" in html
    assert "0.50 (0.25 to 0.75)" in html
    assert "Not tested: " in html
    assert "<script" not in html


@in_chromium
def test_one_look_has_neither_slider_nor_curves(report: Report, tmp_path: Path) -> None:
    report.to_html(tmp_path / "look.html")
    dom, console = opened(tmp_path / "look.html")

    assert console == []
    assert dom.count('class="probe ') == 64
    assert '<div class="bar" hidden="">' in dom
    curves = re.findall('<svg viewBox="0 -2 100 44"[^>]*>', dom)
    assert len(curves) > 2
    assert sum('hidden=""' in each for each in curves) == len(curves) - 1  # the last is in the closed dialog
    assert "space bar" not in dom.split("<script")[0]


@in_chromium
def test_chromium_draws_the_frame_of_a_notebook(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html><title>notebook</title>{report._repr_html_()}")
    dom, console = opened(file)

    assert console == []
    assert "<title>notebook</title>" in dom


def test_where_all_classes_rely_on_a_cue_they_are_not_listed() -> None:
    some, every = (most_in(convicted("border", names).findings[0], judged) for names, judged in CASES)

    assert some == "Most in: a, b, c, d, e, f and 1 more."
    assert every == "In all classes."
