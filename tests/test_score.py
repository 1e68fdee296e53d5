"""A score of the user's own in place of the class: maps, answers beside them, words, and what a wrong one is told."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from house.models import Net, fixed, images
from lightning_cam import Probe, cams, examine, judge, pixels, trust
from lightning_cam.attribution import targets
from lightning_cam.examination import Reading, Report, look, merged
from lightning_cam.sinks.frames import Frame
from lightning_cam.sinks.pages import check_page

METHODS = [cams.hires_cam, cams.score_cam, cams.ablation_cam, cams.against(cams.grad_cam)]
N = 7


def probe() -> Probe:
    masks = torch.zeros(N, 12, 16, dtype=torch.bool)
    masks[:, 3:9, 4:12] = True
    return Probe(images(N), torch.arange(N) % 4, classes=list("abcd"), masks=masks)


class Words(nn.Module):
    """A captioner without class scores: three words out of five, and an embedding beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.words = nn.Linear(8, 3 * 5)

    def forward(self, images: Tensor) -> Any:
        features = self.stage(images).mean((2, 3))
        return {"words": self.words(features).reshape(-1, 3, 5), "embedding": features}


@cache
def of_words() -> Report:
    return examine(fixed(Words), probe(), score=lambda outputs: outputs["words"][:, 1, 2])


def test_the_score_of_a_class_has_the_maps_of_that_class() -> None:
    everywhere = replace(probe(), targets=torch.ones(N, dtype=torch.long))
    expected = examine(fixed(Net), everywhere, methods=METHODS, trials=())

    report = examine(fixed(Net), probe(), score=lambda logits: logits[:, 1], methods=METHODS, trials=())

    torch.testing.assert_close(report.grid_maps, expected.grid_maps)
    for name, maps in report.method_maps.items():
        torch.testing.assert_close(maps[0], expected.method_maps[name][0])
    torch.testing.assert_close(report.scores, expected.logits[:, 1])


@pytest.mark.parametrize("method", [cams.grad_cam, cams.score_cam])
@pytest.mark.parametrize("batch_size", [3, 32])
def test_a_score_that_knows_each_image_gets_a_row_for_all_of_them(batch_size: int, method: cams.Method) -> None:
    options: dict[str, Any] = {"trials": (), "method": method, "batch_size": batch_size}
    expected = examine(fixed(Net), probe(), **options)

    report = examine(fixed(Net), probe(), score=targets.true_class(probe().targets), **options)

    torch.testing.assert_close(report.grid_maps, expected.grid_maps)


def test_answers_and_trials_are_those_of_the_classes() -> None:
    plain = examine(fixed(Net), probe(), trials=("background", "cast"))
    report = examine(fixed(Net), probe(), trials=("background", "cast"), score=lambda logits: logits[:, 1])

    torch.testing.assert_close(report.logits, plain.logits)
    assert report.effects.keys() == plain.effects.keys() == {"background", "cast"}
    for cue, effects in plain.effects.items():
        torch.testing.assert_close(report.effects[cue], effects, equal_nan=True)
    assert judge(report).reason == judge(plain).reason


def test_a_score_that_writes_into_the_outputs_leaves_the_answers_alone() -> None:
    plain = examine(fixed(Net), probe(), trials=())
    report = examine(fixed(Net), probe(), trials=(), score=lambda logits: logits.neg_()[:, 1])

    torch.testing.assert_close(report.logits, plain.logits)
    torch.testing.assert_close(report.scores, -plain.logits[:, 1])


def test_of_two_classes_a_score_of_one_image_alone_is_noticed() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pair = Probe(images(N), torch.arange(N) % 2)

    with pytest.raises(ValueError, match=r"score= must return one number for each of 3 images, got \(2,\)"):
        examine(model, pair, trials=(), score=lambda logits: logits[0])


def test_a_value_is_explained_in_its_own_units() -> None:
    network = nn.Sequential(fixed(Net), nn.Linear(4, 1))
    values = Probe(images(N), torch.linspace(0, 1, N))
    report = examine(network, values, score=lambda outputs: outputs[:, 0], trials=())

    torch.testing.assert_close(report.scores, network.eval()(values.images)[:, 0].detach())


def test_processes_share_a_probe_with_a_score() -> None:
    options: dict[str, Any] = {"layer": None, "method": cams.grad_cam, "n_donors": 1, "forward": None, "batch_size": 2}
    score = targets.true_class(probe().targets)
    halves = [
        look(fixed(Net), probe(), rows, (), score=score, **options)
        for rows in (torch.tensor([0, 2, 4, 6]), torch.tensor([1, 3, 5]))
    ]
    expected = examine(fixed(Net), probe(), trials=()).grid_maps[[0, 2, 4, 6, 1, 3, 5]]

    torch.testing.assert_close(merged(halves).grid_maps, expected)
    assert merged(halves).scores is not None


# ---- models without class scores -------------------------------------------------------------------------------------


