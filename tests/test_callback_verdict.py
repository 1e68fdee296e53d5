"""The verdict of a real training: when it comes, what it does to the training, where it is kept."""

import copy
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from house.shortcut import BORDER, Framed, framed, framed_probe, trained_on_frames
from lightning_cam import CAMCallback, LightningCAMWarning, Probe, ShortcutError, Verdict, examine, judge
from lightning_cam.audit import audit_dataset
from lightning_cam.intervention import STANDARD, DonorSwap, Trial
from lightning_cam.sinks.memory import MemorySink


def test_a_shortcut_fails_with_its_cue_interval_remedy_and_classes(tmp_path: Path) -> None:
    callback, _ = trained_on_frames(tmp_path)
    verdict = callback.verdict

    assert verdict is not None
    assert verdict.outcome == "FAIL"
    (finding,) = verdict.findings
    assert finding.cue == "border"
    assert 0.5 < finding.low <= finding.reliance <= finding.high <= 1
    assert finding.p_value < 0.05
    assert set(finding.classes) == {"dark", "light"}
    assert "RandomResizedCrop" in finding.remedy.code


def test_reliance_and_score_are_logged_at_every_check_and_monitorable(tmp_path: Path) -> None:
    callback, trainer = trained_on_frames(tmp_path)
    first, *later = (reading.scalars for reading in callback.history)

    assert first["cam/shortcut_score"] == 0  # nothing is swapped before the training
    for scalars in later:
        assert (
            scalars["cam/reliance/border_low"] <= scalars["cam/reliance/border"] <= scalars["cam/reliance/border_high"]
        )
    assert later[-1]["cam/shortcut_score"] == later[-1]["cam/reliance/border_low"] > 0.5
    assert float(trainer.callback_metrics["cam/shortcut_score"]) == pytest.approx(later[-1]["cam/shortcut_score"])


def test_the_alarm_needs_two_checks_and_comes_once(tmp_path: Path) -> None:
    sink = MemorySink()
    trained_on_frames(tmp_path, epochs=6, sinks=[sink])
    checks = [page for page in sink.pages if page.scalars]
    outcomes = [page.verdict.outcome for page in checks if page.verdict is not None]

    assert [page.alert for page in sink.pages].count(True) == 1
    alarm = next(i for i, page in enumerate(sink.pages) if page.alert)
    assert outcomes[alarm] == "FAIL"
    assert "FAIL" not in outcomes[:alarm]
    assert checks[alarm - 1].scalars["cam/reliance/border_low"] > 0.1  # one check alone convicts nobody


def test_warn_says_so_on_the_terminal_and_trains_on(tmp_path: Path) -> None:
    callback = CAMCallback(framed_probe(), trials=BORDER, sinks=[], every_n_epochs=1)
    with pytest.warns(UserWarning, match="lightning_cam: FAIL: the model relies on something that is not the object"):
        trainer = fit(tmp_path, callback, epochs=6)

    assert trainer.current_epoch == 6


def test_stop_ends_the_training_at_the_alarm(tmp_path: Path) -> None:
    callback, trainer = trained_on_frames(tmp_path, epochs=30, on_shortcut="stop")

    assert trainer.current_epoch < 30
    assert callback.verdict is not None
    assert callback.verdict.outcome == "FAIL"


def test_raise_raises_with_the_verdict_and_keeps_what_was_seen(tmp_path: Path) -> None:
    with pytest.raises(ShortcutError, match="not the object: border") as raised:
        trained_on_frames(tmp_path, epochs=30, on_shortcut="raise")

    assert raised.value.verdict.outcome == "FAIL"
    (kept,) = tmp_path.rglob("verdict.json")
    assert json.loads(kept.read_text())["outcome"] == "FAIL"


def test_a_function_is_called_once_with_the_verdict(tmp_path: Path) -> None:
    told: list[Verdict] = []
    callback, _ = trained_on_frames(tmp_path, epochs=6, on_shortcut=told.append)

    assert [verdict.outcome for verdict in told] == ["FAIL"]
    assert callback.verdict is not None


