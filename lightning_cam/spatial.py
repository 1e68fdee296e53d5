"""Geometry on the pixel grid: resizing, boxes, rings and connected components.

Pure functions on tensors of any device. A grid of ``h`` x ``w`` cells and an image of ``H`` x ``W`` pixels cover the
same rectangle: cell ``i`` of ``h`` spans rows ``i * H / h`` to ``(i + 1) * H / h``, which need not be whole pixels.
Of volumes there is one axis more, before the others: ``(N, d, h, w)`` and ``(N, D, H, W)``.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

VOLUME_AXES = 5
"""Axes of volumes ``(N, C, D, H, W)``, and of videos whose frames come first, ``(N, D, C, H, W)``."""
_COLOURS = (1, 3)  # channels of a frame


def are_frames(shape: Sequence[int]) -> bool:
    """Whether ``(..., D, C, H, W)`` holds frames rather than a volume ``(..., C, D, H, W)``, by the number of channels.

    >>> are_frames((2, 16, 3, 32, 32)), are_frames((2, 1, 16, 32, 32))
    (True, False)
    """
    return shape[-4] not in _COLOURS and shape[-3] in _COLOURS


def to_unit(maps: Tensor) -> Tensor:
    """Maps ``(n, ...)`` stretched to 0..1; a constant one becomes 0, since it hides and shows nothing."""
    space = tuple(range(1, maps.ndim))
    low, high = maps.amin(space, keepdim=True), maps.amax(space, keepdim=True)
    return ((maps - low) / (high - low)).where(high != low, 0.0)


def upsample(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps ``(N, h, w)`` stretched bilinearly to ``(N, H, W)``, edge to edge; those of volumes trilinearly."""
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return F.interpolate(maps[:, None], size=size, mode=mode, align_corners=False)[:, 0]


def area_average(masks: Tensor, size: tuple[int, ...]) -> Tensor:
    """Share of each of the ``h`` x ``w`` cells that the masks ``(N, H, W)`` cover, as ``(N, h, w)`` float32 in 0..1.

    A pixel that lies across several cells counts for each with the area it has there, so the mean over the grid is the
    mean over the mask for every pair of sizes, finer grids included.

    >>> area_average(torch.tensor([[[True, True, False]]]), (1, 2))
    tensor([[[1.0000, 0.3333]]])
    """
    if masks.shape[1:] == size:
        return masks.float()
    *depth, rows, columns = (
        _overlap(n_pixels, n_cells, masks.device) for n_pixels, n_cells in zip(masks.shape[1:], size, strict=True)
    )
    shares = rows @ masks.to(rows) @ columns.T
    if depth:
        shares = (depth[0] @ shares.flatten(2)).reshape(len(masks), *size)
    return shares.float()


def at_cell_centres(masks: Tensor, size: tuple[int, ...]) -> Tensor:
    """Masks ``(N, H, W)`` read at the centre point of each cell, as ``(N, h, w)`` float32.

    Where the centre lies on the line between two pixels, or the corner of four, it is their mean: so a mirrored mask
    reads as the mirror image.

    >>> at_cell_centres(torch.tensor([[[True, True, False, False]]]), (1, 1))
    tensor([[[0.5000]]])
    """
    if masks.shape[1:] == size:
        return masks.float()
    values = masks
    for dim, (n_pixels, n_cells) in enumerate(zip(masks.shape[1:], size, strict=True), 1):
        pixels = _centre_pixels(n_pixels, n_cells, masks.device)
        values = values[(slice(None),) * dim + (pixels,)].float().mean(dim)
    return values


