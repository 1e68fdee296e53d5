"""The verdict in sentences: why this outcome, and what is missing for another."""

import math
from collections.abc import Mapping, Sequence

from ..attribution.outputs import predicted_classes
from ..cues import cue_named
from ..examination import Report
from ..intervention import MARGIN, Reliance
from ..probe.task import CLASSES, OBJECTS, OF_MAPS, VALUES
from ..statistics import FEWEST, is_below_chance
from ..text import percent
from .phrases import PHRASES
from .record import FAIL, PASS, Finding
from .untested import LISTED, names_of_all

_MOST_LABELS = 6  # in a sentence
_MOST_CLASSES = 3  # each with its cues, in a sentence
_OF_ONE_CLASS = 16  # images of one class; 11 rule out `CLASS_MARGIN` if none of them loses anything
_MOST_NAMED = 10_000  # images; whoever needs more is not helped by the number

REVERSED = (
    "labels or scores may be in another order, or belong to another task; if your step changes the labels, pass "
    "CAMCallback(read=lambda item: (image, class_index)), and if it changes the scores, "
    "CAMCallback(forward=lambda module, images: class_scores)"
)
_TO_CURE = (
    "look at the step at which the loss became NaN: a lower learning rate, gradient_clip_val or full precision may help"
)
_NONE_COUNTS = "no cue was tested that may lead to a verdict: there are no trials, or all of their cues are expected"
_NO_CLASS_SCORES = "the model gives no class scores, so the maps explain score= and no cue was swapped"
_TOO_FEW = (
    f"the probe has too few images for any claim: it needs two classes with two images each, {FEWEST} images in all; "
    "32 of each class do well"
)


def nothing_to_judge(report: Report, most: Mapping[str, str]) -> str:
    """Why a report has nothing that leads to a verdict.

    Args:
        report: What was measured.
        most: The most that each cue may lead to.
    """
    phrases = PHRASES[_kind(report)]
    if not report.has_answers:
        return _NO_CLASS_SCORES
    if report.n_unanswered and not report.learned:
        return f"{_unanswered(report)}, so there is nothing to judge; {_TO_CURE}"
    if report.has_one_class:
        return phrases.alike
    if not report.learned:
        return _reversed(report) or phrases.unlearned
    return _NONE_COUNTS if all(most[trial.cue] == PASS for trial in report.trials) else _TOO_FEW


def without_answers(report: Report) -> str:
    """An addition where some images have no answer."""
    return f"; {_unanswered(report)}, which count nowhere" if report.n_unanswered else ""


def _unanswered(report: Report) -> str:
    return f"the model's outputs are NaN or infinite for {report.n_unanswered} of {len(report.logits)} probe pictures"


def _kind(report: Report) -> str:
    return CLASSES if report.task is None else report.task.kind


def _reversed(report: Report) -> str:
    """Why a model is right far more seldom than by chance; empty where it is not, and where classes are not all."""
    if _kind(report) in (VALUES, OBJECTS, *OF_MAPS):
        return ""
    if not len(report.targets) or len(report.targets) != len(report.logits):  # a report made by hand
        return ""
    right = predicted_classes(report.logits) == report.targets
    share = percent(float(right.float().mean()))
    is_below = is_below_chance(right, report.targets)
    return (
        f"the model is right on {share} of the probe's pictures, far fewer than by chance; {REVERSED}"
        if is_below
        else ""
    )


def relies(findings: Sequence[Finding]) -> str:
    """On what the model relies, beyond doubt or perhaps, and what is likely seen through that."""
    causes = [finding for finding in findings if finding.is_cause]
    behind_failing = {finding.cause or finding.cue for finding in findings if finding.outcome == FAIL}
    failing = [finding.cue for finding in causes if finding.cue in behind_failing]
    verb, cues = ("relies", failing) if failing else ("may rely", [finding.cue for finding in causes])
    effects = [f.cue for f in findings if not f.is_cause and f.cause in cues]
    through = f"; likely the same cause: {', '.join(effects)}" if effects else ""
    return f"the model {verb} on something that is not the object: {' and '.join(cues)}{through}"


