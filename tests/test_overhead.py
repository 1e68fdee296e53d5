"""What looking may cost, on a clock that only training and looking move."""

import math
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from house.clock import Batches, Clock
from house.read_back import key_of, tensorboard_events
from house.shortcut import BORDER, Framed, framed, framed_probe
from house.trainings import Net, loader, probe, trainer
from lightning_cam import CAMCallback, Verdict, cams, examine
from lightning_cam.examination import Reading
from lightning_cam.intervention import DonorSwap
from lightning_cam.sinks import FolderSink, MemorySink, TensorBoardSink
from lightning_cam.sinks.album import Album
from lightning_cam.sinks.history import read_history
from lightning_cam.sinks.page import Page
from lightning_cam.training.clock import Clock as FitClock
from lightning_cam.training.failures import Failures
from lightning_cam.training.observer import Judged, Observer
from lightning_cam.training.rhythm import ALWAYS_SPARED, Account, Depth, Rhythm, affordable, spare

EPOCHS, BATCHES = 12, 6


@pytest.fixture(autouse=True)
def _ten_seconds(_unhurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_cam.training.rhythm.ALWAYS_SPARED", ALWAYS_SPARED)


def looked(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[CAMCallback, list[str]]:
    """A fit of twelve minutes in which every check takes four seconds, and what it warned of."""
    clock = Clock()
    monkeypatch.setattr("lightning_cam.training.clock.time", clock)

    def four_seconds(module: nn.Module, images: Tensor) -> Tensor:
        clock.seconds += 4 * (len(images) > 3)  # three of them find the class scores in the output
        return module(images)

    callback = CAMCallback(probe(), layer="body", trials=(), sinks=[], forward=four_seconds, **options)
    run = trainer(folder, Batches(clock), callback, max_epochs=EPOCHS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(Net(), loader(), loader())
    return callback, [str(w.message) for w in caught if "lightning_cam" in str(w.message)]


def epochs_of(callback: CAMCallback) -> list[int]:
    return [reading.epoch for reading in callback.history]


def test_checks_are_skipped_while_looking_takes_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two per cent of twelve minutes are 14 s: the first check, two of the ten seconds always spared, one, the last."""
    callback, warned = looked(tmp_path, monkeypatch)

    first, step_4, later, last = callback.history
    assert (first.step, step_4.step, last.epoch) == (0, 3, EPOCHS - 1)
    assert later.epoch == 9  # the first after ten minutes, when two per cent are twelve seconds
    assert later.scalars["cam/overhead"] == pytest.approx(0.026, abs=0.001)  # with a pass that compared one batch
    (text,) = [text for text in warned if "max_overhead" in text]
    assert "they took 12 s of 72 s so far" in text


class SlowLogger(CSVLogger):
    """Takes three seconds of the clock for each number it is given by the callback."""

    clock: Clock

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.clock.seconds += 3 * any(key.startswith("cam/") for key in metrics)


def test_all_that_the_callback_does_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that takes three seconds a check, in a fit of two minutes."""
    clock = Clock()
    monkeypatch.setattr("lightning_cam.training.clock.time", clock)
    logger = SlowLogger(tmp_path)
    logger.clock = clock
    callback = CAMCallback(probe(), layer="body", trials=(), sinks=[], every_n_train_steps=4)
    run = trainer(tmp_path, Batches(clock), callback, max_epochs=2, logger=logger)

    run.fit(Net(), loader(), loader())

    logged = 3 * (len(callback.history) - 1)  # seconds, before the last check
    assert callback.history[-1].scalars["cam/overhead"] == pytest.approx(logged / (2 * BATCHES * 10 + logged))


@pytest.mark.parametrize(
    ("seconds", "verbose", "expected"),
    [(4.0, True, True), (4.0, False, False), (0.1, True, False)],
    ids=["long", "silent", "short"],
)
def test_a_long_last_check_is_announced(
    seconds: float,
    verbose: bool,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    monkeypatch.setattr("lightning_cam.training.clock.time", clock)

    def forward(module: nn.Module, images: Tensor) -> Tensor:
        clock.seconds += seconds * (len(images) > 3)
        return module(images)

    options: dict[str, Any] = {"trials": (), "sinks": [], "verbose": verbose, "every_n_train_steps": 4}
    callback = CAMCallback(probe(), layer="body", forward=forward, **options)
    trainer(tmp_path, Batches(clock), callback, max_epochs=1).fit(Net(), loader(), loader())

    said = capsys.readouterr().out
    assert ("last check of the fit" in said) == expected
    assert ("about 4 s" in said) == expected


@pytest.mark.parametrize("options", [{"every_n_epochs": 1}, {"max_overhead": 1}, {"max_overhead": 0.5}], ids=str)
def test_every_check_is_kept_where_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, float]
) -> None:
    callback, warned = looked(tmp_path, monkeypatch, **options)

    assert set(range(EPOCHS)) <= set(epochs_of(callback))
    assert not any("max_overhead" in text for text in warned)


def test_steps_that_were_asked_for_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callback, _ = looked(tmp_path, monkeypatch, every_n_train_steps=2)

    assert [reading.step for reading in callback.history] == [0, *range(1, EPOCHS * BATCHES, 2)]


@pytest.mark.filterwarnings("ignore:lightning_cam. 'cam/attention_entropy' has no new value after some epochs")
def test_a_monitored_scalar_outlives_skipped_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("lightning_cam.training.clock.time", clock)

    def a_minute(module: nn.Module, images: Tensor) -> Tensor:
        clock.seconds += 60 * (len(images) > 3)
        return module(images)

    callback = CAMCallback(probe(), layer="body", trials=(), sinks=[], forward=a_minute)
    stop = pl.callbacks.EarlyStopping(monitor="cam/attention_entropy", patience=50)
    run = trainer(tmp_path, callback, stop, max_epochs=4)
    with pytest.warns(UserWarning, match="checks are skipped"):
        run.fit(Net(), loader(), loader())

    assert epochs_of(callback) == [0, 3]
    assert run.current_epoch == 4
    assert torch.isfinite(run.callback_metrics["cam/attention_entropy"])


@pytest.mark.parametrize(
    ("spent", "expected", "elapsed", "can"),
    [(0, 10, 0, True), (0, 10.1, 0, False), (98, 2, 5000, True), (98, 2.1, 5000, False), (98, 2.1, 5010, True)],
)
def test_looking_has_ten_seconds_or_its_share(spent: float, expected: float, elapsed: float, can: bool) -> None:
    kind = affordable(Account(spent, expected), None, spare(elapsed, 0.02))

    assert kind is (Depth.FULL if can else None)


def test_from_1_on_there_is_no_end_to_what_is_spared() -> None:
    assert spare(1, 1) == spare(1, 2) == math.inf
    assert spare(1000, 0.9) == 900


@pytest.mark.parametrize("share", [0, -0.1, float("nan")])
def test_no_overhead_at_all_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="max_overhead must be above 0"):
        CAMCallback(max_overhead=share)


# ---- checks of two kinds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("full", "maps", "after_epoch", "expected"),
    [
        pytest.param((1, 4), (9, 9), False, Depth.FULL, id="half of ten seconds for trials"),
        pytest.param((1, 4.1), (4, 1), False, Depth.MAPS, id="the other half for the rest"),
        pytest.param((1, 4.1), (4, 1.1), True, None, id="and no more, not even after an epoch"),
        pytest.param((0, 0), (0.19, 0.19), False, Depth.FULL, id="the first is thought to take 25 times as long"),
        pytest.param((0, 0), (0.21, 0.21), False, Depth.MAPS, id="which may be too much within an epoch"),
        pytest.param((0, 0), (9, 9), True, Depth.FULL, id="but never after one"),
    ],
)
def test_a_check_has_trials_where_half_of_what_is_spared_suffices(
    full: tuple[float, float], maps: tuple[float, float], after_epoch: bool, expected: Depth | None
) -> None:
    assert affordable(Account(*full), Account(*maps), 10, after_epoch=after_epoch) is expected


