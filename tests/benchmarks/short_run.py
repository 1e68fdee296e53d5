"""What the callback costs a training of a minute: CPU seconds of a fit without it and with it, at its defaults.

    python tests/benchmarks/short_run.py --images 320 --epochs 3

ResNet-18 on drawn pictures of 96 pixels, one CPU thread, no workers. Prints the seconds, their ratio, and at how many
checks the callback looked, with trials and without.
"""

import argparse
import tempfile
import time
import warnings

import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

from lightning_cam import CAMCallback


class Classifier(pl.LightningModule):
    """A ResNet-18 as most people train one."""

    def __init__(self) -> None:
        super().__init__()
        self.net = resnet18(num_classes=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3)


def pictures(n: int, seed: int) -> TensorDataset:
    """Discs on dark or on light ground: the ground goes with the class."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % 2
    images = torch.rand(n, 3, 96, 96, generator=generator) * 0.2 + 0.7 * targets[:, None, None, None]
    rows = torch.arange(96)
    disc = (rows[:, None] - 48) ** 2 + (rows - 48) ** 2 < 24**2
    images[:, :, disc] = 0.5
    return TensorDataset(images.clamp(0, 1), targets)


def fit(callbacks: list[pl.Callback], *, n_images: int, n_epochs: int) -> float:
    """CPU seconds of one fit."""
    torch.manual_seed(0)
    loaders = DataLoader(pictures(n_images, 0), 32, shuffle=True), DataLoader(pictures(120, 1), 32)
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=n_epochs,
            accelerator="cpu",
            callbacks=callbacks,
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=5,
        )
        started = time.process_time()
        trainer.fit(Classifier(), *loaders)
        return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    callback = CAMCallback()
    sizes = {"n_images": options.images, "n_epochs": options.epochs}
    without, with_it = fit([], **sizes), fit([callback], **sizes)
    judged = sum("cam/shortcut_score" in reading.scalars for reading in callback.history)
    print(f"without {without:.1f} s, with {with_it:.1f} s: {with_it / without - 1:+.0%}")
    print(f"{len(callback.history)} checks, {judged} judged, verdict {callback.verdict and callback.verdict.outcome}")


if __name__ == "__main__":
    main()
