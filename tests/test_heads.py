"""Class scores are found in whatever a model returns, and told apart from probabilities, cosines and features."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam.attribution.engine import as_logits
from lightning_cam.attribution.heads import class_scores

IMAGES = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@dataclass
class Output:
    embedding: Tensor
    z: Tensor


class Net(nn.Module):
    """Features ``e`` and logits ``z`` of five classes; ``give`` makes an output of both."""

    def __init__(self, give: Callable[[Any], Any], n_classes: int = 5) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.features = nn.Sequential(nn.Flatten(), nn.Linear(192, 64))
            self.head = nn.Linear(64, n_classes)
        self.give = give

    def forward(self, images: Tensor) -> Any:
        features = self.features(images)
        return self.give(SimpleNamespace(e=features, z=self.head(features)))

    def logits(self, images: Tensor) -> Tensor:
        return self.head(self.features(images)).detach()


def probabilities(model: nn.Module, n_classes: int) -> Tensor:
    scores = class_scores(model, IMAGES, n_classes)
    return as_logits(scores(IMAGES)).softmax(1).detach()


@pytest.mark.parametrize(
    "give",
    [
        pytest.param(lambda o: (o.e, o.z), id="features first"),
        pytest.param(lambda o: {"features": o.e, "out": o.z}, id="a dict"),
        pytest.param(lambda o: Output(o.e, o.z), id="a dataclass"),
        pytest.param(lambda o: [o.e, {"deep": (o.e, o.z)}], id="nested"),
        pytest.param(lambda o: {"aux_logits": 0 * o.z, "logits": o.z}, id="an auxiliary head first"),
        pytest.param(lambda o: {"aux": 0 * o.z, "main": o.z}, id="an auxiliary head by name"),
        pytest.param(lambda o: (o.z, 0 * o.z), id="an auxiliary head behind"),
        pytest.param(lambda o: o.z[:, :, None, None], id="a map of one cell"),
        pytest.param(lambda o: {"loss": o.z.mean(), "logits": o.z, "hidden": o.e}, id="a Hugging Face output"),
        pytest.param(lambda o: o.z.softmax(1), id="probabilities"),
        pytest.param(lambda o: o.z.log_softmax(1), id="log-probabilities"),
    ],
)
def test_the_scores_of_the_classes_are_found(give: Callable[[Any], Any]) -> None:
    model = Net(give)

    torch.testing.assert_close(probabilities(model, 5), model.logits(IMAGES).softmax(1))


@pytest.mark.parametrize(
    "give",
    [
        pytest.param(lambda o: torch.sigmoid(o.z), id="sigmoid (N, 1)"),
        pytest.param(lambda o: torch.sigmoid(o.z).squeeze(1), id="sigmoid (N,)"),
        pytest.param(lambda o: o.z, id="logit (N, 1)"),
        pytest.param(lambda o: o.z[:, 0], id="logit (N,)"),
        pytest.param(lambda o: (o.e, torch.sigmoid(o.z)), id="features and a sigmoid"),
        pytest.param(lambda o: 1 / (1 + torch.exp(-o.z)), id="a sigmoid by hand"),
        pytest.param(lambda o: torch.sigmoid(o.z).detach(), id="a sigmoid that autograd cannot see"),
    ],
)
def test_a_single_score_is_a_logit_or_a_probability(give: Callable[[Any], Any]) -> None:
    model = Net(give, n_classes=1)

    positive = torch.sigmoid(model.logits(IMAGES)).squeeze(1)
    torch.testing.assert_close(probabilities(model, 2), torch.stack([1 - positive, positive], 1))


def test_a_logit_between_zero_and_one_is_a_logit() -> None:
    model = Net(lambda o: o.z, n_classes=1)
    nn.init.zeros_(model.head.weight)
    nn.init.constant_(model.head.bias, 0.4)

    assert class_scores(model, IMAGES, 2).head.kind == "logits"


def test_sigmoids_side_by_side_are_odds() -> None:
    model = Net(lambda o: torch.sigmoid(o.z))

    torch.testing.assert_close(probabilities(model, 5), model.logits(IMAGES).softmax(1))


@pytest.mark.parametrize("product", ["linear", "matmul", "cosine_similarity"])
def test_cosines_do_not_make_even_probabilities(product: str) -> None:
    prototypes = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    give = {
        "linear": lambda o: F.linear(F.normalize(o.e), F.normalize(prototypes)),
        "matmul": lambda o: F.normalize(o.e) @ F.normalize(prototypes).T,
        "cosine_similarity": lambda o: F.cosine_similarity(o.e[:, None], prototypes[None], dim=-1),
    }[product]
    model = Net(give)

    cosines = give(SimpleNamespace(e=model.features(IMAGES))).detach()
    assert class_scores(model, IMAGES, 5).head.kind == "cosines"
    torch.testing.assert_close(probabilities(model, 5), (16 * cosines).softmax(1))


def test_scaled_cosines_are_logits() -> None:
    model = Net(lambda o: 20 * (F.normalize(o.e) @ F.normalize(model.head.weight).T))

    assert class_scores(model, IMAGES, 5).head.kind == "logits"


def test_a_width_that_does_not_match_is_said() -> None:
    assert "64 scores for 5 classes" in class_scores(Net(lambda o: o.e), IMAGES, 5).head.remark


@pytest.mark.parametrize(
    ("give", "message"),
    [
        pytest.param(lambda o: (o.e, o.e), "64 and 64 numbers wide, and the class list has 5", id="no width fits"),
        pytest.param(lambda o: o.e.view(-1, 4, 4, 4), r"of shape \(3, 4, 4, 4\)", id="a map"),
        pytest.param(lambda o: str(o.e), "found str", id="no tensor"),
    ],
)
def test_outputs_without_scores_are_named(give: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_scores(Net(give), IMAGES, 5)


def test_a_sigmoid_is_told_by_the_operation_without_a_second_pass() -> None:
    sizes = []

    def forward(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return torch.sigmoid(model.head(model.features(images)))

    model = Net(lambda o: o.z, n_classes=1)

    assert class_scores(model, IMAGES, 2, forward).head.kind == "probabilities"
    assert sizes == [3]


def test_the_code_for_ordinal_scores_gives_classes() -> None:
    class Ordinal(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 9 * (images.mean((1, 2, 3))[:, None] - torch.tensor([0.48, 0.5]))

    remark = class_scores(Ordinal(), IMAGES, 3).head.remark
    written = eval(remark.partition("pass forward=")[2], {"torch": torch})

    expected = torch.bucketize(IMAGES.mean((1, 2, 3)), torch.tensor([0.48, 0.5]))
    chosen = class_scores(Ordinal(), IMAGES, 3, lambda images: written(Ordinal(), images))
    assert "as in ordinal regression" in remark
    assert torch.allclose(chosen(IMAGES).sum(1), torch.ones(len(IMAGES)))
    assert set(chosen(IMAGES).argmax(1)[expected != 1].tolist()) == {0, 2}
