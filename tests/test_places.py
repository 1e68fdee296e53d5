"""Folders of runs: nothing of the user's and of other runs is written over, and a resumed run finds its own."""

import json
import multiprocessing
import shutil
import warnings
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from house.pages import check, picture
from house.shortcut import BORDER, Framed, framed, framed_probe
from lightning_cam import CAMCallback, Probe
from lightning_cam.sinks import FolderSink, Page, disk, folder
from lightning_cam.sinks.history import read_history
from lightning_cam.sinks.page import Run
from lightning_cam.sinks.places import free_place, place_of
from lightning_cam.verdict import Verdict

OURS = [
    *("history.jsonl", "verdict.json", "report.html", "evolution.png", "summary.md", "run.json"),
    *("evidence_x.png", "step_00000003", "probe"),
]
PROBE = Probe(torch.zeros(1, 3, 4, 4), torch.zeros(1, dtype=torch.long))
UNSURE = Verdict("INCONCLUSIVE", 0.0, (), (), "")
ONE = Run("one")
MOVED = "has files of yours or of another run, so this run is kept in"


def page(step: int = 3, run: Run = ONE, *, is_final: bool = False) -> Page:
    """A page with every kind of file."""
    return Page(
        "cam", step, 0, {"cam/a": 0.5}, verdict=UNSURE, strip=picture(3), evidence={"x": picture(4)}, text="words",
        is_final=is_final, run=run, reviewable=PROBE,
    )  # fmt: skip


def steps(root: Path) -> list[int]:
    return [row["step"] for row in read_history(root)]


@pytest.mark.parametrize("name", OURS)
def test_a_file_of_the_users_is_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.warns(UserWarning, match=MOVED):
        FolderSink(tmp_path).write(page())

    assert (tmp_path / name).read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {name, "run_2"}
    assert steps(tmp_path / "run_2") == [3]


@pytest.mark.parametrize("name", ["verdict.json", "summary.md", "evolution.png"])
def test_a_link_of_the_users_is_not_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / "kept").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "kept")
    with pytest.warns(UserWarning, match=MOVED):
        FolderSink(tmp_path / "out").write(page())

    assert (tmp_path / "kept").read_text() == "mine"
    assert (tmp_path / "out" / name).is_symlink()


def test_other_files_are_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "hparams.yaml").write_text("mine")
    FolderSink(tmp_path).write(page())

    assert steps(tmp_path) == [3]
    assert (tmp_path / "hparams.yaml").read_text() == "mine"


@pytest.mark.parametrize("name", ["summary.md", "verdict.json", "step_00000004"])
def test_a_file_that_the_user_makes_while_it_trains_stays(tmp_path: Path, name: str) -> None:
    sink = FolderSink(tmp_path)
    sink.write(Page("cam", 3, 0, {"cam/a": 0.5}, run=Run("one")))
    (tmp_path / name).write_text("mine")
    with pytest.warns(UserWarning, match=MOVED) if name != "step_00000004" else warnings.catch_warnings():
        sink.write(page(4))

    assert (tmp_path / name).read_text() == "mine"
    kept = tmp_path if name == "step_00000004" else tmp_path / "run_2"
    assert steps(kept) == [3, 4]
    assert (kept / "summary.md").read_text().startswith("words")


