"""Score-CAM and Ablation-CAM equal slow ones written from the papers, need no gradients, and leave the model alone."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from house import models
from house import reference_forward_cams as reference
from house.models import Net, fixed, images
from house.twins import alone, differences, ours, trained
from house.ways import CONFIGURATIONS
from lightning_cam import Probe, cams, examine
from lightning_cam.attribution.fusion import fused
from lightning_cam.attribution.self_check import self_checked

LABELS = torch.tensor([1, 0, 3])
METHODS = [cams.score_cam, cams.ablation_cam]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


made = partial(fixed, seed=6)  # every class has evidence in every image


def probe(targets: Tensor = LABELS) -> Probe:
    return Probe(images().clamp(0, 1), targets, classes=[str(i) for i in range(models.N_CLASSES)])


def maps_of(model: nn.Module, method: cams.Method, layer: Any = "stage", **options: Any) -> Tensor:
    return examine(model, probe(), layer=layer, method=method, trials=(), **options).grid_maps


def expected_maps(name: str, model: Net, targets: Tensor = LABELS) -> Tensor:
    model = model.eval()
    maps = []
    with torch.no_grad():
        for x, c in zip(probe().images, targets.tolist(), strict=True):
            a = model.features(x[None])[0]
            if name == "score_cam":
                maps.append(reference.score_cam(x, a, lambda x, c=c: float(model(x[None].float())[0, c])))
            else:
                maps.append(reference.ablation_cam(a, lambda a, c=c: float(model.classify(a[None])[0, c])))
    return torch.stack(maps).float()


@every_method
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_maps_are_the_papers(method: cams.ForwardMethod, batch_size: int) -> None:
    expected = expected_maps(method.__name__, made(Net))

    maps = maps_of(made(Net), method, batch_size=batch_size)

    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6)
    assert expected.amax((1, 2)).min() > 0


@every_method
def test_help_names_the_paper(method: cams.ForwardMethod) -> None:
    assert (method.__doc__ or "").startswith("Activations weighted by")


@every_method
def test_the_predicted_class_stays_the_one_of_the_unchanged_image(method: cams.ForwardMethod) -> None:
    report = examine(made(Net), probe(), layer="stage", method=method, trials=())
    expected = expected_maps(method.__name__, made(Net), report.logits.argmax(1))

    torch.testing.assert_close(report.predicted_grid_maps, expected, rtol=1e-4, atol=1e-6)


def test_ablation_cam_behind_global_average_pooling_has_a_closed_form() -> None:
    """A channel's drop is the classifier's weight times the channel's mean."""
    model = made(Net).eval()
    with torch.no_grad():
        activations = model.features(probe().images)
        weights = model.head.weight[LABELS] * activations.mean((2, 3))
        expected = torch.einsum("nk,nkhw->nhw", weights, activations).relu()

    torch.testing.assert_close(maps_of(made(Net), cams.ablation_cam), expected, rtol=1e-4, atol=1e-6)


