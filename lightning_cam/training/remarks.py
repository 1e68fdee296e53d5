"""What is said of a fit that goes on: about its data, its maps, and what can be looked at at all."""

import re
from collections.abc import Iterable, Mapping

from ..probe import Probe
from ..text import percent
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

_GENERATORS, _DISCRIMINATORS = ("generator", "gen", "netg", "g"), ("discriminator", "disc", "netd", "d")


def of_networks(names: Iterable[str]) -> str:
    """What a GAN's probe has to be, told by the names of its networks; empty for other modules.

    >>> of_networks(["encoder", "G"])
    ''
    """
    own = {name.lower(): name for name in names}
    generator, discriminator = (
        next((own[name] for name in usual if name in own), "") for usual in (_GENERATORS, _DISCRIMINATORS)
    )
    if not generator or not discriminator:
        return ""
    return (
        f"the module has a {generator!r} and a {discriminator!r}, as a GAN; if that tells real from generated "
        "pictures, it knows nothing of the classes of the validation data; pass CAMCallback(Probe(torch.cat([real, "
        "generated]), torch.tensor([1] * len(real) + [0] * len(generated))), forward=lambda module, images: "
        f"module.{discriminator}(images)) with 32 pictures or more of each, (N, C, H, W) from 0 to 1"
    )


def refusal(error: str) -> str:
    """Why a model cannot be looked at, from class and message of an exception of ours."""
    return f"{re.sub(r'^[A-Za-z]*Error: ', '', error)}. {SUBJECT}"


def warn_of_copies(probe: Probe) -> None:
    """Copies count twice in every mean, and make every interval narrower than it is."""
    if copies := probe.copies():
        warn(f"{len(copies)} of {len(probe)} probe images are copies, such as {copies[0]!r}; leave them out")


def of_check(scalars: Mapping[str, float], step: int, *, is_first: bool) -> dict[str, str]:
    """What is unusual about a check, by subject. The first maps may be empty, since a head may begin with zeros."""
    if share := scalars.get("undefined_answers", 0.0):
        text = (
            f"the model's outputs are NaN or infinite at step {step}, for {percent(share)} of the probe pictures: they "
            "have no answer, and nothing is judged of them"
        )
        return {"answers": text}
    if is_first or scalars["zero_map_rate"] < 1:
        return {}
    text = (
        f"every map of the check at step {step} is empty: a detector or a segmentation finds nothing yet, the class "
        "scores do not depend on this layer there, or no channel supports the class; train longer, or try another "
        "layer='...'"
    )
    return {"empty maps": text}
