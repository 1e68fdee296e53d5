"""The callback in real trainings: rhythm, step axis, monitoring, resuming, and what happens when something fails."""

import inspect
import json
from pathlib import Path
from typing import Any

import lightning.pytorch
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from house.trainings import SIZE, Net, NewNet, Started, loader, moody, probe, steps, trainer, watched
from lightning_cam import CAMCallback, cams
from lightning_cam.intervention import STANDARD
from lightning_cam.sinks.memory import MemorySink

# ---- rhythm and steps ------------------------------------------------------------------------------------------------


def test_default_rhythm_is_before_training_growing_steps_and_every_validation(tmp_path: Path) -> None:
    callback = CAMCallback(probe())
    watched(tmp_path, callback)

    # Before training; after optimizer step 4; after each epoch of six batches. Lightning counts steps from 0.
    assert steps(callback) == [0, 3, 5, 11]
    assert [reading.epoch for reading in callback.history] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({"every_n_train_steps": 5}, [0, 4, 9, 11], id="steps, and the end"),
        pytest.param({"every_n_epochs": 2}, [0, 11], id="epochs"),
    ],
)
def test_a_cadence_replaces_the_rhythm_between_first_and_last(
    options: dict[str, int], expected: list[int], tmp_path: Path
) -> None:
    callback = CAMCallback(probe(), **options)
    watched(tmp_path, callback)

    assert steps(callback) == expected


@pytest.mark.parametrize(
    "options", [{"limit_val_batches": 0}, {"num_sanity_val_steps": 0}], ids=["no validation", "no sanity"]
)
def test_the_rhythm_needs_neither_validation_nor_sanity_check(options: dict[str, int], tmp_path: Path) -> None:
    callback = CAMCallback(probe())
    watched(tmp_path, callback, **options)

    assert steps(callback) == [0, 3, 5, 11]


def test_accumulation_looks_once_per_optimizer_step(tmp_path: Path) -> None:
    callback = CAMCallback(probe(), every_n_train_steps=1)
    watched(tmp_path, callback, accumulate_grad_batches=3)

    assert steps(callback) == [0, 0, 1, 2, 3]  # Lightning's axis counts batches that stepped


def test_the_sanity_check_is_not_watched(tmp_path: Path) -> None:
    callback, seen = CAMCallback(probe()), []

    class Listener(pl.Callback):
        def on_sanity_check_end(self, trainer: Any, pl_module: Any) -> None:
            seen.append(callback.history)

    trainer(tmp_path, callback, Listener()).fit(Net(), loader(), loader(8))

    assert seen == [()]


def test_a_stand_alone_validation_is_not_watched(tmp_path: Path) -> None:
    callback = CAMCallback(probe())
    trainer(tmp_path, callback).validate(Net(), loader(8), verbose=False)

    assert callback.history == ()


def test_fast_dev_run_looks_and_leaves_no_files(tmp_path: Path) -> None:
    callback = CAMCallback(probe())
    watched(tmp_path, callback, fast_dev_run=True)

    assert len(callback.history) >= 1
    assert list(tmp_path.iterdir()) == []


