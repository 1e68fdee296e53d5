"""How a layer's output lies on the image: channels first or last, or tokens on a grid nobody tells us."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor

from ..spatial import VOLUME_AXES, are_frames

Order: TypeAlias = Literal["NKhw", "NhwK", "NTK", "TNK", "NKdhw", "NdhwK", "DKhw"]

_MOST_PREFIX_TOKENS = 5  # a class token and four registers (DINOv2, DINOv3)
_WAY_OUT = "choose a layer that returns a feature map, layer='...'"


@dataclass(frozen=True)
class Layout:
    """How a layer's output lies on the image.

    Attributes:
        order: The output's axes: ``(N, K, h, w)``, ``(N, h, w, K)``, ``(N, T, K)`` or ``(T, N, K)``, with ``T`` tokens,
            ``prefix + h * w``. Of volumes ``(N, K, d, h, w)``, ``(N, d, h, w, K)``, or ``(N * d, K, h, w)`` where
            slices are seen one by one.
        size: ``(h, w)``; of volumes ``(d, h, w)``.
        prefix: Leading tokens that are no patch: class, distillation and register tokens.
    """

    order: Order
    size: tuple[int, ...]
    prefix: int = 0

    def grid(self, output: Tensor) -> Tensor:
        """The output as ``(N, K, h, w)``, or ``(N, K, d, h, w)``: a view, so gradients flow.

        >>> import torch
        >>> Layout("NTK", (2, 3), prefix=1).grid(torch.zeros(1, 7, 8)).shape
        torch.Size([1, 8, 2, 3])
        """
        if self.order in ("NKhw", "NKdhw"):
            return output if output.ndim == len(self.size) + 2 else output.unsqueeze(2)  # one map of all slices
        if self.order in ("NhwK", "NdhwK"):
            return output.movedim(-1, 1)
        if self.order == "DKhw":
            return output.view(-1, self.size[0], *output.shape[1:]).transpose(1, 2)
        tokens = output if self.order == "NTK" else output.transpose(0, 1)
        patches = tokens[:, self.prefix :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *self.size)


def channel_axis(inputs: Tensor) -> int:
    """Which axis of model inputs holds the channels: 1, or 2 where frames come first, ``(N, D, C, H, W)``.

    >>> import torch
    >>> channel_axis(torch.zeros(2, 1, 16, 32, 32)), channel_axis(torch.zeros(2, 16, 3, 32, 32))
    (1, 2)
    """
    return 2 if inputs.ndim == VOLUME_AXES and are_frames(inputs.shape) else 1


def size_of(inputs: Tensor) -> tuple[int, ...]:
    """``(H, W)`` of model inputs ``(N, C, H, W)``; of volumes and frames ``(D, H, W)``."""
    plane = inputs.shape[-2], inputs.shape[-1]
    return plane if inputs.ndim != VOLUME_AXES else (inputs.shape[3 - channel_axis(inputs)], *plane)


def layout_of(output: Any, image_size: tuple[int, ...], *, n_images: int | None = None) -> Layout:
    """The layout of a layer's output, inferred from its shape and the image's.

    Four axes are ``(N, K, h, w)``, unless only ``(N, h, w, K)`` has the image's proportions. Three axes are tokens: one
    per patch, and up to five prefix tokens.

    >>> import torch
    >>> layout_of(torch.zeros(2, 197, 768), (224, 224))
    Layout(order='NTK', size=(14, 14), prefix=1)

    Args:
        output: What the layer returned.
        image_size: ``(H, W)`` of the model's input, or ``(D, H, W)``.
        n_images: ``N``, if known; else the second axis of three holds the tokens wherever it fits a grid.

    Raises:
        ValueError: The output is no map of the image, or more than one grid fits.
    """
    if not isinstance(output, Tensor):
        raise ValueError(f"expected a layer that returns a tensor, found {type(output).__name__}; {_WAY_OUT}")
    if len(image_size) == 3:
        return _of_volume(output, image_size, n_images)
    if output.ndim == 4 and n_images in (None, len(output)):
        return _four_axes(*output.shape[1:], image_size=image_size)
    if output.ndim == 3:
        return _three_axes(*output.shape[:2], image_size=image_size, n_images=n_images)
    raise ValueError(f"expected a map or tokens, found an output of shape {_text(output.shape)}; {_WAY_OUT}")


def _of_volume(output: Tensor, size: tuple[int, ...], n_images: int | None) -> Layout:
    """As `layout_of`. Rows and columns tell channels from places: the depth may have a stride of its own."""
    depth, *plane = size
    if output.ndim == 5 and n_images in (None, len(output)):
        channels, d, h, w = output.shape[1:]
        if _in_proportion((d, h), plane) and not _in_proportion((h, w), plane):
            return Layout("NdhwK", (channels, d, h))
        return Layout("NKdhw", (d, h, w))
    if output.ndim == 4 and n_images is not None and _in_proportion(output.shape[2:], plane):
        if len(output) == n_images:
            return Layout("NKhw", (1, *output.shape[2:]))
        if len(output) == n_images * depth:
            return Layout("DKhw", (depth, *output.shape[2:]))
    if output.ndim == 3:
        return _three_axes(*output.shape[:2], image_size=size, n_images=n_images)
    raise ValueError(
        f"expected a map of the {_text(size)} volume, found an output of shape {_text(output.shape)}; {_WAY_OUT}"
    )


def _four_axes(first: int, second: int, third: int, *, image_size: tuple[int, ...]) -> Layout:
    if _in_proportion((first, second), image_size) and not _in_proportion((second, third), image_size):
        return Layout("NhwK", (first, second))
    return Layout("NKhw", (second, third))


def _in_proportion(size: Sequence[int], image_size: Sequence[int]) -> bool:
    """Whether a grid has the image's proportions, up to less than one cell: every stride rounds."""
    (h, w), (height, width) = size, image_size
    return abs(h * width - w * height) < max(height, width)


