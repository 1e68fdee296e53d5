"""Pictures that are moved, enlarged and turned by degrees."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import affine

FILL = 0.5  # mid-grey, where the picture has moved away
Change: TypeAlias = Callable[[Tensor, float], Tensor]  # pixels (N, C, H, W) and a grade to pixels


class Graded(NamedTuple):
    """A transformation and how strongly it is applied.

    Attributes:
        change: Pixels ``(N, C, H, W)`` in [0, 1] and a grade to changed pixels.
        grades: In the order of the curve.
    """

    change: Change
    grades: tuple[float, ...]


def shifted(images: Tensor, share: float) -> Tensor:
    """Moved down by a share of the height, in whole pixels; negative is up."""
    return _moved(images, down=round(share * images.shape[-2]))


def enlarged(images: Tensor, factor: float) -> Tensor:
    """About the middle."""
    return _moved(images, factor=factor)


def turned(images: Tensor, degrees: float) -> Tensor:
    """Clockwise about the middle."""
    return _moved(images, degrees=degrees)


def _moved(images: Tensor, *, degrees: float = 0.0, down: int = 0, factor: float = 1.0) -> Tensor:
    if (degrees, down, factor) == (0, 0, 1):  # interpolation would change the last bits
        return images
    moved: Tensor = affine(
        images, degrees, [0, down], factor, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR, fill=FILL
    )
    return moved


# The ranges of Zeiler and Fergus 2014, figure 5: 60 of 224 pixels, up to 1.8, a full turn.
GRADED: Mapping[str, Graded] = {
    "shift": Graded(shifted, (-0.25, -0.1875, -0.125, -0.0625, 0.0, 0.0625, 0.125, 0.1875, 0.25)),
    "scale": Graded(enlarged, (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8)),
    "rotation": Graded(turned, (0.0, 30.0, 60.0, 90.0, 120.0, 150.0, 180.0, 210.0, 240.0, 270.0, 300.0, 330.0, 360.0)),
}
