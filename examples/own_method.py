"""Your own CAM method is a function: activations and gradients in, maps out."""

import torch

from lightning_cam import Probe, cams, examine


def positive_grad_cam(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Grad-CAM without the channels that speak against the class: ``(N, K, h, w)`` twice to ``(N, h, w)``."""
    weights = gradients.mean((2, 3), keepdim=True).clamp(min=0)
    return (weights * activations).sum(1).clamp(min=0)


if __name__ == "__main__":
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 2),
    )
    probe = Probe(torch.rand(8, 3, 32, 32), torch.arange(8) % 2)
    for method in (cams.grad_cam, positive_grad_cam):  # the same for CAMCallback(method=...)
        report = examine(model, probe, method=method, trials=())
        print(report.method, tuple(report.maps.shape), f"{report.maps.mean():.4f}")
