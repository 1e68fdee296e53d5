"""Negative controls: callbacks as people write them today. They change a training, and these tests notice."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM as PeerGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchcam.methods import GradCAM as TorchCAM

from house.models import Compilations
from house.twins import Net, Twin, alone, differences, probe, trained
from house.unruly import COMPILED, MODELS
from house.ways import CONFIGURATIONS

SETUPS = CONFIGURATIONS | MODELS


class Control(pl.Callback):
    """Does something to the module before training, after every batch and after every validation."""

    def __init__(self, act: Callable[[Any], object]) -> None:
        self.act = act

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.act(pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.act(pl_module)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.act(pl_module)


def layer_of(module: Net) -> nn.Module:
    return next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))


def pytorch_grad_cam(module: Net) -> None:
    with PeerGradCAM(model=module, target_layers=[layer_of(module)]) as cam, torch.enable_grad():
        cam(input_tensor=probe().images, targets=[ClassifierOutputTarget(0)] * 4)


def torch_cam(module: Net) -> None:
    with torch.enable_grad(), TorchCAM(module, layer_of(module)) as extractor:
        extractor(0, module(probe().images))


def torch_cam_in_evaluation(module: Net) -> None:
    module.eval()
    torch_cam(module)
    module.train()


def captum_in_evaluation(module: Net) -> None:
    module.eval()
    with torch.enable_grad():
        LayerGradCam(module, layer_of(module)).attribute(probe().images, target=0)
    module.train()


def careful_forward(module: Net) -> None:
    """What good practice has to offer: evaluation mode, no gradients, random states kept."""
    training = module.training
    module.eval()
    with torch.no_grad(), isolate_rng():
        module(probe().images.to(module.dtype))
    module.train(training)


def forward_in_training(module: Net) -> None:
    with torch.no_grad(), isolate_rng():
        module(probe().images)


def toggle_modes(module: Net) -> None:
    module.eval()
    module.train()


def leave_evaluating(module: Net) -> None:
    module.eval()


def backward(module: Net) -> None:
    with torch.enable_grad(), isolate_rng():
        module.eval()
        module(probe().images).sum().backward()
        module.train()


def drop_gradients(module: Net) -> None:
    module.zero_grad()


def draw(module: Net) -> None:
    torch.rand(1)


def draw_from_numpy(module: Net) -> None:
    np.random.permutation(4)


def draw_from_python(module: Net) -> None:
    random.sample(range(4), 2)


def seed(module: Net) -> None:
    """As `seed_everything` does, which writes to the environment as well."""
    for each in (torch.manual_seed, np.random.seed, random.seed):
        each(0)


def iterate_a_loader(module: Net) -> None:
    list(DataLoader(TensorDataset(torch.zeros(4)), shuffle=False))


def fetch_a_batch(module: Net) -> None:
    next(iter(module.trainer.val_dataloaders))


def log_from_forward(module: Net) -> None:
    """Flag by flag, so that nothing else changes."""
    modes = [(part, part.training) for part in module.modules()]
    for part, _ in modes:
        part.training = False
    module(probe().images)
    for part, training in modes:
        part.training = training


def with_control(folder: Path, act: Callable[[Any], object], twin: Twin) -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own
        return trained(folder, [Control(act)], twin)


@pytest.mark.parametrize(
    ("act", "setup", "seen"),
    [
        pytest.param(pytorch_grad_cam, "plain", {"weights", "flags", "losses", "optimizer"}, id="pytorch-grad-cam"),
        pytest.param(pytorch_grad_cam, "accumulation", {"weights", "gradients"}, id="pytorch-grad-cam, accumulation"),
        pytest.param(torch_cam, "plain", {"weights", "random", "losses"}, id="torch-cam"),
        pytest.param(torch_cam_in_evaluation, "frozen BatchNorm", {"weights", "flags"}, id="torch-cam in evaluation"),
        pytest.param(captum_in_evaluation, "frozen BatchNorm", {"weights", "flags"}, id="captum in evaluation"),
        pytest.param(toggle_modes, "frozen BatchNorm", {"weights", "flags"}, id="eval() and train()"),
        pytest.param(toggle_modes, "merging adapter", {"weights"}, id="eval() and train(), merging adapter"),
        pytest.param(leave_evaluating, "plain", {"weights", "flags"}, id="eval() alone"),
        pytest.param(forward_in_training, "plain", {"weights"}, id="forward in training mode"),
        pytest.param(backward, "accumulation", {"weights", "gradients", "optimizer"}, id="backward()"),
        pytest.param(drop_gradients, "accumulation", {"weights", "gradients"}, id="zero_grad()"),
        pytest.param(draw, "plain", {"weights", "losses", "random"}, id="one random draw"),
        pytest.param(draw_from_numpy, "plain", {"weights", "losses", "random"}, id="one draw from numpy"),
        pytest.param(draw_from_python, "plain", {"weights", "losses", "random"}, id="one draw from Python"),
        pytest.param(seed, "plain", {"weights", "losses", "random"}, id="a seed"),
        pytest.param(iterate_a_loader, "plain", {"weights", "random"}, id="iterating a loader"),
        pytest.param(fetch_a_batch, "plain", {"weights", "random"}, id="fetching a batch"),
        pytest.param(log_from_forward, "plain", {"metrics"}, id="self.log unmuted"),
    ],
)
def test_callbacks_as_people_write_them_are_noticed(
    act: Callable[[Any], object], setup: str, seen: set[str], tmp_path: Path
) -> None:
    twin = SETUPS[setup]

    assert seen <= differences(alone(twin), with_control(tmp_path, act, twin))


MOVED_BY_EVALUATION = {
    "frozen BatchNorm", "merging adapter", "fake quantisation", "own generators", "metric in forward",
    "teacher and queue", "plain objects, arrays, closures", "everything changes", "lazy, no sanity check", "hooks",
}  # fmt: skip


@pytest.mark.parametrize("setup", ["plain", "frozen BatchNorm", *MODELS])
def test_even_a_careful_forward_is_noticed(setup: str, tmp_path: Path) -> None:
    twin = SETUPS[setup]

    different = differences(alone(twin), with_control(tmp_path, careful_forward, twin))

    assert "metrics" in different  # what the module logs in its forward
    assert ("weights" in different) == (setup in MOVED_BY_EVALUATION)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["module", "in place"])
def test_a_forward_that_compiles_is_noticed(how: str, compiler: Compilations, tmp_path: Path) -> None:
    twin = COMPILED[how](compiler)
    trained(tmp_path, twin=twin)
    n_compilations = compiler.count
    torch.compiler.reset()

    with_control(tmp_path, careful_forward, twin)

    assert compiler.count > 2 * n_compilations
