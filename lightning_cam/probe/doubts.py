"""Masks that cannot be right: inverted, of everything, of nothing, of other pictures. One sentence for each doubt."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..maskers.fitting import fit_of
from ..notices import warn
from ..spatial import border_ring
from ..statistics import FEWEST
from .checks import GUESS, LENT, plain_tensors
from .masking import ENOUGH_MASKS

_FOUND_HERE = ("border", GUESS, LENT, "none")  # not the user's, and checked where they were found
_SEEN = "reviewed"  # a person looked at these
_SELF_EVIDENT = "alpha"  # masks of their own pictures, whose hidden colours may have no edge
# Of the outer ring less that of the middle: over 20 sets of objects, right masks have 0.04 at most. Of inverted ones,
# 91 % or more have 0.3, or cover all of the ring.
_MORE_OUTSIDE, _ALL_OUTSIDE = 0.3, 0.95
_EVERYTHING = 0.99  # of an image
# Of an image: a mask that is larger leaves too little background to speak for it. Of 13 pets one fills as much.
_MOST = 0.75
_NOTHING = 0.002  # of an image, 8 pixels of 64 x 64: no object that a person or a network could tell
_MIDDLE = 0.3  # of a side, cut away all around


@dataclass(frozen=True)
class Doubt:
    """What is wrong with masks.

    Attributes:
        text: One sentence: what was found, and what to do.
        rows: ``(N,)`` bool, the images whose masks say nothing.
        is_for_sure: Whether it is worth a warning at once: some pictures may be without an object.
    """

    text: str
    rows: Tensor
    is_for_sure: bool = True


@plain_tensors()
def doubts(images: Tensor, masks: Tensor | None, sources: Sequence[str]) -> tuple[Doubt, ...]:
    """What cannot be right about a user's masks ``(N, H, W)`` of ``images``, in sentences; empty where all is well.

    A tenth of the masks may be odd, as a tenth may be missing: they cannot lift a mean over the probe above the margin.
    """
    users = torch.tensor([source not in (*_FOUND_HERE, _SEEN) for source in sources])
    if masks is None or not users.any() or len(masks) < FEWEST:  # nothing is judged of so few
        return ()
    missing = ~masks.flatten(1).any(1)
    if missing.sum() > (1 - ENOUGH_MASKS) * len(masks):
        text = (
            f"{int((~missing).sum())} of {len(masks)} pictures have a mask, and nobody knows where the objects of the "
            f"others are; give masks for {ENOUGH_MASKS:.0%} or more"
        )
        return (Doubt(text, missing, is_for_sure=bool(missing.float().mean() > 0.5)),)
    odd = _odd(masks, users)
    if torch.stack([doubt.rows for doubt in odd]).any(0).sum() > (1 - ENOUGH_MASKS) * users.sum():
        return tuple(doubt for doubt in odd if doubt.rows.any())
    if masks.ndim != 3:  # what follows compares outlines of pictures
        return ()
    return _unlike(images, masks, users & torch.tensor([source != _SELF_EVIDENT for source in sources]))


def _odd(masks: Tensor, users: Tensor) -> list[Doubt]:
    """What shows on single masks; the rows of a doubt are in no other."""
    of, shares = f"of {int(users.sum())} masks", masks.flatten(1).float().mean(1)
    everything, nothing = users & (shares >= _EVERYTHING), users & (shares < _NOTHING)
    inverted = users & _look_inverted(masks) & ~everything
    most = users & (shares > _MOST) & ~everything & ~inverted
    return [
        Doubt(
            f"{int(everything.sum())} {of} cover the whole picture, so there is no background to measure; they must "
            "cover the object alone",
            everything,
        ),
        Doubt(
            f"{int(inverted.sum())} {of} cover the frame of the picture and not its middle, as if inverted; if so, "
            "pass ~mask for each",
            inverted,
        ),
        Doubt(
            f"{int(most.sum())} {of} cover more than three quarters of the picture, which leaves little background to "
            "measure; masks must cover the object alone",
            most,
        ),
        Doubt(
            f"{int(nothing.sum())} {of} cover next to nothing of the picture; masks must be True, or white, on all of "
            "the object",
            nothing,
        ),
    ]


def _unlike(images: Tensor, masks: Tensor, users: Tensor) -> tuple[Doubt, ...]:
    """Masks that have nothing to do with their pictures."""
    fit = fit_of(images[users], masks[users])
    if fit is None:
        return ()
    check = "check that each mask is of its own picture, in the same order, of the same crop"
    if fit.mirrored:
        return (
            Doubt(f"the masks fit better when they are mirrored {fit.mirrored}; mirror them as the pictures", users),
        )
    if not fit.belongs and (masks[users] == masks[users][:1]).all():
        text = "all masks are the same, and the pictures show no outline there; each picture needs a mask of its object"
        return (Doubt(text, users),)
    if not fit.belongs:
        return (Doubt(f"the masks fit their pictures no better than other pictures; {check}", users),)
    rows = users.clone()
    rows[users] = fit.strays
    n = int(rows.sum())
    if n <= (1 - ENOUGH_MASKS) * int(users.sum()):
        return ()
    text = f"at least {n} of {int(users.sum())} masks fit their pictures no better than other masks do; {check}"
    return (Doubt(text, rows),)


def warn_of(found: Sequence[Doubt], sources: Sequence[str], *, are_expected: bool) -> None:
    """Warns of each doubt; and where no image has a mask of the user's, although some were given."""
    for doubt in found:
        if doubt.is_for_sure:
            warn(doubt.text)
    if are_expected and all(source in _FOUND_HERE for source in sources):
        warn(
            "no picture of the probe has a mask, although masks or a segmenter were given; "
            "masks must be True, or white, on the object"
        )


def _look_inverted(masks: Tensor) -> Tensor:
    """Whether masks cover the frame and not the middle; of a volume, its slices together."""
    masks = masks if masks.ndim == 3 else masks.any(1)
    height, width = masks.shape[1:]
    ring = border_ring((height, width)) > 0.5
    middle = masks[:, int(_MIDDLE * height) : -int(_MIDDLE * height) or None]
    middle = middle[:, :, int(_MIDDLE * width) : -int(_MIDDLE * width) or None]
    frame = masks[:, ring].float().mean(1)
    return (frame - middle.float().mean((1, 2)) > _MORE_OUTSIDE) | (frame >= _ALL_OUTSIDE)
