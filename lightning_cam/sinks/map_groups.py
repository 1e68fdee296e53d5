"""Groups of probe images with like maps, as a figure of the end of a run. Runs in the worker thread; pure."""

import torch
from torch import Tensor

from .. import render
from ..attribution.features import MapClusters, map_clusters
from ..examination import Report
from ..probe import Probe
from ..probe.task import CLASSES
from ..text import class_name, percent

MOST_PICTURES = 5  # of each group, the most typical one first
CELL = 112  # longest side of a picture, in pixels
TITLE = "Groups of pictures with like maps"
SAYS = "They show and prove nothing: a group of one class whose maps lie in a corner is worth a look."


def groups_figure(probe: Probe, report: Report) -> render.Picture | None:
    """A row for each group; None for volumes, for tasks without classes, and where no map shows anything."""
    if probe.task.kind != CLASSES or report.grid_maps.ndim != 3 or len(report.grid_maps) != len(probe.images):
        return None
    groups = map_clusters(report.grid_maps, report.targets)
    end = render.scale_end([report.grid_maps])
    rows = [_row(probe, report, groups, number, end) for number in range(len(groups.sizes))]
    heads = ["mean map", "most typical", "others"]
    return render.sheet(rows, heads, title=TITLE, says=SAYS) if rows else None


def _row(probe: Probe, report: Report, groups: MapClusters, number: int, end: float) -> render.SheetRow:
    n, share = int(groups.sizes[number]), float(groups.purity[number])
    label = class_name(probe.classes, int(groups.classes[number]))
    typical = int(groups.typical[number])
    others = [i for i in (groups.members == number).nonzero().flatten().tolist() if i != typical]
    pictures = [_drawn(probe.images[i], report.grid_maps[i], end, report) for i in (typical, *others)[:MOST_PICTURES]]
    plain = torch.full((3, *probe.images.shape[-2:]), 0.5)
    name = f"{n} pictures, {percent(share)} of class {label}" if n > 1 else f"1 picture, of class {label}"
    return render.SheetRow(name, [_drawn(plain, groups.means[number], end, report), *pictures])


def _drawn(image: Tensor, attention: Tensor, end: float, report: Report) -> render.Picture:
    return render.overlay(render.photo_of(image, CELL), attention, None, end, against=report.is_against)
