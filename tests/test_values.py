"""Values to predict, such as ages: which targets they are, who lends to whom, and how far a swap moves predictions."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import tv_tensors

from house.faulty import same
from house.trainings import trainer
from lightning_cam import CAMCallback, Probe, examine, judge
from lightning_cam.attribution import cams
from lightning_cam.attribution.heads import class_scores
from lightning_cam.datasets.values import Scale, are_fractions, values_of
from lightning_cam.examination import collect_evidence
from lightning_cam.intervention import graded_donors
from lightning_cam.statistics import correlates

SIZE = 24
TRIALS = ["background", "border"]


def drawn(n: int, *, cue: float = 0.0, seed: int = 0, square: float = 0.5) -> tuple[Tensor, Tensor]:
    """Pictures and ages of 20 to 80: the square becomes brighter with the age and, by ``cue``, the frame does."""
    g = torch.Generator().manual_seed(seed)
    share = torch.rand(n, generator=g)
    images = 0.3 + 0.1 * torch.rand(n, 3, SIZE, SIZE, generator=g)
    images[:, :, 9:15, 9:15] += square * share[:, None, None, None]
    images[:, :, :2] += cue * share[:, None, None, None]
    return images.clamp(0, 1), 20 + 60 * share


def masked(n: int) -> Tensor:
    masks = torch.zeros(n, SIZE, SIZE, dtype=torch.bool)
    masks[:, 6:18, 6:18] = True
    return masks


def probe(n: int = 96, **options: Any) -> Probe:
    images, ages = drawn(n, **options)
    return Probe(images, ages, masks=masked(n))


class Reader(nn.Module):
    """The age by the brightness of the frame, as far as it counts, and by that of the square."""

    def __init__(self, of_frame: float, n_values: int = 1, shift: float = 0.0, shrunk: float = 1.0) -> None:
        super().__init__()
        self.conv, self.of_frame, self.n_values = nn.Conv2d(3, 2, 1), of_frame, n_values
        self.shift, self.shrunk = shift, shrunk
        with torch.no_grad():
            self.conv.weight.fill_(1 / 3)
            self.conv.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        grey = self.conv(images)[:, 0]
        frame, square = grey[:, :2].mean((1, 2)), grey[:, 9:15, 9:15].mean((1, 2))
        age = 120 * (self.of_frame * frame + (1 - self.of_frame) * square - 0.35)
        columns = torch.stack([age, 120 * (square - 0.35)], 1)[:, : self.n_values]
        return 20 + self.shift + self.shrunk * columns


# ---- which targets are values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "values", "are"),
    [
        pytest.param(34.5, (34.5,), True, id="a fraction"),
        pytest.param(34.0, (34.0,), False, id="a whole number"),
        pytest.param(torch.tensor([0.5, 7.0]), (0.5, 7.0), True, id="several"),
        pytest.param(torch.tensor([0.2, 0.8]), (0.2, 0.8), False, id="shares of classes"),
        pytest.param(torch.tensor([0.0, 1.0]), (0.0, 1.0), False, id="marks"),
        pytest.param(torch.tensor(math.nan), (math.nan,), False, id="unknown"),
        pytest.param([2, 5], (), False, id="numbers of labels"),
        pytest.param({"boxes": [], "labels": [0.5]}, (), False, id="detection"),
        pytest.param(torch.rand(5, 2), (), False, id="points"),
        pytest.param("old", (), False, id="text"),
    ],
)
def test_values_are_numbers_that_no_class_can_be(target: object, values: tuple[float, ...], *, are: bool) -> None:
    found = values_of(target)

    assert found == pytest.approx(values, nan_ok=True)
    assert are_fractions(found) is are


class Items(list[Any]):
    """Says nothing of its targets until an item is read."""


@pytest.mark.parametrize("is_read", [False, True])
def test_fractions_make_a_probe_of_values(*, is_read: bool) -> None:
    images, ages = drawn(200)
    items = Items(zip(images, ages.tolist(), strict=True)) if is_read else TensorDataset(images, ages)
    found = Probe.from_dataset(items, 40, find_masks=False)

    assert repr(found) == "Probe(40 images 3x24x24, 1 value, masks: 40 none)"
    assert found.targets.bincount().tolist() == [20, 20]
    rows = [int((images == image).flatten(1).all(1).nonzero()[0]) for image in found.images]
    assert torch.equal(found.values, ages[rows, None])


def test_whole_numbers_are_classes_unless_the_user_says_otherwise() -> None:
    images, ages = drawn(200)
    items = TensorDataset(images, ages.long())

    assert Probe.from_dataset(items, 40, find_masks=False).task.kind == "classes"
    assert Probe.from_dataset(items, 40, find_masks=False, task="values").values is not None
    with pytest.raises(ValueError, match='task must be "classes" or "values"'):
        Probe.from_dataset(items, 40, task="labels")
    with pytest.raises(ValueError, match="pass values=targets"):
        Probe(images, ages.round())


def test_an_item_of_unknown_value_is_left_out() -> None:
    images, ages = drawn(40)
    ages[:10] = math.nan

    assert len(Probe.from_dataset(TensorDataset(images, ages), 40, find_masks=False)) == 30


def test_a_saved_probe_has_its_values(tmp_path: Path) -> None:
    whole = probe(20)
    whole.save(tmp_path)
    loaded = Probe.load(tmp_path)

    assert (loaded.task, loaded.fingerprint) == (whole.task, whole.fingerprint)
    assert loaded.select([3, 1]).task == whole.task


def test_the_middle_halves_also_where_many_have_one_value() -> None:
    counts = torch.tensor([0.0] * 6 + [1.0, 2.0, 3.0, 9.0])

    assert Scale.of(counts).middle == 1.0
    assert Scale.of(torch.full((4,), 7.0)) == Scale(7.0, 7.0, 1.0)


def test_one_wrong_target_leaves_the_scale() -> None:
    ages = drawn(96)[1]
    with_error = torch.cat([ages, torch.tensor([1e6])])

    assert Scale.of(with_error).way == pytest.approx(Scale.of(ages).way, rel=0.2)


# ---- donors ----------------------------------------------------------------------------------------------------------


def test_donors_are_near_in_the_own_half_and_half_the_ranks_away_in_the_other() -> None:
    values = torch.randperm(40, generator=torch.Generator().manual_seed(0)).float()
    halves = (values >= 20).long()
    donors = graded_donors(values, halves, 2)

    assert bool((halves[donors.same] == halves[:, None]).all() and (halves[donors.other] != halves[:, None]).all())
    assert bool(((values[donors.same] - values[:, None]).abs() <= 2).all())
    assert bool((donors.same != torch.arange(40)[:, None]).all())
    distances = (values[donors.other[:, 0]] - values).abs()
    assert bool((distances == 20).all())
    assert int(donors.other.flatten().bincount().max()) <= 3


@pytest.mark.parametrize("sizes", [(2, 2), (2, 9), (9, 2)])
def test_halves_of_any_size_have_donors(sizes: tuple[int, int]) -> None:
    halves = torch.tensor([0] * sizes[0] + [1] * sizes[1])
    donors = graded_donors(torch.arange(len(halves)).float(), halves, 3)

    assert bool((halves[donors.same] == halves[:, None]).all() and (halves[donors.other] != halves[:, None]).all())
    assert bool((donors.same != torch.arange(len(halves))[:, None]).all())


# ---- how far predictions move ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("of_frame", [0.0, 0.3, 0.6, 1.0])
def test_the_reliance_is_the_share_of_the_way_that_predictions_move(of_frame: float) -> None:
    report = examine(Reader(of_frame), probe(cue=0.5), trials=TRIALS, layer="conv")

    for reliance in report.reliances:
        assert reliance.mean == pytest.approx(of_frame, abs=0.02)
    assert report.scalars["probe_correlation"] > 0.99


def test_the_verdict_says_it_in_plain_words() -> None:
    verdict = judge(examine(Reader(0.62), probe(cue=0.5), trials=["background"], layer="conv"))

    assert verdict.outcome == "FAIL"
    assert verdict.reason == "the model relies on something that is not the object: background"
    assert (
        "when pictures get only the background of others with another value, the prediction moves 62 % of the way to "
        "that value" in str(verdict)
    )


def test_what_relies_on_the_object_passes() -> None:
    verdict = judge(examine(Reader(0.0), probe(cue=0.5), trials=TRIALS, layer="conv"))

    assert verdict.outcome == "PASS"
    assert (
        "none of 2 cues that were swapped moves predictions 10 % or more of the way to the value of" in verdict.reason
    )


def test_a_shift_of_all_predictions_changes_nothing() -> None:
    plain, shifted = (
        examine(Reader(0.6, shift=shift), probe(cue=0.5), trials=TRIALS, layer="conv") for shift in (0.0, 12.0)
    )

    for one, other in zip(plain.reliances, shifted.reliances, strict=True):
        assert (other.mean, other.accuracy_lost) == pytest.approx((one.mean, one.accuracy_lost), abs=0.02)


def test_predictions_that_are_drawn_to_the_middle_fail_by_their_side() -> None:
    """Of a model that dares little, predictions move little; that they change the side of the middle convicts it."""
    report = examine(Reader(1.0, shift=27.0, shrunk=0.08), probe(cue=0.5), trials=["background"], layer="conv")

    assert report.reliances[0].mean < 0.1
    assert report.reliances[0].accuracy_lost > 0.8
    assert judge(report).outcome == "FAIL"


def test_of_several_values_the_one_that_relies_is_named() -> None:
    images, ages = drawn(192, cue=0.5)
    both = Probe(images, torch.stack([ages, ages.flip(0) / 7], 1), masks=masked(192), classes=["age", "weight"])
    verdict = judge(examine(_Both(), both, trials=["background"], layer="conv"))

    assert both.classes[0].startswith("age below")
    assert verdict.outcome == "FAIL"
    assert verdict.findings[0].classes == ("age",)
    assert "of 'age'" in verdict.findings[0].text
    assert "nothing is known of the value 'weight'" in verdict.reason


class _Both(Reader):
    """The second of two values is constant."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def forward(self, images: Tensor) -> Tensor:
        age = super().forward(images)
        return torch.cat([age, torch.ones_like(age)], 1)


