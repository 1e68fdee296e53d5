"""``lightning-cam compare --out``: one page that asks for nothing, with the maps of all runs on one slider."""

import re
from pathlib import Path

import pytest

from house.browser import TELEPHONE, in_chromium, on_a_telephone, opened
from house.compared import BIASED, CLEAN, images, verdict
from house.report_pages import HOSTILE, Elements, driven, page, portraits
from lightning_cam import cli, compare
from lightning_cam.sinks import FolderSink, Page
from lightning_cam.sinks.page import Run
from lightning_cam.sinks.snapshot import Portraits

OF_BOTH = ("biased", "remedied")


def run(folder: Path, name: str, steps: tuple[int, ...], of: Portraits) -> Path:
    """A run with maps that differ from those of other names."""
    sink, effects = FolderSink(folder / name), BIASED if name.startswith(OF_BOTH[0]) else CLEAN
    for step in steps:
        each = page(step + len(name), of, probe_accuracy=0.5)
        kept = {"step": step, "run": Run(name), "probe": "a probe", "images": images(effects)}
        found = ("border",) if name.startswith(OF_BOTH[0]) else ()
        sink.write(Page(**{**vars(each), **kept, "verdict": verdict(effects, found), "is_final": step == steps[-1]}))
    return folder / name


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Two runs, whose checks were made at other steps."""
    return [run(tmp_path, OF_BOTH[0], (0, 4, 9), portraits()), run(tmp_path, OF_BOTH[1], (0, 6, 12), portraits())]


@pytest.fixture
def file(pair: list[Path], tmp_path: Path) -> Path:
    compare(*pair).to_html(tmp_path / "compare.html")
    return tmp_path / "compare.html"


def test_the_command_writes_the_page(pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *map(str, pair), "--out", str(tmp_path / "out.html")]) == 0

    text = Elements((tmp_path / "out.html").read_text()).text
    assert capsys.readouterr().out.splitlines()[0] in text
    assert "remedied" in text
    assert "-0.79" in text


def test_a_page_that_cannot_be_written_is_exit_code_2(pair: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *map(str, pair), "--out", str(pair[0] / "no" / "such" / "folder.html")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_nothing_is_fetched_and_names_of_others_are_text(tmp_path: Path) -> None:
    of = portraits(classes=(HOSTILE, "dog"))
    runs = [run(tmp_path, name, (0, 4), of) for name in (OF_BOTH[0], "</script><b onclick=alert(1)>")]
    compare(*runs).to_html(tmp_path / "compare.html")
    text = (tmp_path / "compare.html").read_text()
    parsed = Elements(text)

    assert [tag for tag, _ in parsed.tags].count("script") == 3
    assert not [
        key for _, attributes in parsed.tags for key in attributes if key in ("src", "href", "onclick", "style")
    ]
    assert text.count("</script>") == 3
    assert "<b onclick=alert(1)>" in parsed.text
    assert "unsafe" not in text
    assert "default-src &#39;none&#39;" in text
    assert re.search(r"https?:|url\(|@import|innerHTML|eval\(|fetch\(", text) is None


def test_a_file_that_is_no_such_page_is_not_written_over(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, page = tmp_path / "important.ckpt", tmp_path / "out.html"
    mine.write_bytes(b"\x80weights")

    assert cli.main(["compare", *map(str, pair), "--out", str(mine)]) == 2
    assert "is there and is no page of lightning-cam compare" in capsys.readouterr().err
    assert mine.read_bytes() == b"\x80weights"
    assert [cli.main(["compare", *map(str, pair), "--out", str(page)]) for _ in range(2)] == [0, 0]
    assert not list(tmp_path.glob(".*"))


def test_a_run_without_its_page_has_no_maps_and_says_so(pair: list[Path], tmp_path: Path) -> None:
    (pair[1] / "report.html").write_text("<html>")
    compare(*pair).to_html(tmp_path / "compare.html")
    text = (tmp_path / "compare.html").read_text()

    assert "No maps of B: its page report.html is not there" in Elements(text).text
    assert text.count('"portraits"') == 1


@in_chromium
def test_one_slider_moves_the_maps_of_both_runs(file: Path) -> None:
    code = """
      const label = () => document.querySelector(".bar output").textContent;
      const runs = [...document.querySelectorAll(".columns-of-runs > section")];
      const maps = () => runs.map((run) => run.querySelector("canvas").toDataURL());
      const checks = () => runs.map((run) => run.querySelector("output").textContent.match(/check (\\d)/)[1]).join("");
      const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      const seen = [[label(), checks(), ...maps()]];
      for (const key of ["Home", "ArrowRight", "ArrowRight"]) { press(key); seen.push([label(), checks(), ...maps()]); }
      const slider = document.querySelector(".bar input");
      slider.value = 3; slider.dispatchEvent(new Event("input"));
      seen.push([label(), checks(), ...maps()]);
      document.body.dataset.seen = seen.map(([text, at]) => `${text}:${at}`).join("; ");
      document.body.dataset.a = new Set(seen.map((each) => each[2])).size;
      document.body.dataset.b = new Set(seen.map((each) => each[3])).size;
      document.body.dataset.hash = location.hash;
    """
    file.write_text(driven(file.read_text(), code))
    dom, console = opened(file)

    assert console == []
    assert 'data-seen="at the end:33; step 0:11; step 4:21; step 6:22; step 9:32"' in dom
    assert 'data-a="3"' in dom
    assert 'data-b="3"' in dom
    assert 'data-hash="#check=4' in dom


@pytest.mark.slow
@in_chromium
def test_chromium_opens_it_without_a_word_in_the_console(file: Path) -> None:
    dom, console = opened(file, "#check=1&class=1")

    assert console == []
    assert len(re.findall('<li class="probe (?:right|wrong)">', dom)) == 4  # two of the class, of both runs
    assert ">step 0</output>" in dom


@in_chromium
def test_hostile_names_run_nothing(tmp_path: Path) -> None:
    of = portraits(classes=(HOSTILE, "dog"))
    compare(*(run(tmp_path, name, (0, 4), of) for name in OF_BOTH)).to_html(tmp_path / "compare.html")
    (tmp_path / "compare.html").write_text(driven((tmp_path / "compare.html").read_text(), "document.title = 'alive'"))
    dom, console = opened(tmp_path / "compare.html")

    assert console == []
    assert "<title>alive" in dom
    assert '<img src="x"' not in dom


@in_chromium
def test_a_telephone_shows_paths_verdicts_and_whole_numbers(tmp_path: Path) -> None:
    names = [f"{name}_with_random_backgrounds/lightning_logs/version_0/{name}" for name in OF_BOTH]
    compare(*(run(tmp_path, name, (0, 4), portraits()) for name in names)).to_html(tmp_path / "compare.html")

    width, standing, numbers = on_a_telephone(tmp_path / "compare.html", SEEN)
    assert width <= TELEPHONE
    assert min(standing) > 200
    assert max(numbers) < 30


SEEN = """[
    page.documentElement.scrollWidth,
    [...page.querySelectorAll(".compared dd")].map((each) => each.clientWidth),
    [...page.querySelectorAll(".changes td:nth-child(3), .changes td:nth-child(4)")].map((cell) => {
        const text = page.createRange();
        text.selectNodeContents(cell);
        return text.getBoundingClientRect().height;
    }),
]"""
