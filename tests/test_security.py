"""What others wrote (pictures, names, saved probes, runs) opens nothing, runs nothing, leads nowhere, tells nothing."""

import ast
import contextlib
import io
import json
import os
import socket
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image, ImageFile, PngImagePlugin
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from torch.utils.data import DataLoader, TensorDataset

import lightning_cam
from house.cases import case
from house.limits import little_memory
from house.markup import Tags
from house.read_back import tensorboard_events, tensorboard_texts, wandb_alerts, wandb_file, wandb_finish, wandb_rows
from house.shortcut import BORDER, Framed, framed, framed_probe
from lightning_cam import CAMCallback, Probe, audit_dataset, cli
from lightning_cam.cues import remedy_for
from lightning_cam.probe import storage
from lightning_cam.sinks import FolderSink, disk, wording
from lightning_cam.sinks.history import read_history
from lightning_cam.sinks.reading_back import newest, report_lines
from lightning_cam.verdict import ShortcutError, Verdict

HOUSE = Path(lightning_cam.__file__).parent


# ---- pictures --------------------------------------------------------------------------------------------------------


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (9, 8), **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


def placed(root: Path, content: bytes | None = None, name: str = "a/it.png") -> Path:
    """``root`` with two classes of one picture, and ``content`` at ``name``."""
    for file, kept in (("a/0.png", encoded("PNG")), ("b/0.png", encoded("PNG")), (name, content)):
        if kept is not None:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(kept)
    return root


def refused_by_both(root: Path) -> str:
    """What the probe says of the file that it does not take; the audit skips that one and no other."""
    with pytest.raises((ValueError, OSError)) as refusal:
        Probe.from_folder(root)
    (skipped,) = audit_dataset(root).skipped

    assert skipped[0] == "a/it.png"
    assert "a/it.png" in str(refusal.value)
    return skipped[1]


def patched(data: bytes, at: int, kind: str, *values: int) -> bytes:
    return data[:at] + struct.pack(kind, *values) + data[at + struct.calcsize(kind) :]


def with_png_size(width: int, height: int) -> bytes:
    data = patched(encoded("PNG"), 16, ">II", width, height)
    return patched(data, 29, ">I", zlib.crc32(data[12:29]))


def with_tiff_size(side: int) -> bytes:
    """Width and height are the first entries of the directory, each behind tag, type and count."""
    data = encoded("TIFF")
    start = struct.unpack_from("<I", data, 4)[0] + 2
    return patched(patched(data, start + 8, "<I", side), start + 20, "<I", side)


BOMBS = {
    "png": with_png_size(60_000, 60_000),
    "png below Pillow's limit": with_png_size(6_000, 6_000),
    "gif": patched(encoded("GIF"), 6, "<HH", 60_000, 60_000),
    "bmp": patched(encoded("BMP"), 18, "<ii", 60_000, 60_000),
    "jpeg": patched(encoded("JPEG"), encoded("JPEG").index(b"\xff\xc0") + 5, ">HH", 60_000, 60_000),
    "tiff": with_tiff_size(60_000),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    root = placed(tmp_path, content)
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda p: load(p) if p.size == (9, 8) else pytest.fail("decoded"))

    assert any(word in refused_by_both(root) for word in ("more than", "decompression bomb"))


def test_what_pillow_finds_suspicious_is_an_error_even_where_the_user_allows_more(tmp_path: Path) -> None:
    root = placed(tmp_path, with_png_size(10_000, 10_000))

    (skipped,) = audit_dataset(root, max_pixels=10**9).skipped

    assert "DecompressionBombWarning" in skipped[1]


def test_switches_of_pillow_and_of_warnings_stay_as_they_are(tmp_path: Path) -> None:
    def switches() -> tuple[object, ...]:
        limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
        return *limits, ImageFile.LOAD_TRUNCATED_IMAGES, warnings.filters[:]

    root, before = placed(tmp_path, BOMBS["png"]), switches()
    refused_by_both(root)

    assert switches() == before


def test_a_promise_of_gigabytes_in_a_small_file_is_not_believed(tmp_path: Path) -> None:
    """Pillow reads as many bytes as a chunk of a PNG says that it has, and reading allocates them first."""
    whole = encoded("PNG")
    root = placed(tmp_path, patched(whole, whole.index(b"IDAT") - 4, ">I", 2**32 - 1))

    with little_memory():
        assert len(Probe.from_folder(root)) == 3
        assert audit_dataset(root, workers=1).n_read == (2, 1)


