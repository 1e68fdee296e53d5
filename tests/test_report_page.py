"""`report.html`: one file that asks for nothing, in which names are text, and whose verdict needs no JavaScript."""

import base64
import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import torch

from house.browser import TELEPHONE, in_chromium, opened, width_on_a_telephone
from house.pages import bad_news, check, convicted, picture
from house.report_pages import HOSTILE, Elements, audited, block, driven, page, portraits, random, report, written
from house.reports import report as made_up
from house.trainings import Net, loader, probe, trainer
from lightning_cam import CAMCallback, front
from lightning_cam.audit.findings import AuditFinding
from lightning_cam.cues import remedy_for
from lightning_cam.intervention import Reliance
from lightning_cam.sinks import FolderSink, Page
from lightning_cam.sinks.page import Run
from lightning_cam.sinks.page_words import verdict_entry
from lightning_cam.sinks.reading_back import verdict_of
from lightning_cam.sinks.report_page import MOST_CHECKS, MOST_OF_MISTAKES, RunPage, read_back
from lightning_cam.sinks.snapshot import MOST_CELLS, MOST_PROBES, Snapshot, places
from lightning_cam.verdict import Verdict, judge


def test_the_verdict_is_read_without_javascript() -> None:
    text = Elements(report(page(3, portraits()), bad_news(3))).text

    assert "FAIL" in text
    assert "The model relies on border." in text
    assert "blur at random" in text
    assert "transform = 1" in text
    assert "0.50 (0.25 to 0.75)" in text


def test_what_was_not_tested_is_named_with_the_reason() -> None:
    cues = convicted().untested
    verdict = replace(convicted(), why_untested={**dict.fromkeys(cues, "No trial swaps it"), "background": "No masks"})
    rows = verdict_entry(verdict)["untested"]

    assert [(row["n"], row["why"]) for row in rows] == [(1, "No masks."), (len(cues) - 1, "No trial swaps it.")]
    assert rows[1]["cues"].startswith("corner, region, cast")
    text = Elements(report(replace(bad_news(1), verdict=verdict))).text
    assert text.count("No trial swaps it.") == 1
    assert f"These are {rows[1]['cues']}." in text


@pytest.mark.parametrize(("sources", "first"), [(("alpha",), "FlattenAlpha"), (("given", "alpha"), "RandomBackground")])
def test_the_remedy_that_fits_the_pictures_comes_first(sources: tuple[str, ...], first: str) -> None:
    """It also survives the file of the verdict."""
    measured = Reliance("background", 0.9, 0.8, 1.0, 1e-6, {}, 8.0)
    verdict = judge(replace(made_up(measured), mask_sources=sources))
    kept = verdict_of(json.loads(json.dumps(verdict.as_json())))
    html = report(replace(bad_news(1), verdict=kept))

    assert kept.findings[0].remedy == verdict.findings[0].remedy
    assert f"transforms.{first}()" in kept.findings[0].remedy.code
    code, other = html.split("<summary>Another way: ")
    assert f"transforms.{first}()" in code
    assert remedy_for("background").fitting(("none",) if first == "FlattenAlpha" else ("alpha",)).what in other


def test_findings_without_pictures_are_named_beside_those_that_have_some() -> None:
    verdict = convicted()
    several = replace(verdict, findings=(*verdict.findings, replace(verdict.findings[0], cue="<b>")))

    assert "No pictures were drawn of <b>:" in Elements(report(replace(bad_news(1), verdict=several))).text
    assert "No pictures were drawn" not in report(bad_news(1))


def test_a_cue_above_the_margin_that_is_no_finding_says_why() -> None:
    lows = {"tone": 0.15, "position": 0.09, "border": 0.15, "cast": -0.1, "corner": 0.15}
    measured = tuple(Reliance(cue, 0.2, low, 0.4, 0.01, {}, 8.0) for cue, low in lows.items())
    verdict = Verdict("PASS", 0, (), measured, "none", expected=("border",))
    rows, open_rows = (
        {row["name"]: row["note"] for row in verdict_entry(each)["cues"]}
        for each in (verdict, replace(verdict, outcome="INCONCLUSIVE"))
    )

    assert "Context: the object has this property itself" in rows["tone"]
    assert rows["position"] == rows["cast"] == "Not certain: the interval reaches below 0.10."
    assert "may lie above by chance" in rows["corner"]
    assert "Not judged" in open_rows["corner"]
    assert "Expected" in rows["border"]


