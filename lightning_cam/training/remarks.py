"""What is said of a fit that goes on: about its data, its maps, and what can be looked at at all."""

import re

from ..probe import Probe
from .failures import warn

OF_TRAINING = "there is no validation data yet, so the probe is drawn from the training data"
UNCALLED = "the model is not called with images alone, so that a batch of yours has to show how."
SUBJECT = (
    "lightning_cam looks at networks that give class scores or values for images, and have a layer with a map of the "
    "image."
)
READ_AS_VALUES = (
    "the targets are whole numbers and the model gives one number for each picture, so they are read as values to "
    'predict; if they are classes, pass CAMCallback(Probe.from_dataset(dataset, task="classes"), forward=lambda '
    "module, images: class_scores)"
)


def refusal(error: str) -> str:
    """Why a model cannot be looked at, from class and message of an exception of ours."""
    return f"{re.sub(r'^[A-Za-z]*Error: ', '', error)}. {SUBJECT}"


def warn_of_copies(probe: Probe) -> None:
    """Copies count twice in every mean, and make every interval narrower than it is."""
    if copies := probe.copies():
        warn(f"{len(copies)} of {len(probe)} probe images are copies, such as {copies[0]!r}; leave them out")


def empty_maps(step: int) -> str:
    """Of a check whose maps are all empty."""
    return (
        f"every map of the check at step {step} is empty: the class scores do not depend on this layer there, or no "
        "channel supports the class; try another layer='...'"
    )
