"""What compares the probe with a real batch: what it notices, what it leaves alone, and that its hooks are gone."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset, default_collate

from house.trainings import Net, loader, pictures, probe, trainer
from lightning_cam import CAMCallback, Probe
from lightning_cam.attribution.arrivals import Arrivals, Enough
from lightning_cam.training import comparison
from lightning_cam.training.accuracy import Logged, logged_in
from lightning_cam.training.agreement import agreed
from lightning_cam.training.batches import first_items
from lightning_cam.training.likeness import overlaps
from lightning_cam.training.observer import Observer
from lightning_cam.verdict import Verdict, qualified

LABELS = torch.arange(64) % 2


def scores(n_right: int, n: int = 64, labels: Tensor = LABELS) -> Tensor:
    """Logits that are right for the first ``n_right`` of the images."""
    answers = torch.where(torch.arange(n) < n_right, labels[:n], 1 - labels[:n])
    return nn.functional.one_hot(answers, 2).float()


def test_an_accuracy_far_below_the_users_is_said_with_both_numbers() -> None:
    said = Logged("val_acc", 0.97, {}).contradicts(scores(32), LABELS)

    assert "right on 50 % of the probe's pictures" in said
    assert "97 % by your own 'val_acc'" in said
    assert "preprocess=" in said


@pytest.mark.parametrize(
    ("own", "shares", "logits"),
    [
        pytest.param(0.97, {}, scores(60), id="nearly the same"),
        pytest.param(0.5, {}, scores(64), id="the probe is easier"),
        pytest.param(0.95, {0: 0.95, 1: 0.05}, torch.tensor([[1.0, 0.0]] * 64), id="one class is nearly everything"),
    ],
)
def test_accuracies_that_go_together_are_no_news(own: float, shares: dict[int, float], logits: Tensor) -> None:
    assert Logged("val_acc", own, shares).contradicts(logits, LABELS) == ""


def test_a_probe_that_is_clearly_harder_is_said() -> None:
    logged = Logged("val_acc", 0.97, {})

    assert logged.contradicts(scores(52), LABELS) == ""
    assert "right on 81 % of the probe's pictures, and on 97 % by your own 'val_acc'" in logged.harder(
        scores(52), LABELS
    )
    assert logged.harder(scores(57), LABELS) == ""
    assert logged.harder(scores(64), LABELS) == ""
    assert logged.harder(scores(2, 8), LABELS[:8]) == ""
    assert Logged("val_acc", 0.6, {}).harder(scores(30), LABELS) == ""  # three standard errors of 64 are 0.18


def test_a_verdict_on_a_harder_probe_says_so() -> None:
    observer = SimpleNamespace(doubt="", _targets=LABELS, _unconfirmed=lambda _: "", _logged_for=lambda _: known)
    report, verdict = (
        SimpleNamespace(learned=True, head=None, n_unanswered=0, has_answers=True),
        Verdict("PASS", 0.0, (), (), "as it is"),
    )

    known = Logged("val_acc", 0.97, {})
    report.logits = scores(52)
    assert "may lack a shortcut" in Observer._doubted(observer, verdict, report).reason  # type: ignore[arg-type]  # a stub
    report.logits = scores(32)
    assert Observer._doubted(observer, verdict, report).outcome == "INCONCLUSIVE"  # type: ignore[arg-type]  # a stub


@pytest.mark.parametrize("outcome", ["PASS", "WARN", "INCONCLUSIVE"])
def test_what_a_verdict_leaves_open_is_added_to_its_reason(outcome: str) -> None:
    verdict = Verdict(outcome, 0.0, (), (), "as it is")  # type: ignore[arg-type]  # one of three literals

    assert qualified(verdict, "but").reason == "as it is; but"
    assert qualified(verdict, "") == verdict
    assert qualified(replace(verdict, outcome="FAIL"), "but").reason == "as it is"


def test_where_the_shares_are_not_known_an_accuracy_may_be_of_images_or_of_classes() -> None:
    rare = (torch.arange(64) >= 60).long()  # and all of the rare class is wrong: 0.94 of images, 0.5 of classes
    logits = torch.tensor([[1.0, 0.0]] * 64)

    assert Logged("val_acc", 0.94, {}).contradicts(logits, rare) == ""


def test_a_few_pictures_contradict_nobody() -> None:
    assert Logged("val_acc", 1.0, {}).contradicts(scores(2, 8), LABELS[:8]) == ""


@pytest.mark.parametrize(
    ("keys", "main"),
    [
        ({"val_teacher_acc": 0.9, "val_acc": 0.6}, "val_acc"),
        ({"val_teacher_acc": 0.9}, None),
        ({"val_top5_acc": 0.9, "val_top1_acc": 0.6}, "val_top1_acc"),
        ({"val_acc@5": 0.9, "val_acc@1": 0.6}, "val_acc@1"),
        ({"val_acc_best": 0.9, "valAccuracy": 0.6}, "valAccuracy"),
        ({"val_acc/dataloader_idx_1": 0.9, "val_acc/dataloader_idx_0": 0.6}, "val_acc/dataloader_idx_0"),
        ({"val_colour_acc": 0.9, "val_class_acc": 0.6}, None),
        ({"val_class_acc": 0.6, "train_acc": 0.9}, "val_class_acc"),
        ({"val_acc_0": 0.9, "val_acc_1": 0.6}, None),
        ({"val_acc_0": 0.9, "val_acc_1": 0.6, "val_acc": 0.7}, "val_acc"),
        ({"val_acc_macro": 0.9, "val_acc": 0.6}, "val_acc"),
        ({"val_acc": 0.9, "test_acc": 0.6}, None),
        ({"val_acc": 0.9, "valid/Accuracy": 90.0}, "val_acc"),
        ({"val_MulticlassAccuracy": 0.6, "val_MulticlassF1Score": 0.9}, "val_MulticlassAccuracy"),
        ({"val_accumulated": 0.9, "val_loss": 0.6}, None),
        ({"val_acc": float("nan")}, None),
        ({"val_acc_step": 0.9, "val_acc": 0.6, "val_acc_epoch": 0.6}, "val_acc"),
    ],
)
def test_the_main_accuracy_is_chosen_or_none(keys: dict[str, float], main: str | None) -> None:
    logged = logged_in({key: torch.tensor(value) for key, value in keys.items()}, {})

    assert (logged and logged.key) == main


PIXELS = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("change", "is_alike"),
    [
        pytest.param(lambda x: x, True, id="the same"),
        pytest.param(lambda x: 0.3 + x / 4, True, id="paler"),
        pytest.param(lambda x: (x - 0.45) / 0.22, False, id="normalised"),
        pytest.param(lambda x: 255 * x, False, id="bytes"),
        pytest.param(lambda x: x[:, :1], False, id="one channel"),
        pytest.param(lambda x: x[:, :, :4], False, id="another size"),
    ],
)
def test_pictures_of_the_users_own_are_compared_by_size_and_range(
    change: Callable[[Tensor], Tensor], is_alike: bool
) -> None:
    assert overlaps(change(PIXELS), PIXELS) is is_alike


def test_a_probe_of_the_users_own_in_another_range_leaves_no_verdict(tmp_path: Path) -> None:
    of_another_range = Probe(probe().images, probe().targets, preprocess=lambda x: 255 * x)
    callback = CAMCallback(of_another_range, trials=(), sinks=[], verbose=False)

    with pytest.warns(UserWarning, match=r"is given 0 to 1 at .* and 0\.?\d* to 25\d\.?\d* at .* from the probe"):
        trainer(tmp_path, callback).fit(Net(), loader(), loader(8))
    assert callback.verdict is not None
    assert callback.verdict.outcome == "INCONCLUSIVE"
    assert "is not what the model sees" in callback.verdict.reason


class LateScale(Net):
    """What it divides by is known when the training starts, after the sanity check."""

    scale = 0.0

    def on_train_start(self) -> None:
        self.scale = 0.5

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step([batch[0] / self.scale, batch[1]], batch_idx)


@pytest.mark.parametrize(("kind", "n_comparisons"), [(Net, 1), (LateScale, 2)], ids=["the same", "another"])
def test_the_first_batch_of_the_training_is_compared_where_it_arrives_otherwise(
    kind: type[Net], n_comparisons: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(comparison, "agreed", lambda *args, **kwargs: calls.append(1) or agreed(*args, **kwargs))
    callback = CAMCallback(trials=(), sinks=[], verbose=False, every_n_epochs=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(tmp_path, callback, max_epochs=4).fit(kind(), loader(), loader(8))

    assert len(calls) == n_comparisons
    words = [str(each.message) for each in caught if "verdict" in str(each.message)]
    assert len(words) == (2 if kind is LateScale else 0)
    assert all("there will be" in each for each in words)
    assert callback.probe is not None
    step = callback.probe.preprocess
    assert (step is None) == (kind is Net)
    assert step is None or torch.allclose(step(PIXELS), PIXELS / 0.5)


def test_a_second_comparison_that_fails_leaves_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Scaled(LateScale):
        scale = 0.25

    def once(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(comparison, "agreed", None)
        return agreed(*args, **kwargs)

    monkeypatch.setattr(comparison, "agreed", once)
    callback = CAMCallback(trials=(), sinks=[], verbose=False, every_n_epochs=1)
    with pytest.warns(UserWarning, match="comparing the probe with a batch failed"):
        trainer(tmp_path, callback).fit(Scaled(), loader(), loader(8))

    assert callback.probe is not None
    assert callback.probe.preprocess is not None
    assert torch.allclose(callback.probe.preprocess(PIXELS), PIXELS / 0.25)


def hooks(module: nn.Module) -> int:
    return sum(len(each._forward_pre_hooks) for each in module.modules())


def test_no_hook_stays_where_a_step_raises(tmp_path: Path) -> None:
    class Failing(Net):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self(batch[0])
            raise RuntimeError("power cut")

    net = Failing()
    with pytest.raises(RuntimeError, match="power cut"):
        trainer(tmp_path, CAMCallback(probe(), trials=(), sinks=[])).fit(net, loader(), loader(8))

    assert hooks(net) == 0


def test_hooks_keep_copies_of_what_arrives() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1)), nn.ReLU(inplace=True))
    images = PIXELS.clone()
    with Arrivals(model) as arrivals:
        model(images)
        images.zero_()

    assert arrivals.stems == {"0": "0.0"}
    stem = arrivals.calls["0.0"].images
    assert stem is not None
    assert torch.equal(stem, PIXELS)
    assert hooks(model) == 0


def test_a_step_can_be_ended_at_the_first_layer() -> None:
    behind = []
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1))
    model[1].register_forward_hook(lambda *_: behind.append(1))

    with pytest.raises(Enough), Arrivals(model, stops_at=""):
        model(PIXELS)
    assert not behind


def test_attention_keeps_its_fast_path() -> None:
    """With a hook inside, torch takes another kernel, which rounds differently."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    tokens = torch.rand(2, 5, 16)
    with torch.no_grad():
        expected = layer(tokens)
        with Arrivals(nn.Sequential(layer)):
            assert torch.equal(layer(tokens), expected)
            assert hooks(layer) == 0