@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize("maps", [0.1, 1, 7])
@pytest.mark.parametrize("full", [0.3, 12, 100])
def test_both_kinds_together_stay_within_the_share(full: float, maps: float, share: float) -> None:
    """Of four hours, but for the first check with trials after an epoch, which is made at any price."""
    costs = {Depth.FULL: full, Depth.MAPS: maps}
    accounts = dict.fromkeys(Depth, Account())
    exempt = 0.0
    for minute in range(1, 240):
        seconds = spare(60 * minute, share)
        kind = affordable(accounts[Depth.FULL], accounts[Depth.MAPS], seconds, after_epoch=minute > 1)
        if kind is not None:
            exempt += full if kind is Depth.FULL and full > seconds / 2 and not accounts[kind].spent else 0
            accounts[kind] = accounts[kind].charged(costs[kind])
        assert sum(account.spent for account in accounts.values()) <= seconds + exempt


class Validated(Framed):
    def validation_step(self, *_: Any) -> None:
        """There is one, so Lightning validates."""


@dataclass
class Slow:
    """What a fit left behind."""

    callback: CAMCallback
    trainer: Any
    folder: Path
    sink: MemorySink
    verdicts: list[Verdict | None]  # after each epoch
    monitored: list[float]
    said: list[str]

    def with_trials(self) -> list[tuple[int, bool]]:
        """Epoch of each check, and whether it had trials."""
        return [(reading.epoch, has_trials(reading)) for reading in self.callback.history]


