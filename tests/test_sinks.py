"""What loggers and folders keep, read back from what they wrote."""

import errno
import importlib.util
import io
import json
import math
import os
import random
import shutil
import signal
import sys
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch.loggers
import numpy as np
import pytest
import pytorch_lightning.loggers
import torch
import wandb
from numpy.typing import NDArray
from PIL import Image
from tensorboard.plugins.custom_scalar import layout_pb2
from torch.utils.tensorboard import SummaryWriter

from house.markup import Tags
from house.pages import bad_news, check, convicted, last_page, picture
from house.read_back import (
    tensorboard_events,
    tensorboard_images,
    tensorboard_scalars,
    tensorboard_texts,
    wandb_alerts,
    wandb_artifacts,
    wandb_file,
    wandb_finish,
    wandb_images,
    wandb_masks,
    wandb_rows,
    wandb_summary,
)
from house.report_pages import page, portraits
from lightning_cam.cues import CUES
from lightning_cam.examination import Reading
from lightning_cam.intervention import Reliance
from lightning_cam.probe import Probe
from lightning_cam.probe.names import tag
from lightning_cam.sinks import (
    FolderSink,
    MemorySink,
    Page,
    TensorBoardSink,
    WandbSink,
    disk,
    headings,
    wording,
)
from lightning_cam.sinks import wandb as wandb_sink
from lightning_cam.sinks.history import read_history
from lightning_cam.sinks.page import Run
from lightning_cam.sinks.pages import final_page
from lightning_cam.sinks.report_page import RunPage, read_back
from lightning_cam.sinks.tensorboard import MOST_DRAWN, command
from lightning_cam.training.loggers import for_logger
from lightning_cam.verdict import Verdict
from lightning_cam.verdict.untested import UNSWAPPED


def pixels(file: Path) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        return np.asarray(image)


def assert_like(kept: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> None:
    """The same but for what JPEG loses."""
    assert kept.shape == drawn.shape
    assert np.abs(kept.astype(int) - drawn).mean() < 4


# ---- TensorBoard -----------------------------------------------------------------------------------------------------


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SummaryWriter]:
    with SummaryWriter(str(tmp_path)) as writer:
        yield writer


def test_tensorboard_keeps_a_series_per_probe(tmp_path: Path, writer: SummaryWriter) -> None:
    sink = TensorBoardSink(writer)
    for step in range(0, 60, 4):
        sink.write(check(step, "leaf 1", "sub/leaf.2"))
    writer.flush()
    kept = tensorboard_images(tmp_path)

    assert set(kept) == {"cam/leaf 1", "cam/sub/leaf.2"}
    assert [shown.step for shown in kept["cam/leaf 1"]] == list(range(0, 60, 4))
    for shown in kept["cam/sub/leaf.2"]:
        assert_like(shown.pixels, picture(shown.step + 1))


def test_tensorboard_keeps_strip_and_text_and_leaves_scalars_to_lightning(
    tmp_path: Path, writer: SummaryWriter
) -> None:
    sink = TensorBoardSink(writer)
    sink.write(check(4, "a", lift=0.5))
    sink.write(last_page(11))
    writer.flush()
    (strip,) = tensorboard_images(tmp_path)["cam/evolution"]

    assert strip.step == 11
    assert_like(strip.pixels, picture(3, (60, 90)))
    assert tensorboard_texts(tmp_path) == {"cam/summary": last_page(11).text}
    assert tensorboard_scalars(tmp_path) == {}


def test_of_a_long_training_tensorboard_keeps_fewer_and_fewer_pictures(tmp_path: Path, writer: SummaryWriter) -> None:
    sink = TensorBoardSink(writer)
    for step in range(4 * MOST_DRAWN):
        sink.write(check(step, "a"))
    sink.write(replace(check(4 * MOST_DRAWN + 1, "a"), verdict=convicted(), alert=True))
    writer.flush()
    steps = [shown.step for shown in tensorboard_images(tmp_path)["cam/a"]]

    assert steps[:MOST_DRAWN] == list(range(MOST_DRAWN))
    assert steps[MOST_DRAWN:] == [*range(50, 100, 2), *range(100, 200, 4), 201]  # an alert has its pictures


def test_tensorboard_puts_ours_behind_what_a_training_logs() -> None:
    keys = ["cam/reliance/border", "cam/reliance/border_high", "cam/shortcut_score", "cam/seconds", "cam/box_iou"]
    users = ["acc", "epoch", "hp_metric", "loss", "lr-Adam", "train/loss", "val_loss", "validation", "weights/conv1"]
    tags = [*map(headings.tag_of, keys), headings.picture_tag("cam", "a")]

    assert min(tags) > max(users)
    assert [tag.partition("/")[2] for tag in tags] == [*keys, "cam/a"]
    assert len({tag.split("/")[0] for tag in tags}) == 4


def layouts(folder: Path) -> list[dict[str, dict[str, list[str]]]]:
    """The layouts of custom scalars that were written: the tags of a chart by category and title."""
    written = tensorboard_events(folder).Tensors(headings.LAYOUT)
    protos = [layout_pb2.Layout.FromString(event.tensor_proto.string_val[0]) for event in written]
    return [
        {
            group.title: {
                c.title: [*c.multiline.tag, *(t for s in c.margin.series for t in (s.value, s.lower, s.upper))]
                for c in group.chart
            }
            for group in proto.category
        }
        for proto in protos
    ]


