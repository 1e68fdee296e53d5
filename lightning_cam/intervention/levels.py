"""Properties of a picture as a whole: which levels of one a probe has, and how an image is brought to another level.

A single picture says little about its cast, contrast or sharpness, because the things in it have colours and detail of
their own. So levels belong to classes. They are medians over the images of a class, of properties in which the classes
differ. JPEG qualities are different: each picture shows its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from ..statistics import differ
from .codec import JPEG_CHANNELS, jpeg_quality, reencoded
from .filters import FLOOR, blurred, by_parts, mean_of, octave, spread_of
from .masks import has_enough_masks, off_object, on_object
from .parts import hide_object

_LEAST_CAST = 0.002  # logarithm of a gain: half a grey level of a bright picture
# Logarithm of a gain, half as much again of a channel. Larger differences are of backgrounds: cut to this length they
# darkened whole pictures, and models react to that whether they use the background or not. Chosen, not measured.
_MOST_CAST = 0.4
_DARKEST = 0.02  # of full brightness, 5 grey levels: it keeps logarithms of black backgrounds small. Not measured.
_LEAST_CONTRAST = 0.02  # logarithm of a gain, 2 %. Chosen, not measured.
_MOST_CONTRAST = 0.7  # logarithm of a gain, half or double. Chosen, not measured.
_MOST_SHIFT = 0.3  # of full brightness: a larger one is of another background. Chosen, not measured.
# Standard errors of a slope: chance exceeds them once in 44 times; without masks steps have their full length one error
# later. None of 38 clean networks gets an alarm with masks that are exact, 1, 2 or 4 pixels too wide.
_SHARED_FROM = 2.0
# Standard errors of a correlation of 0. The largest of three channels exceeds it in 6 of 8 planted probes whose cast
# agrees with 70 % of the labels, and in 11 of 100 probes of clean networks, of which none lost its PASS.
_SURELY_AS_WHOLES = 3.0
_MEDIAN_VARIANCE = math.pi / 2  # of a normal median, in those of a mean: asymptotically
_TINY = 1e-9  # keeps 0 / 0 defined where all images are alike
_LEAST_BLUR = 0.02  # logarithm of a ratio of details, 2 %. Chosen, not measured.
_SIGMAS = (0.0, *(0.3 * 1.45**i for i in range(7)))  # pixels, up to 2.8: each costs a blur of all images. Not measured.
_MOST_QUALITIES = 5  # levels of JPEG quality at most: each costs a pass of all images. Chosen, not measured.


@dataclass(frozen=True, eq=False)
class Levels:
    """How the ``N`` images of a probe lie on one property.

    Attributes:
        of: ``(N,)`` level of each image, from 0 on.
        changes: ``(N, n_levels)`` whether an image changes if it is brought to a level.
        bring: Gives images ``(n, C, H, W)`` at other levels, from indices ``(n,)`` and a level for each.
    """

    of: Tensor
    changes: Tensor
    bring: Callable[[Tensor, Tensor], Tensor]


LevelsOf: TypeAlias = Callable[[Tensor, Tensor, Tensor], Levels]  # images, masks and targets


def cast_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Levels of the colour cast: a gain for each channel brings an image to the colours of a class off the object.

    Colours of the whole image would include the object's own, and a fair model would react to a change of those. A gain
    above `_MOST_CAST` is no cast but another background, and it would bleach the object. Where masks are known, such a
    gain is left to the background's own trial. Elsewhere it is cut.

    Where pictures of a class have unlike casts, classes need not surely differ: a model that learned where the cast
    goes with the class would not be asked in a probe where it seldom does, and would pass.
    """
    brightness, tint = _brightness_and_tint(images, masks, off_object)
    typical = of_classes(tint, targets) if cast_is_sure(images, masks, targets) else _medians(tint, targets)
    # Apart, because pictures of a class may differ widely in brightness: a tint would drown in that spread.
    gains = _steps(brightness, targets) + (typical - typical[targets][:, None])  # (N, classes, C)
    largest = gains.abs().amax(2)
    is_cast = (largest > _LEAST_CAST) & ((largest <= _MOST_CAST) | (not has_enough_masks(masks)))
    gains = gains * (_MOST_CAST / gains.abs().amax(2, keepdim=True)).clamp(max=1)

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        return (images[chosen] * gains[chosen, wanted].exp()[:, :, None, None]).clamp(0, 1)

    return Levels(targets, is_cast, bring)


