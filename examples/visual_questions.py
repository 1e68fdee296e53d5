"""Questions about pictures: "what colour is the circle?", and where the network looks for the answer.

The question goes beside the picture as the probe's rest, so each picture keeps its own. With `--fast` the training is
shorter.
"""

import sys

import torch
from shapes import COLOURS, SHAPES, pointing, scenes, sheet
from torch import nn

from lightning_cam import Probe, examine


class Answerer(nn.Module):
    """Image and question, the number of a shape, to a score for each colour."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU()),
        )
        self.question = nn.Embedding(len(SHAPES), 32)
        self.both = nn.Sequential(nn.Conv2d(64, 32, 1), nn.ReLU())
        self.head = nn.Linear(32, len(COLOURS))

    def forward(self, images, question):
        maps = self.body(images)
        asked = self.question(question)[:, :, None, None].expand_as(maps)
        return self.head(self.both(torch.cat([maps, asked], 1)).amax((2, 3)))


def questions(shapes, colours, side):
    """The shape that is asked for, and its colour."""
    return shapes[:, side], colours[:, side]


def trained(epochs):
    torch.manual_seed(0)
    model = Answerer()
    images, shapes, colours, _ = scenes(768, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            question, answer = questions(shapes[rows], colours[rows], int(torch.randint(2, ())))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[rows], question), answer).backward()
            optimizer.step()
    return model


if __name__ == "__main__":
    model = trained(epochs=20 if "--fast" in sys.argv else 40)
    images, shapes, colours, masks = scenes(48, seed=1)
    rows = [[("", image)] for image in images[:4]]
    for side in range(2):
        question, answer = questions(shapes, colours, side)
        report = examine(model, Probe(images, answer, classes=COLOURS, rest=question), trials=())
        share = pointing(report.maps, masks[:, side])
        right = report.scalars["probe_accuracy"]
        print(f"{('left', 'right')[side]} shape: answers are right in {right:.0%}, maps point at it in {share:.0%}")
        for row, shape, colour, values in zip(rows, question, answer, report.maps, strict=False):
            row.append((f"the {SHAPES[shape]}? {COLOURS[colour]}", values))
    sheet(rows, "answers.png")
    print("Open answers.png.")
