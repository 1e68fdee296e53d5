"""Readers of files that others made: whatever a file holds, they give a result or say which file they refuse, and soon.

Fifteen thousand files, broken in the ways that accidents and malice share. Seeded: a failure names what repeats it.
"""

import io
import json
import os
import random
import struct
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from house.limits import little_memory
from house.pages import bad_news, check
from lightning_cam import CAMCallback, Probe
from lightning_cam.audit import reading, sources
from lightning_cam.datasets import pictures
from lightning_cam.datasets.pictures import quiet_pillow
from lightning_cam.probe import Normalize, storage
from lightning_cam.sinks import FolderSink
from lightning_cam.sinks.history import read_history
from lightning_cam.sinks.reading_back import newest, report_lines

Read = Callable[[], object]

SEED = int(os.environ.get("FUZZ_SEED", 0))
MAX_SECONDS = 1.0  # of processor time for one file
MAX_PIXELS = 1_000_000  # of a picture, here: what its pixels need is no leak


# ---- breaking --------------------------------------------------------------------------------------------------------


def with_flipped_bits(data: bytearray, other: bytes, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut_off(data: bytearray, other: bytes, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def with_a_piece_twice(data: bytearray, other: bytes, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.randrange(1, 64)]


def with_another_length(data: bytearray, other: bytes, rng: random.Random) -> None:
    """Four or two bytes that could be a length, a count, an offset or a size, of either byte order."""
    kind = rng.choice((">I", "<I", ">H", "<H"))
    most = 2 ** (8 * struct.calcsize(kind)) - 1
    value = rng.choice((0, 1, 7, 255, 4096, most // 2, most - 1, most, rng.randrange(most)))
    start = rng.randrange(min(len(data), rng.choice((64, len(data)))))
    data[start : start + struct.calcsize(kind)] = struct.pack(kind, value)


def spliced(data: bytearray, other: bytes, rng: random.Random) -> None:
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


def with_zeros(data: bytearray, other: bytes, rng: random.Random) -> None:
    start, length = rng.randrange(len(data)), rng.randrange(1, 64)
    data[start : start + length] = bytes(len(data[start : start + length]))


WAYS = (with_flipped_bits, cut_off, with_a_piece_twice, with_another_length, spliced, with_zeros)


def broken(data: bytes, other: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    rng.choice(WAYS)(changed, other, rng)
    return _with_checksums(bytes(changed)) if rng.random() < 0.7 else bytes(changed)


def _with_checksums(data: bytes) -> bytes:
    """The chunks of a PNG with checksums that are right again, or what was broken would not get past them."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    pieces, at = [data[:8]], 8
    while at + 12 <= len(data) and (end := at + 8 + int.from_bytes(data[at : at + 4], "big")) + 4 <= len(data):
        pieces += [data[at:end], zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")]
        at = end + 4
    return b"".join([*pieces, data[at:]])


ODD: tuple[Any, ...] = (
    None, True, -1, 0, 3, 1e308, float("inf"), float("nan"), 10**400, "", "x", "\ud800\x1b[31m", "../../x", [], {},
    [[]], [None], {"a": 1}, [1, 2, 3],
)  # fmt: skip


def broken_json(value: Any, rng: random.Random) -> Any:
    """``value`` with one thing inside it, however deep, taken away, doubled, or replaced by something odd."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.1:
        return rng.choice(ODD)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    changed, key = value.copy(), rng.choice(keys)
    match rng.randrange(6):
        case 0:
            del changed[key]
        case 1 if isinstance(changed, list):
            changed.append(changed[key])
        case 2 if isinstance(changed, dict):
            changed[rng.choice(("step", "x", "\n"))] = changed.pop(key)
        case _:
            changed[key] = broken_json(changed[key], rng)
    return changed


# ---- watching --------------------------------------------------------------------------------------------------------


def read_all(cases: Iterator[tuple[str, Read]], *, named: str) -> None:
    """How many were read and how many refused; anything else, and taking long, is a failure.

    Args:
        cases: What was done to a file, and its reading.
        named: What a refusal must say: which file it is about.
    """
    outcomes: Counter[str] = Counter()
    with little_memory(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lightning_cam: .*mask")  # of nothing, of everything, inverted
        for what, read in cases:
            started = time.thread_time()
            outcomes[outcome_of(read, named)] += 1
            assert time.thread_time() - started < MAX_SECONDS, f"{what} took too long"
            assert outcomes.keys() <= {"read", "refused"}, f"{what}: {outcomes}"
    assert len(outcomes) == 2, outcomes  # or nothing of it would be broken, or everything


def outcome_of(read: Read, named: str) -> str:
    try:
        read()
    except (ValueError, OSError) as error:
        return "refused" if named in str(error) else f"{error!r} names no file"
    except Exception as error:
        return repr(error)
    return "read"


# ---- pictures --------------------------------------------------------------------------------------------------------


def picture(mode: str = "RGB", size: tuple[int, int] = (12, 10)) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    image = Image.fromarray(noise, "RGBA") if mode in ("RGBA", "LA", "PA") else Image.fromarray(noise[..., :3].copy())
    if mode in ("F", "I;16"):
        return Image.fromarray(
            noise[..., 0].astype(np.float32) / 255 if mode == "F" else noise[..., 0].astype(np.uint16)
        )
    return image.quantize(8) if mode == "P" else image.convert(mode)


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (12, 10), **options: Any) -> bytes:
    file = io.BytesIO()
    picture(mode, size).save(file, kind, **options)
    return file.getvalue()


def stencil(kind: str, mode: str, **options: Any) -> bytes:
    """A mask of two levels."""
    file = io.BytesIO()
    image = Image.new("L", (16, 16))
    image.paste(255, (4, 4, 12, 12))
    if mode == "I;16":
        made = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    else:
        made = Image.merge("LA", (image, image)) if mode == "LA" else image.convert(mode)
    made.save(file, kind, **options)
    return file.getvalue()


def exif() -> Image.Exif:
    made = Image.Exif()
    made[0x0112], made[0x010F], made[0x0131] = 6, "maker", "software"
    return made


def moving() -> dict[str, Any]:
    return {"save_all": True, "append_images": [picture("RGB").transpose(Image.Transpose.ROTATE_180)], "duration": 20}


PICTURES = {
    "png": encoded("PNG", exif=exif()),
    "png palette": encoded("PNG", "P", transparency=b"\x00\xff\x80"),
    "png deep": encoded("PNG", "I;16"),
    "png alpha": encoded("PNG", "RGBA"),
    "png bits": encoded("PNG", "1", dpi=(72, 72)),
    "jpeg": encoded("JPEG", size=(16, 16), exif=exif(), icc_profile=b"x" * 40),
    "jpeg progressive": encoded("JPEG", size=(16, 16), progressive=True, subsampling=0),
    "jpeg cmyk": encoded("JPEG", "CMYK", size=(16, 16)),
    "gif": encoded("GIF", "P", transparency=1),
    "gif moving": encoded("GIF", **moving()),
    "bmp": encoded("BMP"),
    "bmp palette": encoded("BMP", "P"),
    "tiff": encoded("TIFF"),
    "tiff lzw": encoded("TIFF", "RGBA", compression="tiff_lzw"),
    "tiff jpeg": encoded("TIFF", size=(16, 16), compression="jpeg"),
    "tiff deflate": encoded("TIFF", "I;16", compression="tiff_adobe_deflate"),
    "tiff float": encoded("TIFF", "F"),
    "tiff fax": encoded("TIFF", "1", compression="group4"),
    "webp": encoded("WEBP", exif=exif()),
    "webp lossless": encoded("WEBP", "RGBA", lossless=True),
    "webp moving": encoded("WEBP", **moving()),
}
MASKS = {
    "png": stencil("PNG", "L"),
    "png bits": stencil("PNG", "1"),
    "png alpha": stencil("PNG", "LA"),
    "png deep": stencil("PNG", "I;16"),
    "jpeg": stencil("JPEG", "L"),
    "gif": stencil("GIF", "P"),
    "bmp": stencil("BMP", "1"),
    "tiff": stencil("TIFF", "L"),
    "tiff fax": stencil("TIFF", "1", compression="group4"),
    "webp": stencil("WEBP", "RGB", lossless=True),
}
EACH = int(os.environ.get("FUZZ_EACH", 250))  # broken files of a kind


def written(path: Path, kind: str, whole: Mapping[str, bytes]) -> Iterator[str]:
    """``path`` holds one broken picture after the other, made of the picture ``kind``."""
    rng = random.Random(f"{kind} {SEED}")
    others = list(whole.values())
    for number in range(EACH):
        path.write_bytes(broken(whole[kind], rng.choice(others), rng) if number else whole[kind])
        yield f"{kind} {number}"


def from_folder(root: Path, **options: Any) -> Probe:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lightning_cam: .* ask in EXIF to be turned", UserWarning)
        return Probe.from_folder(root, **options)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of one picture each."""
    monkeypatch.setattr(pictures, "MAX_PIXELS", MAX_PIXELS)
    for name in ("a/it.png", "b/it.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_bytes(PICTURES["png"])
    return tmp_path / "data"


@pytest.mark.parametrize("kind", PICTURES)
def test_a_broken_picture_is_in_the_probe_or_refused(data: Path, kind: str) -> None:
    (data / "b" / "it.png").unlink()
    (data / "b").rmdir()
    read_all(
        ((what, lambda: from_folder(data)) for what in written(data / "a" / "it.png", kind, PICTURES)), named="a/it.png"
    )


@pytest.mark.parametrize("kind", MASKS)
def test_a_broken_mask_masks_or_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", MAX_PIXELS)
    image, mask = tmp_path / "data" / "a" / "it.png", tmp_path / "masks" / "a" / "it.png"
    for path in (image, mask):
        path.parent.mkdir(parents=True)
        path.write_bytes(MASKS[kind])

    def read() -> Probe:
        return from_folder(tmp_path / "data", masks=tmp_path / "masks")

    read_all(((what, read) for what in written(mask, kind, MASKS)), named="it.png")


@pytest.mark.parametrize("kind", PICTURES)
def test_a_broken_picture_is_audited_or_skipped_with_a_reason(data: Path, kind: str) -> None:
    source = sources.find_source(data, seed=0, max_pixels=MAX_PIXELS)

    def audited() -> None:
        (outcome,) = reading._read_chunk(source, [0], [0])
        if isinstance(outcome, str):
            raise ValueError(f"{source.names[0]}: {outcome}")

    with quiet_pillow():
        read_all(((what, audited) for what in written(data / "a" / "it.png", kind, PICTURES)), named="a/it.png")


# ---- saved probes ----------------------------------------------------------------------------------------------------


def saved_probe(folder: Path) -> dict[str, bytes]:
    """The files of a saved probe by their names."""
    images = torch.linspace(0, 1, 4 * 3 * 8 * 8).reshape(4, 3, 8, 8)
    masks, step = images[:, 0] > images[:, 0].mean((1, 2), keepdim=True), Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    probe = Probe(images, torch.tensor([0, 1, 0, 1]), masks=masks, classes=["a", "b"], preprocess=step)
    probe.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_broken_saved_probe_is_loaded_or_refused(tmp_path: Path) -> None:
    files = saved_probe(tmp_path / "probe")
    rng = random.Random(SEED)

    def cases() -> Iterator[tuple[str, Read]]:
        for number in range(1500):
            name, other = rng.choice(list(files)), rng.choice(list(files.values()))
            (tmp_path / "probe" / name).write_bytes(broken(files[name], other, rng) if number else files[name])
            yield f"{name} {number}", lambda: Probe.load(tmp_path / "probe")
            (tmp_path / "probe" / name).write_bytes(files[name])

    read_all(cases(), named=str(tmp_path))


def test_a_broken_header_of_an_array_is_refused(tmp_path: Path) -> None:
    """The header is read as Python, before anything is compared with the fingerprint."""
    files = saved_probe(tmp_path / "probe")
    name = next(name for name in files if name.startswith("images"))
    rng = random.Random(SEED)

    def cases() -> Iterator[tuple[str, Read]]:
        for number in range(1500):
            header = broken(files[name][:128], b"'(,[{:}])'\\\n\x00=-1e9L", rng)
            (tmp_path / "probe" / name).write_bytes(header + files[name][128:] if number % 20 else files[name])
            yield f"{number}: {header!r}", lambda: Probe.load(tmp_path / "probe")

    read_all(cases(), named=str(tmp_path))


def test_a_forged_saved_probe_is_loaded_or_refused(tmp_path: Path) -> None:
    """With sums that are right: they protect from accidents, not from malice."""
    saved_probe(tmp_path / "probe")
    facts = json.loads((tmp_path / "probe" / "manifest.json").read_text())
    arrays, _ = storage.load(tmp_path / "probe")
    rng = random.Random(SEED)

    def cases() -> Iterator[tuple[str, Read]]:
        for number in range(1000):
            keys = ("classes", "names", "mask_sources", "preprocess", "arrays", "fingerprint", "schema")
            key, name = rng.choice(keys), rng.choice(list(arrays))
            changed = {**facts, key: broken_json(facts[key], rng)} if number % 3 else facts
            kept = {**arrays, name: odd_array(arrays[name], rng)} if number % 3 != 1 else arrays
            forge(tmp_path / "probe", changed, kept)
            yield f"{number}: {key} {changed[key]!r}"[:300], lambda: Probe.load(tmp_path / "probe")

    read_all(cases(), named=str(tmp_path))


def odd_array(array: Any, rng: random.Random) -> Any:
    match rng.randrange(5):
        case 0:
            return array[: rng.randrange(len(array))]
        case 1:
            return array[..., : rng.randrange(1, 4)]
        case 2:
            return array.astype(rng.choice(("float64", "int8", "float32", "bool")))
        case 3:
            return np.full_like(array, rng.choice((0, 1, 2, -1)))
    changed = array.copy()
    values = (float("nan"), float("inf"), 7, -7) if array.dtype.kind == "f" else (99, -99)
    changed.flat[rng.randrange(changed.size)] = rng.choice(values)
    return changed


def forge(folder: Path, facts: dict[str, Any], arrays: dict[str, Any]) -> None:
    for path in folder.iterdir():
        path.unlink()
    if isinstance(facts["fingerprint"], str) and storage._HEX.fullmatch(facts["fingerprint"]):
        facts = {**facts, "fingerprint": storage.digest(arrays, facts["classes"], facts["names"])}
        for name, array in arrays.items():
            np.save(folder / storage._file(name, facts["fingerprint"]), array)
    content = {key: value for key, value in facts.items() if key != "checksum"}
    (folder / "manifest.json").write_text(json.dumps({**content, "checksum": storage._checksum(content)}))


# ---- lists of pictures, and what a run left --------------------------------------------------------------------------


def test_a_broken_list_of_pictures_is_a_source_or_refused(tmp_path: Path) -> None:
    whole = b'path,label\na/1.png,a\n"b, 2.png",b\n/c/3.png,"c ""x"""\n../4.png,d\n' * 3
    others = (b"\xef\xbb\xbfpath;label\r\n", b'"' * 40, b"\x00\xff\n,,,\n", b"x" * 200_000 + b",a\n")
    rng = random.Random(SEED)
    manifest = tmp_path / "list.csv"

    def cases() -> Iterator[tuple[str, Read]]:
        for number in range(1000):
            manifest.write_bytes(broken(whole, rng.choice(others), rng))
            yield str(number), lambda: use(sources.find_source(manifest, seed=0, max_pixels=100))

    def use(source: sources.PictureSource) -> None:
        outcomes = reading._read_chunk(source, range(len(source.names)), range(len(source.names)))
        assert all(isinstance(outcome, str) for outcome in outcomes)

    read_all(cases(), named="list.csv")


def run_folder(folder: Path) -> dict[str, bytes]:
    sink = FolderSink(folder)
    for step in (0, 4, 9):
        sink.write(check(step, lift=step / 10, drift=float("nan")))
    sink.write(bad_news(9))
    return {name: (folder / name).read_bytes() for name in ("history.jsonl", "verdict.json")}


def test_what_a_run_left_is_reported_or_refused(tmp_path: Path) -> None:
    files = run_folder(tmp_path / "run")
    rng = random.Random(SEED)

    def cases() -> Iterator[tuple[str, Read]]:
        for number in range(2000):
            for name, content in files.items():
                (tmp_path / "run" / name).write_bytes(changed(name, content) if rng.random() < 0.7 else content)
            yield str(number), lambda: "\n".join(report_lines(newest(tmp_path))).encode()

    def changed(name: str, content: bytes) -> bytes:
        if rng.random() < 0.4:
            return broken(content, rng.choice(list(files.values())), rng)
        rows = content.splitlines() if name == "history.jsonl" else [content]
        return b"\n".join(json.dumps(broken_json(json.loads(row), rng)).encode() for row in rows)

    read_all(cases(), named="verdict.json")


def test_a_broken_series_is_continued(tmp_path: Path) -> None:
    files = run_folder(tmp_path / "run")
    rng = random.Random(SEED)
    series = tmp_path / "run" / "history.jsonl"
    rows = [json.loads(row) for row in files["history.jsonl"].splitlines()]

    for number in range(500):
        odd = "\n".join(json.dumps(broken_json(row, rng)) for row in rows).encode()
        series.write_bytes(odd if number % 2 else broken(files["history.jsonl"], odd, rng))
        FolderSink(tmp_path / "run").write(check(11, lift=0.5))

        assert {"step": 11, "epoch": 2, "cam/lift": 0.5} in read_history(tmp_path / "run"), number


def test_a_broken_state_of_a_checkpoint_starts_anew_or_goes_on() -> None:
    scalars = {"cam/lift": 0.5, "cam/drift": None}
    history = [{"step": step, "epoch": step // 4, "scalars": scalars} for step in (0, 4, 9)]
    state = {"version": 1, "fingerprint": "0" * 64, "history": history}
    rng = random.Random(SEED)

    for number in range(1500):
        callback = CAMCallback()
        odd = broken_json(state, rng)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "lightning_cam: the checkpoint's series cannot be read", UserWarning)
            callback.load_state_dict(odd)

        assert json.dumps(callback.state_dict(), allow_nan=False), number
