"""What seven methods and two classes cost beside one Grad-CAM: `python tests/benchmarks/several_methods.py`."""

import statistics
import time

import torch
import torchvision

from lightning_cam import Probe, cams, examine

METHODS = [
    cams.grad_cam_plus_plus, cams.hires_cam, cams.layer_cam, cams.xgrad_cam, cams.eigen_cam,
    cams.against(cams.grad_cam),
]  # fmt: skip
N, SIZE, REPEATS = 16, 224, 5


def seconds(methods):
    started = time.perf_counter()
    examine(model, probe, layer="layer4", methods=methods, trials=(), batch_size=N)
    return time.perf_counter() - started


if __name__ == "__main__":
    torch.set_num_threads(1)
    model = torchvision.models.resnet18(num_classes=4)
    probe = Probe(torch.rand(N, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)), torch.arange(N) % 4)
    pairs = [(seconds(()), seconds(METHODS)) for _ in range(REPEATS + 1)][1:]
    one, seven = (min(column) for column in zip(*pairs, strict=True))
    print(f"Grad-CAM alone {one:.2f} s, with six more methods {seven:.2f} s, {seven / one:.2f} times as long")
    ratios = [b / a for a, b in pairs]
    print(f"by pairs: {', '.join(f'{ratio:.2f}' for ratio in ratios)}; median {statistics.median(ratios):.2f}")
