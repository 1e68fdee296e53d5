"""Maps equal those of captum, pytorch-grad-cam and torch-cam on real architectures, and captum's published numbers.

Torch-cam is no reference for Grad-CAM++: its denominator is never applied (torchcam/methods/gradient.py, `GradCAMpp`).
Layers are such that no in-place operation follows: there the libraries disagree with each other.
"""

import math
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as torchvision_models

from house.models import fixed
from lightning_cam.attribution import asking, cams, engine, targets
from lightning_cam.attribution.layer_search import find_layer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the peers' imports warn of is not ours to mend
    import captum.attr as captum_attr
    import captum.testing.helpers.basic_models as captum_models
    import pytorch_grad_cam as grad_cam
    import pytorch_grad_cam.utils.model_targets as grad_cam_targets
    import torchcam.methods as torchcam

N_CLASSES = 7
LABELS = torch.tensor([2, 0, 6])
LAYERS = {
    "resnet18": "layer4",
    "densenet121": "features.transition3.relu",
    "mobilenet_v3_large": "features.12",
    "convnext_tiny": "features",
    "vit_b_16": "encoder.layers.encoder_layer_11.ln_1",
}
every_model = pytest.mark.parametrize("name", LAYERS)
every_cnn = pytest.mark.parametrize("name", [name for name in LAYERS if name != "vit_b_16"])


def build(name: str) -> nn.Module:
    """Random weights, and no zero head: a Vision Transformer's starts at zero, and every map would be empty."""
    size = {"image_size": 64} if name == "vit_b_16" else {}
    model = getattr(torchvision_models, name)(weights=None, num_classes=N_CLASSES, **size).eval()
    for parameter in list(model.parameters())[-2:]:
        nn.init.normal_(parameter)
    return model


@cache
def model_of(name: str) -> nn.Module:
    return fixed(lambda: build(name))


@cache
def seen_by(name: str) -> engine.Capture:
    return engine.capture(model_of(name), pictures(name), [targets.true_class(LABELS)], layer=LAYERS[name])


def pictures(name: str) -> Tensor:
    """A few bright patches: on plain noise every place looks alike, and scaling to 0..1 would show rounding errors."""
    size = (64, 64) if name == "vit_b_16" else (96, 160)  # at 64 pixels the CNNs' last maps would be 2 x 2
    patches = torch.randn((len(LABELS), 3, 3, 5), generator=torch.Generator().manual_seed(1))
    return 3 * F.interpolate(patches, size, mode="nearest")


def token_grid(tokens: Tensor) -> Tensor:
    side = math.isqrt(tokens.shape[1] - 1)
    return tokens[:, 1:].mT.unflatten(2, (side, side))


def pytorch_grad_cams(method: Callable[..., Any], name: str, layer: str, target: Callable[[int], Any]) -> Tensor:
    model = model_of(name)
    reshape = token_grid if name == "vit_b_16" else None
    with method(model, [model.get_submodule(layer)], reshape_transform=reshape) as extractor:
        return torch.from_numpy(extractor(pictures(name), [target(int(label)) for label in LABELS]))


def as_pytorch_grad_cam_shows(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Its pipeline: scaled to 0..1 at the layer's size, upsampled, scaled again."""
    return to_unit(F.interpolate(to_unit(maps)[:, None], size, mode="bilinear", align_corners=False)[:, 0])


def to_unit(maps: Tensor) -> Tensor:
    shifted = maps - maps.amin((1, 2), keepdim=True)
    return shifted / (1e-7 + shifted.amax((1, 2), keepdim=True))


@every_model
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (cams.grad_cam, "GradCAM"),
        (cams.hires_cam, "HiResCAM"),
        (cams.layer_cam, "LayerCAM"),
        (cams.xgrad_cam, "XGradCAM"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value.__name__,
)
def test_maps_are_pytorch_grad_cams(name: str, ours: cams.CamMethod, theirs: str) -> None:
    seen = seen_by(name)
    target = grad_cam_targets.ClassifierOutputTarget
    expected = pytorch_grad_cams(getattr(grad_cam, theirs), name, LAYERS[name], target)

    maps = ours(seen.activations, seen.gradients[0])

    size = pictures(name).shape[-2], pictures(name).shape[-1]
    torch.testing.assert_close(as_pytorch_grad_cam_shows(maps, size), expected, atol=1e-5, rtol=0)
    assert expected.max() > 0.9


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "layer4"), ("densenet121", "features.transition3.relu")])
def test_grad_cam_plus_plus_is_pytorch_grad_cams(name: str, layer: str) -> None:
    """Behind a ReLU, as in the paper, and for scores so large that the 1e-6 in its denominator does not matter."""

    def target(label: int) -> Callable[[Tensor], Tensor]:
        return lambda logits: 1e4 * logits[label]

    expected = pytorch_grad_cams(grad_cam.GradCAMPlusPlus, name, layer, target)
    scores = targets.true_class(LABELS)

    seen = engine.capture(model_of(name), pictures(name), [lambda logits: 1e4 * scores(logits)], layer=layer)
    maps = cams.grad_cam_plus_plus(seen.activations, seen.gradients[0])

    torch.testing.assert_close(as_pytorch_grad_cam_shows(maps, (96, 160)), expected, atol=1e-5, rtol=0)
    assert expected.amax((1, 2)).min() > 0.9


