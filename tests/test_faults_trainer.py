"""Faults 42 to 54, of processes and trainers. More are in the tests of callback and sinks."""

import signal
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.tuner import Tuner
from pytorch_lightning.utilities.exceptions import _TunerExitException
from torch import Tensor
from torch.utils.data import DataLoader

import lightning_cam.training.callback
from house.children import (
    Quiet,
    be_killed_while_writing,
    exit_code,
    picture_page,
    said_by,
    tensorboard,
    train_to_step,
    train_under_a_signal,
    train_until_killed,
    unreadable_in,
    with_checkpoints,
)
from house.faulty import alone, fitted, same, watching
from house.read_back import tensorboard_images
from house.trainings import Net, loader, pictures, trainer
from lightning_cam.sinks import Page
from lightning_cam.sinks.folder import FolderSink
from lightning_cam.sinks.history import read_history
from lightning_cam.sinks.reading_back import newest, report_lines

ALL_STEPS = [0, 1, 3, 5, 7, 9, 11]  # of `watching`

# ---- 42, 43: signals in a check --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return said_by(train_under_a_signal, tmp_path_factory.mktemp("interrupted"), int(signal.SIGINT), True)


def test_ctrl_c_in_a_check_ends_the_training(interrupted: dict[str, Any]) -> None:
    assert interrupted["how"] in ("SystemExit", "KeyboardInterrupt")
    assert interrupted["steps"] == [0, 1]
    assert interrupted["global_step"] == 4


def test_ctrl_c_in_a_check_leaves_the_model_as_it_was(interrupted: dict[str, Any], tmp_path: Path) -> None:
    assert interrupted["n_hooks"] == 0
    assert all(interrupted["training"])
    assert interrupted["grad"]
    assert interrupted["weights"] == said_by(train_to_step, tmp_path, 4)["weights"]


def test_a_check_is_finished_before_sigterm_ends_the_training(tmp_path: Path) -> None:
    said = said_by(train_under_a_signal, tmp_path, int(signal.SIGTERM), True)

    assert said["how"] == "SIGTERMException"
    assert said["steps"] == [0, 1, 3]
    assert said["n_hooks"] == 0
    assert said["global_step"] == 4
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert str({name: tensor.tolist() for name, tensor in last.items()}) == said["weights"]
    assert said["weights"] == said_by(train_to_step, tmp_path, 4)["weights"]
    assert [row["step"] for row in read_history(tmp_path / "cam_report")] == [0, 1, 3]


def test_after_sigterm_no_check_is_begun(tmp_path: Path) -> None:
    said = said_by(train_under_a_signal, tmp_path, int(signal.SIGTERM), False)

    assert said["how"] == "SIGTERMException"
    assert said["global_step"] == 4
    assert said["steps"] == [0, 1]


@pytest.mark.filterwarnings("ignore:lightning_cam. pictures of")
def test_a_sink_that_hangs_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning saves its last checkpoint after us, and a cluster does not wait for long."""
    monkeypatch.setattr(lightning_cam.training.callback, "SECONDS_AFTER_EXCEPTION", 0.1)
    let_go = threading.Event()

    class Hanging:
        def write(self, page: Page) -> None:
            let_go.wait()

    class Failing(Net):
        def on_train_epoch_end(self) -> None:
            raise RuntimeError("power cut")

    run = trainer(tmp_path, watching(sinks=[Hanging()]))
    with pytest.warns(UserWarning, match=r"not finished after 0\.1 s"), pytest.raises(RuntimeError, match="power cut"):
        run.fit(Failing(), loader(), loader(8))
    let_go.set()
    for thread in threading.enumerate():
        if thread.name == "lightning_cam pictures":
            thread.join()


# ---- 44, 45: kill -9 -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_nothing_is_unreadable_after_forty_kills(tmp_path: Path) -> None:
    said = said_by(be_killed_while_writing, tmp_path, 40)

    assert said["unreadable"] == []
    assert said["lengths"] == sorted(said["lengths"])
    assert said["lengths"][-1] > 20
    assert "step 0 " in " ".join(report_lines(newest(tmp_path)))


@pytest.mark.parametrize("name", [".thesis.docx.tmp", "project/.cache/.notes.tmp", "step_00000003/.leaf.png.tmp"])
def test_nothing_in_a_folder_is_taken_away(tmp_path: Path, name: str) -> None:
    own = tmp_path / name
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("the user's own")
    FolderSink(tmp_path).write(picture_page(4))

    assert own.read_text() == "the user's own"


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was killed in its second epoch and resumed from the checkpoint of the first."""
    folder = tmp_path_factory.mktemp("killed")
    assert exit_code(train_until_killed, folder) == -signal.SIGKILL
    callbacks = [watching(), *with_checkpoints(folder)]
    run = trainer(folder, *callbacks, logger=tensorboard(folder))
    run.fit(Net(), loader(), loader(8), ckpt_path=folder / "epoch.ckpt")
    assert run.global_step == 12
    return folder / "logs" / "version_0"


