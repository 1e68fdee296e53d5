"""Fonts that can draw a text: Pillow's own for ASCII, one of this machine's for other scripts, else the text in ASCII.

Pillow's own font has hardly more than ASCII, and one font rarely has every script. So a line is cut into runs, each
with a font that has all of its letters. Where no font has them, they are written in Latin letters.
"""

import importlib.util
import os
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from typing import cast

from PIL import ImageFont, features

MOST_FONTS = 500  # that are tried for a letter; with 500 of them it takes 0.7 s once, where no font has the letter
_SUFFIXES = (".ttf", ".otf", ".ttc")
# Drawn where they have the letter: plain, of even weight, and on most machines. Others follow by their name.
_FAMILIES = (
    "notosanscjk", "sourcehansans", "dejavusans.", "notosans-", "notosansarabic", "arialuni", "arial.", "msyh",
    "yugoth", "malgun", "pingfang", "hiragino", "applesdgothic", "droidsansfallback", "wqy", "notosans",
)  # fmt: skip
_NOT_PLAIN = ("bold", "italic", "oblique", "light", "thin", "black", "mono", "serif", "condensed", "variable", "vf.")
_BOXES = ("lastresort", "adobeblank")  # have something for every letter, but it is the same for all
_JOINERS = "\u200c\u200d"  # without width; Persian and the scripts of India need them between letters


def runs(text: str, size: int) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """One line of text as pieces from left to right, each with a font that has all of its letters.

    Accents that are written apart are joined with their letter. What steers a terminal or a direction falls away.
    """
    words = "".join(letter for letter in unicodedata.normalize("NFC", text) if _is_visible(letter)).split()
    pieces: list[tuple[str, Path | None]] = []
    for is_ascii, group in groupby(words, str.isascii):
        stretch = " ".join(group)
        pieces += [(stretch, None)] if is_ascii else _in_fonts(stretch)
        pieces.append((" ", None))
    return [(piece, _font(path, size)) for piece, path in _joined(pieces[:-1])]


def _is_visible(letter: str) -> bool:
    return letter in _JOINERS or letter.isspace() or unicodedata.category(letter)[0] != "C"


def _joined(pieces: list[tuple[str, Path | None]]) -> Iterator[tuple[str, Path | None]]:
    for path, group in groupby(pieces, lambda piece: piece[1]):
        yield "".join(piece for piece, _ in group), path


@lru_cache(1024)
def _in_fonts(stretch: str) -> list[tuple[str, Path | None]]:
    """Words in one font where one has them all, else in several; ``None`` stands for Pillow's own font."""
    whole = next((path for path in _candidates(stretch) if all(_has(path, letter) for letter in stretch)), None)
    if whole is not None and _can_shape(stretch):
        return [(stretch, whole)]
    pieces: list[tuple[str, Path | None]] = []
    for path, group in groupby(stretch, _font_of):
        piece = "".join(group)
        is_drawn = piece.isascii() or (path is not None and _can_shape(piece))
        pieces.append((piece, path) if is_drawn else (in_latin(piece), None))
    return pieces


def _candidates(stretch: str) -> list[Path]:
    """The fonts that have a letter of a stretch, so that few are asked for all letters."""
    rare = max(stretch)
    return [path for path in font_files() if _has(path, rare)]


@cache
def _font_of(letter: str) -> Path | None:
    return None if letter.isascii() else next((path for path in font_files() if _has(path, letter)), None)


def _can_shape(text: str) -> bool:
    """Whether letters that join, change places or run from right to left come out as they are written."""
    needs = any(unicodedata.bidirectional(c) in ("R", "AL") or unicodedata.category(c)[0] == "M" for c in text)
    return not needs or bool(features.check("raqm"))


def in_latin(text: str) -> str:
    """Text of any script in ASCII: by its sound where the package that knows it is installed, else by its code.

    >>> in_latin("naïve")
    'naive'
    """
    try:
        from anyascii import anyascii  # on a bare machine, without our dependencies, the tests of the GPU run, too
    except ImportError:
        return "".join(c if c.isascii() else _code(c) for c in unicodedata.normalize("NFKD", text))
    return "".join(anyascii(letter) or _code(letter) for letter in text)


def _code(letter: str) -> str:
    """The number of a letter; nothing for signs that only change the letter before them."""
    return "" if letter in _JOINERS or unicodedata.category(letter)[0] == "M" else f"U+{ord(letter):04X}"


# ---- the files of this machine ---------------------------------------------------------------------------------------


@cache
def font_files() -> tuple[Path, ...]:
    """Font files of this machine, the plainest first."""
    found: dict[str, Path] = {}
    for folder in _folders():
        for parent, _, names in os.walk(folder):  # passes over what cannot be read
            paths = (Path(parent, name) for name in names)
            found |= {path.name.lower(): path for path in paths if path.suffix.lower() in _SUFFIXES}
    usable = [path for name, path in found.items() if not name.startswith(_BOXES)]
    return tuple(sorted(usable, key=_plainness)[:MOST_FONTS])


def _plainness(path: Path) -> tuple[bool, int, str]:
    name = path.name.lower()
    family = next((rank for rank, start in enumerate(_FAMILIES) if name.startswith(start)), len(_FAMILIES))
    return any(style in name for style in _NOT_PLAIN), family, name


def _folders() -> list[Path]:
    """Where fonts are kept by Windows, macOS and Linux, and by matplotlib, which brings some."""
    home = Path.home()
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
        folders = [Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts"), local / "Microsoft" / "Windows" / "Fonts"]
    elif sys.platform == "darwin":
        folders = [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"]
    else:
        data = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
        own = Path(os.environ.get("XDG_DATA_HOME", home / ".local" / "share"))
        folders = [*(Path(folder, "fonts") for folder in data if folder), own / "fonts", home / ".fonts"]
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is not None and matplotlib.origin is not None:
        folders.append(Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf")
    return folders


@cache
def _has(path: Path, letter: str) -> bool:
    """Whether a font has a letter of its own, and not the box that stands for every missing one."""
    if letter in _JOINERS or letter.isspace():
        return True
    try:
        font = _opened(path)
        return _drawn(font, letter) != _drawn(font, "\uffff")
    except OSError:  # broken, or of pictures in one size only
        return False


def _drawn(font: ImageFont.FreeTypeFont, letter: str) -> tuple[float, bytes]:
    return font.getlength(letter), bytes(font.getmask(letter))


@lru_cache(MOST_FONTS)
def _opened(path: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, 16, layout_engine=ImageFont.Layout.BASIC)


@lru_cache
def plain_font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, for ASCII."""
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))  # the other type is of Pillow without FreeType


@lru_cache
def _font(path: Path | None, size: int) -> ImageFont.FreeTypeFont:
    return plain_font(size) if path is None else ImageFont.truetype(path, size)
