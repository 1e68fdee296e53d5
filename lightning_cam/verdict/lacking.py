"""What is missing for a verdict, or for another one, in sentences: with what to do about it."""

import math
from collections.abc import Mapping, Sequence

from ..attribution.outputs import predicted_classes
from ..cues import cue_named
from ..examination import Report
from ..intervention import Reliance
from ..probe.task import CLASSES, OBJECTS, OF_MAPS, VALUES
from ..statistics import FEWEST, is_below_chance
from ..text import percent
from .phrases import PHRASES
from .reasons import kind_of
from .record import PASS

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
    phrases = PHRASES[kind_of(report)]
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


def _reversed(report: Report) -> str:
    """Why a model is right far more seldom than by chance; empty where it is not, and where classes are not all."""
    if kind_of(report) in (VALUES, OBJECTS, *OF_MAPS):
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
