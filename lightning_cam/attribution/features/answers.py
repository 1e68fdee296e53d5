"""What layers answer to pictures: what every function here reads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...probe import Probe
from ..asking import hooked
from ..engine import Forward, placed
from ..guard import untouched
from ..layers import module_of, unwrapped
from ..structures import tensors_in
from ..subject import ScoresOf


@dataclass(frozen=True)
class Reader:
    """A model that is looked at, and how it gets a probe's pictures."""

    model: nn.Module
    run: Forward
    probe: Probe
    batch_size: int

    def inputs(self, images: Tensor) -> Tensor:
        """Model inputs of pixels ``(M, C, H, W)`` in [0, 1]."""
        inputs = placed(self.model, self.probe.prepare(images))
        if inputs.ndim != 4:
            raise ValueError(f"expected model inputs (N, C, H, W), found shape {tuple(inputs.shape)} from preprocess")
        return inputs

    def features_of(self, inputs: Tensor, layers: Sequence[str]) -> Iterator[list[Tensor]]:
        """For each batch of model inputs what each layer answers, ``(n, ...)``."""
        for batch in torch.split(inputs, self.batch_size):
            yield answers(self.model, layers, self.run, batch)[1]


@contextmanager
def reading(model: nn.Module, probe: Probe, forward: ScoresOf | None, batch_size: int) -> Iterator[Reader]:
    """The model in evaluation mode, the same before and after. It may give something else than class scores."""
    if probe.has_volumes:
        raise ValueError("features are shown of pictures alone, and these are volumes; examine() and pixels take them")
    model = unwrapped(model)
    with untouched(model):
        yield Reader(model, model if forward is None else partial(forward, model), probe, batch_size)


def answers(model: nn.Module, layers: Sequence[str], run: Forward, inputs: Tensor) -> tuple[Any, list[Tensor]]:
    """The model's output, and what each layer's last call answers, ``(N, ...)``; in the graph, if there is one.

    Args:
        model: Its layers are listened to.
        layers: Names that `check_layers` has passed.
        run: Inputs to output.
        inputs: One batch of model inputs. A copy of them goes into the model.

    Raises:
        RuntimeError: A layer does not run.
        ValueError: What a layer returns has no row for each image.
    """
    last: dict[int, Tensor] = {}

    def keep(position: int, output: Any) -> Any:
        last[position] = _rows(output, len(inputs), layers[position]).clone()  # what follows may write into it
        return output

    with hooked([module_of(model, name) for name in layers], keep):
        output = run(inputs.clone())
    silent = [name for position, name in enumerate(layers) if position not in last]
    if silent:
        raise RuntimeError(f"layer {silent[0]!r} does not run in a forward pass; choose another one, layer='...'")
    return output, [last[position] for position in range(len(layers))]


def _rows(output: Any, n_images: int, name: str) -> Tensor:
    """The first floating tensor with a row for each image; tokens may come before images."""
    for _, tensor in tensors_in(output):
        if tensor.is_floating_point() and tensor.ndim > 1 and n_images in tensor.shape[:2]:
            return tensor if len(tensor) == n_images else tensor.transpose(0, 1)
    raise ValueError(f"expected a layer that returns a row for each image, found {name!r}; choose another, layer='...'")
