"""The remedy for a patch that was found: it names the class that shows it and, if it keeps to one, its place."""

from dataclasses import replace

from .record import Remedy
from .table import PATCH

Box = tuple[float, float, float, float]  # top, left, bottom and right, as shares of the height and of the width


def patch_remedy(label: str, share: float, box: Box | None) -> Remedy:
    """What to do about the patch of a class.

    Args:
        label: The class.
        share: Of its pictures, how many show the patch.
        box: Where it lies in all of them; None where its place varies.

    >>> patch_remedy("cat", 0.9, (0.0, 0.75, 0.2, 1.0)).what
    "90 % of 'cat' pictures show the patch in one place: cover that place in all pictures of all classes"
    """
    shows = f"{100 * share:.0f} % of {label!r} pictures show the patch"
    if box is None:
        code = f"# {shows}, at places that vary\n{PATCH.remedy.code}"
        return replace(PATCH.remedy, what=f"{shows}, at places that vary: {PATCH.remedy.what}", code=code)
    top, left, bottom, right = (f"{end:.2f}" for end in box)
    code = (
        "import torch\nfrom torchvision.transforms import v2\n"
        f"# {shows} here, in shares of the height and of the width\n"
        "def covered(image):\n    channels, height, width = image.shape\n"
        f"    rows = slice(int({top} * height), round({bottom} * height))\n"
        f"    columns = slice(int({left} * width), round({right} * width))\n"
        "    image = image.clone()\n    image[:, rows, columns] = torch.rand(channels, 1, 1)\n    return image\n"
        "to_floats = v2.Compose([v2.RGB(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])\n"
        "transform = v2.Compose([to_floats, v2.Lambda(covered)])"
    )
    return Remedy(f"{shows} in one place: cover that place in all pictures of all classes", code)