def test_an_expected_cue_is_measured_and_leads_to_nothing(tmp_path: Path) -> None:
    told: list[Verdict] = []
    callback, _ = trained_on_frames(tmp_path, expected_cues=["border"], on_shortcut=told.append)

    assert told == []
    assert callback.verdict is not None
    assert callback.verdict.outcome != "FAIL"
    assert callback.history[-1].scalars["cam/reliance/border"] > 0.5


def test_the_audit_lets_a_cue_convict_that_could_be_the_objects(tmp_path: Path) -> None:
    mild = tuple(replace(trial, at_most="WARN") for trial in BORDER)
    images, targets = framed(64, seed=0)
    audit = audit_dataset(TensorDataset(images, targets))
    outcomes = [trained_on_frames(tmp_path, trials=mild, audit=a)[0].verdict for a in (None, audit)]

    assert [verdict.outcome for verdict in outcomes if verdict is not None] == ["WARN", "FAIL"]


class Reader(nn.Module):
    """Takes pictures for class 1 whose pixel at one place is light."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        self.grey = nn.Conv2d(3, 2, 1)
        self.place = nn.Parameter(torch.zeros(64, 64))
        with torch.no_grad():
            self.grey.weight.copy_(torch.tensor([-10.0, 10.0])[:, None, None, None].expand(2, 3, 1, 1))
            self.grey.bias.copy_(torch.tensor([15.0, -15.0]))
            self.place[row, column] = 1

    def forward(self, images: Tensor) -> Tensor:
        return (self.grey(images) * self.place).sum((2, 3))


def test_a_region_that_the_audit_knows_of_is_swapped_too() -> None:
    """A small mark inside, beside the object: neither border nor corner reach it."""
    targets = torch.arange(64) % 2
    images = torch.rand(64, 3, 64, 64)
    images[:, :, 32:44, 32:44] /= 2
    images[:, :, 18:22, 42:46] = targets[:, None, None, None].float()  # the mark
    images[:, :, 36:40, 36:40] = targets[:, None, None, None].float()  # the object
    masks = torch.zeros(64, 64, 64, dtype=torch.bool)
    masks[:, 32:44, 32:44] = True
    trials = CAMCallback(audit=audit_dataset(TensorDataset(images, targets))).trials

    assert [trial.cue for trial in trials] == [*(trial.cue for trial in STANDARD), "region"]
    verdicts = [
        judge(examine(Reader(*place), Probe(images, targets, masks=masks), trials=trials[-1:], layer="grey"))
        for place in ((20, 44), (38, 38))
    ]
    assert "region" in [finding.cue for finding in verdicts[0].findings]
    assert verdicts[0].outcome == "FAIL"
    assert verdicts[1].findings == ()


def test_an_audit_without_a_telling_region_adds_no_trial() -> None:
    audit = audit_dataset(TensorDataset(torch.rand(64, 3, 32, 32), torch.arange(64) % 2))

    assert CAMCallback(audit=audit).trials == STANDARD
    assert CAMCallback(trials=BORDER, audit=audit).trials == BORDER


def test_without_trials_there_is_no_verdict_to_speak_of(tmp_path: Path) -> None:
    callback, _ = trained_on_frames(tmp_path, trials=())

    assert callback.verdict is not None
    assert callback.verdict.outcome == "INCONCLUSIVE"
    assert not any("reliance" in key for key in callback.history[-1].scalars)


def test_a_trial_of_your_own_is_judged_like_the_others(tmp_path: Path) -> None:
    own = Trial("frame", BORDER[0].swap)
    callback, _ = trained_on_frames(tmp_path, trials=(own,))

    assert callback.verdict is not None
    assert [finding.cue for finding in callback.verdict.findings] == ["frame"]


@pytest.mark.parametrize("expected", [(), ("border",)])
def test_the_end_of_a_fit_is_judged_as_a_report_of_the_same_weights(expected: tuple[str, ...], tmp_path: Path) -> None:
    callback, trainer = trained_on_frames(tmp_path, expected_cues=expected, sinks=[])
    assert callback.probe is not None
    assert callback.verdict is not None
    report = examine(trainer.lightning_module, callback.probe, trials=BORDER)

    assert callback.verdict == judge(report, expected_cues=expected)
    assert callback.verdict.outcome == ("INCONCLUSIVE" if expected else "FAIL")


def test_the_end_is_printed_in_full_and_warned_of_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = CAMCallback(framed_probe(), trials=BORDER, n_images=2, every_n_epochs=4)
    with pytest.warns(LightningCAMWarning) as caught:
        fit(tmp_path, callback, epochs=4)

    (warning,) = (str(one.message) for one in caught if "FAIL" in str(one.message))
    assert callback.verdict is not None
    assert warning == "lightning_cam: the verdict above is FAIL, because of border"
    printed = capsys.readouterr().out
    assert printed.count("FAIL") == 1
    assert callback.verdict.findings[0].text in printed


def test_a_failing_trial_costs_the_check_and_not_the_training(tmp_path: Path) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no edit")

    callback = CAMCallback(framed_probe(), trials=(Trial("own", DonorSwap(broken)),), sinks=[])
    with pytest.warns(UserWarning, match="no edit"):
        trainer = fit(tmp_path, callback, epochs=2)

    assert trainer.current_epoch == 2


def test_the_training_is_the_same_with_trials_and_verdict(tmp_path: Path) -> None:
    weights = []
    for callbacks in ([], [CAMCallback(framed_probe(), sinks=[], every_n_train_steps=3)]):
        torch.manual_seed(0)
        model = Framed()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="lightning_cam: FAIL")
            fit(tmp_path, *callbacks, epochs=3, model=model)
        weights.append(copy.deepcopy(model.state_dict()))

    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"on_shortcut": "shout"}, 'on_shortcut must be "warn", "stop", "raise" or a function', id="word"),
        pytest.param({"expected_cues": "background"}, "expected_cues must be a list of names out of", id="no list"),
        pytest.param({"expected_cues": ["colour"]}, r"expected_cues must be .* got \['colour'\]", id="unknown cue"),
    ],
)
def test_a_wrong_option_is_said_before_the_training(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CAMCallback(**options)


def fit(folder: Path, *callbacks: Any, epochs: int, model: Framed | None = None) -> pl.Trainer:
    torch.manual_seed(0)
    trainer = pl.Trainer(
        max_epochs=epochs, callbacks=list(callbacks), logger=False, default_root_dir=folder, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(model or Framed(), DataLoader(TensorDataset(*framed(64, seed=0)), 8))
    return trainer


class Narrow(pl.LightningModule):
    """Two classes or more in ``n_scores`` outputs; one output is a logit of the second class."""

    def __init__(self, n_scores: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.GroupNorm(4, 4), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, n_scores)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: list[Tensor]) -> Tensor:
        return self(batch[0]).square().mean()

    def validation_step(self, batch: list[Tensor]) -> None:
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


@pytest.mark.parametrize(("n_scores", "label"), [(2, 0), (2, 1), (5, 1), (1, 0), (1, 1)])
def test_validation_data_of_one_class_are_said_to_be_so(n_scores: int, label: int, tmp_path: Path) -> None:
    dataset = TensorDataset(torch.rand(16, 3, 16, 16), torch.full((16,), label))
    callback = CAMCallback(trials=BORDER, sinks=[], verbose=False)
    loader = DataLoader(dataset, 8)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[callback],
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    torch.manual_seed(0)
    trainer.fit(Narrow(n_scores), loader, loader)

    assert callback.verdict is not None
    assert callback.verdict.outcome == "INCONCLUSIVE"
    assert "images of one class alone" in callback.verdict.reason
    assert "forward" not in callback.verdict.reason
