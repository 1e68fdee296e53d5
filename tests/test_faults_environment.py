"""Faults 38 to 41 and 52, of loggers and disks. More are in the tests of callback, sinks and dashboards."""

import csv
import io
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import wandb
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger

import lightning_cam
from house.children import (
    Quiet,
    said_by,
    train_on_a_full_disk,
    train_to_step,
    train_without_wandb_core,
    write_beside_a_user,
)
from house.faulty import alone, beside, fitted, same, watching
from house.read_back import tensorboard_images, tensorboard_scalars
from house.trainings import Net
from lightning_cam.sinks.tensorboard import SPARE
from lightning_cam.training import loggers

HOUSE = Path(lightning_cam.__file__).parent
ALL_STEPS = [0, 1, 3, 5, 7, 9, 11]  # of `watching`
EVERY_EPOCH = {"every_n_train_steps": None, "every_n_epochs": 1}

# ---- 38: loggers that raise ------------------------------------------------------------------------------------------


def asked_by_us() -> bool:
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if Path(frame.f_code.co_filename).is_relative_to(HOUSE):
            return True
    return False


def failing_for_us(kind: type, member: str) -> type:
    """A logger that fails where the callback asks it; what Lightning itself asks ends a training without us."""
    real = getattr(kind, member)

    def asked(logger: Any, *given: Any, **named: Any) -> Any:
        if asked_by_us():
            raise OSError(28, "No space left on device")
        return real.fget(logger) if isinstance(real, property) else real(logger, *given, **named)

    return type(kind.__name__, (kind,), {member: property(asked) if isinstance(real, property) else asked})


@pytest.mark.parametrize("member", ["log_metrics", "experiment", "log_dir", "name", "version"])
def test_a_logger_that_raises_is_said_once_and_costs_no_check(member: str, tmp_path: Path) -> None:
    callback = watching()
    run = beside(tmp_path, callback, logger=failing_for_us(TensorBoardLogger, member)(tmp_path))

    assert run.untouched
    assert [reading.step for reading in callback.history] == ALL_STEPS
    assert 1 <= len(run.said) == len(set(run.said)) <= 2
    assert all("failed, training goes on (" in text for text in run.said)


class Strict(CSVLogger):
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if any(key.startswith("cam/") for key in metrics):
            raise ValueError("no slashes, please")
        super().log_metrics(metrics, step)


def test_a_logger_that_refuses_our_keys_gets_the_users_alone(tmp_path: Path) -> None:
    """Also of checks whose scalars can be monitored, which go through Lightning."""
    logger = Strict(tmp_path)
    run = beside(tmp_path, watching(**EVERY_EPOCH), logger=logger)

    assert run.untouched
    assert run.said == ["lightning_cam: logging to Strict failed, training goes on ('ValueError: no slashes, please')"]
    assert [row["step"] for row in rows(logger)] == ["5", "11"]
    assert "cam/attention_entropy" in run.trainer.callback_metrics


class Late(CSVLogger):
    """Tries a lost server again and again, as MLflow does."""

    n_asked = 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if any(key.startswith("cam/") for key in metrics):
            self.n_asked += 1
            time.sleep(0.02)
            raise OSError("nobody answers")
        super().log_metrics(metrics, step)


def test_a_logger_that_fails_late_is_not_waited_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "LONGEST_FAILURE", 0.01)
    logger = Late(tmp_path)
    fitted(tmp_path, Net, watching(**EVERY_EPOCH), logger=logger)

    assert logger.n_asked == 1


# ---- 39, 40: disks ---------------------------------------------------------------------------------------------------


def test_pictures_leave_the_event_file_to_the_users_scalars(tmp_path: Path) -> None:
    said = said_by(write_beside_a_user, tmp_path, SPARE + 200_000)

    assert 0 < len(tensorboard_images(tmp_path)["cam/leaf"]) <= 300 - said["refused"] < 300
    assert tensorboard_scalars(tmp_path)["loss"] == {step: step for step in range(300)}