def cast_is_sure(images: Tensor, masks: Tensor, targets: Tensor) -> bool:
    """Whether classes surely differ in their tint, or no picture shows a cast of its own on and off its object."""
    tint = _brightness_and_tint(images, masks, off_object)[1]
    if not has_enough_masks(masks) or differ(tint, targets):
        return True
    known = masks.any((1, 2))
    of_objects = _brightness_and_tint(images, masks, on_object)[1]
    return not _vary_as_wholes(tint[known], of_objects[known], targets[known])


def contrast_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Levels of contrast: a gain and a shift of all grey values bring an image to contrast and brightness of a class.

    Objects and backgrounds have a contrast of their own. Haze or another scanner changes whole pictures, so it shows in
    both. A shift above `_MOST_SHIFT` is another background, and is not applied. With masks the steps are as long as the
    surroundings allow: shorter ones would pass a model that relies on haze which the probe does not surely show.
    """
    (grey_off, contrast_off), (grey_on, contrast_on) = (
        _grey_and_contrast(images, masks, targets, place) for place in (off_object, on_object)
    )
    is_sure = not has_enough_masks(masks)
    steps = shared_steps(contrast_off, contrast_on, targets, is_sure=is_sure)
    gains = steps.clamp(-_MOST_CONTRAST, _MOST_CONTRAST).exp()
    shifts = shared_steps(grey_off, grey_on, targets, is_sure=True)
    offsets = _medians(grey_off, targets)[targets] * (1 - gains) + shifts

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        gain, offset = (each[chosen, wanted][:, None, None, None] for each in (gains, offsets))
        return (images[chosen] * gain + offset).clamp(0, 1)

    return Levels(targets, (steps.abs() > _LEAST_CONTRAST) & (shifts.abs() <= _MOST_SHIFT), bring)


def contrast_is_shared(images: Tensor, masks: Tensor, targets: Tensor) -> bool:
    """Whether objects and their surroundings surely differ alike in contrast, or there is no telling them apart."""
    if not has_enough_masks(masks):
        return True
    (_, outside), (_, inside) = (_grey_and_contrast(images, masks, targets, place) for place in (off_object, on_object))
    _, slope, error = _regressed(outside, inside, targets)
    return slope > _SHARED_FROM * error


def resolution_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Levels of sharpness: a blur leaves the objects of a class as sharp as those of another class.

    No picture can be made sharper. Sharpness of the whole image would include the background's: a blurred background
    would blur the object as well, and a fair model would react.
    """
    sharpness = by_parts(_sharpness_when_blurred, images, masks)
    typical = of_classes(sharpness[:, :1], targets)[:, 0]
    curves = _medians(sharpness - sharpness[:, :1], targets)  # (classes, sigmas), falling from 0
    sigmas = torch.stack([_first_below(curve, typical - own) for curve, own in zip(curves, typical, strict=True)])

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        strengths = sigmas[targets[chosen], wanted]
        pictures = images[chosen]
        for sigma in set(strengths.tolist()):
            pictures[strengths == sigma] = blurred(pictures[strengths == sigma], sigma)
        return pictures

    return Levels(targets, sigmas[targets] > 0, bring)


