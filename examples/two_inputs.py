"""A model of picture and table: spots on skin, and the age of the patient. A ruler gives most malignant ones away.

Spots of the old may be larger, so neither the picture nor the age is enough. The probe carries the age of each picture.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lightning_cam import CAMCallback

SIZE = 48


class Spots(Dataset):
    """Dicts of image, table (the age, 0 to 1), label, and a mask of the spot."""

    classes = ("benign", "malignant")

    def __init__(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
        self.labels, self.ages = torch.arange(n) % 2, draw(n, 1)
        radius = (4 + 5 * self.ages[:, 0] + 4 * self.labels + draw(n))[:, None, None]
        y, x = (16 + 16 * draw(n, 1, 1) for _ in range(2))
        rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        self.masks = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        skin = torch.tensor([0.9, 0.75, 0.65])[:, None, None] + 0.06 * draw(n, 3, SIZE, SIZE)
        spot = torch.tensor([0.45, 0.3, 0.25])[:, None, None] + 0.06 * draw(n, 3, SIZE, SIZE)
        self.images = torch.where(self.masks[:, None], spot, skin).clamp(0, 1)
        with_ruler = draw(n) < torch.where(self.labels == 1, 0.95, 0.05)
        self.images[with_ruler, :, SIZE - 5 : SIZE - 2, 2:18:2] = 0.1

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return {"image": self.images[i], "table": self.ages[i], "label": self.labels[i], "mask": self.masks[i]}


class Network(pl.LightningModule):
    """Features of the picture and the age, to class scores."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        )
        self.head = nn.Sequential(nn.Linear(65, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, image, table):
        maps = self.body(image)
        return self.head(torch.cat([maps.mean((2, 3)), maps.amax((2, 3)), table], 1))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch["image"], batch["table"]), batch["label"])

    def validation_step(self, batch, batch_idx):
        scores = self(batch["image"], batch["table"])
        self.log("val_acc", (scores.argmax(1) == batch["label"]).float().mean(), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 3e-3)


if __name__ == "__main__":
    pl.seed_everything(0)
    watch = CAMCallback(read=lambda item: {**item, "rest": {"table": item["table"]}}, max_overhead=1)
    trainer = pl.Trainer(max_epochs=6, callbacks=[watch], log_every_n_steps=5)
    trainer.fit(Network(), DataLoader(Spots(768, seed=0), 32, shuffle=True), DataLoader(Spots(512, seed=1), 64))
    for finding in watch.verdict.findings:
        print(f"{finding.outcome} {finding.cue}")
