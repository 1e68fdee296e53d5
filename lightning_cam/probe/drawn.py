"""What has been drawn, before it is checked: the arguments of a `Probe`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from ..datasets.items import Item
from ..datasets.questions import checked_marks
from .masking import Masking
from .names import distinct

Preprocess: TypeAlias = Callable[[Tensor], Tensor]
"""Pixels ``(N, C, H, W)`` in [0, 1] to model input."""


@dataclass(frozen=True)
class Drawn:
    """The arguments of a `Probe`, under their names there."""

    images: Tensor
    targets: Tensor
    masks: Sequence[Tensor | None]
    classes: Sequence[str] | None
    names: Sequence[str]
    preprocess: Preprocess | None
    mask_sources: Sequence[str]
    labels: Tensor | None = None
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    values: Tensor | None = None
    rest: Mapping[str, Tensor] | None = None
    regions: Tensor | None = None
    boxes: Tensor | None = None


def assemble(
    items: Sequence[Item],
    names: Sequence[str],
    *,
    classes: Sequence[str] | None,
    preprocess: Preprocess | None,
    masking: Masking,
    attributes: Sequence[str] = (),
) -> Drawn:
    """``items`` with pixels in [0, 1], put together. Missing masks come from ``masking``.

    The items have values of the ``attributes``.
    """
    check_sizes([item.image for item in items])
    masked = masking.of(items)
    has_several, has_values = any(item.marks for item in masked), any(item.values for item in masked)
    return Drawn(
        images=torch.stack([item.image for item in masked]),
        targets=torch.tensor([item.target for item in masked]),
        masks=[item.mask for item in masked],
        classes=classes,
        names=distinct(names),
        preprocess=preprocess,
        mask_sources=[item.source for item in masked],
        labels=checked_marks([item.marks for item in masked]) if has_several else None,
        attributes={name: [item.attributes[place] for item in masked] for place, name in enumerate(attributes)},
        regions=_maps_of(masked),
        boxes=_boxes_of(masked),
        values=torch.tensor([item.values for item in masked]) if has_values else None,
        rest=_stacked([item.rest for item in masked]),
    )


def _stacked(rests: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What the model is given beside images, in rows."""
    forms = {tuple((name, tuple(value.shape)) for name, value in rest.items()) for rest in rests}
    if len(forms) > 1:
        first, second = sorted(map(str, forms))[:2]
        raise ValueError(f"the rest must have one form in all items, got {first} and {second}; pad it in read=")
    return {name: torch.stack([rest[name] for rest in rests]) for name in rests[0]}


def _maps_of(items: Sequence[Item]) -> Tensor | None:
    """Maps of classes ``(N, H, W)``; None where the targets are none."""
    maps = [item.classes for item in items if item.classes is not None]
    if maps and len(maps) != len(items):
        raise ValueError("every target must be a map of classes, got some maps and some other targets")
    return torch.stack(maps) if maps else None


def _boxes_of(items: Sequence[Item]) -> Tensor | None:
    """Boxes ``(N, 4)``; None where the targets have none."""
    boxes = [item.box for item in items if item.box]
    if boxes and len(boxes) != len(items):
        raise ValueError("every target must hold boxes and labels, got some with boxes and some other targets")
    return torch.tensor(boxes) if boxes else None


class ArgumentError(ValueError):
    """An argument for a probe that cannot be, whatever the data are."""


def check_sizes(images: Sequence[Tensor]) -> None:
    """Raises where images cannot be stacked."""
    channels, sizes = {len(image) for image in images}, {tuple(image.shape[1:]) for image in images}
    if len({size[:-2] for size in sizes}) > 1:
        depths = sorted({size[0] for size in sizes if len(size) == 3})
        raise ValueError(
            f"volumes must have one depth, got {depths}; resample or crop them to one, such as with a transform"
        )
    if len(sizes) > 1:
        first, second = sorted(sizes)[0], sorted(sizes)[-1]
        raise ValueError(
            f"images must have one size, got {first} and {second}; pass size=(height, width) or put a Resize and a "
            "CenterCrop into the transform"
        )
    if len(channels) > 1:
        raise ValueError(f"images must have the same channels, got {sorted(channels)}; convert them to RGB")


def check_request(n: int, size: tuple[int, int] | None) -> None:
    """Raises where the number or the size of the images that are asked for makes no sense."""
    if n < 1:
        raise ArgumentError(f"n must be at least 1 image, got {n}")
    if size is not None and not (isinstance(size, tuple) and len(size) == 2 and all(side > 0 for side in size)):
        raise ArgumentError(f"size must be (height, width) in pixels such as (224, 224), got {size!r}")