def test_a_file_that_no_picture_fills_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = placed(tmp_path, encoded("PNG"))
    with (root / "a" / "it.png").open("ab") as file:
        file.truncate(1_000_000_000)  # a hole, which takes no place on the disk
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: pytest.fail("read") if p.name == "it.png" else read(p))

    assert "more than any picture" in refused_by_both(root)


@pytest.mark.parametrize("kind", ["EPS", "PPM", "PCX", "TGA", "ICO", "PDF", "SGI", "MSP", "XBM", "DDS", "ICNS"])
def test_only_known_formats_are_opened(tmp_path: Path, kind: str) -> None:
    mode = "1" if kind in ("MSP", "XBM") else "RGB"
    root = placed(tmp_path, encoded(kind, mode, (16, 16)))

    assert refused_by_both(root).startswith("not one of PNG, JPEG, WEBP, BMP, TIFF, GIF")


@pytest.mark.parametrize(("kind", "name"), [("JPEG", "it.png"), ("PNG", "it.jpg"), ("WEBP", "it.gif")])
def test_what_a_file_is_called_does_not_matter(tmp_path: Path, kind: str, name: str) -> None:
    root = placed(tmp_path, encoded(kind), f"a/{name}")

    assert len(Probe.from_folder(root)) == 3
    assert audit_dataset(root).skipped == ()


def with_rational_offsets() -> bytes:
    """A TIFF whose strips lie at fractions: where Pillow expects whole numbers, it fails with a `TypeError`."""
    data = encoded("TIFF")
    start, count = struct.unpack_from("<I", data, 4)[0] + 2, struct.unpack_from("<H", data, 8)[0]
    entries = [start + 12 * i for i in range(count)]
    offsets = next(entry for entry in entries if struct.unpack_from("<H", data, entry)[0] == 273)
    return patched(data, offsets + 2, "<HII", 5, 1, 8)


@pytest.mark.parametrize("content", [with_rational_offsets(), b""], ids=["a tiff with fractions", "nothing"])
def test_a_file_that_confuses_pillow_is_refused(tmp_path: Path, content: bytes) -> None:
    refused_by_both(placed(tmp_path, content))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_broken_exif_data_cost_nothing(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a maker with a name"
    root = placed(tmp_path, encoded(kind, exif=exif.tobytes()[:-14]))

    assert len(Probe.from_folder(root)) == 3
    assert audit_dataset(root).skipped == ()


@pytest.mark.timeout(60)
def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    root = placed(tmp_path)
    os.mkfifo(root / "a" / "it.png")

    assert "is no file" in refused_by_both(root)


@pytest.mark.timeout(60)
def test_links_that_lead_round_in_a_circle_end(tmp_path: Path) -> None:
    root = placed(tmp_path)
    for name in ("again", "and again"):
        (root / "a" / name).symlink_to(root / "a", target_is_directory=True)

    assert len(Probe.from_folder(root)) == 2
    assert audit_dataset(root).n_found == (1, 1)


def test_a_link_to_a_folder_is_followed_as_loaders_do(tmp_path: Path) -> None:
    root = placed(tmp_path / "data")
    placed(tmp_path / "elsewhere")
    (root / "a" / "more").symlink_to(tmp_path / "elsewhere" / "b", target_is_directory=True)

    assert len(Probe.from_folder(root)) == 3
    assert audit_dataset(root).n_found == (2, 1)


# ---- lists of pictures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"path,label\n\xff,a\n", b'path,label\n"' + b"x" * 200_000 + b'",a\n', b"", b"path,label\n", b"path,label\na,b\n"],
    ids=["not text", "a field without end", "nothing", "no rows", "one class"],
)
def test_a_list_that_cannot_be_used_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.csv").write_bytes(content)

    with pytest.raises(ValueError, match=r"list\.csv"):
        audit_dataset(tmp_path / "list.csv")


def test_one_long_label_does_not_make_every_label_long(tmp_path: Path) -> None:
    """Texts in an array of numpy are all as long as the longest: here two gigabytes."""
    placed(tmp_path)
    rows = ["a/0.png,a"] * 5000 + [f"b/0.png,{'b' * 100_000}"] * 2
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))

    with little_memory():
        result = audit_dataset(tmp_path / "list.csv", per_class=1, workers=1)

    assert result.n_found == (5000, 2)