def has_trials(reading: Reading) -> bool:
    return "cam/reliance/border" in reading.scalars


FULL_EPOCHS = (0, 6, 9, 11)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Slow:
    """Two minutes an epoch, four seconds a check with trials, half a second one without.

    So trials are due after the first epoch, from 800 s on, from 1200 s on, and at the end.
    """
    clock, folder, sink = Clock(), tmp_path_factory.mktemp("slow"), MemorySink()
    verdicts: list[Verdict | None] = []
    monitored: list[float] = []

    def maps(activations: Tensor, gradients: Tensor) -> Tensor:
        clock.seconds += 0.5 / 4  # two batches, two classes
        return cams.grad_cam(activations, gradients)

    def edit(*given: Tensor) -> Tensor:
        clock.seconds += 3.5 / 4 * len(given[0]) / len(callback.probe or given[0])  # two donors of either kind
        return BORDER[0].swap.edit(*given)

    class Listener(pl.Callback):
        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.sanity_checking:
                verdicts.append(callback.verdict)
                monitored.append(float(trainer.callback_metrics["cam/shortcut_score"]))

    logger = TensorBoardLogger(folder, name="run")
    callback = CAMCallback(
        framed_probe(),
        layer="net.2",
        method=maps,
        trials=(replace(BORDER[0], swap=DonorSwap(edit)),),
        n_images=2,
        sinks=[sink, FolderSink(folder / "report"), TensorBoardSink(logger.experiment)],
    )
    stop = pl.callbacks.EarlyStopping("cam/reliance/border", patience=50)
    callbacks = [Batches(clock, seconds=20), callback, stop, Listener()]
    run = trainer(folder, *callbacks, max_epochs=EPOCHS, logger=logger)
    data = DataLoader(TensorDataset(*framed(8 * BATCHES, seed=0)), 8)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        patch.setattr("lightning_cam.training.rhythm.ALWAYS_SPARED", ALWAYS_SPARED)
        patch.setattr("lightning_cam.training.clock.time", clock)
        warnings.simplefilter("always")
        run.fit(Validated(), data, data)
    said = [str(w.message) for w in caught if "lightning_cam" in str(w.message)]
    return Slow(callback, run, folder, sink, verdicts, monitored, said)


def test_between_checks_with_trials_there_are_looks_without(slow: Slow) -> None:
    first, step_4 = (0, False), (0, False)

    assert slow.with_trials() == [first, step_4, *((epoch, epoch in FULL_EPOCHS) for epoch in range(EPOCHS))]
    assert [reading.step for reading in slow.callback.history] == [0, 3, *range(5, EPOCHS * BATCHES, BATCHES)]


def test_a_look_without_trials_has_attention_and_no_point_of_what_hangs_on_trials(slow: Slow) -> None:
    with_trials = slow.callback.history[2].scalars.keys()
    for reading in slow.callback.history[1:]:
        missing = {key for key in with_trials - reading.scalars.keys() if key != "cam/attention_drift"}
        assert "cam/attention_entropy" in reading.defined
        assert not missing if has_trials(reading) else {"cam/shortcut_score", "cam/reliance/border_low"} < missing


