"""Several labels at once: each image is asked for one, and each label is tried as a classifier of two answers."""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision import tv_tensors

from house.faulty import same
from house.reports import report
from house.trainings import trainer
from lightning_cam import CAMCallback, Probe, examine, judge, pixels
from lightning_cam.attribution import cams
from lightning_cam.attribution.heads import class_scores
from lightning_cam.cues import Remedy
from lightning_cam.datasets.questions import balanced_questions, marks_of, questions_of_all
from lightning_cam.examination import collect_evidence, merged
from lightning_cam.examination.look import look
from lightning_cam.examination.views import donors_of, views_of
from lightning_cam.intervention import STANDARD, matched_donors, weigh_labels
from lightning_cam.probe.task import LABELS, Task
from lightning_cam.statistics import tells_apart
from lightning_cam.training.accuracy import Logged
from lightning_cam.verdict.reasons import labels
from lightning_cam.verdict.record import Finding

SIZE = 24
PLACES = ((4, 4), (4, 14), (14, 4), (14, 14))  # of one square for each label
NAMES = ["a", "b", "c", "d"]
TRIALS = ["background", "border"]


def drawn(n: int, *, cue: float = 0.0, seed: int = 0, share: float = 0.4) -> tuple[Tensor, Tensor]:
    """Pictures and labels. The square of "a" fades as its frame becomes brighter by ``cue``."""
    g = torch.Generator().manual_seed(seed)
    labels = (torch.rand(n, 4, generator=g) < share).float()
    images = 0.4 + 0.1 * torch.rand(n, 3, SIZE, SIZE, generator=g)
    for k, (row, column) in enumerate(PLACES):
        brightness = 0.0 if cue and k == 0 else 0.4
        images[:, k % 3, row : row + 6, column : column + 6] += brightness * labels[:, k, None, None]
    images[:, :, :2] += cue * labels[:, 0, None, None, None]
    return images.clamp(0, 1), labels


def masked(images: Tensor) -> Tensor:
    masks = torch.zeros(len(images), SIZE, SIZE, dtype=torch.bool)
    masks[:, 3:21, 3:21] = True
    return masks


def probe(n: int = 160, *, cue: float = 0.0, **options: Any) -> Probe:
    images, labels = drawn(4 * n, cue=cue, **options)
    return Probe.from_dataset(TensorDataset(images, labels), n, masks=masked(images), classes=NAMES)


class Reader(nn.Module):
    """Tells each label by its square, or "a" by the frame."""

    def __init__(self, *, frame: bool, prior: float = 0.0, certainty: float = 20.0) -> None:
        super().__init__()
        self.conv, self.frame, self.prior, self.certainty = nn.Conv2d(3, 3, 1), frame, prior, certainty
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.conv.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        of_squares = [maps[:, k % 3, r : r + 6, c : c + 6].mean((1, 2)) for k, (r, c) in enumerate(PLACES)]
        of_squares[0] = maps[:, :, :2].mean((1, 2, 3)) if self.frame else of_squares[0]
        return self.certainty * (torch.stack(of_squares, 1) - 0.6) + self.prior


# ---- who is asked for what -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "marks"),
    [
        pytest.param(torch.tensor([1.0, 0.0, 1.0]), (1, 0, 1), id="float"),
        pytest.param([0, 1], (0, 1), id="list"),
        pytest.param(torch.tensor([True, False]), (1, 0), id="bool"),
        pytest.param(torch.tensor([1.0, -1.0, math.nan]), (1, -1, -1), id="unknown ones"),
        pytest.param({"label": torch.tensor([0, 0])}, (0, 0), id="dict"),
        pytest.param({"boxes": [], "labels": [1, 1]}, (), id="detection"),
        pytest.param(torch.tensor([1]), (), id="one number"),
        pytest.param(torch.tensor([0.2, 0.8]), (), id="fractions"),
        pytest.param(torch.tensor([-1.0, -2.0]), (), id="nothing known"),
        pytest.param(torch.ones(2, 2), (), id="a map"),
        pytest.param("cat", (), id="text"),
    ],
)
def test_marks_are_zeros_and_ones_in_a_row(target: object, marks: tuple[int, ...]) -> None:
    assert marks_of(target) == marks