# ---- saved probes, and what a run left -------------------------------------------------------------------------------


def saved(root: Path, **changes: Any) -> Path:
    """A saved probe of two images whose manifest has ``changes``, with a checksum that is right."""
    Probe(torch.rand(2, 3, 8, 8), torch.tensor([0, 1])).save(root)
    facts = {**json.loads((root / "manifest.json").read_text()), **changes}
    content = {key: value for key, value in facts.items() if key != "checksum"}
    (root / "manifest.json").write_text(json.dumps({**content, "checksum": storage._checksum(content)}))
    return root


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": 5}, {"classes": "ab"}, {"classes": [1, 2]}, {"names": {}}, {"names": [["a"], "b"]},
        {"mask_sources": None}, {"mask_sources": [{}]}, {"arrays": [["images"]]}, {"arrays": {"images": 1}},
        {"preprocess": "os.system"}, {"preprocess": {"mean": [0.5], "std": [0.0]}}, {"preprocess": [1]},
        {"preprocess": {"mean": [0.5], "std": [float("nan")]}}, {"preprocess": {"mean": ["a"], "std": [1.0]}},
        {"preprocess": {"mean": [], "std": []}}, {"preprocess": {"mean": [0.5], "std": [1.0, 1.0]}},
        {"preprocess": {"mean": [0.5]}}, {"fingerprint": 5}, {"fingerprint": "../" * 21 + "x"},
    ],
    ids=str,
)  # fmt: skip
def test_a_forged_manifest_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"manifest\.json is not what was saved"):
        Probe.load(saved(tmp_path, **changes))


def test_values_that_no_probe_has_are_refused_with_the_folder_named(tmp_path: Path) -> None:
    arrays = {"images": np.full((2, 3, 8, 8), np.nan, np.float32), "targets": np.array([0, 1])}
    facts = json.loads((saved(tmp_path) / "manifest.json").read_text())
    kept = {key: facts[key] for key in ("classes", "names", "mask_sources", "preprocess")}
    storage.save(tmp_path, arrays, {**kept, "fingerprint": storage.digest(arrays, facts["classes"], facts["names"])})

    with pytest.raises(ValueError, match=f"{tmp_path.name}: images must be finite"):
        Probe.load(tmp_path)


def test_an_array_with_more_rows_than_names_is_not_read(tmp_path: Path) -> None:
    (images,) = saved(tmp_path).glob("images-*.npy")
    with images.open("wb") as file:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (500_000, 3, 32, 32)}
        np.lib.format.write_array_header_1_0(file, shape)
        file.truncate(file.tell() + 500_000 * 3 * 32 * 32 * 4)  # six gigabytes of hole

    with pytest.raises(ValueError, match="must hold 2 rows, got 500000"):
        Probe.load(tmp_path)


def test_a_manifest_without_end_is_not_read(tmp_path: Path) -> None:
    with (saved(tmp_path) / "manifest.json").open("ab") as file:
        file.truncate(200_000_000)

    with pytest.raises(ValueError, match="more than 100 MB"):
        Probe.load(tmp_path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pattern", ["manifest.json", "images-*.npy"])
def test_a_pipe_in_a_saved_probe_is_not_waited_for(tmp_path: Path, pattern: str) -> None:
    (file,) = saved(tmp_path).glob(pattern)
    file.unlink()
    os.mkfifo(file)

    with pytest.raises(ValueError, match=r"has no manifest\.json|cannot be read"):
        Probe.load(tmp_path)


HEADERS = {
    "open": b"{'descr': (",
    "indented": b"{'descr': 1L\n  \n\t 1",
    "minus without end": b"-" * 9000 + b"1",
    "no dictionary": b"[1, 2]",
    "huge": b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 3, 8, 8)}",
    "negative": b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3, 8, 8)}",
    "object": b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3, 8, 8)}",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_is_no_header_is_refused(tmp_path: Path, header: bytes) -> None:
    (images,) = saved(tmp_path).glob("images-*.npy")
    images.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(4096))

    with pytest.raises(ValueError, match=r"images-\w+\.npy cannot be read"):
        Probe.load(tmp_path)