def test_a_look_without_trials_leaves_the_verdict_and_its_streak_alone(slow: Slow) -> None:
    """The alarm needs two checks in a row, and those with trials are rows apart here."""
    for epoch in set(range(EPOCHS)) - set(FULL_EPOCHS):
        assert slow.verdicts[epoch] == slow.verdicts[epoch - 1]
    outcomes = [verdict.outcome for verdict in slow.verdicts if verdict is not None]
    assert len(outcomes) == EPOCHS
    assert outcomes.index("FAIL") in FULL_EPOCHS[1:3]
    assert sum("FAIL" in text for text in slow.said) == 1


def test_who_monitors_what_hangs_on_trials_keeps_the_last_value(slow: Slow) -> None:
    scores = [reading.scalars.get("cam/shortcut_score") for reading in slow.callback.history[2:-1]]

    assert slow.trainer.current_epoch == EPOCHS
    for epoch, (score, found) in enumerate(zip(scores, slow.monitored[:-1], strict=True)):
        assert found == pytest.approx(slow.monitored[epoch - 1] if score is None else score)


def test_the_last_check_has_trials_and_completes_the_reading_of_its_step(slow: Slow) -> None:
    *_, before, last = slow.callback.history

    assert slow.monitored[-1] == slow.monitored[-2]  # the last validation was looked at without trials
    assert has_trials(last)
    assert not has_trials(before)
    assert last.step == before.step + BATCHES
    assert last.scalars["cam/attention_drift"] > 0  # since the epoch before, not since the same weights
    assert last.scalars["cam/seconds"] == pytest.approx(0.5)  # as it was logged


def test_tensorboard_has_one_point_and_one_picture_a_step(slow: Slow) -> None:
    events = tensorboard_events(Path(slow.trainer.loggers[0].log_dir))
    tags = events.Tags()
    found = Counter((key_of(tag), event.step) for tag in tags["scalars"] for event in events.Scalars(tag))
    found.update((key_of(tag), event.step) for tag in tags["images"] for event in events.Images(tag))
    ours = {key: times for key, times in found.items() if key[0].startswith("cam/")}

    assert set(ours.values()) == {1}
    for reading in slow.callback.history:
        assert {(key, reading.step) for key in reading.defined} <= ours.keys()
    names = {tile.name for tile in slow.sink.pages[0].tiles}
    assert {(f"cam/{name}", reading.step) for name in names for reading in slow.callback.history} <= ours.keys()


def test_a_page_without_trials_shows_the_maps_and_the_verdict_that_stands(slow: Slow) -> None:
    *checks, completed, last = slow.sink.pages

    assert [len(page.tiles) for page in checks] == [2] * (EPOCHS + 2)
    assert completed.tiles == ()  # they were drawn already
    assert completed.scalars == slow.callback.history[-1].scalars
    assert [page.verdict for page in checks[2:]] == slow.verdicts
    assert last.text is not None
    assert "Verdict: FAIL" in last.text
    assert "there are no trials" not in last.text


def test_the_folder_has_one_line_a_step(slow: Slow) -> None:
    rows = read_history(slow.folder / "report")

    assert [row["step"] for row in rows] == [reading.step for reading in slow.callback.history]
    assert {key for key in rows[-1] if key not in ("step", "epoch")} == slow.callback.history[-1].scalars.keys()


def test_that_checks_are_made_without_trials_is_said_once(slow: Slow) -> None:
    (text,) = [text for text in slow.said if "max_overhead" in text]

    assert "checks are made without trials, or skipped, from here on" in text
    assert "every_n_epochs=1" in text


def test_a_machine_that_can_afford_trials_makes_every_check_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("lightning_cam.training.clock.time", clock)

    def edit(*given: Tensor) -> Tensor:
        clock.seconds += 0.1
        return BORDER[0].swap.edit(*given)

    callback = CAMCallback(
        probe(), layer="body", trials=(replace(BORDER[0], swap=DonorSwap(edit)),), sinks=[], on_error="raise"
    )
    trainer(tmp_path, Batches(clock), callback, max_epochs=EPOCHS).fit(Net(), loader(), loader())

    first, *later = callback.history
    assert first.scalars["cam/shortcut_score"] == 0  # judged, as ever
    assert [reading.step for reading in later] == [3, *range(5, EPOCHS * BATCHES, BATCHES)]
    assert all(map(has_trials, later))


