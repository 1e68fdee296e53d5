"""What a reliance and its lack are called, for each kind of task."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..probe.task import CLASSES, LABELS, REGIONS, VALUES


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
    head: str
    legend: str
    figure: str


_OF_CLASSES = Phrases(
    alike=(
        "the probe has images of one class alone, so nothing can be judged; a verdict needs two classes or more: if "
        "the validation data has one alone, pass CAMCallback(Probe.from_dataset(train_dataset))"
    ),
    unlearned="the model does not tell the probe's classes apart better than by chance, so there is nothing to judge",
    loses="costs the right class {bound:.2f} of its probability or more",
    did="another class the right class loses {mean:.2f} of its probability",
    stays="the right class loses less than {bound:.2f} of its probability",
    right="the model is right on {share}",
    donor="another picture of the same class",
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
        head="IoU lost",
        legend=(
            "IoU lost: what the right class loses of its overlap with the region when all around it comes from a "
            "picture of another class instead of another picture of its own. 0 means not used, more than {margin:.2f} "
            "is too much."
        ),
        figure="the overlap (IoU) with the region that the right class loses",
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
        head="way moved",
        legend=(
            "Way moved: how far predictions move to the value of another picture when an image gets only the cue of "
            "that picture, instead of one of about its own value. 0 means not used, 1 all the way, more than "
            "{margin:.2f} is too much."
        ),
        figure="the share of the way to the value of another picture that predictions move",
    ),
}
