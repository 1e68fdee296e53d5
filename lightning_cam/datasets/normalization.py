"""The affine step between pixels and model input: recognised in a data set, inverted, kept as two rows of numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset
from torchvision import transforms as v1
from torchvision.transforms import v2

ROUNDING = 1e-5
"""How far a pixel may lie outside [0, 1] and still count as a rounding error of the inverse."""


@dataclass(frozen=True)
class Normalize:
    """``(pixels - mean) / std`` per channel, for batches ``(N, C, H, W)`` and single images ``(C, H, W)``.

    Batches of volumes are ``(N, C, D, H, W)``.

    The same arithmetic as torchvision's ``Normalize``, as a value that compares, prints and can be written to a file.
    One number serves every channel.

    >>> Normalize((0.5,), (0.25,))(torch.ones(1, 3, 1, 1)).flatten().tolist()
    [2.0, 2.0, 2.0]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Model input of ``pixels``."""
        return (pixels - _per_channel(self.mean, pixels)) / _per_channel(self.std, pixels)

    def inverse(self, inputs: Tensor) -> Tensor:
        """Pixels of model ``inputs``."""
        return inputs * _per_channel(self.std, inputs) + _per_channel(self.mean, inputs)

    def after(self, first: "Normalize") -> "Normalize":
        """One step that does ``first`` and then this one.

        >>> Normalize((1.0,), (2.0,)).after(Normalize((0.5,), (0.5,)))
        Normalize(mean=(1.0,), std=(1.0,))
        """
        n_channels = max(len(first.mean), len(self.mean))
        (mean1, std1), (mean2, std2) = _spread(first, n_channels), _spread(self, n_channels)
        mean, std = mean1 + mean2 * std1, std1 * std2
        return Normalize(tuple(mean.tolist()), tuple(std.tolist()))


def _per_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, *(1,) * max(like.ndim - 2, 2))


def _spread(step: Normalize, n_channels: int) -> Tensor:
    """``(2, n_channels)`` in float64."""
    return torch.tensor([step.mean, step.std], dtype=torch.float64).expand(2, n_channels)


def as_normalize(transform: object) -> Normalize | None:
    """``transform`` as a `Normalize` if it is exactly one (ours, or torchvision's v1 or v2), else None."""
    if isinstance(transform, Normalize):
        return transform
    return _mean_and_std(transform) if isinstance(transform, (v1.Normalize, v2.Normalize)) else None


def as_written(preprocess: object) -> dict[str, tuple[float, ...]] | str | None:
    """``preprocess`` in JSON types: numbers where it is exactly a `Normalize`, else only that there is one."""
    step = as_normalize(preprocess)
    if step is None:
        return None if preprocess is None else "callable"
    return {"mean": step.mean, "std": step.std}


def from_written(written: Any) -> Normalize | None:
    """What `as_written` wrote."""
    if written == "callable":
        raise ValueError(
            "the probe was saved with a preprocess that is no Normalize; pass it: load(folder, preprocess=...)"
        )
    return None if written is None else Normalize(tuple(written["mean"]), tuple(written["std"]))


def normalize_of(dataset: object, n_channels: int) -> Normalize | None:
    """The normalisation that ``dataset`` applies to its images ``(n_channels, H, W)``, None where none is recognised.

    Looks into ``transform`` or ``transforms`` of the data set and of those that it wraps, and inside compositions.
    Several steps become one. What has rows of numbers named ``mean`` and ``std`` counts, so that the presets of
    torchvision's weights do too. A wrong guess cannot change what a model is given, only how the pixels look: the
    inverse is undone by the same step.
    """
    if isinstance(dataset, ConcatDataset):
        candidates = {normalize_of(part, n_channels) for part in dataset.datasets}
        return candidates.pop() if len(candidates) == 1 else None
    steps = [_mean_and_std(step) for step in _transforms_of(dataset)]
    fitting = [step for step in steps if step is not None and len(step.mean) in (1, n_channels)]
    return reduce(lambda first, second: second.after(first), fitting) if fitting else None


def _transforms_of(dataset: object) -> Iterator[object]:
    """Single transforms in the order in which an item meets them."""
    inner = wrapped(dataset)
    if inner is not None:
        yield from _transforms_of(inner)
    own = getattr(dataset, "transform", None)
    yield from _steps(getattr(dataset, "transforms", None) if own is None else own)


def wrapped(dataset: object) -> object | None:
    """The data set inside a `Subset` or a user's own wrapper of that shape, None if there is none."""
    inner = getattr(dataset, "dataset", getattr(dataset, "subset", None))
    return inner if hasattr(inner, "__getitem__") and hasattr(inner, "__len__") else None


def _steps(transform: Any) -> Iterator[object]:
    if isinstance(transform, nn.Sequential):
        parts: Any = list(transform)
    elif type(transform).__name__ == "StandardTransform":
        parts = [transform.transform]
    elif type(transform).__name__.startswith("Random"):
        return  # RandomApply and RandomChoice: not every item meets it.
    else:
        parts = getattr(transform, "transforms", None)
    if isinstance(parts, (list, tuple, nn.ModuleList)):
        for part in parts:
            yield from _steps(part)
    elif transform is not None:
        yield transform


def _mean_and_std(transform: object) -> Normalize | None:
    mean, std = (_numbers(getattr(transform, name, None)) for name in ("mean", "std"))
    usable = mean and std and len(mean) == len(std) and all(std)
    return Normalize(mean, std) if usable else None


def _numbers(values: object) -> tuple[float, ...]:
    """``values`` as floats, empty where they are no row of finite numbers."""
    if not isinstance(values, (Sequence, Tensor, np.ndarray)) or isinstance(values, str):
        return ()
    try:
        row = torch.as_tensor(values, dtype=torch.float64)
    except (TypeError, ValueError):
        return ()
    return tuple(row.tolist()) if row.ndim == 1 and bool(row.isfinite().all()) else ()


def spanning(images: Sequence[Tensor]) -> Normalize:
    """The step whose inverse stretches ``images`` (each ``(C, H, W)``) to fill [0, 1] in every channel."""
    low = torch.stack([image.flatten(1).amin(1) for image in images]).amin(0).double()
    high = torch.stack([image.flatten(1).amax(1) for image in images]).amax(0).double()
    span = torch.where(high > low, high - low, 1.0)
    return Normalize(tuple((-low / span).tolist()), tuple((1 / span).tolist()))
