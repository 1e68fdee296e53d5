"""Mistakes of the whole validation set: seen in what validation computes anyway, and the surest of them kept."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from house.report_pages import block
from house.trainings import Net, loader, pictures, probe, trainer
from lightning_cam import CAMCallback, Probe
from lightning_cam.attribution.heads import Head
from lightning_cam.datasets.normalization import Normalize
from lightning_cam.sinks import FolderSink
from lightning_cam.training.failures import Failures
from lightning_cam.training.keeping import Keeping
from lightning_cam.training.mistakes import MOST, Gathered, Kept, Mistakes

TRAINER = SimpleNamespace(fast_dev_run=False, sanity_checking=False)


class Table(nn.Module):
    """Answers with the scores that its images hold."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1)  # a child that is given no image

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :]


def collector(kind: Any = "logits", width: int = 4, *, is_wanted: bool = True) -> Mistakes:
    observer: Any = SimpleNamespace(can_listen=True, way=None, head=Head((), kind, width))
    return Mistakes(observer, Failures(raises=True), is_wanted=is_wanted)


def shown(mistakes: Mistakes, model: nn.Module, images: Tensor, labels: Tensor, size: int = 16) -> Gathered | None:
    with torch.inference_mode():
        for i, batch in enumerate(zip(images.split(size), labels.split(size), strict=True)):
            mistakes.before(TRAINER, model, is_first=i == 0)
            model(batch[0])
            mistakes.after(list(batch))
    return mistakes.gathered()


def table(n: int, n_classes: int = 4) -> tuple[Tensor, Tensor]:
    """Images that hold scores, and labels."""
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, 1, 2, n_classes, generator=generator), torch.randint(n_classes, (n,), generator=generator)


@pytest.mark.parametrize("n", [50, 17, 16, 3])
def test_the_surest_mistakes_are_those_of_a_loop_over_all_images(n: int) -> None:
    images, labels = table(n)
    certain = []
    for i in range(n):
        chances = torch.exp(images[i, 0, 0].double()) / torch.exp(images[i, 0, 0].double()).sum()
        if int(chances.argmax()) != int(labels[i]):
            certain.append((-float(chances.max()), i, int(chances.argmax())))
    expected = sorted(certain)[:MOST]

    found = shown(collector(), Table(), images, labels)

    assert found is not None
    assert found.kept.places.tolist() == [i for _, i, _ in expected]
    assert found.kept.predicted.tolist() == [predicted for _, _, predicted in expected]
    assert found.kept.certainty.tolist() == pytest.approx([-value for value, _, _ in expected], rel=1e-5)
    assert torch.equal(found.kept.images, images[[i for _, i, _ in expected]])
    assert found.accuracy == pytest.approx(1 - len(certain) / n)
    assert sum(pair[2] for pair in found.pairs()) == len(certain)


def test_pairs_are_counted_over_all_images() -> None:
    images = torch.zeros(20, 1, 2, 2)
    images[:, :, :, 1] = 1.0  # always class 1

    found = shown(collector(width=2), Table(), images, torch.tensor([0] * 15 + [1] * 5))

    assert found is not None
    assert found.pairs() == [(0, 1, 15, 15)]


def test_one_score_for_two_classes_and_probabilities_are_understood() -> None:
    images = torch.zeros(2, 1, 2, 2)
    images[:, :, :, 0] = torch.tensor([3.0, -3.0])[:, None, None]
    scores = nn.Sequential(Table(), nn.Linear(2, 1, bias=False))
    scores[1].weight.data = torch.tensor([[1.0, 0.0]])
    one = shown(collector(width=1), scores, images, torch.tensor([[0.0], [1.0]]))
    soft = torch.tensor([[0.3, 0.7], [0.6, 0.4]])[:, None, None].expand(2, 1, 2, 2)
    two = shown(collector(width=2), Table(), soft, torch.tensor([0, 0]))

    assert one is not None
    assert one.kept.certainty.tolist() == pytest.approx([torch.tensor(3.0).sigmoid().item()] * 2)
    assert one.kept.predicted.tolist() == [1, 0]
    assert two is not None
    assert two.kept.certainty.tolist() == pytest.approx([0.7])


def test_what_is_not_finite_or_has_no_class_is_no_mistake() -> None:
    images, labels = table(4)
    images[0] = torch.nan
    images[1, 0, 1, 0] = torch.inf  # a finite score, and a picture that nobody can look at
    labels[2:] = torch.tensor([-100, 255])

    assert shown(collector(), Table(), images, labels) is None


def test_a_model_that_is_always_right_has_no_mistakes() -> None:
    images, _ = table(9)

    assert shown(collector(), Table(), images, images[:, 0, 0].argmax(1)) is None


