"""Which layer to look at: its name checked, or found from one look at the model."""

import difflib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .layouts import Layout, layout_of
from .outputs import scores_in

__all__ = ["Layout", "check_layer", "find_layer", "layout_of", "module_of"]

_LEAST_REACH = 0.1  # share of positions; max-pooling and dead ReLUs thin gradients out, a class token leaves none


def check_layer(model: nn.Module, name: str) -> str:
    """The layer's plain name: without the `_orig_mod` segments that `torch.compile` adds, so it stays valid either way.

    Raises:
        ValueError: The model has no such layer.
    """
    layers, plain = _layers(model), _plain(name)
    if plain in layers:
        return plain
    near = _nearest(plain, layers)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ValueError(f"no layer {name!r} in {_class_name(model)}; {hint}it has {_children(layers)}")


def module_of(model: nn.Module, name: str) -> nn.Module:
    """The module behind a layer's name, compiled or not.

    >>> module_of(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), "1")
    ReLU()
    """
    return _layers(model)[check_layer(model, name)]


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    named = ((_plain(name), module) for name, module in model.named_modules(remove_duplicate=False))
    return {name: module for name, module in named if name}


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _nearest(name: str, layers: Mapping[str, nn.Module]) -> list[str]:
    """Up to three names: first those that only lack the wrapper's attribute in front."""
    wrapped = [other for other in layers if other.endswith(f".{name}")]
    return list(dict.fromkeys(wrapped + difflib.get_close_matches(name, layers)))[:3]


def _class_name(model: nn.Module) -> str:
    return type(getattr(model, "_orig_mod", model)).__name__


def _children(layers: Mapping[str, nn.Module]) -> list[str]:
    return [name for name in layers if "." not in name]


def find_layer(model: nn.Module, images: Tensor, forward: Callable[[Tensor], Any] | None = None) -> str:
    """The last layer whose output is a map that the class scores still read as a whole.

    One forward pass notes the maps that go by, one backward pass of the scores which of their positions get gradient.
    That finds the stage before global pooling in a CNN ("the last convolutional layer", Selvaraju et al. 2017), the
    final norm in a transformer that averages its tokens, and the norm before the last attention in one that reads a
    class token: behind it, patch tokens no longer matter. A pooled map gives way to the finer one it was pooled from.
    The patch embedding itself is never taken.

    Args:
        model: Any classifier, frozen or not, in the mode in which it is to be looked at.
        images: ``(N, C, H, W)`` model inputs, passed in one batch; two are enough.
        forward: How to get class scores from model inputs; None calls the model.

    Raises:
        ValueError: No layer qualifies.
    """
    trace = _Trace(images)
    with torch.inference_mode(mode=False), torch.enable_grad():
        with _watching(model, trace):
            output = (forward or model)(trace.start(images))
        found = trace.last_map(output)
    if found is None:
        raise ValueError(
            f"expected a layer of {_class_name(model)} whose output is a map that its scores depend on, found none; "
            f"choose one, layer='...': it has {_children(_layers(model))}"
        )
    return found


@contextmanager
def _watching(model: nn.Module, trace: "_Trace") -> Iterator[None]:
    with ExitStack() as hooks:
        for name, module in _layers(model).items():
            if not isinstance(module, torch.jit.ScriptModule):  # takes no hooks
                hooks.callback(module.register_forward_hook(trace.hook(name)).remove)
        yield


@dataclass(eq=False)
class _Map:
    """A module's output that lies on the image.

    Attributes:
        name: The module's dotted name.
        identity: Of the output, in `_Trace.outputs`.
        layout: How the output lies on the image.
        n_before: How many modules had run by then, this one included.
        reach: Share of its positions that get gradient from the class scores, 0..1.
        n_channels: ``K``.
        passes_scores: Whether every channel goes into one score, its own.
    """

    name: str
    identity: tuple[int, int]
    layout: Layout
    n_before: int
    reach: float = 0.0
    n_channels: int = 0
    passes_scores: bool = False

    def receive(self, gradient: Tensor) -> None:
        """Notes where the gradient of `_summed` scores arrives."""
        grid = self.layout.grid(gradient)
        self.n_channels = grid.shape[1]
        self.reach = float((grid != 0).any(1).float().mean())
        self.passes_scores = _passes_scores(grid)


