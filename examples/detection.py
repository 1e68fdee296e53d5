"""Nuts and bolts to detect: does the detector tell them by the part, or by the belt that it lies on?

Targets are dicts of boxes and labels, as torchvision's detectors take them; the callback needs no argument for them.
Each probe picture is asked for its largest box, which is the object. Then all around it is swapped.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

from lightning_cam import CAMCallback

SIZE = 48


class Parts(Dataset):
    """Bright parts, nuts with a hole of a few pixels, and bolts without; the belt under bolts is striped."""

    classes = ("nothing", "nut", "bolt")

    def __init__(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        self.images = 0.35 + 0.05 * torch.randn(n, 3, SIZE, SIZE, generator=generator)
        self.targets = []
        for i, (y, x, side) in enumerate(torch.randint(12, 19, (n, 3), generator=generator).tolist()):
            kind = 1 + i % 2
            if kind == 2:
                self.images[i] += 0.25 * torch.sin(1.57 * torch.arange(SIZE))[:, None]
            self.images[i, :, y : y + side, x : x + side] = 0.9
            if kind == 1:
                self.images[i, :, y + 5 : y + 7, x + 5 : x + 7] = 0.6
            box = torch.tensor([[x, y, x + side, y + side]], dtype=torch.float)
            self.targets.append({"boxes": box, "labels": torch.tensor([kind])})
        self.images.clamp_(0, 1)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.targets[index]


class Backbone(nn.Sequential):
    """Maps on one scale, as a dict."""

    out_channels = 32

    def __init__(self):
        layers = []
        for before, behind, stride in ((3, 16, 2), (16, 32, 2), (32, 32, 2), (32, 32, 1)):
            layers += [nn.Conv2d(before, behind, 5, stride, 2, bias=False), nn.BatchNorm2d(behind), nn.ReLU()]
        super().__init__(*layers)

    def forward(self, images):
        return {"0": super().forward(images)}


class Detector(pl.LightningModule):
    """Torchvision's RetinaNet on a small backbone."""

    def __init__(self):
        super().__init__()
        anchors = AnchorGenerator(((16, 20, 25),), ((1.0,),))
        self.model = RetinaNet(Backbone(), 3, anchor_generator=anchors, min_size=SIZE, max_size=SIZE)
        head = self.model.head
        for weights in head.parameters():  # its own ones learn in days, on millions of pictures
            if weights.ndim == 4:
                nn.init.kaiming_normal_(weights, nonlinearity="relu")
        with torch.no_grad():
            head.classification_head.cls_logits.bias.fill_(-2.0)
            head.classification_head.cls_logits.weight.mul_(0.1)
            head.regression_head.bbox_reg.weight.mul_(0.1)

    def training_step(self, batch, batch_idx):
        images, targets = batch
        return sum(self.model(list(images), list(targets)).values())

    def validation_step(self, batch, batch_idx):
        self.model(list(batch[0]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


def pairs(items):
    """Pictures and targets of a batch, each as a tuple."""
    return tuple(zip(*items, strict=True))


if __name__ == "__main__":
    pl.seed_everything(0)
    watch = CAMCallback(max_overhead=1)
    trainer = pl.Trainer(max_epochs=4, callbacks=[watch], log_every_n_steps=5)
    training = DataLoader(Parts(256, seed=0), 16, shuffle=True, collate_fn=pairs)
    trainer.fit(Detector(), training, DataLoader(Parts(128, seed=1), 32, collate_fn=pairs))
    for finding in watch.verdict.findings:
        print(f"{finding.outcome} {finding.text}")
