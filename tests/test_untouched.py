"""The promise: a run with the callback ends in the same state, bit for bit, as the run without it.

The negative controls are callbacks as people write them today; they must differ, or these tests could not notice.
"""

import hashlib
import pickle
import random
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_grad_cam import GradCAM as PeerGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchcam.methods import GradCAM as TorchCAM

from lightning_cam import CAMCallback, Probe
from lightning_cam.sinks.memory import MemorySink

SIZE = 12
# Many checks a second; their pictures are not the subject here.
pytestmark = pytest.mark.filterwarnings("ignore:lightning_cam. pictures of")


class Augmented(Dataset[tuple[Tensor, int]]):
    """Images that draw from torch's, numpy's and python's global generators, as many training sets do."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.full((3, SIZE, SIZE), index / 24)
        noise = torch.rand(3, SIZE, SIZE) / 4 + float(np.random.rand()) / 4 + random.random() / 4
        return (image / 4 + noise).clamp(0, 1), index % 2


class Net(pl.LightningModule):
    """Convolution, BatchNorm, in-place ReLU, dropout; a scheduler; a log call in forward."""

    def __init__(self, *, frozen_batchnorm: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(6, 2)
        self.frozen_batchnorm = frozen_batchnorm
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        features = self.features(images)
        if not self.training:
            self.log("activity", features.mean(), on_step=False, on_epoch=True)
        return self.head(self.drop(features).mean((2, 3)))

    def on_train_epoch_start(self) -> None:
        if self.frozen_batchnorm:
            self.features[1].eval()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.05)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.7)]


class Losses(pl.Callback):
    """Every loss of the run, in order."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.values.append(float(outputs["loss"]))


def digest(thing: object) -> str:
    """One string for tensors, dictionaries and numbers, to the last bit."""
    if isinstance(thing, Tensor):
        thing = (str(thing.dtype), tuple(thing.shape), thing.detach().contiguous().numpy().tobytes())
    elif isinstance(thing, dict):
        thing = [(str(key), digest(value)) for key, value in thing.items()]
    elif isinstance(thing, (list, tuple)):
        thing = [digest(value) for value in thing]
    return hashlib.sha256(pickle.dumps(thing)).hexdigest()


