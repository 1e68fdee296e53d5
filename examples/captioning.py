"""Captions: a CNN and an LSTM, and where the network looks for each word (Selvaraju et al. 2017, section 8.1).

The score of a word is its log-probability after the words before it: `forward=` gives those at one place.
With `--fast` the training is shorter.
"""

import sys

import torch
from shapes import COLOURS, SHAPES, pointing, scenes, sheet
from torch import nn

from lightning_cam import Probe, examine

WORDS = ("left", "of", *COLOURS, *SHAPES)
SAID_OF = (0, 0, None, None, 1, 1)  # which shape a word of "red circle left of blue square" is about


def captions(shapes, colours):
    """Numbers of words `(n, 6)`."""
    between = torch.tensor([[0, 1]]).expand(len(shapes), -1)
    (left, right) = (torch.stack([2 + colours[:, side], 5 + shapes[:, side]], 1) for side in range(2))
    return torch.cat([left, between, right], 1)


class Captioner(nn.Module):
    """Image and caption to the log-probabilities of each of its words, given the words before."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU()),
        )
        self.embedding = nn.Embedding(len(WORDS) + 1, 16)  # and one for the start
        self.lstm = nn.LSTM(16 + 64, 64, batch_first=True)
        self.head = nn.Linear(64, len(WORDS))

    def forward(self, images, caption):
        halves = self.body(images).chunk(2, 3)
        features = torch.cat([half.amax((2, 3)) for half in halves], 1)[:, None].expand(-1, caption.shape[1], -1)
        before = torch.cat([torch.full_like(caption[:, :1], len(WORDS)), caption[:, :-1]], 1)
        return self.head(self.lstm(torch.cat([self.embedding(before), features], 2))[0]).log_softmax(2)


def trained(epochs):
    torch.manual_seed(0)
    model = Captioner()
    images, shapes, colours, _ = scenes(768, seed=0)
    words = captions(shapes, colours)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            nn.functional.nll_loss(model(images[rows], words[rows]).flatten(0, 1), words[rows].flatten()).backward()
            optimizer.step()
    return model


def maps_of_word(model, images, words, place):
    """Maps of the word at one place of each caption, and how often it is the likeliest word."""
    probe = Probe(images, words[:, place], classes=WORDS, rest=words)
    report = examine(model, probe, trials=(), forward=lambda net, x, caption: net(x, caption)[:, place])
    return report.maps, report.scalars["probe_accuracy"]


if __name__ == "__main__":
    model = trained(epochs=14 if "--fast" in sys.argv else 30)
    images, shapes, colours, masks = scenes(48, seed=1)
    words = captions(shapes, colours)
    columns, accuracies = zip(*(maps_of_word(model, images, words, place) for place in range(6)), strict=True)
    print(f"words are right in {sum(accuracies) / 6:.0%}")
    for number, word in enumerate(WORDS[2:], 2):
        places = [(place, (words[:, place] == number).nonzero().flatten()) for place in (0, 1, 4, 5)]
        maps = torch.cat([columns[place][rows] for place, rows in places])
        share = pointing(maps, torch.cat([masks[rows, SAID_OF[place]] for place, rows in places]))
        print(f"{word} points at its shape in {share:.0%} of the pictures")
    rows = [[("", images[i]), *((WORDS[words[i, place]], columns[place][i]) for place in range(6))] for i in range(4)]
    sheet(rows, "captions.png")
    print(
        "Open captions.png. Squares and triangles are known by what is not round, so their words point elsewhere, too."
    )