def test_tensorboard_gets_charts_of_what_matters(tmp_path: Path, writer: SummaryWriter) -> None:
    sink = TensorBoardSink(writer)
    sink.write(check(0, probe_accuracy=0.5))
    for step in (1, 2):
        sink.write(check(step, shortcut_score=0.1, **{f"reliance/tone{end}": 0.1 for end in ("", "_low", "_high")}))
    writer.flush()

    assert layouts(tmp_path) == [
        {
            "cam: first": {
                "shortcut score: the largest loss that is certain": ["what_it_uses/cam/shortcut_score$"],
            },
            "cam: each cue with its interval": {
                "lost with another tone": [
                    "what_it_uses/cam/reliance/tone",
                    "with_intervals/cam/reliance/tone_low",
                    "with_intervals/cam/reliance/tone_high",
                ]
            },
        }
    ]


def test_a_cue_has_a_chart_once_it_has_a_point(tmp_path: Path, writer: SummaryWriter) -> None:
    sink, ends = TensorBoardSink(writer), ("", "_low", "_high")
    for step, cast in enumerate((math.nan, math.nan, 0.2, 0.2), start=1):
        points = {f"reliance/{cue}{end}": at for cue, at in (("tone", 0.1), ("cast", cast)) for end in ends}
        sink.write(check(step, **points))
    writer.flush()

    charted = [list(each["cam: each cue with its interval"]) for each in layouts(tmp_path)]
    assert charted == [["lost with another tone"], ["lost with another cast", "lost with another tone"]]


def test_charts_of_the_user_stay(tmp_path: Path, writer: SummaryWriter) -> None:
    writer.add_custom_scalars({"mine": {"loss": ["Multiline", ["loss"]]}})
    TensorBoardSink(writer).write(tried("cam"))
    writer.flush()

    assert layouts(tmp_path) == [{"mine": {"loss": ["loss"]}}]


def test_a_chart_of_attention_says_that_masks_were_guessed(tmp_path: Path, writer: SummaryWriter) -> None:
    guessed = replace(portraits(4), sources=("guess", "none", "guess", "guess"))
    ends = {f"reliance/tone{end}": 0.1 for end in ("", "_low", "_high")}
    TensorBoardSink(writer).write(page(1, guessed, background_attention_ratio=0.4, **ends))
    writer.flush()

    charts = layouts(tmp_path)[0]["cam: first"]
    assert "share of the attention outside the object, as far as guessed" in charts


@pytest.mark.parametrize(("source", "is_said"), [("guess", True), ("given", False)])
def test_the_numbers_of_a_run_say_that_masks_were_guessed(source: str, is_said: bool) -> None:
    masks = torch.ones(4, 8, 8, dtype=torch.bool).tril()
    probe = Probe(torch.rand(4, 3, 8, 8), torch.arange(4) % 2, masks=masks, mask_sources=[source] * 4)

    last = final_page(probe, [], [Reading(1, 0, {"cam/background_attention_ratio": 0.5})], "cam")

    assert ("Masks of the objects were guessed" in last.numbers) == is_said
    assert last.text is not None
    assert last.text.endswith(last.numbers)


def test_the_last_layout_has_the_charts_of_both_callbacks(tmp_path: Path, writer: SummaryWriter) -> None:
    """TensorBoard shows the last one of a run."""
    for prefix in ("cam", "other"):
        TensorBoardSink(writer).write(tried(prefix))
    writer.flush()

    groups = [f"{name}: {group}" for name in ("cam", "other") for group in ("first", "each cue with its interval")]
    assert list(layouts(tmp_path)[-1]) == groups


def test_charts_that_the_user_lays_out_later_stay_too(tmp_path: Path, writer: SummaryWriter) -> None:
    TensorBoardSink(writer).write(tried("cam"))
    writer.add_custom_scalars({"mine": {"loss": ["Multiline", ["loss"]]}})
    TensorBoardSink(writer).write(tried("other"))
    writer.flush()

    assert layouts(tmp_path)[-1] == {"mine": {"loss": ["loss"]}}


def tried(prefix: str) -> Page:
    """A check with a trial."""
    keys = [f"{prefix}/reliance/tone{end}" for end in ("", "_low", "_high")]
    return replace(check(1), prefix=prefix, scalars=dict.fromkeys(keys, 0.1))


def test_tensorboard_stops_before_the_disk_is_full(
    tmp_path: Path, writer: SummaryWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=499_000_000))
    with pytest.raises(OSError, match="less than 500 MB free"):
        TensorBoardSink(writer).write(check(0, "a"))
    writer.flush()

    assert tensorboard_images(tmp_path) == {}


def test_the_hint_is_a_command_for_a_shell() -> None:
    assert command(Path("a b/c")) == "tensorboard --logdir 'a b/c'"


# ---- W&B -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(mode="offline", dir=tmp_path, project="test", settings=wandb.Settings(x_disable_stats=True))
    yield run
    wandb_finish(run)


