"""``lightning-cam check`` and ``report``: what a training left, read back; what is printed where, and exit codes."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from house.pages import bad_news
from house.shortcut import CLASSES, framed_probe, trained_on_frames
from house.tasks import TASKS
from house.trainings import moody, probe, trainer, watched
from lightning_cam import CAMCallback, cli
from lightning_cam.sinks import FolderSink
from lightning_cam.sinks.page import Page, Run
from lightning_cam.sinks.places import place_of
from lightning_cam.sinks.reading_back import Kept, newest

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that ended in "FAIL"."""
    root = tmp_path_factory.mktemp("biased")
    trained_on_frames(root)
    return root


@pytest.fixture
def run(biased: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(biased / "cam_report", tmp_path / "logs" / "version_0" / "cam_report")
    return tmp_path / "logs"


def verdict_of(root: Path, version: int = 0) -> Path:
    return root / f"version_{version}" / "cam_report" / "verdict.json"


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_a_shortcut_is_exit_code_1_and_says_what_to_do(biased: Path, capsys: Capture) -> None:
    assert cli.main(["check", str(biased)]) == 1

    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == "FAIL: the model relies on something that is not the object: border"
    assert lines[1].startswith("  border: with the border of another class instead of its own, the model is right on")
    assert lines[3].startswith("    to do: cut the outer parts away")
    assert lines[-1] == f"from {biased / 'cam_report' / 'verdict.json'} (step 31)"
    assert printed.err == ""


def test_the_command_in_a_verdict_has_the_folder_of_the_run(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(run.parent)
    change(verdict_of(run), reason="guessed: lightning-cam masks 'where it was' writes a page to correct them")
    (verdict_of(run).parent / "probe").mkdir()

    cli.main(["check", "logs"])

    assert "lightning-cam masks logs/version_0/cam_report writes a page" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "report"])
