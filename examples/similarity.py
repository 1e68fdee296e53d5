"""Two pictures are alike: an embedding, and where the network looks for what they have in common.

The score is a similarity, so `forward=` gives the cosine of the embeddings of picture and reference. With `--fast` the
training is shorter.
"""

import sys

import torch
from shapes import COLOURS, pointing, scenes, sheet
from torch import nn

from lightning_cam import Probe, examine


class Embedder(nn.Module):
    """Images to unit vectors: near to each other if the pictures share a colour."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU()),
        )
        self.out = nn.Linear(32, 16)

    def forward(self, images):
        return nn.functional.normalize(self.out(self.body(images).amax((2, 3))), dim=1)


def alone(images, masks):
    """The pictures with one of their shapes, all else grey."""
    return torch.where(masks[:, None], images, 0.4)


def trained(epochs):
    torch.manual_seed(0)
    model = Embedder()
    images, _, colours, masks = scenes(768, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            others, sides = torch.randint(len(images), rows.shape), torch.randint(2, rows.shape)
            wanted = (colours[rows] == colours[others, sides][:, None]).any(1).float()
            alike = (model(images[rows]) * model(alone(images[others], masks[others, sides]))).sum(1)
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(10 * alike - 5, wanted).backward()
            optimizer.step()
    return model


if __name__ == "__main__":
    model = trained(epochs=20 if "--fast" in sys.argv else 40)
    images, _, colours, masks = scenes(96, seed=1)
    rows = [[("", image)] for image in images[:4]]
    for number, colour in enumerate(COLOURS):
        has = colours == number
        place = has.nonzero()[0]
        # Once, beforehand: inside the forward the layer would run a second time, for the reference.
        reference = model(alone(images[place[0], None], masks[place[0], place[1], None]))[0].detach()

        def likeness(net, inputs, reference=reference):
            return 10 * (net(inputs) @ reference) - 5  # above 0: alike

        probe = Probe(images, has.any(1).long(), classes=["another", "alike"])
        report = examine(model, probe, trials=(), forward=likeness)
        share = pointing(report.maps[has.any(1)], (masks & has[:, :, None, None]).any(1)[has.any(1)])
        print(f"like {colour}: right in {report.scalars['probe_accuracy']:.0%}, maps point at it in {share:.0%}")
        for row, values in zip(rows, report.maps, strict=False):
            row.append((f"like {colour}", values))
    sheet(rows, "similarity.png")
    print("Open similarity.png. Pictures without the colour have maps of what makes them unlike it.")
