"""What is tried in a process of its own: it is killed, interrupted, or may write only so much."""

import itertools
import json
import os
import random
import resource
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from lightning_cam.sinks import FolderSink, Page, TensorBoardSink, Tile
from lightning_cam.sinks.history import read_history
from lightning_cam.verdict import Verdict

from .faulty import N_STEPS, fitted, watching
from .processes import exit_code
from .trainings import Net, loader, trainer


def said_by(target: Callable[..., None], folder: Path, *given: object) -> dict[str, Any]:
    """What the function left in ``folder``."""
    assert exit_code(target, folder, *given) == 0
    said: dict[str, Any] = json.loads((folder / "said.json").read_text())
    return said


def say(folder: Path, **said: object) -> None:
    folder.joinpath("said.json").write_text(json.dumps(said))


def digest(run: Any) -> str:
    """Of a training's weights."""
    return str({name: tensor.tolist() for name, tensor in run.lightning_module.state_dict().items()})


# ---- full disks ------------------------------------------------------------------------------------------------------


def picture_page(step: int, side: int = 60) -> Page:
    """Incompressible."""
    rng = np.random.default_rng(step)
    image = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    tile = Tile("leaf", "a leaf", image, np.zeros((side, side), np.uint8), {"background attention": 0.5})
    return Page(
        "cam",
        step,
        0,
        {"cam/a": step / 2, "cam/undefined": float("nan")},
        (tile,),
        Verdict("INCONCLUSIVE", 0.0, (), (), "early"),
    )


def write_beside_a_user(folder: Path, most: int) -> None:
    """Pictures and the user's scalars in one event file, which may not grow beyond ``most`` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    writer, refused = SummaryWriter(str(folder)), 0
    sink = TensorBoardSink(writer)
    for step in range(300):
        try:
            sink.write(picture_page(step))
        except OSError:
            refused += 1
        writer.add_scalar("loss", step, step)
    writer.close()
    say(folder, refused=refused)


def train_on_a_full_disk(folder: Path, most: int) -> None:
    """A training with the callback in which no file may grow beyond ``most`` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    logger = TensorBoardLogger(folder, name="logs", version=0)
    run, said = fitted(folder, Net, watching(), logger=logger)
    say(folder, weights=digest(run), said=said)


# ---- signals in a check ----------------------------------------------------------------------------------------------


class Signalled(Net):
    """Gets a signal in the middle of the third check, after four steps, or in the step before that check."""

    signal = signal.SIGINT
    in_a_check = True
    looks = itertools.count(1)  # out of reach of the self-check, which would see a number and switch off

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        if len(images) == 6 and next(self.looks) == 3 and self.in_a_check:
            os.kill(os.getpid(), self.signal)
        return self.head(features.mean((2, 3)))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if batch_idx == 3 and not self.in_a_check:
            os.kill(os.getpid(), self.signal)
        return super().training_step(batch, batch_idx)


def train_under_a_signal(folder: Path, number: int, in_a_check: bool) -> None:
    """Says how the training ended, and what was left on the model."""
    Signalled.signal, Signalled.in_a_check = signal.Signals(number), in_a_check
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start what runs in the background without
    callback = watching(layer="body.0")
    keeping = pl.callbacks.OnExceptionCheckpoint(folder, "last")
    torch.manual_seed(0)
    run = trainer(folder, callback, keeping, max_epochs=2)
    net, how = Signalled(), "went on"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run.fit(net, loader(), loader(8))
        except (SystemExit, KeyboardInterrupt) as error:
            how = type(error).__name__
    say(
        folder,
        how=how,
        steps=[reading.step for reading in callback.history],
        global_step=run.global_step,
        n_hooks=sum(len(module._forward_hooks) for module in net.modules()),
        training=[module.training for module in net.modules()],
        grad=torch.is_grad_enabled(),
        weights=digest(run),
    )


def train_to_step(folder: Path, n_steps: int) -> None:
    """The same training alone, which ends after so many steps."""
    run, _ = fitted(folder, Net, max_steps=n_steps)
    say(folder, weights=digest(run))