def test_items_of_the_first_batch_are_known_in_order_alone() -> None:
    data = TensorDataset(PIXELS.repeat(4, 1, 1, 1), LABELS[:16])

    assert list(first_items(DataLoader(data, 4)) or ()) == [0, 1, 2, 3]
    assert first_items(DataLoader(data, 4, shuffle=True)) is None
    assert first_items(DataLoader(data, 4, sampler=RandomSampler(data))) is None
    assert first_items(DataLoader(data, batch_sampler=[[0, 1], [2, 3]])) is None


# ---- what a repeated step would change ------------------------------------------------------------------------------


class Noisy:
    """Adds noise from a generator of its own to every batch of both loaders."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)

    def __call__(self, items: list[Any]) -> Any:
        images, targets = default_collate(items)
        return images + torch.from_numpy(self.random.normal(0, 0.1, images.shape)).float(), targets


class NoisyData(pl.LightningDataModule):
    """Adds that noise in its transfer hook."""

    def __init__(self) -> None:
        super().__init__()
        self.noisy = Noisy()

    def train_dataloader(self) -> Any:
        return loader()

    def val_dataloader(self) -> Any:
        return DataLoader(pictures(), 8, shuffle=True)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [batch[0] + torch.from_numpy(self.noisy.random.normal(0, 0.1, batch[0].shape)).float(), batch[1]]


class Cooling(Net):
    """Lowers the learning rate at the top of its step."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.optimizers().param_groups[0]["lr"] *= 0.5
        return super().training_step(batch, batch_idx)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["collate_fn", "data module", "training step"])
def test_what_has_a_state_of_its_own_is_not_run_again(kind: str, tmp_path: Path) -> None:
    weights = []
    for callbacks in ([], [CAMCallback(trials=(), sinks=[], verbose=False)]):
        torch.manual_seed(0)
        run, noisy = trainer(tmp_path, *callbacks), Noisy()
        model = Cooling() if kind == "training step" else Net()
        if kind == "data module":
            run.fit(model, datamodule=NoisyData())
        elif kind == "training step":
            run.fit(model, DataLoader(pictures(), 8, shuffle=True))
        else:
            train, val = (DataLoader(pictures(), 8, shuffle=True, collate_fn=noisy) for _ in range(2))
            run.fit(model, train, val)
        weights.append({name: tensor.tolist() for name, tensor in model.state_dict().items()})

    assert weights[0] == weights[1]
