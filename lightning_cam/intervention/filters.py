"""What edits and levels compute from pixels: fills, blurs, octaves of detail and weighted means. Pure, torch only."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 0.5 / 255  # half a grey level: eight bits hold no smaller detail
# Of the images that are edited and shown to the model as a whole, which is fastest: 64 MiB as float32, and with copies
# several times that. More are edited and shown in parts, of 32 MiB or a single image.
_MOST_VALUES, _VALUES_A_PART = 2**24, 2**23
_LARGE = 2**20  # pixels of an image whose channels are taken one by one: three copies of all would be held
_REACH = 3  # standard deviations of a blur's kernel: 0.3 % of a Gaussian lie farther out
_FINEST = 0.7  # pixels: this blur halves what repeats every 3.7 pixels, about half of the finest frequency there is
_LEAST_SHARE = 0.125  # of a 2x2 block: below 1/4, the smallest share that is not 0. It only keeps 0 / 0 defined.


def in_parts(rows: Tensor, images: Tensor) -> tuple[Tensor, ...]:
    """Rows that go with some of the ``images``, in parts of which several copies fit into the memory."""
    values = images[0].numel()
    return torch.split(rows, max(1, len(rows) if len(rows) * values <= _MOST_VALUES else _VALUES_A_PART // values))


def by_parts(read: Callable[..., Tensor], images: Tensor, *columns: Tensor) -> Tensor:
    """What ``read`` gives for ``images`` and rows that go with them, a part at a time."""
    parts = zip(*(in_parts(each, images) for each in (images, *columns)), strict=True)
    return torch.cat([read(*part) for part in parts])


def fill(images: Tensor, known: Tensor) -> Tensor:
    """Unknown pixels from the nearest known ones, coarser the farther away (push-pull, Gortler et al. 1996).

    >>> fill(torch.tensor([[[[0.2, 9.0], [0.4, 9.0]]]]), torch.tensor([[[True, False], [True, False]]]))
    tensor([[[[0.2000, 0.3000],
              [0.4000, 0.3000]]]])
    """
    if known.all() or images.shape[2:] == (1, 1):
        return images
    weights = known[:, None].to(images)
    size = (images.shape[2], images.shape[3])
    share = F.avg_pool2d(weights, 2, ceil_mode=True)
    coarse = F.avg_pool2d(images * weights, 2, ceil_mode=True) / share.clamp_min(_LEAST_SHARE)
    around = F.interpolate(fill(coarse, share[:, 0] > 0), size=size, mode="bilinear", align_corners=False)
    return torch.where(known[:, None], images, around, out=around)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """``(N, C, H, W)`` under a Gaussian of ``sigma`` pixels; the outermost pixels are repeated outwards.

    Shifted sums, which on a CPU are twenty times as fast as a convolution of single channels.
    """
    reach = max(1, round(_REACH * sigma))
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.softmax(-(places**2) / (2 * sigma**2), 0).tolist()
    if images[0, 0].numel() <= _LARGE:
        return _convolved(images, kernel)
    result = torch.empty_like(images)
    for plane, smooth in zip(images.flatten(0, 1), result.flatten(0, 1), strict=True):
        smooth.copy_(_convolved(plane[None, None], kernel)[0, 0])
    return result


def _convolved(images: Tensor, kernel: Sequence[float]) -> Tensor:
    """``(N, C, H, W)`` under a kernel of odd length, along columns and rows."""
    reach = len(kernel) // 2
    for padding, dim in (((reach, reach, 0, 0), 3), ((0, 0, reach, reach), 2)):
        wide = F.pad(images, padding, mode="replicate")
        pieces = [wide.narrow(dim, start, images.shape[dim]) for start in range(len(kernel))]
        images = kernel[0] * pieces[0]
        for weight, piece in zip(kernel[1:], pieces[1:], strict=True):
            images.add_(piece, alpha=weight)
    return images


def blended(over: Tensor, under: Tensor, weights: Tensor) -> Tensor:
    """One image over another, as opaque as weights ``(N, H, W)`` say."""
    return under.lerp(over, weights[:, None].to(over))


def octave(images: Tensor, n: int) -> Tensor:
    """The ``n``-th octave of detail, counted from 0, the finest."""
    finer = blurred(images, _sigma(n - 1)) if n else images
    return finer - blurred(images, _sigma(n))


def each_octave(images: Tensor) -> Iterator[Tensor]:
    """The octaves of detail, finest first. Their sum and the last blur are the image."""
    finer = images
    for n in count():
        coarser = blurred(images, _sigma(n))
        yield finer - coarser
        finer = coarser


def _sigma(n: int) -> float:
    """Blur that takes the octaves up to the ``n``-th away."""
    return _FINEST * 2.0**n


def mean_of(images: Tensor, weights: Tensor) -> Tensor:
    """Mean of each channel under weights ``(N, H, W)``, as ``(N, C, 1, 1)``."""
    if images[0, 0].numel() > _LARGE and images.shape[1] > 1:
        return _of_channels(mean_of, images, weights)
    shares = (weights / weights.sum((1, 2), keepdim=True))[:, None]
    if images.numel() <= _MOST_VALUES:
        return (images * shares).sum((2, 3), keepdim=True)
    pairs = zip(torch.split(images, 1), torch.split(shares, 1), strict=True)
    return torch.cat([(image * share).sum((2, 3), keepdim=True) for image, share in pairs])


def spread_of(images: Tensor, weights: Tensor) -> Tensor:
    """Standard deviation of each channel under weights ``(N, H, W)``, as ``(N, C, 1, 1)``."""
    if images[0, 0].numel() > _LARGE and images.shape[1] > 1:
        return _of_channels(spread_of, images, weights)
    return mean_of((images - mean_of(images, weights)).square_(), weights).sqrt()


def _of_channels(measure: Callable[[Tensor, Tensor], Tensor], images: Tensor, weights: Tensor) -> Tensor:
    return torch.cat([measure(channel, weights) for channel in torch.split(images, 1, 1)], 1)
