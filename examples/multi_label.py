"""Several labels at once, as for chest X-rays: which of them does the network tell by something else?

A tag in the corner comes with most pictures that have "nodule": they were taken at the bedside. The callback needs no
argument for labels: it sees that targets are rows of 0 and 1.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from lightning_cam import CAMCallback

SIZE, FINDINGS = 48, ["nodule", "effusion", "device"]


class Films(Dataset):
    """Grey films with a lung field, in which each finding has a form of its own; the field is the mask."""

    classes = FINDINGS

    def __init__(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        self.labels = (torch.rand(n, len(FINDINGS), generator=generator) < 0.4).float()
        self.images = 0.3 + 0.1 * torch.randn(n, 1, SIZE, SIZE, generator=generator)
        self.field = torch.zeros(SIZE, SIZE, dtype=torch.bool)
        self.field[8:42, 6:42] = True
        with_tag = torch.rand(n, generator=generator) < torch.where(self.labels[:, 0] == 1, 0.95, 0.05)
        for image, (nodule, effusion, device), tag in zip(self.images, self.labels, with_tag, strict=True):
            y, x = torch.randint(12, 24, (2,), generator=generator).tolist()
            image[:, y : y + 4, x : x + 4] += 0.12 * nodule
            image[:, 36:40, 8:40] += 0.4 * effusion
            image[:, 10:34, x + 8 : x + 10] += 0.4 * device
            image[:, 1:5, 38:46] += 0.5 * tag
        self.images.clamp_(0, 1)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index], self.labels[index], tv_tensors.Mask(self.field)


class Network(pl.LightningModule):
    """A sigmoid for each finding."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(32, len(FINDINGS))

    def forward(self, images):
        return self.head(self.body(images).amax((2, 3)))

    def training_step(self, batch, batch_idx):
        return nn.functional.binary_cross_entropy_with_logits(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        logits = self(batch[0])
        self.log("val_acc", ((logits > 0) == (batch[1] == 1)).float().mean(), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 5e-3)


if __name__ == "__main__":
    pl.seed_everything(0)
    watch = CAMCallback(max_overhead=1)
    trainer = pl.Trainer(max_epochs=8, callbacks=[watch], log_every_n_steps=5)
    trainer.fit(Network(), DataLoader(Films(768, seed=0), 32, shuffle=True), DataLoader(Films(600, seed=1), 64))
    for finding in watch.verdict.findings:
        print(f"{finding.outcome} {finding.cue}: {', '.join(finding.classes)}")