def test_wandb_keeps_every_picture_with_step_and_caption(tmp_path: Path, run: Any) -> None:
    sink = WandbSink(run)
    for step in (0, 5, 11):
        sink.write(check(step, "a", "b"))
    wandb_finish(run)
    kept = wandb_images(tmp_path, "cam/probes")

    assert [(shown.step, shown.caption.split("\n")) for shown in kept] == [
        (step, [name, f"caption {name} {step + i}"]) for step in (0, 5, 11) for i, name in enumerate("ab")
    ]
    for shown, seed in zip(kept, [0, 1, 5, 6, 11, 12], strict=True):
        assert_like(shown.pixels, picture(seed))


def test_wandb_keeps_the_bands_as_a_mask(tmp_path: Path, run: Any) -> None:
    page = check(3, "a", "b")
    WandbSink(run).write(page)
    wandb_finish(run)
    (row,) = wandb_rows(tmp_path)
    masks = wandb_masks(row, tmp_path, "cam/probes")

    assert [set(mask) for mask in masks] == [{"attention"}] * 2
    for mask, kept in zip(masks, page.tiles, strict=True):
        np.testing.assert_array_equal(mask["attention"], kept.bands)


def test_wandb_takes_one_row_per_page_and_none_from_the_user(tmp_path: Path, run: Any) -> None:
    sink = WandbSink(run)
    for step in range(3):
        run.log({"loss": 1 / (step + 1), "trainer/global_step": step})
        sink.write(check(step, "a"))
    wandb_finish(run)
    rows = wandb_rows(tmp_path)

    assert [(row["trainer/global_step"], "loss" in row, "cam/probes" in row) for row in rows] == [
        (step, loss, not loss) for step in range(3) for loss in (True, False)
    ]


def test_wandb_shows_at_the_end_what_one_can_sort(tmp_path: Path, run: Any) -> None:
    sink = WandbSink(run)
    sink.write(check(0, "a", "b"))
    sink.write(check(5, "a", "=b"))
    sink.write(check(5, lift=0.5))  # the same check, completed
    sink.write(last_page(5))
    wandb_finish(run)
    (artifact,) = wandb_artifacts(tmp_path, "run_table")
    table = json.loads(artifact.files["cam/probe_table.table.json"])
    *cells, shown = table["data"][-1]

    assert table["columns"] == ["step", "epoch", "probe", "caption", "background", "picture"]
    assert cells == [5, 1, "'=b", "caption =b 6", 1.5]
    assert Image.open(io.BytesIO(artifact.files[shown["path"]])).size == (40, 24)
    assert [row[-1] is None for row in table["data"]] == [True, True, False, False]


def test_wandb_shows_strip_and_report_at_the_end(tmp_path: Path, run: Any) -> None:
    sink = WandbSink(run)
    sink.write(check(11, "a"))
    sink.write(last_page(11))
    wandb_finish(run)
    (strip,) = wandb_images(tmp_path, "cam/evolution")
    _, row, table = wandb_rows(tmp_path)

    assert strip.step == 11
    np.testing.assert_array_equal(strip.pixels, picture(3, (60, 90)))
    assert wandb_file(tmp_path, row["cam/report"]["path"]).read_text().startswith("<!doctype html>")
    assert table["trainer/global_step"] == 11
    assert "cam/probe_table" in table


def test_wandb_keeps_the_report_as_an_artifact(tmp_path: Path, run: Any) -> None:
    WandbSink(run).write(bad_news(7))
    wandb_finish(run)
    (artifact,) = wandb_artifacts(tmp_path, "report")
    row = next(row for row in wandb_rows(tmp_path) if "cam/report" in row)

    assert artifact.name == f"cam-report-{run.id}"
    assert artifact.files["report.html"] == wandb_file(tmp_path, row["cam/report"]["path"]).read_bytes()


@pytest.mark.parametrize(("is_final", "verdict"), [(True, "FAIL"), (False, "FAIL so far")])
def test_wandb_lists_a_run_with_its_verdict(is_final: bool, verdict: str, tmp_path: Path, run: Any) -> None:
    WandbSink(run).write(replace(bad_news(7), is_final=is_final))
    wandb_finish(run)

    summary = wandb_summary(tmp_path)

    assert summary["cam/verdict"] == verdict
    assert summary["cam/relies_on"] == "border"
    assert summary["cam/verdict_reason"] == "the model relies on border"


def test_wandb_takes_the_page_of_the_folder_which_a_resumed_run_has_gone_on_with(tmp_path: Path, run: Any) -> None:
    before, after = (Run("first"), Run("second", "first", 5))
    FolderSink(tmp_path / "cam").write(replace(check(3, lift=0.5), run=before, verdict=convicted()))
    folder_sink = FolderSink(tmp_path / "cam")
    for sink in (folder_sink, WandbSink(run, folder_sink)):
        sink.write(replace(bad_news(7), run=after, scalars={"cam/lift": 1.0}))
    wandb_finish(run)
    (artifact,) = wandb_artifacts(tmp_path, "report")

    assert sorted(read_back(artifact.files["report.html"].decode()).checks) == [3, 7]


