"""What a model's units have learnt so far, in the few numbers that a check can afford."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ..attribution.features import InvarianceCurve, StrongestPatches, filters, invariance, strongest_patches
from ..attribution.features.weights import first_convolution
from ..attribution.layers import unwrapped
from ..attribution.subject import ScoresOf
from ..intervention import balanced_subset
from ..probe import Probe

MOST_MOVED = 16  # images that are shifted, enlarged and turned: 31 passes over them, about as many as one trial takes
N_PATCHES = 6  # of each unit


@dataclass(frozen=True, eq=False)
class Learning:
    """The units of one check.

    Attributes:
        filters: ``(K, C, h, w)`` of the first convolution; None for a model without.
        strongest: Patches of units of the layer that is looked at.
        curves: By transformation.
    """

    filters: Tensor | None
    strongest: StrongestPatches
    curves: Mapping[str, InvarianceCurve]

    @property
    def scalars(self) -> dict[str, float]:
        """``invariance/<transformation>/<layer>``: mean of the relative distance over the grades. NaN if undefined.

        ``invariance/<transformation>/probability``: of the own class, mean over grades and images.
        """
        scalars = {}
        for name, curve in self.curves.items():
            for layer, distances in zip(curve.layers, curve.relative.tolist(), strict=True):
                scalars[f"invariance/{name}/{layer}"] = sum(distances) / len(distances)
            scalars[f"invariance/{name}/probability"] = float(curve.probabilities.mean())
        return scalars


def look_at_units(
    model: nn.Module,
    probe: Probe,
    layer: str,
    units: Sequence[int] | None = None,
    *,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Learning:
    """Filters, strongest patches and invariance, of the first layer and of ``layer``. The model stays as it is.

    ``units`` are as in `strongest_patches`.
    """
    model = unwrapped(model)
    try:
        first: str | None = first_convolution(model)
    except ValueError:
        first = None
    moved = probe.select(balanced_subset(probe.targets, MOST_MOVED).tolist())
    layers = [layer] if first is None else [first, layer]
    return Learning(
        None if first is None else filters(model, layer=first),
        strongest_patches(model, probe, layer, units, k=N_PATCHES, forward=forward, batch_size=batch_size),
        invariance(model, moved, layers, forward=forward, batch_size=batch_size),
    )
