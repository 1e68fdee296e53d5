"""The search for the layer to look at, from one forward and one backward pass."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from . import inference
from .backward import gradients_of
from .layers import class_name, named_layers, outermost
from .layouts import Layout, channel_axis, layout_of, size_of
from .outputs import scores_in

# Share of a map's positions that get a gradient. Max-pooling and dead ReLUs thin gradients out, so it is well below 1;
# a map of which only the class token is read has none. Of a maximum over the whole map see `_reads_highest`.
_LEAST_REACH = 0.1
_LEAST_CHANNELS = 4  # of both images, that are read where they are highest: one may be so by chance
_SAME_FACTOR = 1e-2  # relative difference of factors that are the same in half precision


def find_layer(model: nn.Module, images: Tensor, forward: Callable[[Tensor], Any] | None = None) -> str:
    """The last layer whose output is a map of the image and whose whole map the class scores depend on.

    One forward pass records the maps. One backward pass from the scores shows which positions get a gradient. The
    result is:

    - in a CNN, the stage before global pooling ("the last convolutional layer", Selvaraju et al. 2017);
    - in a transformer that averages its tokens, the final norm;
    - in a transformer that reads a class token, the norm before the last attention: behind it, the scores no longer
      depend on the patch tokens.

    The finer map before a pooling is preferred to the pooled one. The patch embedding is chosen only where nothing
    works on its places any more, as in a network of one convolution.

    Args:
        model: Any classifier, frozen or not, in the mode in which it is to be looked at.
        images: ``(N, C, H, W)`` model inputs, or volumes, passed in one batch; two are enough.
        forward: How to get class scores from model inputs; None calls the model.

    Raises:
        ValueError: No layer qualifies.
    """
    trace = _Trace(images)
    with torch.inference_mode(mode=False), torch.enable_grad():
        with _watching(model, trace), inference.left(model, trace.start):
            output = inference.explained(lambda: (forward or model)(trace.start(images)))
        layer = trace.last_map(output)
    if layer is None:
        if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
            raise ValueError(
                f"{class_name(model)} has TorchScript modules, inside which nothing can be looked at; "
                "train the module as it is before torch.jit.script, or name a layer outside, layer='...'"
            )
        raise ValueError(
            f"no layer of {class_name(model)} gives a map of the image that its class scores depend on; "
            f"name the layer to look at, layer='...': the model has {outermost(named_layers(model))}"
        )
    return layer


@contextmanager
def _watching(model: nn.Module, trace: "_Trace") -> Iterator[None]:
    with ExitStack() as hooks:
        for name, module in named_layers(model).items():
            if not isinstance(module, torch.jit.ScriptModule):  # takes no hooks
                hooks.callback(module.register_forward_hook(trace.hook(name)).remove)
        yield


@dataclass(eq=False)
class _Map:
    """A module's output that is a map of the image.

    Attributes:
        name: The module's dotted name.
        identity: Of the output, in `_Trace.outputs`.
        layout: The order of its axes and its grid.
        n_before: How many modules had run before it was recorded, this one included.
        reach: Share of its positions that get a gradient from the class scores, 0..1.
        n_channels: ``K``.
        passes_scores: Whether every channel goes into one score, its own.
        are_read: ``(N, K, h, w)`` where a gradient arrives, if that is at few positions.
    """

    name: str
    identity: tuple[int, int]
    layout: Layout
    n_before: int
    reach: float = 0.0
    n_channels: int = 0
    passes_scores: bool = False
    are_read: Tensor | None = None

    def receive(self, gradient: Tensor) -> None:
        """Records at which positions the gradient of the `_summed` scores arrives."""
        grid = self.layout.grid(gradient)
        self.n_channels = grid.shape[1]
        self.reach = float((grid != 0).any(1).float().mean())
        self.passes_scores = _passes_scores(grid)
        self.are_read = grid != 0 if 0 < self.reach <= _LEAST_REACH else None


class _Trace:
    """The maps of one forward pass, in the order in which the modules finish."""

    def __init__(self, images: Tensor) -> None:
        self.n_images = len(images)
        self.image_size = size_of(images)
        self.channel_axis = channel_axis(images)
        self.images_differ = not _are_alike(images)
        self.thread = threading.get_ident()
        self.starts: list[Tensor] = []
        self.maps: list[_Map] = []
        self.n_calls: Counter[str] = Counter()
        self.n_before_vectors = 0  # modules that had run when the last one with weights gave more than vectors
        self.outputs: dict[tuple[int, int], Tensor] = {}  # by identity and version; kept, or identities would recur
        self.is_of_latents: dict[tuple[int, ...], bool] = {}  # by grid: whether its first values are of no image
        self.pooled: set[tuple[int, int]] = set()
        self.collapsed: list[str] = []
        self.head_input: Tensor | None = None

    def start(self, value: Tensor) -> Tensor:
        """The same numbers, as a tensor that gradients flow back to. A clone, because in-place layers may follow."""
        start = (value.clone() if value.is_inference() else value).detach().requires_grad_()
        self.starts.append(start)
        return start.clone()

    def hook(self, name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], Any]:
        """A forward hook that records the output of the module called ``name``."""

        def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            if threading.get_ident() != self.thread:  # hooks are shared; there the model may be training
                return output
            torch.set_grad_enabled(True)  # until the end of the model's own `no_grad` block, if this is inside one
            self.n_calls[name] += 1
            if not isinstance(output, Tensor) or not output.is_floating_point():
                return output
            connected = output if output.requires_grad else self.start(output)
            module_input = args[0] if args and isinstance(args[0], Tensor) else None
            if next(module.parameters(recurse=False), None) is not None:
                self.head_input = module_input
                self.n_before_vectors = self.n_calls.total() if output.ndim > 2 else self.n_before_vectors
            if self._is_own(module, module_input, connected):
                self._record(name, module, connected)
            return connected

        return record

    def _is_own(self, module: nn.Module, module_input: Tensor | None, output: Tensor) -> bool:
        """Whether the output is the module's own work and can be a map.

        It is not if the module passes its input on, reshapes it or pools it. Linear projections do not count either:
        the queries, keys and values of an attention are no maps.
        """
        identity = (id(output), output._version)
        is_recorded = identity in self.outputs
        self.outputs[identity] = output
        if next(module.parameters(), None) is None:
            if is_recorded or (output is module_input and not getattr(module, "inplace", False)):
                return False
            if module_input is not None and module_input.shape != output.shape:
                self.pooled.update({identity} if module_input.numel() > output.numel() else ())
                return False
        return identity not in self.pooled and not _is_projection(module)

    def _record(self, name: str, module: nn.Module, output: Tensor) -> None:
        try:
            layout = layout_of(output, self.image_size, n_images=self.n_images)
        except ValueError:
            return
        if min(layout.size[-2:]) == 1:  # a few slices or frames may well become one
            self.collapsed += [] if isinstance(module, nn.Sequential) else [f"{name}."]
        elif _normalises_channels(module, layout, output):
            # Learned latents that read an image, as in a Perceiver, may be as many as fit a grid, and are no map of it.
            grid = layout.grid(output)
            are_learned = self.images_differ and _are_alike(grid) and not _are_alike(grid.flatten(2).movedim(2, 0))
            self.is_of_latents.setdefault(layout.size, are_learned)
            candidate = _Map(name, (id(output), output._version), layout, self.n_calls.total())
            self.maps.append(candidate)
            output.register_hook(candidate.receive)  # type: ignore[no-untyped-call]  # torch has no types here

    def last_map(self, output: Any) -> str | None:
        """Name of the last map that the scores depend on.

        A head whose weights are all zero, as some libraries initialise it, passes no gradient. The search then starts
        from the head's input instead of its output.
        """
        scores = scores_in(output)
        layer = None
        if scores is not None:
            layer = self._last_read_by(scores, n_classes=scores.shape[-1])
        if layer is None and self.head_input is not None:
            layer = self._last_read_by(self.head_input, n_classes=None)
        return layer

    def _last_read_by(self, scores: Tensor, *, n_classes: int | None) -> str | None:
        if not scores.requires_grad:
            return None
        # The result is not needed: on the way back to the images, each map's hook receives its gradient.
        gradients_of(_summed(scores), self.starts)
        maps = (candidate for candidate in self.maps if not self.is_of_latents[candidate.layout.size])
        candidates = [each for each in maps if each.reach > _LEAST_REACH or self._reads_highest(each)]
        ranked = [(*self._merits(candidate, n_classes), position) for position, candidate in enumerate(candidates)]
        last = candidates[max(ranked)[-1]] if ranked else None
        if last is None or (last.n_before < self.n_before_vectors and self._is_embedding(last)):
            return None
        return last.name

    def _reads_highest(self, candidate: _Map) -> bool:
        """Whether each channel is read where it is highest alone, as by a global maximum: it depends on all positions.

        Of a map of 64 x 64 with 16 channels, such a head reads 0.4 % of the positions.
        """
        if candidate.are_read is None:
            return False
        values = candidate.layout.grid(self.outputs[candidate.identity].detach()).flatten(2)
        are_read = candidate.are_read.flatten(2)
        lowest_read = values.masked_fill(~are_read, torch.inf).amin(2)
        highest_left = values.masked_fill(are_read, -torch.inf).amax(2)
        has_any = are_read.any(2)
        return int(has_any.sum()) >= _LEAST_CHANNELS and bool((lowest_read >= highest_left)[has_any].all())

    def _is_embedding(self, candidate: _Map) -> bool:
        """Whether the map is the patch embedding: a cell depends on its own patch alone, early in the model.

        Late in a model the same can be seen where blocks start as the identity, as those of Swin V2 do.
        """
        if candidate.n_before > self.n_calls.total() / 2:
            return False
        size = candidate.layout.size
        cell = candidate.layout.grid(self.outputs[candidate.identity])
        for length in size:
            cell = cell[:, :, length // 2]
        (gradient,) = gradients_of(_summed(cell), self.starts[:1])
        if gradient is None:  # a `no_grad` block of the model hides the images
            return False
        dependent = (gradient != 0).any(self.channel_axis).any(0).nonzero()
        if not len(dependent):
            return False
        own = [len(places.unique()) for places in dependent.T]  # rows and columns of pixels
        return all(length // n == cells for length, n, cells in zip(self.image_size, own, size, strict=True))

    def _merits(self, candidate: _Map, n_classes: int | None) -> tuple[bool, ...]:
        """Reasons to prefer a map, the most important first. False sorts before True, so the largest tuple wins."""
        is_of_scores = candidate.passes_scores and candidate.n_channels == n_classes
        # Of a stage that ends in a single cell.
        is_inside_collapsed_stage = candidate.name.startswith(tuple(self.collapsed))
        return (not is_of_scores, not is_inside_collapsed_stage, self.n_calls[candidate.name] == 1)


def _are_alike(rows: Tensor) -> bool:
    """Whether all rows of several are the same."""
    return len(rows) > 1 and bool((rows.detach() == rows[:1].detach()).all())


def _is_projection(module: nn.Module) -> bool:
    """Whether a module is a linear layer, also inside an adapter such as LoRA, which calls it `base_layer`."""
    inner: Any = module
    while not isinstance(inner, nn.Linear) and inner is not None:
        inner = getattr(inner, "base_layer", None)
    return inner is not None


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
    """Whether each channel goes into one score of its own, told by its gradient ``(N, K, h, w)``.

    The gradient of such a channel is the weight of its score times a factor that all channels share, or 0 after a ReLU.
    """
    per_weight = gradient / _weights(gradient.shape[1], gradient).reshape(-1, *(1 for _ in gradient.shape[2:]))
    shared = per_weight.amax(1, keepdim=True)
    return bool(((per_weight == 0) | torch.isclose(per_weight, shared, rtol=_SAME_FACTOR, atol=0)).all())
