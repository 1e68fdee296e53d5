"""``lightning-cam examine``: a finished model without a trainer, from its checkpoint to a verdict and an exit code."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from house.finished import NETS, forget_project, make_project
from lightning_cam import Finding, Remedy, Verdict, cli
from lightning_cam.attribution.outputs import ORDINAL
from lightning_cam.finished import again, command
from lightning_cam.finished.earlier import with_lost_findings
from lightning_cam.finished.wording import as_options

Capture = pytest.CaptureFixture[str]
COMPLETE = "--data val --masks val_masks --mean 0.5 --std 0.25 --n 32"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    torch.manual_seed(0)
    make_project(folder)
    yield folder
    forget_project()


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    return project


def examined(words: str) -> int:
    return cli.main(["examine", *shlex.split(words)])


# ---- a verdict -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checkpoint", "model"),
    [
        pytest.param("lit.ckpt", "Lit", id="of Lightning, with its hyperparameters"),
        pytest.param("lit.ckpt", "Net", id="of Lightning, the module inside"),
        pytest.param("weights.pt", "Net", id="a state dict"),
        pytest.param("ddp.pt", "Net", id="a dict of a script, with prefixes"),
        pytest.param("whole.pt --unpickle", "Net", id="a whole module, trusted"),
    ],
)
def test_a_finished_model_gets_the_verdict_of_its_training(
    checkpoint: str, model: str, here: Path, capsys: Capture
) -> None:
    code = examined(f"{checkpoint} --model {NETS}:{model} {COMPLETE}")

    printed = capsys.readouterr()
    assert code == 1
    assert printed.out.startswith("FAIL: the model relies on something that is not the object: background")
    assert "right on 32 of 32 pictures" in printed.out
    assert printed.err == "lightning-cam examine: looking at 32 pictures of 2 classes\n"


def test_the_folder_is_that_of_a_run_that_has_ended(here: Path, tmp_path: Path, capsys: Capture) -> None:
    examined(f"lit.ckpt --model {NETS}:Lit {COMPLETE} --out {tmp_path / 'out'}")
    examined_lines = capsys.readouterr().out.splitlines()

    code = cli.main(["check", str(tmp_path / "out")])

    checked_lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert checked_lines[:-1] == examined_lines[: len(checked_lines) - 1]
    assert examined_lines[-1] == f"kept in {tmp_path / 'out'}"
    verdict = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert (verdict["final"], verdict["step"], verdict["epoch"]) == (True, 48, 6)
    names = {path.name.split("-")[0] for path in (tmp_path / "out").iterdir()}
    assert names >= {"summary.md", "history.jsonl", "evidence_background", "evolution.png", "step_00000048"}
    assert len(list((tmp_path / "out" / "step_00000048").iterdir())) == 16


def test_nothing_is_written_without_being_asked(here: Path) -> None:
    before = sorted(here.rglob("*.*"))

    examined(f"weights.pt --model {NETS}:Net {COMPLETE}")

    assert [path for path in sorted(here.rglob("*.*")) if path not in before and path.suffix != ".pyc"] == []


def test_a_table_of_the_files_names_groups_and_swaps_by_them(here: Path, tmp_path: Path, capsys: Capture) -> None:
    files = [file.relative_to(here / "val").as_posix() for file in sorted((here / "val").rglob("*.*"))]
    rows = [f"{file},{'east' if i // 2 % 2 else 'west'}" for i, file in enumerate(files)]
    (tmp_path / "sites.csv").write_text("\n".join(["picture,site", *rows]))

    examined(f"lit.ckpt --model {NETS}:Lit {COMPLETE} --attributes {tmp_path / 'sites.csv'} --out {tmp_path / 'out'}")

    assert "site: right on " in capsys.readouterr().out
    verdict = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert "background by site" in [each["cue"] for each in verdict["measured"] if each["low"] is not None]


def test_expected_cues_lead_to_no_finding(here: Path, capsys: Capture) -> None:
    cues = "background border corner cast contrast codec resolution frequency"

    assert examined(f"lit.ckpt --model {NETS}:Lit {COMPLETE} --expect {cues}") == 4
    assert "rule out that the model relies on position" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "remark"),
    [
        pytest.param("", "the model got the pixels as they are, from 0 to 1; if your training normalizes", id="none"),
        pytest.param("--mean 0.5 0.5 0.5 --std 0.25 0.25 0.25", None, id="numbers"),
        pytest.param(f"--preprocess {NETS}:normalize", None, id="a function"),
    ],
)
def test_the_way_from_pixels_to_inputs_is_given_or_said(
    options: str, remark: str | None, here: Path, capsys: Capture
) -> None:
    code = examined(f"lit.ckpt --model {NETS}:Lit --data val --masks val_masks --n 32 {options}")

    printed = capsys.readouterr().out
    assert code == (4 if remark else 1)  # without normalization the model takes all pictures for one class
    assert (remark in printed) if remark else ("from 0 to 1" not in printed)


def test_size_layer_and_forward_are_followed(here: Path, tmp_path: Path, capsys: Capture) -> None:
    options = f"--size 48 64 --layer body.0 --forward {NETS}:around --out {tmp_path}"

    assert examined(f"weights.pt --model {NETS}:Picky {COMPLETE} {options}") == 1

    printed = capsys.readouterr().out
    assert "looked at layer 'body.0'" in printed
    assert "pass --size" not in printed


def test_advice_names_options_of_the_command(here: Path, capsys: Capture) -> None:
    (here / "bare").mkdir()
    for name in ("dark", "light"):
        (here / "bare" / name).mkdir()
        for picture in sorted((here / "train" / "light").iterdir())[:8]:
            (here / "bare" / name / f"{name}_{picture.name}").write_bytes(picture.read_bytes())

    code = examined(f"lit.ckpt --model {NETS}:Lit --data bare")

    printed = capsys.readouterr()
    assert code == 4
    assert "pass --masks DIR" in printed.out
    assert "--expect background" in printed.out
    assert "CAMCallback" not in printed.out
    assert "8 of 16 probe images are copies" in printed.err


def test_a_model_of_other_classes_gets_no_verdict(here: Path, capsys: Capture) -> None:
    assert examined(f"three.pt --model {NETS}:Three {COMPLETE}") == 4
    assert capsys.readouterr().out.startswith("INCONCLUSIVE: the model gives 3 scores for 2 classes")


# ---- no verdict ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("none.ckpt --model N:Lit --data val", "there is no checkpoint 'none.ckpt'"),
        ("val --model N:Lit --data val", "is a folder; one of several files is made whole by python -m"),
        ("notes.txt --model N:Lit --data val", "it is damaged, or torch.save did not write it"),
        ("empty.pt --model N:Net --data val", "'empty.pt' holds no weights"),
        ("objects.ckpt --model N:Lit --data val", f"holds Python objects ({NETS}.Config)"),
        ("lit.ckpt --model N:Deeper --data val", "Deeper could not be built from the hyperparameters"),
        ("lit.ckpt --model N:Linear --data val", "the checkpoint does not fit Linear"),
        ("weights.pt --model N:narrow --data val", "the checkpoint does not fit narrow"),
        ("weights.pt --model N:Lit --data val", "Lit() raised TypeError"),
        ("weights.pt --model N:five --data val", "five gives an object of class int"),
        ("weights.pt --model N:SOURCE --data val", "has no 'SOURCE'"),
        ("weights.pt --model N:__name__ --data val", "--model must name a class or a function"),
        ("weights.pt --model N --data val", "--model must be package.module:Name"),
        ("weights.pt --model src/nets.py:Net --data val", "with src.nets:Net"),
        ("weights.pt --model absent.nets:Net --data val", "there is no module 'absent' here"),
        ("weights.pt --model needing:Net --data val", "'needing' needs 'a_package_that_nobody_has'"),
        (
            "weights.pt --model exiting:Net --data val",
            "importing 'exiting' raised SystemExit: 3; the whole file is imported",
        ),
        ("weights.pt --model training:Net --data val", "importing 'training' began to train, which was stopped"),
        ("weights.pt --model N:Net --data absent", "a folder of class sub-folders was expected, absent is none"),
        ("weights.pt --model N:Net --data val --n 0", "--n must be at least 1 image"),
        ("weights.pt --model N:Net --data val --size 0 9", "--size takes height and width such as 224 224"),
        ("weights.pt --model N:Net --data val --mean 0.5", "--mean and --std belong together"),
        ("weights.pt --model N:Net --data val --mean 0.5 --std 0", "no std may be 0"),
        ("weights.pt --model N:Net --data val --mean 1 --std 1 --preprocess N:normalize", "pass one or the other"),
        ("weights.pt --model N:Net --data val --attributes no.csv", "a CSV file, and 'no.csv' is no file"),
        ("weights.pt --model N:Net --data val --expect colour", "--expect takes names out of ['background'"),
        ("weights.pt --model N:Net --data val --layer neck", "no layer 'neck' in Net"),
        ("weights.pt --model N:Picky --data val", "your forward raised ValueError: not these pictures; check --size"),
    ],
)
def test_what_cannot_be_examined_is_exit_code_2_and_one_line(
    words: str, message: str, here: Path, capsys: Capture
) -> None:
    code = examined(words.replace(" N:", f" {NETS}:").replace(" N ", f" {NETS} "))

    printed = capsys.readouterr()
    *progress, last = printed.err.splitlines()
    assert (code, printed.out) == (2, "")
    assert message in last
    assert len(progress) == ("neck" in words or "Picky" in words)  # the rest is known before


def test_a_script_that_reads_the_command_line_does_not_read_this_one(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys, "argv", ["lightning-cam", "examine", "none.pt"])

    assert examined("none.pt --model talking:Net --data val") == 2

    assert "there is no checkpoint 'none.pt'" in capsys.readouterr().err
    assert sys.argv == ["lightning-cam", "examine", "none.pt"]
    assert pl.Trainer.fit.__module__ == "pytorch_lightning.trainer.trainer"


class _Bomb:
    def __reduce__(self) -> object:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("model", ["Lit", "Net"])
def test_a_checkpoint_runs_no_code_unless_told_to(model: str, here: Path, capsys: Capture) -> None:
    content = torch.load("lit.ckpt", weights_only=True)
    torch.save({**content, "bomb": _Bomb()}, "bomb.ckpt")

    code = examined(f"bomb.ckpt --model {NETS}:{model} --data val")

    assert (code, Path("exploded").exists()) == (2, False)
    assert "pass --unpickle" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_finds_modules_of_the_current_folder(project: Path) -> None:
    script = "import sys; sys.path.pop(0); from lightning_cam import cli; sys.exit(cli.main())"  # as the console script
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    words = shlex.split(f"examine weights.pt --model {NETS}:Net {COMPLETE}")

    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=project, env=environment, capture_output=True, text=True
    )

    assert done.returncode == 1, done.stderr


def test_advice_without_an_argument_stays_as_it_is() -> None:
    ordinal = as_options(ORDINAL)
    assert "lambda" not in ordinal
    assert (
        "pass --forward package.module:function, a function of module and images that returns -torch.diff(" in ordinal
    )
    assert as_options("the probe has too few images") == "the probe has too few images"


@pytest.mark.parametrize(
    ("before", "now", "expected", "outcome", "lost"),
    [
        pytest.param(["corner"], [], (), "INCONCLUSIVE", "corner", id="lost"),
        pytest.param(["corner", "cast"], ["cast"], (), "WARN", "corner", id="one of two"),
        pytest.param(["corner"], ["corner"], (), "WARN", "", id="found again"),
        pytest.param(["corner"], [], ("corner",), "PASS", "", id="now expected"),
        pytest.param([], [], (), "PASS", "", id="none before"),
    ],
)
def test_a_finding_that_a_review_loses_is_said_and_does_not_pass(
    before: list[str], now: list[str], expected: tuple[str, ...], outcome: str, lost: str
) -> None:
    def verdict(cues: list[str]) -> Verdict:
        findings = tuple(Finding(cue, "WARN", 0.5, 0.4, 0.6, 0.0, (), Remedy("", ""), "") for cue in cues)
        return Verdict("WARN" if cues else "PASS", 0.0, findings, (), "none of 2 cues", expected=expected)

    judged = with_lost_findings(verdict(now), verdict(before))

    assert judged.outcome == outcome
    assert ("the run itself found" in judged.reason) == bool(lost)
    assert f"the run itself found {lost}" in judged.reason or not lost


def test_the_commands_that_lead_to_masks_repeat_the_options_that_were_given() -> None:
    words = (
        "my.ckpt --model nets:Net --data 'my val' --masks odd --mean 0.5 --std 0.25 --layer a.1 --n 32 --expect cast"
        " --attributes 'my sites.csv'"
    )
    parser = argparse.ArgumentParser()
    command.add_options(parser)

    assert again.commands(parser.parse_args(shlex.split(words))) == [
        "lightning-cam masks 'my val' --n 32 --masks odd",
        "lightning-cam examine my.ckpt --data 'my val' --model nets:Net --mean 0.5 --std 0.25 --n 32 --expect cast "
        "--attributes 'my sites.csv' --layer a.1 --masks masks.json",
    ]
