"""The style of whole pictures: what a camera, a scanner or a program leaves in all of a picture, object included.

Read are how far colour channels and every other row or column are shifted, how saturated colours are, how much noise
there is, and which patterns lie over all. Each is brought from class to class where classes surely differ in it, all in
one edit.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.jpeg import middle_start
from ..statistics import differ
from .filters import FLOOR, blurred, by_parts, mean_of
from .known import Known
from .levels import Levels, of_classes, shared_steps
from .masks import off_object, on_object
from .parts import hide_object
from .patterns import patterns_of, with_patterns

_LAGS = (0, 1, -1, 2, -2, 3, -3)  # pixels; the nearest first, so that a flat picture has none. Chosen, not measured.
_CROP = 128  # side in pixels of the piece in which shifts are read: the whole picture takes longer
# On 64 planted probes whose classes have one style, with photographs, plain colours and stamps, no median of a class
# was shifted by a pixel, no class had another saturation beyond doubt, and none had noise on objects and off. With a
# style of each class, rows and channels were 2 pixels apart, saturation 0.6 to 0.9, and noise of 14/255 read as 14.1.
_LEAST_SHIFT = 1.0  # pixel
_LEAST_GAIN, _MOST_GAIN = 0.1, 1.4  # logarithms of a gain of saturation, 10 % to four times
_LEAST_NOISE = 2 / 255
_QUIET = 0.3  # quantile of the finest detail, which edges leave alone as long as they fill less than the rest
_QUIET_OF_NOISE = 0.385  # that quantile of the absolute value of a standard normal
_ALSO_ON_OBJECTS = 0.5  # of the noise of backgrounds: what is in the whole picture is on objects as well
_LEAST_SIDE = 4  # pixels: a block beside another
_SMOOTH = 1.5  # pixels, standard deviation of a blur that leaves a fifth of the noise
_STRONG = 0.9  # quantile of the steps between pixels: stronger ones count as this one, else a small stamp outweighs all


@dataclass(frozen=True, eq=False)
class _Steps:
    """What brings an image to the style of each class.

    Attributes:
        shifts: ``(N, classes, 6)`` whole pixels: two channels along rows and columns, every other row and column.
        gains: ``(N, classes)`` logarithm of the gain of saturation.
        noise: ``(N, classes)`` standard deviation of the noise to add; noise cannot be taken away.
        patterns: ``(classes, H, W // 2 + 1)`` as `patterns_of` finds them.
    """

    shifts: Tensor
    gains: Tensor
    noise: Tensor
    patterns: Tensor


def style_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Levels of style, one for each class. Classes that do not differ have the same style, and nothing is changed."""
    steps = _steps_of(images, masks, targets)
    patterned = (steps.patterns[targets][:, None] != steps.patterns).any((2, 3)) if steps.patterns.any() else False
    changes = steps.shifts.any(2) | (steps.gains != 0) | (steps.noise > 0) | patterned

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        pictures = images[chosen]
        for at, (row, level) in enumerate(zip(chosen.tolist(), wanted.tolist(), strict=True)):
            pictures[at] = _shifted(pictures[at], steps.shifts[row, level].tolist())
        gains, noise = (each[chosen, wanted][:, None, None, None] for each in (steps.gains, steps.noise))
        grey = pictures.mean(1, keepdim=True)
        grain = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
        pictures = grey + (pictures - grey) * gains.exp() + grain * noise
        if steps.patterns.any():
            pictures = with_patterns(pictures, steps.patterns[wanted])
        return pictures.clamp(0, 1)

    return Levels(targets, changes, bring)


def style_differs_off_object(images: Tensor, masks: Tensor, targets: Tensor) -> bool:
    """Whether the classes' backgrounds differ in style by themselves. All but shifts is read there anyway."""
    steps = _steps_of(images, masks, targets)
    if bool((steps.gains != 0).any() or (steps.noise > 0).any() or steps.patterns.any()):
        return True
    behind = by_parts(lambda some, theirs: _shifts_of(hide_object(some, theirs)), images, masks)
    return bool(_shift_steps(behind, targets).any())


def _read(images: Tensor, masks: Tensor, targets: Tensor) -> _Steps:
    read = by_parts(_shifts_of, images)
    shifts, patterns = _shift_steps(read, targets), patterns_of(images, masks, targets)
    if images.shape[1] != 3 or len(set(targets.tolist())) < 2:
        return _Steps(shifts, torch.zeros(shifts.shape[:2]), torch.zeros(shifts.shape[:2]), patterns)
    if shifts.any():  # a shift makes edges coloured and rough, which is neither saturation nor noise
        own = of_classes(read, targets).round()[targets]
        images = torch.stack([_shifted(one, (-by).tolist()) for one, by in zip(images, own, strict=True)])
    (colour_off, colour_on), (noise_off, noise_on) = (
        [by_parts(read_off, images, place(masks)) for place in (off_object, on_object)]
        for read_off in (saturation, _noise)
    )
    colour = _sure_steps(colour_off, colour_on, targets)
    return _Steps(
        shifts,
        colour.clamp(-_MOST_GAIN, _MOST_GAIN).where(colour.abs() > _LEAST_GAIN, 0.0),
        _noise_steps(noise_off, noise_on, targets),
        patterns,
    )


def _noise_steps(outside: Tensor, inside: Tensor, targets: Tensor) -> Tensor:
    """Standard deviation ``(N, classes)`` of the noise to add, where classes that have it have it on objects as well.

    Variances of noise add up. Noise cannot be taken away.
    """
    noise, on_objects = of_classes(outside, targets)[:, 0], of_classes(inside, targets)[:, 0]
    noise = noise.where(on_objects >= _ALSO_ON_OBJECTS * noise, 0.0)
    steps = (noise**2 - noise[targets][:, None] ** 2).clamp_min(0).sqrt()
    return steps.where(steps > _LEAST_NOISE, 0.0)


def _sure_steps(outside: Tensor, inside: Tensor, targets: Tensor) -> Tensor:
    """The steps that objects and backgrounds share, where both surely differ by class: by chance one may."""
    steps = shared_steps(outside, inside, targets, is_sure=True)
    return steps if differ(outside, targets) else torch.zeros_like(steps)


def _shift_steps(shifts: Tensor, targets: Tensor) -> Tensor:
    typical = of_classes(shifts, targets)
    steps = (typical - typical[targets][:, None]).round()
    return steps.where(steps.abs() >= _LEAST_SHIFT, 0.0)


def _shifts_of(images: Tensor) -> Tensor:
    """How far the first and last channel lie from the middle one, and even from odd rows and columns, ``(N, 6)``."""
    height, width = (min(side, _CROP) for side in images.shape[2:])
    top, left = (middle_start(side, _CROP) for side in images.shape[2:])
    piece = images[:, :, top : top + height, left : left + width]
    grey = piece.mean(1)
    rows, columns = ((grey[:, :-1:2], grey[:, 1::2]), (grey[:, :, :-1:2], grey[:, :, 1::2]))
    pairs = [(rows, 2), (columns, 1)]
    if images.shape[1] == 3:
        red, green, blue = piece.unbind(1)
        pairs += [((red, green), 2), ((red, green), 1), ((blue, green), 2), ((blue, green), 1)]
    lags = [_lag(*pair, dim) for pair, dim in pairs]
    return torch.stack(lags + [torch.zeros_like(lags[0])] * (6 - len(lags)), 1)


def _lag(one: Tensor, other: Tensor, dim: int) -> Tensor:
    """By how many pixels ``one (N, h, w)`` is shifted against the other, by the correlation of their steps."""
    if min(one.shape[1:]) < 2 * len(_LAGS) or one.shape != other.shape:
        return one.new_zeros(len(one))
    one, other = (_bounded(each.diff(dim=dim)) for each in (one, other))
    most = max(_LAGS)
    length = one.shape[dim] - 2 * most
    middle = other.narrow(dim, most, length)
    likeness = []
    for lag in _LAGS:
        moved = one.narrow(dim, most + lag, length)
        likeness.append((moved * middle).sum((1, 2)) / (moved.square().sum((1, 2)).sqrt() + FLOOR))
    return torch.tensor(_LAGS, dtype=one.dtype)[torch.stack(likeness).argmax(0)]


def _bounded(steps: Tensor) -> Tensor:
    """Steps ``(N, h, w)``, the strongest of each picture no stronger than their `_STRONG` quantile."""
    most = steps.abs().flatten(1).quantile(_STRONG, 1)[:, None, None]
    return steps.clamp(-most, most)


def saturation(images: Tensor, weights: Tensor) -> Tensor:
    """Logarithm of the distance of the channels over the brightest, ``(N, 1)``; noise has colours, so without it."""
    smooth = blurred(images, _SMOOTH)
    brightest = smooth.amax(1, keepdim=True)
    chroma = mean_of(brightest - smooth.amin(1, keepdim=True), weights)[:, :, 0, 0]
    return (chroma + FLOOR).log() - (mean_of(brightest, weights)[:, :, 0, 0] + FLOOR).log()


def _noise(images: Tensor, weights: Tensor) -> Tensor:
    """Standard deviation of white noise in each channel, ``(N, 1)``.

    Diagonal detail of pixels (Donoho & Johnstone 1994), less that of blocks of two: noise is halved in these, while
    edges and textures go on. Low quantiles leave edges out.
    """
    grey = images.mean(1)
    if min(grey.shape[1:]) < _LEAST_SIDE:
        return grey.new_zeros(len(grey), 1)
    blocks, whole = F.avg_pool2d(grey[:, None], 2, 1)[:, 0], -F.max_pool2d(-weights[:, None], 2, 1)[:, 0]
    fine, coarse = _diagonal(grey, weights, 1), _diagonal(blocks, whole, 2)
    # Of a variance of 1, blocks keep a quarter; the mean of the channels has a third of a channel's.
    return ((fine**2 - coarse**2).clamp_min(0) / (1 - 1 / 4) * images.shape[1]).sqrt()[:, None]


def _diagonal(grey: Tensor, weights: Tensor, step: int) -> Tensor:
    """A low quantile of diagonal detail, as the standard deviation of such noise, ``(N,)``; 0 where nothing is read."""

    def corners(values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        upper, lower = values[:, :-step], values[:, step:]
        return upper[:, :, :-step], upper[:, :, step:], lower[:, :, :-step], lower[:, :, step:]

    one, right, below, both = corners(grey)
    inside = torch.stack(corners(weights)).amin(0) > 0
    detail = ((one - right - below + both).abs() / 2).where(inside, torch.nan).flatten(1)
    return detail.nanquantile(_QUIET, 1).nan_to_num() / _QUIET_OF_NOISE


def _shifted(picture: Tensor, shifts: list[float]) -> Tensor:
    """A picture with channels, rows and columns moved by the shifts of `_shifts_of`; the outermost pixels repeated."""
    rows, columns, *channels = map(int, shifts)
    picture = picture.clone()
    picture[:, ::2] = _moved(picture[:, ::2], rows, 2)
    picture[:, :, ::2] = _moved(picture[:, :, ::2], columns, 1)
    for index, (across, down) in zip((0, len(picture) - 1), (channels[:2], channels[2:]), strict=True):
        picture[index] = _moved(_moved(picture[index], across, 1), down, 0)
    return picture


def _moved(values: Tensor, by: int, dim: int) -> Tensor:
    places = (torch.arange(values.shape[dim]) - by).clamp(0, values.shape[dim] - 1)
    return values.index_select(dim, places)


_steps_of: Known[_Steps] = Known(_read)
