"""Whether maps show what a model has learned: those that stay the same with random weights do not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..attribution import cams
from ..attribution.trust.explaining import similarity_of
from ..attribution.trust.weights import random_weights
from ..notices import warn
from ..origins import raised
from ..probe import Probe
from .look import Look, look, method_for
from .probed import name_of

N_DRAWS = 3  # of random weights: a single one may resemble what was learned by chance
# Rank correlation from which a map stays the same. Of 32 maps of a trained network none by four methods stayed under
# each of three draws, and all by a method that does not ask the model.
STAYS = 0.8


def n_draws_of(method: cams.Method) -> int:
    """How often weights are drawn; once for methods that take hundreds of passes."""
    return 1 if isinstance(method, cams.ForwardMethod) else N_DRAWS


def stays(maps: Tensor, drawn: Tensor) -> Tensor:
    """Which of maps ``(N, h, w)`` are the same as others, ``(N,)`` bool."""
    return similarity_of(maps, drawn) > STAYS


def untrusted_maps(
    model: nn.Module, probe: Probe, seen: Look, methods: Sequence[cams.Method], **options: Any
) -> Mapping[str, Tensor]:
    """Which maps of each method stay the same with random weights, ``(N,)`` bool. The model is the same afterwards.

    Empty, with a warning, where the model raises with other weights than its own.

    Args:
        model: As it was looked at.
        probe: The images.
        seen: The look at all of them.
        methods: The methods of that look, the first one first.
        **options: Of that look.
    """
    maps = {name_of(method_for(probe, methods[0])): seen.grid_maps} | {
        name: both[0] for name, both in seen.method_maps.items()
    }
    stay = {name: torch.ones(len(probe), dtype=torch.bool) for name in maps}
    redraw = _redrawing(model, probe, seen, options)
    try:
        for seed in range(N_DRAWS):
            waiting = [
                each for each in methods if seed < n_draws_of(each) and stay[name_of(method_for(probe, each))].any()
            ]
            for name, drawn in (redraw(waiting, seed) if waiting else {}).items():
                stay[name] &= stays(maps[name], drawn)
    except Exception as error:
        warn(
            f"the maps could not be compared with those of random weights, with which the model raises: {raised(error)}"
        )
        return {}
    return stay


def _redrawing(
    model: nn.Module, probe: Probe, seen: Look, options: Mapping[str, Any]
) -> Callable[[Sequence[cams.Method], int], dict[str, Tensor]]:
    """The maps ``(N, h, w)`` of some methods with random weights, by name, at the layers that were looked at."""
    layers = seen.layer.split(" + ")

    def redraw(methods: Sequence[cams.Method], seed: int) -> dict[str, Tensor]:
        everything = torch.arange(len(probe))
        with random_weights(model, seed=seed):
            first, *others = methods
            drawn = look(
                model, probe, everything, (), **{**options, "layer": layers, "method": first, "methods": others}
            )
        named = {name: both[0] for name, both in drawn.method_maps.items()}
        return {name_of(method_for(probe, first)): drawn.grid_maps, **named}

    return redraw