class _Trace:
    """The maps that go by in one forward pass, in the order in which modules finish."""

    def __init__(self, images: Tensor) -> None:
        self.n_images = len(images)
        self.image_size = (images.shape[-2], images.shape[-1])
        self.thread = threading.get_ident()
        self.starts: list[Tensor] = []
        self.maps: list[_Map] = []
        self.n_calls: Counter[str] = Counter()
        self.outputs: dict[tuple[int, int], Tensor] = {}  # by identity and version; kept, or identities would recur
        self.pooled: set[tuple[int, int]] = set()
        self.collapsed: list[str] = []
        self.head_input: Tensor | None = None

    def start(self, value: Tensor) -> Tensor:
        """The same numbers; gradients flow from here on. A clone, because in-place layers may follow."""
        start = value.detach().clone().requires_grad_()
        self.starts.append(start)
        return start.clone()

    def hook(self, name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], Any]:
        """A forward hook that notes the output of the module called ``name``."""

        def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            if threading.get_ident() != self.thread:  # hooks are shared; there the model may be training
                return output
            torch.set_grad_enabled(True)  # until the end of the model's own `no_grad` block, if this is inside one
            self.n_calls[name] += 1
            if not isinstance(output, Tensor) or not output.is_floating_point():
                return output
            connected = output if output.requires_grad else self.start(output)
            given = args[0] if args and isinstance(args[0], Tensor) else None
            if next(module.parameters(recurse=False), None) is not None:
                self.head_input = given
            if self._is_own(module, given, connected):
                self._note(name, module, connected)
            return connected

        return note

    def _is_own(self, module: nn.Module, given: Tensor | None, output: Tensor) -> bool:
        """False for what is handed on, reshaped or pooled, and for projections: queries, keys and values are no map."""
        identity = (id(output), output._version)
        known = identity in self.outputs
        self.outputs[identity] = output
        if next(module.parameters(), None) is None:
            if known or (output is given and not getattr(module, "inplace", False)):
                return False
            if given is not None and given.shape != output.shape:
                self.pooled.update({identity} if given.numel() > output.numel() else ())
                return False
        return identity not in self.pooled and not isinstance(module, nn.Linear)

    def _note(self, name: str, module: nn.Module, output: Tensor) -> None:
        try:
            layout = layout_of(output, self.image_size, n_images=self.n_images)
        except ValueError:
            return
        if min(layout.size) == 1:
            self.collapsed += [] if isinstance(module, nn.Sequential) else [f"{name}."]
        elif _normalises_channels(module, layout, output):
            found = _Map(name, (id(output), output._version), layout, self.n_calls.total())
            self.maps.append(found)
            output.register_hook(found.receive)  # type: ignore[no-untyped-call]  # torch has no types here

    def last_map(self, output: Any) -> str | None:
        """The last map that the scores read. For a head that is still all zero, what it is given stands in."""
        scores = scores_in(output)
        found = None
        if scores is not None:
            found = self._last_read_by(scores, n_classes=scores.shape[-1])
        if found is None and self.head_input is not None:
            found = self._last_read_by(self.head_input, n_classes=None)
        return found

    def _last_read_by(self, scores: Tensor, *, n_classes: int | None) -> str | None:
        if not scores.requires_grad:
            return None
        torch.autograd.grad(_summed(scores), self.starts, retain_graph=True, allow_unused=True)
        read = [found for found in self.maps if found.reach > _LEAST_REACH]
        ranked = [(*self._merits(found, n_classes), position) for position, found in enumerate(read)]
        last = read[max(ranked)[-1]] if ranked else None
        return None if last is None or self._is_embedding(last) else last.name

    def _is_embedding(self, found: _Map) -> bool:
        """Whether a cell of the map depends on the pixels of its own patch alone, and most of the model comes later.

        Late in a model it means something else: blocks that start as the identity, as those of Swin V2 do.
        """
        if found.n_before > self.n_calls.total() / 2:
            return False
        (height, width), (h, w) = self.image_size, found.layout.size
        cell = found.layout.grid(self.outputs[found.identity])[:, :, h // 2, w // 2]
        (gradient,) = torch.autograd.grad(_summed(cell), self.starts[:1], retain_graph=True, allow_unused=True)
        if gradient is None:  # the images are out of sight, behind a `no_grad` block
            return False
        seen = (gradient != 0).any(1).any(0)
        n_rows, n_columns = int(seen.any(1).sum()), int(seen.any(0).sum())
        return n_rows * n_columns > 0 and (height // n_rows, width // n_columns) == (h, w)

    def _merits(self, found: _Map, n_classes: int | None) -> tuple[bool, ...]:
        """What speaks for a map, the weightiest first."""
        is_of_scores = found.passes_scores and found.n_channels == n_classes
        is_half_a_stage = found.name.startswith(tuple(self.collapsed))  # one that ends in a single cell
        return (not is_of_scores, not is_half_a_stage, self.n_calls[found.name] == 1)


def _normalises_channels(module: nn.Module, layout: Layout, output: Tensor) -> bool:
    """False for a norm over another axis than the map's channels: it sits inside an attention, on (N, heads, T, d)."""
    axes = getattr(module, "normalized_shape", None)
    return axes is None or len(axes) != 1 or axes[0] == layout.grid(output).shape[1]


def _summed(scores: Tensor) -> Tensor:
    rows = scores.reshape(len(scores), -1)
    return (rows * _weights(rows.shape[1], rows)).sum()


def _weights(n: int, like: Tensor) -> Tensor:
    """A weight per score, all different: probabilities, which add up to a constant, still have a gradient."""
    return torch.linspace(1, 2, n, device=like.device)


def _passes_scores(gradient: Tensor) -> bool:
    """Whether each channel's gradient is its own weight times what all share, or 0 (ReLU). It is ``(N, K, h, w)``."""
    per_weight = gradient / _weights(gradient.shape[1], gradient)[:, None, None]
    shared = per_weight.amax(1, keepdim=True)
    return bool(((per_weight == 0) | torch.isclose(per_weight, shared, rtol=1e-2, atol=0)).all())