def test_where_predictions_do_not_rise_there_is_nothing_to_judge() -> None:
    verdict = judge(examine(Reader(0.0, shrunk=-1.0), probe(), trials=TRIALS, layer="conv"))

    assert verdict.outcome == "INCONCLUSIVE"
    assert "the predictions do not rise with the probe's true values" in verdict.reason


def test_equal_values_are_told() -> None:
    images, _ = drawn(16)
    verdict = judge(examine(Reader(0.0), Probe(images, torch.full((16,), 3.5)), layer="conv"))

    assert "all pictures of the probe have the same value" in verdict.reason


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1e30])
def test_a_broken_prediction_outweighs_nothing(bad: float) -> None:
    class Broken(Reader):
        def forward(self, images: Tensor) -> Tensor:
            is_bright = images[:, 0, :2].mean((1, 2)) > 0.84  # with the frames of the two oldest or so
            return super().forward(images).where(~is_bright[:, None], bad)

    report = examine(Broken(0.0), probe(cue=0.5), trials=TRIALS, layer="conv")

    assert judge(report).outcome != "FAIL"
    assert all(abs(reliance.mean) < 0.1 for reliance in report.reliances)


# ---- scores, maps and pages ------------------------------------------------------------------------------------------


def test_scores_are_how_far_a_value_is_from_the_middle() -> None:
    whole = probe(20)
    scores = class_scores(Reader(0.0), whole.images, 1, task=whole.task)(whole.images)
    odds = scores[:, 1] - scores[:, 0]

    predicted = whole.task.value(odds, 0)
    assert torch.allclose(predicted, Reader(0.0)(whole.images)[:, 0], atol=1e-3)
    assert torch.equal(odds > 0, predicted > whole.task.scales[0].centre)


