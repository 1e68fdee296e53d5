"""Processes that train together run forward passes side by side: a collective inside a forward waits for them all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..attribution import engine
from ..examination import ScoresOf
from ..probe import Probe
from .ranks import from_everyone, n_ranks


@contextmanager
def in_step(model: nn.Module, probe: Probe, forward: ScoresOf | None) -> Iterator[ScoresOf | None]:
    """The forward to look through. Alone, it is the one given.

    In company every process runs a pass whenever one of them does, with as many images. Pictures without a mask, edits
    that change nothing and passes that ran out of memory make the numbers differ. A process that needs no pass, or has
    failed, runs along on images of the probe until all are done. All have to call this.
    """
    if n_ranks() == 1:
        yield forward
        return

    def together(module: nn.Module, inputs: Tensor) -> Any:
        most = max(from_everyone(len(inputs)))
        padded = _padded(inputs, most)
        return _rows(module(padded) if forward is None else forward(module, padded), len(inputs), most)

    together.carries = True  # type: ignore[attr-defined] # its inputs are passed on as they are, see `carrying`
    together.embeds = getattr(forward, "embeds", False)  # type: ignore[attr-defined] # see `Similarity`
    try:
        yield together
    except Exception:
        _run_along(model, probe, forward)
        raise
    _run_along(model, probe, forward)


def _run_along(model: nn.Module, probe: Probe, forward: ScoresOf | None) -> None:
    while most := max(from_everyone(0)):
        with suppress(Exception):  # nobody misses the result
            rows = torch.arange(most).clamp_max(len(probe) - 1)
            inputs = probe.prepare(probe.images[rows], rows)
            engine.predict(model, inputs, forward=None if forward is None else partial(forward, model), batch_size=most)


def _padded(images: Tensor, n: int) -> Tensor:
    """``n`` images, the last one again and again at the end."""
    return images if len(images) == n else torch.cat([images, images[-1:].expand(n - len(images), *images.shape[1:])])


def _rows(output: Any, n: int, padded: int) -> Any:
    """The first ``n`` rows of every tensor in a model's output that has ``padded`` of them."""
    if n == padded:
        return output
    if isinstance(output, Tensor):
        return output[:n] if output.shape[:1] == (padded,) else output
    if isinstance(output, dict):
        return type(output)({key: _rows(value, n, padded) for key, value in output.items()})
    if isinstance(output, (tuple, list)):
        rows = [_rows(value, n, padded) for value in output]
        return type(output)(*rows) if hasattr(output, "_fields") else type(output)(rows)
    return output
