"""Faults 1 to 6, of the configuration: they are said before the first step, with the way out."""

import os
import pickle
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import Strategy
from torch import Tensor, nn

from house.faulty import beside, refused, watching
from house.trainings import SIZE, Net, loader, probe, trainer
from lightning_cam import CAMCallback
from lightning_cam.training.failures import cannot_be_sent


def test_an_unknown_layer_is_said_before_training_starts_with_names_like_it(tmp_path: Path) -> None:
    refused(tmp_path, CAMCallback(probe(), layer="bdy.2"), "no layer 'bdy.2' in Net.*body.2")


class NoMaps(Net):
    def build(self) -> None:
        self.body = nn.Flatten()
        self.head = nn.Linear(3 * SIZE * SIZE, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


def test_a_model_without_a_usable_layer_is_said_before_training_starts(tmp_path: Path) -> None:
    refused(tmp_path, CAMCallback(probe()), r"name the layer to look at, layer='\.\.\.'", NoMaps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"every_n_epochs": 1, "every_n_train_steps": 1}, "exclude each other", id="two"),
        pytest.param({"every_n_epochs": 0}, "from 1 on, got 0; leave it out", id="0"),
        pytest.param({"every_n_train_steps": -3}, "from 1 on, got -3", id="negative"),
        pytest.param({"every_n_epochs": 0.5}, "from 1 on, got 0.5", id="a fraction"),
        pytest.param({"every_n_epochs": True}, "from 1 on, got True", id="a switch"),
    ],
)
def test_a_rhythm_that_cannot_be_is_refused_at_construction(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CAMCallback(probe(), **options)


def test_a_probe_without_preprocess_takes_the_callbacks() -> None:
    halved = CAMCallback(probe(), preprocess=lambda images: images / 2).probe

    assert halved is not None
    assert torch.equal(halved.prepare(halved.images), halved.images / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"preprocess": nn.Identity()}, "has a preprocess of its own", id="two"),
        pytest.param({"size": (8, 8)}, "are for a probe that is drawn", id="size"),
        pytest.param({"read": list}, "are for a probe that is drawn", id="read"),
    ],
)
def test_what_a_given_probe_cannot_take_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CAMCallback(probe().with_preprocess(nn.Identity()), **options)


def test_two_callbacks_of_one_name_are_refused_before_the_fit(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"more than one stateful callback of type `CAMCallback`"):
        trainer(tmp_path, CAMCallback(probe()), CAMCallback(probe()))


def test_two_names_keep_two_series_in_one_checkpoint(tmp_path: Path) -> None:
    def callbacks() -> list[CAMCallback]:
        return [watching(name="first"), watching(name="second", every_n_train_steps=3)]

    run = trainer(tmp_path, *callbacks(), max_epochs=1)
    run.fit(Net(), loader(), loader(8))
    run.save_checkpoint(tmp_path / "two.ckpt")
    restored = callbacks()
    trainer(tmp_path, *restored, max_epochs=1).fit(Net(), loader(), loader(8), ckpt_path=tmp_path / "two.ckpt")

    assert [[reading.step for reading in callback.history] for callback in restored] == [[0, 1, 3, 5], [0, 2, 5]]
    assert all(key.startswith("second/") for key in restored[1].history[0].scalars)


def test_an_argument_that_cannot_be_sent_to_processes_is_named(tmp_path: Path) -> None:
    callback = CAMCallback(probe(), forward=lambda module, images: module(images))
    run = trainer(tmp_path, callback, strategy="ddp_spawn", devices=1)

    with (
        patch.dict(os.environ),  # Lightning leaves its address there
        pytest.warns(UserWarning, match="forward= of CAMCallback cannot be sent to other processes; define it at"),
        pytest.raises((AttributeError, pickle.PicklingError), match=r"[Pp]ickle"),
    ):
        run.fit(Net(), loader(), loader(8))
    assert run.global_step == 0


def test_only_what_cannot_be_pickled_is_named() -> None:
    assert cannot_be_sent({"probe": probe(), "forward": lambda m, x: m(x), "sinks": None}) == ["forward"]
    options = CAMCallback(read=lambda item: item, preprocess=lambda images: images).options
    assert cannot_be_sent(options.functions) == ["read", "preprocess"]


class Sharded(Strategy):
    """Keeps everything on the CPU, under a name that is not known to hold the whole model."""

    root_device = torch.device("cpu")
    is_global_zero = True
    global_rank = local_rank = node_rank = 0
    world_size = 1

    def model_to_device(self) -> None: ...

    def barrier(self, *_: Any, **__: Any) -> None: ...

    def all_gather(self, tensor: Tensor, *_: Any, **__: Any) -> Tensor:
        return tensor

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        return obj

    def reduce(self, tensor: Any, *_: Any, **__: Any) -> Any:
        return tensor


def test_a_strategy_that_shards_the_model_switches_off_with_one_warning(tmp_path: Path) -> None:
    callback = watching()
    run = beside(tmp_path, callback, accelerator="auto", strategy=Sharded(accelerator=pl.accelerators.CPUAccelerator()))

    assert run.untouched
    assert run.said == [
        "lightning_cam: switched off for this fit, training goes on; Sharded shards the model, which is not supported"
    ]
    assert callback.history == ()