def test_another_number_of_values_is_refused() -> None:
    with pytest.raises(ValueError, match="the model gives 2 numbers for each picture, and each has 1 to predict"):
        examine(Reader(0.0, n_values=2), probe(20), layer="conv")


def test_a_map_shows_what_moves_the_value_whichever_way() -> None:
    """A weight below 0 leaves no positive evidence, and Grad-CAM of the value alone would be empty."""
    for shrunk in (1.0, -1.0):
        report = examine(Reader(0.0, shrunk=shrunk), probe(20), trials=(), layer="conv", method=cams.hires_cam)
        inside = report.maps[:, 9:15, 9:15].sum((1, 2)) / report.maps.sum((1, 2))

        assert report.scalars["zero_map_rate"] == 0
        assert float(inside.min()) > 0.9


def test_the_table_has_true_and_predicted_values() -> None:
    whole = probe(20)
    table = examine(Reader(0.0), whole, trials=(), layer="conv").to_dataframe()

    assert table["value"].tolist() == pytest.approx(whole.values[:, 0].tolist())
    assert table["predicted_value"].tolist() == pytest.approx(table["value"].tolist(), abs=3)


def test_evidence_has_the_predicted_values() -> None:
    whole, model = probe(cue=0.5), Reader(1.0)
    report = examine(model, whole, trials=["border"], layer="conv")
    evidence = collect_evidence(model, whole, report, "border")

    assert evidence.predictions is not None
    assert torch.allclose(evidence.predictions[:, 0], model(evidence.images[:, 0])[:, 0], atol=0.1)
    assert bool(((evidence.predictions[:, 2] - evidence.predictions[:, 0]).abs() > 15).all())