def test_the_audit_of_the_data_is_part_of_the_page() -> None:
    finding = AuditFinding("format", "codec", HOSTILE, 0.9, 0.8, 0.01, "strong", f"{HOSTILE} is PNG", "reencode", "")
    again = replace(finding, fact="palette", text="less clear")
    found = audited((finding, again))
    shown, clean = (Elements(report(replace(page(1, portraits()), audit=each))) for each in (found, audited(())))

    assert "codec, strong" in shown.text
    assert "<script>alert(1)</script>" in shown.text
    assert "less clear" not in shown.text
    assert "None of the 1 properties that the audit compared on 7 pictures predicts the class." in clean.text
    assert "training data give away" not in Elements(report(page(1, portraits()))).text


def test_the_audit_that_the_callback_was_given_reaches_the_page(tmp_path: Path) -> None:
    cam = CAMCallback(probe(12), sinks=[FolderSink(tmp_path)], verbose=False, trials=(), audit=audited(()))
    trainer(tmp_path, cam).fit(Net(), loader(), loader())

    assert "on 7 pictures predicts the class" in (tmp_path / "report.html").read_text()


def test_a_run_without_a_verdict_says_so() -> None:
    assert "no cue was swapped" in Elements(report(page(3, portraits()))).text


def test_hostile_names_are_text() -> None:
    shown = portraits(classes=(HOSTILE, "dog"))
    html = report(page(1, shown), bad_news(1, convicted(HOSTILE, (HOSTILE,))))
    parsed = Elements(html)

    assert [tag for tag, _ in parsed.tags].count("script") == 5
    assert not [attribute for _, attributes in parsed.tags for attribute in attributes if attribute.startswith("on")]
    assert "<script>alert(1)</script>" in parsed.text
    assert block(html, "portraits")["probes"][0]["name"].startswith("</script><script>alert(1)")  # type: ignore[index]
    assert "\u202e" not in html
    assert "\x1b" not in html


def test_nothing_is_fetched_and_nothing_but_our_code_runs() -> None:
    html = report(page(1, portraits()), bad_news(1))
    parsed = Elements(html)
    (policy,) = [attributes["content"] for _, attributes in parsed.tags if "http-equiv" in attributes]
    addresses = [attributes[key] for _, attributes in parsed.tags for key in ("src", "href") if key in attributes]
    parts = re.findall(r"<(style|script)>(.*?)</\1>", html, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for _, text in parts]

    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert all(f"'sha256-{digest}'" in policy for digest in digests)
    assert len(digests) == 3
    assert all(str(address).startswith("data:image/") for address in addresses)
    assert re.search(r"https?:|//[a-z]+\.|url\(|@import|innerHTML|eval\(|fetch\(", html) is None
    assert not any("style" in attributes for _, attributes in parsed.tags)


def test_the_code_is_small() -> None:
    assert (
        sum(len(front.source(name)) for name in ("page.css", "boot.js", "report.html.j2")) + len(front.script())
        < 100_000
    )


def test_mistakes_have_a_second_map() -> None:
    shown = portraits(4)
    html = report(page(1, shown))

    (entry,) = block(html, "checks")  # type: ignore[misc]
    assert entry["mistaken"]["rows"] == [2, 3]
    assert base64.b64decode(entry["mistaken"]["maps"]) == places(random(4, 7, 7, seed=1001)[2:]).tobytes()
    assert entry["pairs"] == [[0, 1, 1, 2], [1, 0, 1, 2]]


def test_second_maps_that_take_too_much_room_stay_in_every_second_check() -> None:
    shown, run = portraits(MOST_PROBES), RunPage()
    for step in range(150):
        run.add(page(step, shown, MOST_CELLS))
    having = [step for step, line in sorted(run.checks.items()) if "mistaken" in line]

    assert sum(len(line) for line in run.checks.values() if "mistaken" in line) < 4 * MOST_OF_MISTAKES
    assert max(having) == 149
    assert len(having) < len(run.checks)