def test_saving_writes_three_files_whatever_names_say(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "/a\x00b"]
    Probe(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), classes=names, names=names).save(tmp_path / "probe")

    assert len(list(tmp_path.rglob("*"))) == 4
    assert Probe.load(tmp_path / "probe").names == tuple(names)


@pytest.mark.timeout(60)
def test_a_folder_of_odd_files_hides_no_verdict(tmp_path: Path) -> None:
    page = folder_page()
    FolderSink(tmp_path / "run").write(page)
    for name in ("pipe", "link", "folder"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe" / "verdict.json")
    (tmp_path / "link" / "verdict.json").symlink_to("nowhere")
    (tmp_path / "folder" / "verdict.json").mkdir()
    (tmp_path / "run" / "history.jsonl").unlink()
    os.mkfifo(tmp_path / "run" / "history.jsonl")
    os.utime(tmp_path / "run" / "verdict.json", (1, 1))  # the others are newer

    assert "no scalars in history.jsonl" in report_lines(newest(tmp_path))


def folder_page() -> Any:
    from lightning_cam.sinks import Page

    return Page("cam", 3, 0, {"cam/lift": 0.5}, verdict=Verdict("INCONCLUSIVE", 0.0, (), (), "nothing"))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", '{"a": [1]}', '"text"'])
def test_a_series_with_values_that_are_none_is_continued(tmp_path: Path, value: str) -> None:
    FolderSink(tmp_path).write(folder_page())
    (tmp_path / "history.jsonl").write_text(f'{{"step": 1, "epoch": 0, "cam/lift": {value}}}\n')
    FolderSink(tmp_path).write(folder_page())

    assert [row["cam/lift"] for row in read_history(tmp_path)] == [None, 0.5]


@pytest.mark.parametrize(
    "state",
    [
        {"fingerprint": "x", "history": [{"step": 1, "epoch": 0, "scalars": [1]}]},
        {"fingerprint": "x", "history": [{"step": float("inf"), "epoch": 0, "scalars": {}}]},
        {"fingerprint": "x", "history": [{"step": 1, "epoch": 0, "scalars": {"a": 10**400}}]},
        {"fingerprint": "x", "history": [3]},
        [],
    ],
    ids=["scalars in a list", "a step without end", "a number too large", "no reading", "a list"],
)
def test_a_state_from_elsewhere_never_stops_a_resume(state: Any) -> None:
    callback = CAMCallback()
    with pytest.warns(UserWarning, match="cannot be read"):
        callback.load_state_dict(state)

    assert callback.history == ()


# ---- the code itself -------------------------------------------------------------------------------------------------

DANGEROUS_MODULES = {
    "dill", "joblib", "shelve", "marshal", "cloudpickle", "yaml", "subprocess", "socket", "urllib", "http",
    "requests", "ftplib", "getpass", "platform", "ctypes", "runpy", "code",
}  # fmt: skip
DANGEROUS_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.getenv", "os.path.expandvars",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load", "np.load", "np.fromfile", "np.memmap",
}  # fmt: skip
HARMLESS = {"urllib.parse"}  # it quotes an address, and opens none
# By file, what is safe there.
ALLOWED_MODULES = {"allocator.py": {"ctypes"}}  # one function of the C library, `malloc_trim`
ALLOWED_CALLS = {
    "datasets/apart.py": {"pickle.loads"},  # the bytes come from a process that the package itself has started
    "examination/remaining.py": {"exec"},  # the code of remedies, constants of `cues`, as a user would paste it
    "finished/loading.py": {"torch.load"},  # with `weights_only`, unless the user says `--unpickle`
}


def calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_nothing_is_unpickled_run_or_fetched() -> None:
    paths = sorted(HOUSE.rglob("*.py"))

    assert len(paths) > 50
    for path in paths:
        tree = ast.parse(path.read_text())
        modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        place = path.relative_to(HOUSE).as_posix()
        allowed, called = ALLOWED_MODULES.get(place, set()), set(calls(tree)) - ALLOWED_CALLS.get(place, set())
        with case(path.relative_to(HOUSE)):
            assert not {name.split(".")[0] for name in modules - HARMLESS} & DANGEROUS_MODULES - allowed
            assert not called & DANGEROUS_CALLS
            assert "allow_pickle=True" not in path.read_text()


