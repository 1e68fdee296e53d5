"""A value to predict, as for the age of a bone: does the network read it off the bone?

Older patients were taken with another scanner, whose frame is brighter. The callback needs no argument for values: it
sees that targets are no whole numbers.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from lightning_cam import CAMCallback

SIZE = 32


class Bones(Dataset):
    """A bone that widens with the age, in a frame that becomes brighter; the bone is the mask."""

    def __init__(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        self.ages = 1 + 17 * torch.rand(n, generator=generator)
        self.images = 0.3 + 0.1 * torch.randn(n, 1, SIZE, SIZE, generator=generator)
        self.bones = torch.zeros(n, SIZE, SIZE, dtype=torch.bool)
        for image, bone, age in zip(self.images, self.bones, self.ages.tolist(), strict=True):
            half, middle = round(2 + age / 4), int(torch.randint(12, 20, (), generator=generator))
            bone[8:24, middle - half : middle + half] = True
            image += 0.2 * bone
            image[:, :3] += 0.03 * age
        self.images.clamp_(0, 1)

    def __len__(self):
        return len(self.ages)

    def __getitem__(self, index):
        return self.images[index], self.ages[index], tv_tensors.Mask(self.bones[index])


class Network(pl.LightningModule):
    """One number, the mean square."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(32 * 8 * 8, 1)

    def forward(self, images):
        return 9 + 5 * self.head(self.body(images).flatten(1)).squeeze(1)

    def training_step(self, batch, batch_idx):
        return nn.functional.mse_loss(self(batch[0]), batch[1]) / 25

    def validation_step(self, batch, batch_idx):
        self.log("val_error_in_years", nn.functional.l1_loss(self(batch[0]), batch[1]), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 2e-3)


if __name__ == "__main__":
    pl.seed_everything(0)
    watch = CAMCallback(max_overhead=1)
    trainer = pl.Trainer(max_epochs=4, callbacks=[watch], log_every_n_steps=5)
    trainer.fit(Network(), DataLoader(Bones(512, seed=0), 32, shuffle=True), DataLoader(Bones(400, seed=1), 64))
    for finding in watch.verdict.findings:
        print(f"{finding.outcome} {finding.text}")
