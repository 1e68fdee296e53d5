"""How a layer's output lies on the image: channels first or last, or tokens on a grid nobody tells us."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

_MOST_PREFIX_TOKENS = 5  # a class token and four registers (DINOv2, DINOv3)
_WAY_OUT = "choose a layer that returns a feature map, layer='...'"


@dataclass(frozen=True)
class Layout:
    """How a layer's output lies on the image.

    Attributes:
        order: The output's axes: ``(N, K, h, w)``, ``(N, h, w, K)``, ``(N, T, K)`` or ``(T, N, K)``, with ``T`` tokens,
            ``prefix + h * w``.
        size: ``(h, w)``.
        prefix: Leading tokens that are no patch: class, distillation and register tokens.
    """

    order: Literal["NKhw", "NhwK", "NTK", "TNK"]
    size: tuple[int, int]
    prefix: int = 0

    def grid(self, output: Tensor) -> Tensor:
        """The output as ``(N, K, h, w)``: a view, so gradients flow.

        >>> import torch
        >>> Layout("NTK", (2, 3), prefix=1).grid(torch.zeros(1, 7, 8)).shape
        torch.Size([1, 8, 2, 3])
        """
        if self.order == "NKhw":
            return output
        if self.order == "NhwK":
            return output.permute(0, 3, 1, 2)
        tokens = output if self.order == "NTK" else output.transpose(0, 1)
        patches = tokens[:, self.prefix :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *self.size)


def layout_of(output: Any, image_size: tuple[int, int], *, n_images: int | None = None) -> Layout:
    """The layout of a layer's output, inferred from its shape and the image's.

    Four axes are ``(N, K, h, w)``, unless only ``(N, h, w, K)`` has the image's proportions. Three axes are tokens: one
    per patch, and up to five prefix tokens.

    >>> import torch
    >>> layout_of(torch.zeros(2, 197, 768), (224, 224))
    Layout(order='NTK', size=(14, 14), prefix=1)

    Args:
        output: What the layer returned.
        image_size: ``(H, W)`` of the model's input.
        n_images: ``N``, if known; else the second axis of three holds the tokens wherever it fits a grid.

    Raises:
        ValueError: The output is no map of the image, or more than one grid fits.
    """
    if not isinstance(output, Tensor):
        raise ValueError(f"expected a layer that returns a tensor, found {type(output).__name__}; {_WAY_OUT}")
    if output.ndim == 4 and n_images in (None, len(output)):
        return _four_axes(*output.shape[1:], image_size=image_size)
    if output.ndim == 3:
        return _three_axes(*output.shape[:2], image_size=image_size, n_images=n_images)
    raise ValueError(f"expected a map or tokens, found an output of shape {_text(output.shape)}; {_WAY_OUT}")


def _four_axes(first: int, second: int, third: int, *, image_size: tuple[int, int]) -> Layout:
    if _in_proportion((first, second), image_size) and not _in_proportion((second, third), image_size):
        return Layout("NhwK", (first, second))
    return Layout("NKhw", (second, third))


def _in_proportion(size: tuple[int, int], image_size: tuple[int, int]) -> bool:
    """Whether a grid has the image's proportions, up to less than one cell: every stride rounds."""
    (h, w), (height, width) = size, image_size
    return abs(h * width - w * height) < max(height, width)


def _three_axes(first: int, second: int, *, image_size: tuple[int, int], n_images: int | None) -> Layout:
    orders: list[tuple[Literal["NTK", "TNK"], int, int]] = [("NTK", first, second), ("TNK", second, first)]
    for order, n_rows, n_tokens in orders:
        fitting = _fitting(n_tokens, image_size) if n_images in (None, n_rows) else []
        if len(fitting) > 1:
            raise ValueError(f"expected tokens on one grid, found {n_tokens} that fit {fitting}; {_WAY_OUT}")
        if fitting:
            (h, w) = fitting[0]
            return Layout(order, (h, w), n_tokens - h * w)
    raise ValueError(
        f"expected tokens on a grid of the {_text(image_size)} image, found {first} x {second} of them; {_WAY_OUT}"
    )


def _fitting(n_tokens: int, image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """Grids for so many tokens: of patches that divide the image or else, if there are none, of those that do not."""
    for grids in (_whole_grids(image_size), _rounded_grids(image_size)):
        fitting = {(h, w) for h, w in grids if 0 <= n_tokens - h * w <= _MOST_PREFIX_TOKENS}
        if fitting:
            return sorted(fitting)
    return []


def _whole_grids(image_size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    height, width = image_size
    for patch in range(1, min(image_size) // 2 + 1):
        if height % patch == 0 and width % patch == 0:
            yield height // patch, width // patch


def _rounded_grids(image_size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    height, width = image_size
    for patch in range(1, min(image_size) // 2 + 1):
        yield height // patch, width // patch
        yield -(-height // patch), -(-width // patch)


def _text(sizes: Iterable[int]) -> str:
    return " x ".join(map(str, sizes))
