"""Masks that are surely not what was meant: inverted, of everything, or of nothing. One sentence for each."""

from collections.abc import Sequence

from torch import Tensor

from ..notices import warn
from ..spatial import border_ring
from .checks import GUESS

_FOUND_HERE = ("border", GUESS, "none")  # not the user's, and checked where they were found
# Of the outer ring and of the middle: objects fill the frame, but hardly all of it around something else.
_ALONG_THE_FRAME, _IN_THE_MIDDLE = 0.95, 0.5
_EVERYTHING = 0.99  # of an image
_MIDDLE = 0.3  # of a side, cut away all around


def warn_of_wrong_masks(masks: Tensor, sources: Sequence[str]) -> None:
    """Warns where most of a user's masks ``(N, H, W)`` are inverted or of everything, or all of them empty.

    Args:
        masks: Of a probe for which the user gave masks.
        sources: Where each came from.
    """
    rows = [row for row, source in enumerate(sources) if source not in _FOUND_HERE]
    given = masks[rows]
    if len(given) == 0:
        warn(
            "no picture of the probe has a mask, although masks or a segmenter were given; "
            "masks must be True, or white, on the object"
        )
        return
    of = f"of {len(given)} masks"
    everything = given.float().mean((1, 2)) >= _EVERYTHING
    if (n := int(everything.sum())) > len(given) / 2:
        warn(
            f"{n} {of} cover the whole picture, so there is no background to measure; they must cover the object alone"
        )
    if (n := int((_look_inverted(given) & ~everything).sum())) > len(given) / 2:
        warn(f"{n} {of} cover the frame of the picture and not its middle, as if inverted; if so, pass ~masks")


def _look_inverted(masks: Tensor) -> Tensor:
    height, width = masks.shape[1:]
    with masks.device:  # whatever the default device is
        ring = border_ring((height, width)) > 0.5
    middle = masks[:, int(_MIDDLE * height) : -int(_MIDDLE * height) or None]
    middle = middle[:, :, int(_MIDDLE * width) : -int(_MIDDLE * width) or None]
    frame = masks[:, ring].float().mean(1)
    return (frame >= _ALONG_THE_FRAME) & (middle.float().mean((1, 2)) <= _IN_THE_MIDDLE)
