"""A call that a step of the user's own made of a module: its arguments, how to repeat it, and its code."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .structures import Path, mapped, tensors_in

MOST_ROWS = 8  # images of a batch in a copy; an affine map of three channels needs four pixels


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
    return tensor.ndim in (4, 5) and min(tensor.shape[-2:]) > 1 and not tensor.dtype.is_complex


@dataclass(frozen=True)
class Link:
    """The next call of a step, whose module is given a part of what the module before has given.

    Attributes:
        name: Name of the module.
        others: Its further arguments, which are no tensors.
        named: The same, by name.
        path: Leads to the tensor in the output before.
        code: Of the steps between, with braces for the output before.
        between: The steps between, from that tensor to the argument.
    """

    name: str
    others: tuple[Any, ...]
    named: Mapping[str, Any]
    path: Path
    code: str
    between: Callable[[Tensor], Tensor]

    def __call__(self, model: nn.Module, output: Any) -> Any:
        """The module's output for what the module before has given."""
        given = self.between(dict(tensors_in(output))[self.path])
        return model.get_submodule(self.name)(given, *self.others, **self.named)

    def sketch(self, before: str) -> str:
        """The call as code, around the code of the call before."""
        more = [*map(repr, self.others), *(f"{name}={value!r}" for name, value in self.named.items())]
        return f"{in_code(self.name)}({', '.join([self.code.format(before), *more])})"


@dataclass(frozen=True)
class Replay:
    """Repeats a step's call of a module with other images, and perhaps the calls that follow.

    Attributes:
        name: Name of the module inside the Lightning module; "" is the Lightning module.
        call: The arguments of the call.
        shift: The row of the other tensors that goes with the first image.
        links: The calls that follow.
    """

    name: str
    call: Call
    shift: int = 0
    links: tuple[Link, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modules, in the order of their calls."""
        return (self.name, *(link.name for link in self.links))

    def __call__(self, model: nn.Module, images: Tensor) -> Any:
        """The last module's output for ``images``."""
        arrived = self.call.images
        if arrived is not None and not arrived.is_floating_point():
            images = images.to(arrived.dtype)  # integers, which were converted to the precision of the parameters
        args, kwargs = self.call.with_images(images, self.shift)
        output = model.get_submodule(self.name)(*args, **kwargs)
        for link in self.links:
            output = link(model, output)
        return output

    def turned(self) -> "Replay":
        """The same call, but each image gets the next row of the other tensors."""
        return replace(self, shift=self.shift + 1)

    def others(self, model: nn.Module) -> list[str]:
        """Names of the other tensors that have a row for each image, as ``forward`` calls them."""
        parameters = list(inspect.signature(model.get_submodule(self.name).forward).parameters)
        return [_spelled(path, parameters) for path in self.call.others]

    def sketch(self, words: Mapping[Path, str] | None = None) -> str:
        """The call as code, for a person to complete. Tensors of the images' shape are taken for views of them.

        Args:
            words: Code for other tensors, by their paths.
        """
        images, place, own = self.call.images, self.call.place, words or {}

        def written(path: Path, value: Any) -> Any:
            is_view = isinstance(value, Tensor) and images is not None and value.shape == images.shape
            return _Word("images" if path == place else own.get(path, "images" if is_view else zeros_in_code(value)))

        args, kwargs = mapped(_shortened((self.call.args, dict(self.call.kwargs))), written)
        parts = [*(repr(arg) for arg in args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        code = f"{in_code(self.name)}({', '.join(parts)})"
        for link in self.links:
            code = link.sketch(code)
        return code


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


def zeros_in_code(value: Any) -> str:
    """Code for a tensor that has a row for each image, or for anything else.

    >>> zeros_in_code(torch.ones(8, 3)), zeros_in_code(True)
    ('images.new_zeros((len(images), 3))', 'True')
    """
    if isinstance(value, _Word):
        return value
    if not isinstance(value, Tensor):
        return repr(value)
    if not value.ndim:
        return repr(value.item())
    shape = ", ".join(["len(images)", *map(str, value.shape[1:])])
    dtype = "" if value.dtype is torch.float32 else f", dtype={value.dtype}"
    return f"images.new_zeros(({shape}{'' if value.ndim > 1 else ','}){dtype})"


def _shortened(structure: Any) -> Any:
    """Arguments in whose code a list of texts, such as the files of a batch, is the first text again and again."""
    if isinstance(structure, Mapping):
        return {key: _shortened(value) for key, value in structure.items()}
    if isinstance(structure, list) and len(structure) > 1 and all(isinstance(each, str) for each in structure):
        return _Word(f"len(images) * {structure[:1]!r}")
    return type(structure)(map(_shortened, structure)) if type(structure) in (tuple, list) else structure


def kept_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """A call with copies of a few rows of its tensors, because a module may write into its input afterwards."""
    tensors = [t for _, t in tensors_in((args, kwargs))]
    n_rows = next((len(t) for t in sorted(tensors, key=lambda t: t.ndim <= 2)), 0)  # those of images before others

    def change(_path: Path, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        cut = value[:MOST_ROWS] if value.ndim and len(value) == n_rows else value
        return cut.detach().clone()

    kept_args, kept_kwargs = mapped((args, kwargs), change)
    return Call(kept_args, kept_kwargs, min(n_rows, MOST_ROWS))
