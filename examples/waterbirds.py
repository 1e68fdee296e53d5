"""Waterbirds: the place nearly gives the bird away. Which groups suffer, and does a new last layer help?

With the data of Sagawa et al. 2020, a folder with metadata.csv: python examples/waterbirds.py FOLDER --weights DEFAULT
Without: python examples/waterbirds.py --demo, which draws creatures of two families on two kinds of ground.
"""

import argparse
import csv
from pathlib import Path

import pytorch_lightning as pl
import torch
from pictures import draw_waterbirds
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet18
from torchvision.transforms import v2

from lightning_cam import CAMCallback, Probe, audit_dataset, examine, judge, remedies

SPLITS = {"train": "0", "val": "1", "test": "2"}  # as the published file has them
BIRDS, PLACES = ["landbird", "waterbird"], ["land", "water"]


class Waterbirds(Dataset):
    """The pictures of one split, as (image, bird, place)."""

    def __init__(self, root, split, size):
        with (root / "metadata.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == SPLITS[split]]
        self.files = [root / row["img_filename"] for row in rows]
        self.targets = [int(row["y"]) for row in rows]
        self.places = [PLACES[int(row["place"])] for row in rows]
        self.classes = BIRDS
        normalize = v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        floats = v2.ToDtype(torch.float32, scale=True)
        self.transform = v2.Compose([v2.RGB(), v2.ToImage(), v2.Resize((size, size)), floats, normalize])

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        with Image.open(self.files[index]) as picture:
            return self.transform(picture), self.targets[index], self.places[index]


class Classifier(pl.LightningModule):
    """A network with a linear head; items are (image, bird, place)."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def small_network():
    """For 64 x 64 pixels."""
    layers = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))


def large_network(weights):
    network = resnet18(weights=weights)  # "DEFAULT" downloads those of ImageNet
    network.fc = nn.Linear(network.fc.in_features, 2)
    return network


def say_groups(name, model, probe):
    report = examine(model, probe, trials=())
    (places,) = report.attributes
    for group in places.groups:
        print(f"{name}: right on {group.accuracy:.2f} of {group.n} pictures of {group.class_name} on {group.value}")
    print(f"{name}: worst group {places.worst.accuracy:.2f}")
    return judge(report)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("waterbirds_demo"))
    parser.add_argument("--demo", action="store_true", help="draw a small stand-in into the folder first")
    parser.add_argument("--weights", help="of torchvision's resnet18, such as DEFAULT, which are downloaded")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    if options.demo:
        draw_waterbirds(options.folder)
    size = 64 if options.demo else 224
    train, val, test = (Waterbirds(options.folder, split, size) for split in SPLITS)

    audit = audit_dataset(train, attributes={"place": train.places})
    print([finding.text for finding in audit.findings if finding.cue == "attribute place"])

    pl.seed_everything(0)
    model = Classifier(small_network() if options.demo else large_network(options.weights))
    probe = Probe.from_dataset(test, 512, attributes={"place": 2}, find_masks=False)  # the third part of an item
    watch = CAMCallback(probe, audit=audit)
    trainer = pl.Trainer(max_epochs=options.epochs, log_every_n_steps=5, callbacks=[watch])
    trainer.fit(model, DataLoader(train, 32, shuffle=True), DataLoader(val, 64))
    print(watch.verdict)

    say_groups("as trained", model, probe)
    mended = remedies.refit_head(model, val, val.places)  # a split that the training has not seen
    print("head fitted again:", say_groups("head fitted again", mended, probe).outcome)