def measured(reliance: Reliance) -> str:
    """How much a model relies on one cue."""
    if reliance.kind == VALUES:
        return _moved(reliance)
    cue, own, other = cue_named(reliance.cue), reliance.accuracy_own, reliance.accuracy_other
    what, phrases = cue.words, PHRASES[reliance.kind]
    loser, quantity = phrases.loser
    figures = f"{reliance.mean:.2f} {quantity} (95 % interval {reliance.low:.2f} to {reliance.high:.2f})"
    right = "" if math.isnan(own) else f"{_right(own, other, phrases.right)}, and "
    reach = f"; judged on {reliance.reach}" if reliance.reach else ""
    if reliance.label:
        of, lost = f"of pictures that differ in {reliance.label!r}", "the right answer for that label loses"
        return f"{reliance.cue}: with {what} {cue.other or of}, {right}{lost} {figures}{reach}"
    lost = f"{right}{loser} {figures}{reach}{_worst_class(reliance)}"
    return f"{reliance.cue}: with {what} {cue.other or phrases.other}, {lost}"


def _moved(reliance: Reliance) -> str:
    """How far predictions of a value move with one cue."""
    cue, own, other = cue_named(reliance.cue), reliance.accuracy_own, reliance.accuracy_other
    way = f"{percent(reliance.mean)} of the way to that value"
    interval = f"95 % interval {percent(reliance.low)} to {percent(reliance.high)}"
    moves = f"the prediction{f' of {reliance.label!r}' if reliance.label else ''} moves {way} ({interval})"
    right = PHRASES[VALUES].right.format(share=f"{percent(other)} of the pictures, not {percent(own)}")
    reach = f"; judged on {reliance.reach}" if reliance.reach else ""
    if cue.other:  # no way to another value
        return f"{reliance.cue}: with {cue.words} but of about the same value, {right}{reach}"
    also = reach if math.isnan(own) else f"; {right}{reach}"
    return f"{reliance.cue}: when pictures get only {cue.words} of others with another value, {moves}{also}"


def _right(own: float, other: float, words: str) -> str:
    """How often the model is right with the cue of another class, and with that of its own."""
    if percent(own) == percent(other):
        return words.format(share=f"{percent(own)} of the pictures as before")
    return words.format(share=f"{percent(other)} of the pictures, not {percent(own)}")


def _worst_class(reliance: Reliance) -> str:
    """The class that hangs on a cue most surely, where the others do less; empty without one."""
    if not reliance.hanging:
        return ""
    name, (own, other, _) = next(iter(reliance.hanging.items()))
    if percent(min(max(other, 0.0), 1.0)) == percent(reliance.accuracy_other):
        return ""  # as all classes together
    return f"; on pictures of {name!r} it is right on {percent(min(max(other, 0.0), 1.0))}, not {percent(own)}"


def apart(reliance: Reliance) -> str:
    """Why no PASS is given where a cue of the own class already turns answers."""
    cue, phrases = cue_named(reliance.cue), PHRASES[reliance.kind]
    right = phrases.right.format(share=f"{percent(reliance.apart)} fewer of the pictures")
    return (
        f"with {cue.words} of {phrases.donor}, {right} than with their own, pasted in the same way; so the answer "
        f"hangs on how object and {cue.name} go together, or on single pictures, which a swap between classes does "
        f"not tell; look at the evidence; to make the model do without, {cue.remedy.what}, and train again"
    )


def perhaps_own(reliance: Reliance) -> str:
    """Why no PASS is given where a property makes a difference that may be the objects' own."""
    cue, phrases = cue_named(reliance.cue), PHRASES[reliance.kind]
    lost = phrases.did.format(mean=reliance.mean, share=percent(reliance.mean))
    return (
        f"with {cue.words} of {lost}, and the probe does not surely show that whole pictures of the classes differ in "
        f"{cue.name}, as light or processing would make them; a larger probe may, or one of the training pictures; if "
        f"{cue.name} belongs to the objects, pass expected_cues={[cue.name]}; if not, {cue.remedy.what}, "
        "and train again"
    )