def _three_axes(first: int, second: int, *, image_size: tuple[int, ...], n_images: int | None) -> Layout:
    orders: list[tuple[Literal["NTK", "TNK"], int, int]] = [("NTK", first, second), ("TNK", second, first)]
    for order, n_rows, n_tokens in orders:
        fitting = _fitting(n_tokens, image_size) if n_images in (None, n_rows) else []
        if len(fitting) > 1:
            raise ValueError(f"expected tokens on one grid, found {n_tokens} that fit {fitting}; {_WAY_OUT}")
        if fitting:
            return Layout(order, fitting[0], n_tokens - math.prod(fitting[0]))
    raise ValueError(
        f"expected tokens on a grid of the {_text(image_size)} image, found {first} x {second} of them; {_WAY_OUT}"
    )


def _fitting(n_tokens: int, image_size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Grids for so many tokens: of patches that divide the image or else, if there are none, of those that do not."""
    for grids in (_whole_grids(image_size), _rounded_grids(image_size)):
        fitting = {grid for grid in grids if 0 <= n_tokens - math.prod(grid) <= _MOST_PREFIX_TOKENS}
        if fitting:
            return sorted(fitting)
    return []


def _whole_grids(image_size: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Of volumes, patches may reach through any number of slices that divides the depth."""
    *depth, height, width = image_size
    layers = [(n,) for n in range(1, depth[0] + 1) if depth[0] % n == 0] if depth else [()]
    for patch in range(1, min(height, width) // 2 + 1):
        if height % patch == 0 and width % patch == 0:
            yield from ((*n, height // patch, width // patch) for n in layers)


def _rounded_grids(image_size: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    if len(image_size) == 3:  # so many that their number tells nothing
        return
    height, width = image_size
    for patch in range(1, min(image_size) // 2 + 1):
        yield height // patch, width // patch
        yield -(-height // patch), -(-width // patch)


def _text(sizes: Iterable[int]) -> str:
    return " x ".join(map(str, sizes))
