"""Hooks record, for one step of the user's own, the arguments that a model's modules get.

The hooks only read. They keep copies of a few rows, because a module may write into its input afterwards.
"""

import inspect
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .structures import Path, mapped, tensors_in

MOST_ROWS = 8  # images of a batch in a copy; an affine map of three channels needs four pixels
# A hook ends their fast path in evaluation mode, and the slow path's kernel rounds differently.
_LEFT_ALONE = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)


@dataclass(frozen=True, eq=False)
class Call:
    """The first call of a module in a step: its arguments, of which `MOST_ROWS` rows are kept."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    n_rows: int

    @property
    def place(self) -> Path | None:
        """The path to the images in ``(args, kwargs)``: the largest tensor with the axes of an image."""
        candidates = [(path, t) for path, t in tensors_in((self.args, self.kwargs)) if _is_image(t)]
        return max(candidates, key=lambda each: each[1].numel(), default=((), None))[0] or None

    @property
    def images(self) -> Tensor | None:
        """``(n, ...)`` images as they arrived, None if there were none."""
        return dict(tensors_in((self.args, self.kwargs))).get(self.place) if self.place else None

    @property
    def largest(self) -> Tensor | None:
        """The largest tensor of images, maps or tokens that arrived."""
        candidates = [t for _, t in tensors_in((self.args, self.kwargs)) if t.ndim > 2]
        return max(candidates, key=Tensor.numel, default=None)

    @property
    def is_plain(self) -> bool:
        """Whether the images were the module's only argument."""
        return self.place == ("0", "0") and len(self.args) == 1 and not self.kwargs

    def with_images(self, images: Tensor, shift: int = 0) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with other images. Rows of other tensors are repeated as needed, from row ``shift`` on."""
        n, place = len(images), self.place

        def change(path: Path, value: Any) -> Any:
            if path == place:
                return images
            if isinstance(value, Tensor) and value.ndim and len(value) == self.n_rows:
                rows = (torch.arange(n, device=value.device) + shift) % self.n_rows
                return value[rows].to(images.device)
            return value

        args, kwargs = mapped((self.args, dict(self.kwargs)), change)
        return args, kwargs

    @property
    def others(self) -> list[Path]:
        """Paths to the other tensors that have a row for each image."""
        return [path for path, t in tensors_in((self.args, self.kwargs)) if path != self.place and len(t) > 1]


def _is_image(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and min(tensor.shape[-2:]) > 1 and not tensor.dtype.is_complex


@dataclass(frozen=True)
class Replay:
    """Repeats a step's call of a module with other images.

    Attributes:
        name: Name of the module inside the Lightning module; "" is the Lightning module.
        call: The arguments of the call.
        shift: The row of the other tensors that goes with the first image.
    """

    name: str
    call: Call
    shift: int = 0

    def __call__(self, model: nn.Module, images: Tensor) -> Any:
        """The module's output for ``images``."""
        arrived = self.call.images
        if arrived is not None and not arrived.is_floating_point():
            images = images.to(arrived.dtype)  # integers, which were converted to the precision of the parameters
        args, kwargs = self.call.with_images(images, self.shift)
        return model.get_submodule(self.name)(*args, **kwargs)

    def turned(self) -> "Replay":
        """The same call, but each image gets the next row of the other tensors."""
        return replace(self, shift=self.shift + 1)

    def others(self, model: nn.Module) -> list[str]:
        """Names of the other tensors that have a row for each image, as ``forward`` calls them."""
        parameters = list(inspect.signature(model.get_submodule(self.name).forward).parameters)
        return [_spelled(path, parameters) for path in self.call.others]

    def sketch(self) -> str:
        """The call as code, for a person to complete. Tensors of the images' shape are taken for views of them."""
        images = self.call.images

        def written(_path: Path, value: Any) -> Any:
            is_view = isinstance(value, Tensor) and images is not None and value.shape == images.shape
            return _Word("images" if is_view else _zeros(value))

        args, kwargs = mapped((self.call.args, dict(self.call.kwargs)), written)
        parts = [*(repr(arg) for arg in args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        return f"{in_code(self.name)}({', '.join(parts)})"


def in_code(name: str) -> str:
    """How a submodule is written in Python.

    >>> in_code("nets.0.head")
    'module.nets[0].head'
    """
    parts = name.split(".") if name else []
    return "module" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in parts)


def _spelled(path: Path, parameters: Sequence[str]) -> str:
    """The last part of a path to an argument; a number becomes a parameter's name, perhaps with an index."""
    if path[0] != "0" or not path[-1].isdigit() or int(path[1]) >= len(parameters):
        return path[-1]
    return parameters[int(path[1])] + "".join(f"[{part}]" for part in path[2:])


class _Word(str):
    """A piece of code, which is its own ``repr``."""

    def __repr__(self) -> str:
        return str(self)


def _zeros(value: Any) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    if not value.ndim:
        return repr(value.item())
    shape = ", ".join(["len(images)", *map(str, value.shape[1:])])
    dtype = "" if value.dtype is torch.float32 else f", dtype={value.dtype}"
    return f"torch.zeros({shape}{dtype})"


class Enough(BaseException):
    """Ends a step at the first layer. It is no `Exception`, because the step's own code may catch those."""


class Arrivals:
    """Watches a model for one step. `close` takes every hook away again.

    A network is a module inside the model that was called by no other one inside it. Those after the first are watched
    where they were given images like the first, as a student beside its teacher; a head that was given a map is not.

    Args:
        model: The model to watch.
        stops_at: Name of the layer at which to raise `Enough`, so that nothing behind it runs; "" is the first layer of
            all, and None is none.
        runs_eagerly: Whether compiled code runs as it is written, as it does inside `untouched`.

    Attributes:
        calls: The first call of each module by its name, in the order of the calls; "" is the model.
    """

    def __init__(self, model: nn.Module, *, stops_at: str | None = None, runs_eagerly: bool = False) -> None:
        self._stops_at = stops_at
        self.calls: dict[str, Call] = {}
        self._stems: dict[str, str] = {}
        self._networks: list[str] = []
        self._thread = threading.get_ident()
        self._handles = [
            module.register_forward_pre_hook(partial(self._note, name, is_closed), with_kwargs=True)
            for name, module, is_closed in watched(model, runs_eagerly=runs_eagerly)
        ]

    @property
    def stems(self) -> Mapping[str, str]:
        """For each network, the name of its first module with parameters of its own that was given images or a map.

        The model itself counts only where no network was called, because many ways lead past its ``forward``.
        """
        inside = {network: stem for network, stem in self._stems.items() if network}
        return inside or self._stems

    def _note(
        self, name: str, is_closed: bool, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if threading.get_ident() != self._thread or name in self.calls:
            return
        network = self._network_of(name)
        is_watched = self._is_like_first(Call(args, kwargs, 0)) if name == network else network in self.calls
        if name and (network in self._stems or not is_watched):
            return
        with torch.inference_mode(False), torch.no_grad():
            self.calls[name] = call = _kept(args, kwargs)
        if next(module.parameters(recurse=is_closed), None) is not None and call.largest is not None:
            self._stems[network] = name
            if name and self._stops_at in ("", name):
                raise Enough

    def _network_of(self, name: str) -> str:
        """The network that a module belongs to: itself, if none of those around it has been called."""
        around = [network for network in self._networks if f"{name}.".startswith(f"{network}.")]
        if not around and name:
            self._networks.append(name)
        return around[0] if around else name

    def _is_like_first(self, call: Call) -> bool:
        """Whether a network is the first, or is given images of as many channels as that."""
        first = next((self.calls[network].images for network in self._stems if network), call.images)
        return first is None or (call.images is not None and call.images.shape[1] == first.shape[1])

    def close(self) -> None:
        """Takes the hooks away; safe to call twice."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> "Arrivals":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def watched(model: nn.Module, *, runs_eagerly: bool = False) -> Iterator[tuple[str, nn.Module, bool]]:
    """Name and module of each module that may get a hook, and whether the modules inside it may not.

    Scripted modules get none, and neither do compiled ones that run compiled, and attentions with a fast path.
    """
    waiting: list[tuple[str, nn.Module]] = [("", model)]
    while waiting:
        name, module = waiting.pop(0)
        # A compiled call compiles its hooks as well; `torch.compile(module)` compiles only the module inside.
        is_compiled = getattr(module, "_compiler_ctx", None) or getattr(module, "_compiled_call_impl", None)
        if (is_compiled and not runs_eagerly) or isinstance(module, (torch.jit.ScriptModule, *_LEFT_ALONE)):
            continue
        is_closed = hasattr(module, "_orig_mod")
        yield name, module, is_closed
        if not is_closed:
            waiting += [(f"{name}.{child}".lstrip("."), each) for child, each in module.named_children()]


def _kept(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    lengths = [len(t) for _, t in tensors_in((args, kwargs)) if t.ndim > 2]
    n_rows = lengths[0] if lengths else 0

    def change(_path: Path, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        cut = value[:MOST_ROWS] if value.ndim and len(value) == n_rows else value
        return cut.detach().clone()

    kept_args, kept_kwargs = mapped((args, kwargs), change)
    return Call(kept_args, kept_kwargs, min(n_rows, MOST_ROWS))
