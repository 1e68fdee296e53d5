"""Which step lies between the pixels of a data set and the tensor that a model is given: found from pairs of both.

Nearly every step that people write outside their data set is a resize and an affine map of the channels: a division, a
normalisation, another order of the channels, a grey picture. Each is tried, the simplest first, and taken only if it
gives back what arrived.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from ..datasets.items import Size
from ..datasets.normalization import Normalize
from ..probe.drawn import Preprocess
from ..spatial import VOLUME_AXES

Resize: TypeAlias = Literal["none", "crop", "bilinear", "bilinear, no antialias", "bicubic", "nearest", "short side"]
Scale: TypeAlias = Literal["none", "image", "channel", "image range", "channel range"]

# Root mean square of what is not explained, as a share of the spread of the input. Float rounding leaves 1e-6, Pillow's
# rounding to bytes 0.01 after a resize; a step of another kind leaves 0.1 and more.
EXACT, NEAR = 1e-3, 0.02
# The same of sorted values, for a step that is shown to a person. Random flips leave 0, noise and crops 0.03, rotations
# 0.1, random erasing 0.17; powers and other curves leave 0.21 and more.
CLOSE = 0.2


@dataclass(frozen=True)
class Step:
    """Pixels ``(N, C, H, W)`` to what a model is given: resized, scaled, then an affine map of the channels.

    Attributes:
        size: ``(h, w)`` afterwards.
        resize: How the size is reached.
        scale: Over what each image is made to have mean 0 and spread 1, or range 0 to 1.
        weight: ``(C', C)`` as rows of numbers.
        bias: ``C'`` numbers.
        dtype: Of the result; whole numbers are rounded.
        channels_last: Whether the result is ``(N, H, W, C')``.
    """

    size: Size
    resize: Resize
    scale: Scale
    weight: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    dtype: torch.dtype
    channels_last: bool

    def __call__(self, pixels: Tensor) -> Tensor:
        """The model input of ``pixels``; slices of volumes lie one below another meanwhile."""
        if pixels.ndim == VOLUME_AXES:
            flat = self(pixels.flatten(2, 3))
            return flat.reshape(*flat.shape[:2], *pixels.shape[2:])
        scaled = _scaled(_resized(pixels, self.size, self.resize), self.scale)
        weight, bias = pixels.new_tensor(self.weight), pixels.new_tensor(self.bias)
        mixed = torch.einsum("dc,nchw->ndhw", weight, scaled) + bias[:, None, None]
        if not self.dtype.is_floating_point:
            mixed = mixed.round()
        return (mixed.movedim(1, -1) if self.channels_last else mixed).to(self.dtype)

    def as_normalize(self) -> Normalize | None:
        """The same step as a `Normalize`, which can be inverted and saved; None where it does more."""
        slopes = (
            [self.weight[i][i] for i in range(len(self.weight))] if len(self.weight) == len(self.weight[0]) else [0.0]
        )
        diagonal = tuple(tuple(a if i == j else 0.0 for j in range(len(slopes))) for i, a in enumerate(slopes))
        is_affine = self.resize == "none" and self.scale == "none" and self.weight == diagonal and all(slopes)
        if not is_affine or self.channels_last or self.dtype is not torch.float32:
            return None
        return Normalize(tuple(-b / a for a, b in zip(slopes, self.bias, strict=True)), tuple(1 / a for a in slopes))

    def __str__(self) -> str:
        parts = [] if self.resize == "none" else [f"{self.resize} to {self.size[0]}x{self.size[1]}"]
        parts += [] if self.scale == "none" else [f"scaled by {self.scale}"]
        numbers = ", ".join(f"{value:.4g}" for row in self.weight for value in row)
        return "; ".join([*parts, f"times ({numbers}) plus ({', '.join(f'{value:.4g}' for value in self.bias)})"])


def explain(pixels: Tensor, inputs: Tensor) -> Step | None:
    """The step from ``pixels (n, C, H, W)`` to ``inputs`` of the same images, None where none explains them."""
    if pixels.ndim == inputs.ndim == VOLUME_AXES and pixels.shape[2:] == inputs.shape[2:]:
        return explain(pixels.flatten(2, 3), inputs.flatten(2, 3))
    channels_last = _is_channels_last(inputs)
    arrived = (inputs.movedim(-1, 1) if channels_last else inputs).detach().double().cpu()
    given = pixels.detach().double().cpu()
    if arrived.ndim != 4 or len(arrived) != len(given) or not arrived.isfinite().all():
        return None
    size = (arrived.shape[-2], arrived.shape[-1])
    best: tuple[float, Step] | None = None
    for resize in _resizes(given, size):
        at_size = _resized(given, size, resize)
        for scale in _SCALES:
            scaled = _scaled(at_size, scale)
            if _left_by_any(scaled, arrived) > NEAR:
                continue
            for weight, bias in _maps(scaled, arrived):
                step = Step(size, resize, scale, _rows(weight), tuple(bias.tolist()), inputs.dtype, channels_last)
                left = unexplained(step(given), inputs)
                if left <= EXACT:
                    return step
                if left <= NEAR and (best is None or left < best[0] / 2):  # a richer one must be clearly better
                    best = (left, step)
    return best[1] if best else None


def nearest(pixels: Tensor, inputs: Tensor) -> str:
    """Code of the resize and normalisation that come close to ``inputs``; empty where none does.

    For a step that `explain` cannot find since it is random. Values are compared sorted, for each image and channel: a
    flip does not change them, noise and cropping hardly do.
    """
    if pixels.shape[:2] != inputs.shape[:2] or inputs.ndim != 4 or not inputs.is_floating_point():
        return ""
    size = (inputs.shape[-2], inputs.shape[-1])
    arrived = _sorted_values(inputs.detach().double().cpu())
    best: tuple[float, Resize, list[tuple[Tensor, Tensor]]] | None = None
    for resize in _resizes(pixels, size):
        given = _sorted_values(_resized(pixels.detach().double().cpu(), size, resize))
        lines = [_line(x, y) for x, y in zip(given, arrived, strict=True)]
        left = unexplained(torch.stack([a * x + b for x, (a, b) in zip(given, lines, strict=True)]), arrived)
        if left <= CLOSE and (best is None or left < best[0]) and all(slope > 0 for slope, _ in lines):
            best = (left, resize, lines)
    return _code(size, *best[1:]) if best else ""


def _sorted_values(images: Tensor) -> Tensor:
    """``(C, n * h * w)``, in order inside an image."""
    return images.flatten(2).sort(-1).values.movedim(1, 0).flatten(1)


def _code(size: Size, resize: Resize, lines: list[tuple[Tensor, Tensor]]) -> str:
    means = [_short(-offset / slope) for slope, offset in lines]
    deviations = [_short(1 / slope) for slope, _ in lines]
    normalize = f"v2.Normalize({means}, {deviations})"
    if resize == "none":
        is_nothing = all(abs(mean) < 0.01 and abs(std - 1) < 0.01 for mean, std in zip(means, deviations, strict=True))
        return "" if is_nothing else normalize
    return f"v2.Compose([v2.{'CenterCrop' if resize == 'crop' else 'Resize'}({size}), {normalize}])"


def _short(number: Tensor) -> float:
    return float(f"{float(number):.3g}")


def unexplained(inputs: Tensor, arrived: Tensor) -> float:
    """Root mean square difference of two tensors, as a share of the spread of the second; infinite for other shapes."""
    if inputs.shape != arrived.shape or not inputs.numel():
        return float("inf")
    one, other = inputs.detach().double().cpu(), arrived.detach().double().cpu()
    difference, spread = float((one - other).square().mean().sqrt()), float(other.std())
    return difference / spread if spread > 0 else (0.0 if difference == 0 else float("inf"))


_SCALES: tuple[Scale, ...] = ("none", "image", "channel", "image range", "channel range")


def _rows(weight: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in weight.tolist())


def _is_channels_last(inputs: Tensor) -> bool:
    return inputs.ndim == 4 and inputs.shape[-1] in (1, 3, 4) and inputs.shape[1] > 4


def _resizes(pixels: Tensor, size: Size) -> Iterator[Resize]:
    if tuple(pixels.shape[-2:]) == size:
        yield "none"
        return
    if pixels.shape[-2] >= size[0] and pixels.shape[-1] >= size[1]:
        yield "crop"
    yield from ("bilinear", "bilinear, no antialias", "bicubic", "nearest", "short side")


def _resized(pixels: Tensor, size: Size, how: Resize) -> Tensor:
    if how == "none":
        return pixels
    if how == "crop":
        return _centre(pixels, size)
    if how == "nearest":
        return F.interpolate(pixels, size, mode="nearest-exact")
    if how == "short side":  # as `Resize(size)` and `CenterCrop(size)` do
        height, width = pixels.shape[-2:]
        factor = max(size[0] / height, size[1] / width)
        larger = (max(size[0], round(height * factor)), max(size[1], round(width * factor)))
        return _centre(_resized(pixels, larger, "bilinear"), size)
    mode = "bicubic" if how == "bicubic" else "bilinear"
    antialias = how != "bilinear, no antialias"
    return F.interpolate(pixels, size, mode=mode, align_corners=False, antialias=antialias)


def _centre(pixels: Tensor, size: Size) -> Tensor:
    cropped: Tensor = vision.center_crop(pixels, list(size))
    return cropped


def _scaled(pixels: Tensor, scale: Scale) -> Tensor:
    if scale == "none":
        return pixels
    axes = (1, 2, 3) if scale.startswith("image") else (2, 3)
    if scale.endswith("range"):
        low, high = pixels.amin(axes, keepdim=True), pixels.amax(axes, keepdim=True)
        return (pixels - low) / (high - low).clamp_min(torch.finfo(pixels.dtype).tiny)
    deviation = pixels.std(axes, keepdim=True).clamp_min(torch.finfo(pixels.dtype).tiny)
    return (pixels - pixels.mean(axes, keepdim=True)) / deviation


def _maps(pixels: Tensor, arrived: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Affine maps of the channels ``(C', C)`` and ``(C',)`` that fit best, those with the fewest numbers first."""
    n_channels, n_arrived = pixels.shape[1], arrived.shape[1]
    x, y = pixels.movedim(1, 0).flatten(1), arrived.movedim(1, 0).flatten(1)
    if n_channels == n_arrived:
        eye = torch.eye(n_channels, dtype=x.dtype)
        yield eye, x.new_zeros(n_channels)
        slope, offset = _line(x.flatten(), y.flatten())
        yield slope * eye, offset.expand(n_channels)
        for order in (list(range(n_channels)), list(range(n_channels))[::-1]):
            lines = [_line(x[source], y[channel]) for channel, source in enumerate(order)]
            yield (
                torch.stack([lines[i][0] * eye[source] for i, source in enumerate(order)]),
                torch.stack([offset for _, offset in lines]),
            )
    design = torch.cat([x, torch.ones_like(x[:1])])
    # The smallest solution where channels go together, as those of grey pictures do.
    solution = torch.linalg.lstsq(design.T, y.T, driver="gelsd").solution.T
    yield solution[:, :-1], solution[:, -1]


def _left_by_any(pixels: Tensor, arrived: Tensor) -> float:
    """What the richest map of `_maps` leaves unexplained: no other one leaves less."""
    *_, (weight, bias) = _maps(pixels, arrived)
    return unexplained(torch.einsum("dc,nchw->ndhw", weight, pixels) + bias[:, None, None], arrived)


def _line(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset of the least-squares line; a flat ``x`` has slope 1."""
    centred = x - x.mean()
    power = centred.square().sum()
    slope = (centred * (y - y.mean())).sum() / power if power > 0 else torch.ones_like(power)
    return slope, y.mean() - slope * x.mean()


@dataclass(frozen=True)
class Both:
    """Two steps, one after the other; None stands for no step."""

    first: Preprocess | None
    then: Preprocess

    def __call__(self, pixels: Tensor) -> Tensor:
        """The model input of ``pixels``."""
        return self.then(pixels if self.first is None else self.first(pixels))
