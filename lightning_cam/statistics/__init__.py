"""Tests, intervals and gates over the paired effects of probe images.

An effect is one number per image, ``effects (N,)`` in -1..1; ``strata (N,)`` are the images' classes. Every class
counts the same, however many images it has. NaN effects are undefined: they are dropped, and `n_undefined` counts them.
A class that lost some images to NaN is weighted by the share that it kept.
A result that cannot be computed is NaN, which neither rejects nor passes.
"""

from .gates import correlates, has_learned, is_below_chance, tells_apart
from .intervals import (
    NO_SPREAD,
    bca_interval,
    clopper_pearson_upper,
    decision_bounds,
    equivalent,
    paired_interval,
    unpaired_interval,
    wilson_interval,
    wilson_lower,
    with_unseen,
)
from .means import FEWEST, effective_n, n_undefined, rank_correlation, standard_error, stratified_mean
from .significance import check_level, differ, gatekept, holm, joint_p, needed_n, sign_flip_p, surely_below

__all__ = [
    "FEWEST",
    "NO_SPREAD",
    "bca_interval",
    "check_level",
    "clopper_pearson_upper",
    "correlates",
    "decision_bounds",
    "differ",
    "effective_n",
    "equivalent",
    "gatekept",
    "has_learned",
    "holm",
    "is_below_chance",
    "joint_p",
    "n_undefined",
    "needed_n",
    "paired_interval",
    "rank_correlation",
    "sign_flip_p",
    "standard_error",
    "stratified_mean",
    "surely_below",
    "tells_apart",
    "unpaired_interval",
    "wilson_interval",
    "wilson_lower",
    "with_unseen",
]
