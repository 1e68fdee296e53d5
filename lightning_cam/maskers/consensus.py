"""What the middles of all pictures of a probe share, and their frames do not.

A small network that cannot tell places learns, on the probe itself, whether a patch comes from the outer ring or from
the middle. It uses what the data set has in common, so it fails on other pictures than `barrier` does.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

_CHANNELS, _DILATIONS = 16, (1, 1, 2)  # patches of 9 pixels; 3,000 parameters
# Of a side. At full size, with patches of 15 pixels and twice the steps, 64 images took 5 times as long; the recall of
# covers was 0.993 instead of 0.990, on average over 18 sets of pictures.
_SMALLER = 2
_STEPS, _BATCH = 60, 16
_RATE = 0.01
_RING, _MIDDLE = 0.12, 0.44  # of a side: the depth of the outer ring, and the side of the middle
_BETAS, _TINY = (0.9, 0.99), 1e-8  # of Adam

Layer = tuple[Tensor, Tensor]


def likeness(colours: Tensor) -> Tensor:
    """``(N, H, W)`` in [0, 1] from ``colours (N, C, H, W)``: how much a place is like the middles of all images."""
    size = [-(-side // _SMALLER) for side in colours.shape[2:]]
    small = F.interpolate(colours, size=size, mode="area")
    inputs = _padded((small - small.mean((0, 2, 3), keepdim=True)) / _spread(small))
    generator = torch.Generator("cpu").manual_seed(0)
    with torch.enable_grad():
        layers = _trained(inputs, generator)
    with torch.no_grad():
        places = torch.cat([_scores(part, layers).sigmoid() for part in torch.split(inputs, _BATCH)])
        return F.interpolate(places[:, None], size=colours.shape[2:], mode="bilinear")[:, 0]


def _spread(colours: Tensor) -> Tensor:
    return colours.std((0, 2, 3), keepdim=True).clamp_min(1e-3)


def _padded(colours: Tensor) -> Tensor:
    """Mirrored once at its edges: padding with zeros inside the network would tell it where a patch lies."""
    reach = sum(_DILATIONS)
    return F.pad(colours, (reach,) * 4, mode="reflect")


def _trained(inputs: Tensor, generator: torch.Generator) -> list[Layer]:
    """Adam (Kingma & Ba 2015) by hand: an optimizer of torch would call the hooks that others have registered."""
    layers = _begun(inputs.shape[1], generator)
    parameters = [parameter for layer in layers for parameter in layer]
    first, second = ([torch.zeros_like(parameter) for parameter in parameters] for _ in range(2))
    weights, signs = _places(*(side - 2 * sum(_DILATIONS) for side in inputs.shape[2:]))
    for step in range(1, _STEPS + 1):
        batch = inputs[torch.randint(len(inputs), (_BATCH,), generator=generator, device="cpu")]
        loss = (F.softplus(-signs * _scores(batch, layers)) * weights).sum() / len(batch)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient, mean, square in zip(parameters, gradients, first, second, strict=True):
                mean.lerp_(gradient, 1 - _BETAS[0])
                square.lerp_(gradient.square(), 1 - _BETAS[1])
                size = (square / (1 - _BETAS[1] ** step)).sqrt() + _TINY
                parameter -= _RATE / (1 - _BETAS[0] ** step) * mean / size
    return layers


def _begun(n_inputs: int, generator: torch.Generator) -> list[Layer]:
    """Weights as He et al. 2015 begin them, drawn from the generator alone."""
    sizes = (n_inputs, _CHANNELS, _CHANNELS, 1)
    return [
        (
            torch.randn(to, of, 3, 3, generator=generator, dtype=torch.float32, device="cpu")
            .mul_((2 / (9 * of)) ** 0.5)
            .requires_grad_(),
            torch.zeros(to, dtype=torch.float32, device="cpu", requires_grad=True),
        )
        for of, to in pairwise(sizes)
    ]


def _scores(inputs: Tensor, layers: list[Layer]) -> Tensor:
    """``(n, H, W)``, above 0 where a patch looks like a middle."""
    (*hidden, last), values = zip(layers, _DILATIONS, strict=True), inputs
    for (weight, bias), dilation in hidden:
        values = F.relu(F.conv2d(values, weight, bias, dilation=dilation))
    (weight, bias), dilation = last
    return F.conv2d(values, weight, bias, dilation=dilation)[:, 0]


def _places(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Weights of places, half of all for the ring and half for the middle; and 1 in the middle, -1 elsewhere."""
    rows, columns = (torch.linspace(-1, 1, side, dtype=torch.float32, device="cpu").abs() for side in (height, width))
    out = torch.maximum(rows[:, None], columns)
    ring, middle = (out > 1 - 2 * _RING).float(), (out < _MIDDLE).float()
    return ring / ring.sum() / 2 + middle / middle.sum() / 2, 2 * middle - 1