# ---- what a user attaches to -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lightning_", "net"),
    [pytest.param(pl, Net, id="pytorch_lightning"), pytest.param(lightning.pytorch, NewNet, id="lightning.pytorch")],
)
def test_both_lightnings_take_it_alone_and_in_a_list(lightning_: Any, net: Any, tmp_path: Path) -> None:
    callback = CAMCallback(probe())
    run = trainer(tmp_path, lightning_=lightning_)
    run = lightning_.Trainer(
        callbacks=callback,
        logger=False,
        enable_checkpointing=False,
        max_epochs=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    run.fit(net(), loader(), loader(8))

    assert isinstance(callback, lightning_.Callback)
    assert steps(callback) == [0, 3, 5]


def test_without_a_probe_it_is_drawn_once_from_the_validation_data(tmp_path: Path) -> None:
    callback = CAMCallback()
    watched(tmp_path, callback)

    assert callback.probe is not None
    assert len(callback.probe) == 8
    assert callback.probe.targets.bincount().tolist() == [4, 4]


def test_of_a_hundred_classes_enough_images_are_drawn_to_swap_cues(tmp_path: Path) -> None:
    images = torch.rand(800, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    many = DataLoader(TensorDataset(images, torch.arange(800) % 100), batch_size=8)
    net, callback = Net(), CAMCallback()
    net.head = nn.Linear(4, 100)
    trainer(tmp_path, callback, max_epochs=1, limit_train_batches=2, limit_val_batches=1).fit(net, many, many)

    assert callback.probe is not None
    assert callback.probe.targets.unique(return_counts=True)[1].tolist() == [4] * 25
    assert "cam/reliance/border" in callback.history[-1].scalars


def test_without_validation_data_the_training_data_serve(tmp_path: Path) -> None:
    callback = CAMCallback()
    with pytest.warns(UserWarning, match="drawn from the training data"):
        watched(tmp_path, callback, limit_val_batches=0)

    assert callback.probe is not None
    assert len(callback.probe) == 24


def test_a_module_without_forward_is_watched_through_its_only_network(tmp_path: Path) -> None:
    class Wrapped(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    callback = CAMCallback(probe(), on_error="raise")
    trainer(tmp_path, callback).fit(Wrapped(), loader())

    assert len(callback.history) == 4


def test_forward_can_be_given(tmp_path: Path) -> None:
    callback = CAMCallback(probe(), on_error="raise", forward=lambda module, images: -module(images))
    straight = CAMCallback(probe(), on_error="raise")
    torch.manual_seed(0)
    watched(tmp_path, callback)
    torch.manual_seed(0)
    watched(tmp_path, straight)

    negated, plain = (c.history[-1].scalars["cam/probe_accuracy"] for c in (callback, straight))
    assert negated == pytest.approx(1 - plain)


# ---- scalars ---------------------------------------------------------------------------------------------------------


def test_scalars_can_be_monitored_by_early_stopping_and_checkpoints(tmp_path: Path) -> None:
    callback = CAMCallback(probe(), on_error="raise")
    stopping = pl.callbacks.EarlyStopping("cam/background_attention_ratio", mode="min", stopping_threshold=1.1)
    checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, monitor="cam/background_attention_ratio")
    run = trainer(tmp_path, stopping, checkpoint, callback, max_epochs=5)
    run.fit(Net(), loader(), loader(8))

    assert run.current_epoch == 1  # the threshold is passed after the first epoch
    assert checkpoint.best_model_score == pytest.approx(callback.history[2].scalars["cam/background_attention_ratio"])


class Dead(Net):
    """Negative before its ReLU: every map is empty, so attention is undefined from the first to the last check."""

    def build(self) -> None:
        super().build()
        nn.init.zeros_(self.body[0].weight)
        nn.init.constant_(self.body[0].bias, -1.0)


@pytest.mark.filterwarnings("ignore:lightning_cam. every map of the check at step 3 is empty")
@pytest.mark.filterwarnings("ignore:lightning_cam. 'cam/background_attention_ratio' has no new value")
def test_monitoring_what_is_never_defined_does_not_crash_the_run(tmp_path: Path) -> None:
    callback = CAMCallback(probe(), on_error="raise")
    key = "cam/background_attention_ratio"
    stopping = pl.callbacks.EarlyStopping(key, check_finite=False, patience=9)
    run = trainer(tmp_path, stopping, pl.callbacks.ModelCheckpoint(tmp_path, monitor=key), callback)
    run.fit(Dead(), loader(), loader(8))

    assert run.current_epoch == 2
    assert run.callback_metrics[key].isnan()
    assert key not in callback.history[-1].defined


@pytest.mark.parametrize("options", [{"every_n_train_steps": 2}, {}], ids=["at steps", "default"])
def test_the_newest_scalars_are_in_callback_metrics(options: dict[str, int], tmp_path: Path) -> None:
    callback = CAMCallback(probe(), **options)
    run = watched(tmp_path, callback)

    for key in ("cam/background_attention_ratio", "cam/attention_entropy", "cam/seconds"):
        assert float(run.callback_metrics[key]) == pytest.approx(callback.history[-1].scalars[key])


def test_every_scalar_of_the_contract_is_read(tmp_path: Path) -> None:
    callback = CAMCallback(probe())
    watched(tmp_path, callback)

    assert set(callback.history[-1].scalars) == {
        f"cam/{name}"
        for name in (
            "background_attention_ratio", "background_attention_lift", "pointing_accuracy", "box_iou",
            "border_attention_ratio", "attention_entropy", "attention_drift", "probe_accuracy", "zero_map_rate",
            "undefined_rate", "seconds", "seconds_outside_model", "overhead", "shortcut_score",
            "periphery_accuracy", "foreground_only_accuracy", "background_only_accuracy",
            "reencode_attraction", "flatten_attraction",
            *(f"reliance/{trial.cue}{end}" for trial in STANDARD for end in ("", "_low", "_high")),
            *(f"accuracy_lost/{trial.cue}" for trial in STANDARD),
        )
    }  # fmt: skip


def test_the_name_begins_every_key(tmp_path: Path) -> None:
    callback = CAMCallback(probe(), name="leaf", method=cams.layer_cam)
    watched(tmp_path, callback)

    assert all(key.startswith("leaf/") for key in callback.history[-1].scalars)


# ---- resuming --------------------------------------------------------------------------------------------------------


def resumed(folder: Path, callback: CAMCallback, checkpoint: Path) -> None:
    resuming = trainer(folder, callback, max_epochs=3)
    # Lightning has the option since 2.6.
    options = {"weights_only": True} if "weights_only" in inspect.signature(resuming.fit).parameters else {}
    resuming.fit(Net(), loader(), loader(8), ckpt_path=checkpoint, **options)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    run = watched(tmp_path, CAMCallback(probe()), max_epochs=1)
    run.save_checkpoint(tmp_path / "run.ckpt")
    return tmp_path / "run.ckpt"


def test_a_resumed_run_continues_its_series(checkpoint: Path, tmp_path: Path) -> None:
    callback = CAMCallback(probe())
    resumed(tmp_path, callback, checkpoint)

    assert steps(callback) == [0, 3, 5, 11, 17]


def test_the_checkpointed_state_is_json_and_loads_with_weights_only(checkpoint: Path) -> None:
    states = torch.load(checkpoint, weights_only=True)["callbacks"]
    (state,) = [value for key, value in states.items() if key.startswith("CAMCallback")]

    assert json.loads(json.dumps(state, allow_nan=False)) == state
    assert [entry["step"] for entry in state["history"]] == [0, 3, 5]


def test_a_checkpoint_of_another_probe_set_starts_a_new_series(checkpoint: Path, tmp_path: Path) -> None:
    callback = CAMCallback(probe(4))
    with pytest.warns(UserWarning, match="another probe set"):
        resumed(tmp_path, callback, checkpoint)

    assert steps(callback) == [6, 11, 17]


@pytest.mark.parametrize(
    "state", [{}, {"history": 3}, {"fingerprint": "x", "history": [{"step": "?"}]}, {"history": None}]
)
def test_a_state_that_cannot_be_read_never_raises(state: dict[str, Any]) -> None:
    callback = CAMCallback(probe())
    with pytest.warns(UserWarning, match="cannot be read"):
        callback.load_state_dict(state)

    assert callback.history == ()


# ---- bad input: before training starts, with the way out ------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"on_error": "ignore"}, '"warn" or "raise"', id="on_error"),
        pytest.param({"n_images": 0}, "1 or more", id="no images"),
        pytest.param({"name": "a/b"}, "begins every logged key", id="name"),
    ],
)
def test_options_that_cannot_be_are_refused_at_construction(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CAMCallback(probe(), **options)


def test_something_that_is_no_probe_is_refused_at_construction() -> None:
    with pytest.raises(TypeError, match="must be a Probe, got DataLoader"):
        CAMCallback(loader())  # type: ignore[arg-type]  # the mistake under test


class TwoNetworks(Net):
    forward = pl.LightningModule.forward

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.head(self.body(batch[0]).mean((2, 3))), batch[1])


