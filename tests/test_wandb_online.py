"""Weights & Biases online: its own client and process, against a stand-in for its server."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import wandb
from PIL import Image
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor

from house.dashboards import STEPS, assert_shows_something, finite, trained
from house.read_back import Shown, wandb_file, wandb_images, wandb_rows
from house.wandb_server import WandbServer
from lightning_cam import CAMCallback
from lightning_cam.render import BAND_NAMES

pytestmark = pytest.mark.slow
N_SHOWN = 8  # probes on a page


@contextmanager
def online(folder: Path, *, finish_timeout: int = 60) -> Iterator[WandbServer]:
    """A server, and W&B told of it; nothing of W&B's outside ``folder``, and its process begins and ends here.

    Args:
        folder: Where W&B keeps its files.
        finish_timeout: Seconds; by default `wandb.finish` waits for a lost server as long as it takes.
    """
    environment = {
        "WANDB_MODE": "online",
        "WANDB_API_KEY": "0123456789" * 4,
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_FINISH_TIMEOUT": str(finish_timeout),
        "WANDB_DIR": str(folder),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_CONFIG_DIR": str(folder / "config"),
        "WANDB_DATA_DIR": str(folder / "data"),
    }
    wandb.teardown()
    with pytest.MonkeyPatch.context() as patch, WandbServer() as server:
        for key, value in {**environment, "WANDB_BASE_URL": server.url}.items():
            patch.setenv(key, value)
        try:
            yield server
        finally:
            wandb.finish()
            wandb.teardown()


class Run(NamedTuple):
    callback: CAMCallback
    server: WandbServer

    def pages(self) -> list[dict[str, Any]]:
        return [row["cam/probes"] for row in self.server.history() if "cam/probes" in row]

    def file(self, name: str) -> Image.Image:
        """An uploaded picture."""
        picture = Image.open(BytesIO(self.server.files[name]))
        picture.load()
        return picture


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training that was logged and finished online."""
    folder = tmp_path_factory.mktemp("online")
    with online(folder) as server:
        callback, _ = trained(folder, WandbLogger(project="p", save_dir=folder))
        wandb.finish()
    return Run(callback, server)


def test_history_has_every_scalar_at_the_right_step(run: Run) -> None:
    rows = run.server.history()

    assert run.server.exit_code == 0
    assert [reading.step for reading in run.callback.history] == STEPS
    for reading in run.callback.history:
        at_step = [row for row in rows if row.get("trainer/global_step") == reading.step]
        here = {key: value for row in at_step for key, value in row.items()}
        for key, value in finite(reading.scalars).items():
            assert here[key] == pytest.approx(value), key


def test_every_picture_arrives_and_can_be_opened(run: Run) -> None:
    strips = [row["cam/evolution"] for row in run.server.history() if "cam/evolution" in row]

    assert [page["count"] for page in run.pages()] == [N_SHOWN] * len(STEPS)
    for name in [name for page in run.pages() for name in page["filenames"]] + [strip["path"] for strip in strips]:
        assert_shows_something(Shown(0, np.asarray(run.file(name).convert("RGB"))))
    assert [run.file(strip["path"]).format for strip in strips] == ["PNG"]


def test_every_picture_has_its_attention_bands(run: Run) -> None:
    names = [name for page in run.pages() for name in page["filenames"]]
    bands = [run.file(masks["attention"]["path"]) for page in run.pages() for masks in page["all_masks"]]
    labels = run.server.config["_wandb"]["value"]["mask/class_labels"].values()

    assert {band.format for band in bands} == {"PNG"}
    assert [band.size for band in bands] == [run.file(name).size for name in names]
    assert set(np.unique([np.asarray(band) for band in bands])) == set(range(len(BAND_NAMES)))
    assert [label["value"] for label in labels] == [{str(i): name for i, name in enumerate(BAND_NAMES)}]


def test_table_and_report_arrive_as_artifacts(run: Run) -> None:
    table = json.loads(run.server.artifact_files["cam/probe_table.table.json"])

    assert [row[table["columns"].index("step")] for row in table["data"]] == [s for s in STEPS for _ in range(N_SHOWN)]
    assert b"lightning_cam" in run.server.artifact_files["report.html"]
    assert run.server.operations.count("CommitArtifact") == 2


class Deserted(WandbLogger):
    """Its server goes away once the first check's scalars were logged."""

    def __init__(self, server: WandbServer, **options: Any) -> None:
        super().__init__(**options)
        self.server = server

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        if "cam/attention_entropy" in metrics:
            self.server.go_away()


class Lost(NamedTuple):
    callback: CAMCallback
    weights: dict[str, Tensor]
    expected: dict[str, Tensor]  # of the same training without a logger
    folder: Path
    server: WandbServer
    seconds: float


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    """A training whose server went away. Without an alert, which W&B's `finish` would wait to send for ever."""
    folder = tmp_path_factory.mktemp("lost")
    torch.manual_seed(0)
    _, alone = trained(folder / "alone", False)
    torch.manual_seed(0)
    with online(folder, finish_timeout=5) as server:
        begun = time.monotonic()
        with pytest.warns(UserWarning, match="pictures could not be kept"):
            callback, trainer = trained(folder, Deserted(server, project="p", save_dir=folder))
        wandb.finish()
        seconds = time.monotonic() - begun
    weights, expected = (t.lightning_module.state_dict() for t in (trainer, alone))
    return Lost(callback, weights, expected, folder, server, seconds)


def test_a_server_that_goes_away_leaves_the_training_as_it_is(lost: Lost) -> None:
    assert lost.server.exit_code is None
    assert [reading.step for reading in lost.callback.history] == STEPS
    assert all(torch.equal(lost.weights[key], lost.expected[key]) for key in lost.expected)
    assert lost.seconds < 90  # at most 60 for our last pictures, 5 for W&B's `finish`, the rest is training


def test_a_server_that_goes_away_costs_nothing_but_table_and_artifact(lost: Lost) -> None:
    """What waits for `wandb sync`; W&B asks its server before it makes a table or an artifact."""
    rows = wandb_rows(lost.folder)
    last = next(row for row in rows if "cam/report" in row)
    shown = wandb_images(lost.folder, "cam/probes")

    assert [picture.step for picture in shown] == [step for step in STEPS for _ in range(N_SHOWN)]
    assert "cam/evolution" in last
    assert wandb_file(lost.folder, last["cam/report"]["path"]).read_text().startswith("<!doctype html>")
    assert not any("cam/probe_table" in row for row in rows)
