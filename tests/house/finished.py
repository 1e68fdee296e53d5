"""A project as a user has one: a module with networks, pictures in folders, and the checkpoints of a training."""

import sys
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from house.shortcut import CLASSES, framed
from lightning_cam.finished.loading import importing_from

NETS = "finished_nets"
SOURCE = """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self, width=8, n_classes=2):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(width, n_classes)

    def forward(self, images):
        return self.head(self.body(images).mean((2, 3)))


class Lit(pl.LightningModule):
    def __init__(self, width):
        super().__init__()
        self.save_hyperparameters()
        self.model = Net(width)

    def forward(self, images):
        return self.model(images)

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.02)


class Deeper(Lit):
    def __init__(self, width, depth):
        super().__init__(width)


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)


class Three(Net):
    def __init__(self):
        super().__init__(8, 3)


class Picky(Net):
    def forward(self, images):
        raise ValueError("not these pictures")


class Config:
    pass


def narrow():
    return Net(width=4)


def five():
    return 5


def normalize(pixels):
    return (pixels - 0.5) / 0.25


def around(model, inputs):
    return model.head(model.body(inputs).mean((2, 3)))
"""


def make_project(folder: Path) -> None:
    """Writes all of it; the training takes a second. Dark pictures are PNGs with alpha, light ones are JPEGs."""
    (folder / f"{NETS}.py").write_text(SOURCE)
    (folder / "needing.py").write_text("import a_package_that_nobody_has\n")
    (folder / "exiting.py").write_text("raise SystemExit(3)\n")
    (folder / "training.py").write_text("import sys, pytorch_lightning as pl\npl.Trainer.fit(*sys.argv)\n")
    (folder / "talking.py").write_text(
        "import argparse\nargparse.ArgumentParser().parse_args()\nfrom finished_nets import *"
    )
    (folder / "notes.txt").write_text("no checkpoint\n")
    for kind, seed in (("train", 0), ("val", 1)):
        _write_pictures(folder / kind, folder / f"{kind}_masks", seed)
    with importing_from(folder):
        nets = __import__(NETS)
    dataset = ImageFolder(str(folder / "train"), transforms.Compose([transforms.ToTensor(), nets.normalize]))
    trainer = pl.Trainer(
        max_epochs=6, accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    module = nets.Lit(width=8)
    trainer.fit(module, DataLoader(dataset, 8, shuffle=True))
    trainer.save_checkpoint(folder / "lit.ckpt")
    _write_checkpoints(folder, nets, module.model.state_dict())


def forget_project() -> None:
    """Modules stay imported otherwise."""
    for name in (NETS, "needing", "exiting", "training", "talking"):
        sys.modules.pop(name, None)


def _write_checkpoints(folder: Path, nets: object, weights: dict[str, torch.Tensor]) -> None:
    torch.save(weights, folder / "weights.pt")
    torch.save({"epoch": 3, "model_state_dict": {f"module.{key}": weights[key] for key in weights}}, folder / "ddp.pt")
    torch.save(nets.Three().state_dict(), folder / "three.pt")
    torch.save({"epoch": 3}, folder / "empty.pt")
    content = torch.load(folder / "lit.ckpt", weights_only=True)
    content["hyper_parameters"]["config"] = nets.Config()
    torch.save(content, folder / "objects.ckpt")
    whole = nets.Net()
    whole.load_state_dict(weights)
    torch.save(whole, folder / "whole.pt")


def _write_pictures(folder: Path, masks: Path, seed: int) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[8:-8, 8:-8] = 255
    for i, (image, target) in enumerate(zip(*framed(64, seed), strict=True)):
        pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
        place = Path(CLASSES[target], f"{i}.jpg" if target else f"{i}.png")
        for root in (folder, masks):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(pixels if target else np.dstack([pixels, mask]))
        picture.save(folder / place, **({"quality": 92} if target else {}))
        Image.fromarray(mask).save((masks / place).with_suffix(".png"))
