"""The networks and their training: a plain loop, on one thread, that ends in the same weights each time."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models, transforms

NORMALIZE = transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
EPOCHS = 8
BATCH = 30


def network(kind: str, n_classes: int) -> nn.Module:
    """With random weights: "small" (0.16 M parameters, last convolution 8 x 8) or torchvision's "resnet18"."""
    if kind == "resnet18":
        return models.resnet18(num_classes=n_classes)
    features = nn.Sequential(
        _block(3, 16, 2), _block(16, 32, 2), _block(32, 64), nn.MaxPool2d(2), _block(64, 96), _block(96, 96)
    )
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, n_classes))
    return nn.Sequential(features, head)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def model_input(images: Tensor) -> Tensor:
    """From uint8 pixels to what the model takes."""
    return NORMALIZE(images.float() / 255)


def epochs(model: nn.Module, images: Tensor, targets: Tensor, seed: int) -> Iterator[int]:
    """Trains on uint8 ``images`` and yields the number of each epoch at its end; the model is then in training mode."""
    order = torch.Generator().manual_seed(seed)
    inputs = model_input(images).contiguous(memory_format=torch.channels_last)
    steps = EPOCHS * -(-len(images) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for epoch in range(1, EPOCHS + 1):
        model.train()
        for batch in torch.randperm(len(images), generator=order).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), targets[batch]).backward()
            optimizer.step()
            schedule.step()
        yield epoch


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, targets: Tensor) -> float:
    """Share of right answers on uint8 ``images``; leaves the model in evaluation mode."""
    model.eval()
    answers = [model(model_input(batch)).argmax(1) for batch in images.split(100)]
    return float((torch.cat(answers) == targets).float().mean())
