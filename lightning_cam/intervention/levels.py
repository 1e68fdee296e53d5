"""Properties of a picture as a whole: the levels of one that a probe has, and images brought from one to another.

A single picture says little about its cast, contrast or sharpness: what it shows counts as well. So their levels are
those of classes: medians over images, of properties in which the classes differ. JPEG qualities are read from single
pictures.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..statistics import differ
from .codec import JPEG_CHANNELS, jpeg_quality, reencoded
from .edits import FLOOR, blurred, has_enough_masks, hide_object, mean_of, off_object, spread_of

_MOST_CAST = 0.4  # logarithm of a gain: half as much again of a channel
_LEAST_CAST = 0.002  # half a grey level of a bright picture
_LEAST_BLUR = 0.02  # of the logarithm of the detail
_SIGMAS = (0.0, *(0.3 * 1.45**i for i in range(7)))  # of the Gaussians that are tried, in pixels; 2.8 at most
_QUALITIES = 5  # levels of JPEG quality at most: each costs a pass
_DARKEST = 0.02  # of full brightness
_MOST_CONTRAST = 0.7  # logarithm of a gain: half or double
_LEAST_CONTRAST = 0.02  # of the same
_MOST_SHIFT = 0.3  # of full brightness
_HALVES = 1.6  # standard deviations between the means of the halves of a normal population


@dataclass(frozen=True, eq=False)
class Levels:
    """How the ``N`` images of a probe lie on one property.

    Attributes:
        of: ``(N,)`` level of each image, from 0 on.
        changes: ``(N, n_levels)`` whether bringing an image to a level does anything to it.
        bring: Indices ``(n,)`` of images and a level for each to the images ``(n, C, H, W)`` at their levels.
    """

    of: Tensor
    changes: Tensor
    bring: Callable[[Tensor, Tensor], Tensor]


LevelsOf: TypeAlias = Callable[[Tensor, Tensor, Tensor], Levels]  # images, masks and targets


def cast_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Gains of the channels that give images the colours that those of a class have off the object.

    By the whole image instead, the object's own colours would count, and a fair model would react. A larger gain than
    casts have means another background, and would bleach the object: where masks are known, that is left to its own
    trial; elsewhere the gain is cut, and no larger than classes differ: within a class, objects may.
    """
    colours = (mean_of(images, off_object(masks))[:, :, 0, 0] + _DARKEST).log()
    brightness = colours.mean(1, keepdim=True)
    tint = colours - brightness
    by_brightness, by_tint = _steps(brightness, targets), _steps(tint, targets)  # (N, classes, 1 or C)
    largest = (by_brightness + by_tint).abs().amax(2)
    knows_objects = has_enough_masks(masks)
    is_cast = (largest > _LEAST_CAST) & ((largest <= _MOST_CAST) | (not knows_objects))
    if knows_objects:
        by_brightness, by_tint = _lengthened(by_brightness, brightness, targets), _lengthened(by_tint, tint, targets)
    gains = by_brightness + by_tint
    gains = gains * (_MOST_CAST / gains.abs().amax(2, keepdim=True)).clamp(max=1)

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        return (images[chosen] * gains[chosen, wanted].exp()[:, :, None, None]).clamp(0, 1)

    return Levels(targets, is_cast, bring)


def contrast_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Gains and shifts of all grey values that give images the contrast and brightness that those of a class have.

    Objects and backgrounds have some of their own. What was done to whole pictures, as by haze or another scanner,
    shows in both. A larger shift than that makes is another background, which without masks counts as object as well.
    """
    (grey_off, contrast_off), (grey_on, contrast_on) = (
        _grey_and_contrast(images, side, targets) for side in (off_object(masks), _on_object(masks))
    )
    steps = _shared_steps(contrast_off, contrast_on, targets)
    gains = steps.clamp(-_MOST_CONTRAST, _MOST_CONTRAST).exp()
    shifts = _shared_steps(grey_off, grey_on, targets)
    offsets = _medians(grey_off, targets)[targets] * (1 - gains) + shifts

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        gain, offset = (each[chosen, wanted][:, None, None, None] for each in (gains, offsets))
        return (images[chosen] * gain + offset).clamp(0, 1)

    return Levels(targets, (steps.abs() > _LEAST_CONTRAST) & (shifts.abs() <= _MOST_SHIFT), bring)


def resolution_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Blur that leaves objects of a class as sharp as those of another; no picture can be made sharper.

    By the whole image instead, a blurred background would blur the object as well, and a fair model would react.
    """
    grey, objects = images.mean(1, keepdim=True), _on_object(masks)
    sharpness = torch.stack([_sharpness(blurred(grey, s) if s else grey, objects) for s in _SIGMAS], 1)
    typical = _of_classes(sharpness[:, :1], targets)[:, 0]
    curves = _medians(sharpness - sharpness[:, :1], targets)  # (classes, sigmas), falling from 0
    sigmas = torch.stack([_first_below(curve, typical - own) for curve, own in zip(curves, typical, strict=True)])

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        strengths = sigmas[targets[chosen], wanted]
        brought = images[chosen]
        for sigma in set(strengths.tolist()):
            brought[strengths == sigma] = blurred(brought[strengths == sigma], sigma)
        return brought

    return Levels(targets, sigmas[targets] > 0, bring)


def codec_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """JPEG qualities, few and typical ones; quality can be taken away, not given back.

    Images of other than 1 or 3 channels have none: JPEG has no such pictures.
    """
    read = jpeg_quality(images) if images.shape[1] in JPEG_CHANNELS else [0] * len(images)
    steps = _few(read)
    of = (torch.tensor(read)[:, None] - torch.tensor(steps)).abs().argmin(1)

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        return reencoded(images[chosen], [steps[level] for level in wanted.tolist()])

    return Levels(of, torch.arange(len(steps)) < of[:, None], bring)


