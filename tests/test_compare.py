"""``lightning-cam compare``: whether a remedy helped, in pairs of pictures, in a sentence and a table."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from house.compared import BIASED, CLEAN, N, images, spread, verdict
from house.shortcut import framed_probe, trained_on_frames
from lightning_cam import cli, compare
from lightning_cam.sinks import FolderSink, Page
from lightning_cam.sinks.page import Run
from lightning_cam.verdict import Outcome

Capture = pytest.CaptureFixture[str]
HOSTILE = "</script><b>\x1b[31m\u202e=1+1"


def keep(
    folder: Path,
    effects: dict[str, torch.Tensor],
    found: tuple[str, ...] = (),
    *,
    outcome: Outcome | None = None,
    final: bool = True,
    probe: str = "a probe",
    **options: Any,
) -> Path:
    """What a run leaves that ends with these effects."""
    page = Page(
        "cam", 12, 1, {"cam/probe_accuracy": 0.75}, verdict=verdict(effects, found, outcome), is_final=final,
        run=Run(folder.name), probe=probe, images=images(effects, **options),
    )  # fmt: skip
    FolderSink(folder).write(page)
    return folder


def change(folder: Path, **values: Any) -> None:
    file = folder / "verdict.json"
    entry = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({key: value for key, value in entry.items() if value is not None}))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return keep(tmp_path / "biased", BIASED, ("border",)), keep(tmp_path / "remedied", CLEAN)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models that rely on the frame."""
    roots = tmp_path_factory.mktemp("biased"), tmp_path_factory.mktemp("again")
    trained_on_frames(roots[0])
    trained_on_frames(roots[1], epochs=2)
    return roots


def test_a_remedy_that_helped_is_one_sentence(pair: tuple[Path, Path], capsys: Capture) -> None:
    assert cli.main(["compare", *map(str, pair)]) == 0

    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == (
        "The remedy helped: with the border of another class instead of its own, the right class loses 0.80 of its "
        "probability in A and 0.01 in B."
    )
    assert lines[2] == "A  biased    FAIL at step 12"
    assert lines[3] == "B  remedied  PASS at step 12"
    assert lines[5].split() == ["probability", "lost", "with", "A", "B", "B", "-", "A"]
    assert lines[6].split()[:4] == ["border", "0.80", "0.01", "-0.79"]
    assert lines[6].split()[-1] == "less"
    assert lines[7].split()[-2:] == ["the", "same"]
    assert lines[8].split()[:6] == ["right", "on", "the", "probe", "100", "%"]
    assert printed.err == ""


def test_of_values_the_words_are_those_of_values(pair: tuple[Path, Path], tmp_path: Path) -> None:
    for folder in pair:
        measured = json.loads((folder / "verdict.json").read_text())["measured"]
        change(folder, measured=[{**each, "kind": "values"} for each in measured])
    result = compare(*pair)
    result.to_html(tmp_path / "compare.html")

    assert "of pictures with another value, the prediction moves 0.80 of the way to that value in A" in str(result)
    assert "way moved with" in str(result)
    page = (tmp_path / "compare.html").read_text()
    assert "Way moved</h2>" in page
    assert "probability" not in page.split("<body>")[1].split("<script")[0]


@pytest.mark.slow
def test_two_trainings_are_compared_on_all_their_pictures(trained: tuple[Path, Path]) -> None:
    result = compare(*trained)
    change = result.changes[0]["border"]

    assert change.n == len(framed_probe())
    assert change.before == pytest.approx(result.runs[0].measured["border"].mean, abs=1e-3)
    assert change.low <= change.difference <= change.high
    assert result.remarks == ()


def test_the_same_run_twice_did_not_help_and_has_no_spread(pair: tuple[Path, Path]) -> None:
    result = compare(pair[0], pair[0])

    assert result.sentences[0].startswith("The remedy did not help: ")
    assert result.changes[0]["border"].difference == 0
    assert result.changes[0]["border"].direction == "same"


@pytest.mark.parametrize(
    ("effects", "found", "begins"),
    [
        pytest.param({"border": spread(0.3, seed=2)}, ("border",), "The remedy helped, but not enough: ", id="less"),
        pytest.param({"border": spread(0.8, seed=2)}, ("border",), "The remedy made it worse: ", id="more"),
        pytest.param({"border": spread(0.6, seed=2)}, ("border",), "The remedy did not help: ", id="the same"),
        pytest.param(
            {"border": spread(0.5, seed=2, sd=0.4)},
            ("border",),
            "Whether the remedy helped is not settled: ",
            id="open",
        ),
        pytest.param(
            {"tone": spread(0.0)}, (), "Whether the remedy helped cannot be said: B has not measured border", id="none"
        ),
    ],
)
def test_every_other_end_has_its_words(
    tmp_path: Path, effects: dict[str, torch.Tensor], found: tuple[str, ...], begins: str
) -> None:
    before = {"border": spread(0.6)}
    result = compare(keep(tmp_path / "a", before, ("border",)), keep(tmp_path / "b", effects, found))

    assert result.sentences[0].startswith(begins)


