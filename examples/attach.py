"""Attach to your own module: the line marked below is the only new one."""

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import FakeData
from torchvision.models import resnet18
from torchvision.transforms import ToTensor

from lightning_cam import CAMCallback


class Classifier(pl.LightningModule):
    """Stands for your module; nothing in it knows about the callback."""

    def __init__(self) -> None:
        super().__init__()
        self.net = resnet18(num_classes=3)

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def loader(*, shuffle: bool = False) -> DataLoader:
    """Stands for your data."""
    return DataLoader(FakeData(24, (3, 64, 64), num_classes=3, transform=ToTensor()), 8, shuffle=shuffle)


if __name__ == "__main__":
    trainer = pl.Trainer(
        max_epochs=2,
        log_every_n_steps=1,
        callbacks=[CAMCallback()],  # <- this line
    )
    trainer.fit(Classifier(), loader(shuffle=True), loader())
