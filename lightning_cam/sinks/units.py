"""What units have learnt, as figures of a check. Runs in the worker thread; pure."""

from collections.abc import Callable
from dataclasses import replace

from .. import render
from ..attribution.features import InvarianceCurve, StrongestPatches
from ..examination import Learning
from .page import Page

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
