"""One line, a real training, real files: what TensorBoard and W&B got is read back."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from read_back import (
    Shown,
    tensorboard_images,
    tensorboard_scalars,
    tensorboard_texts,
    wandb_alerts,
    wandb_finish,
    wandb_images,
    wandb_rows,
)
from shortcut import trained_on_frames
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.utils import save_image

from lightning_cam import CAMCallback

SIZE = 32
STEPS = [0, 3, 5, 11]  # before training, optimizer step 4, and the ends of two epochs of six batches


def discs(folder: Path) -> Path:
    """Discs and rings of many colours on white, as PNG files in class folders."""
    random = np.random.default_rng(0)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    for split, n in (("train", 24), ("val", 8)):
        for i in range(n):
            name = ("disc", "ring")[i % 2]
            left, top = random.integers(10, 22, 2)
            distance = ((x - left) ** 2 + (y - top) ** 2).sqrt()
            inside = (distance < 8) if name == "disc" else (distance < 8) & (distance > 4)
            colour = torch.tensor(random.random(3) * 0.7, dtype=torch.float32)[:, None, None]
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            save_image(torch.where(inside, colour, torch.ones(3, 1, 1)), folder / split / name / f"{i}.png")
    return folder


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
        )  # fmt: skip

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def trained(folder: Path, logger: Any) -> tuple[CAMCallback, Any]:
    """Exactly what a user writes: files, transforms, loaders, a trainer and one more line."""
    tree = discs(folder / "data")
    to_input = v2.Compose(
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25])]
    )
    train, val = (ImageFolder(str(tree / split), to_input) for split in ("train", "val"))
    callback = CAMCallback(on_error="raise", max_overhead=1)
    trainer = pl.Trainer(
        max_epochs=2, callbacks=[callback], logger=logger, log_every_n_steps=1, accelerator="cpu",
        default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(Net(), DataLoader(train, 4, shuffle=True), DataLoader(val, 4))
    return callback, trainer


def finite(values: Any) -> dict[str, float]:
    return {key: value for key, value in values.items() if math.isfinite(value)}


def assert_shows_something(picture: Shown) -> None:
    assert picture.pixels.std() > 20
    assert picture.pixels.max() > 200


def test_tensorboard_has_every_scalar_and_every_picture_at_the_right_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = TensorBoardLogger(tmp_path, name="run")
    callback, _ = trained(tmp_path, logger)
    folder = Path(logger.log_dir)
    scalars, images = tensorboard_scalars(folder), tensorboard_images(folder)

    assert [reading.step for reading in callback.history] == STEPS
    assert sorted(scalars["val_loss"]) == [5, 11]  # Lightning's own axis
    for reading in callback.history:
        for key, value in finite(reading.scalars).items():
            assert scalars[key][reading.step] == pytest.approx(value), key
    assert callback.probe is not None
    assert set(images) == {f"cam/{name}" for name in callback.probe.names} | {"cam/evolution"}
    for tag, shown in images.items():
        assert [picture.step for picture in shown] == (STEPS if tag != "cam/evolution" else [11])
        for picture in shown:
            assert_shows_something(picture)
    assert "background" in tensorboard_texts(folder)["cam/summary"]
    assert f"tensorboard --logdir {logger.log_dir} --samples_per_plugin images=1000" in capsys.readouterr().out


def test_the_masks_of_objects_on_white_are_found_and_measured(tmp_path: Path) -> None:
    callback, _ = trained(tmp_path, CSVLogger(tmp_path))

    assert callback.probe is not None
    assert set(callback.probe.mask_sources) == {"border"}
    assert callback.probe.masks is not None
    assert 0.1 < callback.probe.masks.float().mean() < 0.3
    assert 0 < callback.history[-1].scalars["cam/background_attention_ratio"] < 1


def test_wandb_offline_has_every_scalar_and_every_picture_at_the_right_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(project="p", save_dir=tmp_path, offline=True)
    callback, _ = trained(tmp_path, logger)
    wandb_finish(logger.experiment)
    rows = wandb_rows(tmp_path)
    shown = wandb_images(tmp_path, "cam/probes")

    for reading in callback.history:
        at_step = [row for row in rows if row.get("trainer/global_step") == reading.step]
        here = {key: value for row in at_step for key, value in row.items()}
        for key, value in finite(reading.scalars).items():
            assert here[key] == pytest.approx(value), key
    assert [picture.step for picture in shown] == [step for step in STEPS for _ in range(8)]
    assert all("predicted" in picture.caption for picture in shown)
    for picture in shown + wandb_images(tmp_path, "cam/evolution"):
        assert_shows_something(picture)
    assert any("cam/evolution_table" in row for row in rows)


def test_wandb_disabled_trains_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger = WandbLogger(project="p", save_dir=tmp_path)
    callback, trainer = trained(tmp_path, logger)
    wandb_finish(logger.experiment)  # W&B remembers that it is disabled, and the next run would be as well

    assert trainer.global_step == 12
    assert len(callback.history) == len(STEPS)


def test_fault_52_several_loggers_each_get_the_scalars(tmp_path: Path) -> None:
    loggers = [TensorBoardLogger(tmp_path, name="tb"), CSVLogger(tmp_path, name="csv")]
    callback, _ = trained(tmp_path, loggers)

    scalars = tensorboard_scalars(Path(loggers[0].log_dir))
    table = (Path(loggers[1].log_dir) / "metrics.csv").read_text()
    assert len(scalars["cam/attention_entropy"]) == len(callback.history)
    assert "cam/attention_entropy" in table.splitlines()[0]


def test_tensorboard_shows_a_shortcut_with_its_evidence(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="run")
    callback, _ = trained_on_frames(tmp_path, logger)
    texts = tensorboard_texts(Path(logger.log_dir))
    (evidence,) = tensorboard_images(Path(logger.log_dir))["cam/evidence/border"]

    assert callback.verdict is not None
    assert callback.verdict.outcome == "FAIL"
    assert texts["cam/verdict"].startswith("## Verdict: FAIL")
    assert texts["cam/summary"].startswith("## Verdict: FAIL")
    assert "Where the model looks, over time" in texts["cam/summary"]
    assert evidence.step == callback.history[-1].step
    assert_shows_something(evidence)


def test_wandb_gets_one_alert_and_the_evidence_of_a_shortcut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(project="p", save_dir=tmp_path, offline=True)
    callback, _ = trained_on_frames(tmp_path, logger)
    wandb_finish(logger.experiment)
    (alert,) = wandb_alerts(tmp_path)
    (evidence,) = wandb_images(tmp_path, "cam/evidence/border")

    assert alert.title == "cam: FAIL"
    assert "to do: cut the outer parts away" in alert.text
    assert evidence.step == callback.history[-1].step
    assert_shows_something(evidence)
