"""SimCLR on pictures without labels: does the embedding hold the bird, or the land and water behind it?

Views keep the whole picture's colours, so the ground is the easiest way to tell pictures apart. A few labelled pictures
are the probe: each one is asked which class mean its embedding is most similar to.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_cam import CAMCallback, Probe, Similarity

SIZE = 32


def birds(n, seed):
    """Birds with a long beak live on water, those with a short one on land."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    labels = torch.arange(n) % 2
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    y, x = (10 + 8 * draw(n, 1, 1) for _ in range(2))
    body = (rows - y) ** 2 + (columns - x) ** 2 < 25
    beak = ((rows - y).abs() < 1.5) & (columns > x) & (columns < x + torch.where(labels == 1, 12, 7)[:, None, None])
    masks = body | beak
    ground = torch.tensor([[0.45, 0.55, 0.25], [0.2, 0.4, 0.65]])[labels][:, :, None, None]
    images = torch.where(masks[:, None], torch.tensor([0.9, 0.85, 0.8])[:, None, None], ground)
    return (images + 0.1 * draw(n, 3, SIZE, SIZE) - 0.05).clamp(0, 1), labels, masks


class SimCLR(pl.LightningModule):
    """An encoder, and a head that is thrown away after the training."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16))

    def view(self, images):
        shifted = images.roll((int(torch.randint(-6, 7, ())), int(torch.randint(-6, 7, ()))), (2, 3))
        return shifted.flip(3) if torch.rand(()) < 0.5 else shifted

    def training_step(self, batch, batch_idx):
        one, other = (F.normalize(self.head(self.encoder(self.view(batch[0])))) for _ in range(2))
        loss = F.cross_entropy(one @ other.T / 0.2, torch.arange(len(one), device=self.device))
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 3e-3)


if __name__ == "__main__":
    pl.seed_everything(0)
    images, labels, masks = birds(96, seed=1)
    probe = Probe(images, labels, masks=masks, classes=["land bird", "water bird"])
    watch = CAMCallback(probe, forward=Similarity(lambda module, images: module.encoder(images)), max_overhead=1)
    trainer = pl.Trainer(max_epochs=8, callbacks=[watch], log_every_n_steps=4)
    trainer.fit(SimCLR(), DataLoader(TensorDataset(birds(512, seed=0)[0]), 64, shuffle=True))
    for finding in watch.verdict.findings:
        print(f"{finding.outcome} {finding.cue}")