class Twice(nn.Module):
    """Two networks that may both give the class scores, or one that runs twice."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = networks
        for i, network in enumerate(networks):
            self.add_module(str(i), network)

    def __call__(self, images: Tensor) -> None:
        for network in self.networks:
            network(images)


def with_weight() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(8, 4))


@pytest.mark.parametrize(
    ("model", "is_known"),
    [
        pytest.param(Twice(with_weight()), True, id="one"),
        pytest.param(Twice(with_weight(), with_weight()), False, id="two networks"),
        pytest.param(Twice(*[with_weight()] * 2), False, id="one that runs twice"),
    ],
)
def test_where_two_answers_may_be_meant_nothing_is_said(model: nn.Module, is_known: bool) -> None:
    assert (shown(collector(), model, *table(40)) is not None) == is_known


@pytest.mark.parametrize("batch", [torch.zeros(4, 3), {"image": torch.zeros(4)}, None, [torch.zeros(4), ["a"] * 4]])
def test_a_batch_without_labels_is_no_error(batch: Any) -> None:
    mistakes, model = collector(), Table()
    mistakes.before(TRAINER, model, is_first=True)
    model(table(4)[0])
    mistakes.after(batch)

    assert mistakes.gathered() is None


def test_hooks_are_there_for_one_step_alone() -> None:
    model, mistakes = Table(), collector()
    mistakes.before(TRAINER, model, is_first=True)
    assert model._forward_hooks
    mistakes.after(None)
    assert not model._forward_hooks

    mistakes.before(TRAINER, model, is_first=True)
    mistakes.forget()  # the step has raised

    assert not model._forward_hooks


@pytest.mark.parametrize(
    "options", [{"is_wanted": False}, {"sanity_checking": True}, {"fast_dev_run": True}], ids=lambda each: str(each)
)
def test_nothing_is_hooked_where_nobody_looks(options: dict[str, bool]) -> None:
    model = Table()
    run = SimpleNamespace(**{**vars(TRAINER), **options})
    collector(is_wanted=options.get("is_wanted", True)).before(run, model, is_first=True)

    assert not model._forward_hooks


@pytest.mark.parametrize(
    "preprocess",
    [None, Normalize((0.4, 0.5, 0.6), (0.2, 0.2, 0.1)), lambda pixels: pixels * 7 - 3],
    ids=["pixels", "normalised", "a function"],
)
def test_kept_images_are_shown_as_pixels_and_reach_the_model_as_they_did(preprocess: Any) -> None:
    pixels = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    inputs = pixels if preprocess is None else preprocess(pixels)
    rows = torch.arange(2)
    kept = Kept(torch.ones(2), rows, 1 - rows, rows, inputs)

    found = Gathered(kept, rows, 1 - rows, 2).as_probe(Probe(pixels, rows, preprocess=preprocess))

    assert torch.allclose(found.prepare(found.images), inputs, atol=1e-5)
    assert found.names == ("validation image 0", "validation image 1")
    if not callable(preprocess) or isinstance(preprocess, Normalize):
        assert torch.allclose(found.images, pixels, atol=1e-6)


def test_a_probe_of_few_classes_may_have_mistakes_of_others() -> None:
    images, labels = torch.rand(2, 3, 4, 4), torch.tensor([3, 4])
    kept = Kept(torch.ones(2), labels, labels - 1, labels, images)
    few = Probe(images, torch.tensor([0, 1]), classes=["cat", "dog"])

    assert Gathered(kept, labels, labels - 1, 5).as_probe(few).classes == (
        "cat",
        "dog",
        "class 2",
        "class 3",
        "class 4",
    )


def test_of_several_labels_no_mistakes_are_asked_for() -> None:
    nobody: Any = None
    several = Probe(torch.rand(2, 3, 4, 4), torch.tensor([[0, 1], [1, 0]]), classes=["cat", "dog"])

    assert Keeping(nobody, nobody, nobody, nobody, nobody)._surest(nobody, nobody, several) is None


class Counting(Net):
    """Learns by place, and counts its forwards in validation."""

    n_images = 0

    def build(self) -> None:
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(8 * 64, 2)

    def forward(self, images: Tensor) -> Tensor:
        self.n_images += len(images)
        return self.head(self.body(images).flatten(1))


def fitted(folder: Path, **options: Any) -> Any:
    """The page's mistakes after a training, where two validation images have a wrong label."""
    data = pictures(64)
    for wrong in (5, 40):
        data.tensors[1][wrong] = 1 - data.tensors[1][wrong]
    net = Counting()
    cam = CAMCallback(
        probe(12), sinks=[FolderSink(folder)], verbose=False, trials=(), on_error="raise", every_n_epochs=5, **options
    )
    trainer(folder, cam, max_epochs=10).fit(net, loader(64), DataLoader(data, batch_size=8))
    return net, folder / "report.html"


@pytest.mark.slow
def test_images_with_a_wrong_label_are_found_in_a_fit_without_a_further_forward(tmp_path: Path) -> None:
    net, page = fitted(tmp_path)
    without, other = fitted(tmp_path / "without", log_images=False)
    found: Any = block(page.read_text(), "mistakes")

    assert {each["name"] for each in found["portraits"]["probes"]} == {"validation image 5", "validation image 40"}
    assert found["images"] == 64
    assert sorted(map(tuple, found["check"]["pairs"])) == [(0, 1, 1, 32), (1, 0, 1, 32)]
    assert found["check"]["mistaken"]["rows"] == [0, 1]
    assert block(other.read_text(), "mistakes") is None
    assert net.n_images == without.n_images  # what a look counts is put back
