"""Which pixels a model's answer depends on: the explanations that need no layer.

Every function takes a model and a `Probe` and gives ``(N, H, W)`` float32 maps on the CPU, as large as the probe's
images. The model is the same before and after. Gradients are those at the model's input, behind ``preprocess``; the
three colours of a pixel become one number. Maps of volumes are ``(N, D, H, W)``.

Magnitudes are non-negative. `integrated_gradients` and `occlusion` keep their sign, because it has a meaning there: a
negative value speaks against the class, and ``maps.relu()`` is the evidence for it alone, as measures expect it. An
image whose score is not finite has a map of NaN.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from ..probe import Probe
from ..spatial import upsample
from .attending import attention_relevance, attention_rollout
from .cams import grad_cam
from .engine import placed
from .layouts import channel_axis
from .occluding import OcclusionMaps, occlusion, occlusion_maps
from .rectifiers import deconvolved, guided
from .subject import ScoresOf, looking
from .targets import Target, own_loss

__all__ = [
    "OcclusionMaps",
    "attention_relevance",
    "attention_rollout",
    "deconvnet",
    "guided_backprop",
    "guided_grad_cam",
    "integrated_gradients",
    "occlusion",
    "occlusion_maps",
    "saliency",
    "smooth_grad",
]


def saliency(
    model: nn.Module,
    probe: Probe,
    *,
    of: Literal["score", "loss"] = "score",
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Tensor:
    """Magnitude of the gradient at each pixel, the largest of its colours (Simonyan et al. 2014, section 3.1).

    ``M_ij = max_c |dS / dx_cij|``, where ``S`` is the score before the softmax.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[0.0, -1.0, 2.0, 0.0], [3.0, 0.0, 0.0, 0.0]]))
    >>> saliency(model, Probe(torch.rand(1, 1, 2, 2), torch.tensor([0]), classes=["a", "b"]))
    tensor([[[0., 1.],
             [2., 0.]]])

    Args:
        model: Any classifier, in any mode.
        probe: The images to explain, and their classes.
        of: "loss" is the gradient of the cross-entropy of each image's own class: it fades where the model is sure.
        score: Logits ``(N, n_classes)``, or a batch of outputs of a model without class scores, to the numbers ``(N,)``
            to explain; None is the logit of each image's own class.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.
    """
    if of == "loss" and score is not None:
        raise ValueError("of='loss' explains the cross-entropy of the own class; pass either that or score=")
    explained = own_loss(probe.targets, asks=probe.task.asks) if of == "loss" else score
    with looking(model, probe, explained, forward, batch_size, of_classes=of == "loss") as subject:
        return subject.maps(_magnitude(subject.gradients(subject.inputs)))


def smooth_grad(
    model: nn.Module,
    probe: Probe,
    *,
    n_samples: int = 50,
    noise: float = 0.15,
    generator: torch.Generator | None = None,
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Tensor:
    """`saliency` of the mean gradient over noisy copies of each image (SmoothGrad: Smilkov et al. 2017, section 3).

    The mean is of signed gradients, and its magnitude is taken as in `saliency`. All images of the probe get the same
    noise, so a map does not depend on the other images.

    Args:
        model: Any classifier, in any mode.
        probe: The images to explain, and their classes.
        n_samples: Noisy copies of each image, each of which costs a forward and a backward pass.
        noise: Standard deviation of the noise, as share of the range of the image's values.
        generator: On the CPU; None is a new one with seed 0, so that a map is the same each time.
        score: Logits ``(N, n_classes)``, or a batch of outputs of a model without class scores, to the numbers ``(N,)``
            to explain; None is the logit of each image's own class.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.
    """
    if n_samples < 1:
        raise ValueError(f"expected at least one noisy copy of each image, found n_samples={n_samples}")
    source = torch.Generator().manual_seed(0) if generator is None else generator
    with looking(model, probe, score, forward, batch_size) as subject:
        inputs = subject.inputs
        deviation = noise * (_over_image(Tensor.amax, inputs) - _over_image(Tensor.amin, inputs))
        total = torch.zeros_like(inputs, dtype=torch.float32)
        for _ in range(n_samples):
            sample = torch.randn(inputs.shape[1:], generator=source).to(inputs)
            total += subject.gradients(inputs + deviation * sample)
        return subject.maps(_magnitude(total / n_samples))


def integrated_gradients(
    model: nn.Module,
    probe: Probe,
    *,
    n_steps: int = 50,
    baseline: Tensor | None = None,
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Tensor:
    """Share of each pixel in the difference of the scores of image and baseline (Sundararajan et al. 2017, eq. 1).

    ``(x - x') * mean of dS/dx on the straight line from x' to x``, summed over the colours. With its sign: a map sums
    to ``S(x) - S(x')`` as the number of steps grows. The mean is taken at the middle of ``n_steps`` equal steps, not
    at their ends as in the paper's eq. 3; the error is smaller.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[0.0, -1.0, 2.0, 0.0], [3.0, 0.0, 0.0, 0.0]]))
    >>> integrated_gradients(model, Probe(torch.full((1, 1, 2, 2), 0.5), torch.tensor([0]), classes=["a", "b"]))
    tensor([[[ 0.0000, -0.5000],
             [ 1.0000,  0.0000]]])

    Args:
        model: Any classifier, in any mode.
        probe: The images to explain, and their classes.
        n_steps: Points on the line, each of which costs a forward and a backward pass.
        baseline: ``(N, C, H, W)`` pixels, or one ``(C, H, W)`` image for all; None is black, as in the paper.
        score: Logits ``(N, n_classes)``, or a batch of outputs of a model without class scores, to the numbers ``(N,)``
            to explain; None is the logit of each image's own class.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.
    """
    if n_steps < 1:
        raise ValueError(f"expected at least one step from the baseline to the image, found n_steps={n_steps}")
    start = torch.zeros_like(probe.images) if baseline is None else baseline.to(probe.images).expand_as(probe.images)
    with looking(model, probe, score, forward, batch_size) as subject:
        origin = placed(subject.model, probe.prepare(start))
        difference = subject.inputs - origin
        total = torch.zeros_like(origin, dtype=torch.float32)
        for step in range(n_steps):
            total += subject.gradients(origin + (step + 0.5) / n_steps * difference)
        return subject.maps((difference * total / n_steps).float().sum(channel_axis(origin)))


def guided_backprop(
    model: nn.Module,
    probe: Probe,
    *,
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Tensor:
    """Gradient that passes a ReLU where it and the ReLU's input are positive (Springenberg et al. 2015, figure 1).

    ``R_l = (f_l > 0) (R_l+1 > 0) R_l+1`` at every ReLU ``f``; the ceiling of a ReLU6 closes it as well. Everything else
    has its plain gradient; a model that has other activations beside its ReLUs gets a warning. The map is the largest
    magnitude over the colours, as in `saliency`; the paper shows the colours.

    It shows edges that the model sees, and depends little on the class (Adebayo et al. 2018).

    Args:
        model: Any classifier, in any mode.
        probe: The images to explain, and their classes.
        score: Logits ``(N, n_classes)``, or a batch of outputs of a model without class scores, to the numbers ``(N,)``
            to explain; None is the logit of each image's own class.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.

    Raises:
        ValueError: The model has no ReLU, as with GELU or SiLU, so this would be the plain gradient.
    """
    with looking(model, probe, score, forward, batch_size) as subject:
        return subject.maps(_magnitude(subject.gradients(subject.inputs, guided)))


def deconvnet(
    model: nn.Module,
    probe: Probe,
    *,
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Tensor:
    """Gradient that passes a ReLU where it is positive, whatever the input was (Zeiler and Fergus 2014, section 2.1).

    ``R_l = (R_l+1 > 0) R_l+1`` at every ReLU. Filters are transposed and max-pooling puts values back to where the
    maximum was, which is what their gradients do (Simonyan et al. 2014, section 4). The paper starts at one feature of
    a layer, this at the class score. The map is the largest magnitude over the colours, as in `saliency`.

    Args:
        model: Any classifier, in any mode.
        probe: The images to explain, and their classes.
        score: Logits ``(N, n_classes)``, or a batch of outputs of a model without class scores, to the numbers ``(N,)``
            to explain; None is the logit of each image's own class.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.

    Raises:
        ValueError: The model has no ReLU, as with GELU or SiLU, so this would be the plain gradient.
    """
    with looking(model, probe, score, forward, batch_size) as subject:
        return subject.maps(_magnitude(subject.gradients(subject.inputs, deconvolved)))


def guided_grad_cam(
    model: nn.Module,
    probe: Probe,
    *,
    layer: str | None = None,
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Tensor:
    """`guided_backprop` where Grad-CAM looks: their product at each pixel (Selvaraju et al. 2017, section 3.2).

    The Grad-CAM map is stretched to the image bilinearly.

    Args:
        model: Any classifier, in any mode.
        probe: The images to explain, and their classes.
        layer: Dotted name of Grad-CAM's layer; None finds the last spatial one.
        score: Logits ``(N, n_classes)``, or a batch of outputs of a model without class scores, to the numbers ``(N,)``
            to explain; None is the logit of each image's own class.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.

    Raises:
        ValueError: The model has no ReLU, or there is no such layer.
    """
    with looking(model, probe, score, forward, batch_size) as subject:
        edges = _magnitude(subject.gradients(subject.inputs, guided))
        seen = subject.captured(layer or subject.last_layer())
        attention = grad_cam(seen.activations, seen.gradients[0])
        return subject.maps(edges * upsample(attention, edges.shape[1:]))


def _magnitude(gradients: Tensor) -> Tensor:
    """``(N, C, H, W)`` to ``(N, H, W)``: the largest magnitude over the colours."""
    return gradients.abs().amax(channel_axis(gradients))


def _over_image(reduce: Callable[..., Tensor], inputs: Tensor) -> Tensor:
    return reduce(inputs, dim=tuple(range(1, inputs.ndim)), keepdim=True)