def test_a_shortcut_instead_of_the_other_is_said(tmp_path: Path) -> None:
    before = {"border": spread(0.9), "corner": spread(0.0)}
    after = {"border": spread(0.0), "corner": spread(0.6)}
    result = compare(keep(tmp_path / "a", before, ("border",)), keep(tmp_path / "b", after, ("corner",)))

    assert "; but B relies on corner: with the four corners of another class" in result.sentences[0]


def test_some_cues_of_several_are_named(tmp_path: Path) -> None:
    before = {"border": spread(0.9), "corner": spread(0.5), "cast": spread(0.5)}
    after = {"border": spread(0.0), "corner": spread(0.5)}
    result = compare(keep(tmp_path / "a", before, tuple(before)), keep(tmp_path / "b", after, ("corner",)))

    assert result.sentences[0].startswith("The remedy helped against border; against corner that is not shown: ")
    assert result.sentences[0].endswith("; B has not measured cast.")


def test_a_baseline_without_findings_had_nothing_to_remedy(tmp_path: Path) -> None:
    result = compare(keep(tmp_path / "a", CLEAN), keep(tmp_path / "b", BIASED, ("border",)))

    assert result.sentences[0].startswith(
        "A was not found to rely on a shortcut, so there was nothing to remedy; but B "
    )


def test_a_model_that_knows_nothing_is_no_success(tmp_path: Path) -> None:
    result = compare(keep(tmp_path / "a", BIASED, ("border",)), keep(tmp_path / "b", CLEAN, right=0.5))

    assert result.sentences[0].startswith("Nothing can be said: B is right on 50 % of its probe")


def test_a_remedy_that_costs_right_answers_says_so(tmp_path: Path) -> None:
    result = compare(keep(tmp_path / "a", BIASED, ("border",)), keep(tmp_path / "b", CLEAN, right=0.75))

    assert result.sentences[0].endswith("; but B is right on 75 % of the pictures, and A on 100 %.")


def test_three_runs_are_compared_with_the_first(pair: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    third = keep(tmp_path / "third", {"border": spread(0.8, seed=5), "tone": spread(0.0)}, ("border",))
    one, all_three = compare(*pair), compare(*pair, third)

    assert all_three.sentences[0] == one.sentences[0]
    assert all_three.sentences[1].startswith("The remedy did not help: ")
    assert all_three.changes[0]["border"].high > one.changes[0]["border"].high  # of more intervals
    assert cli.main(["compare", *map(str, pair), str(third)]) == 0
    assert "C - A" in capsys.readouterr().out


# ---- which pictures are pairs ----


def test_the_same_pictures_in_another_order_are_pairs(tmp_path: Path) -> None:
    a = keep(tmp_path / "a", BIASED, ("border",))
    b = keep(tmp_path / "b", CLEAN, probe="another")
    entry = json.loads((b / "verdict.json").read_text())["images"]
    columns = {key: entry[key][::-1] for key in ("names", "glances", "targets", "predicted")}
    effects = {cue: values[::-1] for cue, values in entry["effects"].items()}
    plain = compare(a, b)
    change(b, images={**entry, **columns, "effects": effects})
    mixed = compare(a, b)

    assert mixed.changes[0]["border"] == plain.changes[0]["border"]
    assert mixed.changes[0]["border"].n == N
    assert "compared on the 64 pictures that both looked at" in mixed.remarks[0]


def test_of_two_overlapping_probes_the_common_pictures_are_compared(tmp_path: Path) -> None:
    result = compare(keep(tmp_path / "a", BIASED, ("border",)), keep(tmp_path / "b", CLEAN, first=16, probe="another"))

    assert result.changes[0]["border"].n == 48
    assert result.changes[0]["border"].before == pytest.approx(float(BIASED["border"][16:].mean()), abs=1e-3)
    assert "the 48 pictures that both looked at" in result.remarks[0]
    assert result.remarks[0].endswith("these figures are not those of the runs' own reports")


def test_other_pictures_are_two_samples_with_a_wider_interval(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = keep(tmp_path / "other", CLEAN, first=1000, probe="another")
    paired, unpaired = compare(*pair).changes[0]["border"], compare(pair[0], other).changes[0]["border"]

    assert (unpaired.n, paired.n) == (0, N)
    assert unpaired.direction == "less"
    assert "as two samples, with wider intervals: they looked at other pictures" in compare(pair[0], other).remarks[0]


@pytest.mark.parametrize("first", [0, 1000], ids=["the same pictures", "other pictures"])
def test_effects_that_almost_agree_are_not_shown_to_be_the_same_by_few_pictures(tmp_path: Path, first: int) -> None:
    """Of 32 pictures, a tenth may be unlike and have gone unseen."""
    effects = [{"border": spread(0.08, seed=seed, sd=0.002, n=32)} for seed in (0, 1)]
    change = compare(keep(tmp_path / "a", effects[0], n=32), keep(tmp_path / "b", effects[1], n=32, first=first))

    border, right = change.changes[0]["border"], change.changes[0]["right on the probe"]
    assert border.direction == "open"
    assert border.high - border.low > 0.2
    assert right.low < -0.05 < 0.05 < right.high


def test_two_samples_have_a_wider_interval_than_their_pairs(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = compare(pair[0], keep(tmp_path / "other", CLEAN, first=1000)).changes[0]
    paired = compare(*pair).changes[0]

    assert all(other[what].high - other[what].low > paired[what].high - paired[what].low for what in ("border", "tone"))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"classes": ["dog", "cat"]}, id="of another class"),
        pytest.param({"glances": ["7f7f"] * N}, id="of another look"),
        pytest.param({"glances": ["no hex"] * N}, id="of no look"),
        pytest.param({"names": ["x"] * N}, id="of another name"),
    ],
)
def test_pictures_that_are_not_the_same_are_no_pairs(pair: tuple[Path, Path], values: dict[str, Any]) -> None:
    entry = json.loads((pair[1] / "verdict.json").read_text())["images"]
    change(pair[1], images={**entry, **values})

    assert compare(*pair).changes[0]["border"].n == 0