def sharpness_differs_off_object(images: Tensor, masks: Tensor, targets: Tensor) -> bool:
    """Whether classes differ in sharpness where their objects, which may be smooth or rough, have no part in it."""
    background = hide_object(images.mean(1, keepdim=True), masks)
    return differ(_sharpness(background, off_object(masks))[:, None], targets)


def _on_object(masks: Tensor) -> Tensor:
    """Where an image is looked at on its object, ``(N, H, W)`` 0 or 1; within the outer ring where no mask is known."""
    return torch.where(masks.any((1, 2))[:, None, None], masks.float(), 1 - off_object(masks))


def _of_classes(values: Tensor, targets: Tensor) -> Tensor:
    """What is typical of a class, ``(classes, P)``: medians of its ``values (N, P)``; of all, if classes are alike."""
    medians = _medians(values, targets)
    return medians if differ(values, targets) else values.median(0).values.expand_as(medians)


def _steps(values: Tensor, targets: Tensor) -> Tensor:
    """From what is typical of the class of each image to what is of each class, ``(N, classes, P)``."""
    typical = _of_classes(values, targets)
    return typical - typical[targets][:, None]


def _shared_steps(outside: Tensor, inside: Tensor, targets: Tensor) -> Tensor:
    """Steps ``(N, classes)`` in a property of objects, as far as what is around them shares it; values ``(N, 1)`` each.

    What is typical of classes off the object is regressed on what is on it. The slope counts in full from three of its
    standard errors on, from two in part; a step is as long as the objects' where a slope of 1 is within two errors.
    """
    off, on = _medians(outside, targets)[:, 0], _of_classes(inside, targets)[:, 0]
    counts = targets.bincount()
    from_mean = on - (counts * on).sum() / counts.sum()
    scale = (counts * from_mean**2).sum().clamp_min(1e-9)
    slope = (counts * from_mean * off).sum() / scale
    deviation = (outside - _medians(outside, targets)[targets]).std()
    error = deviation * (math.pi / 2 / scale).sqrt()  # of normal medians
    sure = (slope / error.clamp_min(1e-9) - 2).clamp(0, 1)
    return (on - on[targets][:, None]) * sure * (slope + 2 * error).clamp(max=1)


def _lengthened(steps: Tensor, values: Tensor, targets: Tensor) -> Tensor:
    """Steps ``(N, classes, P)``, at least as long as those between halves of a class.

    A cue that goes with 7 in 10 images of a class moves medians by a part of itself; then images of one class differ by
    it as well. So where classes surely do, from three to four standard errors, a step is at least `_HALVES` standard
    deviations of the images of a class.
    """
    counts = targets.bincount()
    within = (values - _medians(values, targets)[targets]).T.cov().reshape(values.shape[1], -1)
    lengths = steps.norm(dim=2).clamp_min(1e-9)
    deviations = (steps @ within * steps).sum(2).clamp_min(0).sqrt() / lengths
    errors = deviations * (math.pi / 2 * (1 / counts[targets][:, None] + 1 / counts)).sqrt()  # of normal medians
    sure = (lengths / errors.clamp_min(1e-9) - 3).clamp(0, 1)
    longer: Tensor = 1 + sure * (_HALVES * deviations / lengths - 1).clamp_min(0)
    return steps * longer[:, :, None]


def _medians(values: Tensor, targets: Tensor) -> Tensor:
    """Of each class, ``(classes, P)``; zeros for classes without an image."""
    medians = values.new_zeros(int(targets.max()) + 1, values.shape[1])
    for label in set(targets.tolist()):
        medians[label] = values[targets == label].quantile(0.5, 0)
    return medians


def _grey_and_contrast(images: Tensor, weights: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean grey, and logarithm of how far pixels lie from the colour that is typical of the class, ``(N, 1)`` each.

    Among images as well as within them: plain backgrounds have no contrast but that to one another.
    """
    colours = mean_of(images, weights)
    typical = _medians(colours[:, :, 0, 0], targets)[targets][:, :, None, None]
    distances = mean_of((images - typical) ** 2, weights).mean(1).sqrt()
    return colours.mean(1)[:, :, 0], (distances[:, :, 0] + FLOOR).log()


def _sharpness(grey: Tensor, weights: Tensor) -> Tensor:
    """Logarithm of the finest octave of detail over the fourth, ``(N,)``: how it falls off, not how much there is."""
    bands = grey - blurred(grey, 0.7), blurred(grey, 2.8) - blurred(grey, 5.6)
    finest, fourth = ((spread_of(band, weights)[:, 0, 0, 0] + FLOOR).log() for band in bands)
    return finest - fourth


def _first_below(curve: Tensor, wanted: Tensor) -> Tensor:
    """Standard deviations ``(n,)`` at which a falling ``curve`` over `_SIGMAS` reaches what is wanted, or 0."""
    fallen = np.maximum.accumulate(-curve.double().numpy())
    reached = torch.from_numpy(np.interp(-wanted.double().numpy(), fallen, _SIGMAS)).float()
    return reached.where(wanted < -_LEAST_BLUR, 0.0)


def _few(values: list[int]) -> list[int]:
    """All of the values, or those at evenly spread ranks where there are too many, in order."""
    different = sorted(set(values))
    if len(different) <= _QUALITIES:
        return different
    ranks = (np.arange(_QUALITIES) + 0.5) / _QUALITIES
    return sorted(set(np.quantile(values, ranks, method="inverted_cdf").tolist()))
