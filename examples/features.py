"""What a small trained model has learnt: filters, strongest patches, ideal pictures, curves, and a part it knows."""

import numpy as np
import pytorch_lightning as pl
import torch
from classifier import SIZE, Classifier, loaders, normalize
from pictures import folder
from PIL import Image, ImageDraw
from torch import nn

from lightning_cam import Probe, features

CELL = 96


def network():
    pairs = (3, 16), (16, 32), (32, 64)
    stages = (nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)) for a, b in pairs)
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))


def draw(sheet, top, title, pictures):
    """A row of pictures ``(n, C, h, w)`` in [0, 1]; NaN, beyond an image, is black."""
    ImageDraw.Draw(sheet).text((4, top), title)
    for i, picture in enumerate(pictures[:9]):
        pixels = (255 * picture.nan_to_num().clamp(0, 1)).byte().movedim(0, 2).numpy()
        sheet.paste(Image.fromarray(pixels.astype(np.uint8)).resize((CELL, CELL), 0), (4 + i * (CELL + 4), top + 14))


def around_grey(pictures):
    values = pictures.nan_to_num()
    return 0.5 + 0.5 * values / values.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)


if __name__ == "__main__":
    model, data = Classifier(network()), folder()
    pl.Trainer(max_epochs=4, log_every_n_steps=5).fit(model, *loaders(data))
    probe = Probe.from_folder(data / "val", 32, size=SIZE, preprocess=normalize)

    rows = {"filters of the first layer": features.filters(model)}
    strongest = features.strongest_patches(model, probe, "net.1")
    for unit, patches, pictures in list(zip(strongest.units, strongest.patches, strongest.pictures, strict=True))[:3]:
        rows[f"unit {unit} of net.1: strongest patches"] = patches
        rows[f"unit {unit} of net.1: what it answers to in them"] = around_grey(pictures)
    ideal = [features.activation_maximisation(model, label, probe, n_images=2).images for label in (0, 1)]
    rows[f"most {' and most '.join(probe.classes)}, as the model sees it"] = torch.cat(ideal)

    sheet = Image.new("RGB", (9 * (CELL + 4) + 4, len(rows) * (CELL + 20)), "dimgrey")
    for i, (title, pictures) in enumerate(rows.items()):
        draw(sheet, i * (CELL + 20), title, pictures)
    sheet.save("features.png")

    for name, curve in features.invariance(model, probe).items():
        middle = len(curve.grades) // 2
        print(f"{name} {curve.grades[middle]:g}: p(true class) = {curve.probabilities[middle].mean():.2f}")
    boxes = torch.tensor([[SIZE[1] // 4, SIZE[0] // 4, 3 * SIZE[1] // 4, 3 * SIZE[0] // 4]]).expand(len(probe), 4)
    for row in features.part_correspondence(model, probe, boxes):
        print(f"hiding the middle, {row.layer}: {row.distance:.3f} of the signs differ, {row.random:.3f} elsewhere")
    print("Open features.png.")
