"""A block that slides over images, and what a model answers while it covers each place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ..probe import Probe
from .outputs import asked
from .subject import ScoresOf, Subject, looking
from .targets import Target, true_class

_SHARE = 6  # shorter sides of the image in a side of the block: 37 pixels of 224, and about 140 places
_SHARE_OF_VOLUMES = 3  # sides of the volume in a side of the block, along each axis: about 130 places
Place: TypeAlias = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class OcclusionMaps:
    """The two maps of Zeiler and Fergus 2014, figure 7 d and e, ``(N, H, W)`` each.

    Attributes:
        drop: How much lower the score is, mean over the places of the block that cover the pixel. NaN if undefined, or
            if the stride leaves the pixel out.
        predicted: The class that is predicted while the block is centred on the pixel, or as near as it comes. -1 where
            the logits are not finite.
    """

    drop: Tensor
    predicted: Tensor


def occlusion(
    model: nn.Module,
    probe: Probe,
    *,
    block: int | None = None,
    stride: int | None = None,
    fill: float = 0.5,
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Tensor:
    """Drop of the own class's probability while a grey block hides a pixel (Zeiler and Fergus 2014, section 4.1).

    With its sign: below 0 the answer is better without the pixel. The block slides over the picture as people see it,
    and `preprocess` follows. The paper shows one value for each place of the block. Here a pixel has the mean over all
    places that hide it. It needs no gradients, so it works with every model.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[0.0, -1.0, 2.0, 0.0], [3.0, 0.0, 0.0, 0.0]]))
    >>> probe = Probe(torch.ones(1, 1, 2, 2), torch.tensor([0]), classes=["a", "b"])
    >>> occlusion(model, probe, block=1, fill=0.0, score=lambda logits: logits[:, 0])
    tensor([[[ 0., -1.],
             [ 2.,  0.]]])

    Args:
        model: Any classifier, in any mode.
        probe: The images to explain, and their classes.
        block: Side of the block in pixels; None is a sixth of the image's shorter side. In a volume it is a cube; None
            is a third of each side.
        stride: Steps of the block in pixels; None is half a block. Each image costs a forward pass for each step.
        fill: Pixel value of the block, 0 to 1.
        score: Logits ``(N, n_classes)``, or a batch of outputs of a model without class scores, to the numbers ``(N,)``
            that may drop; None is the probability of each image's own class.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.
    """
    return occlusion_maps(
        model, probe, block=block, stride=stride, fill=fill, score=score, forward=forward, batch_size=batch_size
    ).drop


def occlusion_maps(
    model: nn.Module,
    probe: Probe,
    *,
    block: int | None = None,
    stride: int | None = None,
    fill: float = 0.5,
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> OcclusionMaps:
    """Both maps of `occlusion`'s paper: the drop, and the class that is predicted while the block is there.

    Args:
        model: Any classifier, in any mode.
        probe: The images to explain, and their classes.
        block: Side of the block in pixels; None is a sixth of the image's shorter side. In a volume it is a cube; None
            is a third of each side.
        stride: Steps of the block in pixels; None is half a block. Each image costs a forward pass for each step.
        fill: Pixel value of the block, 0 to 1.
        score: Logits ``(N, n_classes)``, or a batch of outputs of a model without class scores, to the numbers ``(N,)``
            that may drop; None is the probability of each image's own class.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.
    """
    own = true_class(probe.task.explained(probe.targets))
    with looking(model, probe, score, forward, batch_size) as subject:
        shape = _block_of(subject.size, block, stride, fill)
        follow = None if score is None else subject.score
        return _occluded(subject, probe, follow or (lambda logits: own(_asked(logits, probe).softmax(1))), shape)


@dataclass(frozen=True)
class _Block:
    """A square or a box that covers pixels, and how it moves; cut to the image where that is smaller.

    Attributes:
        sides: Its length along each axis of the image.
        strides: Its steps along each axis.
        fill: Of its pixels.
    """

    sides: tuple[int, ...]
    strides: tuple[int, ...]
    fill: float

    def places(self, size: Sequence[int]) -> list[list[slice]]:
        """Where it stands along each axis: the last one ends at the edge, so that nothing is left out."""
        along = []
        for length, side, stride in zip(size, self.sides, self.strides, strict=True):
            last = max(length - side, 0)
            along.append([slice(start, start + side) for start in [*range(0, last, stride), last]])
        return along


def _block_of(size: tuple[int, ...], side: int | None, stride: int | None, fill: float) -> _Block:
    """The block that was asked for, or the usual one, in steps of half a block."""
    usual = [min(size) // _SHARE] * 2 if len(size) == 2 else [length // _SHARE_OF_VOLUMES for length in size]
    sides = tuple(max(length, 1) if side is None else side for length in usual)
    steps = tuple(max(length // 2, 1) if stride is None else stride for length in sides)
    if min(*sides, *steps) < 1:
        raise ValueError(
            f"expected a block and a stride of at least one pixel, found block={sides[0]}, stride={steps[0]}"
        )
    return _Block(sides, steps, fill)


def _occluded(subject: Subject, probe: Probe, score: Target, block: _Block) -> OcclusionMaps:
    """The answers to each image with the block at every place; as many pictures a pass as the batch size."""
    along = block.places(subject.size)
    places = list(product(*along))
    whole = score(subject.logits(probe.prepare(probe.images)))
    drop, n_covering = torch.zeros(probe.images[:, 0].shape), torch.zeros(subject.size)
    answers = []
    for place, logits in zip(places, _answers(subject, probe, places, block.fill), strict=True):
        drop.movedim(0, -1)[place] += (whole - score(logits)).cpu()
        n_covering[place] += 1
        is_answered = logits.isfinite().all(1) & subject.has_classes
        answers.append(_asked(logits, probe).argmax(1).where(is_answered, -1).cpu())
    predicted = torch.stack(answers, 1).view(-1, *map(len, along))
    for axis, (starts, length) in enumerate(zip(along, subject.size, strict=True), 1):
        predicted = predicted.index_select(axis, _nearest(starts, length))
    return OcclusionMaps(drop / n_covering, predicted)


def _answers(subject: Subject, probe: Probe, places: Sequence[Place], fill: float) -> Iterator[Tensor]:
    """Logits ``(N, n_classes)`` for each place. A few images stand at several places in one pass."""
    at_once = max(subject.batch_size // len(probe), 1)
    for start in range(0, len(places), at_once):
        group = places[start : start + at_once]
        pictures = probe.images.expand(len(group), *probe.images.shape).clone()
        for version, place in zip(pictures, group, strict=True):
            version.movedim((0, 1), (-2, -1))[place] = fill
        logits = subject.logits(probe.prepare(pictures.flatten(0, 1), torch.arange(len(probe)).repeat(len(group))))
        yield from logits.view(len(group), len(probe), -1)


def _asked(logits: Tensor, probe: Probe) -> Tensor:
    """The scores that count for each image: all or, of several labels, those of the label that it is asked for."""
    return asked(logits, probe.targets) if probe.task.asks else logits


def _nearest(places: Sequence[slice], length: int) -> Tensor:
    """For each pixel along one side the place whose middle is nearest; of equals the first."""
    middles = torch.tensor([place.start + min(place.stop, length) - 1 for place in places])  # times two
    return (2 * torch.arange(length)[:, None] - middles).abs().argmin(1)
