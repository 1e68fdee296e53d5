"""``lightning-cam check`` and ``report``: what a training left, read back; what is printed where, and exit codes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from house.shortcut import trained_on_frames
from lightning_cam import cli

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
    assert lines[1].startswith("  border: with the border of another class instead of its own, the right class loses")
    assert lines[3].startswith("    to do: cut the outer parts away")
    assert lines[-1] == f"from {biased / 'cam_report' / 'verdict.json'} (step 31)"
    assert printed.err == ""


@pytest.mark.parametrize("where", [".", "version_0", "version_0/cam_report"])
def test_a_verdict_is_found_at_or_below(run: Path, where: str) -> None:
    assert cli.main(["check", str(run / where)]) == 1


@pytest.mark.parametrize(
    ("outcome", "code", "code_warn_ok"), [("PASS", 0, 0), ("FAIL", 1, 1), ("WARN", 3, 0), ("INCONCLUSIVE", 4, 4)]
)
def test_every_outcome_has_its_exit_code(run: Path, outcome: str, code: int, code_warn_ok: int) -> None:
    change(verdict_of(run), outcome=outcome)

    assert cli.main(["check", str(run)]) == code
    assert cli.main(["check", str(run), "--warn-ok"]) == code_warn_ok


def test_the_newest_of_several_verdicts_counts_and_is_named(run: Path, capsys: Capture) -> None:
    shutil.copytree(run / "version_0", run / "version_1")
    shutil.copytree(run / "version_0", run / "version_2")
    change(verdict_of(run, 1), outcome="PASS")
    for version, seconds in ((0, 100), (1, 300), (2, 200)):
        os.utime(verdict_of(run, version), (seconds, seconds))

    assert cli.main(["check", str(run)]) == 0
    assert f"from {verdict_of(run, 1)} (step 31, the newest of 3)" in capsys.readouterr().out


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
     {"findings": 1}, {"measured": None}, {"score": "x"}, {"score": 10**400}],
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
        "import sys, lightning_cam\n"
        "before = set(sys.modules)\n"
        "from lightning_cam import cli\n"
        f"assert cli.main(['report', {str(biased)!r}]) == 0\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert not new & {'torch', 'lightning', 'pytorch_lightning', 'wandb', 'tensorboard', 'matplotlib'}, new\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)


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