def test_wandb_gets_no_more_pictures_than_it_shows() -> None:
    rows: list[dict[str, Any]] = []
    WandbSink(SimpleNamespace(log=rows.append)).write(check(0, *(f"p{i}" for i in range(120))))

    assert len(rows[0]["cam/probes"]) == 108


def test_wandb_gets_no_row_for_a_check_without_pictures(tmp_path: Path, run: Any) -> None:
    WandbSink(run).write(check(0, lift=0.5))
    wandb_finish(run)

    assert wandb_rows(tmp_path) == []


def test_a_disabled_run_takes_pages_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(mode="disabled", dir=tmp_path)
    sink = WandbSink(run)
    sink.write(check(0, "a", lift=0.5))
    sink.write(last_page(0))
    wandb_finish(run)

    assert list(tmp_path.glob("wandb/offline-run-*")) == []


# ---- folder ----------------------------------------------------------------------------------------------------------


def history(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "history.jsonl").read_text().splitlines()]


def test_a_folder_keeps_pictures_strip_and_text(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "new" / "cam")
    sink.write(check(12, "a", "b"))
    sink.write(last_page(12))
    root = tmp_path / "new" / "cam"
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())

    assert names == [
        "evolution.png",
        "run.json",
        f"step_00000012/{disk.safe_name('a')}.png",
        f"step_00000012/{disk.safe_name('b')}.png",
        "summary.md",
    ]
    np.testing.assert_array_equal(pixels(root / names[2]), picture(12))
    np.testing.assert_array_equal(pixels(root / names[0]), picture(3, (60, 90)))
    assert (root / "summary.md").read_text().startswith(last_page(12).text)


def test_a_folder_keeps_a_line_per_check_and_null_for_undefined(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    sink.write(check(0, lift=math.nan, drift=math.inf))
    sink.write(check(4, lift=0.5))
    sink.write(last_page(4))

    assert history(tmp_path) == [
        {"step": 0, "epoch": 0, "cam/lift": None, "cam/drift": None},
        {"step": 4, "epoch": 1, "cam/lift": 0.5},
    ]
    assert read_history(tmp_path) == history(tmp_path)


def test_a_resumed_run_continues_the_series_without_repeating_a_step(tmp_path: Path) -> None:
    first, resumed = FolderSink(tmp_path), FolderSink(tmp_path)
    for step in (0, 4, 8):
        first.write(check(step, lift=0.1))
    for step in (4, 8, 12):
        resumed.write(check(step, lift=0.2))

    assert [(row["step"], row["cam/lift"]) for row in history(tmp_path)] == [(0, 0.1), (4, 0.2), (8, 0.2), (12, 0.2)]


@pytest.mark.parametrize("torn", ['{"step": 8, "epo', "\udcff\udcff", "\0\0\0"], ids=ascii)
def test_a_line_that_a_killed_run_left_unfinished_is_dropped(tmp_path: Path, torn: str) -> None:
    FolderSink(tmp_path).write(check(4, lift=0.1))
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(torn.encode("utf-8", "surrogateescape"))
    assert [row["step"] for row in read_history(tmp_path)] == [4]

    resumed = FolderSink(tmp_path)
    resumed.write(check(8, lift=0.2))
    resumed.write(check(12, lift=0.3))

    assert [row["step"] for row in history(tmp_path)] == [4, 8, 12]


def test_a_folder_without_a_history_has_no_rows(tmp_path: Path) -> None:
    assert read_history(tmp_path / "nothing") == []


NASTY = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "",
    ".",
    "a\x00b",
    "x" * 500,
    "CON",
    "ä/ö\\ü",
    "-rf",
    ".hidden",
    "a:b*?",
    "\ud800",
    "金毛寻回犬" * 100,
    "e\u0301t\u00e9",
    "\u202egnp",
]


@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    FolderSink(root).write(check(0, name))
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file() and path.name != "run.json")

    assert file.resolve().parent == (root / "step_00000000").resolve()
    assert file.name[0] not in "-."
    assert len(file.name) < 60
    assert len(os.fsencode(file.name)) < 120
    np.testing.assert_array_equal(pixels(file), picture(0))


def test_different_names_are_different_files() -> None:
    names = [*NASTY, "a b", "a_b", "A_b", "x" * 501, "\u00e9t\u00e9", "\u00c9t\u00e9", "金毛寻回犬" * 101]

    stored = {unicodedata.normalize("NFD", disk.safe_name(name)).casefold() for name in names}
    assert len(stored) == len(names)


@pytest.mark.parametrize("name", ["金毛寻回犬", "골든_리트리버", "Собака", "كلب", "कुत्ता", "Käfer"])
def test_a_file_name_keeps_the_letters_of_every_script(name: str) -> None:
    assert disk.safe_name(name).startswith(f"{name}-")
    assert disk.safe_name(unicodedata.normalize("NFD", name)).startswith(f"{name}-")
    assert tag(unicodedata.normalize("NFD", name), 3) == f"{name}_3"


def test_a_file_name_has_only_letters_that_the_file_system_can_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")

    assert disk.safe_name("狗 dog").startswith("dog-")


