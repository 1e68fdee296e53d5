"""``lightning-cam audit``: what it prints where, and its exit code."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tqdm
from PIL import Image

from lightning_cam import audit, audit_dataset, cli
from lightning_cam.demo.pictures import write_pictures

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    for kind in ("biased", "clean"):
        (root / kind).mkdir()
        write_pictures(root / kind, n_train=30, n_val=1, clean=kind == "clean")
    return root


def test_the_table_goes_to_standard_output_and_findings_are_exit_code_1(demo: Path, capsys: Capture) -> None:
    code = cli.main(["audit", str(demo / "biased" / "train")])

    printed = capsys.readouterr()
    assert code == 1
    assert printed.out.startswith("read fins 30 of 30, sprouts 30 of 30 pictures\n\nskill: ")
    assert "\nstrong    codec" in printed.out
    assert "transforms.FlattenAlpha()" in printed.out
    assert printed.err == ""


def test_no_finding_is_exit_code_0(demo: Path, capsys: Capture) -> None:
    assert cli.main(["audit", str(demo / "clean" / "train")]) == 0
    assert "none of" in capsys.readouterr().out


def test_what_no_network_sees_is_printed_and_bearable(tmp_path: Path, capsys: Capture) -> None:
    for label in (0, 1):
        (tmp_path / f"class_{label}").mkdir()
        for i in range(30):
            grain = np.random.default_rng([label, i]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(grain).save(tmp_path / f"class_{label}" / f"{'ab'[label]}_{i}.png")

    assert cli.main(["audit", str(tmp_path)]) == 0
    assert "file name prefix" in capsys.readouterr().out


def test_json_is_everything_and_nothing_else(demo: Path, capsys: Capture) -> None:
    code = cli.main(["audit", str(demo / "biased" / "train"), "--json"])

    printed = capsys.readouterr()
    assert code == 1
    assert json.loads(printed.out, parse_constant=pytest.fail) == audit_dataset(demo / "biased" / "train").as_json()
    assert printed.err == ""


def test_options_reach_the_audit(demo: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}
    monkeypatch.setattr(
        audit, "audit_dataset", lambda source, **options: given.update(options) or audit_dataset(source, **options)
    )

    cli.main(["audit", str(demo / "biased" / "train"), "--per-class", "20", "--workers", "3", "--seed", "7"])

    assert {key: given[key] for key in ("per_class", "workers", "seed")} == {"per_class": 20, "workers": 3, "seed": 7}
    assert capsys.readouterr().out.startswith("read fins 20 of 30, sprouts 20 of 30 pictures")


def test_a_manifest_can_be_audited(demo: Path, tmp_path: Path, capsys: Capture) -> None:
    files = sorted((demo / "biased" / "train").rglob("*.*"))
    rows = [f"{file},{file.parent.name}" for file in files]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))

    assert cli.main(["audit", str(tmp_path / "list.csv")]) == 1
    assert "JPEG in every 'fins' picture" in capsys.readouterr().out


def broken_manifest(root: Path) -> Path:
    (root / "list.csv").write_bytes(b"path,label\n\xff\xfe,a\n")
    return root / "list.csv"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda root: root / "nowhere", "/nowhere' does not exist; check the path", id="nowhere"),
        pytest.param(lambda root: root, "no pictures in class folders", id="an empty folder"),
        pytest.param(broken_manifest, "utf-8", id="not text"),
    ],
)
def test_what_cannot_be_audited_is_one_line_and_exit_code_2(
    make: Callable[[Path], Path], message: str, tmp_path: Path, capsys: Capture
) -> None:
    assert cli.main(["audit", str(make(tmp_path)), "--json"]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("lightning-cam audit: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_a_folder_that_may_not_be_read_is_exit_code_2(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: Path) -> None:
        raise PermissionError(13, "Permission denied", "there")

    monkeypatch.setattr(Path, "iterdir", denied)

    assert cli.main(["audit", str(tmp_path)]) == 2
    assert "Permission denied: 'there'" in capsys.readouterr().err


def test_without_a_command_the_commands_are_listed(capsys: Capture) -> None:
    assert cli.main([]) == 2

    printed = capsys.readouterr().err
    assert all(command in printed for command in ("demo", "audit", "check", "report"))


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_for_terminals(
    demo: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    monkeypatch.setattr("tqdm.tqdm", partial(tqdm.tqdm, mininterval=0, miniters=1))

    cli.main(["audit", str(demo / "clean" / "train"), "--json"])

    printed = capsys.readouterr()
    assert ("60/60" in printed.err) == is_terminal
    assert bool(printed.err) == is_terminal
    assert json.loads(printed.out)


@pytest.mark.parametrize("option", ["--per-class", "--workers"])
def test_zero_is_too_few(option: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["audit", "x", option, "0"])

    assert stop.value.code == 2
    assert "a whole number from 1 was expected, got '0'" in capsys.readouterr().err


@pytest.mark.slow
def test_python_m_audits(demo: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "lightning_cam", "audit", "biased/train"],
        cwd=demo,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (1, "")
    assert "strong    background" in done.stdout
