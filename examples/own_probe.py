"""Your own probe set with masks, a chosen layer and method, and a stop when attention leaves the object."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms.v2 import Normalize

from lightning_cam import CAMCallback, Probe, cams, examine


def draw(n, seed):
    """Bright squares (class 0) and bars (class 1) somewhere on a dark ground, and where they are."""
    generator = torch.Generator().manual_seed(seed)
    images, masks, targets = torch.rand(n, 3, 32, 32, generator=generator) / 4, torch.zeros(n, 32, 32).bool(), []
    for i in range(n):
        x, y = torch.randint(2, 14, (2,), generator=generator).tolist()
        height, width = (10, 10) if i % 2 == 0 else (5, 16)
        masks[i, y : y + height, x : x + width] = True
        targets.append(i % 2)
    return torch.where(masks[:, None], images + 0.6, images), torch.tensor(targets), masks


class Classifier(pl.LightningModule):
    """A small network; it defines forward(), so the callback calls that."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(32, 2)

    def forward(self, images):
        return self.head(self.body(images).mean((2, 3)))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


if __name__ == "__main__":
    normalize = Normalize([0.3] * 3, [0.3] * 3)
    images, targets, masks = draw(96, seed=0)
    data = TensorDataset(normalize(images), targets)

    pixels, labels, objects = draw(16, seed=1)
    probe = Probe(pixels, labels, masks=objects, classes=["square", "bar"], preprocess=normalize)
    watch = CAMCallback(probe, layer="body.3", method=cams.hires_cam)
    # Everything that is logged can be monitored.
    stop = pl.callbacks.EarlyStopping("cam/background_attention_ratio", mode="min", patience=3)

    model = Classifier()
    trainer = pl.Trainer(max_epochs=4, log_every_n_steps=1, callbacks=[watch, stop])
    trainer.fit(model, DataLoader(data, 16, shuffle=True), DataLoader(data, 16))

    for reading in watch.history:
        print(reading.step, f"{reading.scalars['cam/background_attention_ratio']:.2f}")

    # The same look without a trainer, on any model, at any time.
    report = examine(model, probe, layer="body.3")
    print(report.maps.shape, report.scalars)
