"""Measures of trust against loops in float64, and what they leave alone."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from house import reference_trust as reference
from lightning_cam import Probe, cams, pixels, trust
from lightning_cam.datasets.normalization import Normalize
from lightning_cam.statistics import rank_correlation


def net(n_classes: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, n_classes)]
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), *head)
    for parameter in model.parameters():
        parameter.data *= 2  # answers that differ
    return model


def probe(n: int = 3, side: tuple[int, int] = (7, 6), preprocess: Any = None, **options: Any) -> Probe:
    images = torch.rand(n, 3, *side, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    return Probe(images, torch.arange(n) % 3, classes=["a", "b", "c"], preprocess=preprocess, **options)


def heat(n: int = 3, side: tuple[int, int] = (7, 6)) -> Tensor:
    return torch.rand(n, *side, generator=torch.Generator().manual_seed(2))


def in_float64(model: nn.Module, preprocess: Callable[[Tensor], Tensor] | None = None) -> Callable[[Tensor], Tensor]:
    double = copy.deepcopy(model).double().eval()
    return lambda images: double(images if preprocess is None else preprocess(images)).detach()


NORMALIZE = Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))


@pytest.mark.parametrize("preprocess", [None, NORMALIZE], ids=["pixels", "normalised"])
def test_deletion_is_the_papers_algorithm(preprocess: Any) -> None:
    images = probe(preprocess=preprocess)
    found = trust.deletion(net(), images, heat(), n_steps=5, fill=0.3)

    grey = torch.full_like(images.images, 0.3).double()
    for i in range(3):
        start, model = images.images.double()[i], in_float64(net(), preprocess)
        expected = reference.curve(model, start, grey[i], heat()[i], int(images.targets[i]), 5)
        assert found.scores[i].tolist() == pytest.approx(expected, abs=1e-5)
        assert float(found.auc[i]) == pytest.approx(reference.area(expected), abs=1e-5)


def test_insertion_is_the_papers_algorithm_from_a_blurred_image() -> None:
    images = probe()
    found = trust.insertion(net(), images, heat(), n_steps=6)

    # A kernel of 11 pixels is cut where the mirrored edge would be longer than the image.
    weights = torch.exp(-(torch.arange(-5.0, 6.0).double() ** 2) / 50)
    rows, columns = (weights / weights.sum() for _ in range(2))
    padded = F.pad(images.images.double(), (5, 5, 5, 5), mode="reflect")
    blurred = F.conv2d(padded.flatten(0, 1)[:, None], (rows[:, None] * columns)[None, None]).reshape(3, 3, 7, 6)
    for i in range(3):
        expected = reference.curve(in_float64(net()), blurred[i], images.images.double()[i], heat()[i], i, 6)
        assert found.scores[i].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_map_of_the_evidence_deletes_faster_and_inserts_faster_than_by_chance() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2, bias=False))
    weights = torch.zeros(2, 3, 8, 8)
    weights[0, :, 1:3, 1:3] = 1.0
    model[1].weight.data = weights.flatten(1)
    images = Probe(torch.ones(1, 3, 8, 8), torch.tensor([0]), classes=["a", "b"])
    maps = weights[0].mean(0)[None] + torch.linspace(0, 1e-3, 64).reshape(1, 8, 8)

    found = trust.deletion(model, images, maps, n_steps=16, fill=0.0)
    assert float(found.auc[0]) < float(found.auc_by_chance[0]) - 0.1


def test_maps_that_show_no_places_have_no_curve_and_a_coarse_one_is_stretched() -> None:
    maps = heat(3, (3, 2))
    maps[0], maps[1, 0, 0] = 0.5, torch.nan

    for measure in (trust.deletion, trust.insertion):
        auc = measure(net(), probe(), maps, n_steps=3).auc
        assert auc[:2].isnan().all()
        assert auc[2].isfinite()


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 3)])
def test_small_images_are_no_error(size: tuple[int, int]) -> None:
    images = Probe(torch.rand(1, 3, *size), torch.tensor([0]), classes=["a", "b", "c"])
    assert trust.insertion(net(), images, torch.rand(1, *size), n_steps=2).scores.shape == (1, 3)
    assert trust.deletion(net(), images, torch.rand(1, *size), n_steps=2).scores.shape == (1, 3)
    assert trust.occlusion_agreement(net(), images, torch.rand(1, *size)).shape == (1,)


def test_the_score_to_follow_can_be_chosen() -> None:
    found = trust.deletion(net(), probe(), heat(), n_steps=2, score=lambda logits: logits[:, 1])
    assert torch.allclose(found.scores[:, 0], net().eval()(probe().images)[:, 1], atol=1e-5)


def test_rank_correlation_is_that_of_a_loop() -> None:
    one, other = heat(2, (4, 5)).flatten(1), heat(4, (4, 5))[2:].flatten(1).mul(4).round()  # with equals

    for i in range(2):
        expected = reference.spearman(one[i].tolist(), other[i].tolist())
        assert float(rank_correlation(one, other)[i]) == pytest.approx(expected, abs=1e-6)
    assert rank_correlation(one, torch.ones_like(one)).isnan().all()
    assert rank_correlation(one, other.where(other > 0, torch.nan)).isnan().all()


def test_agreement_with_occlusion_is_the_rank_correlation_of_both_maps() -> None:
    model, images, maps = net(), probe(), heat()
    drop = pixels.occlusion(model, images, block=2, stride=1)
    found = trust.occlusion_agreement(model, images, maps, block=2, stride=1)

    for i in range(3):
        expected = reference.spearman(maps[i].flatten().tolist(), drop[i].flatten().tolist())
        assert float(found[i]) == pytest.approx(expected, abs=1e-5)
    assert trust.occlusion_agreement(model, images, drop, block=2, stride=1).tolist() == pytest.approx([1.0] * 3)
    assert trust.occlusion_agreement(model, images, -drop, block=2, stride=1).tolist() == pytest.approx([-1.0] * 3)


def state(model: nn.Module) -> list[Any]:
    """What must be the same afterwards, identities and memory among it."""
    return [
        (name, id(p), p.data_ptr(), p._version, p.requires_grad, p.detach().clone().view(torch.int32).tolist())
        for name, p in model.named_parameters()
    ]


def test_randomisation_goes_from_the_last_layer_to_the_first_and_leaves_the_model_as_it_was() -> None:
    model, weights = net(), []
    before = state(model)

    def explain(asked: nn.Module, images: Probe) -> Tensor:
        weights.append({name: p.detach().clone() for name, p in asked.named_parameters()})
        return trust.attention(asked, images, layer="3")

    found = trust.randomisation(model, probe(), explain)

    assert found.layers == ("6", "2", "0")
    assert found.similarity.shape == (3, 3)
    assert state(model) == before
    changed = [{name for name in each if not torch.equal(each[name], weights[0][name])} for each in weights]
    last = {"6.weight", "6.bias"}
    assert changed == [set(), last, last | {"2.weight", "2.bias"}, set(weights[0])]
    assert float(weights[-1]["2.weight"].std()) == pytest.approx(float(weights[0]["2.weight"].std()), rel=0.2)
    for i, maps in enumerate([explain(model, probe())] * 2):
        assert i or torch.equal(maps, trust.attention(model, probe(), layer="3"))


def test_randomisation_puts_weights_back_where_a_map_fails() -> None:
    model, calls = net(), []
    before = state(model)

    def fails(asked: nn.Module, images: Probe) -> Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise ValueError("no map")
        return heat()

    with pytest.raises(ValueError, match="no map"):
        trust.randomisation(model, probe(), fails)

    assert state(model) == before


def test_a_map_that_knows_nothing_of_the_model_is_found_out() -> None:
    edges = trust.randomisation(net(), probe(), lambda model, images: images.images.mean(1))

    assert edges.similarity.tolist() == [pytest.approx([1.0] * 3)] * 3


def test_weights_that_two_layers_share_and_models_without_weights_are_no_error() -> None:
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1), *head)
    model[2].weight = model[0].weight
    nothing = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    assert trust.randomisation(model, probe(), pixels.saliency, n_stages=1).similarity.shape == (1, 3)
    assert trust.randomisation(nothing, probe(), pixels.saliency).similarity.shape == (0, 3)


@pytest.mark.parametrize(
    "preprocess", [None, NORMALIZE, Normalize((0.5,), (-0.5,))], ids=["pixels", "normal", "turned"]
)
def test_the_step_against_the_answer_is_the_papers(preprocess: Any) -> None:
    images = probe(2, (3, 4), preprocess=preprocess)
    found = trust.adversarial(net(), images, epsilon=0.15)

    for i in range(2):
        model = in_float64(net(), preprocess)
        expected = reference.fast_gradient_sign(model, images.images.double()[i], int(images.targets[i]), 0.15)
        assert torch.allclose(found.images[i].double(), expected, atol=1e-6)
        own = int(images.targets[i])
        for row, pictures in enumerate((images.images.double()[i], expected)):
            chances = model(pictures[None]).softmax(1)[0]
            assert float(found.chances[row, i]) == pytest.approx(float(chances[own]), abs=1e-5)
            assert int(found.predicted[row, i]) == int(chances.argmax())


def test_no_step_changes_nothing_and_a_step_makes_the_answer_worse() -> None:
    model, images = net(), probe()
    before = state(model)
    none, some = (trust.adversarial(model, images, pixels.saliency, epsilon=size) for size in (0.0, 0.05))

    assert none.similarity.tolist() == pytest.approx([1.0] * 3)
    assert torch.equal(none.images, images.images)
    assert (some.chances[1] < some.chances[0]).all()
    assert (some.similarity < 1).all()
    assert state(model) == before


def test_an_output_that_is_nan_is_no_answer() -> None:
    found = trust.adversarial(net(), probe(), pixels.saliency, forward=lambda model, x: model(x) * torch.nan)

    assert found.predicted.tolist() == [[-1] * 3] * 2


def test_several_labels_are_asked_one_by_one() -> None:
    marks = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 1]])
    images = Probe(probe().images, marks, classes=["a", "b", "c"])
    found = trust.adversarial(net(), images)
    curve = trust.deletion(net(), images, heat(), n_steps=2)

    assert torch.allclose(curve.scores[:, 0], found.chances[0])
    assert found.similarity.shape == (3,)


@pytest.mark.parametrize("preprocess", [None, NORMALIZE], ids=["pixels", "normalised"])
def test_average_drop_is_the_papers(preprocess: Any) -> None:
    images = probe(preprocess=preprocess)
    maps = heat()
    maps[2] = 0.4

    found = trust.average_drop(net(), images, maps)

    model = in_float64(net(), preprocess)
    for i in range(2):
        stretched = F.interpolate(maps[i][None, None].double(), images.images.shape[-2:], mode="bilinear")[0, 0]
        kept = (stretched - stretched.min()) / (stretched.max() - stretched.min())
        pair = torch.stack([images.images[i].double(), images.images[i].double() * kept])
        before, after = model(pair).softmax(1)[:, images.targets[i]].tolist()
        assert float(found.drop[i]) == pytest.approx(max(0, before - after) / before, abs=1e-5)
        assert bool(found.increased[i]) == (after > before)
    assert found.drop[2].isnan()  # a constant map shows no places
    assert found.increased[2].isnan()


@pytest.mark.parametrize("method", [cams.layer_cam, cams.hires_cam])
def test_methods_of_cams_can_be_tested(method: cams.CamMethod) -> None:
    explain = partial(trust.attention, method=method, layer="3")
    assert trust.randomisation(net(), probe(), explain).similarity.shape == (3, 3)
    assert trust.adversarial(net(), probe(), explain).similarity.shape == (3,)


@pytest.mark.parametrize("maps", [torch.rand(2, 7, 6), torch.rand(3, 1, 7, 6)])
def test_other_shapes_are_refused(maps: Tensor) -> None:
    with pytest.raises(ValueError, match="a map for each of the 3 images"):
        trust.deletion(net(), probe(), maps)
    with pytest.raises(ValueError, match="a map for each of the 3 images"):
        trust.average_drop(net(), probe(), maps)
    with pytest.raises(ValueError, match="a map for each of the 3 images"):
        trust.occlusion_agreement(net(), probe(), maps)