def test_a_picture_in_a_folder_that_the_user_made_stays(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    sink.write(check(3, "a"))
    own = tmp_path / "step_00000004" / f"{disk.safe_name('a')}.png"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.warns(UserWarning, match=MOVED):
        sink.write(check(4, "a"))

    assert own.read_text() == "mine"
    assert (tmp_path / "run_2" / "step_00000004" / own.name).exists()


def test_a_file_made_between_look_and_write_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FolderSink(tmp_path)
    sink.write(Page("cam", 3, 0, {"cam/a": 0.5}, run=Run("one")))
    (tmp_path / "summary.md").write_text("mine")
    monkeypatch.setattr(folder._RunFolder, "_require_absence", lambda *_: None)
    with pytest.warns(UserWarning, match=MOVED):
        sink.write(page(4))

    assert (tmp_path / "summary.md").read_text() == "mine"
    assert (tmp_path / "run_2" / "summary.md").read_text().startswith("words")


def test_the_series_is_not_added_to_a_file_that_others_share(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "out")
    sink.write(page(3))
    (tmp_path / "backup").hardlink_to(tmp_path / "out" / "history.jsonl")
    before = (tmp_path / "backup").read_text()
    sink.write(page(4))

    assert (tmp_path / "backup").read_text() == before
    assert steps(tmp_path / "out") == [3, 4]


def test_a_path_that_is_a_file_leads_beside_it(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.warns(UserWarning, match=MOVED):
        FolderSink(tmp_path / "out").write(page())

    assert (tmp_path / "out").read_text() == "mine"
    assert steps(tmp_path / "out_2") == [3]


@pytest.mark.filterwarnings("ignore:.*has files of yours")
def test_two_runs_have_two_folders_whichever_sinks_they_share(tmp_path: Path) -> None:
    shared, other = FolderSink(tmp_path), FolderSink(tmp_path)
    for step in (3, 4):
        shared.write(page(step, Run("one")))
        shared.write(page(step + 10, Run("two")))
        other.write(page(step + 20, Run("three")))

    assert [steps(tmp_path), steps(tmp_path / "run_2"), steps(tmp_path / "run_3")] == [[3, 4], [13, 14], [23, 24]]


@pytest.mark.filterwarnings("ignore:.*has files of yours")
def test_a_resumed_run_continues_in_its_own_folder(tmp_path: Path) -> None:
    FolderSink(tmp_path).write(page(3, Run("one")))
    FolderSink(tmp_path).write(page(3, Run("two")))
    FolderSink(tmp_path).write(page(4, Run("three", resumes="two", first_step=4)))
    FolderSink(tmp_path).write(page(5, Run("four", resumes="three", first_step=5)))

    assert [steps(tmp_path), steps(tmp_path / "run_2")] == [[3], [3, 4, 5]]


def test_a_finished_run_that_goes_on_stays_in_its_folder(tmp_path: Path) -> None:
    FolderSink(tmp_path).write(page(9, Run("one"), is_final=True))
    FolderSink(tmp_path).write(page(12, Run("two", resumes="one", first_step=9)))

    assert steps(tmp_path) == [9, 12]


def test_an_early_checkpoint_of_a_finished_run_leads_to_another_folder(tmp_path: Path) -> None:
    FolderSink(tmp_path).write(page(9, Run("one"), is_final=True))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.warns(UserWarning, match=MOVED):
        FolderSink(tmp_path).write(page(12, Run("two", resumes="one", first_step=4)))

    assert {path: path.read_bytes() for path in before} == before
    assert steps(tmp_path / "run_2") == [12]


def test_two_living_runs_of_one_checkpoint_do_not_mix(tmp_path: Path) -> None:
    FolderSink(tmp_path).write(page(3, Run("zero")))
    first, second = FolderSink(tmp_path), FolderSink(tmp_path)
    first.write(page(4, Run("one", resumes="zero", first_step=4)))
    second.write(page(5, Run("two", resumes="zero", first_step=4)))
    with pytest.warns(UserWarning, match=MOVED):
        first.write(page(6, Run("one", resumes="zero", first_step=4)))
    second.write(page(7, Run("two", resumes="zero", first_step=4)))

    assert (steps(tmp_path), steps(tmp_path / "run_2")) == ([3, 4, 5, 7], [3, 4, 6])


def take(path: Path, name: str) -> None:
    for number in range(20):
        free_place(path, Run(f"{name} {number}"))


def test_two_processes_never_take_one_folder(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    children = [spawn.Process(target=take, args=(tmp_path / "out", name)) for name in ("a", "b", "c")]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    runs = [json.loads(file.read_text())["run"] for file in (tmp_path / "out").rglob("run.json")]

    assert sorted(runs) == sorted(f"{name} {number}" for name in "abc" for number in range(20))


@pytest.mark.parametrize(
    "content", ["", "[]", '{"run": 1}', "x" * 20_000, '{"run": "two"}', '{"run": "one", "files": 1}']
)
def test_a_folder_whose_run_cannot_be_told_is_not_taken(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)

    assert place_of(tmp_path, Run("one")) == tmp_path / "run_2"
    assert (tmp_path / "run.json").read_text() == content


@pytest.mark.parametrize("explicit", [True, False], ids=["a sink", "by default"])
def test_a_training_resumed_from_an_early_checkpoint_leaves_the_finished_one(tmp_path: Path, explicit: bool) -> None:
    out = tmp_path / "cam_report"

    def fitted(n_epochs: int, checkpoint: str | None, save: str) -> None:
        sinks = [FolderSink(out)] if explicit else None
        callback = CAMCallback(framed_probe(), trials=BORDER, n_images=1, every_n_epochs=1, sinks=sinks)
        trainer = pl.Trainer(
            max_epochs=n_epochs, callbacks=[callback], logger=False, default_root_dir=tmp_path, accelerator="cpu",
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.fit(Framed(), DataLoader(TensorDataset(*framed(64, seed=0)), 8), ckpt_path=checkpoint)
        trainer.save_checkpoint(tmp_path / save)

    fitted(1, None, "early.ckpt")
    fitted(2, str(tmp_path / "early.ckpt"), "late.ckpt")
    assert not (out / "run_2").exists()
    assert steps(out)[-1] == 15
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}

    fitted(3, str(tmp_path / "early.ckpt"), "branch.ckpt")
    fitted(4, str(tmp_path / "branch.ckpt"), "end.ckpt")

    assert {path: path.read_bytes() for path in before} == before
    assert steps(out / "run_2")[-1] == 31
    assert not (out / "run_3").exists()


# ---- what people do to a folder while a run writes into it -----------------------------------------------------------


def test_a_folder_that_was_deleted_is_made_again_with_the_series_so_far(tmp_path: Path) -> None:
    out = tmp_path / "cam_report"
    sink = FolderSink(out)
    sink.write(page(3))
    shutil.rmtree(out)
    with pytest.warns(UserWarning, match="cam_report' was deleted, so it is made again, without the earlier pictures"):
        sink.write(page(4))

    assert steps(out) == [3, 4]
    assert {path.name for path in out.iterdir()} >= {"verdict.json", "run.json", "report.html"}


def test_a_folder_may_be_deleted_in_the_middle_of_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "cam_report"
    sink = FolderSink(out)
    sink.write(page(3))
    write, is_first = folder.write_whole, iter([True])

    def deleting(path: Path, data: bytes) -> None:
        if next(is_first, False):
            shutil.rmtree(out)
        write(path, data)

    monkeypatch.setattr(folder, "write_whole", deleting)
    with pytest.warns(UserWarning, match="was deleted"):
        sink.write(page(4))

    assert steps(out) == [3, 4]


@pytest.mark.parametrize("note", ['{"note": "changed the rate"}', "Käfer", '{"step": 3, "note": 1}', "no end of line"])
def test_lines_of_the_users_in_the_history_survive(tmp_path: Path, note: str) -> None:
    """Also where the file is written anew: for a step that comes again, and by a run that resumes this one."""
    sink = FolderSink(tmp_path)
    sink.write(page(3))
    with (tmp_path / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(note if note.startswith("no end") else f"{note}\n")
    sink.write(page(4))
    sink.write(page(4))
    FolderSink(tmp_path).write(page(5, Run("two", resumes="one", first_step=5)))

    lines = (tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines.count(note) == 1
    assert [json.loads(line)["step"] for line in lines if line != note] == [3, 4, 5]


def test_an_address_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'s3://bucket/runs' is an address and no folder of this machine"):
        FolderSink("s3://bucket/runs")

    FolderSink(f"file://{tmp_path / 'out'}").write(page())
    assert steps(tmp_path / "out") == [3]
