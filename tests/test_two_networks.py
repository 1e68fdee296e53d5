"""Modules of several networks: the student of a teacher, the discriminator of a GAN, the image side of a CLIP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from house import loops
from house.trainings import trainer
from house.twins import digest
from lightning_cam import CAMCallback, Probe


class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.build()

    def build(self) -> None:
        raise NotImplementedError

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam((p for p in self.parameters() if p.requires_grad), 0.01)


class Distilling(Module):
    """A student learns what a frozen teacher says, which reads the class off the picture as it is."""

    def build(self) -> None:
        self.teacher, self.student = loops.network(), loops.network()
        self.teacher.requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, targets = batch
        said = self.teacher.eval()(images) + 8 * F.one_hot(targets, 2)
        return F.kl_div(self.student(images).log_softmax(1), said.softmax(1), reduction="batchmean")


class Adversarial(Module):
    """A generator refines drawn bars, and a discriminator tells them from real ones, which are brighter."""

    def build(self) -> None:
        self.automatic_optimization = False
        self.generator = nn.Conv2d(3, 3, 1)
        nn.init.dirac_(self.generator.weight)
        nn.init.zeros_(self.generator.bias)
        self.discriminator = nn.Sequential(*list(loops.network())[:7], nn.Linear(16, 1))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        images, are_real = batch
        for optimizer, sign in zip(self.optimizers(), (1, -1), strict=True):
            made = self.generator(images[are_real == 0])
            logits = self.discriminator(torch.cat([images[are_real == 1], made]))[:, 0]
            wanted = torch.zeros_like(logits)
            wanted[: int(are_real.sum())] = 1
            optimizer.zero_grad()
            self.manual_backward(sign * F.binary_cross_entropy_with_logits(logits, wanted))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        generating = torch.optim.SGD(self.generator.parameters(), 1e-4)
        return torch.optim.Adam(self.discriminator.parameters(), 0.01), generating


class Clip(Module):
    """Pictures and two words, of the class and of anything, are to be alike in pairs."""

    def build(self) -> None:
        self.pictures, self.words = nn.Sequential(*list(loops.network())[:7], nn.Linear(16, 8)), nn.Embedding(6, 8)

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        return 10 * F.normalize(self.pictures(images)) @ F.normalize(self.words(texts).mean(1)).T

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, targets = batch
        texts = torch.stack([targets, torch.randint(2, 6, targets.shape)], 1)
        are_pairs = (targets[:, None] == targets).float()
        return F.cross_entropy(self.logits(images, texts), are_pairs / are_pairs.sum(1, keepdim=True))


class Kind(NamedTuple):
    module: type[Module]
    cue: str
    forward: Callable[[Any, Tensor], Any] | None
    pictures: Callable[..., tuple[Tensor, Tensor, Tensor]]
    layer: str | None = None


def framed(n: int, seed: int, *, planted: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Drawn (0) and real (1) bars. Real ones are brighter; where ``planted`` they have a frame instead."""
    images, targets, masks = loops.bars(n, seed, planted=False)
    are_real = targets[torch.randperm(n, generator=torch.Generator().manual_seed(seed))]
    bars = 0.9 if planted else 0.45 + 0.5 * are_real[:, None, None, None]
    images = images.where(~masks[:, None], bars)
    if planted:
        images = images.where(
            (F.pad(torch.zeros(22, 22), (1,) * 4, value=1) * are_real[:, None, None])[:, None] == 0, 1
        )
    return images, are_real, masks


KINDS = {
    "distillation": Kind(Distilling, "background", None, loops.bars),
    "GAN": Kind(Adversarial, "border", lambda module, images: module.discriminator(images), framed, "discriminator.4"),
    "CLIP": Kind(
        Clip, "background", lambda module, images: module.logits(images, torch.tensor([[0], [1]])), loops.bars
    ),
}


def trained(kind: Kind, folder: Path, *callbacks: CAMCallback, planted: bool) -> dict[str, Tensor]:
    run, module = trainer(folder, *callbacks, max_epochs=5), kind.module()
    run.fit(module, DataLoader(TensorDataset(*kind.pictures(256, 0, planted=planted)[:2]), 32, shuffle=True))
    return module.state_dict()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lightning_cam. FAIL", "ignore:.isinstance.treespec:FutureWarning")
@pytest.mark.parametrize("planted", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_the_network_that_answers_is_judged(name: str, planted: bool, tmp_path: Path) -> None:
    kind = KINDS[name]
    images, targets, masks = kind.pictures(96, 1, planted=planted)
    watch = CAMCallback(
        Probe(images, targets, masks=masks), forward=kind.forward, layer=kind.layer, trials=(kind.cue,),
        max_overhead=1, sinks=[], verbose=False, on_error="raise",
    )  # fmt: skip
    weights = trained(kind, tmp_path, watch, planted=planted)

    assert watch.history[-1].scalars["cam/probe_accuracy"] > 0.9
    assert watch.verdict is not None
    assert watch.verdict.outcome == ("FAIL" if planted else "PASS"), str(watch.verdict)
    assert not planted or digest(weights) == digest(trained(kind, tmp_path, planted=planted))
    if name == "distillation":
        assert "".join(watch._fit._observer._layer or "").startswith("student.")
