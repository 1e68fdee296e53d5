"""Maps of several methods beside each other, as a figure; pure."""

from .. import render
from ..examination import Report
from ..probe import Probe

MOST_ROWS = 8  # pictures
AGAINST = "against_"  # as `cams.against` names its methods: in their own colour
CELL = 112  # longest side of a picture, in pixels


def methods_figure(probe: Probe, report: Report, shown: list[int]) -> render.Picture | None:
    """A row for each of the first shown images, a column for each method; None for one method, and for volumes."""
    if not report.method_maps or probe.has_volumes:
        return None
    maps = {report.method: report.grid_maps, **{name: both[0] for name, both in report.method_maps.items()}}
    ends = {name: render.scale_end([each]) for name, each in maps.items()}
    rows = []
    for i in shown[:MOST_ROWS]:
        photo = render.photo_of(probe.images[i], CELL)
        drawn = [
            _marked(render.overlay(photo, each[i], None, ends[name], against=name.startswith(AGAINST)), report, name, i)
            for name, each in maps.items()
        ]
        rows.append(render.SheetRow(probe.names[i], [photo, *drawn]))
    of_what = "the true class" if report.scores is None else "the score"
    says = f"for {of_what}; in blue what argues against it"
    if any(bool(stay.any()) for stay in report.untrusted.values()):
        says += "; not to trust: the same with random weights"
    return render.sheet(rows, ["input", *maps], title="Methods side by side", says=says)


def _marked(picture: render.Picture, report: Report, name: str, i: int) -> render.Picture:
    """The picture, with a word on a map that stays the same with random weights."""
    stay = report.untrusted.get(name)
    return picture if stay is None or not stay[i] else render.captioned(picture, "not to trust")