def test_a_training_on_a_full_disk_loses_pictures_only(tmp_path: Path) -> None:
    said = said_by(train_on_a_full_disk, tmp_path, 60_000)
    folder = tmp_path / "logs" / "version_0"

    assert said["weights"] == said_by(train_to_step, tmp_path, 12)["weights"]
    assert tensorboard_images(folder) == {}
    assert set(tensorboard_scalars(folder)["val_loss"]) == {5, 11}
    assert set(tensorboard_scalars(folder)["cam/attention_entropy"]) == set(ALL_STEPS)
    assert sum("TensorBoardSink: OSError: [Errno 27] File too large" in text for text in said["said"]) == 1


def test_a_folder_that_cannot_be_made_costs_the_pictures_only(tmp_path: Path) -> None:
    """A file in its place, since root may write into any folder."""
    (tmp_path / "file").touch()
    callback = watching()
    run = beside(tmp_path, callback, default_root_dir=tmp_path / "file" / "logs")

    assert run.untouched
    assert [reading.step for reading in callback.history] == ALL_STEPS
    (text,) = run.said
    assert "choosing a folder for pictures and verdict failed, training goes on" in text


@pytest.mark.parametrize("where", ["root", "logger"])
def test_an_address_is_no_folder_and_is_said_once(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    callback = watching()
    options = {"default_root_dir": "memory://runs"} if where == "root" else {"logger": CSVLogger("memory://runs")}
    run = beside(tmp_path, callback, **options)

    assert run.untouched
    assert [reading.step for reading in callback.history] == ALL_STEPS
    (text,) = run.said
    assert "'memory://runs" in text
    assert "is an address and no folder of this machine; pass CAMCallback(sinks=[FolderSink(" in text
    assert not list(tmp_path.rglob("*cam_report*"))


def test_a_terminal_that_cannot_show_a_path_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    run = beside(tmp_path, watching(), default_root_dir=tmp_path / "Käfer")

    assert run.untouched
    (said,) = run.said
    assert 'the summary failed, training goes on ("UnicodeEncodeError' in said


# ---- 41: W&B ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds W&B's process in /proc")
def test_wandb_core_may_be_killed(tmp_path: Path) -> None:
    said = said_by(train_without_wandb_core, tmp_path)
    if not said["killed"]:
        pytest.skip("this W&B has no process of that name")

    assert said["same"]
    assert said["steps"] == [0, 5, 11]
    assert any("logging to WandbLogger failed, training goes on" in text for text in said["said"])
    assert len(said["said"]) == len(set(said["said"])) <= 4


def test_a_run_that_was_finished_early_costs_its_rows_only(tmp_path: Path) -> None:
    class Finishing(pl.Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                wandb.finish()

    callback, logger = watching(**EVERY_EPOCH), WandbLogger(project="p", save_dir=tmp_path, offline=True)
    run, said = fitted(tmp_path, Quiet, Finishing(), callback, logger=logger)

    assert same(run.lightning_module.state_dict(), alone(Quiet).lightning_module.state_dict())
    assert [reading.step for reading in callback.history] == [0, 5, 11]
    assert any("logging to WandbLogger failed, training goes on" in text for text in said)
    assert len(said) == len(set(said)) <= 4


# ---- 52: several loggers ---------------------------------------------------------------------------------------------


def test_a_failing_logger_costs_the_others_nothing(tmp_path: Path) -> None:
    loggers = [
        failing_for_us(TensorBoardLogger, "experiment")(tmp_path / "broken"),
        TensorBoardLogger(tmp_path / "whole"),
        CSVLogger(tmp_path / "rows"),
    ]
    run = beside(tmp_path, watching(), logger=loggers)

    assert run.untouched
    whole = Path(loggers[1].log_dir)
    assert set(tensorboard_scalars(whole)["cam/attention_entropy"]) == set(ALL_STEPS)
    assert len(tensorboard_images(whole)) == 3  # a picture, the strip of all checks, and the groups of maps
    assert [row["cam/attention_entropy"] != "" for row in rows(loggers[2])].count(True) == len(ALL_STEPS)


def rows(logger: CSVLogger) -> list[dict[str, str]]:
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_csv_loggers_own_values_are_unchanged(tmp_path: Path) -> None:
    ours, theirs = CSVLogger(tmp_path / "with"), CSVLogger(tmp_path / "without")
    fitted(tmp_path, Net, watching(), logger=ours)
    fitted(tmp_path, Net, logger=theirs)

    assert [(r["step"], r["val_loss"]) for r in rows(ours) if r["val_loss"]] == [
        (r["step"], r["val_loss"]) for r in rows(theirs)
    ]
