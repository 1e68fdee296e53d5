"""What to do about each cue, and code that can be pasted: one table for the audit and for the verdict."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Remedy:
    """What takes a cue away.

    Args:
        what: One sentence without a full stop, for people.
        code: Complete Python that defines ``transform``, from a picture as `ImageFolder` loads it on; empty where code
            does not help. Put it first, before what the training does to pictures anyway.
    """

    what: str
    code: str


_V2 = "from torchvision.transforms import v2\n"
_OURS = f"{_V2}from lightning_cam import transforms\n"

_CROP = Remedy(
    "cut the outer parts away, at random, so that no place belongs to one class",
    f"{_V2}transform = v2.Compose([v2.RandomResizedCrop(224, scale=(0.4, 0.8)), v2.RandomHorizontalFlip()])",
)
_JITTER = Remedy(
    "vary brightness, contrast and saturation at random",
    f"{_V2}jitter = v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)\n"
    "transform = v2.Compose([v2.RGB(), jitter])",
)
_REMEDIES = {
    "background": Remedy(
        "put every picture on a random colour; pictures without transparency need masks and RandomBackground for that",
        f"{_OURS}transform = transforms.FlattenAlpha()\n"
        "loader = transforms.keep_alpha  # ImageFolder(folder, transform, loader=loader); its own loader drops alpha\n"
        "other = transforms.RandomBackground()  # image, mask = other(image, tv_tensors.Mask(mask))",
    ),
    "border": _CROP,
    "corner": _CROP,
    "region": _CROP,
    "cast": Remedy(
        "vary the colours at random",
        f"import torch\n{_V2}def random_cast(image):  # (3, H, W) in [0, 1]\n"
        "    return (image * torch.empty(3, 1, 1).uniform_(0.8, 1.25)).clamp(0, 1)\n"
        "to_floats = v2.Compose([v2.RGB(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])\n"
        "transform = v2.Compose([to_floats, v2.Lambda(random_cast)])",
    ),
    "contrast": _JITTER,
    "codec": Remedy(
        "send every picture through the same encoder, at random quality, before anything else",
        f"{_OURS}transform = v2.Compose([transforms.FlattenAlpha(), transforms.RandomReencode(quality=(40, 95))])",
    ),
    "resolution": Remedy(
        "pass every picture through one of a few sizes, at random",
        f"{_V2}sizes = v2.RandomChoice([v2.Resize((side, side)) for side in (64, 112, 224)])\n"
        "transform = v2.Compose([sizes, v2.Resize((224, 224))])",
    ),
    "frequency": Remedy("blur at random", f"{_V2}transform = v2.GaussianBlur(kernel_size=5, sigma=(0.1, 2.0))"),
    "position": Remedy(
        "move and mirror every picture at random",
        f"{_V2}moved = v2.RandomAffine(degrees=0, translate=(0.25, 0.25))\n"
        "transform = v2.Compose([moved, v2.RandomHorizontalFlip()])",
    ),
    "tone": _JITTER,
    "file": Remedy("no network sees this, but the classes come from different places: look for what else differs", ""),
}


def remedy_for(cue: str) -> Remedy:
    """What to do about a cue, or about ``file``: facts about files that no network sees.

    >>> print(remedy_for("frequency").code)
    from torchvision.transforms import v2
    transform = v2.GaussianBlur(kernel_size=5, sigma=(0.1, 2.0))
    >>> remedy_for("a cue of your own").what
    'vary a cue of your own at random'
    """
    return _REMEDIES.get(cue, Remedy(f"vary {cue} at random", ""))
