"""Explanations of pixels equal captum's on real architectures, where captum is right.

Its guided backpropagation and deconvnet see `nn.ReLU` modules alone. Elsewhere the reference is the same network with
every ReLU exchanged for an operation whose backward pass is written from the paper.
"""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as torchvision_models

from house.models import fixed, images
from lightning_cam import LightningCAMWarning, Probe, pixels

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the import warns of is not ours to mend
    import captum.attr as captum_attr

N_CLASSES = 7
PROBE = Probe(images(2, 64, 96), torch.tensor([2, 6]), classes=[str(k) for k in range(N_CLASSES)])
WITH_MODULES = [
    "resnet18",
    "vgg11_bn",
    "alexnet",
    "squeezenet1_1",
    "shufflenet_v2_x0_5",
    "mnasnet0_5",
    "regnet_y_400mf",
]
BEYOND_CAPTUM = ["mobilenet_v2", "googlenet", "densenet121"]
RULES = {"guided": pixels.guided_backprop, "deconvnet": pixels.deconvnet}
every_rule = pytest.mark.parametrize("rule", RULES)


def slow_but(quick: str, names: list[str]) -> Any:
    """All networks, of which one alone belongs to the fast tests."""
    marks = {name: () if name == quick else pytest.mark.slow for name in names}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=mark) for name, mark in marks.items()])


every_model = slow_but("resnet18", WITH_MODULES)


def build(name: str) -> nn.Module:
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    return getattr(torchvision_models, name)(weights=None, num_classes=N_CLASSES, **options)


@cache
def model_of(name: str) -> nn.Module:
    return fixed(lambda: build(name)).eval()


def by_captum(explainer: Any, **options: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it sets hooks, and removes them
        return explainer.attribute(PROBE.images, target=PROBE.targets, **options).detach()


def same(maps: Tensor, expected: Tensor) -> None:
    largest = float(expected.abs().max())
    assert largest > 0
    torch.testing.assert_close(maps / largest, expected / largest, atol=1e-5, rtol=0)


@every_model
def test_saliency_is_captums(name: str) -> None:
    expected = by_captum(captum_attr.Saliency(model_of(name)), abs=True).amax(1)

    same(pixels.saliency(model_of(name), PROBE), expected)


@every_rule
@every_model
def test_a_rule_is_captums(rule: str, name: str) -> None:
    kind = {"guided": captum_attr.GuidedBackprop, "deconvnet": captum_attr.Deconvolution}[rule]
    expected = by_captum(kind(model_of(name))).abs().amax(1)

    same(RULES[rule](model_of(name), PROBE), expected)


@every_model
def test_integrated_gradients_are_captums(name: str) -> None:
    expected = by_captum(captum_attr.IntegratedGradients(model_of(name)), n_steps=4, method="riemann_middle").sum(1)

    same(pixels.integrated_gradients(model_of(name), PROBE, n_steps=4), expected)


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "layer4"), ("regnet_y_400mf", "trunk_output")])
def test_guided_grad_cam_is_captums(name: str, layer: str) -> None:
    method = captum_attr.GuidedGradCam(model_of(name), model_of(name).get_submodule(layer))
    expected = by_captum(method, interpolate_mode="bilinear").abs().amax(1)

    same(pixels.guided_grad_cam(model_of(name), PROBE, layer=layer), expected)


@pytest.mark.slow
def test_occlusion_is_captums() -> None:
    """Where the block's steps end at the edge of the image; elsewhere captum's last block hangs over it."""
    explainer = captum_attr.Occlusion(lambda inputs: model_of("resnet18")(inputs).softmax(1))
    window: Any = {"sliding_window_shapes": (3, 32, 32), "strides": (3, 16, 16)}
    with torch.no_grad():
        expected = by_captum(explainer, baselines=0.5, perturbations_per_eval=8, **window)[:, 0]

    same(pixels.occlusion(model_of("resnet18"), PROBE, block=32, stride=16), expected)


class Ruled(torch.autograd.Function):
    """A ReLU with a ceiling, and the gradient of Springenberg et al. 2015, figure 1c."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: str, ceiling: float) -> Tensor:
        ctx.save_for_backward((x > 0) & (x < ceiling))
        ctx.rule = rule
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> Any:
        (is_open,) = ctx.saved_tensors
        passes = r > 0 if ctx.rule == "deconvnet" else is_open & (r > 0)
        return r * passes, None, None


def ruled(rule: str, ceiling: float) -> Callable[..., Tensor]:
    return lambda x, *_, **__: Ruled.apply(x.clone(), rule, ceiling)


@every_rule
@slow_but("mobilenet_v2", BEYOND_CAPTUM)
def test_a_rule_is_right_where_captum_gives_another_gradient(
    rule: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = RULES[rule](model_of(name), PROBE)
    kind = {"guided": captum_attr.GuidedBackprop, "deconvnet": captum_attr.Deconvolution}[rule]
    captums = by_captum(kind(model_of(name))).abs().amax(1)
    monkeypatch.setattr(F, "relu", ruled(rule, float("inf")))
    monkeypatch.setattr(F, "relu6", ruled(rule, 6.0))
    monkeypatch.setattr(F, "hardtanh", ruled(rule, 6.0))

    leaf = PROBE.images.clone().requires_grad_()
    model_of(name)(leaf).gather(1, PROBE.targets[:, None]).sum().backward()

    assert leaf.grad is not None
    expected = leaf.grad.abs().amax(1)
    same(maps, expected)
    assert float((captums - expected).abs().max()) > 0.05 * float(expected.max())


@every_rule
@pytest.mark.slow
@pytest.mark.parametrize(("name", "said"), [("efficientnet_b0", "SiLU"), ("convnext_tiny", "GELU"), ("swin_t", "GELU")])
def test_an_architecture_without_relus_is_an_error(rule: str, name: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"has no ReLU .*{said}"):
        RULES[rule](model_of(name), PROBE)


def test_an_architecture_of_several_activations_is_told() -> None:
    with pytest.warns(LightningCAMWarning, match="other activations .Hardswish."):
        pixels.guided_backprop(model_of("mobilenet_v3_small"), PROBE)
