"""The callback can be copied and sent at any moment, as population-based training and snapshots do in a fit."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

from house.trainings import Net, loader, probe, steps, trainer, watched
from lightning_cam import CAMCallback, sinks
from lightning_cam.sinks import FolderSink, MemorySink, TensorBoardSink, WandbSink

WAYS: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda callback: pickle.loads(pickle.dumps(callback)),
    "cloudpickle": lambda callback: pickle.loads(cloudpickle.dumps(callback)),
}


class Copying(pl.Callback):
    """Copies at every hook that a check is behind or ahead of."""

    def __init__(self, way: Callable[[Any], Any], callback: CAMCallback) -> None:
        self.copied = lambda *_, **__: self.copies.append(way(callback))
        self.copies: list[CAMCallback] = []
        for name in ("on_fit_start", "on_train_batch_end", "on_validation_end", "on_train_end", "on_fit_end"):
            setattr(self, name, self.copied)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_has_the_readings_so_far_and_serves_another_fit(way: str, tmp_path: Path) -> None:
    callback = CAMCallback(probe(), every_n_epochs=1, trials=())
    before = WAYS[way](callback)
    copying = Copying(WAYS[way], callback)

    trainer(tmp_path, callback, copying, logger=TensorBoardLogger(tmp_path)).fit(Net(), loader(), loader(8))

    after = WAYS[way](callback)
    twins = copying.copies
    assert [len(twin.history) for twin in (before, twins[0], twins[3], twins[-1], after)] == [0, 0, 1, 3, 3]
    watched(tmp_path / "twin", twins[3])
    assert steps(twins[3]) == [0, 5, 11]


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_has_the_sinks(way: str, tmp_path: Path) -> None:
    writer = SummaryWriter(str(tmp_path / "board"))
    given = [FolderSink(tmp_path / "folder"), MemorySink(), TensorBoardSink(writer)]

    twin = WAYS[way](CAMCallback(probe(), every_n_epochs=1, sinks=given))
    writer.close()

    assert [type(sink) for sink in twin.options.sinks] == [type(sink) for sink in given]
    watched(tmp_path / "run", twin)
    assert len(twin.options.sinks[1].pages) == 4
    assert list((tmp_path / "folder").rglob("*.png"))


def test_deep_copies_share_probe_and_sinks(tmp_path: Path) -> None:
    callback = CAMCallback(probe(), sinks=[WandbSink(object())])

    twin = copy.deepcopy(callback)

    assert twin.probe is callback.probe
    assert twin.options.sinks[0] is callback.options.sinks[0]


def test_a_run_of_weights_and_biases_stays_in_its_process() -> None:
    sink = pickle.loads(pickle.dumps(WandbSink(open)))

    with pytest.raises(RuntimeError, match="run of another process"):
        sink.write(sinks.Page("cam", 0, 0, {"a": 1.0}))
