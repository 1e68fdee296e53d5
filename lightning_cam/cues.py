"""The table of cues: what may tell classes apart without being the object. Trials, verdict, remedies and audit read it.

To add a cue, add one entry here and one swap to the trials of `intervention`.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Remedy:
    """What takes a cue away.

    Args:
        what: One sentence without a full stop, for people.
        code: Complete Python that defines ``transform``, which takes a picture as `ImageFolder` loads it, and its mask
            where the remedy says so; empty where code does not help. Put it first, before the transforms that the
            training uses anyway.
        other: Another way, for pictures with transparency alone.
    """

    what: str
    code: str
    other: "Remedy | None" = None

    def fitting(self, mask_sources: Collection[str]) -> "Remedy":
        """The way first that fits the pictures: that for transparency where all of them have some."""
        if self.other is None or set(mask_sources) != {_OF_TRANSPARENCY}:
            return self
        return replace(self.other, other=replace(self, other=None))

    def at(self, size: tuple[int, int]) -> "Remedy":
        """The same for pictures of that size ``(H, W)``; without it the code has 224 x 224.

        >>> Remedy("resize", "transform = v2.Resize((224, 224))").at((64, 96)).code
        'transform = v2.Resize((64, 96))'
        """
        if min(size) < 1:
            return self
        side = max(size)
        sides = f"({max(2 * side // 7, 1)}, {max(side // 2, 1)}, {side})"
        other = self.other and self.other.at(size)
        code = self.code.replace(_SIDES, sides).replace("(224, 224)", str(tuple(size)))
        return replace(self, code=code, other=other)


@dataclass(frozen=True)
class Cue:
    """One property of pictures that a model may use instead of the object.

    Args:
        name: Its name in keys, arguments and reports.
        words: The same for people, as in "with ... of another class".
        remedy: How to take it away.
        owner: Whose property it is. A cue "off object" may lead to "FAIL". A "shared" one is in part the object's own
            and leads to "WARN" at most. A cue of the "object" leads to nothing: its trial only supports the others.
        needs_masks_to_convict: Whether only masks can show that it was not the object that was swapped.
        part_of: The cue that contains this one. Swapping a part leaves a seam inside the whole, and a model may react
            to the seam alone. So the effect of the part is capped at that of the whole.
        facts: Facts of the audit that show the cue.
        object_facts: Those of the facts in which the object has a part.
        shows_as: Cues whose facts differ by class as well where this one does. They have no remedy of their own then.
        felt_in: More cues whose swap moves a model that relies on this one, since it brings this one along.
    """

    name: str
    words: str
    remedy: Remedy
    owner: Literal["off object", "shared", "object"] = "off object"
    needs_masks_to_convict: bool = False
    part_of: str | None = None
    facts: tuple[str, ...] = ()
    object_facts: tuple[str, ...] = ()
    shows_as: tuple[str, ...] = ()
    felt_in: tuple[str, ...] = ()


_SIDES = "(64, 112, 224)"
_OF_TRANSPARENCY = "alpha"  # source of a mask that a picture brings along
_V2 = "from torchvision.transforms import v2\n"
_OURS = f"{_V2}from lightning_cam import transforms\n"

_CROP = Remedy(
    "cut the outer parts away, at random, so that no place belongs to one class",
    f"{_V2}transform = v2.Compose([v2.RandomResizedCrop((224, 224), scale=(0.4, 0.8)), v2.RandomHorizontalFlip()])",
)
_JITTER = Remedy(
    "vary brightness, contrast and saturation at random",
    f"{_V2}jitter = v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)\n"
    "transform = v2.Compose([v2.RGB(), jitter])",
)

BACKGROUND = Cue(
    "background",
    "the background",
    Remedy(
        "put every object on a random background, by its mask",
        "# lightning-cam masks DIR --to MASKS --with rembg:remove draws masks where there are none\n"
        f"from torchvision import tv_tensors\n{_OURS}flattened = transforms.FlattenAlpha()\n"
        "on_any_background = transforms.RandomBackground()\n"
        "# in the __getitem__ of your data set; mask is not 0 on the object\n"
        "def transform(image, mask):\n"
        "    return on_any_background(flattened(image), tv_tensors.Mask(mask))[0]",
        Remedy(
            "put every picture on a random colour instead of behind its transparency, where all pictures have some",
            f"{_OURS}# The loader of ImageFolder would drop it: ImageFolder(folder, transform, loader=loader)\n"
            "transform = transforms.FlattenAlpha()\n"
            "loader = transforms.keep_alpha",
        ),
    ),
    needs_masks_to_convict=True,
    facts=("alpha", "hidden colour", "background pixels"),
    shows_as=("border", "corner", "region", "cast", "contrast", "frequency", "tone"),
    felt_in=("patch", "style"),
)
BORDER = Cue(
    "border",
    "the border",
    _CROP,
    needs_masks_to_convict=True,
    part_of=BACKGROUND.name,
    facts=("border colour", "border spread", "plain border"),
    shows_as=("corner", "region"),
)
CORNER = Cue(
    "corner",
    "the four corners",
    _CROP,
    needs_masks_to_convict=True,
    part_of=BACKGROUND.name,
    facts=("corner top left", "corner top right", "corner bottom left", "corner bottom right"),
)
REGION = Cue(
    "region",
    "the region",
    _CROP,
    needs_masks_to_convict=True,
    part_of=BACKGROUND.name,
)
CAST = Cue(
    "cast",
    "the colour cast, read off the object,",
    Remedy(
        "vary the colours at random",
        f"import torch\n{_V2}# image is (3, H, W), from 0 to 1\ndef random_cast(image):\n"
        "    return (image * torch.empty(3, 1, 1).uniform_(0.8, 1.25)).clamp(0, 1)\n"
        "to_floats = v2.Compose([v2.RGB(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])\n"
        "transform = v2.Compose([to_floats, v2.Lambda(random_cast)])",
    ),
    needs_masks_to_convict=True,
    facts=("mean colour",),
    object_facts=("mean colour",),
    felt_in=("background", "border", "corner", "region"),
)
CONTRAST = Cue(
    "contrast",
    "the contrast and brightness",
    _JITTER,
    owner="shared",
    needs_masks_to_convict=True,
    facts=("contrast",),
    object_facts=("contrast",),
    felt_in=("style", "background", "border"),
)
CODEC = Cue(
    "codec",
    "the JPEG quality",
    Remedy(
        "send every picture through the same encoder, at random quality, before anything else",
        f"{_OURS}transform = v2.Compose([transforms.FlattenAlpha(), transforms.RandomReencode(quality=(40, 95))])",
    ),
    facts=(
        "format",
        "colour mode",
        "palette",
        "bit depth",
        "quantisation",
        "quantisation mean",
        "chroma subsampling",
        "progressive",
        "bits per pixel",
        "file bytes",
        "blockiness",
    ),
    object_facts=("bits per pixel", "file bytes"),
    felt_in=("resolution", "frequency"),
)
RESOLUTION = Cue(
    "resolution",
    "the sharpness",
    Remedy(
        "pass every picture through one of a few sizes, at random",
        f"{_V2}sizes = v2.RandomChoice([v2.Resize((side, side)) for side in {_SIDES}])\n"
        "transform = v2.Compose([sizes, v2.Resize((224, 224))])",
    ),
    needs_masks_to_convict=True,
    facts=("width", "height", "aspect", "megapixels", "sharpness"),
    object_facts=("sharpness",),
)
FREQUENCY = Cue(
    "frequency",
    "the fine texture",
    Remedy("blur at random", f"{_V2}transform = v2.GaussianBlur(kernel_size=5, sigma=(0.1, 2.0))"),
    owner="shared",
    needs_masks_to_convict=True,
    facts=("fine detail",),
    object_facts=("fine detail",),
)
POSITION = Cue(
    "position",
    "the position",
    Remedy(
        "move and mirror every picture at random",
        f"{_V2}moved = v2.RandomAffine(degrees=0, translate=(0.25, 0.25))\n"
        "transform = v2.Compose([moved, v2.RandomHorizontalFlip()])",
    ),
    owner="shared",
)
TONE = Cue(
    "tone",
    "the tone",
    _JITTER,
    owner="object",
    facts=("saturation",),
    object_facts=("saturation",),
)

PATCH = Cue(
    "patch",
    "a small patch that recurs (a stamp, a logo, a date)",
    Remedy(
        # A network with a text at random places was right on 0.41 of pictures with the other class's text after it, and
        # on 0.70 with its own; on 0.04 and 0.96 after six squares of a third of the size.
        "cut the patch away, or paste it on pictures of every class; where that cannot be done, cover squares at "
        "random places, which leaves a part of it",
        f"import torch\n{_V2}to_floats = v2.Compose([v2.RGB(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])\n"
        "squares = [v2.RandomErasing(p=1, scale=(0.02, 0.12), ratio=(0.3, 3.0), value=0.5) for _ in range(10)]\n"
        "transform = v2.Compose([to_floats, *squares])",
    ),
    needs_masks_to_convict=True,
    facts=("repeated patch",),
    object_facts=("repeated patch",),
    shows_as=("border", "corner", "region"),
    felt_in=("background",),
)

STYLE = Cue(
    "style",
    "the style of the whole picture (shifts of colours and rows, saturation, noise, patterns)",
    Remedy(
        "pass all pictures through the same processing; else give each a random one, and train for more epochs",
        f"{_OURS}transform = v2.Compose([v2.RGB(), transforms.RandomStyle()])",
    ),
    needs_masks_to_convict=True,
    felt_in=("background", "border", "corner", "region", "cast", "resolution", "frequency"),
)

EDGE = Cue(
    "edge",
    "the rim of the object (a halo, a fringe of cutting out)",
    Remedy(f"cut objects out again in one way; else {BACKGROUND.remedy.what}", BACKGROUND.remedy.code),
    owner="shared",  # a mask that is too tight leaves a rim of the object itself
    needs_masks_to_convict=True,
    felt_in=("background", "resolution", "frequency"),
)

FILE = Cue(
    "file",
    "the file",
    Remedy("no network sees this, but the classes come from different places: look for what else differs", ""),
    facts=(
        "file extension",
        "file name prefix",
        "source folder",
        "ICC profile",
        "DPI",
        "EXIF",
        "EXIF orientation",
        "camera make",
        "software",
    ),
)
"""Facts about files, which no network sees."""

CUES = (
    *(BACKGROUND, BORDER, CORNER, REGION, CAST, CONTRAST, CODEC),
    *(RESOLUTION, FREQUENCY, POSITION, TONE, PATCH, STYLE, EDGE),
)
"""The cues that a network sees, in the order of reports."""

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
