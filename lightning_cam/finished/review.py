"""The page on which a person looks at masks and corrects them. It needs no server."""

from pathlib import Path

from PIL import Image
from torch import Tensor

from .. import front
from ..datasets.pictures import MAX_PIXELS, content_of, resized, resized_mask
from ..maskers import Annotations
from ..maskers.outlines import Size
from ..maskers.reviewed import FORM, VERSION, runs_of
from ..probe import Probe
from ..probe.folders import chosen_files
from ..probe.storage import is_saved
from ..render import photo_of
from ..sinks.snapshot import LOSSLESS, data_uri
from ..text import printable

SIDE = 224  # pixels a side while masks are found; pictures of any shape are squeezed into it, and stretched again
SHOWN = 256  # pixels of the longer side on the page: an outline is judged at a glance


def page(folder: Path, n: int, masks: Annotations | None) -> str:
    """The page of ``n`` pictures in a folder of classes, or of those in a saved probe.

    Raises:
        ValueError: The message names the problem and the solution.
    """
    pictures = _of_probe(Probe.load(folder, preprocess=_unused)) if is_saved(folder) else _of_folder(folder, n, masks)
    words = {"folder": printable(folder), "form": FORM, "version": VERSION}
    return front.masks({"source": front.embedded({**words, "pictures": pictures}), "n": len(pictures)})


def is_page_of(folder: Path, file: Path) -> bool:
    """Whether a file is a page of the pictures in that folder, which may be written anew."""
    return front.embedded({"folder": printable(folder)})[1:-1] in file.read_text(encoding="utf-8", errors="replace")


def _unused(images: Tensor) -> Tensor:
    """In place of a step that the probe was saved without: no model sees the pictures here."""
    return images


def _of_probe(probe: Probe) -> list[dict[str, object]]:
    size = (probe.images.shape[2], probe.images.shape[3])
    return [_entry(probe, position, name, size) for position, name in enumerate(probe.names)]


def _of_folder(folder: Path, n: int, masks: Annotations | None) -> list[dict[str, object]]:
    probe = Probe.from_folder(folder, n, size=(SIDE, SIDE), masks=masks)
    _, chosen = chosen_files(folder, n, seed=0, masks=masks)
    files = [each.file for each in chosen]
    return [
        _entry(probe, position, file.relative_to(folder).as_posix(), _size_of(file))
        for position, file in enumerate(files)
    ]


def _size_of(file: Path) -> Size:
    with Image.open(content_of(file, MAX_PIXELS)) as picture:
        return picture.height, picture.width


def _entry(probe: Probe, position: int, file: str, size: Size) -> dict[str, object]:
    scale = min(SHOWN / max(size), 1)
    grid = (max(round(scale * size[0]), 1), max(round(scale * size[1]), 1))
    image = resized(probe.images[position], grid).clamp(0, 1)
    mask = None if probe.masks is None else probe.masks[position]
    return {
        "file": file,
        "label": probe.classes[int(probe.targets[position])],
        "source": probe.mask_sources[position],
        "size": list(size),
        "grid": list(grid),
        "counts": runs_of(resized_mask(mask, grid)) if mask is not None and mask.any() else [],
        "picture": data_uri(photo_of(image, max(grid)), lossless=max(grid) <= LOSSLESS),
    }