def trained(
    folder: Path,
    callbacks: Iterable[pl.Callback] = (),
    *,
    frozen_batchnorm: bool = False,
    workers: int = 0,
    **trainer_options: Any,
) -> dict[str, str]:
    """Digests of everything that a training leaves behind."""
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    net = Net(frozen_batchnorm=frozen_batchnorm)
    losses = Losses()
    data = DataLoader(Augmented(), batch_size=6, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    validation = DataLoader(Augmented(), batch_size=6, num_workers=0)
    options: dict[str, Any] = {
        "max_epochs": 3,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": folder,
        "accelerator": "cpu",
        "log_every_n_steps": 1,
    } | trainer_options
    trainer = pl.Trainer(callbacks=[losses, *callbacks], **options)
    trainer.fit(net, data, validation)
    return {
        "weights": digest(net.state_dict()),
        "gradients": digest([parameter.grad is None for parameter in net.parameters()]),
        "optimizer": digest(trainer.optimizers[0].state_dict()),
        "losses": digest(losses.values),
        "random": digest([torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()]),
        "flags": digest([(name, module.training) for name, module in net.named_modules()]),
        "calls": digest(net.calls),
        "metrics": digest({k: v for k, v in sorted(trainer.callback_metrics.items()) if not k.startswith("cam/")}),
    }


def probe() -> Probe:
    images = torch.rand(6, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    return Probe(images, torch.arange(6) % 2, masks=images[:, 0] > 0.5)


def ours(**options: Any) -> CAMCallback:
    return CAMCallback(probe(), sinks=[MemorySink()], on_error="raise", **options)


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"accumulate_grad_batches": 3},
    "frozen BatchNorm": {"frozen_batchnorm": True},
    "workers": {"workers": 2},
    "validation inside the epoch": {"val_check_interval": 0.5},
    "validation mid-accumulation": {"val_check_interval": 0.25, "accumulate_grad_batches": 2},
    "no validation": {"limit_val_batches": 0},
    "no sanity check": {"num_sanity_val_steps": 0},
    "clipping and anomaly detection": {"gradient_clip_val": 0.1, "detect_anomaly": True},
    "bf16-mixed": {"precision": "bf16-mixed"},
}
TRIGGERS: dict[str, dict[str, Any]] = {
    "default rhythm": {},
    "every step": {"every_n_train_steps": 1},
    "every second epoch": {"every_n_epochs": 2},
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_training_ends_bit_for_bit_the_same(configuration: str, tmp_path: Path) -> None:
    options = CONFIGURATIONS[configuration]
    without = trained(tmp_path, **options)

    for trigger in TRIGGERS.values():
        callback = ours(**trigger)
        assert trained(tmp_path, [callback], **options) == without
        assert len(callback.history) >= 2


def test_a_probe_drawn_from_the_validation_data_changes_nothing(tmp_path: Path) -> None:
    callback = CAMCallback(on_error="raise")

    assert trained(tmp_path, [callback]) == trained(tmp_path)
    assert callback.probe is not None
    assert len(callback.probe) == 24


def test_two_callbacks_change_nothing(tmp_path: Path) -> None:
    both = [ours(name="first"), ours(name="second", every_n_train_steps=2)]
    without = trained(tmp_path)
    with_both = trained(tmp_path, both)

    assert {key for key in without if without[key] != with_both[key]} <= {"metrics"}  # their own keys
    assert all(len(callback.history) > 2 for callback in both)


# ---- negative controls: callbacks as people write them; each must be seen -------------------------------------------


class Control(pl.Callback):
    """Does something to the module after every training batch and every validation."""

    def __init__(self, act: Callable[[Any], object]) -> None:
        self.act = act

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.act(pl_module)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.act(pl_module)


def pytorch_grad_cam(module: Net) -> None:
    with PeerGradCAM(model=module, target_layers=[module.features[0]]) as cam, torch.enable_grad():
        cam(input_tensor=probe().images, targets=[ClassifierOutputTarget(0)] * 6)


def torch_cam(module: Net) -> None:
    with torch.enable_grad(), TorchCAM(module, "features.0") as extractor:
        extractor(0, module(probe().images))


def toggle_modes(module: Net) -> None:
    module.eval()
    module.train()


def draw(module: Net) -> None:
    torch.rand(1)


def iterate_a_loader(module: Net) -> None:
    list(DataLoader(TensorDataset(torch.zeros(4)), shuffle=False))


def log_from_forward(module: Net) -> None:
    modes = [(part, part.training) for part in module.modules()]
    for part, _ in modes:
        part.training = False
    module(probe().images)
    for part, training in modes:
        part.training = training


@pytest.mark.parametrize(
    ("control", "options", "seen"),
    [
        pytest.param(pytorch_grad_cam, {}, {"weights", "flags"}, id="pytorch-grad-cam"),
        pytest.param(
            pytorch_grad_cam, {"accumulate_grad_batches": 3}, {"weights"}, id="pytorch-grad-cam, accumulation"
        ),
        pytest.param(torch_cam, {}, {"weights", "random"}, id="torch-cam"),
        pytest.param(toggle_modes, {"frozen_batchnorm": True}, {"weights"}, id="eval() and train()"),
        pytest.param(draw, {}, {"weights", "losses", "random"}, id="one random draw"),
        pytest.param(iterate_a_loader, {}, {"weights", "random"}, id="iterating a loader"),
        pytest.param(log_from_forward, {}, {"metrics"}, id="self.log unmuted"),
    ],
)
def test_the_test_notices_callbacks_as_people_write_them(
    control: Callable[[Any], object], options: dict[str, Any], seen: set[str], tmp_path: Path
) -> None:
    without = trained(tmp_path, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own
        with_control = trained(tmp_path, [Control(control)], **options)

    assert seen <= {key for key in without if without[key] != with_control[key]}
