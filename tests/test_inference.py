"""A model that runs parts of itself in inference mode is looked at as if it did not."""

import threading
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from house import models
from house.models import Net, fixed, images
from lightning_cam import Probe, examine
from lightning_cam.attribution import inference, targets
from lightning_cam.attribution.engine import Capture, capture
from lightning_cam.attribution.guard import untouched
from lightning_cam.attribution.layer_search import find_layer

LABELS = torch.tensor([1, 0, 3])
BUILDS = [models.InferenceBackbone, models.InferenceStage, models.InferenceForward]


def looked(model: nn.Module, layer: str = "stage") -> Capture:
    return capture(model, images(), [targets.true_class(LABELS)], layer=layer)


@pytest.mark.parametrize("layer", ["stem", "stage", "stage.1"])
@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_the_capture_is_that_of_the_model_without_inference_mode(build: Callable[[], nn.Module], layer: str) -> None:
    seen, expected = looked(fixed(build), layer), looked(fixed(Net), layer)

    assert expected.gradients[0].abs().max() > 0
    for name in ("logits", "activations"):
        torch.testing.assert_close(getattr(seen, name), getattr(expected, name))
    torch.testing.assert_close(seen.gradients[0], expected.gradients[0])


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_the_layer_is_that_of_the_model_without_inference_mode(build: Callable[[], nn.Module]) -> None:
    with untouched(model := fixed(build)):
        assert find_layer(model, images()) == find_layer(fixed(Net).eval(), images()) == "stage"


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_model_and_switches_are_as_before(build: Callable[[], nn.Module]) -> None:
    model = fixed(build)
    before = deepcopy(model.state_dict())

    with torch.no_grad():
        looked(model)
        with untouched(model):
            find_layer(model, images())
        assert not torch.is_grad_enabled()

    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None and not parameter.is_inference() for parameter in model.parameters())


class WithoutClone(Net):
    """Works without gradients alone, as at the end of a training."""

    def features(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            return super().features(x)


@pytest.mark.parametrize("build", [*BUILDS, WithoutClone], ids=lambda build: build.__name__)
def test_a_report_is_that_of_the_model_without_inference_mode(build: Callable[[], nn.Module]) -> None:
    probe = Probe(images(8), torch.arange(8) % 4)

    report, expected = examine(fixed(build), probe, trials=()), examine(fixed(Net), probe, trials=())

    assert (report.layer, report.head) == (expected.layer, expected.head)
    torch.testing.assert_close(report.maps, expected.maps)
    torch.testing.assert_close(report.logits, expected.logits)


@pytest.mark.parametrize("gradients", [True, False])
def test_a_failure_inside_the_block_leaves_the_switches_as_before(gradients: bool) -> None:
    model = fixed(models.InferenceBackbone)

    with torch.set_grad_enabled(gradients):
        with pytest.raises(RuntimeError, match="channels"), inference.left(model):
            model(torch.zeros(1, 5, 8, 8))
        assert torch.is_grad_enabled() == gradients
    assert not torch.is_inference_mode_enabled()


def test_other_threads_stay_in_inference_mode() -> None:
    model, made = fixed(models.InferenceForward), []

    with inference.left(model):
        thread = threading.Thread(target=lambda: made.append(model(images())))
        thread.start()
        thread.join()

    assert made[0].is_inference()


class Cached(Net):
    """Keeps a tensor that was made in inference mode: autograd may not save it."""

    def features(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            gain = torch.ones(8, 1, 1)
        return super().features(x) * gain


def test_a_tensor_that_cannot_be_traced_through_has_a_way_out() -> None:
    model = fixed(Cached)

    with pytest.raises(RuntimeError, match=r"torch\.no_grad\(\) in its place"):
        looked(model)
    with untouched(model), pytest.raises(RuntimeError, match=r"torch\.no_grad\(\) in its place"):
        find_layer(model, images())


def test_an_error_of_the_models_own_stays_its_own() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        capture(fixed(models.InferenceBackbone), torch.rand(3, 5, 8, 8), [targets.true_class(LABELS)], layer="stage")
