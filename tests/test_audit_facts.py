"""Facts about files and pixels, by value."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from lightning_cam.audit import facts, pixels
from lightning_cam.audit.facts import Facts, PictureFacts, facts_of_file, facts_of_picture, facts_of_tensor, place_facts
from lightning_cam.cues import cue_of_fact

SIZE = (96, 64)  # width and height


def plain(mode: str = "RGB", colour: Any = 128, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new(mode, size, colour)


def noise(size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def saved(folder: Path, picture: Image.Image, name: str, **options: Any) -> Path:
    path = folder / name
    picture.save(path, **options)
    return path


def read(path: Path, max_pixels: int = 10**6) -> PictureFacts:
    return facts_of_file(path, Path(path.name), frozenset(), max_pixels)


def facts_of(folder: Path, picture: Image.Image, name: str, **options: Any) -> Facts:
    return read(saved(folder, picture, name, **options)).facts


def texture_of(reading: PictureFacts) -> tuple[float, float]:
    """Blockiness and sharpness."""
    found = pixels.textures([reading.crop])
    return float(found["blockiness"][0]), float(found["sharpness"][0])


def with_hole(colour: tuple[int, int, int]) -> Image.Image:
    """A red picture with a transparent quarter that hides ``colour``."""
    picture = plain("RGBA", (255, 0, 0, 255))
    picture.paste((*colour, 0), (0, 0, 48, 32))
    return picture


def test_size_and_weight(tmp_path: Path) -> None:
    path = saved(tmp_path, noise(), "a.png")
    n_bytes = path.stat().st_size

    found = read(path).facts

    assert (found["width"], found["height"], found["megapixels"]) == (96, 64, 96 * 64 / 1e6)
    assert (found["file bytes"], found["bits per pixel"]) == (n_bytes, 8 * n_bytes / (96 * 64))


def test_aspect_has_a_sign(tmp_path: Path) -> None:
    wide, tall = (facts_of(tmp_path, plain(size=size), "a.png")["aspect"] for size in [(64, 32), (32, 64)])

    assert (wide, tall) == (1, -1)


@pytest.mark.parametrize(
    ("mode", "name", "expected"),
    [
        pytest.param("RGB", "a.png", ("PNG", "RGB", "none", "no", 8), id="png"),
        pytest.param("RGBA", "a.png", ("PNG", "RGBA", "channel", "no", 8), id="png with alpha"),
        pytest.param("LA", "a.png", ("PNG", "LA", "channel", "no", 8), id="grey png with alpha"),
        pytest.param("P", "a.png", ("PNG", "P", "none", "yes", 1), id="palette png of one colour"),
        pytest.param("1", "a.png", ("PNG", "1", "none", "no", 1), id="black and white png"),
        pytest.param("I;16", "a.png", ("PNG", "I;16", "none", "no", 16), id="deep png"),
        pytest.param("L", "a.jpg", ("JPEG", "L", "none", "no", 8), id="grey jpeg"),
        pytest.param("CMYK", "a.jpg", ("JPEG", "CMYK", "none", "no", 8), id="cmyk jpeg"),
        pytest.param("RGB", "a.webp", ("WEBP", "RGB", "none", "no", 8), id="webp"),
        pytest.param("RGB", "a.bmp", ("BMP", "RGB", "none", "no", 8), id="bmp"),
        pytest.param("RGB", "a.tif", ("TIFF", "RGB", "none", "no", 8), id="tiff"),
        pytest.param("P", "a.gif", ("GIF", "P", "none", "yes", 8), id="gif"),
    ],
)
def test_kind_of_file(tmp_path: Path, mode: str, name: str, expected: tuple[object, ...]) -> None:
    found = facts_of(tmp_path, plain(mode, 0), name)

    assert tuple(found[fact] for fact in ("format", "colour mode", "alpha", "palette", "bit depth")) == expected


def test_bit_depth_of_colours_that_pillow_makes_shallow(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + bytes(6 * 4) for _ in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path = tmp_path / "deep.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))

    assert read(path).facts["bit depth"] == 16


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (165, 235, 255)])
def test_hidden_colour_is_the_one_under_transparency(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    assert facts_of(tmp_path, with_hole(colour), "a.png")["hidden colour"] == str(colour)


def test_opaque_alpha_hides_nothing(tmp_path: Path) -> None:
    assert facts_of(tmp_path, plain("RGBA", (1, 2, 3, 255)), "a.png")["hidden colour"] == "none"


@pytest.mark.parametrize("transparency", [1, bytes([128, 0])], ids=["one index", "table"])
def test_transparency_of_a_palette(tmp_path: Path, transparency: object) -> None:
    picture = plain("P", 1)
    picture.putpalette([0, 0, 0, 9, 8, 7])

    found = facts_of(tmp_path, picture, "a.png", transparency=transparency)
    assert (found["alpha"], found["hidden colour"]) == ("tRNS", "(9, 8, 7)")


def test_quantisation_is_told_by_tables(tmp_path: Path) -> None:
    tables = [[16] * 64, [48] * 64]

    one, again, other = (
        facts_of(tmp_path, noise(seed=seed), "a.jpg", qtables=qtables)
        for seed, qtables in [(0, tables), (1, tables), (0, [[17] * 64, [48] * 64])]
    )

    assert one["quantisation mean"] == 32
    assert one["quantisation"] == again["quantisation"] != other["quantisation"]


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_chroma_subsampling(tmp_path: Path, subsampling: str) -> None:
    assert facts_of(tmp_path, noise(), "a.jpg", subsampling=subsampling)["chroma subsampling"] == subsampling


def test_what_only_jpeg_has_is_none_elsewhere(tmp_path: Path) -> None:
    found = facts_of(tmp_path, noise(), "a.png")

    assert (found["quantisation"], found["chroma subsampling"]) == ("none", "none")
    assert np.isnan(found["quantisation mean"])


@pytest.mark.parametrize("progressive", [True, False])
def test_progressive(tmp_path: Path, progressive: bool) -> None:
    found = facts_of(tmp_path, noise(), "a.jpg", progressive=progressive)

    assert found["progressive"] == ("yes" if progressive else "no")


def test_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x0131] = "Camera Co", 6, "Editor"

    found = facts_of(tmp_path, noise(), "a.jpg", exif=exif, dpi=(300, 300), icc_profile=b"profile")

    expected = {"EXIF": "yes", "camera make": "Camera Co", "software": "Editor", "EXIF orientation": "6"}
    assert {name: found[name] for name in expected} == expected
    assert found["DPI"] == "(300, 300)"
    assert len(str(found["ICC profile"])) == 8


def test_without_metadata(tmp_path: Path) -> None:
    found = facts_of(tmp_path, noise(), "a.png")

    names = ("EXIF", "camera make", "software", "EXIF orientation", "DPI", "ICC profile")
    assert [found[name] for name in names] == ["no", *["none"] * 5]


def test_software_of_a_png(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", "Sprite Editor")

    assert facts_of(tmp_path, noise(), "a.png", pnginfo=text)["software"] == "Sprite Editor"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        pytest.param("cats/flickr/IMG_001.JPG", ("img", "flickr", ".jpg"), id="all told"),
        pytest.param("cats/cats_001.png", ("", "", ".png"), id="names of classes are no news"),
        pytest.param("dogs/cats_001.png", ("", "", ".png"), id="nor are those of other classes"),
        pytest.param("001.png", ("", "", ".png"), id="bare"),
    ],
)
def test_place(place: str, expected: tuple[str, ...]) -> None:
    found = place_facts(Path(place), frozenset({"cats", "dogs"}))

    assert (found["file name prefix"], found["source folder"], found["file extension"]) == expected


def test_contents_count_and_not_the_name(tmp_path: Path) -> None:
    assert facts_of(tmp_path, noise(), "a.png", format="JPEG")["format"] == "JPEG"


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, plain(size=(100, 101)), "a.png")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda _: pytest.fail("decoded"))

    with pytest.raises(ValueError, match="100x101 pixels, more than 10000"):
        read(path, max_pixels=10_000)


def test_formats_off_the_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot identify"):
        read(saved(tmp_path, plain(), "a.png", format="EPS"))


def test_transparency_is_dropped_as_a_loader_does(tmp_path: Path) -> None:
    copy = read(saved(tmp_path, with_hole((0, 255, 0)), "a.png")).copy

    assert copy[0, 0].tolist() == [0, 255, 0]
    assert copy[-1, -1].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F"])
def test_every_mode_has_a_small_copy(mode: str) -> None:
    found = facts_of_picture(plain(mode, 0))

    assert (found.copy.shape, found.copy.dtype) == ((64, 64, 3), np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (5, 200), (64, 64), (63, 65), (300, 130)])
def test_a_plain_picture_stays_plain(size: tuple[int, int]) -> None:
    found = facts_of_picture(plain("RGB", (10, 20, 30), size))

    assert (found.copy == [10, 20, 30]).all()
    assert np.isnan(texture_of(found)).all()


def test_the_small_copy_averages() -> None:
    picture = noise((192, 64))
    expected = np.asarray(picture, float).reshape(64, 1, 64, 3, 3).mean((1, 3))

    assert np.abs(facts_of_picture(picture).copy - expected).max() <= 1


def test_the_small_copy_of_a_large_picture_averages_four_pixels_of_an_even_grid() -> None:
    picture = noise((500, 375))
    rows, columns = (np.linspace(0, side - 1, 128).round().astype(int) for side in (375, 500))
    expected = np.asarray(picture, float)[rows][:, columns].reshape(64, 2, 64, 2, 3).mean((1, 3))

    assert np.abs(facts_of_picture(picture).copy - expected).max() < 0.6


def test_the_small_copy_shows_the_thinnest_frame() -> None:
    picture = plain(colour=(90, 0, 0), size=(1000, 700))
    picture.paste((0, 0, 0), (1, 1, 999, 699))

    copy = facts_of_picture(picture).copy[..., 0]
    assert copy[0, 1:-1].min() == copy[-1, 1:-1].min() == copy[1:-1, 0].min() == copy[1:-1, -1].min() == 45
    assert copy[1:-1, 1:-1].max() == 0


@pytest.mark.parametrize("to_values", [lambda x: x, lambda x: x.float() / 255], ids=["bytes", "floats"])
def test_a_tensor_is_read_as_the_picture_that_it_shows(to_values: Any) -> None:
    picture = noise((192, 64))
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)

    of_picture, of_tensor = facts_of_picture(picture), facts_of_tensor(to_values(tensor))

    assert np.abs(of_picture.copy - of_tensor.copy).max() <= 1
    assert texture_of(of_tensor) == pytest.approx(texture_of(of_picture), abs=0.02)


def test_one_channel_is_grey() -> None:
    copy = facts_of_tensor(torch.full((1, 30, 40), 0.5)).copy

    assert copy.shape == (64, 64, 3)
    assert copy == pytest.approx(127.5)


def test_jpeg_blocks_show_in_a_png() -> None:
    buffer = io.BytesIO()
    picture = noise((19, 19)).resize((160, 160), Image.Resampling.BICUBIC)
    picture.save(buffer, "JPEG", quality=10)

    before, after = (texture_of(facts_of_picture(p))[0] for p in (picture, Image.open(buffer).convert("RGB")))
    assert before < 0.1 < after


@pytest.mark.parametrize("size", [(160, 160), (203, 171), (300, 400)])
def test_blocks_are_found_where_jpeg_puts_them(size: tuple[int, int]) -> None:
    width, height = size
    blocks = np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)
    picture = Image.fromarray(np.kron(blocks, np.ones((8, 8), np.uint8))[:height, :width])

    assert texture_of(facts_of_picture(picture))[0] == 1


def test_blurring_lowers_sharpness() -> None:
    picture = noise((128, 128))
    blurred = picture.resize((32, 32), Image.Resampling.BOX).resize((128, 128), Image.Resampling.BICUBIC)

    sharp, soft = (texture_of(facts_of_picture(p))[1] for p in (picture, blurred))
    assert soft < 0.5 * sharp


def framed(border: tuple[int, int, int], inside: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    copy = np.full((64, 64, 3), border, np.uint8)
    copy[6:-6, 6:-6] = inside
    return copy


def test_border_facts() -> None:
    found = pixels.measure(framed((10, 20, 30), (200, 0, 0))[None])

    assert found["border colour"].tolist() == [[10, 20, 30]]
    assert (found["border spread"].tolist(), found["plain border"].tolist()) == ([0], [1])


def test_plain_border_is_the_share_of_one_exact_colour() -> None:
    copy = framed((0, 0, 0), (9, 9, 9))
    copy[0] = (0, 0, 1)

    assert pixels.measure(copy[None])["plain border"] == pytest.approx(1 - 64 / 252)


def test_background_pixels_are_corners_and_middles_of_sides() -> None:
    copy = np.zeros((64, 64, 3), np.uint8)
    places = [(0, 0), (0, 32), (0, 63), (32, 0), (32, 63), (63, 0), (63, 32), (63, 63)]
    for value, (y, x) in enumerate(places, 1):
        copy[y, x] = value

    found = pixels.measure(copy[None])["background pixels"]
    assert found.tolist() == [[value for value in range(1, 9) for _ in range(3)]]


def test_whole_picture_facts() -> None:
    copy = np.zeros((64, 64, 3), np.uint8)
    copy[:, 32:] = (200, 100, 0)

    found = pixels.measure(copy[None])

    assert found["mean colour"].tolist() == [[100, 50, 0]]
    assert (found["saturation"].tolist(), found["contrast"].tolist()) == ([100], [50])


def test_fine_detail_is_the_laplacian_in_units_of_the_contrast() -> None:
    copy = np.zeros((64, 64, 3), np.uint8)
    copy[::2, ::2] = copy[1::2, 1::2] = 100  # a chessboard: inside, every pixel differs by 100 from its four neighbours

    detail = (62 * 62 * 400 + 4 * 62 * 300 + 4 * 200) / 64**2
    assert pixels.measure(copy[None])["fine detail"] == pytest.approx(detail / 50)


def test_fine_detail_of_a_plain_picture_is_undefined() -> None:
    assert np.isnan(pixels.measure(np.full((1, 64, 64, 3), 7, np.uint8))["fine detail"]).all()


def test_cells_have_mean_colour_spread_and_detail() -> None:
    copy = np.zeros((64, 64, 3), np.uint8)
    copy[8:16, 24:28] = (30, 60, 90)

    cells = pixels.measure(copy[None])["cells"]

    assert cells.shape == (1, 8, 8, 5)
    assert cells[0, 1, 3, :4] == pytest.approx([15, 30, 45, 30])
    assert cells[0, 1, 3, 4] > 0
    assert (cells[0, 5:] == 0).all()


def test_measures_of_a_picture_do_not_depend_on_the_others() -> None:
    copies = np.stack([np.asarray(noise((64, 64), seed)) for seed in range(5)])

    together, alone = pixels.measure(copies), pixels.measure(copies[3:4])
    for name, values in alone.items():
        assert together[name][3:4] == pytest.approx(values, rel=1e-5)


def test_textures_come_in_the_order_of_crops_of_any_size() -> None:
    sizes = [(128, 128), (64, 40), (5, 5), (128, 128), (40, 64), (64, 40)]
    crops = [np.asarray(noise(size, seed).convert("L")) for seed, size in enumerate(sizes)]

    together = pixels.textures(crops)
    for name, values in together.items():
        alone = [pixels.textures([crop])[name][0] for crop in crops]
        assert values == pytest.approx(alone, rel=1e-5, nan_ok=True)
        assert np.isnan(values).tolist() == [False, False, True, False, False, False]
        assert len(set(values)) == 6


def test_every_fact_has_a_cue(tmp_path: Path) -> None:
    names = facts_of(tmp_path, noise(), "a.png").keys()
    names |= pixels.measure(np.zeros((1, 64, 64, 3))).keys() | pixels.textures([np.zeros((9, 9))]).keys()

    assert {name for name in names if cue_of_fact(name).name == "region"} == {"cells"}


def test_deep_grey_is_not_clipped() -> None:
    deep = Image.fromarray(np.full((70, 70), 0x8000, np.uint16))

    assert facts.facts_of_picture(deep).copy.max() == pytest.approx(127, abs=1)
