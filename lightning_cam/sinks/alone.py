"""A report and a verdict on their own, without a run: a page, a frame for notebooks, and a verdict in words."""

from collections.abc import Sequence
from html import escape
from itertools import compress

from .. import front
from ..examination import Evidence, Reading, Report
from ..probe import Probe
from ..verdict import Verdict, judge
from .frames import in_numbers, portraits_of, shown_probes, snapshot_of
from .methods import methods_figure
from .page import Page
from .page_words import verdict_entry
from .pages import compared, evidence_picture, facts_of
from .report_page import ONE_LOOK, RunPage
from .slices import pictured
from .snapshot import MOST_PROBES
from .verdict_file import versions

PREFIX = "cam"
UNASKED = "No pictures with the swapped cue were given to this page; see Report.to_html(evidence=...)."
HEIGHT = 820  # pixels of the frame: the verdict and the slider; it scrolls, as a page of its own does


def report_html(report: Report, verdict: Verdict | None = None, evidence: Sequence[Evidence] = ()) -> str:
    """A report as one page, with the evidence that there is.

    Raises:
        ValueError: The report was made without its probe.
    """
    if report.probe is None:
        raise ValueError("this report has no probe, so there are no pictures to show; examine(model, probe) keeps it")
    judged = judge(report) if verdict is None and (report.reliances or report.attributes) else verdict
    run = RunPage()
    run.add(_page(report, report.probe, judged, evidence))
    facts = {
        **facts_of(report.probe, report),
        **_trust_of(report),
        "probe fingerprint": report.probe.fingerprint,
        **versions(),
    }
    return run.drawn(run.words(ONE_LOOK, facts, no_evidence=UNASKED))


def _page(report: Report, probe: Probe, verdict: Verdict | None, evidence: Sequence[Evidence]) -> Page:
    scalars = {f"{PREFIX}/{key}": value for key, value in report.scalars.items()}
    shown = shown_probes(report.targets, MOST_PROBES)
    frame = in_numbers(report, Reading(0, 0, scalars), shown)
    methods = methods_figure(probe, report, shown.tolist())
    figures = {} if methods is None else {"methods": methods}
    probe = pictured(probe)
    portraits = portraits_of(probe, frame)
    snapshot = snapshot_of(frame, portraits)
    stay = report.untrusted.get(report.method)
    stuck = () if stay is None else tuple(compress(portraits.names, stay[frame.shown[portraits.rows]].tolist()))
    pictures = {shown.cue: evidence_picture(probe, shown) for shown in evidence}
    return Page(
        PREFIX, 0, 0, scalars, verdict=verdict, snapshot=snapshot, evidence=pictures, figures=figures, untrusted=stuck
    )


def _trust_of(report: Report) -> dict[str, str]:
    """What came of the comparison with random weights, if it was asked for."""
    said = {name: compared(int(stay.sum())) for name, stay in report.untrusted.items()}
    return {f"random weights{f', {name}' * (len(said) > 1)}": text for name, text in said.items()}


def framed(page: str) -> str:
    """A page as an element of another one, which it can neither read nor change."""
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" title="lightning_cam: report" width="100%" '
        f'height="{HEIGHT}" style="border: 0"></iframe>'
    )


def verdict_html(verdict: Verdict) -> str:
    """A verdict as an element of another page, in words alone."""
    return front.words(verdict_entry(verdict))