def test_of_a_model_without_class_scores_nothing_is_swapped_and_the_verdict_says_so() -> None:
    verdict = judge(of_words())

    assert of_words().grid_maps.shape == (N, 6, 8)
    assert (of_words().has_answers, of_words().n_unanswered, of_words().reliances) == (False, 0, ())
    assert verdict.outcome == "INCONCLUSIVE"
    assert "the model gives no class scores, so the maps explain score=" in verdict.reason
    assert "pass forward= that returns them" in verdict.why_untested["background"]


def test_without_a_score_such_a_model_is_refused_as_before() -> None:
    with pytest.raises(ValueError, match=r"expected \(N, n_classes\) class scores"):
        examine(fixed(Words), probe(), forward=lambda model, inputs: model(inputs)["words"])


def test_a_similarity_is_explained() -> None:
    reference = torch.rand(8)
    report = examine(fixed(Words), probe(), score=lambda o: torch.cosine_similarity(o["embedding"], reference[None]))

    assert report.scores is not None
    assert bool((report.scores.abs() <= 1).all())
    assert bool(report.grid_maps.any())


@pytest.mark.parametrize("method", [pixels.saliency, pixels.integrated_gradients, pixels.occlusion])
def test_maps_of_pixels_explain_it_as_well(method: Callable[..., Tensor]) -> None:
    def word(outputs: Any) -> Tensor:
        return outputs["words"][:, 1, 2]

    as_class = partial(_as_class, word)
    maps = method(fixed(Words), probe(), score=word, batch_size=3)

    torch.testing.assert_close(maps, method(fixed(Words), probe(), score=lambda z: z[:, 0], forward=as_class))


def _as_class(word: Callable[[Any], Tensor], model: nn.Module, inputs: Tensor) -> Tensor:
    """The word as one of the four class scores that the probe's classes ask for."""
    return torch.stack([word(model(inputs))] + 3 * [-inputs.mean((1, 2, 3)) - 1], 1)


def test_a_curve_of_deletion_follows_a_score() -> None:
    def word(outputs: Any) -> Tensor:
        return outputs["words"][:, 1, 2]

    curve = trust.deletion(fixed(Words), probe(), of_words().grid_maps, n_steps=2, score=word)

    assert of_words().scores is not None
    torch.testing.assert_close(curve.scores[:, 0], of_words().scores)


# ---- words -----------------------------------------------------------------------------------------------------------


def captions(report: Report) -> list[str]:
    frame = Frame.of(report, Reading(0, 0, {}), torch.arange(2))
    return [re.sub(r"-?\d+\.\d+(e-\d+)?", "#", tile.caption) for tile in check_page(probe(), frame, "cam").tiles]


def test_tiles_name_the_score_in_place_of_the_class() -> None:
    report = examine(fixed(Net), probe(), score=lambda logits: logits[:, 1], trials=())

    assert "attention for the score of #; " in captions(report)[0]
    assert captions(of_words())[0] == "score #; attention for the score; background attention #, step 0"


def test_the_page_says_that_its_maps_explain_a_score() -> None:
    html = of_words()._repr_html_() or ""
    block = re.search(r"id=&quot;portraits&quot;&gt;(.*?)&lt;/script", html)
    portraits = json.loads(block[1].replace("&quot;", '"')) if block else {}

    assert (portraits["ofScore"], portraits["unanswered"]) == (True, True)
    assert "&quot;scores&quot;:[" in html.replace(" ", "")
    assert "maps explain" in html


def test_a_table_has_the_scores() -> None:
    assert of_words().scores is not None
    assert of_words().to_dataframe()["score"].tolist() == pytest.approx(of_words().scores.tolist())  # type: ignore[union-attr]


# ---- wrong scores ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda o: o["words"], r"one number for each of 2 images, got \(2, 3, 5\); choose or average"),
        (lambda o: o["words"].mean(), r"got \(\); leave out the mean over the images"),
        (lambda o: o["words"].argmax(2)[:, 0], "without a gradient.*without argmax.*method=cams.score_cam"),
        (lambda o: o["words"][:, 0, 0].detach(), "without a gradient"),
        (lambda o: 3.0, r"must return a tensor \(2,\), got float"),
        (lambda o: o["word"], "score= raised KeyError: 'word'; it was given.*words of shape"),
        (lambda o: o[:, 0], "score= raised"),
        (lambda o: o["words"][:, 0, 0] * 1j, "complex numbers.*take .real"),
        (lambda o: o["words"][:, 0, 0] * float("nan"), "NaN or infinity for every image"),
    ],
)
def test_a_wrong_score_is_told_the_way_out(score: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        examine(fixed(Words), probe(), score=score)


def test_a_score_is_a_function() -> None:
    with pytest.raises(TypeError, match=r"score must be a function from the model's outputs.*got str"):
        examine(fixed(Words), probe(), score="words")  # type: ignore[arg-type]  # what is refused
