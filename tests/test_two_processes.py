"""Two processes train one model: they share the probe, log the same numbers, and neither waits for the other."""

import json
import re
from pathlib import Path

import pytest

from house.ranks import ranks

SCRIPT = """
import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl

sys.path.insert(0, {tests!r})
warnings.simplefilter("ignore")
from house.trainings import Net, loader, moody, probe
from lightning_cam import CAMCallback

if __name__ == "__main__":
    callback = CAMCallback(probe(), every_n_train_steps=2, layer="body.0")
    stopping = pl.callbacks.EarlyStopping("cam/attention_entropy", patience=99)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", callbacks=[callback, stopping],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=Path({folder!r}), log_every_n_steps=1,
    )
    trainer.fit(moody(good_calls=1) if trainer.global_rank in {failing} else Net(), loader(), loader(8))
    entropies = [round(reading.scalars["cam/attention_entropy"], 6) for reading in callback.history]
    steps = [reading.step for reading in callback.history]
    Path({folder!r}, f"rank{{trainer.global_rank}}").write_text(f"{{trainer.global_step}} {{steps}} {{entropies}}")
    trainer.strategy.barrier()  # rank 0 ends the other process when it is done
"""  # fmt: skip

STOPPED = """
import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, {tests!r})
warnings.simplefilter("ignore")
from lightning_cam import CAMCallback
from house.shortcut import BORDER, Framed, framed, framed_probe

if __name__ == "__main__":
    told = []
    callback = CAMCallback(framed_probe(), trials=BORDER, every_n_epochs=1, on_shortcut={then})
    trainer = pl.Trainer(
        max_epochs=40, accelerator="cpu", devices=2, strategy="ddp", callbacks=[callback],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=Path({folder!r}),
    )
    pl.seed_everything(0)
    trainer.fit(Framed(), DataLoader(TensorDataset(*framed(128, seed=0)), 8))
    said = [callback.verdict.outcome, round(callback.verdict.score, 6)]
    Path({folder!r}, f"rank{{trainer.global_rank}}").write_text(f"{{trainer.current_epoch}} {{len(told)}} {{said}}")
    trainer.strategy.barrier()
"""


SHARED = """
import json
import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn

sys.path.insert(0, {tests!r})
warnings.simplefilter("ignore")
from house.trainings import Net, loader, probe
from lightning_cam import CAMCallback, Probe, examine


class Normed(Net):
    "Each process has statistics of its own, of the images that it has seen."

    def build(self):
        super().build()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images):
        return super().forward(self.norm(images))


def counted(module, images):
    n_looked_at.append(len(images))
    return module(images)


if __name__ == "__main__":
    n_looked_at = []
    callback = CAMCallback(probe() if {same} else None, every_n_epochs=1, forward=counted, sinks=[])
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", callbacks=[callback],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=Path({folder!r}), limit_val_batches=0,  # validation would make the buffers the same
    )
    torch.manual_seed(0)
    model = Normed()
    if not {same}:
        images, targets = probe().images, probe().targets
        brighter = images + int(trainer.global_rank) / 100
        callback.probe, callback._draws_probe = Probe(brighter.clamp(0, 1), targets), False
    trainer.fit(model, loader(), loader(8))
    n_together = sum(n_looked_at)
    alone = examine(model, callback.probe, forward=model).scalars
    together = {{key.removeprefix("cam/"): value for key, value in callback.history[-1].scalars.items()}}
    compared = [key for key in alone if key in together]
    distance = max(abs(alone[key] - together[key]) for key in compared if alone[key] == alone[key])
    with_trials = any("reliance" in key for key in compared)
    Path({folder!r}, f"rank{{trainer.global_rank}}").write_text(json.dumps([n_together, distance, with_trials]))
    trainer.strategy.barrier()
"""  # fmt: skip


UNREADABLE = """
import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl
from torch.utils.data import DataLoader

sys.path.insert(0, {tests!r})
warnings.simplefilter("ignore")
from house.trainings import Net, loader, pictures
from lightning_cam import CAMCallback


class Torn(type(pictures())):
    "A disk that only one of the machines cannot read."

    def __getitem__(self, index):
        if trainer.global_rank == 1:
            raise OSError("torn")
        return super().__getitem__(index)


if __name__ == "__main__":
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=2, strategy="ddp", callbacks=[CAMCallback()],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=Path({folder!r}), num_sanity_val_steps=0,
    )
    try:
        trainer.fit(Net(), loader(), DataLoader(Torn(*pictures(8).tensors), batch_size=4))
    except (ValueError, SystemExit) as error:
        said = str(error)
    Path({folder!r}, f"rank{{trainer.global_rank}}").write_text(said)
"""  # fmt: skip