def codec_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Levels of JPEG quality, a few typical ones. Quality can be taken away from a picture, not given back.

    Images that have neither 1 nor 3 channels all have the same level, because JPEG has no such pictures.
    """
    qualities = jpeg_quality(images) if images.shape[1] in JPEG_CHANNELS else [0] * len(images)
    typical = _few(qualities)
    of = (torch.tensor(qualities)[:, None] - torch.tensor(typical)).abs().argmin(1)

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        return reencoded(images[chosen], [typical[level] for level in wanted.tolist()])

    return Levels(of, torch.arange(len(typical)) < of[:, None], bring)


def sharpness_differs_off_object(images: Tensor, masks: Tensor, targets: Tensor) -> bool:
    """Whether classes differ in the sharpness of their backgrounds. Objects may be smooth or rough by themselves."""

    def of_backgrounds(some: Tensor, their_masks: Tensor) -> Tensor:
        return _sharpness(hide_object(some.mean(1, keepdim=True), their_masks), off_object(their_masks))

    return differ(by_parts(of_backgrounds, images, masks)[:, None], targets)


def of_classes(values: Tensor, targets: Tensor) -> Tensor:
    """Medians of each class, ``(classes, P)``; those of all images where classes do not surely differ."""
    medians = _medians(values, targets)
    return medians if differ(values, targets) else values.median(0).values.expand_as(medians)


def _steps(values: Tensor, targets: Tensor) -> Tensor:
    """Steps from the typical values of each image's class to those of each class, ``(N, classes, P)``."""
    typical = of_classes(values, targets)
    return typical - typical[targets][:, None]


def class_steps(values: Tensor, targets: Tensor, n_classes: int, spread: float) -> Tensor:
    """Steps ``(classes, classes)`` between typical values of objects ``(n, 1)`` where they are unusually long; else 0.

    Objects differ by class by themselves. If the standard deviation over classes is ``spread``, the largest step
    between ``k`` of them is ``2 z spread`` on average, ``z`` of the upper ``0.625 / (k + 0.25)`` (Blom 1958).

    Args:
        values: ``(n, 1)``.
        targets: ``(n,)``; a class without an image is no step away from any.
        n_classes: How many classes there are.
        spread: That classes may have by themselves.
    """
    present = targets.bincount().nonzero()[:, 0]
    typical = torch.full((n_classes,), torch.nan)
    typical[present] = of_classes(values, targets)[present, 0]
    steps = typical - typical[:, None]
    return steps.where(steps.abs() > 2 * spread * float(stats.norm.isf(0.625 / (len(present) + 0.25))), 0.0)


def shared_steps(outside: Tensor, inside: Tensor, targets: Tensor, *, is_sure: bool) -> Tensor:
    """Steps ``(N, classes)`` of a property between objects, as far as their surroundings may take the same steps.

    Medians of classes off the object are regressed on those on it, each class weighted by its ``n`` images. With ``d``
    for the distance of a class from the mean, the slope is ``sum n d off / sum n d^2``. A normal median of ``n`` images
    has the variance ``pi / 2 * s^2 / n``, so the slope has the variance ``pi / 2 * s^2 / sum n d^2``. The slope is
    1 where pictures were changed as a whole, and 0 where objects differ by themselves. A step has the objects' length
    if 1 is at most two errors above the slope, and is shorter otherwise.

    Args:
        outside: ``(N, 1)`` values off the object.
        inside: ``(N, 1)`` values on the object.
        targets: ``(N,)``.
        is_sure: Whether only a slope counts that is `_SHARED_FROM` errors above 0.
    """
    on, slope, error = _regressed(outside, inside, targets)
    sureness = (slope / max(error, _TINY) - _SHARED_FROM) if is_sure else 1.0
    return (on - on[targets][:, None]) * min(max(sureness, 0.0), 1.0) * min(max(slope + 2 * error, 0.0), 1.0)


def _regressed(outside: Tensor, inside: Tensor, targets: Tensor) -> tuple[Tensor, float, float]:
    """Medians ``(classes,)`` on the object, the slope of those off it against them, and its error."""
    off, on = _medians(outside, targets)[:, 0], of_classes(inside, targets)[:, 0]
    counts = targets.bincount()
    distances = on - (counts * on).sum() / counts.sum()
    scale = (counts * distances**2).sum().clamp_min(_TINY)
    deviation = (outside - _medians(outside, targets)[targets]).std()
    return on, float((counts * distances * off).sum() / scale), float(deviation * (_MEDIAN_VARIANCE / scale).sqrt())


