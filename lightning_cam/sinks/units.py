"""What units have learnt, as figures of a check. Runs in the worker thread; pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from .. import render
from ..attribution.features import InvarianceCurve, StrongestPatches
from ..examination import Learning
from .page import Page

MOST_COLUMNS = 10  # checks on the strip
AXES = {"shift": "shift, share of the height", "scale": "scale, times", "rotation": "rotation, degrees"}


def with_figures(draw: Callable[[], Page], learning: Learning) -> Page:
    """The page with "features", filters and strongest patches, and "invariance", the curves."""
    page = draw()
    strongest = learning.strongest
    title = f"Where units of {strongest.layer} answer most, step {page.step}"
    rows = [_row(strongest, i) for i in range(len(strongest.units))]
    curves = {AXES.get(name, name): _curve(curve) for name, curve in learning.curves.items()}
    figures = {
        "features": render.unit_sheet(learning.filters, rows, title=title),
        "invariance": render.curve_sheet(curves, title=f"How features move with the picture, step {page.step}"),
    }
    return replace(page, figures=figures)


@dataclass(frozen=True, eq=False)
class UnitFrame:
    """What the strip over checks shows of one check.

    Attributes:
        step: Of the check.
        layer: Dotted name.
        filters: As in `Learning`.
        patches: The strongest patch ``(C, P, Q)`` by unit; None where the unit was never active.
    """

    step: int
    layer: str
    filters: Tensor | None
    patches: dict[int, Tensor | None]

    @classmethod
    def of(cls, step: int, learning: Learning) -> "UnitFrame":
        """Of a check."""
        strongest = learning.strongest
        tops = zip(strongest.units, strongest.activations, strongest.patches, strict=True)
        patches = {unit: patch[0].clone() if answers.any() and len(patch) else None for unit, answers, patch in tops}
        filters = None if learning.filters is None else learning.filters[: render.FILTERS_A_SIDE**2].clone()
        return cls(step, strongest.layer, filters, patches)


def units_over_time(frames: Sequence[UnitFrame]) -> render.Picture:
    """The filters and the strongest patch of each unit at up to ten checks (Zeiler and Fergus 2014, figure 4)."""
    shown = [frames[i] for i in render.select_steps(len(frames), MOST_COLUMNS)]
    rows = [render.SheetRow(f"unit {unit}", _over_time(shown, unit)) for unit in shown[-1].patches]
    filters = [_nothing() if frame.filters is None else render.filter_tile(frame.filters) for frame in shown]
    if shown[-1].filters is not None:
        rows.insert(0, render.SheetRow("the first 16 filters of the first convolution", filters))
    heads = [f"step {frame.step}" for frame in shown]
    says = f"patches that units of {shown[-1].layer} answer to most; dark: never active on the probe"
    return render.sheet(rows, heads, title="What units have learnt, over time", says=says)


def _over_time(frames: Sequence[UnitFrame], unit: int) -> list[render.Picture]:
    patches = [frame.patches.get(unit) for frame in frames]
    return [_nothing() if patch is None else render.patch_tile(patch) for patch in patches]


def _nothing() -> render.Picture:
    return np.full((render.CELL, render.CELL, 3), 44, np.uint8)


def _row(strongest: StrongestPatches, i: int) -> render.UnitRow:
    activations = strongest.activations[i].tolist()
    name = f"unit {strongest.units[i]}"
    if not any(activations):  # NaN counts as something
        return render.UnitRow(f"{name}: never active on the probe", strongest.patches[i, :0], None)
    name += f": {activations[0]:.3g} to {activations[-1]:.3g}"
    return render.UnitRow(name, strongest.patches[i], None if strongest.pictures is None else strongest.pictures[i])


def _curve(curve: InvarianceCurve) -> render.Curve:
    lines = dict(zip(curve.layers, curve.relative.tolist(), strict=True))
    return render.Curve(curve.grades, lines, curve.probabilities.mean(1).tolist())
