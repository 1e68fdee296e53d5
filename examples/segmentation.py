"""Animals to outline, cows and camels: does the network tell them by the animal, or by grass and sand?

Targets are maps of classes, with 0 for the background; the callback needs no argument for them. Each probe picture is
asked for its largest region, whose pixels are the object. Then all around it is swapped.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lightning_cam import CAMCallback

SIZE, GRASS, SAND = 32, torch.tensor([0.3, 0.5, 0.2]), torch.tensor([0.6, 0.5, 0.3])


class Animals(Dataset):
    """Dark bodies, one with horns and one with a hump of a few pixels, on grass and on sand."""

    classes = ("nothing", "cow", "camel")

    def __init__(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        self.images = 0.06 * torch.randn(n, 3, SIZE, SIZE, generator=generator)
        self.maps = torch.zeros(n, SIZE, SIZE, dtype=torch.long)
        for i, (y, x) in enumerate(torch.randint(6, 16, (n, 2), generator=generator).tolist()):
            kind = 1 + i % 2
            body = torch.zeros(SIZE, SIZE, dtype=torch.bool)
            body[y : y + 9, x : x + 12] = True
            body[y - 2 : y, x + (0 if kind == 1 else 5) : x + (2 if kind == 1 else 8)] = True
            self.images[i] += (GRASS if kind == 1 else SAND)[:, None, None]
            self.images[i, :, body] += 0.15 - (GRASS if kind == 1 else SAND)[:, None]
            self.maps[i, body] = kind
        self.images.clamp_(0, 1)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.maps[index]


class Network(pl.LightningModule):
    """A small fully convolutional network, with its scores under "out" as torchvision's have them."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU()),
            *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU()),
            *(nn.Conv2d(32, 32, 7, padding=3), nn.ReLU()),
        )
        self.head = nn.Conv2d(32, 3, 1)

    def forward(self, images):
        return {"out": nn.functional.interpolate(self.head(self.encoder(images)), images.shape[2:], mode="bilinear")}

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0])["out"], batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0])["out"], batch[1]), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 5e-3)


if __name__ == "__main__":
    pl.seed_everything(0)
    watch = CAMCallback(max_overhead=1)
    trainer = pl.Trainer(max_epochs=5, callbacks=[watch], log_every_n_steps=5)
    trainer.fit(Network(), DataLoader(Animals(384, seed=0), 32, shuffle=True), DataLoader(Animals(200, seed=1), 50))
    for finding in watch.verdict.findings:
        print(f"{finding.outcome} {finding.text}")
