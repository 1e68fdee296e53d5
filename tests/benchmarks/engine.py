"""What a look costs: `capture` and Grad-CAM against a plain forward pass and against three other libraries.

    python tests/benchmarks/engine.py --models resnet18 resnet50 --batch 8 --size 224 --rounds 15

Paired: every round runs every contestant once, in random order; the table shows medians of the ratio to that round's
plain forward pass. The others run as their documents say, and as their best: extractors are built once, and captum also
gets a frozen model, so that it records no graph in front of the layer.
"""

import argparse
import importlib
import random
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision import models

from lightning_cam.attribution import cams, engine, guard, targets

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum.attr import LayerGradCam
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchcam.methods import GradCAM as TorchCam

Contestants = dict[str, Callable[[], object]]
LAYER = "layer4"


def contestants(name: str, images: Tensor) -> Contestants:
    """Each runs one batch from images to Grad-CAM maps at the layer's size (pytorch-grad-cam: at image size)."""
    labels = torch.arange(len(images)) % 10

    def model() -> nn.Module:
        torch.manual_seed(0)
        return getattr(models, name)(num_classes=10).eval().to(images.device)

    ours, plain, captum, frozen = model(), model(), model(), model().requires_grad_(False)
    torchcam, grad_cam = model(), model()
    wanted = [targets.true_class(labels), targets.predicted_class()]
    torchcam_extractor = TorchCam(torchcam, LAYER)
    grad_cam_extractor = GradCAM(grad_cam, [grad_cam.get_submodule(LAYER)])
    grad_cam_targets = [ClassifierOutputTarget(int(label)) for label in labels]

    def forward() -> object:
        with torch.no_grad():
            return plain(images)

    def look(n_targets: int) -> object:
        seen = engine.capture(ours, images, wanted[:n_targets], layer=LAYER)
        return [cams.grad_cam(seen.activations, gradients) for gradients in seen.gradients]

    def captum_look(network: nn.Module) -> object:
        method = LayerGradCam(network, network.get_submodule(LAYER))
        return method.attribute(images, target=labels.to(images.device), relu_attributions=True)

    def guards() -> object:
        with guard.untouched(ours):
            return None

    return {
        "plain forward": forward,
        "lightning-cam": lambda: look(1),
        "lightning-cam, two targets": lambda: look(2),
        "lightning-cam, guards alone": guards,
        "captum": lambda: captum_look(captum),
        "captum, frozen model": lambda: captum_look(frozen),
        "torch-cam": lambda: torchcam_extractor(labels.tolist(), torchcam(images), normalized=False),
        "pytorch-grad-cam": lambda: grad_cam_extractor(images, grad_cam_targets),
    }


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Processor time on the CPU, which other programs disturb less, and wall time on an accelerator."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started = clock()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started


def kept_mebibytes(run: Callable[[], object]) -> float:
    """What autograd keeps for the backward pass, parameters apart."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not (tensor.is_leaf and tensor.requires_grad) and not isinstance(tensor, nn.Parameter):
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(kept.values()) / 2**20


def measured(runs: Contestants, rounds: int, device: torch.device) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 2):
        for name in random.sample(list(runs), len(runs)):
            elapsed = seconds(runs[name], device)
            if turn >= 2:  # two rounds to warm up
                times[name].append(elapsed)
    return times


def table(name: str, images: Tensor, rounds: int) -> str:
    runs = contestants(name, images)
    times = measured(runs, rounds, images.device)
    plain = times["plain forward"]
    lines = [
        f"{name}, batch {tuple(images.shape)}, {images.device}, {torch.get_num_threads()} threads, {rounds} rounds"
    ]
    lines.append(f"{'':30} {'ms':>9} {'x forward':>10} {'quartiles':>15} {'MiB kept':>10}")
    for contestant, run in runs.items():
        ratios = [own / other for own, other in zip(times[contestant], plain, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
        milliseconds = statistics.median(times[contestant]) * 1e3
        kept = kept_mebibytes(run)
        lines.append(f"{contestant:30} {milliseconds:9.1f} {middle:10.2f} {low:7.2f} {high:7.2f} {kept:10.1f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    importlib.import_module("torch._dynamo")  # as Lightning does; what has been imported is guarded, at a cost
    random.seed(0)
    for name in options.models:
        images = torch.rand(options.batch, 3, options.size, options.size, device=options.device)
        print(table(name, images, options.rounds), end="\n\n")


if __name__ == "__main__":
    main()