@every_cnn
def test_grad_cam_is_captums(name: str) -> None:
    model, seen = model_of(name), seen_by(name)
    method = captum_attr.LayerGradCam(model, model.get_submodule(LAYERS[name]))
    expected = method.attribute(pictures(name), target=LABELS, relu_attributions=True).detach()[:, 0]

    torch.testing.assert_close(cams.grad_cam(seen.activations, seen.gradients[0]), expected, atol=1e-7, rtol=1e-5)


@every_cnn
def test_hires_cam_is_captums_gradient_times_activation(name: str) -> None:
    model, seen = model_of(name), seen_by(name)
    method = captum_attr.LayerGradientXActivation(model, model.get_submodule(LAYERS[name]))
    expected = method.attribute(pictures(name), target=LABELS).detach().sum(1).relu()

    torch.testing.assert_close(cams.hires_cam(seen.activations, seen.gradients[0]), expected, atol=1e-7, rtol=1e-5)


@every_model
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(cams.grad_cam, "GradCAM"), (cams.layer_cam, "LayerCAM"), (cams.xgrad_cam, "XGradCAM")],
    ids=lambda value: "" if isinstance(value, str) else value.__name__,
)
def test_maps_are_torchcams(name: str, ours: cams.CamMethod, theirs: str) -> None:
    model, seen = model_of(name), seen_by(name)
    options = {"reshape_transform": token_grid} if name == "vit_b_16" else {}
    with getattr(torchcam, theirs)(model, LAYERS[name], **options) as extractor:
        (expected,) = extractor(LABELS.tolist(), model(pictures(name)), normalized=False)

    maps = ours(seen.activations, seen.gradients[0])

    torch.testing.assert_close(maps, expected.detach().relu(), atol=1e-6, rtol=1e-5)


