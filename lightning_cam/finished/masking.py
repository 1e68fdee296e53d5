"""``lightning-cam masks``: a page to look at masks, and masks that a segmenter of the user's draws."""

import argparse
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from ..maskers import as_annotations, write_masks
from ..probe.storage import is_saved
from ..sinks.places import write_whole
from ..text import typed
from .again import N_IMAGES
from .kept import place_of_pictures
from .loading import function_named, importing_from
from .review import is_page_of, page


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="pictures in one folder for each class; or a saved probe; or the folder of a run whose masks are "
        "guessed, doubted or missing, or one above it",
    )
    parser.add_argument(
        "--with",
        dest="segmenter",
        metavar="package.module:function",
        help="a function from a Pillow image in RGB to a mask, such as rembg:remove, called once for each picture",
    )
    parser.add_argument("--to", type=Path, metavar="DIR", help="folder to write the masks to; what is there is kept")
    parser.add_argument("--masks", type=Path, metavar="PATH", help="masks to look at (default: those that are found)")
    parser.add_argument(
        "--n", type=int, default=N_IMAGES, metavar="N", help="pictures to look at (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("masks.html"), metavar="FILE", help="the page (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> list[str]:
    """Writes the page, or the masks. Returns the lines that say so.

    Raises:
        ValueError: The message names the problem and the solution.
    """
    if options.segmenter is not None and options.to is None:
        raise ValueError("--with needs a folder for the masks that the function finds; pass --to DIR")
    if options.segmenter is None and options.to is not None:
        raise ValueError(
            "--to writes the masks that a function of yours finds; pass --with package.module:function, such as "
            f"rembg:remove. Without one, lightning-cam masks {typed(options.folder)} writes a page with guessed masks, "
            "and what is saved there is for --masks"
        )
    return _reviewing(options) if options.segmenter is None else _segmenting(options)


def _reviewing(options: argparse.Namespace) -> list[str]:
    place = place_of_pictures(options.folder)
    if is_saved(place) and options.masks is not None:
        raise ValueError("--masks is for a folder of pictures; a saved probe, or that of a run, has masks of its own")
    if options.out.is_dir() or (options.out.exists() and options.out.suffix != ".html"):
        raise ValueError(f"--out must be a page such as masks.html, got {options.out}")
    if options.out.exists() and not is_page_of(place, options.out):
        raise ValueError(f"{options.out} is there and shows other pictures; move it away, or pass --out FILE")
    write_whole(options.out, page(place, options.n, as_annotations(options.masks)).encode())
    data = options.folder if place == options.folder else place.parent
    examine = ["examine", _checkpoint_of(place), "--model", "package.module:Net", "--data", str(data)]
    takes = "Probe.load(...).with_reviewed" if is_saved(place) else "Probe.from_folder(..., masks=...)"
    return [
        f"wrote {options.out}: open it in a browser, look at each picture, and save masks.json",
        "  then judge again without training, with the name of your module, and the checkpoint that you want:",
        f"    {shlex.join(['lightning-cam', *examine, '--masks', 'masks.json'])}",
        f"  in Python, {takes} takes masks.json",
    ]


def _checkpoint_of(place: Path) -> str:
    """The newest checkpoint where Lightning keeps those of the run whose probe is in ``place``, if there is one."""
    files = sorted((place.parent.parent / "checkpoints").glob("*.ckpt"), key=lambda file: file.stat().st_mtime)
    return str(files[-1]) if files else "CHECKPOINT"


def _segmenting(options: argparse.Namespace) -> list[str]:
    with importing_from(Path.cwd()):
        segment = function_named(options.segmenter, "--with")
        written = write_masks(options.folder, segment, options.to, _shown)
    n_without = len(written.without)
    if not (written.new or written.kept):
        raise ValueError(
            f"{options.segmenter} found no object in any of {n_without} pictures, or nothing but object; look at what "
            "it gives"
        )
    lines = [f"wrote {written.new} masks to {options.to}" + (f", kept {written.kept}" if written.kept else "")]
    if n_without:
        pictures = "1 picture has" if n_without == 1 else f"{n_without} pictures have"
        lines.append(f"  {pictures} none: no object was found, or one that covers all")
    return [*lines, f"  look at some of them, then pass --masks {options.to}, or Probe.from_folder(..., masks=...)"]


def _shown(files: Iterable[Path]) -> Iterable[Path]:
    from tqdm import tqdm  # type: ignore[import-untyped] # ships no types; comes with Lightning

    return cast(Iterable[Path], tqdm(files, unit=" pictures", leave=False, disable=not sys.stderr.isatty()))
