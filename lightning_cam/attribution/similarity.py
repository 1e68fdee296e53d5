"""Class scores of a model that gives embeddings: how near a picture lies to the mean of each class of the probe.

A self-supervised model has no classes. A picture is then asked which class mean it is most similar to, by the cosine
around the centre of the means ("prototypes", Snell et al. 2017, with cosines). An image does not count in the mean of
its own class: in many dimensions it would be near to that with random weights as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..probe import Probe
from ..probe.rest import carrying
from ..probe.task import CLASSES
from .engine import placed
from .guard import untouched
from .structures import tensors_in

# What cosines are multiplied by; the one is taken under which images of the probe are told best. CLIP ends at 100.
_SCALES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0)
_ALIKE = 0.9  # cosine from where on an embedding counts, in part, as that of an image of the probe, and at 1 in full


class Similarity:
    """Class scores of a model that gives embeddings, such as SimCLR, BYOL or DINO, on a probe with classes.

    It is passed as ``forward=``::

        CAMCallback(probe, forward=Similarity(lambda module, images: module.backbone(images)))

    Args:
        embedding: ``(model, images) -> embedding``: ``(N, D)``, or maps and tokens, which are averaged. None calls the
            model.
    """

    embeds = True

    def __init__(self, embedding: Callable[..., Any] | None = None) -> None:
        self._embedding = embedding

    def __call__(self, model: nn.Module, images: Tensor, *rest: Any) -> Any:
        """The embedding."""
        return model(images, *rest) if self._embedding is None else self._embedding(model, images, *rest)


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Embeddings of a probe, to which others are compared.

    Attributes:
        embed: ``(model, inputs) -> embedding``.
        centre: ``(D,)``, the mean of the class means.
        units: ``(N, D)`` of the probe's images, around the centre and of length 1.
        targets: ``(N,)``.
        sums: ``(n_classes, D)`` of the units.
        scale: What cosines are multiplied by.
    """

    embed: Callable[[nn.Module, Tensor], Any]
    centre: Tensor
    units: Tensor
    targets: Tensor
    sums: Tensor
    scale: float = 1.0
    carries = True  # its inputs are passed on as they are, see `rest.carrying`

    def __call__(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Logits ``(n, n_classes)``."""
        units = F.normalize(_rows(self.embed(model, inputs), len(inputs)) - self.centre)
        logits = self.scale * self.cosines(units)
        return logits[..., None].mean(-1)  # after a mean, `score_kinds` takes numbers for logits

    def cosines(self, units: Tensor) -> Tensor:
        """With the mean of each class, without the image that is the same; -1 for a class without images."""
        nearness, nearest = (units.detach() @ self.units.T).max(1)
        share = ((nearness - _ALIKE) / (1 - _ALIKE)).clamp(0, 1)[:, None]
        own = self.targets[nearest]
        others = F.normalize(self.sums[own] - share * self.units[nearest])
        cosines = units @ F.normalize(self.sums).T
        cosines = cosines.masked_fill(torch.bincount(self.targets, minlength=len(self.sums)) == 0, -1.0)
        return cosines.scatter(1, own[:, None], (units * others).sum(1, keepdim=True))


def scoring(
    model: nn.Module, probe: Probe, forward: Callable[..., Any] | None, batch_size: int
) -> Callable[..., Any] | None:
    """``(model, inputs) -> class scores`` for inputs of a probe, of the model as it is now; None calls the model.

    Raises:
        ValueError: Embeddings, and a probe without classes.
    """
    run = carrying(forward, probe)
    if run is None or not getattr(run, "embeds", False):
        return run
    if probe.task.kind != CLASSES:
        raise ValueError("Similarity needs a probe with one class per image; pass Probe(images, classes (N,))")
    parts = []
    with untouched(model), torch.no_grad():
        for rows in torch.split(torch.arange(len(probe)), batch_size):
            inputs = placed(model, probe.prepare(probe.images[rows], rows))
            parts.append(_rows(run(model, inputs.clone()), len(rows)))
    return _fitted(run, torch.cat(parts), probe.targets, len(probe.classes))


def _fitted(run: Callable[..., Any], embeddings: Tensor, targets: Tensor, n_classes: int) -> Prototypes:
    are_finite = embeddings.isfinite().all(1)
    if are_finite.any():  # else all scores are NaN, which is said elsewhere
        embeddings, targets = embeddings[are_finite], targets[are_finite.cpu()]
    targets = targets.to(embeddings.device)
    sums = embeddings.new_zeros(n_classes, embeddings.shape[1]).index_add(0, targets, embeddings)
    counts = torch.bincount(targets, minlength=n_classes)[:, None]
    centre = (sums / counts)[counts[:, 0] > 0].mean(0)
    units = F.normalize(embeddings - centre)
    plain = Prototypes(run, centre, units, targets, torch.zeros_like(sums).index_add(0, targets, units))
    cosines = plain.cosines(units)
    losses = torch.stack([F.cross_entropy(scale * cosines, targets) for scale in _SCALES])
    scale = _SCALES[int(losses.nan_to_num(torch.inf).argmin())]
    return Prototypes(run, centre, units, targets, plain.sums, scale)


def _rows(output: Any, n: int) -> Tensor:
    """The embedding ``(n, D)`` in an output; maps and tokens are averaged."""
    found = [tensor for _, tensor in tensors_in(output) if tensor.is_floating_point() and len(tensor) == n]
    if len(found) != 1:
        raise ValueError(
            f"Similarity needs one embedding for each image, and the output has {len(found)}; "
            "pass Similarity(lambda module, images: embedding)"
        )
    values = found[0].float()
    if values.ndim == 3:  # tokens
        return values.mean(1)
    return values.reshape(n, -1) if values.ndim < 3 else values.flatten(2).mean(2)