def test_a_file_of_an_earlier_version_is_compared_as_a_sample(pair: tuple[Path, Path]) -> None:
    change(pair[1], images=None)
    result = compare(*pair)

    assert result.changes[0]["border"].direction == "less"
    assert math.isnan(result.changes[0]["right on the probe"].low)
    assert "the file of B keeps no effects of single images, as an earlier version wrote it" in result.remarks[0]
    assert result.runs[1].accuracy == 0.75


def test_effects_that_cannot_be_read_are_said(pair: tuple[Path, Path]) -> None:
    change(pair[1], images={"names": 3})

    assert "the effects of single images of B cannot be read (" in compare(*pair).remarks[0]


# ---- what is wrong ----


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        pytest.param(lambda run: shutil.rmtree(run), 2, "there is no folder", id="no folder"),
        pytest.param(lambda run: (run / "verdict.json").unlink(), 2, "no verdict", id="no verdict"),
        pytest.param(lambda run: (run / "verdict.json").write_text("{"), 2, "no verdict that can be read", id="torn"),
        pytest.param(lambda run: change(run, outcome="PASS"), 5, "the outcome is PASS, with findings", id="outcome"),
        pytest.param(
            lambda run: change(run, images=images({"border": spread(0.1)}).as_json()),
            5,
            "but the mean of its images is 0.1",
            id="images of another run",
        ),
    ],
)
def test_exit_codes_are_those_of_check(
    tmp_path: Path, capsys: Capture, spoil: Callable[[Path], Any], code: int, said: str
) -> None:
    runs = keep(tmp_path / "a", CLEAN), keep(tmp_path / "b", BIASED, ("border",))
    spoil(runs[1])

    assert cli.main(["compare", *map(str, runs)]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("lightning-cam compare: ")
    assert said in printed.err
    assert str(runs[1]) in printed.err


def test_an_interim_verdict_is_compared_and_said(tmp_path: Path, capsys: Capture) -> None:
    runs = keep(tmp_path / "a", BIASED, ("border",)), keep(tmp_path / "b", CLEAN, final=False)

    assert cli.main(["compare", *map(str, runs)]) == 0
    assert "the fit of B had not ended: these are its figures at step 12" in capsys.readouterr().out


def test_the_reason_of_an_inconclusive_verdict_is_said(tmp_path: Path) -> None:
    runs = keep(tmp_path / "a", BIASED, ("border",)), keep(tmp_path / "b", CLEAN, outcome="INCONCLUSIVE")

    assert "the verdict of B is INCONCLUSIVE: a reason" in compare(*runs).remarks
    change(runs[1], reason="a reason; and much more that is on the page of the run")
    assert "the verdict of B is INCONCLUSIVE: a reason" in compare(*runs).remarks


def test_one_run_is_not_enough(pair: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="2 to 26 runs can be compared, got 1"):
        compare(pair[0])


def test_hostile_names_do_not_steer_the_terminal(tmp_path: Path) -> None:
    effects = {HOSTILE: spread(0.9)}
    runs = keep(tmp_path / "a", effects, (HOSTILE,)), keep(tmp_path / "b\x1b[31m", {HOSTILE: spread(0.0)})
    text = str(compare(*runs))

    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.slow
def test_the_command_runs_as_a_process(pair: tuple[Path, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lightning_cam", "compare", *map(str, pair)], capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("The remedy helped: ")
    assert done.stderr == ""


def test_a_run_that_judged_nothing_has_no_verdict_to_compare(pair: tuple[Path, Path], tmp_path: Path) -> None:
    FolderSink(tmp_path / "unjudged").write(Page("cam", 1, 0, {"cam/probe_accuracy": 0.5}, run=Run("x")))

    with pytest.raises(ValueError, match="has no verdict"):
        compare(pair[0], tmp_path / "unjudged")
