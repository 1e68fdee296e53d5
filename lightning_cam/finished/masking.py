"""``lightning-cam masks``: masks of a folder's pictures, drawn by a segmenter of the user's."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from ..maskers import write_masks
from .loading import function_named, importing_from


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="pictures in one folder for each class")
    parser.add_argument(
        "--with",
        dest="segmenter",
        metavar="package.module:function",
        help="a function from a Pillow image in RGB to a mask, such as rembg:remove, called once for each picture",
    )
    parser.add_argument("--to", type=Path, metavar="DIR", help="folder to write the masks to; what is there is kept")


def run(options: argparse.Namespace) -> list[str]:
    """Writes the masks. Returns the lines that say so.

    Raises:
        ValueError: The message names the problem and the solution.
    """
    if not (options.segmenter and options.to):
        raise ValueError("--with and --to belong together; pass a function that finds masks, and a folder for them")
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
