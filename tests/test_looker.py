"""Loops without a trainer: the same checks, the same verdict, the same folder, and a model that stays as it is."""

import json
import shutil
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from house import loops
from house.shortcut import BORDER, CLASSES, framed_probe, trained_on_frames
from house.twins import digest
from lightning_cam import LightningCAMWarning, Looker, Probe, ShortcutError
from lightning_cam.cli import main


def network() -> nn.Module:
    torch.manual_seed(0)
    return loops.network()


def looker(folder: Path, *, planted: bool = True, n: int = 96, **options: Any) -> Looker:
    return Looker(loops.probe(planted=planted, n=n), folder, **{"verbose": False, "on_error": "raise", **options})


def state(model: nn.Module) -> str:
    """Of all that looking must leave as it is."""
    flags = [(name, module.training, len(module._forward_pre_hooks)) for name, module in model.named_modules()]
    return digest([model.state_dict(), flags, torch.get_rng_state(), [p.grad is None for p in model.parameters()]])


# ---- trainings -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lightning_cam. FAIL")
@pytest.mark.parametrize(("planted", "outcome", "code"), [(True, "FAIL", 1), (False, "PASS", 0)])
def test_a_loop_ends_in_the_same_weights_and_in_a_verdict(
    planted: bool, outcome: str, code: int, tmp_path: Path
) -> None:
    with looker(tmp_path / "run", planted=planted, trials=("background", "border", "tone")) as watch:
        model = loops.trained(watch.look, planted=planted)

    ends = state(model)
    assert ends == state(loops.trained(planted=planted))
    assert watch.verdict is not None
    assert watch.verdict.outcome == outcome
    assert [reading.step for reading in watch.history] == [0, 3, 6]
    kept = json.loads((tmp_path / "run" / "verdict.json").read_text())
    assert (kept["outcome"], kept["final"]) == (outcome, True)
    assert main(["check", str(tmp_path / "run")]) == code
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"report.html", "run.json", "history.jsonl", "summary.md", "evolution.png"} <= names


@pytest.mark.parametrize("n_bytes", [499_000_000, 2**40], ids=["a full disk", "room"])
@pytest.mark.filterwarnings("ignore:lightning_cam")
def test_the_last_words_name_a_page_that_is_there(
    n_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=n_bytes))
    with looker(tmp_path, trials=(), n=8, verbose=True) as watch:
        watch.look(loops.network(), 0)

    is_there = n_bytes > 500_000_000
    printed = capsys.readouterr().out
    assert (tmp_path / "report.html").exists() == is_there
    assert (str(tmp_path / "report.html") in printed) == is_there
    assert (f"no report.html of the end could be written to {tmp_path}" in printed) != is_there


@pytest.mark.slow
def test_the_verdict_is_the_one_of_the_callback(tmp_path: Path) -> None:
    callback, trainer = trained_on_frames(tmp_path)
    watch = Looker(framed_probe(classes=CLASSES), tmp_path / "run", trials=BORDER, verbose=False)
    with pytest.warns(LightningCAMWarning, match="FAIL"), watch:
        watch.look(trainer.lightning_module, 1)

    assert watch.verdict == callback.verdict
    costs = ("cam/seconds", "cam/seconds_outside_model", "cam/overhead", "cam/attention_drift")
    ours, theirs = (
        {key: value for key, value in history[-1].scalars.items() if key not in costs}
        for history in (watch.history, callback.history)
    )
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lightning_cam. FAIL")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_module_of_fabric_is_trained_and_looked_at(precision: str, tmp_path: Path) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    images, targets, _ = loops.bars(256, 0, planted=True)

    def trained(look: Callable[[nn.Module, int], object]) -> nn.Module:
        model, optimizer = fabric.setup(net := loops.network(), torch.optim.Adam(net.parameters(), 0.01))
        for epoch in range(6):
            for rows in torch.randperm(len(images)).split(32):
                optimizer.zero_grad()
                fabric.backward(nn.functional.cross_entropy(model(images[rows]), targets[rows]))
                optimizer.step()
            look(model, epoch)
        return model

    with looker(tmp_path, trials=("background",)) as watch:
        model = trained(watch.look)

    assert state(model) == state(trained(lambda model, step: None))
    assert watch.verdict is not None
    assert watch.verdict.outcome == "FAIL"
    assert watch.verdict.findings[0].cue == "background"


# ---- one look --------------------------------------------------------------------------------------------------------


class Reader(nn.Module):
    """Tells bars by how bright a picture is, of pixels in [0, 1] or up to ``white``."""

    def __init__(self, *, white: float = 1.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 3, 1, 1) / 3 / white)
            self.conv.bias.copy_(torch.tensor([0.42, -0.42]))

    def forward(self, images: Tensor) -> Tensor:
        return 30 * self.conv(images).mean((2, 3))


def test_a_look_gives_scalars_for_any_logger(tmp_path: Path) -> None:
    watch = looker(tmp_path, trials=("background",), n=24, sinks=[])
    scalars = watch.look(Reader(), 3, epoch=1)
    with pytest.warns(LightningCAMWarning, match="FAIL"):
        watch.finish()

    assert scalars["cam/probe_accuracy"] == 1
    assert scalars["cam/reliance/background"] > 0.5
    assert scalars["cam/seconds"] > 0
    assert 0 < scalars["cam/overhead"] <= 1
    assert [(reading.step, reading.epoch) for reading in watch.history] == [(3, 1)]
    assert scalars == dict(watch.history[0].defined)