def test_the_environment_is_asked_for_the_colours_of_a_terminal_and_for_fonts_alone() -> None:
    asked = {
        line.strip()
        for path in HOUSE.rglob("*.py")
        if path.name != "fonts.py"  # asks where the machine keeps its fonts
        for line in path.read_text().splitlines()
        if "os.environ" in line or "getenv" in line
    }

    assert asked == {'colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ'}


# ---- names -----------------------------------------------------------------------------------------------------------

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>[x](javascript:alert(1))![y](http://a/b.png)\"'|`"
EVIL = f"=1+1{MARKUP}\x1b]0;t\x07\x9b31m\r\nlightning_cam: PASS\u202e\ud800<!channel>../../x"
CUE = f"../=1|{MARKUP}"
SECRET = "not-to-be-told-0123456789"


@dataclass(frozen=True)
class Left:
    """What a training with evil names left.

    Attributes:
        root: Folder of all loggers.
        printed: Standard output.
        warned: Texts of warnings.
    """

    root: Path
    printed: str
    warned: list[str]

    @property
    def report(self) -> Path:
        return next(self.root.rglob("summary.md")).parent


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    """A training on a shortcut, with names that attack whoever shows them, before every logger."""
    root = tmp_path_factory.mktemp("left") / "deep" / "down"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"WANDB_SILENT": "true", "WANDB_MODE": "offline", "MY_API_KEY": SECRET}.items():
            patch.setenv(name, value)
        loggers = [TensorBoardLogger(root), CSVLogger(root), WandbLogger(save_dir=root, offline=True)]
        printed = io.StringIO()
        with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(printed):
            warnings.simplefilter("always")
            trained(root, loggers)
        wandb_finish(loggers[-1].experiment)
        yield Left(root, printed.getvalue(), [str(w.message) for w in warned if "lightning_cam" in str(w.message)])


