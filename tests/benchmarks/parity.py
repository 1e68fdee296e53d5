"""Largest difference to captum, pytorch-grad-cam and torch-cam, by method, peer and architecture.

Run ``python tests/benchmarks/parity.py [ARCHITECTURE ...]``. Weights are random, images are 96 x 160. A difference is
in units of the largest value of the peer's map. Pytorch-grad-cam scales its maps to 0..1, so ours are shown in its way.
`resnet18, in place` is a layer that an in-place ReLU follows: there some peers read what the ReLU has left.

Of 10 layers, grad_cam, hires_cam and layer_cam differ by 3e-6 at most, but for grad_cam behind an in-place ReLU, where
captum has our numbers and the other two have not (1.0, 0.8). xgrad_cam differs where a channel sums to almost nothing:
the peers add 1e-7 and 1e-8 to the sum. With that added, it differs by 8e-7 at most on mobilenet_v2 and efficientnet_b0.

``--pixels`` prints the explanations of pixels beside captum's, ``--passes`` the methods of forward passes, of one image
of 64 x 96: as they are, and in the peer's way, see `its_score_cam` and `its_ablation_cam`. The tables of all three are
in README.md beside this file.
"""

import sys
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from lightning_cam import Probe, pixels
from lightning_cam.attribution import asking, cams, engine, targets

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the peers' imports warn of
    import captum.attr
    import pytorch_grad_cam
    import torchcam.methods
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

SIZE = (64, 96) if "--passes" in sys.argv else (96, 160)
LABELS = torch.tensor([2] if "--passes" in sys.argv else [2, 0, 6])
ITS_BATCH = 32  # of pytorch-grad-cam's Ablation-CAM
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
    (cams.grad_cam_plus_plus, "pytorch-grad-cam", "GradCAMPlusPlus"),
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
    with torch.no_grad():
        parameter += 200  # above 0, where pytorch-grad-cam's Ablation-CAM has the paper's sign
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


def as_pytorch_grad_cam(maps: Tensor) -> Tensor:
    return to_unit(F.interpolate(to_unit(maps)[:, None], SIZE, mode="bilinear", align_corners=False)[:, 0])


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    largest = float(torch.stack([ours, theirs]).abs().max())
    return float((ours - theirs).abs().max() / theirs.abs().max()) if largest else 0.0  # both maps are empty


def row(name: str, layer: str) -> list[str]:
    captured = engine.capture(model_of(name), pictures(), [targets.true_class(LABELS)], layer=layer)
    cells = []
    for method, peer, theirs in PEERS:
        try:
            expected: Any = BY[peer](theirs, model_of(name), layer)
            ours = method(captured.activations, captured.gradients[0])
            shown = as_pytorch_grad_cam(ours) if peer == "pytorch-grad-cam" else ours
            cells.append(f"{largest_difference(shown, expected):.0e}")
        except (RuntimeError, ValueError) as error:
            cells.append(type(error).__name__)
    return cells


def of_forward_passes(method: cams.ForwardMethod, name: str, layer: str) -> Tensor:
    asked = asking.ask(model_of(name), pictures(), lambda _: [targets.true_class(LABELS)], method, layers=[layer])
    return asked.maps[0][0]


def _its_score_weights(passes: cams.Passes) -> Tensor:
    scores = []
    for some in passes.channels():
        channels = passes.activations[:, some].transpose(0, 1)
        large = F.interpolate(channels.flatten(0, 1)[:, None], passes.size, mode="bilinear", align_corners=True)[:, 0]
        masks = cams.to_unit(large).reshape(*channels.shape[:2], *passes.size)
        scores.append(passes.of_inputs(passes.inputs * masks.unsqueeze(2)))
    return torch.cat(scores).softmax(0).movedim(0, 2)


def _its_ablation_weights(passes: cams.Passes) -> Tensor:
    drops = []
    for some in passes.channels():
        versions = passes.activations.expand(len(some), *passes.activations.shape).clone()
        for version, channel in zip(versions, some.tolist(), strict=True):
            for image, activations in zip(version, passes.activations, strict=True):
                lowest = activations.min()
                image[channel] = lowest - 1e7 * (channel % ITS_BATCH + 1) if lowest else 0
        drops.append(passes.scores - passes.of_activations(versions))
    return torch.cat(drops).movedim(0, 2)


