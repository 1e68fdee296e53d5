"""The tab *Attention*: a real TensorBoard reads what the sink wrote, and Chromium opens the tab."""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pytorch_lightning import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

import lightning_cam
from house.board import served
from house.browser import CHROMIUM, TELEPHONE, Browser, browsing, in_chromium
from house.dashboards import trained
from house.pages import bad_news, check, convicted
from house.report_pages import HOSTILE, page, portraits
from lightning_cam.sinks import FolderSink, Page, TensorBoardSink
from lightning_cam.sinks.page import Run
from lightning_cam.tensorboard_tab import events
from lightning_cam.tensorboard_tab.plugin import AttentionLoader

N_CHECKS = 150  # more than TensorBoard keeps by itself
NAME = f"a run {HOSTILE.replace('/', '|')[:60]}"  # of a folder


def written(folder: Path, *pages: Page) -> Path:
    with SummaryWriter(str(folder)) as writer:
        sink = TensorBoardSink(writer)
        for each in pages:
            sink.write(each)
    return folder


def got(address: str, path: str) -> bytes:
    with urllib.request.urlopen(f"{address}/data/plugin/lightning_cam/{path}", timeout=60) as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Type"]
        return bytes(answer.read())


def runs(address: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(got(address, "runs"))["runs"]
    return found


def shown(address: str, run: str, name: str = "cam") -> str:
    return got(address, "page?" + urllib.parse.urlencode({"run": run, "name": name})).decode()


def checks_of(html: str) -> list[dict[str, Any]]:
    block = re.search(r'<script type="application/json" id="checks">(.*?)</script>', html, re.DOTALL)
    assert block is not None
    entries: list[dict[str, Any]] = json.loads(block[1])
    return entries


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


END = replace(bad_news(200), run=Run("a run"))
BROKEN = {
    "no words": ("cam.words", "[1]"),
    "words of another version": ("cam.words", '{"verdict": {}}'),
    "no json": ("cam.check", "}"),
    "no step": ("cam.check", '{"step": NaN}'),
    "no portraits": ("cam.portraits", "7"),
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a TensorBoard with a long run, a run of hostile names, one of two callbacks and two fits, and broken ones."""
    folder = tmp_path_factory.mktemp("logs")
    long, hostile, others = portraits(), portraits(classes=(HOSTILE, "dog")), portraits(6)
    written(folder / "long", *(page(step, long, border=step / N_CHECKS) for step in range(N_CHECKS)), END)
    written(folder / NAME, page(1, hostile), page(4, hostile), bad_news(9, convicted(HOSTILE, (HOSTILE,))))
    written(folder / "twice", page(1, portraits()), page(3, others), replace(page(3, others), prefix="other"))
    completed = check(5, probe_accuracy=0.5, **{"reliance/a": 1})
    written(folder / "completed", page(5, portraits(), probe_accuracy=0.5), completed)
    for name, (tag, text) in BROKEN.items():
        with SummaryWriter(str(folder / name)) as writer:
            TensorBoardSink(writer).write(page(1, portraits()))
            writer._get_file_writer().add_summary(events.summary(tag, text), 2)
    with served(folder) as found:
        until(lambda: len(runs(found)) == 5 + len(BROKEN))
        yield found


def test_every_check_is_shown_without_a_flag(address: str) -> None:
    assert [entry["step"] for entry in checks_of(shown(address, "long"))] == list(range(N_CHECKS))


def test_every_check_is_shown_without_the_fast_loader_too(tmp_path: Path) -> None:
    long = portraits()
    written(tmp_path / "run", *(page(step, long) for step in range(20)))
    with served(tmp_path, "--load_fast=false") as found:
        until(lambda: runs(found))

        assert len(checks_of(shown(found, "run"))) == 20


def test_a_number_of_events_that_the_user_chose_stays() -> None:
    flags = Namespace(samples_per_plugin={"lightning_cam": 7, "images": 3})
    AttentionLoader().fix_flags(flags)

    assert flags.samples_per_plugin == {"lightning_cam": 7, "images": 3}


def test_the_page_is_that_of_report_html(address: str, tmp_path: Path) -> None:
    long = portraits()
    sink = FolderSink(tmp_path)
    for step in range(3):
        sink.write(page(step, long, border=step / N_CHECKS))
    sink.write(END)

    def words(html: str) -> list[str]:
        return re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL).split()

    assert words(shown(address, "long")) == words((tmp_path / "report.html").read_text())


def test_the_runs_are_listed_with_their_callbacks(address: str) -> None:
    listed = runs(address)

    names = [*(("cam", run) for run in ("long", NAME, "completed", "twice", *BROKEN)), ("other", "twice")]
    assert [(run["run"], run["name"]) for run in listed] == sorted((run, name) for name, run in names)
    assert all(time.time() - 3600 < run["time"] < time.time() for run in listed)


def test_checks_of_other_probes_are_left_out(address: str) -> None:
    assert [entry["step"] for entry in checks_of(shown(address, "twice"))] == [3]


def test_hostile_names_are_text_on_the_page(address: str) -> None:
    html = shown(address, NAME)

    assert len(re.findall("<script", html)) == 5
    assert "&lt;script&gt;alert(1)" in html


@pytest.mark.parametrize("run", BROKEN)
def test_events_that_cannot_be_read_are_said_to_be(address: str, run: str) -> None:
    assert shown(address, run).startswith("This run cannot be shown")


def test_a_run_that_is_not_there_is_said_not_to_be(address: str) -> None:
    assert shown(address, "../..").startswith("This run cannot be shown")


def test_a_check_that_is_completed_keeps_its_maps_and_gets_its_values(address: str) -> None:
    (entry,) = checks_of(shown(address, "completed"))

    assert entry["values"] == {"probe_accuracy": 0.5, "reliance/a": 1}
    assert "maps" in entry


def test_tensorboard_imports_the_tab_in_no_time() -> None:
    """50 ms beyond TensorBoard itself; an idle machine takes 5."""
    code = (
        "import sys, time, tensorboard.default, werkzeug\n"
        "start = time.process_time()\n"
        "import lightning_cam.tensorboard_tab.plugin\n"
        "assert time.process_time() - start < 0.05\n"
        "assert not {'torch', 'pytorch_lightning', 'lightning', 'jinja2'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_installation_tells_tensorboard_of_the_tab() -> None:
    text = (Path(lightning_cam.__file__).parents[1] / "pyproject.toml").read_text()

    assert (
        'entry-points.tensorboard_plugins]\nlightning_cam = "lightning_cam.tensorboard_tab.plugin:AttentionLoader"'
        in text
    )


# ---- in a browser ----

TAB = """
  const until = async (ask) => {
    for (let i = 0; i < 3000; i += 1) {
      try { const answer = ask(); if (answer) return answer; } catch { /* not yet */ }
      await (await fetch("/data/environment")).text(); // a request takes real time, which a timer here does not
    }
    throw new Error("never: " + ask);
  };
  const top_ = () => document.querySelector("iframe");
  const tab = () => top_().contentDocument.querySelector("iframe").contentDocument;
  const page = () => tab().querySelector("main iframe:not(.waiting)").contentDocument;
  const label = () => page().querySelector("output").textContent;
  (async () => {
    const kept = document.body.dataset;
    await until(() => tab().querySelectorAll("option").length > 5);
    const picker = tab().querySelector("select");
    const choose = (run) => {
      picker.value = [...picker.options].find((option) => option.text.startsWith(run)).value;
      picker.dispatchEvent(new Event("change"));
    };
    choose("long");
    await until(() => label().includes("of 150"));
    const slider = page().querySelector("input[type=range]");
    slider.value = 2;
    slider.dispatchEvent(new Event("input"));
    kept.moved = label();
    choose("a run");
    await until(() => label().includes("of 2"));
    kept.hostile = page().querySelector(".probe").textContent.includes("<script>alert(1)");
    const frames = [top_().contentWindow, tab().defaultView, page().defaultView];
    const asked = frames.flatMap((frame) => frame.performance.getEntriesByType("resource").map((entry) => entry.name));
    const elsewhere = asked.filter((name) => !/^(data|blob):/.test(name) && new URL(name).origin !== location.origin);
    kept.elsewhere = elsewhere.length;
    kept.asked = asked.length > 5;
    kept.width = page().documentElement.scrollWidth;
  })();
"""


@in_chromium
@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, TELEPHONE])
def test_chromium_opens_the_tab_moves_the_slider_and_switches_runs(address: str, tmp_path: Path, width: int) -> None:
    query = urllib.parse.urlencode({"code": TAB, "width": width})
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
        "--enable-logging=stderr", "--virtual-time-budget=300000", "--dump-dom",
        f"{address}/data/plugin/driver/page?{query}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    body = re.search("<body([^>]*)>", done.stdout)
    assert body is not None
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "Three.js" not in line]

    assert 'data-moved="check 3 of 150' in body[1]
    assert 'data-hostile="true" data-elsewhere="0" data-asked="true"' in body[1]
    assert int(re.findall('data-width="([0-9]+)"', body[1])[0]) <= width
    assert not [line for line in said if "WebGL" not in line]


# ---- while a training runs ----

FRAME = "document.querySelector('iframe').contentDocument"
PAGE = f"{FRAME}.querySelector('main iframe:not(.waiting)').contentDocument"
LABEL = f"{PAGE}.querySelector('output').textContent"
SLIDER = f"{PAGE}.querySelector('input[type=range]')"
STATUS = f"{FRAME}.querySelector('[role=status]').textContent"
HAS_FOCUS = f"{PAGE}.hasFocus() && {PAGE}.activeElement === {SLIDER}"
FRESH = f"{FRAME}.querySelector('header > button')"
HURRY = "const later = setTimeout; setTimeout = (act, ms) => later(act, ms / 5);"  # the tab asks each second
PICKER = f"{FRAME}.querySelector('select')"


class Patient(Callback):
    """Slows a training down, and ends it when the browser has seen enough. A second run begins meanwhile."""

    def __init__(self, browser: "Future[Seen]", second: Path) -> None:
        self.browser, self.second = browser, second

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        time.sleep(0.03)
        trainer.should_stop = self.browser.done()

    def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.current_epoch == 12:
            written(self.second, page(1, portraits()), page(2, portraits()))


class Seen(NamedTuple):
    """What a person saw of a training in the tab.

    Attributes:
        came: Label of a check that came while nobody touched anything.
        place: Label after two steps back with the keys.
        kept: The same after new checks have arrived.
        focus: Whether the slider had the focus then.
        asked: Label after the button for the new checks was pressed with the keyboard.
        focus_after: Whether the slider has the focus in the new page.
        stepped: Whether an arrow key moved it.
        second: Label of the run that began later.
        away: Status once TensorBoard was gone and another run was asked for.
        left: Label of the page that stayed then.
        back: Label of the run that was asked for, once TensorBoard was there again.
    """

    came: str
    place: str
    kept: str
    focus: bool
    asked: str
    focus_after: bool
    stepped: bool
    second: str
    away: str
    left: str
    back: str


def watched(address: str, logs: Path, folder: Path) -> Seen:
    """A person opens the tab in front of a training, looks back, goes on, looks at another run."""
    count = f"Number({LABEL}.match(/of ([0-9]+)/)[1])"
    with browsing(folder) as browser:
        browser.open(f"{address}/#lightning_cam", first=HURRY)
        first = browser.until(count)
        came = browser.until(f"{count} > {max(first, 2)} && {LABEL}")  # of three, two steps back are possible
        browser.run(f"{SLIDER}.focus()")
        for _ in range(2):
            browser.press("ArrowLeft")
        place = browser.run(LABEL)
        browser.until(f"!{FRESH}.hidden")
        kept, focus = browser.run(LABEL), browser.run(HAS_FOCUS)
        browser.run(f"{FRESH}.focus()")
        browser.press("Enter")
        asked = browser.until(f"{LABEL} !== {json.dumps(place)} && {LABEL}")
        focus_after = browser.run(HAS_FOCUS)
        browser.press("ArrowLeft")
        stepped = browser.run(LABEL) != asked
        browser.until(f"[...{PICKER}.options].length === 2")
        second = chosen(browser, "second", f"{count} === 2 && {LABEL}")
        with suppress(OSError):
            urllib.request.urlopen(f"{address}/data/plugin/driver/end", timeout=5)
        away = chosen(browser, "first", STATUS)
        left = browser.run(LABEL)
        with served(logs, "--port", address.rpartition(":")[2]):
            back = browser.until(f"{count} > 2 && {LABEL}")
        return Seen(came, place, kept, focus, asked, focus_after, stepped, second, away, left, back)


def chosen(browser: Browser, run: str, condition: str) -> Any:
    browser.run(
        f"{PICKER}.value = [...{PICKER}.options].find((option) => option.text === '{run}').value;"
        f"{PICKER}.dispatchEvent(new Event('change'))"
    )
    return browser.until(condition)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("live")
    logs = folder / "logs"
    logs.mkdir()
    with served(logs) as address, ThreadPoolExecutor(1) as pool:
        person = pool.submit(watched, address, logs, folder / "chromium")
        logger = TensorBoardLogger(logs, name="", version="first")
        trained(folder, logger, Patient(person, logs / "second"), max_epochs=150)
        return person.result()


@in_chromium
@pytest.mark.slow
def test_checks_of_a_training_arrive_by_themselves(seen: Seen) -> None:
    at, of = label(seen.came)

    assert at == of


@in_chromium
@pytest.mark.slow
def test_an_arrival_moves_neither_slider_nor_focus(seen: Seen) -> None:
    at, of = label(seen.place)

    assert at == of - 2
    assert seen.kept == seen.place
    assert seen.focus


@in_chromium
@pytest.mark.slow
def test_the_new_checks_come_when_asked_for_and_the_keys_go_on(seen: Seen) -> None:
    at, of = label(seen.asked)

    assert at == of > label(seen.place)[1]
    assert seen.focus_after
    assert seen.stepped


@in_chromium
@pytest.mark.slow
def test_a_run_that_begins_later_can_be_chosen(seen: Seen) -> None:
    assert label(seen.second) == (2, 2)


@in_chromium
@pytest.mark.slow
def test_a_server_that_goes_away_is_said_and_the_page_stays(seen: Seen) -> None:
    assert seen.away.startswith("TensorBoard does not answer. This page shows the last checks")
    assert seen.left == seen.second


@in_chromium
@pytest.mark.slow
def test_the_tab_goes_on_when_the_server_is_back(seen: Seen) -> None:
    assert label(seen.back)[1] >= label(seen.asked)[1]


def label(text: str) -> tuple[int, int]:
    """The number of the check, and of all."""
    at, of = re.findall(r"^check (\d+) of (\d+)", text)[0]
    return int(at), int(of)
