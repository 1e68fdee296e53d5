"""The input that makes a class or a unit answer most."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...probe import Probe
from .. import inference
from ..backward import gradients_of
from ..engine import placed
from ..guard import untouched
from ..heads import class_scores
from ..layers import check_layer, class_name, unwrapped
from ..outputs import as_logits
from ..subject import ScoresOf
from ..targets import Target, one_class
from ..tracing import Traced
from .answers import answers
from .projecting import grid_of

BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam (Kingma and Ba 2015)
START = 0.01  # standard deviation of the first spectrum: nearly mid-grey (Olah et al. 2017)


class Maximisation(NamedTuple):
    """Inputs for which a score is high.

    Attributes:
        images: ``(M, C, H, W)`` float32 pixels in [0, 1].
        scores: ``(n_steps + 1, M)`` float32, of what each step began with, moved, and of the images themselves.
    """

    images: Tensor
    scores: Tensor


def activation_maximisation(
    model: nn.Module,
    target: int | Target,
    probe: Probe,
    *,
    layer: str | None = None,
    n_images: int = 1,
    n_steps: int = 128,
    learning_rate: float = 0.01,
    jitter: int | None = None,
    decay: float = 0.0,
    generator: torch.Generator | None = None,
    forward: ScoresOf | None = None,
) -> Maximisation:
    """Pixels that make a class, or a unit of a layer, answer most (Simonyan et al. 2014, section 2; Olah et al. 2017).

    ``argmax S(x) - decay * ||x - 1/2||^2`` by gradient ascent with Adam. ``S`` is the score before the softmax. The
    pixels are the sigmoid of an image whose Fourier coefficients are learnt, each divided by its frequency, so that
    large shapes come as easily as fine ones. Each step moves the picture by a few pixels first, so that it does not
    depend on the grid of the strides. Colours are not decorrelated as in Olah et al.

    Such a picture shows what the model answers to, not what it has seen: no real image looks like this.

    Args:
        model: Any classifier, in any mode.
        target: Class, or with ``layer`` channel. Or any function of logits ``(M, n_classes)``, with ``layer`` of the
            channels' means ``(M, K)``, to scores ``(M,)``.
        probe: What an input is: its size, its ``preprocess``, its classes. Its images are not used.
        layer: Dotted name; None is the class scores.
        n_images: Inputs to find, from different starts.
        n_steps: Each costs a forward and a backward pass.
        learning_rate: Of Adam. With many steps or a high rate all pixels become 0 or 1.
        jitter: Largest move in pixels; None is an eighth of the shorter side. 0 is none.
        decay: Weight of the squared distance from mid-grey.
        generator: On the CPU; None is a new one with seed 0, so that a picture is the same each time.
        forward: ``(model, inputs) -> class scores``; None calls the model.

    Raises:
        ValueError: No such layer, class or channel.
        RuntimeError: No gradient goes to the pixels: ``preprocess`` must be made of torch operations.
    """
    if min(n_images, n_steps) < 1:
        raise ValueError(f"expected one image and one step at least, found {n_images=}, {n_steps=}")
    score = one_class(target) if isinstance(target, int) else target
    source = torch.Generator().manual_seed(0) if generator is None else generator
    with _asking(model, probe, layer, forward) as values_of:
        climber = _Climber(lambda pixels: score(values_of(pixels)), probe, class_name(model), decay)
        coefficients = climber.start(n_images, source)
        reach = min(probe.images.shape[-2:]) // 8 if jitter is None else jitter
        ascent, scores = _Adam(learning_rate), []
        for _ in range(n_steps):
            move = torch.randint(-reach, reach + 1, (2,), generator=source).tolist()
            values, gradient = climber.slope(coefficients, (move[0], move[1]))
            scores.append(values)
            coefficients = coefficients + ascent.step(gradient)
        images = climber.painted(coefficients)
        scores.append(score(values_of(images)))
    return Maximisation(images.cpu(), torch.stack([each.detach().float().cpu() for each in scores]))


@contextmanager
def _asking(
    model: nn.Module, probe: Probe, layer: str | None, forward: ScoresOf | None
) -> Iterator[Callable[[Tensor], Tensor]]:
    """Pixels ``(M, C, H, W)`` to logits, or to the means of a layer's channels; the model is the same afterwards."""
    model = unwrapped(model)
    bound = None if forward is None else partial(forward, model)
    with untouched(model):
        if layer is None:
            scores = class_scores(
                model, placed(model, probe.prepare(probe.images[:32])), probe.n_scores, bound, task=probe.task
            )
            yield lambda pixels: as_logits(inference.explained(lambda: scores(_input(model, probe, pixels))))
        else:
            name = check_layer(model, layer)

            def means(pixels: Tensor) -> Tensor:
                inputs = _input(model, probe, pixels)
                _, (answer,) = inference.explained(lambda: answers(model, [name], bound or model, inputs))
                return grid_of(answer, inputs).float().mean((2, 3))

            yield means