def test_cam_is_torchcams() -> None:
    model, seen = model_of("resnet18"), seen_by("resnet18")
    with torchcam.CAM(model, "layer4", "fc") as extractor:
        model(pictures("resnet18"))
        (expected,) = extractor(LABELS.tolist(), normalized=False)

    maps = cams.cam(seen.activations, seen.gradients[0])

    torch.testing.assert_close(maps, expected.detach().relu(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [("conv1", [[11.25, 13.5], [20.25, 22.5]]), ("relu1", [[0.0, 4.0], [28.0, 32.5]])],
    ids=["conv1", "relu1"],
)
def test_captums_published_numbers(layer: str, expected: list[list[float]]) -> None:
    """tests/attr/layer/test_grad_cam.py of captum, worked out by hand there."""
    model = captum_models.BasicModel_ConvNet_One_Conv()
    inputs = torch.arange(16.0).view(1, 1, 4, 4)

    seen = engine.capture(model, inputs, [targets.one_class(0)], layer=layer)

    assert cams.grad_cam(seen.activations, seen.gradients[0]).tolist() == [expected]


def test_captums_published_numbers_channel_by_channel() -> None:
    model = captum_models.BasicModel_ConvNet_One_Conv()
    inputs = torch.arange(16.0).view(1, 1, 4, 4)

    seen = engine.capture(model, inputs, [targets.one_class(0)], layer="conv1")

    weighted = seen.gradients[0].mean((2, 3), keepdim=True) * seen.activations
    assert weighted.tolist() == [[[[-3.75, 3.0], [23.25, 30.0]], [[15.0, 10.5], [-3.0, -7.5]]]]


class Small(nn.Module):
    """Maps as large as the image, since pytorch-grad-cam stretches Score-CAM's masks from corner to corner."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 12, 5, padding=2), nn.ReLU())
        self.head = nn.Linear(12, N_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return 10 * self.head(self.body(images).mean((2, 3))) + 20  # Ablation-CAM turns round below 0 there


@pytest.mark.parametrize(("ours", "theirs"), [(cams.score_cam, "ScoreCAM"), (cams.ablation_cam, "AblationCAM")])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_maps_of_forward_passes_are_pytorch_grad_cams(ours: cams.ForwardMethod, theirs: str) -> None:
    model = fixed(Small).eval()
    inputs = pictures("resnet18")[..., :32, :48]
    extractor = getattr(grad_cam, theirs)(model, [model.body])
    targets_ = [grad_cam_targets.ClassifierOutputTarget(int(label)) for label in LABELS]
    expected = torch.from_numpy(extractor(inputs, targets_))

    asked = asking.ask(fixed(Small).eval(), inputs, lambda _: [targets.true_class(LABELS)], ours, layers=["body"])

    torch.testing.assert_close(as_pytorch_grad_cam_shows(asked.maps[0][0], (32, 48)), expected, atol=1e-5, rtol=0)
    assert (expected.amax((1, 2)) > 0.9).sum() >= 2


# ---- videos ----------------------------------------------------------------------------------------------------------

VIDEO_LAYERS = {
    "r3d_18": "layer4.0.conv2.0",
    "mc3_18": "layer3",
    "r2plus1d_18": "layer3",
    "swin3d_t": "norm",
}


@cache
def video_model_of(name: str) -> nn.Module:
    build_video = getattr(torchvision_models.video, name)
    return fixed(lambda: build_video(weights=None, num_classes=N_CLASSES).eval())


def clips() -> Tensor:
    patches = torch.randn((len(LABELS), 3, 2, 3, 4), generator=torch.Generator().manual_seed(1))
    return 3 * F.interpolate(patches, (8, 48, 64), mode="nearest")


@pytest.mark.slow
@pytest.mark.parametrize("name", VIDEO_LAYERS)
def test_maps_of_videos_are_the_peers(name: str) -> None:
    model, layer = video_model_of(name), VIDEO_LAYERS[name]
    module = model.get_submodule(layer)
    seen = engine.capture(model, clips(), [targets.true_class(LABELS)], layer=layer)
    maps = cams.grad_cam(seen.activations, seen.gradients[0])
    is_last = name == "swin3d_t"  # channels: captum takes them for rows
    if not is_last:
        expected = captum_attr.LayerGradCam(model, module).attribute(clips(), target=LABELS, relu_attributions=True)
        torch.testing.assert_close(maps, expected.detach()[:, 0], atol=1e-7, rtol=1e-5)
    reshape = (lambda output: output.movedim(-1, 1)) if is_last else None
    with grad_cam.GradCAM(model, [module], reshape_transform=reshape) as extractor:
        wanted = [grad_cam_targets.ClassifierOutputTarget(int(label)) for label in LABELS]
        weights = extractor(clips(), wanted).shape  # its own scaling shows slices wrongly: maps are compared before it
        activations, gradients = (
            extractor.activations_and_grads.activations[0],
            extractor.activations_and_grads.gradients[0],
        )
        raw = extractor.get_cam_image(clips(), module, wanted, activations.numpy(), gradients.numpy())
    assert weights[0] == len(LABELS)
    torch.testing.assert_close(maps, torch.from_numpy(raw).relu(), atol=1e-7, rtol=1e-4)
    assert maps.amax() > 0
    assert maps.ndim == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", VIDEO_LAYERS)
def test_layer_of_a_video_network_is_the_stage_before_pooling(name: str) -> None:
    expected = {"swin3d_t": "norm"}.get(name, "layer4")

    assert find_layer(video_model_of(name), clips()[:2]) == expected
