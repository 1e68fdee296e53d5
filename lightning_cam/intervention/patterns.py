"""Periodic patterns that lie over whole pictures: moire of a screen, banding of a scanner, flicker of a lamp.

Such a pattern is a peak in the spectrum. It is looked for on objects and off them: where classes differ in it on both,
it is no fence behind the object, and no stripe of a fur.
"""

import math

import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from .filters import by_parts
from .parts import hide_background, hide_object

# Frequencies at which classes differ both on and off the object, as below: 14 with a faint grating, none on 68 planted
# probes without one, whose backgrounds were photographs, textures, stamps, blurred or noisy.
_ALPHA = 0.01  # of the test at any frequency, after Bonferroni; as in `statistics.differ`
_LEAST_OFF, _LEAST_ON = math.log(2), 0.4  # of the amplitude's logarithm. An object shows a part of the pattern only
_NEAR = 3  # frequencies on either side, above whose mean a peak stands out. Chosen, not measured.
_FLOOR = 1e-3  # of amplitude: keeps the logarithm finite
_FEWEST = 4  # images of a class: with fewer, a spread says nothing
# Pixels: a spectrum of a larger picture has too many frequencies to be kept for a probe. Chosen, not measured.
_LEAST_SIDE, _MOST_SIDE = 16, 512


def patterns_of(images: Tensor, masks: Tensor, targets: Tensor) -> Tensor:
    """How strong a pattern is in each class, ``(classes, H, W // 2 + 1)``: logarithms of amplitude, 0 where none is."""
    counts, (height, width) = targets.bincount(), images.shape[2:]
    none = torch.zeros(len(counts), height, width // 2 + 1)
    has_sides = min(height, width) >= _LEAST_SIDE and max(height, width) <= _MOST_SIDE
    has_classes = bool((counts > 0).sum() > 1) and int(counts[counts > 0].min()) >= _FEWEST
    if not (has_sides and has_classes and bool(masks.any((1, 2)).all())):
        return none
    off = by_parts(lambda some, theirs: _peaks(hide_object(some, theirs)), images, masks)
    on = by_parts(lambda some, theirs: _peaks(hide_background(some, theirs)), images, masks)
    are_patterns = _differ(off, targets, _LEAST_OFF) & _differ(on, targets, _LEAST_ON)
    return _means(by_parts(_peaks, images), targets).where(are_patterns, 0.0) if are_patterns.any() else none


def with_patterns(pictures: Tensor, patterns: Tensor) -> Tensor:
    """Pictures ``(n, C, H, W)`` whose amplitudes are as strong as patterns ``(n, H, W // 2 + 1)`` say, where not 0."""
    gains = (patterns - _peaks(pictures)).where(patterns != 0, 0.0)
    brought: Tensor = torch.fft.irfft2(torch.fft.rfft2(pictures) * gains.exp()[:, None], s=pictures.shape[2:])
    return brought


def _peaks(images: Tensor) -> Tensor:
    """Logarithms of amplitudes above those of near frequencies, ``(N, H, W // 2 + 1)``."""
    grey = images.mean(1)
    amplitudes = (torch.fft.rfft2(grey - grey.mean((1, 2), keepdim=True)).abs() + _FLOOR).log()
    around = F.pad(amplitudes[:, None], (_NEAR, _NEAR, _NEAR, _NEAR), mode="reflect")
    peaks: Tensor = amplitudes - F.avg_pool2d(around, 2 * _NEAR + 1, 1)[:, 0]
    return peaks


def _differ(peaks: Tensor, targets: Tensor, least: float) -> Tensor:
    """At which frequencies classes surely differ by so much, bool: analysis of variance of each (Fisher 1925)."""
    means, counts = _means(peaks, targets), targets.bincount()
    n_classes = int((counts > 0).sum())
    freedom = len(targets) - n_classes
    between = (counts[:, None, None] * (means - peaks.mean(0)) ** 2).sum(0) / (n_classes - 1)
    within = ((peaks - means[targets]) ** 2).sum(0) / freedom
    limit = float(stats.f.isf(_ALPHA / between.numel(), n_classes - 1, freedom))
    present = means[counts > 0]
    return (between > limit * within) & (present.amax(0) - present.amin(0) > least)


def _means(values: Tensor, targets: Tensor) -> Tensor:
    """Means of each class; zeros for classes without an image."""
    counts = targets.bincount().clamp_min(1)
    return torch.zeros(len(counts), *values.shape[1:]).index_add_(0, targets, values) / counts[:, None, None]