def _input(model: nn.Module, probe: Probe, pixels: Tensor) -> Tensor:
    """Model inputs, in the graph: `Probe.prepare` would leave it. A copy, because both may write into it."""
    inputs = pixels.clone() if probe.preprocess is None else probe.preprocess(pixels.clone())
    return placed(model, inputs).clone()


class _Climber(NamedTuple):
    """Where the score rises.

    Attributes:
        score: Pixels ``(M, C, H, W)`` to scores ``(M,)``.
        probe: For the size of the images.
        name: Of the model, for messages.
        decay: Weight of the squared distance from mid-grey.
    """

    score: Callable[[Tensor], Tensor]
    probe: Probe
    name: str
    decay: float

    def start(self, n_images: int, source: torch.Generator) -> Tensor:
        """Coefficients ``(M, C, H, W // 2 + 1, 2)`` of images that are nearly mid-grey."""
        channels, height, width = self.probe.images.shape[1:]
        return START * torch.randn(n_images, channels, height, width // 2 + 1, 2, generator=source)

    def painted(self, coefficients: Tensor) -> Tensor:
        """Pixels in [0, 1]: the sigmoid of the inverse Fourier transform, low frequencies enlarged."""
        height, width = self.probe.images.shape[-2:]
        frequencies = torch.fft.fftfreq(height)[:, None].hypot(torch.fft.rfftfreq(width))
        scale = 1 / frequencies.clamp(min=1 / max(height, width))
        spectrum = torch.view_as_complex(coefficients) * scale
        image: Tensor = torch.fft.irfft2(spectrum, (height, width), norm="ortho")
        return image.sigmoid()

    def slope(self, coefficients: Tensor, move: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Scores of the images, moved, and the gradient of the objective in the coefficients."""
        with torch.enable_grad(), Traced():
            leaf = coefficients.detach().requires_grad_()
            images = self.painted(leaf)
            values = self.score(images.roll(move, (-2, -1)))
            upwards = gradients_of(values.sum(), [images])[0] if values.requires_grad else None
            if upwards is None:
                raise RuntimeError(
                    f"autograd finds no way from the scores of {self.name} to the pixels, so nothing can be maximised. "
                    "A detach() lies between, or a preprocess that is not made of torch operations"
                )
            (gradient,) = torch.autograd.grad(images, leaf, upwards - 2 * self.decay * (images.detach() - 0.5))
        return values, gradient


class _Adam:
    """Adam (Kingma and Ba 2015, algorithm 1), upwards."""

    def __init__(self, learning_rate: float) -> None:
        self._rate = learning_rate
        self._n = 0
        self._mean: Tensor | float = 0.0
        self._square: Tensor | float = 0.0

    def step(self, gradient: Tensor) -> Tensor:
        """What to add to the coefficients."""
        self._n += 1
        self._mean = BETAS[0] * self._mean + (1 - BETAS[0]) * gradient
        self._square = BETAS[1] * self._square + (1 - BETAS[1]) * gradient.square()
        mean, square = self._mean / (1 - BETAS[0] ** self._n), self._square / (1 - BETAS[1] ** self._n)
        return self._rate * mean / (square.sqrt() + EPSILON)