its_score_cam = cams.ForwardMethod("its_score_cam", _its_score_weights)
"""Masks are stretched from corner to corner, so that a cell at the edge covers half the pixels."""
its_ablation_cam = cams.ForwardMethod("its_ablation_cam", _its_ablation_weights)
"""Where activations may be negative a channel is set far below them, and not to 0 as in the paper."""


def probe() -> Probe:
    """The same pictures in 0..1, as a probe holds them: both sides get these."""
    unit = (pictures() - pictures().min()) / (pictures().max() - pictures().min())
    return Probe(unit, LABELS, classes=[str(label) for label in range(7)])


def by_captums(explainer: Any, **options: Any) -> Tensor:
    """``(N, C, H, W)``, signed."""
    maps: Tensor = explainer.attribute(probe().images, target=LABELS, **options)
    return maps.detach()


def strongest(maps: Tensor) -> Tensor:
    return maps.abs().amax(1)


def pass_pairs(name: str, layer: str) -> dict[str, Callable[[], tuple[Tensor, Tensor]]]:
    """Column to our maps and the peer's. Both sides get networks of their own, from the same seed."""
    theirs = cache(lambda peers: by_pytorch_grad_cam(peers, model_of(name), layer))

    def pair(method: cams.ForwardMethod, peers: str) -> tuple[Tensor, Tensor]:
        return as_pytorch_grad_cam(of_forward_passes(method, name, layer)), theirs(peers)

    return {
        "score_cam pytorch-grad-cam": lambda: pair(cams.score_cam, "ScoreCAM"),
        "the same in its way": lambda: pair(its_score_cam, "ScoreCAM"),
        "ablation_cam pytorch-grad-cam": lambda: pair(cams.ablation_cam, "AblationCAM"),
        "that in its way": lambda: pair(its_ablation_cam, "AblationCAM"),
    }


def pixel_pairs(name: str, layer: str) -> dict[str, Callable[[], tuple[Tensor, Tensor]]]:
    """As `pass_pairs`."""
    ours, theirs, peer = model_of(name), model_of(name), captum.attr
    at = theirs.get_submodule(layer)
    integral, steps = peer.IntegratedGradients(theirs), {"n_steps": 4, "method": "riemann_middle"}
    combined = peer.GuidedGradCam(theirs, at)
    return {
        "saliency captum": lambda: (
            pixels.saliency(ours, probe()),
            strongest(by_captums(peer.Saliency(theirs))),
        ),
        "integrated_gradients captum": lambda: (
            pixels.integrated_gradients(ours, probe(), n_steps=4),
            by_captums(integral, **steps).sum(1),
        ),
        "guided_backprop captum": lambda: (
            pixels.guided_backprop(ours, probe()),
            strongest(by_captums(peer.GuidedBackprop(theirs))),
        ),
        "deconvnet captum": lambda: (
            pixels.deconvnet(ours, probe()),
            strongest(by_captums(peer.Deconvolution(theirs))),
        ),
        "guided_grad_cam captum": lambda: (
            pixels.guided_grad_cam(ours, probe(), layer=layer),
            strongest(by_captums(combined, interpolate_mode="bilinear")),
        ),
    }


def row_of(pairs: Callable[[str, str], dict[str, Callable[[], tuple[Tensor, Tensor]]]]) -> Callable[..., list[str]]:
    def cells(name: str, layer: str) -> list[str]:
        found = []
        for pair in pairs(name, layer).values():
            try:
                found.append(f"{largest_difference(*pair()):.0e}")
            except (RuntimeError, ValueError) as error:
                found.append(type(error).__name__)
        return found

    return cells


def table(columns: list[str], cells: Callable[[str, str], list[str]], keys: list[str]) -> None:
    print("| architecture |", " | ".join(columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for key in keys:
        print("|", key, "|", " | ".join(cells(*ARCHITECTURES[key])), "|", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    chosen = [key for key in sys.argv[1:] if not key.startswith("--")] or list(ARCHITECTURES)
    pairs = {"--pixels": pixel_pairs, "--passes": pass_pairs}.get(
        next(iter({"--pixels", "--passes"} & {*sys.argv}), "")
    )
    if pairs is not None:
        table(list(pairs(*ARCHITECTURES[chosen[0]])), row_of(pairs), chosen)
    else:
        table([f"{method.__name__} {peer}" for method, peer, _ in PEERS], row, chosen)