def trained(root: Path, loggers: list[Any]) -> None:
    torch.manual_seed(0)
    plain = framed_probe()
    names = [f"{EVIL} {i}" for i in range(len(plain))]
    probe = Probe(plain.images, plain.targets, masks=plain.masks, classes=[EVIL, f"{EVIL} too"], names=names)
    trials = [replace(BORDER[0], cue=CUE, part_of=None)]
    callback = CAMCallback(probe, trials=trials, n_images=2, every_n_epochs=2, on_error="raise")
    trainer = pl.Trainer(
        max_epochs=4, callbacks=[callback], logger=loggers, default_root_dir=root, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(Framed(), DataLoader(TensorDataset(*framed(64, seed=0)), 8))
    assert callback.verdict is not None
    assert callback.verdict.outcome == "FAIL"


@pytest.mark.slow
def test_markdown_of_a_dashboard_holds_no_markup_of_names(left: Left) -> None:
    texts = tensorboard_texts(next(left.root.rglob("events*")).parent)
    texts["summary.md"] = (left.report / "summary.md").read_text()

    assert set(texts) == {"cam/verdict", "cam/summary", "summary.md"}
    words = {"h2", "h3", "p", "pre", "code", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    for name, text in texts.items():
        ours = {"img", "details", "summary"} if name == "summary.md" else set()  # pictures and a fold of the file
        assert Tags(text).tags <= words | ours
        assert "alert(1)" in Tags(text).text
        assert all(line.isprintable() for line in text.splitlines())


@pytest.mark.slow
def test_wandb_has_the_page_of_the_folder_whose_names_are_text(left: Left) -> None:
    *_, path = [row["cam/report"]["path"] for row in wandb_rows(left.root) if "cam/report" in row]

    assert wandb_file(left.root, path).read_bytes() == (left.report / "report.html").read_bytes()


@pytest.mark.slow
def test_captions_tables_and_alerts_in_wandb_are_tame(left: Left) -> None:
    rows = wandb_rows(left.root)
    captions = [text for row in rows for text in row.get("cam/probes", {}).get("captions", [])]
    paths = {row["cam/probe_table"]["path"] for row in rows if "cam/probe_table" in row}
    tables = [json.loads(wandb_file(left.root, path).read_text()) for path in paths]
    cells = [cell for table in tables for row in table["data"] for cell in row if isinstance(cell, str)]
    (alert,) = wandb_alerts(left.root)

    assert captions
    assert cells
    assert all(line.isprintable() for text in [*captions, *cells, alert.text] for line in text.split("\n"))
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert "<" not in alert.text
    assert "script" in alert.text  # hostile names do reach it


@pytest.mark.slow
def test_no_name_leads_out_of_its_folder(left: Left) -> None:
    paths = [path for path in left.root.parent.parent.rglob("*") if path.is_file()]

    assert all(path.is_relative_to(left.root) for path in paths)
    assert {path.name for path in left.report.iterdir()} == {
        "evolution.png", "history.jsonl", "map_groups.png", "report.html", "run.json", "summary.md", "verdict.json",
        f"evidence_{disk.safe_name(CUE)}.png",
        *(path.name for path in left.report.glob("step_????????")),
    }  # fmt: skip
    assert all(len(list(step.iterdir())) == 2 for step in left.report.glob("step_*"))


@pytest.mark.slow
def test_no_name_steers_the_terminal(left: Left) -> None:
    assert "FAIL" in left.printed
    assert any("FAIL" in text for text in left.warned)
    assert all(line.isprintable() for text in [left.printed, *left.warned] for line in text.split("\n"))
    assert not [line for text in left.warned for line in text.split("\n") if line.startswith("lightning_cam: PASS")]


@pytest.mark.slow
def test_what_is_kept_tells_nothing_of_machine_and_user(left: Left) -> None:
    events = tensorboard_events(next(left.root.rglob("events*")).parent)
    ours = [path.read_text() for path in left.report.iterdir() if path.is_file() and path.suffix != ".png"]
    ours += [json.dumps(wandb_rows(left.root)), json.dumps(events.Tags()), *tensorboard_texts_of(left)]
    ours += [wandb_file(left.root, path).read_text() for path in media_of(left)]
    private = [str(left.root), str(Path.home()), socket.gethostname(), SECRET, str(Path.cwd())]

    assert len(ours) > 6
    assert not [word for word in private for text in ours if word in text and len(word) > 3]
    for picture in left.report.rglob("*.png"):
        with Image.open(picture) as image:
            assert image.info == {}


def tensorboard_texts_of(left: Left) -> list[str]:
    return list(tensorboard_texts(next(left.root.rglob("events*")).parent).values())


def media_of(left: Left) -> set[str]:
    keys = ("cam/report", "cam/probe_table")
    return {row[key]["path"] for row in wandb_rows(left.root) for key in keys if key in row}


def test_a_saved_probe_tells_no_path(tmp_path: Path) -> None:
    Probe.from_folder(placed(tmp_path / "pictures")).save(tmp_path / "probe")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "probe").iterdir())

    assert str(tmp_path).encode() not in kept
    assert b"pictures" not in kept


def test_a_remedy_for_a_cue_of_ones_own_is_text() -> None:
    from house.pages import convicted

    (finding,) = convicted(CUE).findings
    verdict = replace(convicted(CUE), findings=(replace(finding, remedy=remedy_for(CUE)),))

    assert Tags(wording.markdown(verdict)).tags <= {"h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td"}


def test_a_verdict_as_text_and_as_error_is_printable() -> None:
    from house.pages import convicted

    verdict = convicted(EVIL, (EVIL,))

    for text in (str(verdict), str(ShortcutError(verdict))):
        assert all(line.isprintable() for line in text.split("\n"))
        assert len(text.split("\n")) == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_names_of_files_and_folders_do_not_steer_the_terminal_of_an_audit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    evil = "a\x1b]0;t\x07\r\nok\x9b31m\udcff"
    root = placed(tmp_path, b"no picture", f"{evil}/{evil}.png")
    (root / evil / "0.png").write_bytes(encoded("PNG", "L"))

    cli.main(["audit", str(root), *(["--json"] if as_json else [])])
    cli.main(["audit", str(tmp_path / evil)])

    printed = capsys.readouterr()
    assert "ok" in printed.out
    assert all(line.isprintable() for line in (printed.out + printed.err).split("\n"))


def test_errors_about_files_are_printable(tmp_path: Path) -> None:
    evil = "a\x1b]0;t\x07\r\nok\x9b31m\udcff"
    root = placed(tmp_path, b"no picture", f"{evil}/{evil}.png")

    with pytest.raises(ValueError, match="cannot be read as an image") as refusal:
        Probe.from_folder(root)

    assert str(refusal.value).isprintable()
