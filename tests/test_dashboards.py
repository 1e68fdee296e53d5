"""One line, a real training, real files: what TensorBoard and W&B got is read back."""

from pathlib import Path

import pytest
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from house.dashboards import OF_ALL_CHECKS, STEPS, assert_shows_something, finite, trained
from house.read_back import (
    tensorboard_images,
    tensorboard_scalars,
    tensorboard_texts,
    wandb_alerts,
    wandb_finish,
    wandb_images,
    wandb_rows,
)
from house.shortcut import trained_on_frames


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
    assert set(images) == {f"cam/{name}" for name in callback.probe.names} | OF_ALL_CHECKS
    for tag, shown in images.items():
        assert [picture.step for picture in shown] == ([11] if tag in OF_ALL_CHECKS else STEPS)
        for picture in shown:
            assert_shows_something(picture)
    assert "background" in tensorboard_texts(folder)["cam/summary"]
    assert f"tensorboard --logdir {logger.log_dir}" in capsys.readouterr().out


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
    assert any("cam/probe_table" in row for row in rows)


def test_wandb_disabled_trains_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger = WandbLogger(project="p", save_dir=tmp_path)
    callback, trainer = trained(tmp_path, logger)
    wandb_finish(logger.experiment)  # W&B remembers that it is disabled, and the next run would be as well

    assert trainer.global_step == 12
    assert len(callback.history) == len(STEPS)


def test_several_loggers_each_get_the_scalars(tmp_path: Path) -> None:
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
    assert "The tab Attention has this verdict" in texts["cam/summary"]
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