def test_every_label_gets_as_many_images_with_it_as_without() -> None:
    images, labels = drawn(600)
    found = Probe.from_dataset(TensorDataset(images, labels), 80, find_masks=False)

    assert found.targets.bincount().tolist() == [10] * 8
    assert torch.equal(found.labels[torch.arange(80), found.targets // 2], found.targets % 2)


def test_an_image_is_asked_once_and_only_for_what_is_known() -> None:
    marks = torch.tensor([[1, -1], [0, -1], [1, 0], [0, 1], [1, 1], [0, 0]] * 4)
    answers = balanced_questions(marks, 20, seed=0)

    assert len(answers) == 20
    assert all(int(marks[row, answer // 2]) == answer % 2 for row, answer in answers.items())


def test_of_too_many_labels_some_are_asked_for_on_enough_images() -> None:
    marks = torch.randint(2, (400, 40), generator=torch.Generator().manual_seed(0))
    counts = torch.tensor(list(balanced_questions(marks, 60, seed=0).values())).bincount()

    assert counts[counts > 0].tolist() == [6] * 10


def test_a_label_that_nobody_has_is_not_asked_for() -> None:
    answers = balanced_questions(torch.tensor([[0, 1], [0, 0]] * 10), 20, seed=0)

    assert set(answers.values()) == {2, 3}


def test_where_no_label_varies_every_image_is_asked_all_the_same() -> None:
    assert questions_of_all(torch.tensor([[1, 1]] * 24)).bincount().tolist() == [0, 12, 0, 12]


def test_an_image_of_which_nothing_is_known_is_refused() -> None:
    with pytest.raises(ValueError, match="image 1 has no label that is known"):
        Probe(torch.rand(2, 3, 4, 4), torch.tensor([[1.0, 0.0], [-1.0, -1.0]]))


class Items(Dataset[Any]):
    """Says nothing of its labels until an item is read."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:
        return self._items[index]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda x, y: TensorDataset(x, y), id="tensors"),
        pytest.param(lambda x, y: TensorDataset(x, y.long()), id="whole numbers"),
        pytest.param(lambda x, y: Subset(TensorDataset(x, y), list(range(len(x)))), id="subset"),
        pytest.param(lambda x, y: Items(list(zip(x, y, strict=True))), id="read"),
        pytest.param(lambda x, y: Items(list(zip(x, y.int().tolist(), strict=True))), id="read lists"),
        pytest.param(
            lambda x, y: Items([{"image": i, "label": m} for i, m in zip(x, y, strict=True)]), id="read dicts"
        ),
    ],
)
def test_labels_are_known_in_every_usual_form(form: Callable[[Tensor, Tensor], Any]) -> None:
    images, labels = drawn(60)
    found = Probe.from_dataset(form(images, labels), 40, find_masks=False)

    assert found.n_scores == 4
    assert found.classes[:2] == ("no label 0", "label 0")
    rows = [int((images == image).flatten(1).all(1).nonzero()[0]) for image in found.images]
    assert torch.equal(found.labels, labels[rows].long())


def test_one_hot_rows_are_classes() -> None:
    images = torch.rand(40, 3, 8, 8)
    read = Items(list(zip(images, torch.eye(2).repeat(20, 1), strict=True)))
    found = Probe.from_dataset(read, 16, find_masks=False)

    assert found.labels is None
    assert found.targets.bincount().tolist() == [8, 8]


def test_a_saved_probe_has_its_labels(tmp_path: Path) -> None:
    whole = probe(40)
    whole.save(tmp_path)
    loaded = Probe.load(tmp_path)

    assert torch.equal(loaded.labels, whole.labels)
    assert torch.equal(loaded.targets, whole.targets)
    assert loaded.select([3, 1]).labels.tolist() == whole.labels[[3, 1]].tolist()


# ---- donors ----------------------------------------------------------------------------------------------------------


def test_donors_differ_in_the_label_and_agree_in_the_others_as_far_as_they_can() -> None:
    targets = torch.arange(16) % 2
    traits = torch.stack([torch.arange(16) // 2 % 2, torch.arange(16) // 4 % 2], 1)
    donors = matched_donors(targets, traits, 2, seed=0)

    assert bool((targets[donors.same] == targets[:, None]).all() and (targets[donors.other] != targets[:, None]).all())
    assert bool((donors.same != torch.arange(16)[:, None]).all())
    assert bool((traits[donors.other] == traits[:, None]).all())
    assert donors.other.flatten().bincount(minlength=16).tolist() == [2] * 16


def test_donors_lend_equally_often_where_they_are_few() -> None:
    donors = matched_donors(torch.tensor([0] * 6 + [1] * 2), torch.zeros(8, 1), 1, seed=0)

    assert donors.other[:6].flatten().bincount(minlength=8)[6:].tolist() == [3, 3]


def test_donors_are_asked_for_the_same_label() -> None:
    whole = probe(60)
    donors = donors_of(whole, 2)

    assert donors is not None
    assert bool((whole.targets[donors.other] == (whole.targets ^ 1)[:, None]).all())
    assert bool((whole.targets[donors.same] == whole.targets[:, None]).all())


# ---- verdicts --------------------------------------------------------------------------------------------------------


def test_a_label_that_relies_on_a_cue_is_named_and_the_others_are_not() -> None:
    report = examine(Reader(frame=True), probe(cue=0.3), trials=TRIALS, layer="conv")
    verdict = judge(report)

    assert verdict.outcome == "FAIL"
    assert {finding.classes for finding in verdict.findings} == {("a",)}
    assert "it does so for the label 'a'" in verdict.reason
    assert "pictures that differ in 'a'" in verdict.findings[0].text


@pytest.mark.parametrize(
    ("classes", "cause", "words"),
    [
        (["a", "b"], "corner", "; it does so on border for the label 'a' and on corner for the label 'b'"),
        (["a", "a"], "corner", "; it does so for the label 'a'"),
        (["a", "b"], "border", "; it does so for the label 'a'"),
    ],
)
def test_each_finding_names_its_own_labels(classes: list[str], cause: str, words: str) -> None:
    looked_at = replace(report(), labels=("a", "b"))
    findings = [
        Finding(cue, "FAIL", 0.5, 0.4, 0.6, 0.001, (label,), Remedy("", ""), "", cause=of)
        for cue, label, of in zip(("border", "corner"), classes, ("border", cause), strict=True)
    ]

    assert labels(looked_at, findings) == words


def test_labels_that_rely_on_no_cue_pass() -> None:
    verdict = judge(examine(Reader(frame=False), probe(), trials=TRIALS, layer="conv"))

    assert verdict.outcome == "PASS"


def test_a_rare_label_that_relies_on_a_cue_is_found_below_a_probability_of_a_half() -> None:
    model = Reader(frame=True, prior=-8.0)
    whole = probe(cue=0.3)
    assert float(model(whole.images)[:, 0].detach().max()) < 0

    verdict = judge(examine(model, whole, trials=TRIALS, layer="conv"))

    assert [finding.classes for finding in verdict.findings] == [("a",), ("a",)]


def test_nothing_is_said_of_a_label_that_is_not_learned() -> None:
    report = examine(Reader(frame=True), probe(), trials=TRIALS, layer="conv")

    assert report.unlearned == ("a",)
    assert "nothing is known of the label 'a'" in judge(report).reason
    assert all("a" not in reliance.by_class for reliance in report.reliances)


def test_where_no_label_is_learned_there_is_nothing_to_judge() -> None:
    verdict = judge(examine(Reader(frame=False, certainty=0.0), probe(80), trials=TRIALS, layer="conv"))

    assert verdict.outcome == "INCONCLUSIVE"
    assert "tells none of the probe's labels" in verdict.reason


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(torch.ones(8, 2), id="everybody has all"),
        pytest.param(torch.tensor([[1.0, 0.0]]), id="one image"),
        pytest.param(torch.tensor([[1.0, -1.0], [0.0, 1.0], [1.0, 1.0]]), id="three images"),
        pytest.param(
            torch.tensor([[1.0, math.nan]] * 6 + [[0.0, math.nan]] * 6), id="a label of which nothing is known"
        ),
    ],
)
def test_of_few_images_a_report_says_that_nothing_can_be_judged(labels: Tensor, tmp_path: Path) -> None:
    images = drawn(len(labels))[0]
    report = examine(nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), Probe(images, labels))
    report.to_html(tmp_path / "page.html")

    assert judge(report).outcome == "INCONCLUSIVE"


def test_an_output_that_is_not_finite_is_no_error(tmp_path: Path) -> None:
    report = examine(Reader(frame=False, prior=math.nan), probe(40), trials=TRIALS, layer="conv")
    report.to_html(tmp_path / "page.html")

    assert judge(report).outcome == "INCONCLUSIVE"


def test_processes_that_share_a_probe_find_the_same_effects() -> None:
    model, whole = Reader(frame=True), probe(60, cue=0.3)
    trials = STANDARD[:3]

    def part(chosen: Tensor) -> Any:
        options: dict[str, Any] = {"layer": "conv", "method": cams.grad_cam, "n_donors": 2, "forward": None}
        return look(model, whole, chosen, trials, batch_size=32, **options)

    everything = torch.arange(60)
    one, two = part(everything), merged([part(everything[:25]), part(everything[25:])])

    for cue, answers in one.answers.items():
        assert torch.allclose(answers, two.answers[cue], equal_nan=True, atol=1e-6)


def test_views_cover_the_images_of_all_labels() -> None:
    whole = probe(60)
    donors = donors_of(whole, 1)

    assert donors is not None
    rows = torch.cat([view.rows for view in views_of(whole, donors)])
    assert sorted(rows.tolist()) == list(range(60))


# ---- scores, maps and pages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [nn.Identity(), nn.Sigmoid()], ids=["logits", "sigmoid"])
def test_scores_are_a_pair_for_each_label(end: nn.Module) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3), end)
    images = torch.rand(5, 3, 4, 4)
    odds = model[:2](images)

    scores = class_scores(model, images, 3, task=Task(LABELS, 3))(images)

    assert torch.allclose(scores[:, 1::2] - scores[:, ::2], odds, atol=1e-5)


def test_two_labels_are_not_the_two_classes_of_a_single_score() -> None:
    images = torch.rand(5, 3, 4, 4)
    head = class_scores(nn.Sequential(nn.Flatten(), nn.Linear(48, 1)), images, 2, task=Task(LABELS, 2)).head

    assert "gives 1 scores for 2 classes" in head.remark


def test_a_map_is_of_the_label_that_its_image_is_asked_for() -> None:
    whole = probe(40)
    report = examine(Reader(frame=False), whole, trials=(), layer="conv")

    for answer, attention in zip(whole.targets.tolist(), report.maps, strict=True):
        if answer % 2:
            row, column = PLACES[answer // 2]
            peak = divmod(int(attention.argmax()), SIZE)
            assert row <= peak[0] < row + 6
            assert column <= peak[1] < column + 6


def test_the_map_of_the_prediction_is_of_the_same_label() -> None:
    report = examine(Reader(frame=False), probe(40), trials=(), layer="conv")

    assert torch.equal(report.predicted_grid_maps, report.grid_maps)  # all answers are right


def test_where_a_model_looks_for_an_absent_label_counts_in_no_measure() -> None:
    whole = probe(40)
    report = examine(Reader(frame=False), whole, trials=(), layer="conv")
    against = examine(Reader(frame=False), whole, trials=(), layer="conv", method=cams.against(cams.grad_cam))
    is_absent = whole.targets % 2 == 0

    assert bool(against.grid_maps[is_absent].flatten(1).any(1).all())
    assert bool(against.values["attention_entropy"][is_absent].isnan().all())
    assert bool(report.values["attention_entropy"][~is_absent].isfinite().all())
    assert report.scalars["undefined_rate"] == 0


def test_predictions_are_answers_for_the_label() -> None:
    whole = probe(40)
    report = examine(Reader(frame=False), whole, trials=(), layer="conv")
    table = report.to_dataframe()

    assert report.scalars["probe_accuracy"] == 1
    assert set(table["predicted"]) <= set(whole.classes)
    assert bool((table["probability"] > 0.5).all())


def test_evidence_shows_the_images_of_the_label() -> None:
    model, whole = Reader(frame=True), probe(80, cue=0.3)
    report = examine(model, whole, trials=["border"], layer="conv")
    evidence = collect_evidence(model, whole, report, "border")

    assert set((whole.targets[evidence.chosen] // 2).tolist()) == {0}
    assert bool((evidence.probabilities[:, 1] > 0.9).all() and (evidence.probabilities[:, 2] < 0.1).all())


@pytest.mark.parametrize("explain", [pixels.saliency, pixels.occlusion, pixels.integrated_gradients])
def test_explanations_of_pixels_are_of_the_label(explain: Callable[..., Tensor]) -> None:
    whole = probe(8)
    maps = explain(Reader(frame=False), whole)

    for answer, attention in zip(whole.targets.tolist(), maps, strict=True):
        row, column = PLACES[answer // 2]
        inside = attention.abs()[row - 2 : row + 8, column - 2 : column + 8].sum()
        assert inside > 0.9 * attention.abs().sum()


# ---- what the user logs ----------------------------------------------------------------------------------------------


def answered(has: float, lacks: float, n: int = 32) -> tuple[Tensor, Tensor]:
    """Scores and answers for one label: right on a share of the images that have it, and of those that lack it."""
    answers = torch.arange(n) % 2
    of_answer = torch.arange(n) // 2 / (n / 2)
    right = of_answer < torch.where(answers == 1, has, lacks)
    odds = torch.where(right == (answers == 1), 1.0, -1.0)
    blank = torch.full((n, 2), -torch.inf)
    return torch.cat([torch.stack([-odds, odds], 1), blank], 1), answers


def test_the_accuracy_of_a_rare_label_contradicts_nothing() -> None:
    assert Logged("val_acc", 0.97, {}).contradicts(*answered(has=0.0, lacks=1.0)) == ""


def test_an_accuracy_that_the_answers_do_not_allow_contradicts() -> None:
    assert "right on 50" in Logged("val_acc", 0.97, {}).contradicts(*answered(has=0.5, lacks=0.5))


@pytest.mark.parametrize(
    ("scores", "tells"),
    [
        pytest.param(torch.arange(16) / 16 - 9, True, id="far below a half"),
        pytest.param(torch.zeros(16), False, id="constant"),
        pytest.param(-torch.arange(16.0), False, id="the wrong way"),
        pytest.param(torch.full((16,), torch.nan), False, id="not finite"),
        pytest.param(torch.tensor([]), False, id="none"),
    ],
)
def test_a_label_is_told_by_ranks(scores: Tensor, tells: bool) -> None:
    assert tells_apart(scores, torch.arange(len(scores)) >= 8) is tells


# ---- in a training ---------------------------------------------------------------------------------------------------


class Labels(pl.LightningModule):
    """As most do: logits, BCEWithLogits, an accuracy of labels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(16 * 36, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).flatten(1))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.binary_cross_entropy_with_logits(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        logits = self(batch[0])
        self.log("val_loss", F.binary_cross_entropy_with_logits(logits, batch[1]))
        self.log("val_acc", ((logits > 0) == batch[1].bool()).float().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 3e-3)


def fitted(folder: Path, *callbacks: CAMCallback, cue: float, epochs: int) -> pl.LightningModule:
    torch.manual_seed(0)
    module = Labels()
    training, validation = (
        [(image, marks, tv_tensors.Mask(mask)) for image, marks, mask in zip(x, y, masked(x), strict=True)]
        for x, y in (drawn(n, cue=cue, seed=n) for n in (512, 513))
    )
    run = trainer(folder, *callbacks, max_epochs=epochs)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lightning_cam")
        run.fit(module, DataLoader(training, 32, shuffle=True), DataLoader(validation, 64))
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cue", "outcome", "labels"), [(0.3, "FAIL", ("label 0",)), (0.0, "PASS", ())], ids=["cue", "no cue"]
)
def test_a_training_finds_the_label_that_relies(
    cue: float, outcome: str, labels: tuple[str, ...], tmp_path: Path
) -> None:
    callback = CAMCallback(trials=TRIALS, every_n_epochs=2, max_overhead=100)
    fitted(tmp_path, callback, cue=cue, epochs=4)

    assert callback.verdict is not None
    assert callback.verdict.outcome == outcome, callback.verdict.reason
    assert {finding.classes for finding in callback.verdict.findings} == ({labels} if labels else set())
    assert (tmp_path / "cam_report" / "report.html").exists()


@pytest.mark.slow
def test_a_training_of_labels_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    alone = fitted(tmp_path / "alone", cue=0.3, epochs=2).state_dict()
    watched = fitted(tmp_path / "watched", CAMCallback(), cue=0.3, epochs=2).state_dict()

    assert same(watched, alone)


def test_a_swap_that_reaches_half_of_the_images_needs_twice_as_many() -> None:
    answers = torch.arange(40) % 2
    of_all, of_half = torch.zeros(40), torch.zeros(40).where(torch.arange(40) % 4 < 2, torch.nan)
    whole, half = weigh_labels({"cast": of_all, "tone": of_half}, answers, ("no a", "a"))

    assert half.needed_n == 2 * whole.needed_n