# ---- kill -9 ---------------------------------------------------------------------------------------------------------


def write_pages(folder: Path, begun: int) -> None:
    """Goes on where the last one was killed, as a resumed run does: with the step that it may have written."""
    sink, step = FolderSink(folder), max([row["step"] for row in read_history(folder)], default=0)
    while True:
        sink.write(picture_page(step, side=24))
        step += 1
        os.write(begun, b".")


def be_killed_while_writing(folder: Path, times: int) -> None:
    """Forks a writer and kills it at a random moment, again and again; says what could not be read in between."""
    draw, unreadable, lengths = random.Random(0), [], []
    for turn in range(times):
        seen, begun = os.pipe()
        child = os.fork()
        if child == 0:
            write_pages(folder, begun)
        if turn % 4:  # else it may be at its first page, or not even there
            os.read(seen, 2)
        time.sleep(draw.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(seen)
        os.close(begun)
        unreadable += list(unreadable_in(folder))
        lengths.append(len(read_history(folder)))
    say(folder, unreadable=unreadable, lengths=lengths)


def unreadable_in(folder: Path) -> Iterator[str]:
    """Files that are not what they should be; a line that was never ended counts for nothing."""
    for file in [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".tmp")]:
        try:
            if file.suffix == ".png":
                Image.open(file).load()
            elif file.suffix == ".json":
                json.loads(file.read_text())
            elif file.suffix == ".jsonl":
                whole, _, _ = file.read_text().rpartition("\n")
                rows = [json.loads(line) for line in whole.splitlines()]
                assert [row["step"] for row in rows] == list(range(len(rows)))
        except Exception as error:
            yield f"{file.name}: {error!r}"


def train_until_killed(folder: Path) -> None:
    """Two epochs with a checkpoint after each; the process is killed in the second, when the last page is written."""

    class Killed(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 9:
                while max([row["step"] for row in read_history(written)], default=0) < 7:
                    time.sleep(0.05)
                time.sleep(0.3)  # TensorBoard writes on a thread of its own
                os.kill(os.getpid(), signal.SIGKILL)

    logger = tensorboard(folder)
    written = Path(logger.log_dir) / "cam_report"
    fitted(folder, Net, watching(), *with_checkpoints(folder), Killed(), logger=logger)


def with_checkpoints(folder: Path) -> list[pl.Callback]:
    return [pl.callbacks.ModelCheckpoint(folder, "epoch", every_n_epochs=1, enable_version_counter=False)]


def tensorboard(folder: Path) -> TensorBoardLogger:
    return TensorBoardLogger(folder, name="logs", version=0)


# ---- W&B without its other process -----------------------------------------------------------------------------------


class Quiet(Net):
    """Logs nothing itself: a user's own logger that fails ends a training without us."""

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...


def train_without_wandb_core(folder: Path) -> None:
    """W&B's own process is killed after the first epoch."""

    killed = []

    class Killing(pl.Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                for core in processes_named("wandb-core"):
                    killed.append(core)
                    os.kill(core, signal.SIGKILL)
                    time.sleep(0.2)

    logger = WandbLogger(project="p", save_dir=folder, offline=True)
    callback = watching(every_n_train_steps=None, every_n_epochs=1)  # through Lightning
    run, said = fitted(folder, Quiet, Killing(), callback, logger=logger)
    alone, _ = fitted(folder / "alone", Quiet)
    steps = [reading.step for reading in callback.history]
    same = run.global_step == N_STEPS and digest(run) == digest(alone)
    say(folder, killed=killed, same=same, said=said, steps=steps)
    os._exit(0)  # W&B would wait for its process at exit


def processes_named(name: str) -> list[int]:
    """Children of this process."""
    statuses = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()]
    found = [(text[: text.index(" ")], text[text.index("(") + 1 : text.rindex(")")], text) for text in statuses]
    return [
        int(pid) for pid, called, text in found
        if called == name and int(text[text.rindex(")") + 2 :].split()[1]) == os.getpid()
    ]  # fmt: skip