def test_what_a_loop_gives_to_the_model_is_compared_with_the_probe(tmp_path: Path) -> None:
    images = loops.bars(16, 3, planted=True)[0]
    model, given = Reader(white=255), images * 255
    watches = [
        looker(tmp_path, trials=("background",), n=24, sinks=[]),
        looker(tmp_path, trials=("background",), n=24, sinks=[], preprocess=lambda pixels: pixels * 255),
    ]
    for watch in watches:
        watch.look(model, 0)
        model(given)
    with pytest.warns(LightningCAMWarning, match=r"there will be no verdict.*Looker\(preprocess=lambda pixels"):
        watches[0].look(model, 1)
    with pytest.warns(LightningCAMWarning, match="FAIL"):
        watches[1].look(model, 1)
    outcomes = [verdict.outcome for watch in watches if (verdict := watch.finish())]

    assert outcomes == ["INCONCLUSIVE", "FAIL"]


def test_between_looks_hooks_only_read_and_afterwards_there_are_none(tmp_path: Path) -> None:
    images, model = loops.bars(4, 3, planted=True)[0], Reader()
    before, expected = state(model), model(images)
    watch = looker(tmp_path, trials=(), n=8, sinks=[])
    watch.look(model, 0)
    copied = deepcopy(model)

    assert torch.equal(model(images), expected)
    assert torch.equal(copied(images), expected)
    watch.look(model, 1)
    watch.finish()
    assert state(model) == before


@pytest.mark.filterwarnings("ignore:lightning_cam. the model ran no batch")
def test_stop_and_raise_reach_the_loop(tmp_path: Path) -> None:
    watch = looker(tmp_path, trials=("background",), n=40, sinks=[], on_shortcut="stop")
    watch.look(Reader(), 0)
    assert not watch.should_stop
    with pytest.warns(LightningCAMWarning, match="FAIL"):
        watch.look(Reader(), 1)
    assert watch.should_stop
    watch.finish()

    watch = looker(tmp_path, trials=("background",), n=40, sinks=[], on_shortcut="raise")
    watch.look(Reader(), 0)
    with pytest.raises(ShortcutError, match="background"):
        watch.finish()


class Failing(Reader):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("not today")


def test_a_model_that_fails_ends_no_loop(tmp_path: Path) -> None:
    watch = looker(tmp_path / "run", n=8, on_error="warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = [watch.look(Failing(), step) for step in range(5)]
        verdict = watch.finish()

    assert results == [{}] * 5
    assert verdict is None
    assert not [message for message in caught if message.category is not LightningCAMWarning]
    assert main(["check", str(tmp_path / "run")]) == 4


def test_our_own_arguments_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"Probe\.from_dataset"):
        Looker([1, 2], tmp_path)  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(ValueError, match="trials must be"):
        looker(tmp_path, trials=("no such cue",))
    with pytest.raises(ValueError, match="no layer 'body'"):
        looker(tmp_path, layer="body", on_error="warn").look(Reader(), 0)
    too_many = Probe(torch.rand(4, 3, 8, 8), torch.arange(4))
    with pytest.raises(ValueError, match="class"):
        Looker(too_many, tmp_path / "other", sinks=[]).look(Reader(), 0)


def test_a_looker_that_has_finished_looks_no_more(tmp_path: Path) -> None:
    watch = looker(tmp_path, trials=(), n=8, sinks=[])
    watch.look(Reader(), 0)

    assert watch.finish() is watch.finish() is watch.verdict
    with pytest.warns(LightningCAMWarning, match="has finished"):
        assert watch.look(Reader(), 1) == {}


def test_a_loop_without_a_look_has_no_verdict_and_no_folder(tmp_path: Path) -> None:
    with (
        pytest.warns(LightningCAMWarning, match="no verdict: it was not asked to look"),
        looker(tmp_path / "run") as watch,
    ):
        pass

    assert watch.verdict is None
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_exception_of_the_loop_comes_through_and_keeps_the_pages(tmp_path: Path) -> None:
    model = Reader()

    def loop() -> None:
        with looker(tmp_path, trials=(), n=8) as watch:
            watch.look(model, 0)
            raise KeyError("of the user's")

    with pytest.raises(KeyError):
        loop()

    assert (tmp_path / "report.html").exists()
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.slow
def test_two_runs_in_one_folder_write_over_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        with looker(tmp_path / "run", trials=(), n=8) as watch:
            watch.look(Reader(), 0)

    assert (tmp_path / "run" / "report.html").exists()
    assert (tmp_path / "run" / "run_2" / "report.html").exists()


def test_a_model_in_a_wrapper_for_processes_is_looked_at_as_itself(tmp_path: Path) -> None:
    watch = looker(tmp_path, trials=(), n=8, sinks=[], layer="conv")
    watch.look(nn.DataParallel(Reader()), 0)
    watch.finish()

    assert watch.history[0].scalars["cam/probe_accuracy"] == 1


def averaged() -> tuple[nn.Module, AveragedModel, Probe]:
    model = network()
    return model, AveragedModel(model), framed_probe(classes=CLASSES)


def test_a_copy_that_runs_no_batch_is_not_compared_and_that_is_said() -> None:
    model, average, probe = averaged()
    watch = Looker(probe, sinks=[], verbose=False, trials=())
    watch.look(average, 0)
    model(probe.inputs())
    watch.look(average, 1)
    with pytest.warns(LightningCAMWarning, match=r"was not compared with your batches.*\(EMA\), look at the model"):
        watch.finish()

    assert "2 checks, verdict" in repr(watch)


def test_a_copy_is_compared_with_what_the_model_was_given() -> None:
    model, average, probe = averaged()
    with Looker(probe, sinks=[], verbose=False, trials=()) as watch:
        watch.look(model, 0)
        model(probe.inputs() * 255)
        with pytest.warns(LightningCAMWarning, match="there will be no verdict. The probe is not what the model sees"):
            watch.look(average, 1)
