"""Largest difference to captum, pytorch-grad-cam and torch-cam, by method, peer and architecture.

Run ``python tests/benchmarks/parity.py [ARCHITECTURE ...]``. Weights are random, images are 96 x 160. A difference is
in units of the largest value of the peer's map. Pytorch-grad-cam scales its maps to 0..1, so ours are shown in its way.
`resnet18, in place` is a layer that an in-place ReLU follows: there some peers read what the ReLU has left.

Of 10 layers, grad_cam, hires_cam and layer_cam differ by 3e-6 at most, but for grad_cam behind an in-place ReLU, where
captum has our numbers and the other two have not (1.0, 0.8). xgrad_cam differs where a channel sums to almost nothing:
the peers add 1e-7 and 1e-8 to the sum. With that added, it differs by 8e-7 at most on mobilenet_v2 and efficientnet_b0.
"""

import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from lightning_cam.attribution import cams, engine, targets

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the peers' imports warn of
    import captum.attr
    import pytorch_grad_cam
    import torchcam.methods
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

SIZE = (96, 160)
LABELS = torch.tensor([2, 0, 6])
ARCHITECTURES = {
    "resnet18": ("resnet18", "layer4"),
    "resnet18, in place": ("resnet18", "layer4.1.bn1"),
    "vgg11_bn": ("vgg11_bn", "features"),
    "densenet121": ("densenet121", "features.transition3.relu"),
    "mobilenet_v2": ("mobilenet_v2", "features"),
    "mobilenet_v3_large": ("mobilenet_v3_large", "features.12"),
    "efficientnet_b0": ("efficientnet_b0", "features"),
    "convnext_tiny": ("convnext_tiny", "features"),
    "regnet_y_400mf": ("regnet_y_400mf", "trunk_output"),
    "shufflenet_v2_x1_0": ("shufflenet_v2_x1_0", "conv5"),
}
PEERS = [
    (cams.grad_cam, "pytorch-grad-cam", "GradCAM"),
    (cams.hires_cam, "pytorch-grad-cam", "HiResCAM"),
    (cams.layer_cam, "pytorch-grad-cam", "LayerCAM"),
    (cams.xgrad_cam, "pytorch-grad-cam", "XGradCAM"),
    (cams.grad_cam, "torch-cam", "GradCAM"),
    (cams.layer_cam, "torch-cam", "LayerCAM"),
    (cams.xgrad_cam, "torch-cam", "XGradCAM"),
    (cams.grad_cam, "captum", "LayerGradCam"),
    (cams.hires_cam, "captum", "LayerGradientXActivation"),
]


def model_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = getattr(models, name)(weights=None, num_classes=7).eval()
    for parameter in list(model.parameters())[-2:]:
        nn.init.normal_(parameter)
    return model


def pictures() -> Tensor:
    patches = torch.randn((len(LABELS), 3, 3, 5), generator=torch.Generator().manual_seed(1))
    return 3 * F.interpolate(patches, SIZE, mode="nearest")


def to_unit(maps: Tensor) -> Tensor:
    shifted = maps - maps.amin((1, 2), keepdim=True)
    return shifted / (1e-7 + shifted.amax((1, 2), keepdim=True))


def by_pytorch_grad_cam(method: str, model: nn.Module, layer: str) -> Tensor:
    with getattr(pytorch_grad_cam, method)(model, [model.get_submodule(layer)]) as extractor:
        return torch.from_numpy(extractor(pictures(), [ClassifierOutputTarget(int(label)) for label in LABELS]))


def by_torch_cam(method: str, model: nn.Module, layer: str) -> Tensor:
    with getattr(torchcam.methods, method)(model, layer) as extractor:
        (maps,) = extractor(LABELS.tolist(), model(pictures()), normalized=False)
    return maps.detach().relu()


def by_captum(method: str, model: nn.Module, layer: str) -> Tensor:
    maps = getattr(captum.attr, method)(model, model.get_submodule(layer)).attribute(pictures(), target=LABELS)
    return maps.detach().sum(1).relu()


BY: dict[str, Callable[[str, nn.Module, str], Tensor]] = {
    "pytorch-grad-cam": by_pytorch_grad_cam,
    "torch-cam": by_torch_cam,
    "captum": by_captum,
}


def difference(ours: Tensor, peer: str, theirs: Tensor) -> float:
    if peer == "pytorch-grad-cam":
        ours = to_unit(F.interpolate(to_unit(ours)[:, None], SIZE, mode="bilinear", align_corners=False)[:, 0])
    return float((ours - theirs).abs().max() / theirs.max())


def row(name: str, layer: str) -> list[str]:
    captured = engine.capture(model_of(name), pictures(), [targets.true_class(LABELS)], layer=layer)
    cells = []
    for method, peer, theirs in PEERS:
        try:
            expected: Any = BY[peer](theirs, model_of(name), layer)
            cells.append(f"{difference(method(captured.activations, captured.gradients[0]), peer, expected):.0e}")
        except (RuntimeError, ValueError) as error:
            cells.append(type(error).__name__)
    return cells


if __name__ == "__main__":
    print("| architecture |", " | ".join(f"{method.__name__} {peer}" for method, peer, _ in PEERS), "|")
    print("|---" * (len(PEERS) + 1) + "|")
    for key in sys.argv[1:] or ARCHITECTURES:
        print("|", key, "|", " | ".join(row(*ARCHITECTURES[key])), "|", flush=True)