def of_single_classes(counted: Sequence[Reliance], n_classes: int) -> str:
    """An addition to PASS: the classes for which it is not settled. A mean over classes says little about each."""
    names = list(dict.fromkeys(name for reliance in counted for name in reliance.unsettled))
    if counted and counted[0].kind == VALUES:
        return ""
    small = [name for name in names if all(r.unsettled.get(name, (0, 0))[1] < _OF_ONE_CLASS for r in counted)]
    which = "any single class" if len(small) >= n_classes else f"{_listed(small)} alone"
    text = f"; not settled for {which}: that takes {_OF_ONE_CLASS} probe images of a class, or more" if small else ""
    large = [name for name in names if name not in small]
    text += "".join(f"; not settled for {name!r} alone: {_open_cues(counted, name)}" for name in large[:_MOST_CLASSES])
    more = len(large) - _MOST_CLASSES
    return f"{text}; not settled for {more} more classes alone either" if more > 0 else text


def _open_cues(counted: Sequence[Reliance], name: str) -> str:
    """What leaves a class open that has images enough: cues that reach few of them, or losses in some."""
    open_ = {reliance.cue: reliance.unsettled[name] for reliance in counted if name in reliance.unsettled}
    few = {cue: counts for cue, counts in open_.items() if counts[0] < _OF_ONE_CLASS}
    reached = " and ".join(f"{cue} on {n or 'none'}" for cue, (n, _) in few.items())
    reached = reached.replace(" on ", " could be swapped on ", 1)
    reached = f"of its {max(n for _, n in open_.values())} pictures, {reached}"
    parts = [f"{reached}, and a claim about one class takes {_OF_ONE_CLASS}"] if few else []
    lost = " or ".join(cue for cue in open_ if cue not in few)
    parts += [f"some of its pictures lose by the swap of {lost}, which may be chance"] if lost else []
    return " and ".join(parts)


def labels(report: Report, findings: Sequence[Finding]) -> str:
    """An addition where images have several labels: which ones rely on a cue, and of which ones nothing is known."""
    if len(report.labels) < 2:
        return ""
    words = _by_label(findings, _kind(report))
    if not report.unlearned:
        return words
    unknown = _names(report.unlearned, _kind(report))
    return (
        f"{words}; nothing is known of {unknown}: the model does not tell such pictures from others yet, or the probe "
        "has too few of them"
    )


def _by_label(findings: Sequence[Finding], kind: str) -> str:
    """For which labels a model relies on what; effects of one cause go without saying."""
    of_causes = {f.cue: f.classes for f in findings if f.is_cause and f.classes}
    names = {classes: _names(classes, kind) for classes in of_causes.values()}
    if len(names) < 2:
        return "".join(f"; it does so for {each}" for each in names.values())
    return f"; it does so {' and '.join(f'on {cue} for {names[classes]}' for cue, classes in of_causes.items())}"


def _names(labels: Sequence[str], kind: str) -> str:
    noun = "value" if kind == VALUES else "label"
    return f"the {noun} {_listed(labels)}" if len(labels) == 1 else f"the {noun}s {_listed(labels)}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_LABELS
    return ", ".join(map(repr, names[:_MOST_LABELS])) + (f" and {more} more" if more > 0 else "")


def below_margin(counted: Sequence[Reliance]) -> str:
    """What was tested and found to be small."""
    loses = PHRASES[counted[0].kind].loses.format(bound=MARGIN, share=percent(MARGIN))
    if len(counted) == 1:
        return f"no swap of the {counted[0].cue} {loses}"
    return f"none of {len(counted)} cues that were swapped {loses}: {', '.join(reliance.cue for reliance in counted)}"


def not_tested(measured: Sequence[Reliance]) -> str:
    """An addition to PASS: the cues of which nothing is known, and what no trial swaps."""
    tested = {reliance.cue for reliance in measured if not math.isnan(reliance.low)}
    return f"; {LISTED}{', '.join(name for name in names_of_all(measured) if name not in tested)}"


def context(report: Report) -> str:
    """An addition where nothing is found: a property of the object that the model goes by, which judges nothing."""
    own = [r for r in report.reliances if cue_named(r.cue).owner == "object" and r.mean > MARGIN and r.low > 0]
    return "".join(
        f"; as context: with the {r.cue} of {PHRASES[r.kind].did.format(mean=r.mean, share=percent(r.mean))}; "
        f"that is no finding, since {r.cue} belongs to the object; it is a shortcut if light or processing differ"
        for r in own
    )


