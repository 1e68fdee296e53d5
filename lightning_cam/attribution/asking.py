"""Maps by forward passes alone: the model's scores for changed inputs and from changed activations on."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..spatial import VOLUME_AXES
from .cams import ForwardMethod, Passes
from .cutting import map_in, replaced
from .engine import Forward, placed
from .layers import check_layers, module_of
from .layouts import Layout, channel_axis, layout_of, size_of
from .outputs import as_logits
from .targets import Target


@dataclass(frozen=True, eq=False)
class ForwardMaps:
    """Maps of ``T`` targets, without gradients.

    Attributes:
        logits: ``(N, n_classes)`` float32.
        maps: ``(T, N, h, w)`` float32 of each layer.
        n_calls: How often a layer ran in a forward pass, at most. The maps are of its last call.
    """

    logits: Tensor
    maps: tuple[Tensor, ...]
    n_calls: int


def ask(
    model: nn.Module,
    inputs: Tensor,
    targets: Callable[[Tensor], Sequence[Target]],
    method: ForwardMethod,
    *,
    layers: Sequence[str],
    forward: Forward | None = None,
    batch_size: int = 32,
) -> ForwardMaps:
    """Maps of one batch, for callers that hold `guard.untouched`.

    Args:
        model: Any classifier, with gradients or without.
        inputs: ``(N, C, H, W)`` model inputs, as many as fit into one pass.
        targets: From the logits of the unchanged images to the scores to explain: a target must not change its class
            from one changed image to the next, as `predicted_class` would.
        method: How answers become maps.
        layers: Dotted names.
        forward: How to get class scores from model inputs; None calls the model.
        batch_size: Images per pass, changed versions of one image among them.

    Raises:
        ValueError: No such layer, or its output is no map.
        RuntimeError: A layer does not run.
    """
    names, run, inputs = check_layers(model, layers), model if forward is None else forward, placed(model, inputs)
    modules = [module_of(model, name) for name in names]
    with torch.no_grad():
        with _read(modules) as outputs:
            logits = as_logits(run(inputs.clone()))  # some forwards write into it
        ran = [_ran(*each) for each in zip(names, modules, outputs, strict=True)]
        explained = targets(logits)
        scores, plain = partial(_scores, run, explained), _of_targets(explained, logits)
        at_once = max(1, batch_size // len(inputs))
        maps = tuple(method(_passes(layer, inputs, plain, scores, at_once)) for layer in ran)
    return ForwardMaps(logits, maps, max(layer.n_calls for layer in ran))


@dataclass
class _Calls:
    """A copy of what a layer's last call returned, and the number of calls."""

    last: Tensor | None = None
    n: int = 0


@contextmanager
def hooked(modules: Sequence[nn.Module], act: Callable[[int, Any], Any]) -> Iterator[None]:
    """While open, ``act(position, output)`` gives what each module returns, in this thread alone."""
    owner = threading.get_ident()

    def hook(position: int, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        return act(position, output) if threading.get_ident() == owner else output

    with ExitStack() as hooks:
        for position, module in enumerate(modules):
            hooks.callback(module.register_forward_hook(partial(hook, position)).remove)
        yield


@contextmanager
def _read(modules: Sequence[nn.Module]) -> Iterator[list[_Calls]]:
    calls = [_Calls() for _ in modules]

    def keep(position: int, output: Any) -> Any:
        calls[position].last = map_in(output).detach().clone()  # what follows may write into it
        calls[position].n += 1
        return output

    with hooked(modules, keep):
        yield calls


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer, what its last call returned, and how often it ran."""

    module: nn.Module
    output: Tensor
    n_calls: int


def _ran(name: str, module: nn.Module, calls: _Calls) -> _Layer:
    if calls.last is None:
        raise RuntimeError(f"layer {name!r} does not run in a forward pass; choose another one, layer='...'")
    return _Layer(module, calls.last, calls.n)


@contextmanager
def _put(layer: _Layer, layout: Layout, activations: Tensor) -> Iterator[None]:
    """While open, the last call of the layer hands ``activations`` ``(n, K, h, w)`` on in place of its own."""
    calls = _Calls()

    def put(_position: int, output: Any) -> Any:
        calls.n += 1
        if calls.n < layer.n_calls:
            return output
        original = map_in(output)
        changed = original.clone()
        layout.grid(changed).copy_(activations)
        return replaced(output, original, changed)

    with hooked([layer.module], put):
        yield


def _passes(
    layer: _Layer, inputs: Tensor, plain: Tensor, scores: Callable[[Tensor, int], Tensor], at_once: int
) -> Passes:
    size = size_of(inputs)
    layout = layout_of(layer.output, size, n_images=len(inputs) if inputs.ndim == VOLUME_AXES else None)

    def of_inputs(versions: Tensor) -> Tensor:
        return scores(versions.flatten(0, 1).to(inputs.dtype), len(versions))

    def of_activations(versions: Tensor) -> Tensor:
        with _put(layer, layout, versions.flatten(0, 1)):
            return scores(inputs.repeat(len(versions), *(1 for _ in inputs.shape[1:])), len(versions))

    grid = layout.grid(layer.output).float()
    return Passes(inputs, grid, plain, of_inputs, of_activations, at_once, size, channel_axis(inputs))


def _scores(run: Forward, targets: Sequence[Target], inputs: Tensor, n_versions: int) -> Tensor:
    """Scores ``(m, T, N)`` of ``m`` versions of ``N`` images."""
    logits = as_logits(run(inputs))
    return torch.stack([_of_targets(targets, version) for version in logits.chunk(n_versions)])


def _of_targets(targets: Sequence[Target], logits: Tensor) -> Tensor:
    """Scores ``(T, N)``."""
    return torch.stack([target(logits) for target in targets])
