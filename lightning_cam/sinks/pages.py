"""From reports to pages: what a check and the end of a fit show. Runs in the worker thread; pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from .. import render
from ..attribution.outputs import NO_ANSWER, predicted_classes
from ..cues import attribute_of
from ..examination import Evidence, Reading, Report
from ..probe import GUESS, Probe
from ..probe.task import CLASSES, OBJECTS, PRESENCE, REGIONS, SIZES, VALUES
from ..spatial import upsample
from ..text import class_name, printable
from ..verdict import Verdict
from .frames import Frame
from .page import Page, Tile
from .tensorboard import command
from .wording import closing, markdown, prose, undrawn

GUESSED = (
    "masks of the objects were guessed: look at their outlines; attention outside the object is at least what is shown"
)
_SWAP_WORDS = {
    VALUES: render.OF_VALUES,
    REGIONS: render.OF_REGIONS,
    PRESENCE: render.OF_PRESENCE,
    SIZES: render.OF_SIZES,
    OBJECTS: render.OF_OBJECTS,
}
COARSE = 5  # cells a side below which a map says little


def check_page(
    probe: Probe, frame: Frame, prefix: str, verdict: Verdict | None = None, *, alert: bool = False, end: float = 8.0
) -> Page:
    """A tile per shown probe, and the verdict so far. ``end`` is where the colours end."""
    size = (probe.images.shape[-2], probe.images.shape[-1])
    maps = [upsample(each[None], size)[0] for each in frame.maps]
    tiles = tuple(_tile(probe, frame, i, attention, end) for i, attention in enumerate(maps))
    reading = frame.reading
    return Page(prefix, reading.step, reading.epoch, reading.scalars, tiles, verdict, alert)


def final_page(
    probe: Probe,
    frames: Sequence[Frame],
    history: Sequence[Reading],
    prefix: str,
    verdict: Verdict | None = None,
    evidence: Sequence[Evidence] = (),
    *,
    alert: bool = False,
) -> Page:
    """The verdict with what led to it, the evolution strip of the whole fit and a summary of its scalars."""
    last = history[-1]
    rows = [_row(probe, frames, i) for i in range(len(frames[-1].shown))] if frames else []
    against = bool(frames) and frames[-1].is_against
    of_what = "the score" if frames and frames[-1].scores is not None else "the true class"
    title = f"What argues against {of_what}, over time" if against else "Where the model looks, over time"
    steps = [frame.reading.step for frame in frames]
    strip = render.strip(rows, steps, title=title, against=against) if rows else None
    scalars = [reading.scalars for reading in history]
    opening = [f"{command('.')}  # in the folder of the logs"]  # whose path is not kept: pages are shown to others
    numbers = render.scalar_table(title, [reading.step for reading in history], scalars, opening=opening)
    if GUESS in probe.mask_sources:
        numbers += f"\n\n{GUESSED.capitalize()}."
    shown = {picture.cue: evidence_picture(probe, picture) for picture in evidence}
    left_out = prose(undrawn(verdict, shown)) if verdict else ""
    return Page(
        prefix,
        last.step,
        last.epoch,
        verdict=verdict,
        alert=alert,
        strip=strip,
        evidence=shown,
        text=numbers if verdict is None else "\n\n".join(filter(None, [markdown(verdict), left_out, numbers])),
        numbers=numbers,
    )


def facts_of(probe: Probe, report: Report | None) -> dict[str, str]:
    """What was looked at and how; ``report`` is the one that the verdict rests on."""
    words = {GUESS: "guessed", "none": "missing"}
    sources = Counter(words.get(source, source) for source in probe.mask_sources)
    facts = {
        "pictures": f"{len(probe.images)}{f' of {len(probe.classes)} classes' * (probe.task.kind == CLASSES)}",
        "masks of objects": ", ".join(f"{n} {source}" for source, n in sources.items()),
    }
    if report is None:
        return facts
    if report.probe is not None and report.probe.has_volumes:
        facts["volumes"] = f"of {report.probe.depth} slices; the middle one of each object is shown"
    right = int((predicted_classes(report.logits) == report.targets).sum())
    return {
        **facts,
        **({"right on": f"{right} of {len(report.logits)} pictures"} if report.has_answers else {}),
        **({} if report.scores is None else {"maps explain": "score="}),
        "layer": report.layer,
        "method": report.method,
    }


def compared(n_staying: int | None) -> str:
    """Whether maps stay the same with random weights, as a fact for people; None where that is not known."""
    if n_staying is None:
        return "maps were not compared with those of random weights"
    return f"{n_staying or 'no'} map{'s' * (n_staying != 1)} stayed the same under them"


def last_words(
    probe: Probe, report: Report, n_checks: int, openings: Sequence[str], verdict: Verdict | None = None
) -> str:
    """For the terminal: the verdict, what was looked at, what could not be, and where a person finds it."""
    height, width = report.grid_maps.shape[-2:]
    said = closing(verdict) if verdict else []
    verdict_text = [*(f"lightning_cam: {line}" for line in said[:1]), *said[1:]]
    remarks = [f"lightning_cam: {n_checks} checks at layer {report.layer!r} on {probe!r}"]
    if probe.masks is None or not probe.masks.any():
        remarks.append("no masks of the objects, so attention on the background was not measured; see Probe(masks=...)")
    if GUESS in probe.mask_sources:
        remarks.append(GUESSED)
    if min(height, width) < COARSE:
        remarks.append(f"its maps are {height}x{width}, which is coarse; an earlier layer='...' has finer ones")
    return "\n".join([*verdict_text, "\n  ".join([*remarks, *map(printable, openings)])])


def evidence_picture(probe: Probe, shown: Evidence) -> render.Picture:
    """The images that a swap changed most, before and after it."""
    swaps = [
        render.SwapRow(
            probe.names[index],
            class_name(probe.classes, int(probe.targets[index])),
            tuple(panels),
            tuple(chances.tolist()),
            () if shown.predictions is None else tuple(f"{value:.4g}" for value in shown.predictions[row].tolist()),
        )
        for row, (index, panels, chances) in enumerate(
            zip(shown.chosen.tolist(), shown.images, shown.probabilities, strict=True)
        )
    ]
    words, attribute = _SWAP_WORDS.get(probe.task.kind, render.OF_CLASSES), attribute_of(shown.cue)
    cue, stays = shown.cue, ""
    if attribute:
        words = replace(words, same=f"of its own {attribute}", other=f"of another {attribute}")
        cue, stays = cue.removesuffix(f" by {attribute}"), " within a class"
    return render.evidence(swaps, cue=cue, title=f"Only the {cue} was swapped{stays}", words=words)


def _name_of(probe: Probe, predicted: int, true: int) -> str:
    """The name of a prediction. Where both sides have an object, of other sizes, a wrong one finds none."""
    is_missed = probe.task.kind == SIZES and predicted != true
    return "not found" if is_missed else class_name(probe.classes, predicted)


def _tile(probe: Probe, frame: Frame, i: int, attention: Tensor, end: float) -> Tile:
    index = int(frame.shown[i])
    true, predicted = int(probe.targets[index]), int(predicted_classes(frame.probabilities)[i])
    is_defined = predicted != NO_ANSWER
    mask = _mask(probe, index)
    outside = None if mask is None else float(frame.background[i])
    lines = render.tile_lines(
        probe.classes[true],
        _name_of(probe, predicted, true) if is_defined else None,
        float(frame.probabilities[i, predicted]),
        outside,
        frame.reading.step,
        is_empty=bool((attention == 0).all()),
        against=frame.is_against,
        guessed=_is_guessed(probe, index),
        of_volume=frame.of_volumes[i] if frame.of_volumes else "",
        score=None if frame.scores is None else float(frame.scores[i]),
        has_answer=frame.has_answers,
    )
    image, bands = render.tile(
        probe.images[index],
        attention,
        mask,
        lines,
        correct=predicted == true if is_defined else None,
        outside=outside,
        end=end,
        against=frame.is_against,
    )
    values = {
        "probability of the true class": float(frame.probabilities[i, true]),
        "background attention": float(frame.background[i]),
        **({} if frame.scores is None else {"score": float(frame.scores[i])}),
    }
    return Tile(probe.names[index], printable("; ".join(lines)), image, bands, values)


def _row(probe: Probe, frames: Sequence[Frame], i: int) -> render.Row:
    index = int(frames[-1].shown[i])
    correct = [int(predicted_classes(frame.probabilities)[i]) == int(probe.targets[index]) for frame in frames]
    return render.Row(
        probe.names[index],
        probe.images[index],
        [frame.maps[i] for frame in frames],
        _mask(probe, index),
        correct,
        [float(frame.background[i]) for frame in frames],
        _is_guessed(probe, index),
    )


def _is_guessed(probe: Probe, index: int) -> bool:
    return probe.mask_sources[index] == GUESS


def _mask(probe: Probe, index: int) -> Tensor | None:
    """A probe may lack its mask, which is all False then."""
    return None if probe.masks is None or not probe.masks[index].any() else probe.masks[index]
