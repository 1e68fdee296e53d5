"""How far features and answers move while the picture is shifted, enlarged and turned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ...probe import Probe
from ..engine import placed
from ..layers import Layers, check_layers
from ..outputs import as_logits, asked
from ..subject import ScoresOf, Subject, looking
from ..targets import true_class
from .answers import answers
from .grading import GRADED, Graded
from .weights import first_convolution

__all__ = ["GRADED", "Graded", "InvarianceCurve", "invariance"]


@dataclass(frozen=True, eq=False)
class InvarianceCurve:
    """What one transformation does, by ``G`` grades, to ``N`` images in ``L`` layers.

    Attributes:
        grades: How strongly the pictures were changed.
        layers: Dotted names.
        distances: ``(L, G, N)`` float32, Euclidean, between the features of the changed and of the plain picture.
        spread: ``(L,)`` float32, root mean square distance between two plain pictures; NaN for a single one.
        probabilities: ``(G, N)`` float32, of each image's own class.
    """

    grades: tuple[float, ...]
    layers: tuple[str, ...]
    distances: Tensor
    spread: Tensor
    probabilities: Tensor

    @property
    def relative(self) -> Tensor:
        """``(L, G)`` mean over the images; 1 is as far as another picture. NaN where all features are the same."""
        mean: Tensor = self.distances.nanmean(2) / self.spread[:, None]
        return mean.where(self.spread[:, None] > 0, torch.nan)


def invariance(
    model: nn.Module,
    probe: Probe,
    layers: Layers | None = None,
    *,
    transforms: Mapping[str, Graded] = GRADED,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> dict[str, InvarianceCurve]:
    """Distance of the features and probability of the own class, by strength of each transformation.

    ``|| f(T(x)) - f(x) ||`` for each layer, and ``p(y | T(x))`` (Zeiler and Fergus 2014, section 4.1 and figure 5). The
    paper draws five images; here are the numbers of each, and `InvarianceCurve.relative`, which makes layers
    comparable. What moves into the picture is mid-grey. Pixels are changed before ``preprocess``.

    Args:
        model: Any classifier, in any mode.
        probe: The images, and their classes.
        layers: Dotted names, of layers with maps or with vectors; None takes the first convolution and the last spatial
            layer.
        transforms: By name; `GRADED` has the paper's.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass. Each grade of each transformation costs one pass over the probe.

    Raises:
        ValueError: There is no such layer, or it has no row for each image.
        RuntimeError: A layer does not run.
    """
    with looking(model, probe, None, forward, batch_size) as subject:
        names = _usual_layers(subject) if layers is None else check_layers(subject.model, layers)
        features, parts = _Moments(), []
        for positions in torch.split(torch.arange(len(probe)), batch_size):
            plain, _ = _answered(subject, names, probe, probe.images[positions])
            features.add(plain)
            changed = partial(_changed, subject, names, probe, positions, plain)
            parts.append({name: changed(graded) for name, graded in transforms.items()})
    return {
        name: InvarianceCurve(
            tuple(graded.grades),
            names,
            torch.cat([part[name][0] for part in parts], 2),
            features.spread(),
            torch.cat([part[name][1] for part in parts], 1),
        )
        for name, graded in transforms.items()
    }


def _usual_layers(subject: Subject) -> tuple[str, ...]:
    """An early one and a late one, as in the paper; of a model without convolutions the late one alone."""
    late = subject.last_layer()
    try:
        return check_layers(subject.model, [first_convolution(subject.model), late])
    except ValueError:
        return (late,)


def _answered(subject: Subject, names: Sequence[str], probe: Probe, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """Features ``(n, F)`` of each layer and logits, of one batch of pixels."""
    inputs = placed(subject.model, probe.prepare(images))
    output, features = answers(subject.model, names, subject.forward, inputs)
    return [each.flatten(1).float() for each in features], as_logits(output)


def _changed(
    subject: Subject, names: Sequence[str], probe: Probe, positions: Tensor, plain: Sequence[Tensor], graded: Graded
) -> tuple[Tensor, Tensor]:
    """Distances ``(L, G, n)`` and probabilities ``(G, n)`` of one batch."""
    targets, distances, probabilities = probe.targets[positions], [], []
    own = true_class(targets)
    for grade in graded.grades:
        features, logits = _answered(subject, names, probe, graded.change(probe.images[positions], grade))
        moved = [(after - before).norm(dim=1) for after, before in zip(features, plain, strict=True)]
        distances.append(torch.stack(moved).cpu())
        scores = asked(logits, targets) if probe.task.asks else logits
        probabilities.append(own(scores.softmax(1)).cpu())
    return torch.stack(distances, 1), torch.stack(probabilities)


class _Moments:
    """Sums over the features of all images, which need not be kept for that: a first layer has a million each."""

    def __init__(self) -> None:
        self._n = 0
        self._totals: list[Tensor] = []
        self._squares: list[Tensor] = []

    def add(self, features: Sequence[Tensor]) -> None:
        """Features ``(n, F)`` of each layer."""
        totals = [each.double().sum(0).cpu() for each in features]
        squares = [each.double().square().sum().cpu() for each in features]
        self._n += len(features[0])
        self._totals = [a + b for a, b in zip(self._totals, totals, strict=True)] if self._totals else totals
        self._squares = [a + b for a, b in zip(self._squares, squares, strict=True)] if self._squares else squares

    def spread(self) -> Tensor:
        """``(L,)`` root mean square distance between two images.

        The mean over pairs of ``||a - b||^2`` is ``2 (sum ||a||^2 - ||sum a||^2 / N) / (N - 1)``.
        """
        if self._n < 2:
            return torch.full((len(self._totals),), torch.nan)
        pairs = zip(self._squares, self._totals, strict=True)
        inside = torch.stack([square - total.square().sum() / self._n for square, total in pairs])
        return (2 * inside.clamp(min=0) / (self._n - 1)).sqrt().float()
