"""A bracket around objects that nobody outlined: a cover that holds the object, and a core that is object only.

The cover matters. Object that it leaves out counts as background and convicts an innocent model; background that it
holds only hides a part of a real reliance. So two finders that fail on different pictures are united, and grown.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from . import barrier, consensus

FEWEST = 8  # images: of fewer, nobody can say what their middles share
SMALLEST = 48  # pixels of a side: in smaller pictures objects fill the frame, and a patch of 18 pixels tells nothing
_SIDE, _LEAST_SIDE = 64, 16  # pixels while looking: of a square of the same area, and of a very narrow picture
_GROWTH = 0.06  # of the shorter side
# Core over union: where the finders disagree more, one of them is wrong. Leaves over photographs have 0.23 or more. One
# pet of 13 has less than 0.15, and so has a fifth of corners of photographs, where no object is.
_LEAST_AGREEMENT = 0.15
_LEAST_BACKGROUND = 0.25  # of the image: less says little of a background, and objects that fill a frame are cut off
_PIECE = 0.2  # of the largest piece: smaller ones are noise


def guess(images: Tensor) -> tuple[Tensor, Tensor]:
    """Cover and core ``(N, H, W)`` bool of ``images (N, C, H, W)`` in [0, 1]; False everywhere where it is in doubt.

    The same for the same images, and nothing global is drawn from or changed.
    """
    size = (images.shape[2], images.shape[3])
    if not can_guess(len(images), size):
        unknown = torch.zeros(len(images), *size, dtype=torch.bool, device="cpu")
        return unknown, unknown.clone()
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"), torch.autocast("cpu", enabled=False):
        colours = _colours(_small(images.detach().to("cpu", torch.float32)))
        own = _regions(barrier.saliency(colours))
        shared = _regions(consensus.likeness(colours))
        cover, core = _grown(own | shared), own & shared
        agree = _share(core) > _LEAST_AGREEMENT * _share(own | shared)
        is_sure = agree & (1 - _share(cover) >= _LEAST_BACKGROUND)
        return _large(cover & is_sure[:, None, None], size), _large(core & is_sure[:, None, None], size)


def can_guess(n_images: int, size: tuple[int, int]) -> bool:
    """Whether so many images of this ``(height, width)`` are enough for a guess."""
    return n_images >= FEWEST and min(size) >= SMALLEST


def _small(images: Tensor) -> Tensor:
    scale = _SIDE / (images.shape[2] * images.shape[3]) ** 0.5
    size = [max(_LEAST_SIDE, round(scale * side)) for side in images.shape[2:]]
    return images if scale >= 1 else F.interpolate(images, size=size, mode="area")


def _share(masks: Tensor) -> Tensor:
    return masks.float().mean((1, 2))


def _large(masks: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(masks[:, None].float(), size=size, mode="nearest-exact")[:, 0] > 0.5


def _colours(images: Tensor) -> Tensor:
    """CIE Lab of colour pictures, where distances are as people see them; of others the channels, as far apart."""
    if images.shape[1] != 3:
        return 100 * images
    linear = torch.where(images <= 0.04045, images / 12.92, ((images + 0.055) / 1.055) ** 2.4)
    to_xyz = torch.tensor(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
        dtype=torch.float32,
        device="cpu",
    )
    white = to_xyz.sum(1)[None, :, None, None]
    ratios = torch.einsum("ij,njhw->nihw", to_xyz, linear) / white
    x, y, z = torch.where(ratios > 0.008856, ratios.clamp_min(1e-9) ** (1 / 3), 7.787 * ratios + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def _regions(scores: Tensor) -> Tensor:
    """What lies above the threshold of Otsu (1979), smoothed, without small pieces and holes."""
    smooth = [ndimage.gaussian_filter(image, 1.0) for image in scores.numpy()]
    return torch.from_numpy(np.stack([_cleaned(image > _otsu(image)) for image in smooth]))


def _otsu(values: NDArray[np.float32]) -> float:
    """The threshold that leaves the least variance within both sides."""
    counts, edges = np.histogram(values, bins=128)
    centres = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()
    above = below[-1] - below
    sums = (counts * centres).cumsum()
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nan_to_num(between[:-1]).argmax())])


def _cleaned(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    opened = ndimage.binary_opening(region, np.ones((3, 3)))
    parts, _ = ndimage.label(opened)
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    kept = (areas >= max(1, _PIECE * areas.max()))[parts]
    return np.asarray(ndimage.binary_fill_holes(kept), dtype=np.bool_)


def _grown(masks: Tensor) -> Tensor:
    reach = max(1, round(_GROWTH * min(masks.shape[1:])))
    return F.max_pool2d(masks[:, None].float(), 2 * reach + 1, stride=1, padding=reach)[:, 0] > 0.5
