"""Modules that a step calls one after the other are one way to class scores, and watching them changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam.attribution.calls import Replay
from lightning_cam.attribution.chains import Passages, chains_in

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