def test_a_resumed_run_continues_its_history_without_repeating_a_step(killed: Path) -> None:
    assert [row["step"] for row in read_history(killed / "cam_report")] == ALL_STEPS
    assert list(unreadable_in(killed / "cam_report" / "step_00000011")) == []


def test_event_files_are_readable_after_the_kill(killed: Path) -> None:
    of_all = ("cam/evolution", "cam/map_groups")
    (series,) = [shown for tag, shown in tensorboard_images(killed).items() if tag not in of_all]

    assert sorted({picture.step for picture in series}) == ALL_STEPS


# ---- 47 to 51: checkpoints and trainers ------------------------------------------------------------------------------


def test_a_checkpoint_resumes_without_the_callback(tmp_path: Path) -> None:
    run, _ = fitted(tmp_path, Net, watching(), max_epochs=1)
    run.save_checkpoint(tmp_path / "run.ckpt")
    resuming = trainer(tmp_path)

    with pytest.warns(UserWarning, match=r"Be aware that .*CAMCallback"):
        resuming.fit(Net(), loader(), loader(8), ckpt_path=tmp_path / "run.ckpt")
    assert same(resuming.lightning_module.state_dict(), alone(Net).lightning_module.state_dict())


def test_a_second_fit_of_the_same_trainer_continues_the_series(tmp_path: Path) -> None:
    callback = watching(every_n_train_steps=3)
    run = trainer(tmp_path, callback, max_epochs=1)
    net = Net()
    run.fit(net, loader(), loader(8))
    run.fit_loop.max_epochs = 2
    run.fit(net, loader(), loader(8))

    assert [reading.step for reading in callback.history] == [0, 2, 5, 8, 11]


def test_a_new_trainer_and_model_begin_a_new_series(tmp_path: Path) -> None:
    callback = watching(probe=None, every_n_train_steps=3)
    for size in (8, 6):
        first = callback.probe
        run = trainer(tmp_path, callback, max_epochs=1)
        run.fit(Net(), loader(), loader(size))

        assert [reading.step for reading in callback.history] == [0, 2, 5]
    assert first is not None
    assert (len(first), len(callback.probe or ())) == (8, 6)
    assert len(read_history(tmp_path / "cam_report" / "run_2")) == 3


def test_without_training_batches_nothing_is_looked_at(tmp_path: Path) -> None:
    callback = watching()
    _, said = fitted(tmp_path, Net, callback, limit_train_batches=0)

    assert callback.history == ()
    assert said == []


# ---- 54: tuners ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tune", [Tuner.lr_find, Tuner.scale_batch_size], ids=["learning rate", "batch size"])
def test_a_tuner_is_not_watched(tune: Callable[..., Any], tmp_path: Path) -> None:
    class Tunable(Quiet):
        lr, batch_size = 0.1, 4

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.lr)

        def train_dataloader(self) -> Any:
            return DataLoader(pictures(), self.batch_size)

        def val_dataloader(self) -> Any:
            return loader(8)

    callback = watching()
    options = {"num_training": 8} if tune is Tuner.lr_find else {"steps_per_trial": 2, "max_trials": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, about short trials
        tune(Tuner(trainer(tmp_path, callback)), Tunable(), **options)

    assert callback.history == ()


def test_what_ends_a_tuners_fit_is_let_through(tmp_path: Path) -> None:
    class Ending(Net):
        def forward(self, images: Tensor) -> Tensor:
            if len(images) == 6:
                raise _TunerExitException
            return super().forward(images)

    run, said = fitted(tmp_path, Ending, watching(layer="body.0"))

    assert run.state.finished
    assert run.global_step == 0
    assert said == []
