"""The page on which a person looks at masks and corrects them. It needs no server."""

from pathlib import Path

from PIL import Image
from torch import Tensor

from .. import front
from ..datasets.pictures import MAX_PIXELS, content_of, resized, resized_mask
from ..maskers import Annotations
from ..maskers.reviewed import FORM, VERSION, runs_of
from ..probe import Probe
from ..probe.folders import chosen_files
from ..render import photo_of
from ..sinks.snapshot import data_uri
from ..text import printable

SIDE = 224  # pixels a side while masks are found; pictures of any shape are squeezed into it, and stretched again
SHOWN = 256  # pixels of the longer side on the page: an outline is judged at a glance


def page(folder: Path, n: int, masks: Annotations | None) -> str:
    """The page of ``n`` pictures in a folder of classes.

    Raises:
        ValueError: The message names the problem and the solution.
    """
    probe = Probe.from_folder(folder, n, size=(SIDE, SIDE), masks=masks)
    _, chosen = chosen_files(folder, n, seed=0, masks=masks)
    files = [each.file for each in chosen]
    pictures = [_entry(probe, position, file, folder) for position, file in enumerate(files)]
    words = {
        "folder": printable(folder),
        "form": FORM,
        "version": VERSION,
        "classes": list(map(printable, probe.classes)),
    }
    return front.masks({"source": front.embedded({**words, "pictures": pictures}), "n": len(files)})


def _entry(probe: Probe, position: int, file: Path, folder: Path) -> dict[str, object]:
    with Image.open(content_of(file, MAX_PIXELS)) as picture:
        height, width = picture.height, picture.width
    scale = min(SHOWN / max(height, width), 1)
    grid = (max(round(scale * height), 1), max(round(scale * width), 1))
    image = resized(probe.images[position], grid).clamp(0, 1)
    mask: Tensor | None = None if probe.masks is None else probe.masks[position]
    return {
        "file": file.relative_to(folder).as_posix(),
        "source": probe.mask_sources[position],
        "size": [height, width],
        "grid": list(grid),
        "counts": runs_of(resized_mask(mask, grid)) if mask is not None and mask.any() else [],
        "picture": data_uri(photo_of(image, max(grid)), lossless=max(grid) <= 64),
    }