def test_64_probes_and_100_checks_fit_in_five_megabytes_and_a_check_takes_no_time() -> None:
    shown, run, seconds = portraits(64, 128), RunPage(), []
    for step in range(100):
        each = page(step, shown, MOST_CELLS + 4, **{f"reliance/{cue}": 0.123456 for cue in "abcdefghij"})
        start = time.process_time()
        run.add(each)
        html = run.html(each, {})
        seconds.append(time.process_time() - start)

    assert len(html.encode()) < 5_000_000
    assert sorted(seconds)[50] < 0.05


def test_of_more_checks_every_second_one_is_left_out() -> None:
    run, shown = RunPage(), portraits()
    for step in range(3 * MOST_CHECKS):
        run.add(page(step, shown))

    assert MOST_CHECKS // 2 <= len(run.checks) <= MOST_CHECKS
    assert min(run.checks) == 0
    assert max(run.checks) == 3 * MOST_CHECKS - 1


def test_a_check_that_comes_again_without_pictures_keeps_its_maps() -> None:
    html = report(page(5, portraits(), pointing_accuracy=0.5), check(5, probe_accuracy=0.5))

    assert [entry["step"] for entry in block(html, "checks") if "maps" in entry] == [5]  # type: ignore[attr-defined]


def test_maps_are_on_the_scale_of_the_pictures() -> None:
    maps = torch.tensor([[[0.0, 1.0], [1.0, 30.0]], [[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])

    none, even, twice = 0, 80, 128  # 255 log(1 + d) / log(9)
    assert places(maps)[1].tolist() == [[none] * 2] * 2
    assert places(maps)[2].tolist() == [[even] * 2] * 2
    assert places(torch.tensor([[[0.0, 1.0], [1.0, 2.0]]]))[0].tolist() == [[none, even], [even, twice]]


def test_fine_maps_are_averaged() -> None:
    assert places(random(2, 56, 40)).shape == (2, MOST_CELLS, MOST_CELLS)
    assert places(random(2, 7, 5)).shape == (2, 7, 5)


def test_a_probe_without_a_mask_has_no_outline_and_no_share() -> None:
    shown = portraits(4)

    assert shown.areas[-1] is None
    assert shown.outlines[-1] is None
    assert shown.areas[0] == pytest.approx(1 - 0.25 * 0.75)


def test_what_is_not_finite_is_null() -> None:
    shown = portraits()
    nothing = Snapshot.of(
        shown, torch.full((4, 7, 7), torch.nan), torch.full((4, 2), torch.nan), torch.full((4,), torch.nan)
    )
    html = report(Page("cam", 1, 0, {"cam/probe_accuracy": float("nan")}, snapshot=nothing))

    (entry,) = block(html, "checks")  # type: ignore[misc]
    assert entry["outside"] == [None] * 4
    assert entry["values"] == {"probe_accuracy": None}


def test_a_page_is_read_back_by_the_run_that_resumes_it() -> None:
    shown = portraits()
    html = report(page(1, shown), page(2, shown))
    resumed = read_back(html)
    resumed.add(page(3, portraits()))

    assert sorted(resumed.checks) == [1, 2, 3]
    assert resumed.html(page(3, shown), {"torch": "2.0"}).count('"outside":') == 3


def test_a_resumed_run_continues_the_page_of_its_folder(tmp_path: Path) -> None:
    FolderSink(tmp_path).write(page(1, portraits()))
    FolderSink(tmp_path).write(replace(page(3, portraits()), run=Run("later", resumes="a run", first_step=1)))

    checks = block((tmp_path / "report.html").read_text(), "checks")
    assert [entry["step"] for entry in checks] == [1, 3]  # type: ignore[attr-defined]


def test_a_reliance_of_nearly_nothing_has_no_sign() -> None:
    nothing = Reliance("border", -0.001, -0.002, -0.0, 1.0, {}, 8.0)
    (row,) = verdict_entry(Verdict("PASS", 0, (), (nothing,), "none"))["cues"]

    assert row["text"] == "0.00 (0.00 to 0.00)"


def test_checks_of_other_probes_are_not_shown_beside_these() -> None:
    resumed = read_back(report(page(1, portraits())))
    resumed.add(page(3, portraits(6)))

    assert sorted(resumed.checks) == [3]


@pytest.mark.parametrize("text", ["", "<html>", '<script type="application/json" id="checks">[1]</script>', "[" * 9999])
def test_a_page_that_cannot_be_read_has_no_checks(text: str) -> None:
    assert read_back(text).checks == {}


def test_a_fit_leaves_the_page(tmp_path: Path) -> None:
    cam = CAMCallback(probe(12), n_images=4, sinks=[FolderSink(tmp_path)], verbose=False, every_n_epochs=1)
    trainer(tmp_path, cam).fit(Net(), loader(), loader())
    html = (tmp_path / "report.html").read_text()

    checks = block(html, "checks")
    assert [entry["step"] for entry in checks] == [reading.step for reading in cam.history]  # type: ignore[attr-defined]
    assert len(block(html, "portraits")["probes"]) == 12  # type: ignore[index,call-overload]
    assert cam.verdict is not None
    assert cam.verdict.reason[1:] in unescape(html)
    assert "report.html" in json.loads((tmp_path / "run.json").read_text())["files"]


def test_the_terminal_names_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(tmp_path, CAMCallback(probe(12), n_images=2)).fit(Net(), loader(), loader())
    (file,) = tmp_path.rglob("report.html")

    assert str(file) in capsys.readouterr().out


def test_the_page_of_an_interim_check_says_so(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    sink.write(page(3, portraits()))
    interim = Elements((tmp_path / "report.html").read_text()).text
    sink.write(Page("cam", 4, 1, strip=picture(1), is_final=True, run=Run("a run")))
    final = Elements((tmp_path / "report.html").read_text()).text

    assert "the fit had not ended at step 3" in interim
    assert "At the end of the fit" in final


def test_the_page_of_a_finished_model_speaks_of_no_fit_and_explains_its_words(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    sink.write(Page("cam", 4, 1, strip=picture(1), is_final=True, run=Run("a look", is_fit=False)))
    text = Elements((tmp_path / "report.html").read_text()).text

    assert "One look at a model" in text
    assert "end of the fit" not in text
    assert all(word in text for word in ("The probe is", "each look is a check", "the even share: 1 is"))


# ---- in a browser ----


def a_run(classes: Sequence[str] = ("cat", "dog")) -> str:
    shown = portraits(6, 64, classes)
    low_high = {"reliance/border": 0.5, "reliance/border_low": 0.25, "reliance/border_high": 0.75}
    return report(*(page(step, shown, **low_high, probe_accuracy=step / 10) for step in (1, 4, 9)), bad_news(9))


def test_figures_stand_before_the_maps_also_of_a_finding() -> None:
    html = a_run()

    assert 0 < html.index('id="remedy"') < html.index('id="cues"') < html.index('id="time"')


@pytest.mark.parametrize(("low", "n_marks"), [(-0.2, 0), (-0.3, 1)])
def test_an_interval_that_goes_on_beyond_the_picture_is_marked(low: float, n_marks: int) -> None:
    wide = Reliance("border", 0.0, low, 0.3, 1.0, {}, 8.0)

    assert report(bad_news(1, replace(convicted(), measured=(wide,)))).count('class="goes-on"') == n_marks


@in_chromium
def test_chromium_opens_it_from_disk_without_a_word_in_the_console(tmp_path: Path) -> None:
    dom, console = opened(written(tmp_path, a_run()))

    assert console == []
    assert dom.count('class="probe ') == 6
    assert "check 3 of 3, step 9, epoch 2" in dom
    assert "lost with another border" in dom


@pytest.mark.slow
@in_chromium
def test_shares_of_guessed_masks_say_so(tmp_path: Path) -> None:
    """The last picture has no mask, and the second one was outlined by a person."""
    guessed = replace(portraits(4), sources=("guess", "given", "guess", "none"))

    dom, _ = opened(written(tmp_path, report(page(1, guessed, background_attention_ratio=0.4))))

    assert len(re.findall(r"<p>[^<]*outside \(guessed mask\)</p>", dom)) == 2
    assert "attention outside the object, as far as guessed" in dom


@in_chromium
def test_the_policy_stops_what_is_not_ours(tmp_path: Path) -> None:
    planted = a_run().replace(
        "</main>", "<script>document.title = 'mine'</script><img src='http://127.0.0.1:9/'></main>"
    )
    dom, console = opened(written(tmp_path, planted))

    assert "<title>mine" not in dom
    assert len(console) >= 2
    assert all("Content Security Policy" in line for line in console)


@in_chromium
def test_hostile_names_run_nothing_in_chromium(tmp_path: Path) -> None:
    html = driven(a_run((HOSTILE, "dog")), "document.title = 'alive'")
    dom, console = opened(written(tmp_path, html))

    assert console == []
    assert "<title>alive" in dom
    assert "right: &lt;/script&gt;&lt;script&gt;alert(1)" in dom
    assert '<img src="x"' not in dom


@in_chromium
@pytest.mark.parametrize(
    ("address", "expected", "n_shown"),
    [
        pytest.param("#check=1", "check 1 of 3, step 1, epoch 0", 6, id="a check"),
        pytest.param("#check=2&wrong=1", "check 2 of 3", 3, id="wrong only"),
        pytest.param("#class=1&sort=outside&view=spot", "check 3 of 3", 3, id="a class"),
        pytest.param("#pair=1-0&map=difference", "dog taken for cat: 2 of 3", 2, id="a pair"),
        pytest.param("#check=2&sort=sure&map=predicted", "check 2 of 3", 3, id="certain mistakes"),
        pytest.param("#check=77&class=9&view=toString&sort=<b>", "check 3 of 3", 6, id="nonsense"),
    ],
)
def test_the_address_keeps_what_is_shown(tmp_path: Path, address: str, expected: str, n_shown: int) -> None:
    dom, console = opened(written(tmp_path, a_run()), address)

    assert console == []
    assert expected in dom
    assert len(re.findall('<li class="probe (?:right|wrong)">', dom)) == n_shown


@in_chromium
def test_keys_move_the_slider_and_the_maps(tmp_path: Path) -> None:
    code = """
      const label = () => document.querySelector("output").textContent;
      const shown = () => label() + document.querySelector(".probe canvas").toDataURL();
      const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      const seen = [shown()];
      for (const key of ["ArrowLeft", "Home", "ArrowRight", "End"]) { press(key); seen.push(shown()); }
      press(" ");
      setTimeout(() => {
        document.body.dataset.steps = seen.map((text) => text.match(/check (\\d)/)[1]).join("");
        document.body.dataset.pictures = new Set(seen.map((text) => text.split("data:")[1])).size;
        document.body.dataset.played = label();
        document.body.dataset.hash = location.hash;
      }, 2000);
    """
    dom, console = opened(written(tmp_path, driven(a_run(), code)))

    assert console == []
    assert 'data-steps="32123"' in dom
    assert 'data-pictures="3"' in dom
    assert 'data-played="check 3 of 3' in dom
    assert 'data-hash="#check=3' in dom


@in_chromium
def test_a_probe_opens_large_from_the_keyboard_and_from_the_address(tmp_path: Path) -> None:
    code = """
      const dialog = document.querySelector("dialog"), view = document.querySelector("li:nth-child(4) button.view");
      const maps = () => dialog.querySelectorAll("figure canvas").length;
      const seen = () => `${dialog.open}/${dialog.querySelector("h3").textContent}/${maps()}`;
      const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      const said = [seen()];
      let closings = 0; // the page hears of each some time later
      dialog.addEventListener("close", () => (closings += 1) === 2 && setTimeout(() => {
        said.push(document.activeElement === view, location.hash.includes("probe"));
        document.body.dataset.said = said.join(" ");
      }));
      dialog.close();
      view.focus(); view.click(); said.push(seen(), location.hash.includes("probe=3"));
      press("ArrowLeft"); said.push(document.querySelector("output").textContent.slice(0, 7));
      dialog.querySelector("[aria-label='the next probe']").click();
      said.push(seen(), dialog.getAttribute("aria-label"));
      dialog.close();
    """
    dom, console = opened(written(tmp_path, driven(a_run(), code)), "#probe=0")

    assert console == []
    said = re.search('data-said="([^"]*)"', dom)
    assert said is not None
    assert said[1] == "true/cat_0/2 true/dog_3/4 true check 2 true/cat_4/4 cat_4 true false"


@in_chromium
def test_nothing_is_wider_than_a_telephone(tmp_path: Path) -> None:
    names = ("a class with a name of many_letters_in_one_word_indeed_without_end", "dog")

    assert width_on_a_telephone(written(tmp_path, a_run(names))) <= TELEPHONE