def test_a_reader_that_has_gone_changes_no_exit_code(biased: Path, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([sys.executable, "-m", "lightning_cam", command, str(biased)], stdout=writing, stderr=-1)
    os.close(writing)

    assert ended.returncode == (1 if command == "check" else 0)
    assert ended.stderr == b""


@pytest.mark.parametrize("where", [".", "version_0", "version_0/cam_report"])
def test_a_verdict_is_found_at_or_below(run: Path, where: str) -> None:
    assert cli.main(["check", str(run / where)]) == 1


def found(outcome: str) -> list[dict[str, Any]]:
    """A finding of that outcome, and its cue as measured."""
    figures = {"low": 0.3, "high": 0.7, "p_value": 0.001}
    remedy = {"what": "", "code": ""}
    return [
        {"cue": "border", "outcome": outcome, "reliance": 0.5, "classes": [], "remedy": remedy, "text": "", **figures}
    ]


def measured(
    mean: float | None, low: float | None, high: float | None, p_value: float | None = 0.001
) -> dict[str, Any]:
    reliance = {"mean": mean, "low": low, "high": high, "p_value": p_value, "by_class": {}, "needed_n": 9.0}
    return {"measured": [{"cue": "border", **reliance}]}


AS = {
    outcome: {
        "outcome": outcome,
        "findings": found(outcome) if outcome in ("FAIL", "WARN") else [],
        **measured(0.5, 0.3, 0.7),
    }
    for outcome in ("PASS", "FAIL", "WARN", "INCONCLUSIVE")
}


@pytest.mark.parametrize(
    ("outcome", "code", "code_warn_ok"), [("PASS", 0, 0), ("FAIL", 1, 1), ("WARN", 3, 0), ("INCONCLUSIVE", 4, 4)]
)
def test_every_outcome_has_its_exit_code(run: Path, outcome: str, code: int, code_warn_ok: int) -> None:
    change(verdict_of(run), **AS[outcome])

    assert cli.main(["check", str(run)]) == code
    assert cli.main(["check", str(run), "--warn-ok"]) == code_warn_ok


def test_the_newest_of_several_verdicts_counts_and_is_named(run: Path, capsys: Capture) -> None:
    shutil.copytree(run / "version_0", run / "version_1")
    shutil.copytree(run / "version_0", run / "version_2")
    for version, written in ((0, 100), (1, 300), (2, 200)):
        change(verdict_of(run, version), written=written, **AS["PASS" if version == 1 else "FAIL"])
        os.utime(verdict_of(run, version), (1000 - written, 1000 - written))  # copied in another order

    assert cli.main(["check", str(run)]) == 0
    assert f"from {verdict_of(run, 1)} (step 31, the newest of 3)" in capsys.readouterr().out


def test_of_two_verdicts_of_one_moment_the_later_step_counts(run: Path) -> None:
    shutil.copytree(run / "version_0", run / "version_1")
    change(verdict_of(run, 0), written=100, step=9, **AS["FAIL"])
    change(verdict_of(run, 1), written=100, step=3, **AS["PASS"])

    assert cli.main(["check", str(run)]) == 1


@pytest.mark.parametrize("outcome", AS)
def test_the_verdict_of_a_fit_that_did_not_end_is_inconclusive(run: Path, capsys: Capture, outcome: str) -> None:
    change(verdict_of(run), final=False, run="abcdef" * 5, **AS[outcome])

    assert cli.main(["check", str(run), "--warn-ok"]) == 4
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("INCONCLUSIVE: the fit of run abcdefabcdef had not ended")
    assert second.startswith(f"{outcome}: ")


def test_a_verdict_of_an_earlier_version_is_inconclusive_and_says_so(run: Path, capsys: Capture) -> None:
    content = json.loads(verdict_of(run).read_text())
    for key in ("final", "run", "probe", "written", "versions", "tested", "untested"):
        del content[key]
    verdict_of(run).write_text(json.dumps(content))

    assert cli.main(["check", str(run)]) == 4
    assert "does not say whether the fit had ended" in capsys.readouterr().out


def test_a_verdict_says_what_it_is_of(biased: Path) -> None:
    content = json.loads((biased / "cam_report" / "verdict.json").read_text())
    run = json.loads((biased / "cam_report" / "run.json").read_text())["run"]

    assert (content["final"], content["run"], content["probe"]) == (
        True,
        run,
        framed_probe(classes=CLASSES).fingerprint,
    )
    assert 0 <= time.time() - content["written"] < 3600
    assert content["versions"]["torch"] == torch.__version__
    assert content["tested"] == ["border"]
    assert "background" in content["untested"]


class Broken(pl.Callback):
    """Ends the fit after its second check, as a user's mistake does or Ctrl-C."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 2:
            raise self.error


@pytest.mark.parametrize("error", [ValueError("mistake"), KeyboardInterrupt()], ids=["mistake", "Ctrl-C"])
def test_a_fit_that_is_broken_off_has_no_final_verdict(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises((ValueError, KeyboardInterrupt, SystemExit)):
        trained_on_frames(tmp_path, extra=[Broken(error)])

    assert cli.main(["check", str(tmp_path)]) == 4


def stop_here(verdict: Any) -> None:
    raise RuntimeError("a user's own way to end a fit")


@pytest.mark.parametrize("alarm", ["raise", "stop", stop_here], ids=["raise", "stop", "function"])
def test_a_fail_that_ended_the_fit_is_a_fail(tmp_path: Path, alarm: Any) -> None:
    with nullcontext() if alarm == "stop" else pytest.raises(RuntimeError):
        trained_on_frames(tmp_path, epochs=30, on_shortcut=alarm)

    assert cli.main(["check", str(tmp_path)]) == 1


# ---- runs without a verdict ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:lightning_cam. switched off for this fit")
@pytest.mark.parametrize("command", ["check", "report"])
@pytest.mark.parametrize("is_given", [True, False], ids=["a sink", "by default"])
def test_a_run_that_could_not_be_looked_at_says_why(
    run: Path, capsys: Capture, command: str, *, is_given: bool
) -> None:
    task, folder = TASKS["several volumes"], run / "version_1"
    sinks = [FolderSink(folder / "cam_report")] if is_given else None
    trainer(folder, CAMCallback(sinks=sinks)).fit(task.module(), task.loader(), task.loader())

    assert cli.main([command, str(run)]) == (4 if command == "check" else 0)
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("INCONCLUSIVE: the newest run has no verdict; the callback was switched off: no probe can")
    assert all(word in first for word in task.said)
    assert second.startswith(f"from {folder / 'cam_report' / 'run.json'} (run ")


@pytest.mark.filterwarnings("ignore:lightning_cam. switched off for this fit")
def test_a_second_fit_that_is_not_looked_at_leaves_the_first_ones_folder_alone(tmp_path: Path) -> None:
    callback, task = CAMCallback(trials=()), TASKS["several volumes"]
    watched(tmp_path, callback)
    before = (tmp_path / "cam_report" / "run.json").read_bytes()
    trainer(tmp_path, callback).fit(task.module(), task.loader(), task.loader())

    assert (tmp_path / "cam_report" / "run.json").read_bytes() == before
    assert all(
        word in json.loads((tmp_path / "cam_report" / "run_2" / "run.json").read_text())["off"] for word in task.said
    )
    assert callback.history == ()


@pytest.mark.filterwarnings("ignore:lightning_cam")
def test_checks_before_the_callback_was_switched_off_are_no_verdict_on_the_last_weights(
    tmp_path: Path, capsys: Capture
) -> None:
    callback = CAMCallback(probe(), every_n_train_steps=1, layer="body.0")
    watched(tmp_path, callback, moody(good_calls=40), max_epochs=20)

    assert len(callback.history) > 1
    assert callback.verdict is not None
    assert "switched off before the end of the fit: 3 checks in a row failed" in callback.verdict.reason
    capsys.readouterr()
    assert cli.main(["check", str(tmp_path)]) == 4
    assert capsys.readouterr().out.startswith("INCONCLUSIVE: the callback was switched off before the end of the fit")


@pytest.mark.parametrize("command", ["check", "report"])
def test_a_run_that_died_before_its_first_verdict_hides_behind_no_older_one(
    run: Path, capsys: Capture, command: str
) -> None:
    change(verdict_of(run), **AS["PASS"])
    folder = place_of(run / "version_1" / "cam_report", Run("abcdef" * 5))

    assert cli.main([command, str(run)]) == (4 if command == "check" else 0)
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("INCONCLUSIVE: the newest run has no verdict; its fit goes on, or was broken off before")
    now = time.strftime("%Y-%m-%d", time.localtime())
    assert second.startswith(f"from {folder / 'run.json'} (run abcdefabcdef, since {now} ")


def test_a_resumed_run_without_a_verdict_does_not_take_its_predecessors(run: Path, capsys: Capture) -> None:
    earlier = json.loads(verdict_of(run).read_text())
    place_of(verdict_of(run).parent, Run("new", resumes=earlier["run"], first_step=earlier["step"] + 1))

    assert cli.main(["check", str(run)]) == 4
    assert "its fit goes on, or was broken off" in capsys.readouterr().out


def test_a_run_without_trials_is_said_to_have_ended_without_a_verdict(tmp_path: Path, capsys: Capture) -> None:
    FolderSink(tmp_path).write(Page("cam", 3, 0, is_final=True, run=Run("one")))

    assert cli.main(["check", str(tmp_path)]) == 4
    assert "its fit ended without one" in capsys.readouterr().out


def test_an_unjudged_run_that_is_older_than_a_verdict_is_no_hindrance(run: Path) -> None:
    place_of(run / "version_1" / "cam_report", Run("older"))
    change(run / "version_1" / "cam_report" / "run.json", began=1.0)

    assert cli.main(["check", str(run)]) == 1


@pytest.mark.parametrize("content", ['{"run": "of a tracker"}', "[]", "{", '{"run": "x", "began": "today"}'])
def test_a_file_that_only_has_the_name_of_ours_is_no_run(run: Path, tmp_path: Path, content: str) -> None:
    (run / "run.json").write_text(content)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "run.json").write_text(content)

    assert cli.main(["check", str(run)]) == 1
    assert cli.main(["check", str(tmp_path / "alone")]) == 2


CONTRADICTIONS = {
    "pass with a finding": {**AS["FAIL"], "outcome": "PASS"},
    "pass of nothing": {**AS["PASS"], "measured": []},
    "pass of nothing measured": {**AS["PASS"], **measured(None, None, None, None)},
    "fail without findings": {**AS["FAIL"], "findings": []},
    "fail with a warning": {**AS["FAIL"], "findings": found("WARN")},
    "warning with a fail": {**AS["WARN"], "findings": found("FAIL")},
    "warning of nothing": {**AS["WARN"], "findings": []},
    "inconclusive with a fail": {**AS["FAIL"], "outcome": "INCONCLUSIVE"},
    "finding of no outcome": {**AS["FAIL"], "findings": [*found("FAIL"), *found("PASS")]},
    "effect of nothing found": {**AS["FAIL"], "findings": [{**found("FAIL")[0], "cause": "elsewhere"}]},
    "finding that was not measured": {**AS["FAIL"], "measured": []},
    "finding that was measured otherwise": {**AS["FAIL"], **measured(0.4, 0.3, 0.7)},
    "mean outside its interval": {**AS["PASS"], **measured(0.9, 0.3, 0.7)},
    "interval upside down": {**AS["PASS"], **measured(0.5, 0.7, 0.3)},
    "half an interval": {**AS["PASS"], **measured(0.5, None, 0.7)},
    "no mean": {**AS["PASS"], **measured(None, 0.3, 0.7)},
    "impossible mean": {**AS["PASS"], **measured(5, 3, 7)},
    "impossible p value": {**AS["PASS"], **measured(0.5, 0.3, 0.7, 2.0)},
    "impossible score": {**AS["PASS"], "score": 9.0},
}


@pytest.mark.parametrize("values", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_verdict_that_contradicts_itself_is_exit_code_5(run: Path, capsys: Capture, values: dict[str, Any]) -> None:
    change(verdict_of(run), **values)

    assert cli.main(["check", str(run)]) == 5
    assert "contradicts itself: " in assert_one_line_of_error(capsys, "check")


@pytest.mark.parametrize("command", ["check", "report"])
@pytest.mark.parametrize("name", ["verdict.json", "history.jsonl"])
def test_a_huge_file_is_refused_and_not_read(run: Path, capsys: Capture, command: str, name: str) -> None:
    with (verdict_of(run).parent / name).open("r+b") as file:
        file.truncate(7 * 10**9)  # sparse

    refused = name == "verdict.json" or command == "report"
    assert cli.main([command, str(run)]) == (2 if refused else 1)
    if refused:
        assert "MB" in assert_one_line_of_error(capsys, command)


BROKEN = {
    "empty": b"",
    "half": b'{"outcome": "FA',
    "not text": b"\xff\xfe",
    "a list": b"[1]",
    "a number": b"1",
    "no findings": b'{"outcome": "PASS"}',
    "deep": b"[" * 100_000,
    "long number": b"1" * 5000,
}


@pytest.mark.parametrize("command", ["check", "report"])
@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_an_unreadable_verdict_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: Capture, command: str, content: bytes
) -> None:
    (tmp_path / "verdict.json").write_bytes(content)

    assert cli.main([command, str(tmp_path)]) == 2
    assert_one_line_of_error(capsys, command)


@pytest.mark.parametrize(
    "values",
    [{"outcome": "GOOD"}, {"outcome": []}, {"reason": None}, {"step": None}, {"step": 1e999}, {"findings": [1]},
     {"findings": 1}, {"measured": None}, {"score": "x"}, {"score": 10**400}, {"score": math.nan}, {"score": math.inf},
     {"final": "yes"}, {"run": 1}, {"written": 10**400}, {"written": None}, {"written": math.nan}],
    ids=str,
)  # fmt: skip
def test_a_verdict_with_a_wrong_field_is_exit_code_2(run: Path, capsys: Capture, values: dict[str, Any]) -> None:
    change(verdict_of(run), **values)

    assert cli.main(["check", str(run)]) == 2
    assert_one_line_of_error(capsys, "check")


@pytest.mark.parametrize("command", ["check", "report"])
@pytest.mark.parametrize("name", ["", "nowhere"])
def test_no_verdict_is_one_line_and_exit_code_2(tmp_path: Path, capsys: Capture, command: str, name: str) -> None:
    assert cli.main([command, str(tmp_path / name)]) == 2
    assert "CAMCallback" in assert_one_line_of_error(capsys, command)


def assert_one_line_of_error(capsys: Capture, command: str) -> str:
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"lightning-cam {command}: ")
    assert printed.err.count("\n") == 1
    return printed.err


def test_fields_of_a_later_version_are_no_hindrance(run: Path) -> None:
    change(verdict_of(run), written_by="2.0")

    assert cli.main(["check", str(run)]) == 1


def test_a_report_shows_scalars_before_and_after_and_the_pictures(biased: Path, capsys: Capture) -> None:
    assert cli.main(["report", str(biased)]) == 0

    lines = capsys.readouterr().out.splitlines()
    cells = [line.split() for line in lines]
    assert lines[0].startswith("FAIL: ")
    assert ["step", "0", "step", "31"] in cells
    assert ["cam/probe_accuracy", "0.5", "1"] in cells
    assert any(c[:2] == ["cam/reliance/border", "-"] and float(c[2]) > 0.5 for c in cells if len(c) == 3)
    assert f"in {biased / 'cam_report'}:" in lines
    assert {"  evolution.png", "  summary.md", "  step_00000000 to step_00000031, 5 in all"} <= set(lines)
    assert any(line.startswith("  evidence_border") for line in lines)


def test_a_report_bears_a_folder_with_nothing_but_a_verdict(run: Path, tmp_path: Path, capsys: Capture) -> None:
    shutil.copy(verdict_of(run), tmp_path / "alone.json")
    shutil.rmtree(run / "version_0" / "cam_report")
    verdict_of(run).parent.mkdir()
    shutil.copy(tmp_path / "alone.json", verdict_of(run))

    assert cli.main(["report", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "no scalars in history.jsonl" in printed
    assert "no pictures" in printed


@pytest.mark.parametrize("command", ["check", "report"])
def test_what_files_hold_does_not_steer_the_terminal(run: Path, capsys: Capture, command: str) -> None:
    evil = "a\x1b]0;t\x07\r\x9bb\ud800"
    finding = json.loads(verdict_of(run).read_text())["findings"][0]
    change(verdict_of(run), reason=evil, findings=[{**finding, "text": evil, "classes": [evil]}])
    (verdict_of(run).parent / "history.jsonl").write_text(json.dumps({"step": 1, "epoch": 0, evil: 0.5}))

    assert cli.main([command, str(run)]) == 1 - (command == "report")
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


def test_reading_back_needs_nothing_that_the_package_has_not_loaded(biased: Path) -> None:
    code = (
        "import sys\nfrom lightning_cam import CAMCallback\n"
        "before = set(sys.modules)\n"
        "from lightning_cam import cli\n"
        f"assert cli.main(['report', {str(biased)!r}]) == 0\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert not new & {'torch', 'lightning', 'pytorch_lightning', 'wandb', 'tensorboard', 'matplotlib'}, new\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)


@pytest.mark.slow
def test_a_narrow_terminal_encoding_costs_letters_not_the_exit_code(run: Path) -> None:
    change(verdict_of(run), reason="\u4e2d")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "lightning_cam", "check", str(run)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("FAIL: ?\n")


@pytest.mark.parametrize(
    "linked", ["lightning_logs", "lightning_logs/version_0", "lightning_logs/version_0/cam_report"]
)
def test_a_run_behind_a_link_is_found_once_though_links_form_a_circle(linked: str, tmp_path: Path) -> None:
    run = tmp_path / "scratch" / "run"
    FolderSink(run).write(bad_news(3))
    link = tmp_path / "project" / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(run, target_is_directory=True)
    (run / "back").symlink_to(tmp_path / "project", target_is_directory=True)

    kept = newest(tmp_path / "project")

    assert isinstance(kept, Kept)
    assert (kept.step, kept.n_files) == (3, 1)