def test_a_file_is_put_in_place_only_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FolderSink(tmp_path)
    sink.write(last_page(0))
    monkeypatch.setattr(Path, "write_bytes", _half_written)
    with pytest.warns(UserWarning, match="pictures could not be written .*no space"):
        sink.write(Page("cam", 1, 0, strip=picture(9, (60, 90))))

    np.testing.assert_array_equal(pixels(tmp_path / "evolution.png"), picture(3, (60, 90)))


def _half_written(path: Path, data: bytes) -> int:
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
    raise OSError("no space left")


def test_of_a_disk_that_is_nearly_full_verdict_and_scalars_take_something_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=499_000_000))
    sink = FolderSink(tmp_path)
    with pytest.warns(UserWarning, match="less than 500 MB free"):
        sink.write(check(0, "a", lift=0.5))
    sink.write(replace(bad_news(7), scalars={"cam/lift": 0.25}))

    assert capsys.readouterr().err == ""  # said once
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "history.jsonl", "verdict.json"}
    assert [row["step"] for row in read_history(tmp_path)] == [0, 7]


def of_at_most(n_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a limit on the size of files is set."""

    def write(path: Path, data: bytes) -> int:
        if len(data) > n_bytes:
            raise OSError(errno.EFBIG, "File too large")
        with path.open("wb") as file:
            return file.write(data)

    monkeypatch.setattr(Path, "write_bytes", write)


def test_a_page_that_is_too_large_costs_neither_the_verdict_nor_the_scalars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_at_most(20_000, monkeypatch)
    sink = FolderSink(tmp_path)
    with pytest.warns(UserWarning, match="report.html could not be written .*too large.*scalars are still kept"):
        sink.write(replace(bad_news(3), scalars={"cam/lift": 0.5}))
    for step in (5, 7, 9):
        sink.write(replace(bad_news(step), scalars={"cam/lift": 0.25}, is_final=step == 9))
    kept = json.loads((tmp_path / "verdict.json").read_text())

    assert (kept["step"], kept["final"]) == (9, True)
    assert [row["step"] for row in read_history(tmp_path)] == [3, 5, 7, 9]
    assert not (tmp_path / "report.html").exists()
    assert sink.report_of(Run()) is None
    assert capsys.readouterr().err == ""  # said once


def test_a_page_that_cannot_be_drawn_costs_neither_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunPage, "html", lambda *_: 1 / 0)
    with pytest.warns(UserWarning, match="report.html could not be written .*ZeroDivisionError"):
        FolderSink(tmp_path).write(replace(bad_news(3), scalars={"cam/lift": 0.5}))

    assert json.loads((tmp_path / "verdict.json").read_text())["step"] == 3
    assert [row["step"] for row in read_history(tmp_path)] == [3]


def test_a_verdict_that_is_older_than_the_series_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FolderSink(tmp_path)
    sink.write(replace(bad_news(3), scalars={"cam/lift": 0.5}))
    of_at_most(200, monkeypatch)
    with pytest.raises(OSError, match=r"verdict.json' could not be written .*; the 'verdict.json' .* earlier check"):
        sink.write(replace(bad_news(7), scalars={"cam/lift": 0.5}))

    assert [row["step"] for row in read_history(tmp_path)] == [3, 7]


def test_a_line_of_the_series_is_whole_or_not_there(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    sink = FolderSink(tmp_path)
    for step in (0, 1):
        sink.write(check(step, lift=0.5))
    before, size = resource.getrlimit(resource.RLIMIT_FSIZE), (tmp_path / "history.jsonl").stat().st_size
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
    try:
        with pytest.raises(OSError, match=r"history.jsonl' could not be written"):
            sink.write(check(2, lift=0.5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, kept)

    assert (tmp_path / "history.jsonl").read_text().endswith("\n")
    assert [row["step"] for row in read_history(tmp_path)] == [0, 1]


# ---- verdicts --------------------------------------------------------------------------------------------------------


WITHOUT_DECISIONS = {
    "label": "",
    "accuracy_own": None,
    "accuracy_lost": None,
    "accuracy_low": None,
    "accuracy_high": None,
    "either_p": None,
    "hanging": {},
    "unsettled": {},
    "apart": None,
    "apart_low": None,
    "kind": "classes",
    "n": 0,
    "n_images": 0,
}


def test_a_folder_keeps_the_whole_verdict_of_the_last_check(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    sink.write(Page("cam", 3, 0, {"cam/lift": 0.5}, verdict=Verdict("INCONCLUSIVE", 0.0, (), (), "not yet")))
    sink.write(bad_news(7))
    kept = json.loads((tmp_path / "verdict.json").read_text(), parse_constant=pytest.fail)

    assert time.time() - kept.pop("written") < 60
    assert set(kept.pop("versions")) == {"lightning_cam", "torch"}
    assert kept.pop("untested")[:1] == ["background"]
    assert kept == {
        "final": False,
        "run": "",
        "probe": "",
        "tested": ["border"],
        "step": 7,
        "epoch": 2,
        "outcome": "FAIL",
        "score": 0.25,
        "findings": [
            {
                "cue": "border",
                "outcome": "FAIL",
                "reliance": 0.5,
                "low": 0.25,
                "high": 0.75,
                "p_value": 0.001,
                "classes": ["cat"],
                "remedy": {"what": "blur at random", "code": "transform = 1", "other": None},
                "text": "border: loses 0.50 (at least 0.25)",
                "accuracy_own": None,
                "accuracy_other": None,
                "cause": "",
                "tried": "",
            }
        ],
        "measured": [
            {
                "cue": "border",
                "mean": 0.5,
                "low": 0.25,
                "high": 0.75,
                "p_value": 0.001,
                "by_class": {"cat": [0.5, 0.01]},
                "needed_n": 64.0,
                **WITHOUT_DECISIONS,
            },
            {
                "cue": "tone",
                "mean": None,
                "low": None,
                "high": None,
                "p_value": None,
                "by_class": {},
                "needed_n": None,
                **WITHOUT_DECISIONS,
            },
        ],
        "reason": "the model relies on border",
        "why_untested": {},
        "expected": [],
        "attributes": [],
    }


def test_a_verdict_is_put_in_place_only_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FolderSink(tmp_path)
    sink.write(Page("cam", 7, 2, verdict=convicted()))
    monkeypatch.setattr(Path, "write_bytes", _half_written)
    with pytest.raises(OSError, match="no space"):
        sink.write(Page("cam", 9, 3, verdict=convicted()))

    assert json.loads((tmp_path / "verdict.json").read_text())["step"] == 7


def test_a_folder_without_a_verdict_has_no_file_of_it(tmp_path: Path) -> None:
    FolderSink(tmp_path).write(check(0, "a", lift=0.5))

    assert not (tmp_path / "verdict.json").exists()


def test_a_folder_keeps_the_evidence_of_each_cue(tmp_path: Path) -> None:
    FolderSink(tmp_path).write(Page("cam", 7, 2, evidence={"border": picture(9), "../a/b": picture(8)}))
    kept = {path.name: pixels(path) for path in tmp_path.glob("evidence_*.png")}

    assert len(kept) == 2
    np.testing.assert_array_equal(kept[f"evidence_{disk.safe_name('border')}.png"], picture(9))
    np.testing.assert_array_equal(kept[f"evidence_{disk.safe_name('../a/b')}.png"], picture(8))


def test_tensorboard_shows_evidence_and_says_bad_news(tmp_path: Path, writer: SummaryWriter) -> None:
    TensorBoardSink(writer).write(bad_news(7))
    writer.flush()
    (evidence,) = tensorboard_images(tmp_path)["cam/evidence/border"]

    assert evidence.step == 7
    assert_like(evidence.pixels, picture(9, (50, 70)))
    assert tensorboard_texts(tmp_path)["cam/verdict"].startswith(wording.markdown(convicted()))


def test_what_is_no_news_is_not_said_again(tmp_path: Path, writer: SummaryWriter, run: Any) -> None:
    for sink in (TensorBoardSink(writer), WandbSink(run)):
        sink.write(bad_news(7, alert=False))
    writer.flush()
    wandb_finish(run)

    assert tensorboard_texts(tmp_path) == {}
    assert wandb_alerts(tmp_path) == []


def test_wandb_sends_bad_news_as_an_alert(tmp_path: Path, run: Any) -> None:
    WandbSink(run).write(bad_news(7))
    wandb_finish(run)
    (alert,) = wandb_alerts(tmp_path)
    (evidence,) = wandb_images(tmp_path, "cam/evidence/border")

    assert (alert.title, alert.level) == ("cam: FAIL", "WARN")
    assert alert.text == "\n".join(wording.lines(convicted()))
    assert (evidence.step, evidence.caption) == (7, "only the border was swapped")
    np.testing.assert_array_equal(evidence.pixels, picture(9, (50, 70)))


def test_wandb_loses_no_more_than_table_and_artifact_without_a_server() -> None:
    rows: list[dict[str, Any]] = []
    alerts: list[str] = []
    sink = WandbSink(
        SimpleNamespace(
            id="x",
            summary={},
            log=rows.append,
            log_artifact=_unreachable,
            alert=lambda title, *_, **__: alerts.append(title),
        )
    )
    with pytest.raises(ConnectionError):
        sink.write(replace(last_page(7), verdict=convicted(), alert=True, evidence={"border": picture(9)}))

    (row,) = rows
    assert set(row) == {"cam/evolution", "cam/evidence/border", "cam/report", "trainer/global_step"}
    assert alerts == ["cam: FAIL"]


def _unreachable(*_: Any, **__: Any) -> None:
    raise ConnectionError


def test_a_disabled_run_takes_an_alert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(mode="disabled", dir=tmp_path)
    WandbSink(run).write(bad_news(0))
    wandb_finish(run)

    assert list(tmp_path.glob("wandb/offline-run-*")) == []


def test_markdown_says_what_was_found_and_what_to_do() -> None:
    assert wording.markdown(convicted()).splitlines() == [
        "## Verdict: FAIL",
        "",
        "the model relies on border",
        "",
        "### border: relied on",
        "",
        "border: loses 0.50 (at least 0.25)",
        "",
        "Most in: cat.",
        "",
        "To do: blur at random.",
        "",
        "```python",
        "transform = 1",
        "```",
        "",
        "Probability lost: what the right class loses when an image gets the cue of another class instead of another "
        "image of its own class. 0 means not used, more than 0.10 is too much. Right answers: with the cue of another "
        "picture of the same class, then after the swap.",
        "",
        "| cue | right answers | probability lost | 95 % interval |",
        "| --- | ---: | ---: | ---: |",
        "| border |  | 0.50 | 0.25 to 0.75 |",
        "| tone |  | - | not known |",
    ]


def test_tables_say_how_often_the_answers_are_right_and_on_how_many_pictures() -> None:
    counted = {"accuracy_own": 0.98, "accuracy_lost": 0.95, "n_images": 64}
    measured = tuple(
        replace(reliance(cue, 0.5, 0.2, 0.8), **counted, n=n) for cue, n in (("border", 64), ("resolution", 31))
    )
    verdict = Verdict("WARN", 0.0, (), measured, "perhaps", expected=("border", "resolution"))
    note = "Expected: you allowed the model to use it."

    assert wording.markdown(verdict).splitlines()[-5:-3] == [
        "| border | 98 %, then 3 % | 0.50 | 0.20 to 0.80 |  |",
        "| resolution | 98 %, then 3 % | 0.50 | 0.20 to 0.80 | on 31 of 64 pictures |",
    ]
    assert wording.closing(verdict)[1:4] == [
        "  cue         right answers   probability lost  95 % interval",
        f"  border      98 %, then 3 %  0.50              0.20 to 0.80   {note}",
        f"  resolution  98 %, then 3 %  0.50              0.20 to 0.80   on 31 of 64 pictures; {note}",
    ]


def test_cues_that_were_not_tested_share_a_line_by_reason() -> None:
    cues = [cue.name for cue in CUES if cue.name != "background"]
    why = {"background": "No masks.", **dict.fromkeys([*cues, "mine", *UNSWAPPED], "No trial.")}
    reason = "nothing; not tested: background, border"  # which the lines below say with their reasons
    verdict = Verdict("INCONCLUSIVE", 0.0, (), (reliance("mine", *[math.nan] * 3),), reason, why_untested=why)
    lines = [
        "not tested: background. No masks.",
        f"not tested: {len(cues) + 2} cues (border, corner, region, cast, contrast, codec and {len(cues) - 4} more). "
        "No trial.",
    ]

    assert wording.closing(verdict) == ["INCONCLUSIVE: nothing", *(f"  {line}" for line in lines)]
    assert wording.lines(verdict) == wording.closing(verdict)
    assert wording.markdown(verdict).splitlines()[-2:] == [f"- N{line[1:]}" for line in lines]


def reliance(cue: str, mean: float, low: float, high: float) -> Reliance:
    return Reliance(cue, mean, low, high, 0.001, {}, 64.0)


def test_each_part_of_a_reason_is_a_line_of_its_own() -> None:
    verdict = Verdict("INCONCLUSIVE", 0.0, (), (), "too few images; more would do; masks too")

    assert wording.closing(verdict) == ["INCONCLUSIVE: too few images", "  more would do", "  masks too"]


def test_markdown_says_why_a_row_above_the_limit_is_no_finding() -> None:
    measured = (reliance("tone", 0.3, 0.2, 0.4), reliance("cast", 0.12, -0.1, 0.3), reliance("border", 0.2, 0.1, 0.3))
    measured += (reliance("corner", 0.05, 0, 0.1), reliance("position", 0.3, 0.2, 0.4))
    text = wording.markdown(Verdict("INCONCLUSIVE", 0.0, (), measured, "too few images; more would do; masks too"))

    assert text.splitlines()[:6] == [
        "## Verdict: INCONCLUSIVE",
        "",
        "too few images",
        "",
        "- more would do",
        "- masks too",
    ]
    assert text.splitlines()[-5:] == [
        "",
        "- tone is above 0.10 and no finding. Context: the object has this property itself, so a model may use "
        "it; only an audit makes it a finding.",
        "- cast is above 0.10 and no finding. Not certain: the interval reaches below 0.10.",
        "- border is above 0.10 and no finding. Not judged: the reason of the verdict says why.",
        "- position is above 0.10 and no finding. Not judged: the reason of the verdict says why.",
    ]


def test_the_end_of_a_fit_shows_the_cues_that_matter_and_what_to_do_first() -> None:
    verdict = convicted()
    others = (reliance("cast", 0.02, -0.1, 0.3), reliance("corner", 0.0, -0.05, 0.05))
    text = wording.closing(replace(verdict, measured=(*others, *verdict.measured)))

    assert text == [
        "FAIL: the model relies on border",
        "  cue     right answers  probability lost  95 % interval",
        "  border                 0.50              0.25 to 0.75   relied on",
        "  cast                   0.02              -0.10 to 0.30",
        "  and 1 other cue, see the page",
        "  border: loses 0.50 (at least 0.25)",
        "  Most in: cat.",
        "  first: blur at random",
        "    transform = 1",
    ]


def test_the_end_of_a_fit_without_a_row_that_matters_is_one_line() -> None:
    measured = (reliance("cast", 0.02, -0.05, 0.05),)

    assert wording.closing(Verdict("PASS", 0.0, (), measured, "all is well")) == ["PASS: all is well"]


def test_a_summary_shows_the_pictures_beside_it_and_folds_the_numbers(tmp_path: Path) -> None:
    page = replace(bad_news(5), text="## Verdict\n\n## Numbers", numbers="## Numbers", strip=picture(3, (60, 90)))
    FolderSink(tmp_path).write(page)
    text = (tmp_path / "summary.md").read_text()
    (proof,) = tmp_path.glob("evidence_*.png")

    assert text == (
        f"## Verdict\n\n![Only the border was swapped]({proof.name})\n\n"
        "![Where the model looks, over time](evolution.png)\n\n"
        "<details>\n\n<summary>All scalars</summary>\n\n## Numbers\n\n</details>"
    )


@pytest.mark.parametrize("name", ["a](http://a/b.png)", "<script>alert(1)</script>", "a\nb"], ids=ascii)
def test_captions_of_a_summary_stay_text(name: str) -> None:
    shown = Tags(wording.summary("", "", {"a (1).png": name}))

    assert shown.tags == {"p", "img"}


def test_a_verdict_on_nothing_is_its_reason_alone() -> None:
    verdict = Verdict("INCONCLUSIVE", 0.0, (), (), "too few images")

    assert wording.markdown(verdict) == "## Verdict: INCONCLUSIVE\n\ntoo few images"
    assert wording.lines(verdict) == ["INCONCLUSIVE: too few images"]


HOSTILE = [
    "<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](http://a/b.png)", "a|b", "*a* _b_ `c`", "# a",
    "&lt;b&gt;", "<img src=x onerror=alert(1)//", "- a", "1. a", "\\[x\\](y)", "\\(a\\).b", "```",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_cues_and_classes_stay_text_in_a_dashboard(name: str) -> None:
    shown = Tags(wording.markdown(convicted(name, (name, name))))

    assert shown.tags == {"h2", "h3", "p", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert shown.text.count(name) == 6  # reason, heading, sentence, two classes, table


@pytest.mark.parametrize("name", ["a\x1b[31m\x1b]0;t\x07", "a\nb", "a\rb", "\x9b31m", "\u202eb", "\ud800"], ids=ascii)
def test_names_do_not_steer_a_terminal(name: str) -> None:
    said = wording.lines(convicted(name, (name,)))

    assert len(said) == 5
    assert all(line.isprintable() for line in said)


# ---- which sink ------------------------------------------------------------------------------------------------------


class MyLogger(pytorch_lightning.loggers.TensorBoardLogger):
    """A user's own."""


@pytest.mark.parametrize(
    "make",
    [
        pytorch_lightning.loggers.TensorBoardLogger,
        lightning.pytorch.loggers.TensorBoardLogger,
        MyLogger,
    ],
    ids=["pytorch_lightning", "lightning", "derived"],
)
def test_a_tensorboard_logger_has_a_sink_that_writes_into_its_folder(tmp_path: Path, make: Any) -> None:
    logger = make(tmp_path)
    sink = for_logger(logger)
    assert isinstance(sink, TensorBoardSink)
    sink.write(check(7, "a"))
    logger.finalize("success")

    assert [shown.step for shown in tensorboard_images(Path(logger.log_dir))["cam/a"]] == [7]


@pytest.mark.parametrize("namespace", [pytorch_lightning, lightning.pytorch], ids=lambda module: module.__name__)
def test_a_wandb_logger_has_a_sink_that_writes_into_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: Any
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")  # what the logger sets itself, and leaves behind
    logger = namespace.loggers.WandbLogger(save_dir=tmp_path, offline=True)
    sink = for_logger(logger)
    assert isinstance(sink, WandbSink)
    sink.write(check(7, "a"))
    wandb_finish(logger.experiment)

    assert [shown.step for shown in wandb_images(tmp_path, "cam/probes")] == [7]


@pytest.mark.parametrize(
    "make",
    [
        pytorch_lightning.loggers.CSVLogger,
        lambda _: pytorch_lightning.loggers.logger.DummyLogger(),
        lambda _: object(),
        lambda _: None,
    ],
    ids=["CSV", "dummy", "foreign", "none"],
)
def test_other_loggers_show_no_pictures(tmp_path: Path, make: Any) -> None:
    assert for_logger(make(tmp_path)) is None


# ---- the promise -----------------------------------------------------------------------------------------------------


def test_keeping_pages_draws_nothing_from_random_generators(tmp_path: Path, writer: SummaryWriter, run: Any) -> None:
    sinks = [MemorySink(), FolderSink(tmp_path / "cam"), TensorBoardSink(writer), WandbSink(run)]
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    for sink in sinks:
        sink.write(check(0, "a", lift=0.5))
        sink.write(last_page(0))

    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_a_house_without_wandb_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    again = importlib.util.spec_from_file_location("lightning_cam.sinks._again", wandb_sink.__file__)
    assert again is not None
    assert again.loader is not None
    module = importlib.util.module_from_spec(again)
    again.loader.exec_module(module)

    with pytest.raises(ImportError):
        module.WandbSink(object()).write(check(0, "a"))
