"""Names in every script: drawn in a font that has their letters, else in Latin letters, never as question marks."""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lightning_cam.render import fonts, paint
from lightning_cam.render.tiles import GAP, PANEL, tile_lines

NAMES = {
    "chinese": ("金毛寻回犬", "JinMaoXunHuiQuan"),
    "japanese": ("さくら", "sakura"),
    "korean": ("리트리버", "LiTeuLiBeo"),
    "cyrillic": ("Собака", "Sobaka"),
    "arabic": ("كلب", "klb"),
    "emoji": ("🐶", ":dog:"),
    "accents": ("Käfer (süß)", "Kafer (suss)"),
}
needs_dejavu = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib brings the font")
needs_anyascii = pytest.mark.skipif(importlib.util.find_spec("anyascii") is None, reason="sounds come from anyascii")


@pytest.fixture
def font_folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The folders in which fonts are looked for; empty at first."""
    folders: list[Path] = []
    monkeypatch.setattr(fonts, "_folders", lambda: folders)
    for cached in (fonts.font_files, fonts._font_of, fonts._in_fonts):
        cached.cache_clear()
    yield folders
    for cached in (fonts.font_files, fonts._font_of, fonts._in_fonts):
        cached.cache_clear()


@pytest.fixture
def dejavu(font_folders: list[Path]) -> Path:
    """A font with Cyrillic and Arabic letters, but without Chinese ones, and no other."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    font_folders.append(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf")
    return font_folders[0] / "DejaVuSans.ttf"


def pieces(text: str) -> list[tuple[str, str]]:
    return [(piece, str(font.getname()[0])) for piece, font in fonts.runs(text, 20)]


def drawn(text: str) -> np.ndarray:
    canvas = Image.new("RGB", (300, 40))
    paint.write_text(ImageDraw.Draw(canvas), (0, 5), text, 20, (255, 255, 255), 300)
    return np.asarray(canvas)


@needs_anyascii
@pytest.mark.parametrize(("name", "expected"), NAMES.values(), ids=NAMES)
def test_without_a_font_a_name_is_written_in_latin_letters(font_folders: list[Path], name: str, expected: str) -> None:
    assert pieces(f"predicted {name} (0.93)") == [(f"predicted {expected} (0.93)", "Aileron")]


@pytest.mark.parametrize("name", [name for name, _ in NAMES.values()], ids=NAMES)
def test_a_name_has_no_question_mark_and_is_not_empty(
    font_folders: list[Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "anyascii", None)  # as on a machine without it
    text = "".join(piece for piece, _ in fonts.runs(name, 20))

    assert text.isascii()
    assert text
    assert "?" not in text


@needs_dejavu
@pytest.mark.parametrize("name", ["Собака", "Käfer (süß)", "Ελληνικά"])
def test_a_name_is_drawn_in_a_font_that_has_its_letters(dejavu: Path, name: str) -> None:
    assert pieces(f"predicted {name} (0.93)") == [
        ("predicted ", "Aileron"),
        (name, "DejaVu Sans"),
        (" (0.93)", "Aileron"),
    ]


@needs_dejavu
def test_letters_of_other_scripts_differ_and_missing_ones_are_no_boxes(dejavu: Path) -> None:
    assert (drawn("Собака") != drawn("Кошка!")).any()
    assert fonts._has(dejavu, "Я")
    assert not fonts._has(dejavu, "狗")


@needs_dejavu
@needs_anyascii
def test_a_name_of_several_scripts_is_in_latin_only_where_it_must(dejavu: Path) -> None:
    assert pieces("Собака狗") == [("Собака", "DejaVu Sans"), ("Gou", "Aileron")]


@needs_dejavu
@pytest.mark.skipif(not fonts.features.check("raqm"), reason="this Pillow cannot join Arabic letters")
def test_arabic_letters_are_joined(dejavu: Path) -> None:
    """Letters side by side, each in its form of one that stands alone, take more room than a word."""
    assert pieces("كلب") == [("كلب", "DejaVu Sans")]
    assert paint.text_length("كلب", 20) < 0.9 * sum(paint.text_length(letter, 20) for letter in "كلب")


@needs_dejavu
@needs_anyascii
def test_arabic_is_in_latin_where_letters_cannot_be_joined(dejavu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts.features, "check", lambda feature: False)

    assert pieces("كلب Собака") == [("klb ", "Aileron"), ("Собака", "DejaVu Sans")]


def test_a_broken_font_is_passed_over(font_folders: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    font_folders.append(tmp_path)

    assert fonts.font_files() == (tmp_path / "broken.ttf",)
    assert [name for _, name in pieces("狗")] == ["Aileron"]


@needs_dejavu
def test_words_in_several_fonts_stand_on_one_line(dejavu: Path, font_folders: list[Path], tmp_path: Path) -> None:
    """Pillow places a text by its font's ascent, which is two pixels more in this font than in Pillow's own."""
    shutil.copy(dejavu.with_name("STIXGeneral.ttf"), tmp_path)
    font_folders[:] = [tmp_path]
    bottoms = [np.flatnonzero(drawn(text).any(axis=(1, 2))).max() for text in ("H", "\u041d")]

    assert pieces("\u041d")[0][1] == "STIXGeneral"
    assert bottoms[0] == bottoms[1]


@needs_dejavu
def test_a_font_with_one_box_for_every_letter_is_left_out(dejavu: Path) -> None:
    assert [path for path in dejavu.parent.iterdir() if path.name.startswith("LastResort")]
    assert not [path for path in fonts.font_files() if path.name.startswith("LastResort")]


@pytest.mark.parametrize("name", ["W" * 18, "金" * 18, "Я" * 18])
def test_a_wide_name_leaves_room_for_the_number(name: str) -> None:
    headline = tile_lines("a", name, 0.93, 0.5, 0)[0]

    assert headline.endswith("(0.93)")
    assert paint.text_length(headline, 24) < 2 * PANEL + GAP
