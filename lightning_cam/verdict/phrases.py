"""What a reliance and its lack are called, for each kind of task."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..probe.task import CLASSES, LABELS, OBJECTS, PRESENCE, REGIONS, SIZES, VALUES


@dataclass(frozen=True)
class Phrases:
    """Parts of sentences.

    Attributes:
        alike: Why nothing can be judged where all images have the same answer.
        unlearned: Why nothing can be judged where the model knows too little.
        loses: What a swap does, with a bound as a number or as a share; before it stands what is swapped.
        did: What a cue of another answer did, with its mean; before it stands the cue.
        stays: The same of what is left of a picture beside its mask.
        right: On which share of the pictures a model does what is right.
        donor: The donor of the same answer.
        other: Whose cue a swap brings instead.
        loser: Who loses by a swap, and of what; between them stands the figure.
        head: Of a column of reliances.
        legend: What that column holds.
        figure: The same within a sentence.
    """

    alike: str
    unlearned: str
    loses: str
    did: str
    stays: str
    right: str
    donor: str
    other: str
    loser: tuple[str, str]
    head: str
    legend: str
    figure: str


_OF_CLASSES = Phrases(
    alike=(
        "the probe has images of one class alone, so nothing can be judged; a verdict needs two classes or more: if "
        "the validation data has one alone, pass CAMCallback(Probe.from_dataset(train_dataset)); a label below 0 "
        "counts as none: if yours are -1 and 1, pass CAMCallback(read=lambda item: (item[0], int(item[1] > 0)))"
    ),
    unlearned="the model does not tell the probe's classes apart better than by chance, so there is nothing to judge",
    loses="costs the right class {bound:.2f} of its probability or more",
    did="another class the right class loses {mean:.2f} of its probability",
    stays="the right class loses less than {bound:.2f} of its probability",
    right="the model is right on {share}",
    donor="another picture of the same class",
    other="of another class instead of its own",
    loser=("the right class loses", "of its probability"),
    head="probability lost",
    legend=(
        "Probability lost: what the right class loses when an image gets the cue of another class instead of another "
        "image of its own class. 0 means not used, more than {margin:.2f} is too much."
    ),
    figure="the probability that the right class loses",
)
PHRASES: Mapping[str, Phrases] = {
    CLASSES: _OF_CLASSES,
    LABELS: Phrases(
        **{
            **vars(_OF_CLASSES),
            "unlearned": "the model tells none of the probe's labels better than by chance, so there is nothing to "
            "judge",
        }
    ),
    REGIONS: Phrases(
        alike=(
            "the largest region of every picture of the probe is of one class, so nothing can be judged; a verdict "
            "needs two classes or more beside the background"
        ),
        unlearned=(
            "the model finds too little of the probe's regions, or tells their classes no better than by chance, so "
            "there is nothing to judge"
        ),
        loses="costs the right class {bound:.2f} of its overlap (IoU) or more",
        did="another class the right class loses {mean:.2f} of its overlap (IoU)",
        stays="the right class loses less than {bound:.2f} of its overlap (IoU)",
        right="the right class overlaps a region most on {share}",
        donor="another picture of the same class",
        other="of another class instead of its own",
        loser=("the right class loses", "of its overlap with the region (IoU)"),
        head="IoU lost",
        legend=(
            "IoU lost: what the right class loses of its overlap with the region when all around it comes from a "
            "picture of another class instead of another picture of its own. 0 means not used, more than {margin:.2f} "
            "is too much."
        ),
        figure="the overlap (IoU) with the region that the right class loses",
    ),
    PRESENCE: Phrases(
        alike=(
            "every picture of the probe has the object, or none has it, so nothing can be judged; a verdict needs "
            "pictures with and without it, or objects of several sizes"
        ),
        unlearned=(
            "the model does not find the objects, or finds some where there are none, so there is nothing to judge"
        ),
        loses="costs the right answer {bound:.2f} of overlap (IoU) or more",
        did="pictures with or without the object, whichever it is not, the right answer loses {mean:.2f} of overlap",
        stays="the right answer loses less than {bound:.2f} of overlap (IoU)",
        right="the object is found, or nothing where it is absent, on {share}",
        donor="another picture with the object, or without it like their own",
        other="of pictures with the object instead of those without it, or the other way round",
        loser=("the right answer loses", "of overlap (IoU)"),
        head="IoU lost",
        legend=(
            "IoU lost: how much less a model finds the object (IoU), or how much more it finds where there is none, "
            "when all around comes from a picture of the other kind, with or without the object. 0 means not used, "
            "more than {margin:.2f} is too much."
        ),
        figure="the overlap (IoU) with the object that the right answer loses",
    ),
    SIZES: Phrases(
        alike=(
            "all objects of the probe are of the same size and of one class, and no picture is without one, so there "
            "is nothing that a cue could tell; a verdict needs some pictures without the object"
        ),
        unlearned="the model finds too little of the probe's objects, so there is nothing to judge",
        loses="costs {bound:.2f} of the overlap with the object (IoU) or more",
        did="a picture whose object is larger or smaller the overlap with the object falls by {mean:.2f}",
        stays="the overlap with the object (IoU) falls by less than {bound:.2f}",
        right="the object is found (IoU above 0.5) on {share}",
        donor="another picture whose object is about as large",
        other="of pictures whose object is larger or smaller",
        loser=("the object loses", "of its overlap (IoU)"),
        head="IoU lost",
        legend=(
            "IoU lost: how much less a model finds the object (IoU) when all around comes from a picture whose object "
            "is larger or smaller, instead of one of about its size. 0 means not used, more than {margin:.2f} is too "
            "much. All pictures of the probe have the object, so it is not known whether the model would find one "
            "where there is none."
        ),
        figure="the overlap (IoU) with the object that is lost",
    ),
    OBJECTS: Phrases(
        alike=(
            "the largest object of every picture of the probe is of one class, so nothing can be judged; a verdict "
            "needs objects of two classes or more, because a shortcut tells one from another; of one class the maps "
            "show where the detector looks, and pictures of another place show whether it still finds the objects"
        ),
        unlearned=(
            "the model finds too few of the probe's objects, or tells their classes no better than by chance, so there "
            "is nothing to judge"
        ),
        loses="costs the right class {bound:.2f} of its confidence or more",
        did="another class the right class loses {mean:.2f} of its confidence",
        stays="the right class loses less than {bound:.2f} of its confidence",
        right="the surest detection at the box is of the right class on {share}",
        donor="another picture of the same class",
        other="of another class instead of its own",
        loser=("the right class loses", "of its confidence at the box"),
        head="confidence lost",
        legend=(
            "Confidence lost: what the right class loses in its surest detection at the box of the object (IoU of 0.5 "
            "or more; 0 if there is none) when only the cue comes from a picture of another class instead of another "
            "picture of its own. 0 means not used, more than {margin:.2f} is too much."
        ),
        figure="the confidence at the box of the object that the right class loses",
    ),
    VALUES: Phrases(
        alike=(
            "all pictures of the probe have the same value, so nothing can be judged; a verdict needs pictures of "
            "unlike values"
        ),
        unlearned="the predictions do not rise with the probe's true values, so there is nothing to judge",
        loses="moves predictions {share} or more of the way to the value of another picture",
        did="a picture with another value predictions move {share} of the way to that value",
        stays="predictions move less than {share} of the way to the value of another picture",
        right="the prediction is on the right side of the middle value on {share}",
        donor="another picture of about the same value",
        other="of pictures with another value",
        loser=("the prediction moves", "of the way to that value"),
        head="way moved",
        legend=(
            "Way moved: how far predictions move to the value of another picture when an image gets only the cue of "
            "that picture, instead of one of about its own value. 0 means not used, 1 all the way, more than "
            "{margin:.2f} is too much."
        ),
        figure="the share of the way to the value of another picture that predictions move",
    ),
}