def boxes_to_masks(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks ``(N, H, W)`` of the pixels whose centre lies in the boxes ``(N, 4)``.

    Args:
        boxes: ``x1, y1, x2, y2`` in pixels, ``x2`` and ``y2`` exclusive. A row of NaN gives an empty mask.
        size: ``(H, W)`` of the image.
    """
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    y = torch.arange(size[0], device=boxes.device) + 0.5
    x = torch.arange(size[1], device=boxes.device) + 0.5
    return ((y1 <= y) & (y < y2))[:, :, None] & ((x1 <= x) & (x < x2))[:, None, :]


def mask_boxes(masks: Tensor) -> Tensor:
    """Smallest boxes ``(N, 4)`` around the True pixels: float ``x1, y1, x2, y2``, ends exclusive; NaN where none is.

    Of volumes ``(N, 6)``: ``x1, y1, z1, x2, y2, z2``.

    >>> mask_boxes(torch.tensor([[[False, True, True], [False, False, True]]]))
    tensor([[1., 0., 3., 2.]])
    """
    axes = range(masks.ndim - 1, 0, -1)
    extents = [_extent(masks.any(dim=tuple(other for other in axes if other != axis))) for axis in axes]
    first, last = zip(*extents, strict=True)
    boxes = torch.stack([*first, *last], dim=1).float()
    return boxes.where(masks.flatten(1).any(dim=1)[:, None], torch.nan)


def border_ring(size: tuple[int, ...], *, share: float = 0.1) -> Tensor:
    """Share of each of ``h`` x ``w`` cells that lies in the outer ring, as ``(h, w)`` float32 in 0..1.

    The ring takes ``share`` of the height at the top and at the bottom and ``share`` of the width on either side. On a
    coarse grid it cuts through cells, so its area is ``1 - (1 - 2 * share) ** 2`` of the image on every grid. All
    slices of a volume have the same ring: its first and last one are as much inside as the others.

    >>> border_ring((5, 5))[:2, :3]
    tensor([[0.7500, 0.5000, 0.5000],
            [0.5000, 0.0000, 0.0000]])
    """
    rows, columns = _inner(size[-2], share), _inner(size[-1], share)
    ring = (rows[:, None] * columns).neg_().add_(1).float()  # `1 -` would hold a second grid of doubles
    return ring.expand(size)


def largest_component(masks: Tensor) -> Tensor:
    """Masks ``(N, H, W)`` reduced to their largest 4-connected region; of equals, the first in reading order.

    Regions of volumes are connected across slices as well (6-connected).

    Works on runs, the horizontal stretches of True pixels, instead of pixels: all images are one line in which a False
    column and row end every image, and runs that touch a run of the next row, or of the next slice, are joined.

    >>> largest_component(torch.tensor([[[True, False, True], [False, False, True]]])).int()
    tensor([[[0, 0, 1],
             [0, 0, 1]]], dtype=torch.int32)
    """
    padded = F.pad(masks, (0, 1) * (masks.ndim - 1))
    line = padded.flatten()
    starts, ends = _runs(line)
    pairs = [_touching(line, starts, step) for step in padded.stride()[1:-1]]  # of a row, and of a slice
    regions = _regions(len(starts), *(torch.cat(each) for each in zip(*pairs, strict=True)))
    largest = _largest(regions, ends - starts, starts // math.prod(padded.shape[1:]), len(masks))
    kept = torch.zeros_like(masks)
    kept[masks] = largest.repeat_interleave(ends - starts)
    return kept


def _overlap(n_pixels: int, n_cells: int, device: torch.device) -> Tensor:
    """Share of each cell that each pixel fills, ``(n_cells, n_pixels)``; whole numbers until the last division.

    In float64, which neither autocast nor `torch.set_float32_matmul_precision` makes coarser; MPS has none.
    """
    cell = torch.arange(n_cells, device=device)[:, None] * n_pixels
    pixel = torch.arange(n_pixels, device=device) * n_cells
    common = torch.minimum(cell + n_pixels, pixel + n_cells) - torch.maximum(cell, pixel)
    return common.clamp(min=0).to(torch.float32 if device.type == "mps" else torch.float64) / n_pixels


def _centre_pixels(n_pixels: int, n_cells: int, device: torch.device) -> Tensor:
    """Pixels ``(2, n_cells)`` before and after each cell's centre: the same one twice if the centre lies inside it."""
    twice_centre = (2 * torch.arange(n_cells, device=device) + 1) * n_pixels
    return torch.stack([(twice_centre - 1) // (2 * n_cells), twice_centre // (2 * n_cells)])


def _extent(lines: Tensor) -> tuple[Tensor, Tensor]:
    """First and one past the last True of each row of ``(N, L)``."""
    first = lines.int().argmax(dim=1)
    last = lines.shape[1] - lines.flip(1).int().argmax(dim=1)
    return first, last


def _inner(n_cells: int, share: float) -> Tensor:
    """Share of each cell that lies between ``share`` and ``1 - share`` of the length."""
    start = torch.arange(n_cells, dtype=torch.float64)
    return (torch.clamp(start + 1, max=n_cells * (1 - share)) - torch.clamp(start, min=n_cells * share)).clamp(min=0)


def _runs(line: Tensor) -> tuple[Tensor, Tensor]:
    """Starts and (exclusive) ends of the stretches of True in a flat mask."""
    change = F.pad(line, (1, 1)).int().diff()
    return (change == 1).nonzero()[:, 0], (change == -1).nonzero()[:, 0]


def _run_at(starts: Tensor, positions: Tensor) -> Tensor:
    """Index of the run that each of the positions lies in."""
    return torch.searchsorted(starts, positions, right=True) - 1


def _touching(line: Tensor, starts: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Pairs of runs that touch ``step`` places apart."""
    touching, _ = _runs(line[:-step] & line[step:])
    return _run_at(starts, touching), _run_at(starts, touching + step)


def _regions(n_runs: int, one: Tensor, other: Tensor) -> Tensor:
    """Lowest run of the region that each run belongs to, where runs ``one[i]`` and ``other[i]`` touch.

    Union-find on whole tensors: regions that touch join the lower one, then every run looks up where its region went.
    """
    regions = torch.arange(n_runs, device=one.device)
    while not torch.equal(regions[one], regions[other]):
        higher, lower = torch.maximum(regions[one], regions[other]), torch.minimum(regions[one], regions[other])
        regions = regions.scatter_reduce(0, higher, lower, "amin")
        while not torch.equal(regions[regions], regions):
            regions = regions[regions]
    return regions


def _largest(regions: Tensor, lengths: Tensor, images: Tensor, n_images: int) -> Tensor:
    """Whether each run belongs to the largest region of its image; of equals, to the first."""
    area = torch.zeros_like(lengths).scatter_add(0, regions, lengths)[regions]
    most = area.new_zeros(n_images).scatter_reduce(0, images, area, "amax")
    candidates = regions.where(area == most[images], len(regions))
    first = regions.new_full((n_images,), len(regions)).scatter_reduce(0, images, candidates, "amin")
    return regions == first[images]