def _vary_as_wholes(outside: Tensor, inside: Tensor, targets: Tensor) -> bool:
    """Whether, within classes, a property off the object surely goes with that on it, ``(n, P)`` each."""
    means = [values.new_zeros(int(targets.max()) + 1, values.shape[1]) for values in (outside, inside)]
    counts = targets.bincount(minlength=len(means[0])).clamp_min(1)[:, None]
    off, on = (
        values - (mean.index_add(0, targets, values) / counts)[targets]
        for values, mean in zip((outside, inside), means, strict=True)
    )
    correlation = (off * on).sum(0) / (off.norm(dim=0) * on.norm(dim=0)).clamp_min(_TINY)
    return bool(correlation.max() * math.sqrt(len(targets)) > _SURELY_AS_WHOLES)


def _medians(values: Tensor, targets: Tensor) -> Tensor:
    """Medians of each class, ``(classes, P)``; zeros for classes without an image."""
    medians = values.new_zeros(int(targets.max()) + 1, values.shape[1])
    for label in set(targets.tolist()):
        medians[label] = values[targets == label].quantile(0.5, 0)
    return medians


def _brightness_and_tint(images: Tensor, masks: Tensor, place: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Logarithms of the mean colour: their mean ``(N, 1)``, and what is left ``(N, C)``."""
    means = by_parts(lambda some, theirs: mean_of(some, place(theirs)), images, masks)[:, :, 0, 0]
    colours = (means + _DARKEST).log()
    brightness = colours.mean(1, keepdim=True)
    return brightness, colours - brightness


def _grey_and_contrast(
    images: Tensor, masks: Tensor, targets: Tensor, place: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean grey, and the logarithm of the contrast, ``(N, 1)`` each.

    Contrast is the distance of pixels from the typical colour of the class rather than from the image's own mean.
    Plain backgrounds have no contrast within, but they differ from one another, and that counts as well.
    """
    colours = by_parts(lambda some, theirs: mean_of(some, place(theirs)), images, masks)
    typical = _medians(colours[:, :, 0, 0], targets)[targets][:, :, None, None]
    # One by one: all images at once would be held twice.
    each = zip(*(torch.split(rows, 1) for rows in (images, typical, masks)), strict=True)
    distances = torch.cat([mean_of((image - colour) ** 2, place(mask)) for image, colour, mask in each])
    distances = distances.mean(1).sqrt()
    return colours.mean(1)[:, :, 0], (distances[:, :, 0] + FLOOR).log()


def _sharpness_when_blurred(images: Tensor, masks: Tensor) -> Tensor:
    """Sharpness of the objects under blurs by `_SIGMAS`, ``(N, sigmas)``."""
    grey, objects = images.mean(1, keepdim=True), on_object(masks)
    return torch.stack([_sharpness(blurred(grey, s) if s else grey, objects) for s in _SIGMAS], 1)


def _sharpness(grey: Tensor, weights: Tensor) -> Tensor:
    """Logarithm of the finest octave of detail over the fourth, ``(N,)``.

    The ratio tells how detail falls off. The amount of detail would tell contrast, and how rough objects are.
    """
    finest, fourth = ((spread_of(octave(grey, n), weights)[:, 0, 0, 0] + FLOOR).log() for n in (0, 3))
    return finest - fourth


def _first_below(curve: Tensor, wanted: Tensor) -> Tensor:
    """Standard deviations ``(n,)`` at which a falling ``curve`` over `_SIGMAS` is down to the wanted values, or 0."""
    losses = np.maximum.accumulate(-curve.double().numpy())  # noise may let a curve rise, and `interp` needs order
    sigmas = torch.from_numpy(np.interp(-wanted.double().numpy(), losses, _SIGMAS)).float()
    return sigmas.where(wanted < -_LEAST_BLUR, 0.0)


def _few(values: list[int]) -> list[int]:
    """All of the values, or those at evenly spread ranks where there are too many, in order."""
    different = sorted(set(values))
    if len(different) <= _MOST_QUALITIES:
        return different
    ranks = (np.arange(_MOST_QUALITIES) + 0.5) / _MOST_QUALITIES
    return sorted(set(np.quantile(values, ranks, method="inverted_cdf").tolist()))
