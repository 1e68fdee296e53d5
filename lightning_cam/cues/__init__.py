"""Cues: what may tell classes apart without being the object, by name and by what the audit measures."""

from dataclasses import replace

from .boxes import by_boxes
from .patch import patch_remedy
from .record import Cue, Remedy
from .table import (
    BACKGROUND,
    BORDER,
    CAST,
    CODEC,
    CONTRAST,
    CORNER,
    CUES,
    EDGE,
    EXPOSURE,
    FILE,
    FREQUENCY,
    ORIENTATION,
    PATCH,
    POSITION,
    REGION,
    RESOLUTION,
    SCALE,
    STYLE,
    TONE,
)

__all__ = [
    "ATTRIBUTE",
    "BACKGROUND",
    "BORDER",
    "CAST",
    "CODEC",
    "CONTRAST",
    "CORNER",
    "CUES",
    "EDGE",
    "EXPOSURE",
    "FILE",
    "FREQUENCY",
    "ORIENTATION",
    "PATCH",
    "POSITION",
    "REGION",
    "RESOLUTION",
    "SCALE",
    "STYLE",
    "TONE",
    "Cue",
    "Remedy",
    "attribute_cue",
    "attribute_of",
    "by_attribute",
    "by_boxes",
    "cue_named",
    "cue_of_fact",
    "patch_remedy",
    "remedy_for",
]

_BY = " by "
ATTRIBUTE = "attribute "
"""The name of the cue of an attribute that a user knows begins with this, and ends with the attribute's own name."""


def attribute_cue(attribute: str) -> Cue:
    """What goes with an attribute of pictures, such as the site: nobody knows what that is, and so how to take it away.

    >>> attribute_cue("site").name
    'attribute site'
    """
    name = f"{ATTRIBUTE}{attribute}"
    what = (
        f"augmentation does not remove what nobody can name: fit the last layer again on pictures of which each class "
        f"has as many with every value of {attribute!r}, or sample the training pictures in that way"
    )
    code = (
        "from lightning_cam import remedies\n"
        f"# values: {attribute!r} of each item of the data set, in its order; best a data set that was held out\n"
        "model = remedies.refit_head(model, dataset, values)\n"
        "# to train anew: DataLoader(train_dataset, sampler=remedies.balanced_sampler(targets, train_values))"
    )
    return Cue(name, f"what goes with {attribute!r}", Remedy(what, code), facts=(name,))


def by_attribute(cue: Cue, attribute: str) -> Cue:
    """A cue as it differs between values of an attribute, such as sites, while the class is the same.

    >>> by_attribute(BACKGROUND, "site").name
    'background by site'
    """
    which, observed = repr(attribute), attribute_cue(attribute)
    what = f"{cue.remedy.what}; or let each class have as many training pictures with every value of {which}"
    # Who has no masks can cut away a border, but not what lies behind the object as well.
    remedy = replace(cue.remedy, what=what) if cue == BACKGROUND else observed.remedy
    return replace(
        cue,
        name=f"{cue.name}{_BY}{attribute}",
        words=f"{cue.words} of another {which}",
        remedy=remedy,
        part_of=None,
        facts=(),
        object_facts=(),
        shows_as=(),
        felt_in=(cue.name, *cue.shows_as, *cue.felt_in, observed.name),
        other="but of the same class",
        allowed_with=(cue.name, observed.name),
    )


def attribute_of(name: str) -> str:
    """The attribute in the name of a cue, whether it is seen in pictures as they are or swapped; empty without one.

    >>> attribute_of("background by site"), attribute_of("attribute site"), attribute_of("background")
    ('site', 'site', '')
    """
    if name.startswith(ATTRIBUTE):
        return name.removeprefix(ATTRIBUTE)
    base, _, attribute = name.partition(_BY)
    return attribute if base in _BY_NAME else ""


_BY_NAME = {cue.name: cue for cue in (*CUES, FILE)}
_BY_FACT = {fact: cue for cue in _BY_NAME.values() for fact in cue.facts}


def cue_named(name: str) -> Cue:
    """The cue of that name, of an attribute, or ``file``; of any other name a cue of the user's own, off the object.

    >>> cue_named("codec").words
    'the JPEG quality'
    >>> cue_named("a cue of your own").remedy.what
    'vary a cue of your own at random'
    """
    if name.startswith(ATTRIBUTE):
        return attribute_cue(name.removeprefix(ATTRIBUTE))
    if attribute_of(name):
        return by_attribute(_BY_NAME[name.partition(_BY)[0]], attribute_of(name))
    return _BY_NAME.get(name) or Cue(name, name, Remedy(f"vary {name} at random", ""))


def cue_of_fact(fact: str) -> Cue:
    """The cue that a fact of the audit shows. Facts about cells of a picture have names of their own: the region.

    >>> cue_of_fact("format").name, cue_of_fact("edge cell (0, 3)").name
    ('codec', 'region')
    """
    return cue_named(fact) if fact.startswith(ATTRIBUTE) else _BY_FACT.get(fact, REGION)


def remedy_for(name: str) -> Remedy:
    """What to do about a cue, or about ``file``.

    >>> print(remedy_for("frequency").code)
    from torchvision.transforms import v2
    transform = v2.GaussianBlur(kernel_size=5, sigma=(0.1, 2.0))
    """
    return cue_named(name).remedy