def unsettled(reliances: Sequence[Reliance], n_swapped: int, n_images: int) -> str:
    """How many images would settle what these reliances leave open.

    Args:
        reliances: Whose intervals reach above the margin.
        n_swapped: Probe images that had cues swapped.
        n_images: Probe images.
    """
    widest = max(reliances, key=lambda reliance: reliance.needed_n)
    number = f"{widest.needed_n:.0f} probe images" if widest.needed_n < _MOST_NAMED else "many more probe images"
    cues = " or ".join(reliance.cue for reliance in reliances)
    if n_swapped < n_images:
        few = f"cues were swapped on {n_swapped} of the {n_images} probe images alone, too few"
        of_folders = widest.kind == CLASSES  # which have no place for maps, rows of labels, boxes or values
        command = (
            "to judge the finished model on all pictures without training, type lightning-cam examine CHECKPOINT "
            "--model package.module:Net --data PICTURES; " * of_folders
        )
        said = f"{few} to rule out that the model relies on {cues}"
        return f"{said}; {command}max_overhead=1 swaps them on all within the fit"
    if 0 < widest.n < n_images and widest.needed_n <= n_images:
        return (
            f"the {widest.cue} was swapped on {widest.n} of the {n_images} probe images alone, too few to rule out "
            "that the model relies on it; a larger probe has more such images"
        )
    return f"the probe has too few images to rule out that the model relies on {cues}; {number} would be enough"


def hidden(reliances: Sequence[Reliance], left: float) -> str:
    """What masks that may be larger than the objects leave open.

    Args:
        reliances: Whose intervals stay below the margin as far as the background was swapped.
        left: The share of a picture that the masks leave.
    """
    cues = " or ".join(reliance.cue for reliance in reliances)
    most = max(0.01, math.ceil(100 * max(reliance.high for reliance in reliances)) / 100)
    stays = PHRASES[reliances[0].kind].stays.format(bound=most, share=percent(most))
    return (
        f"the masks cover {percent(1 - left)} of a picture, and nothing under them was swapped; on the rest {stays}, "
        f"which does not rule out that the model relies on {cues}; for PASS, make the masks tighter on the page of "
        "lightning-cam masks, or pass masks of objects alone"
    )


def perhaps_object(cues: Sequence[str]) -> str:
    """An addition where swapped parts may belong to the object."""
    return f"; the object itself may be what was swapped ({' and '.join(cues)}): only masks would tell" if cues else ""


def of_object(cues: Sequence[str]) -> str:
    """An addition to WARN where cues may belong to the object, which the user knows."""
    if not cues:
        return ""
    these = "these belong" if len(cues) > 1 else f"{cues[0]} belongs"
    return (
        f"; {' and '.join(cues)} may be part of the object itself, so it does not lead to FAIL; look at the evidence, "
        f"and if {these} to the object, pass expected_cues={list(cues)}"
    )


def on_masks(cues: Sequence[str], doubts: Sequence[str]) -> str:
    """An addition where masks were guessed, or cannot be right, which proves nothing of these cues."""
    if not cues:
        return ""
    if doubts:
        return (
            f"; {'; '.join(doubts)}; until then the masks prove nothing about {' and '.join(cues)}; if they are right, "
            "look at them once: lightning-cam masks RUN_DIR writes a page, and masks that are saved there are not "
            "doubted"
        )
    return (
        f"; the masks of the objects were guessed, which proves nothing about {' and '.join(cues)}: a guess may leave "
        "out a part of an object, or take in a stamp or background; for FAIL or PASS, look at the masks once: "
        "lightning-cam masks RUN_DIR writes a page to correct them, and says how to judge again without training"
    )


def without_masks(cues: Sequence[str], report: Report) -> str:
    """An addition where cues could not be swapped."""
    if not cues:
        return ""
    is_flat = report.probe is None or report.probe.images.ndim == 4
    drawn = (
        "; or draw boxes: lightning-cam masks RUN_DIR writes a page for that, and says how to judge again without "
        "training"
    )
    return (
        f"; not measured without masks of the objects: {' and '.join(cues)}; to measure, pass CAMCallback(probe) with "
        f"probe = Probe.from_dataset(dataset, masks=masks){drawn * is_flat}; if the model may use what was not "
        f"measured, pass expected_cues={list(cues)}"
    )