class Texts(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(["no image"] * 8)


def test_two_networks_without_forward_wait_for_the_first_training_batch(tmp_path: Path) -> None:
    callback = CAMCallback(probe(), trials=(), sinks=[], every_n_train_steps=1)

    trainer(tmp_path, callback, max_epochs=1).fit(TwoNetworks(), loader())

    assert callback.history[0].step == 0
    assert "cam/overhead" in callback.history[0].scalars  # so it is none of before the training


def test_data_that_no_probe_can_be_drawn_from_raise_before_training_starts_where_errors_are_wanted(
    tmp_path: Path,
) -> None:
    started = Started()
    run = trainer(tmp_path, CAMCallback(on_error="raise"), started, num_sanity_val_steps=0)

    with pytest.raises(ValueError, match=r"pass CAMCallback\(read="):
        run.fit(Net(), loader(), DataLoader(Texts(), batch_size=4))
    assert started.steps == 0


def test_code_to_paste_is_said_in_full(tmp_path: Path) -> None:
    pairs = [([torch.rand(3, 16, 16)] * 2, 0)] * 8
    run = trainer(tmp_path, CAMCallback(on_error="raise"), num_sanity_val_steps=0)

    with pytest.raises(ValueError, match=r"forward=Similarity\(lambda module, images: embedding\)\. "):
        run.fit(Net(), loader(), DataLoader(pairs, batch_size=4))


# ---- failures while training: it goes on -----------------------------------------------------------------------------


def test_a_failing_check_is_said_once_and_training_goes_on(tmp_path: Path) -> None:
    callback = CAMCallback(probe(), every_n_train_steps=2, layer="body.0")
    with pytest.warns(UserWarning, match="lightning_cam") as said:
        run = watched(tmp_path, callback, moody(good_calls=3))

    assert run.global_step == 12
    assert steps(callback) == [0]
    assert [str(w.message).split(";")[0].split("(")[0].strip() for w in said if "lightning_cam" in str(w.message)] == [
        "lightning_cam: a check failed, training goes on",
        "lightning_cam: switched off for this fit, training goes on",
    ]


def test_who_monitors_a_scalar_that_never_comes_finds_it_undefined(tmp_path: Path) -> None:
    """Early stopping would raise, and end the training, where it is missing."""
    stop = pl.callbacks.EarlyStopping("cam/attention_entropy", patience=9, check_finite=False)
    run = trainer(tmp_path, CAMCallback(probe(), layer="body.0", sinks=[]), stop)
    with pytest.warns(UserWarning, match="lightning_cam"):
        run.fit(moody(good_calls=0), loader(), loader())

    assert run.current_epoch == 2
    assert run.callback_metrics["cam/attention_entropy"].isnan()


def test_a_failing_check_raises_for_those_who_asked(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not today"):
        watched(tmp_path, CAMCallback(probe(), on_error="raise", layer="body.0"), moody(good_calls=1))


def test_nan_weights_leave_no_point_and_no_crash(tmp_path: Path) -> None:
    class Diverged(Net):
        def on_train_batch_end(self, *_: Any) -> None:
            nn.init.constant_(self.head.weight, float("nan"))

    callback = CAMCallback(probe())
    with pytest.warns(UserWarning, match="the model's outputs are NaN or infinite at step 3, for 100 %"):
        run = watched(tmp_path, callback, Diverged())

    assert run.global_step == 12
    assert callback.history[-1].scalars["cam/undefined_rate"] == 1
    assert "cam/attention_entropy" not in callback.state_dict()["history"][-1]["scalars"] or (
        callback.state_dict()["history"][-1]["scalars"]["cam/attention_entropy"] is None
    )


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_every_check_gives_a_page_and_the_end_a_strip(tmp_path: Path) -> None:
    sink = MemorySink()
    callback = CAMCallback(probe(), sinks=[sink], n_images=4)
    watched(tmp_path, callback)

    assert [page.step for page in sink.pages] == [0, 3, 5, 11, 11]
    assert [len(page.tiles) for page in sink.pages] == [4, 4, 4, 4, 0]
    assert [page.strip is not None for page in sink.pages] == [False] * 4 + [True]
    assert sink.pages[-1].text is not None


def test_without_pictures_the_scalars_still_come(tmp_path: Path) -> None:
    sink = MemorySink()
    watched(tmp_path, CAMCallback(probe(), sinks=[sink], log_images=False))

    assert all(page.tiles == () for page in sink.pages)
    assert all(page.scalars for page in sink.pages[:-1])


def test_pictures_are_flushed_when_training_is_interrupted(tmp_path: Path) -> None:
    class Interrupted(Net):
        def on_train_epoch_end(self) -> None:
            raise RuntimeError("power cut")

    sink = MemorySink()
    with pytest.raises(RuntimeError, match="power cut"):
        watched(tmp_path, CAMCallback(probe(), sinks=[sink]), Interrupted())

    assert [page.step for page in sink.pages] == [0, 3, 5]


def test_without_a_logger_a_folder_keeps_the_pictures(tmp_path: Path) -> None:
    watched(tmp_path, CAMCallback(probe()))

    assert (tmp_path / "cam_report" / "evolution.png").exists()
    assert len(list((tmp_path / "cam_report").glob("step_*/*.png"))) == 4 * 6


def test_a_new_run_does_not_write_over_an_old_one(tmp_path: Path) -> None:
    watched(tmp_path, CAMCallback(probe()), max_epochs=1)
    watched(tmp_path, CAMCallback(probe()), max_epochs=1)

    assert (tmp_path / "cam_report" / "run_2" / "evolution.png").exists()