def test_trials_that_fail_cost_the_trials_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they took counts as well, so that they are not tried again at every epoch."""
    clock = Clock()
    monkeypatch.setattr("lightning_cam.training.clock.time", clock)

    def maps(activations: Tensor, gradients: Tensor) -> Tensor:
        clock.seconds += 0.1  # for each of two classes
        return cams.grad_cam(activations, gradients)

    def broken(*_: Tensor) -> Tensor:
        clock.seconds += 9
        raise RuntimeError("no edit")

    callback = CAMCallback(
        probe(), layer="body", method=maps, trials=(replace(BORDER[0], swap=DonorSwap(broken)),), sinks=[]
    )
    run = trainer(tmp_path, Batches(clock), callback, max_epochs=EPOCHS)
    with pytest.warns(UserWarning, match="lightning_cam") as said:
        run.fit(Net(), loader(), loader())

    texts = [str(w.message) for w in said if "lightning_cam" in str(w.message)]
    assert sum("no edit" in text for text in texts) == 1
    assert not any("switched off" in text for text in texts)
    assert run.current_epoch == EPOCHS
    assert [reading.epoch for reading in callback.history] == [0, 0, *range(1, EPOCHS)]
    assert not any(map(has_trials, callback.history))
    assert callback.verdict is not None
    assert callback.verdict.outcome == "INCONCLUSIVE"


def test_a_look_that_fails_is_not_completed_in_place_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("lightning_cam.training.clock.time", clock)

    def maps(activations: Tensor, gradients: Tensor) -> Tensor:
        clock.seconds += 0.1
        if run.current_epoch == EPOCHS - 1:
            raise RuntimeError("no maps")
        return cams.grad_cam(activations, gradients)

    def edit(*given: Tensor) -> Tensor:
        clock.seconds += 9
        return BORDER[0].swap.edit(*given)

    callback = CAMCallback(
        probe(), layer="body", method=maps, trials=(replace(BORDER[0], swap=DonorSwap(edit)),), sinks=[]
    )
    run = trainer(tmp_path, Batches(clock), callback, max_epochs=EPOCHS)
    with pytest.warns(UserWarning, match="lightning_cam"):
        run.fit(Net(), loader(), loader())

    assert [reading.epoch for reading in callback.history] == [0, 0, *range(EPOCHS - 1)]
    assert not has_trials(callback.history[-1])


def test_what_is_concluded_is_the_verdict_of_the_last_check_with_trials(slow: Slow) -> None:
    """Where the last one of all fails."""
    observer = Observer(
        layer="net.2", method=cams.grad_cam, forward=None, batch_size=32, limits={}, failures=Failures(raises=True)
    )
    look = partial(observer.check, slow.trainer.lightning_module, framed_probe(), lets_through=lambda _: True)
    look(BORDER, judges=True)
    look((), judges=False)
    verdict = observer.conclude()

    assert verdict is not None
    assert [finding.cue for finding in verdict.findings] == ["border"]


def test_one_check_at_the_end_convicts(slow: Slow) -> None:
    """Two in a row are asked for during the training, where there are many."""
    observer = Observer(
        layer="net.2", method=cams.grad_cam, forward=None, batch_size=32, limits={}, failures=Failures(raises=True)
    )
    model = slow.trainer.lightning_module
    outcome = observer.check(model, framed_probe(), BORDER, judges=True, lets_through=lambda _: True)
    verdict = observer.conclude()

    assert isinstance(outcome, Judged)
    assert outcome.verdict is not None
    assert verdict is not None
    assert [outcome.verdict.outcome, verdict.outcome] == ["WARN", "FAIL"]


@pytest.mark.parametrize("is_adopted", [True, False])
def test_checks_before_a_comparison_convict_nobody(is_adopted: bool, slow: Slow) -> None:
    """What was seen before the model was called as the user's step calls it does not count."""
    observer = Observer(
        layer="net.2", method=cams.grad_cam, forward=None, batch_size=32, limits={}, failures=Failures(raises=True)
    )
    look = partial(observer.check, slow.trainer.lightning_module, framed_probe(), BORDER, lets_through=lambda _: True)
    look(judges=True)
    if is_adopted:
        observer.adopt(None, "")
    outcome = look(judges=True)

    assert isinstance(outcome, Judged)
    assert outcome.verdict is not None
    assert outcome.verdict.outcome == ("WARN" if is_adopted else "FAIL")