CLOCKS = """
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl

sys.path.insert(0, {tests!r})
warnings.simplefilter("ignore")
import lightning_cam.training.callback
from house.shortcut import BORDER
from house.trainings import Net, loader, probe
from house.clock import Batches, Clock
from lightning_cam import CAMCallback, cams

if __name__ == "__main__":
    lightning_cam.training.callback.time = clock = Clock()

    def maps(activations, gradients):
        clock.seconds += trainer.global_rank == 0  # a second for each of two classes
        return cams.grad_cam(activations, gradients)

    def edit(*given):
        clock.seconds += 5 * (trainer.global_rank == 0)
        return BORDER[0].edit(*given)

    callback = CAMCallback(probe(), layer="body", method=maps, trials=[replace(BORDER[0], edit=edit)], sinks=[])
    trainer = pl.Trainer(
        max_epochs=5, accelerator="cpu", devices=2, strategy="ddp", callbacks=[Batches(clock), callback],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=Path({folder!r}),
    )
    trainer.fit(Net(), loader(), loader(8))
    checks = [(reading.epoch, "cam/reliance/border" in reading.scalars) for reading in callback.history]
    Path({folder!r}, f"rank{{trainer.global_rank}}").write_text(str(checks))
    trainer.strategy.barrier()
"""  # fmt: skip

SHARDED = """
import json
import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard

sys.path.insert(0, {tests!r})
from house.trainings import Net, loader, probe
from lightning_cam import CAMCallback


class Shards(Net):
    def configure_model(self):
        for part in (self.body, self.head):
            fully_shard(part, mesh=self.device_mesh["data_parallel"])


if __name__ == "__main__":
    callback = CAMCallback(probe())
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=2, callbacks=[callback],
        strategy=ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1),
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=Path({folder!r}),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(Shards(), loader(), loader(8))
    said = [str(w.message) for w in caught if "lightning_cam" in str(w.message)]
    Path({folder!r}, f"rank{{trainer.global_rank}}").write_text(
        json.dumps([trainer.global_step, len(callback.history), said])
    )
    trainer.strategy.barrier()
"""  # fmt: skip


@pytest.mark.slow
def test_both_ranks_read_the_same_numbers_and_can_monitor_them(tmp_path: Path) -> None:
    said = ranks(tmp_path, SCRIPT, failing=())

    assert set(said) == {"0", "1"}
    assert said["0"] == said["1"]
    assert said["0"].startswith("6 [0, 1, 3, 5]")


@pytest.mark.slow
@pytest.mark.parametrize("failing", [(0,), (1,), (0, 1)], ids=str)
def test_a_check_that_fails_on_any_rank_hangs_nobody(tmp_path: Path, failing: tuple[int, ...]) -> None:
    said = ranks(tmp_path, SCRIPT, failing=failing)

    assert set(said) == {"0", "1"}
    assert said["0"] == said["1"]
    assert said["0"].startswith("6 [0] ")


@pytest.mark.slow
def test_both_ranks_stop_at_the_alarm_with_one_verdict(tmp_path: Path) -> None:
    said = ranks(tmp_path, STOPPED, then="'stop'")

    assert set(said) == {"0", "1"}
    assert said["0"] == said["1"]
    assert re.match(r"\d+ 0 \['FAIL', 0\.[5-9]", said["0"])
    assert int(said["0"].split()[0]) < 40


@pytest.mark.slow
def test_a_function_is_told_on_rank_0_alone(tmp_path: Path) -> None:
    said = ranks(tmp_path, STOPPED, then="told.append")

    assert said["0"].startswith("40 1 ['FAIL'")
    assert said["1"].startswith("40 0 ['FAIL'")


@pytest.mark.slow
def test_the_first_process_says_for_all_which_checks_are_made(tmp_path: Path) -> None:
    """Looking is dear on its clock, so trials are given up, then looks; on the other's it is free."""
    said = ranks(tmp_path, CLOCKS)

    assert said["0"] == said["1"] == str([(0, False), (0, True), (1, False), (5, True)])


@pytest.mark.slow
def test_each_rank_looks_at_its_share_with_the_result_of_one(tmp_path: Path) -> None:
    """With the first one's BatchNorm: what the second makes of the same images alone is something else."""
    said = {rank: json.loads(text) for rank, text in ranks(tmp_path, SHARED, same=True).items()}

    assert said["0"][0] == said["1"][0] > 0
    assert said["0"][1] < 1e-5
    assert said["1"][1] > 1e-3
    assert said["0"][2]


@pytest.mark.slow
def test_where_the_ranks_have_different_probes_the_first_looks_alone(tmp_path: Path) -> None:
    said = {rank: json.loads(text) for rank, text in ranks(tmp_path, SHARED, same=False).items()}

    assert said["0"][0] > 0
    assert said["1"][0] == 0
    assert said["0"][1] < 1e-5


@pytest.mark.slow
def test_a_sharded_model_is_not_looked_at_and_one_process_says_so(tmp_path: Path) -> None:
    said = {rank: json.loads(text) for rank, text in ranks(tmp_path, SHARDED).items()}

    reason = "ModelParallelStrategy shards the model, which is not supported"
    assert said["0"] == [3, 0, [f"lightning_cam: switched off for this fit, training goes on; {reason}"]]
    assert said["1"] == [3, 0, []]


@pytest.mark.slow
def test_where_one_rank_cannot_draw_the_probe_all_say_so_before_the_training(tmp_path: Path) -> None:
    said = ranks(tmp_path, UNREADABLE)

    assert set(said) == {"0", "1"}
    assert all("no probe can be drawn" in text and "torn" in text for text in said.values())
