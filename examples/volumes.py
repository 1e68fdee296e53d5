"""Scans of two kinds of nodule from two scanners: does a 3-D network tell the nodules, or the noise around them?

Items are dicts as of MONAI's transforms; the callback needs no argument for them. Maps are as deep as the volumes,
pictures show the middle slice of the nodule, and `slices_*.gif` in the folder of the run shows all slices.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lightning_cam import CAMCallback

SIZE = (8, 24, 24)  # slices, rows, columns


class Scans(Dataset):
    """Nodules that look alike; those of one kind were scanned in darker surroundings."""

    classes = ("benign", "malignant")

    def __init__(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(n) % 2
        self.volumes = 0.5 + 0.08 * torch.randn(n, 1, *SIZE, generator=generator)
        grid = torch.stack(torch.meshgrid(*map(torch.arange, SIZE), indexing="ij")).float()
        centres = torch.stack(
            [torch.randint(side // 3, side - side // 3, (n,), generator=generator) for side in SIZE], 1
        )
        offsets = grid - centres[:, :, None, None, None]
        offsets[:, 0] *= 2  # slices are thicker than pixels
        self.masks = offsets.square().sum(1) < 25
        self.volumes[:, 0] += 0.3 * self.masks
        self.volumes[:, 0] -= 0.25 * (self.labels == 1)[:, None, None, None] * ~self.masks
        self.volumes.clamp_(0, 1)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"image": self.volumes[index], "label": int(self.labels[index]), "mask": self.masks[index]}


class Network(pl.LightningModule):
    """Two convolutions and the mean over all places."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv3d(1, 8, 3, (1, 2, 2), 1), nn.ReLU()),
            *(nn.Conv3d(8, 8, 3, (1, 2, 2), 1), nn.ReLU()),
        )
        self.head = nn.Linear(8, 2)

    def forward(self, volumes):
        return self.head(self.features(volumes).mean((2, 3, 4)))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch["image"]), batch["label"])

    def validation_step(self, batch, batch_idx):
        right = self(batch["image"]).argmax(1) == batch["label"]
        self.log("val_acc", right.float().mean(), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


if __name__ == "__main__":
    pl.seed_everything(0)
    watch = CAMCallback(trials=["background", "border", "corner"], max_overhead=1)
    trainer = pl.Trainer(max_epochs=6, callbacks=[watch], log_every_n_steps=5)
    trainer.fit(Network(), DataLoader(Scans(96, seed=0), 16, shuffle=True), DataLoader(Scans(64, seed=1), 32))
    for finding in watch.verdict.findings:
        print(f"{finding.outcome} {finding.text}")
