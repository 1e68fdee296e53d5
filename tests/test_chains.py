"""Modules that a step calls one after the other are one way to class scores, and watching them changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies.strategy import _ForwardRedirection
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from house.trainings import Net, loader, pictures, trainer
from lightning_cam import CAMCallback
from lightning_cam.attribution.arrivals import Arrivals
from lightning_cam.attribution.calls import Replay
from lightning_cam.attribution.chains import Passages, chains_in
from lightning_cam.training.batches import Catcher

IMAGES = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Model(nn.Module):
    """A body whose map has as many pixels as channels, and heads."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body, self.head, self.wide = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 2), nn.Linear(16, 2)


def chains(step: Callable[[Any, Tensor], Any]) -> tuple[Model, list[Replay]]:
    model = Model()
    passages = Passages(model)
    step(model, IMAGES)
    passages.close()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    return model, chains_in(passages.made, ["body"])


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (lambda m, x: m.wide(m.body(x).flatten(1)), "module.wide(module.body(images).flatten(1))"),
        (lambda m, x: m.head(m.body(x).mean((2, 3))), "module.head(module.body(images).mean((2, 3)))"),
        (lambda m, x: m.head(m.body(x).relu().mean(dim=[-1, -2])), None),
        (lambda m, x: m.head(F.adaptive_avg_pool2d(m.body(x), 1).flatten(1)), None),
        (lambda m, x: m.head(m.body(x).flatten(2).transpose(1, 2)), "module.head(module.body(images).flatten(2).mT)"),
        (lambda m, x: m.head(m.head(m.body(x).cos().mean((2, 3))).repeat(1, 2)), ""),
    ],
    ids=["flattened", "mean", "relu and mean", "pooled", "tokens", "something else"],
)
def test_a_chain_is_seen_written_and_repeated(step: Callable[[Any, Tensor], Tensor], code: str | None) -> None:
    model, found = chains(step)
    other = IMAGES.flip(0)[:5]

    assert [chain.sketch() for chain in found if code] == ([code] if code else [])
    assert len(found) == (code != "")
    for chain in found:
        assert torch.allclose(chain(model, other), step(model, other), atol=1e-6)


def test_the_code_of_a_chain_runs() -> None:
    model, (chain,) = chains(lambda m, x: m.head(F.normalize(m.body(x).mean((2, 3)))) + m.wide(m.body(x).flatten(1)))

    written = eval(f"lambda module, images: {chain.sketch()}", {"torch": torch})
    assert torch.allclose(written(model, IMAGES), chain(model, IMAGES))


def test_each_head_has_a_way_of_its_own() -> None:
    def step(model: Any, images: Tensor) -> Any:
        features = model.body(images)
        return model.head(features.mean((2, 3))), model.wide(features.flatten(1))

    assert {chain.names for chain in chains(step)[1]} == {("body", "head"), ("body", "wide")}


class Odd(nn.Module):
    """Its output cannot be copied."""

    class Sealed(dict[str, Tensor]):
        def __copy__(self) -> Any:
            raise RuntimeError("sealed")

    def forward(self, images: Tensor) -> Any:
        return Odd.Sealed(x=images)


def test_an_output_that_cannot_be_copied_reaches_the_step() -> None:
    model = Odd()
    passages = Passages(model)

    assert torch.equal(model(IMAGES)["x"], IMAGES)
    passages.close()
    assert passages.made == []


def test_a_part_that_raises_is_over() -> None:
    def step(model: Any, images: Tensor) -> Any:
        with pytest.raises(RuntimeError):
            model.body(images[0, 0])
        return model.wide(model.body(images).flatten(1))

    assert [chain.names for chain in chains(step)[1]] == [("body", "wide")]


# ---- in trainings ----------------------------------------------------------------------------------------------------


class Parts(Net):
    """No ``forward``: body and head are called by the step."""

    forward = pl.LightningModule.forward
    scale = 1.0

    def logits(self, images: Tensor) -> Tensor:
        return self.head(self.body(self.scale * images).mean((2, 3)))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.logits(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self.logits(batch[0]), batch[1]))


def test_a_step_that_lightning_runs_in_the_place_of_forward_is_no_call_of_the_model() -> None:
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, *args: Any) -> Any:
            return self.module(*args)

    module = Parts()
    arrivals, passages = Arrivals(module), Passages(module)
    _ForwardRedirection()(Wrapper(module), module, "training_step", next(iter(loader())), 0)
    arrivals.close()
    passages.close()

    assert "" not in arrivals.calls
    assert [passage.name for passage in passages.made] == ["body", "head"]


def test_a_frozen_body_with_a_trained_head_comes_before_a_teacher() -> None:
    class Frozen(Parts):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = nn.Conv2d(3, 2, 1).requires_grad_(False)
            self.body.requires_grad_(False)

        def logits(self, images: Tensor) -> Tensor:
            self.teacher(images)
            return super().logits(images)

    module, catcher = Frozen(), Catcher()
    catcher.begin(module, loader())
    module.training_step(next(iter(loader())), 0)
    catcher.end()

    assert catcher.batch is not None
    assert catcher.batch.networks == ["body"]


def test_before_a_batch_shows_how_nothing_is_looked_at(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    callback = CAMCallback(trials=(), sinks=[], verbose=False, every_n_train_steps=1)
    trainer(tmp_path, callback, num_sanity_val_steps=0, max_epochs=1).fit(Parts(), loader(), loader(8))

    assert len(callback.history) == 1  # at the end, since the only validation comes after the last step
    assert not [each for each in recwarn if "switched off" in str(each.message)]


def test_a_fit_in_which_no_batch_shows_how_says_so(tmp_path: Path) -> None:
    callback = CAMCallback(trials=(), sinks=[], verbose=False)
    options = {"num_sanity_val_steps": 0, "max_steps": 3, "val_check_interval": 5}

    with pytest.warns(UserWarning, match="a batch of yours has to show how. No validation batch has reached the model"):
        trainer(tmp_path, callback, **options).fit(Parts(), loader(), loader(8))
    assert callback.history == ()


@pytest.mark.filterwarnings("ignore:lightning_cam")  # of the data, and of maps
def test_where_only_the_preprocessing_is_missing_there_are_maps_and_a_doubt(tmp_path: Path) -> None:
    class Scaled(Parts):
        scale = 50.0

    callback = CAMCallback(trials=(), sinks=[], verbose=False)
    with pytest.warns(UserWarning, match="there will be no verdict. The probe is not what the model sees"):
        trainer(tmp_path, callback).fit(Scaled(), DataLoader(pictures(), 4, shuffle=True))
    assert callback.history