def test_a_page_of_values_speaks_of_no_class(tmp_path: Path) -> None:
    report = examine(Reader(0.6), probe(cue=0.5), trials=TRIALS, layer="conv")
    report.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()

    assert "share of the way to the value of another picture" in page
    assert "probability that the right class loses" not in page


@pytest.mark.parametrize(
    ("predictions", "rise"),
    [
        pytest.param(torch.arange(12.0) ** 3, True, id="rising"),
        pytest.param(-torch.arange(12.0), False, id="falling"),
        pytest.param(torch.zeros(12), False, id="constant"),
        pytest.param(torch.full((12,), torch.nan), False, id="not finite"),
    ],
)
def test_predictions_must_rise_with_the_values(predictions: Tensor, *, rise: bool) -> None:
    assert correlates(predictions, torch.arange(12.0)) is rise


# ---- in a training ---------------------------------------------------------------------------------------------------


class Ages(pl.LightningModule):
    """As most do: one number, the mean square."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(16 * 36, 1)

    def forward(self, images: Tensor) -> Tensor:
        return 50 + 20 * self.head(self.body(images).flatten(1)).squeeze(1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.mse_loss(self(batch[0]), batch[1].float()) / 400

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_mae", F.l1_loss(self(batch[0]), batch[1].float()))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 3e-3)


def fitted(folder: Path, *callbacks: CAMCallback, cue: float, epochs: int = 4, whole: bool = False) -> list[str]:
    """Trains, and returns what was said."""
    torch.manual_seed(0)
    loaders = []
    for n, is_shuffled in ((512, True), (513, False)):
        images, ages = drawn(n, cue=cue, seed=n, square=0.0 if cue else 0.5)
        targets = ages.round().long() if whole else ages
        items = [(*item, tv_tensors.Mask(masked(1)[0])) for item in zip(images, targets, strict=True)]
        loaders.append(DataLoader(items, 64, shuffle=is_shuffled))
    run = trainer(folder, *callbacks, max_epochs=epochs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(Ages(), *loaders)
    torch.save(run.lightning_module.state_dict(), folder / "weights.pt")
    return [str(warning.message) for warning in caught if str(warning.message).startswith("lightning_cam")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cue", "outcome", "cues"), [(0.5, "FAIL", {"background", "border"}), (0.0, "PASS", set())], ids=["cue", "no cue"]
)
def test_a_training_that_relies_on_the_frame_is_found(cue: float, outcome: str, cues: set[str], tmp_path: Path) -> None:
    callback = CAMCallback(trials=TRIALS, every_n_epochs=2, max_overhead=100)
    fitted(tmp_path, callback, cue=cue)

    assert callback.verdict is not None
    assert callback.verdict.outcome == outcome, callback.verdict.reason
    assert {finding.cue for finding in callback.verdict.findings} == cues
    assert (tmp_path / "cam_report" / "report.html").exists()


@pytest.mark.slow
def test_whole_numbers_before_one_output_are_read_as_values_and_that_is_said(tmp_path: Path) -> None:
    callback = CAMCallback(trials=TRIALS, every_n_epochs=2, max_overhead=100)
    said = fitted(tmp_path, callback, cue=0.5, whole=True)

    assert sum("they are read as values to predict; if they are classes, pass" in text for text in said) == 1
    assert callback.probe is not None
    assert callback.probe.task.kind == "values"
    assert callback.verdict is not None
    assert callback.verdict.outcome == "FAIL"


@pytest.mark.slow
def test_a_training_of_values_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "watched").mkdir()
    fitted(tmp_path / "alone", cue=0.5, epochs=2, whole=True)
    fitted(tmp_path / "watched", CAMCallback(), cue=0.5, epochs=2, whole=True)

    alone, watched = (torch.load(tmp_path / name / "weights.pt") for name in ("alone", "watched"))
    assert same(watched, alone)


# ---- which part of an item is the target -----------------------------------------------------------------------------


class Parts(Dataset[Any]):
    """Items as they are."""

    def __init__(self, *columns: Sequence[Any]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(column[index] for column in self.columns)


@pytest.mark.parametrize(
    "labels", [[0, 1] * 8, torch.tensor([0, 1] * 8), np.array([0, 1] * 8)], ids=["int", "Tensor", "numpy"]
)
def test_numbers_before_a_whole_number_are_no_target_in_silence(labels: Sequence[Any]) -> None:
    pictures, places = torch.rand(16, 3, 8, 8), torch.rand(16, 2) * 90

    with pytest.raises(
        ValueError, match=r"either may be its target; .* pass read=lambda item: \(item\[0\], item\[2\]\)"
    ):
        Probe.from_dataset(Parts(pictures, places, labels))
    assert Probe.from_dataset(Parts(pictures, labels, places)).classes == ("0", "1")
    assert Probe.from_dataset(Parts(pictures, places)).task.kind == "values"


def test_a_mask_before_a_whole_number_is_no_map_to_predict_in_silence() -> None:
    masks = torch.zeros(16, 8, 8, dtype=torch.long)
    masks[:, 2:6, 2:6] = 1
    data = Parts(torch.rand(16, 3, 8, 8), masks, [0, 1] * 8)

    with pytest.raises(
        ValueError, match=r"may be a class with the mask .* pass read=lambda item: \{'image': item\[0\]"
    ):
        Probe.from_dataset(data)


def test_values_of_which_some_sum_to_one_are_values() -> None:
    pictures, places = torch.rand(16, 3, 8, 8), torch.rand(16, 2) * 0.3 + 0.1
    places[5] = torch.tensor([0.3, 0.7])

    assert Probe.from_dataset(Parts(pictures, places)).task.kind == "values"
    with pytest.raises(ValueError, match=r'2 numbers that sum to 1, as for soft labels; .*read=.* task="values"'):
        Probe.from_dataset(Parts(pictures, places / places.sum(1, keepdim=True)))