class NoGradients(Net):
    """As a model behind numpy: no autograd, in evaluation or in training."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            scores = super().forward(x)
        return torch.from_numpy(scores.cpu().numpy().copy())


class Frozen(Net):
    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(requires_grad=False)


@every_method
@pytest.mark.parametrize("build", [NoGradients, Frozen, models.NoGradForward, models.NoGradBackbone])
def test_models_without_gradients_have_the_same_maps(
    method: cams.ForwardMethod, build: Callable[[], nn.Module]
) -> None:
    torch.testing.assert_close(maps_of(made(build), method), maps_of(made(Net), method))


@every_method
def test_inference_mode_changes_nothing(method: cams.ForwardMethod) -> None:
    model = made(Net)
    with torch.inference_mode():
        maps = maps_of(model, method)

    torch.testing.assert_close(maps, maps_of(made(Net), method))


@every_method
def test_what_follows_in_place_does_not_overwrite_the_activations(method: cams.ForwardMethod) -> None:
    torch.testing.assert_close(
        maps_of(made(models.Residual), method, "stage.1"), maps_of(made(models.ResidualOutOfPlace), method, "stage.1")
    )


class Tokens(Net):
    """A class token before the patches, from which the scores are read in part."""

    def features(self, x: Tensor) -> Tensor:
        patches = self.stage[0](self.stem(x)).flatten(2).mT
        tokens = self.tokens(torch.cat([patches.mean(1, keepdim=True), patches], 1))
        return (tokens[:, 1:].mean(1) * tokens[:, 0].sigmoid())[:, :, None, None]

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.LayerNorm(8)


def test_of_tokens_the_patches_alone_are_ablated() -> None:
    model = made(Tokens).eval()
    with torch.no_grad():
        patches = model.stage[0](model.stem(probe().images)).flatten(2).mT
        tokens = model.tokens(torch.cat([patches.mean(1, keepdim=True), patches], 1))
        expected = torch.zeros(3, 6, 8)

        def score(changed: Tensor) -> Tensor:
            features = changed[:, 1:].mean(1) * changed[:, 0].sigmoid()
            return model.head(features)[torch.arange(3), LABELS]

        for k in range(8):
            without = tokens.clone()
            without[:, 1:, k] = 0
            drop = score(tokens) - score(without)
            expected += drop[:, None, None] * tokens[:, 1:, k].reshape(3, 6, 8)

    maps = maps_of(made(Tokens), cams.ablation_cam, "tokens")

    torch.testing.assert_close(maps, expected.relu(), rtol=1e-4, atol=1e-6)


class Twice(Net):
    """A layer that runs twice, and the scores depend on both calls."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.ReLU()

    def calls(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = self.again(self.stage[0](self.stem(x)))
        return first, self.again(first - 0.1)

    def forward(self, x: Tensor) -> Tensor:
        first, last = self.calls(x)
        return self.classify(last) + self.classify(first) ** 2


def test_the_last_of_several_calls_alone_is_ablated() -> None:
    model = made(Twice).eval()
    with torch.no_grad():
        _, last = model.calls(probe().images)
        expected = torch.einsum("nk,nkhw->nhw", model.head.weight[LABELS] * last.mean((2, 3)), last).relu()

    torch.testing.assert_close(maps_of(made(Twice), cams.ablation_cam, "again"), expected, rtol=1e-4, atol=1e-5)
    assert expected.max() > 0


@every_method
def test_several_layers_are_fused(method: cams.ForwardMethod) -> None:
    single = [maps_of(made(Net), method, layer) for layer in ("stem.0", "stage")]

    torch.testing.assert_close(maps_of(made(Net), method, ["stem.0", "stage"]), fused(single))


@every_method
def test_an_image_that_is_not_finite_spoils_no_other(method: cams.ForwardMethod) -> None:
    whole = probe()
    pixels = whole.images.clone()
    pixels[0] = 0.5
    spoiled = replace(whole, preprocess=lambda x: torch.cat([x[:1] * torch.nan, x[1:]]))

    maps = examine(made(Net), spoiled, layer="stage", method=method, trials=()).grid_maps

    assert maps[0].isnan().all()
    torch.testing.assert_close(maps[1:], maps_of(made(Net), method)[1:])


@every_method
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_the_model_is_as_before(method: cams.ForwardMethod, training: bool) -> None:
    model = made(Net).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    with self_checked(model):
        maps_of(model, method)

    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [len(module._forward_hooks) for module in model.modules()] == [0] * len(list(model.modules()))
    assert {module.training for module in model.modules()} == {training}


def test_no_hook_is_left_where_a_forward_raises() -> None:
    model, n_calls = made(Net), []

    def fails_later(model: nn.Module, inputs: Tensor) -> Tensor:
        n_calls.append(len(inputs))
        if len(n_calls) == 5:
            raise KeyError("later")
        return model(inputs)

    with pytest.raises(KeyError, match="later"):
        maps_of(model, cams.ablation_cam, forward=fails_later, batch_size=3)

    assert not any(module._forward_hooks for module in model.modules())


@every_method
def test_a_fit_ends_bit_for_bit_the_same(method: cams.ForwardMethod, tmp_path: Path) -> None:
    twin, callback = CONFIGURATIONS["plain"], ours(every_n_train_steps=1, method=method)

    assert differences(alone(twin), trained(tmp_path, [callback], twin)) == set()
    assert callback.history


def test_a_layer_that_does_not_run_is_named() -> None:
    with pytest.raises(RuntimeError, match="layer 'stage' does not run"):
        maps_of(made(models.Residual), cams.score_cam, "stage")


@every_method
def test_nothing_argues_against_without_gradients(method: cams.Method) -> None:
    with pytest.raises(ValueError, match=f"{method.__name__} uses no gradients"):
        cams.against(method)  # type: ignore[arg-type] - what a user may try


def test_methods_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(cams.score_cam)) == cams.score_cam
