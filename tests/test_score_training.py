"""Trained models whose maps explain no class: words of a caption, answers to questions, and the callback beside one."""

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from house.faulty import same
from house.trainings import trainer
from lightning_cam import CAMCallback, Probe, cams, examine
from lightning_cam.sinks import MemorySink

pytestmark = pytest.mark.slow

SIZE, N = 16, 64
N_LEARNT = 256
SIDES = (slice(0, 8), slice(8, 16))  # columns


def pictures(n: int = N, seed: int = 1) -> tuple[Tensor, Tensor]:
    """A square at either side, red (0) or green (1), and their colours ``(N, 2)`` from left to right."""
    g = torch.Generator().manual_seed(seed)
    images = 0.02 * torch.rand(n, 3, SIZE, SIZE, generator=g)
    colours = torch.randint(2, (n, 2), generator=g)
    places = torch.randint(1, 5, (n, 2, 2), generator=g)
    for i in range(n):
        for side in range(2):
            y, x = int(places[i, side, 0]) + 5, int(places[i, side, 1]) - 1 + 8 * side
            images[i, int(colours[i, side]), y : y + 4, x : x + 4] = 1
    return images.clamp(0, 1), colours


class Captioner(pl.LightningModule):
    """A CNN, and an LSTM that says two words: the colour at the left, and the one at the right."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.ReLU())
        self.picture = nn.Linear(8 * 64, 16)
        self.lstm = nn.LSTM(16, 16, batch_first=True)
        self.words = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        seen = self.picture(self.cnn(images).flatten(1))
        return self.words(self.lstm(seen[:, None].expand(-1, 2, -1))[0])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]).transpose(1, 2), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.02)


class Answering(nn.Module):
    """A picture and a question, which side is meant, to the colour there."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(8 * 64 * 2, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, images: Tensor, question: Tensor) -> Tensor:
        seen = self.cnn(images).flatten(1)
        asked = F.one_hot(question, 2).to(seen)
        return self.head((seen[:, None] * asked[:, :, None]).flatten(1))


def fitted(model: nn.Module, loss: Any, n_steps: int = 400) -> nn.Module:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.3)
    for _ in range(n_steps):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    return model


@cache
def captioner() -> nn.Module:
    images, colours = pictures(N_LEARNT, seed=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return fitted(Captioner(), lambda model: F.cross_entropy(model(images).transpose(1, 2), colours))


def share_at(maps: Tensor, side: Tensor) -> float:
    """Mean share of the maps' mass at the side that is meant, ``(N,)``."""
    halves = torch.stack([maps[:, :, columns].sum((1, 2)) for columns in SIDES], 1)
    shares = halves / halves.sum(1, keepdim=True)
    return float(shares.gather(1, side[:, None]).nanmean())


@pytest.mark.parametrize("word", [0, 1])
def test_each_word_of_a_caption_has_the_map_of_its_place(word: int) -> None:
    images, colours = pictures()
    answers = colours[:, word]
    report = examine(
        captioner(),
        Probe(images, answers),
        layer="cnn",
        method=cams.hires_cam,
        score=lambda outputs: outputs[torch.arange(N), word, answers] - outputs[torch.arange(N), word, 1 - answers],
    )

    assert share_at(report.maps, torch.full((N,), word)) > 0.6  # an even map has 0.5


def test_an_answer_to_a_question_has_the_map_of_what_it_asks_for() -> None:
    images, colours = pictures(N_LEARNT, seed=0)
    question = torch.arange(N_LEARNT) % 2
    answers = colours.gather(1, question[:, None])[:, 0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = fitted(Answering(), lambda model: F.cross_entropy(model(images, question), answers))
    images, colours = pictures()
    question = question[:N]
    answers = colours.gather(1, question[:, None])[:, 0]

    report = examine(
        model,
        Probe(images, answers, rest={"question": question}),
        method=cams.hires_cam,
        trials=(),
        score=lambda outputs: outputs[torch.arange(N), answers] - outputs[torch.arange(N), 1 - answers],
    )

    assert share_at(report.maps, question) > 0.8


def run(folder: Path, *callbacks: CAMCallback) -> tuple[dict[str, Tensor], list[str]]:
    images, colours = pictures()
    data = DataLoader(TensorDataset(images, colours), 16)
    fit = trainer(folder, *callbacks)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.manual_seed(0)
        module = Captioner()
        fit.fit(module, data, data)
    return module.state_dict(), [str(each.message) for each in caught if "lightning_cam" in str(each.message)]


def test_a_captioner_is_looked_at_while_it_trains_and_ends_the_same(tmp_path: Path) -> None:
    sink = MemorySink()
    images, colours = pictures()
    probe = Probe(images[:8], colours[:8, 0])
    callback = CAMCallback(probe, score=lambda outputs: outputs[:, 0, 1], layer="cnn", sinks=[sink], verbose=False)

    weights, said = run(tmp_path, callback)

    assert same(weights, run(tmp_path / "alone")[0])
    assert callback.verdict is not None
    assert (callback.verdict.outcome, "no class scores" in callback.verdict.reason) == ("INCONCLUSIVE", True)
    assert "attention for the score" in sink.pages[0].tiles[0].caption
    assert not [text for text in said if "switched off" in text or "could not" in text], said


def test_a_wrong_score_ends_a_fit_before_its_first_step(tmp_path: Path) -> None:
    images, colours = pictures()
    callback = CAMCallback(Probe(images[:8], colours[:8, 0]), score=lambda outputs: outputs.mean())

    with pytest.raises(ValueError, match="leave out the mean over the images"):
        run(tmp_path, callback)