# ---- short fits ------------------------------------------------------------------------------------------------------


def in_two_minutes(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[list[int], list[str]]:
    """Sizes of the forward passes with swaps of a fit where every pass takes two seconds, and the warnings."""
    clock, frames = Clock(), DataLoader(TensorDataset(*framed(8 * BATCHES, seed=0)), 8)
    sizes: list[int] = []
    monkeypatch.setattr("lightning_cam.training.clock.time", clock)
    monkeypatch.setattr("lightning_cam.training.rhythm.MOST_OF_A_SHORT_FIT", 0.18)

    def forward(module: nn.Module, images: Tensor) -> Tensor:
        clock.seconds += 2 * (len(images) > 3)
        sizes.append(len(images))
        return module(images)

    callback = CAMCallback(framed_probe(), trials=BORDER, sinks=[], forward=forward, batch_size=64, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(folder, Batches(clock), callback, max_epochs=2).fit(Framed(), frames)
    return sizes, [str(w.message) for w in caught if "lightning_cam" in str(w.message)]


def test_what_earlier_fits_have_done_is_no_part_of_this_ones_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit that goes on at half of the epochs, and is at three quarters after a minute."""
    time, done = Clock(), iter([0.5, 0.75])
    monkeypatch.setattr("lightning_cam.training.clock.time", time)
    monkeypatch.setattr("lightning_cam.training.clock.progress", lambda _: next(done))
    clock = FitClock(Rhythm(), 0.02, has_trials=True, failures=Failures(raises=True))
    clock.start(None)
    time.seconds += 60

    assert clock._expected(None) == 120


def test_in_a_short_fit_fewer_images_are_swapped_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, said = in_two_minutes(tmp_path, monkeypatch)
    everything, nothing_said = in_two_minutes(tmp_path, monkeypatch, max_overhead=1.0)

    assert sum(sizes) < sum(everything)
    assert 16 in sizes
    assert 16 not in everything
    assert any("the last check swaps cues on 16 of the 64 probe images" in text for text in said)
    assert not any("the last check swaps" in text for text in nothing_said)


def test_a_completed_check_has_one_column_in_the_strip() -> None:
    shown, n_looks = [], (1, 2)
    for n in n_looks:
        sink, report = MemorySink(), examine(Net(), probe(), layer="body", trials=())
        album = Album(probe(), "cam", [sink], n_images=2)
        for again in range(n):
            album.add(report, Reading(3, 0, report.scalars), None, alert=False, drawn=bool(again))
        album.finish([Reading(3, 0, report.scalars)], None, [], alert=False)
        album.close(10)
        shown.append(sink.pages[-1].strip.shape)

    assert shown[0] == shown[1]


def test_the_colours_of_a_run_never_get_a_shorter_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps whose peaks are at 1, 8, 1 and 1 times the even share: the last ones are too few to hide the second."""
    ends: list[float] = []

    def noting(*_: Any, end: float, **__: Any) -> Page:
        ends.append(end)
        return Page("cam", 0, 0)

    monkeypatch.setattr("lightning_cam.sinks.album.check_page", noting)
    report = examine(Net(), probe(), layer="body", trials=())
    even, peaked = torch.ones_like(report.grid_maps), torch.zeros_like(report.grid_maps)
    peaked[:, 0, 0] = 1
    album = Album(probe(), "cam", [MemorySink()], n_images=2)
    for step, maps in enumerate([even, peaked, even, even]):
        album.add(replace(report, grid_maps=maps), Reading(step, 0, {}), None, alert=True)
    album.close(10)

    assert ends == [2.0, 8.0, 8.0, 8.0]
