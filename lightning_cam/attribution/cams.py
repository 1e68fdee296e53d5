"""Class activation maps: pure functions of a layer's activations and of the score's gradient there.

A `CamMethod` takes ``(N, K, h, w)`` activations and gradients and gives ``(N, h, w)`` float32 maps. Maps are raw, have
the layer's own size and are non-negative: evidence against the class is clipped. A map of zeros means that the method
found no evidence for the class; nothing is added to hide that. An image with NaN gives a map with NaN and no other.
Of volumes there is one axis more: ``(N, K, d, h, w)`` gives ``(N, d, h, w)``, by the same equations.
`against` turns a method round: its maps show what was clipped. `score_cam` and `ablation_cam` use no gradients: they
weigh a channel by what the model answers to changed images or activations.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..spatial import to_unit, upsample

__all__ = [
    "Against",
    "CamMethod",
    "ForwardMethod",
    "Method",
    "Passes",
    "ablation_cam",
    "against",
    "cam",
    "eigen_cam",
    "grad_cam",
    "grad_cam_plus_plus",
    "hires_cam",
    "layer_cam",
    "score_cam",
    "xgrad_cam",
]

CamMethod: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations weighted by the classifier's own weights (Zhou et al. 2016, eq. 2).

    The weight of a channel is its gradient summed over space. Where the paper defines CAM, with global average pooling
    and one linear layer on top, that is exactly the classifier's weight. Elsewhere the map is ``h * w`` times
    `grad_cam`.
    """
    return _weighted_sum(activations, _wide(gradients).sum(_places(gradients)))


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations weighted by their mean gradient (Selvaraju et al. 2017, eq. 1-2). Not upsampled.

    >>> activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    >>> gradients = torch.tensor([[[[1.0, 3.0]], [[-1.0, -1.0]]]])
    >>> grad_cam(activations, gradients)
    tensor([[[0., 4.]]])
    """
    return _weighted_sum(activations, _wide(gradients).mean(_places(gradients)))


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations weighted by their positive gradients, evened out over regions (Chattopadhay et al. 2018, eq. 19).

    The paper's ``Y = exp(S)`` gives ``alpha = g^2 / (2 g^2 + g^3 sum(A))`` and a factor ``exp(S)`` on the whole map,
    which is dropped. Dividing by ``g^2`` gives the form used here: it needs no special case for a gradient of 0 and
    does not underflow for small ones. The paper excludes negative activations; with them alpha may be negative too.
    """
    positive, places = _wide(gradients).relu(), _places(gradients)
    total = _wide(activations).sum(places, keepdim=True)
    return _weighted_sum(activations, (positive / (2 + positive * total)).sum(places))


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Gradient times activation at every place, ``sum_k g_k A_k`` (HiResCAM: Draelos and Carin 2020).

    The paper keeps the sign, so that map and bias sum to the score; here the map is clipped at 0.
    """
    return (_wide(gradients) * _wide(activations)).sum(1).relu().float()


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Positive gradient times activation at every place, ``sum_k relu(g_k) A_k`` (LayerCAM: Jiang et al. 2021).

    The paper's tanh scaling of shallow layers is left out: it changes the colours only.
    """
    return (_wide(gradients).relu() * _wide(activations)).sum(1).relu().float()


def xgrad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Activations weighted by ``sum(g A) / sum(A)``, a mean gradient where they are high (XGrad-CAM: Fu et al. 2020).

    A channel whose activations sum to 0, such as a dead one, has no such mean. Its weight is 0.
    """
    wide = _wide(activations)
    total = wide.sum(_places(wide))
    weights = (_wide(gradients) * wide).sum(_places(wide)) / total
    return _weighted_sum(activations, weights.where(total != 0, 0.0))


def eigen_cam(activations: Tensor, gradients: Tensor) -> Tensor:  # noqa: ARG001 - a CamMethod takes both
    """Activations projected on their first right singular vector (Eigen-CAM: Muhammad and Yeasin 2020).

    It explains no class: the gradients are not used. Activations are not centred, as in the paper. A singular
    vector has no sign of its own. Here its sign makes the projection's sum non-negative, then the map is clipped at 0.
    """
    places = _wide(activations).flatten(2).mT
    finite = places.isfinite().all(2).all(1)[:, None]
    left, scales, _ = torch.linalg.svd(places.where(finite[:, None], 0.0), full_matrices=False)
    projection: Tensor = left[:, :, 0] * scales[:, :1]
    projection = projection.where(projection.sum(1, keepdim=True) >= 0, -projection).where(finite, torch.nan)
    return projection.relu().float().reshape(len(activations), *activations.shape[2:])


@dataclass(frozen=True)
class Against:
    """A `CamMethod` whose maps show what argues against the class; made by `against`."""

    method: CamMethod

    @property
    def __name__(self) -> str:
        return f"against_{getattr(self.method, '__name__', type(self.method).__name__)}"

    def __call__(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """Maps ``(N, h, w)``, as the method's own for the negative of the score."""
        return self.method(activations, -gradients)


def against(method: CamMethod) -> Against:
    """The method for negative evidence: where the image argues against the class.

    These are the counterfactual explanations of Grad-CAM (Selvaraju et al. 2017, section 7): the method's own map for
    the negative of the score. Where a method is linear in the gradients before it clips at 0 (`cam`, `grad_cam`,
    `hires_cam`, `xgrad_cam`), that is exactly what it clips: ``-min(0, x)``. `layer_cam` and `grad_cam_plus_plus` keep
    the negative gradients in place of the positive ones.

    >>> activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    >>> gradients = torch.tensor([[[[1.0, 3.0]], [[-1.0, -1.0]]]])
    >>> against(grad_cam)(activations, gradients)
    tensor([[[1., 0.]]])

    Raises:
        ValueError: The method uses no gradients, so it knows neither for nor against.
    """
    if method is eigen_cam or isinstance(method, ForwardMethod):
        raise ValueError(
            f"{method.__name__} uses no gradients, so there is none to turn round; choose another, such as grad_cam"
        )
    return Against(method)


@dataclass(frozen=True, eq=False)
class Passes:
    """What a `ForwardMethod` may ask about ``N`` images: ``T`` scores of each, as it is and changed.

    Attributes:
        inputs: ``(N, C, H, W)`` model inputs.
        activations: ``(N, K, h, w)`` float32, of the layer.
        scores: ``(T, N)``.
        of_inputs: Model inputs ``(m, N, C, H, W)`` to scores ``(m, T, N)``.
        of_activations: Activations ``(m, N, K, h, w)``, from which the model goes on, to scores ``(m, T, N)``.
        at_once: How many changed versions of all images fit into one pass.
        size: ``(H, W)`` of the inputs, or ``(D, H, W)``.
        channel_axis: Which axis of the inputs holds their channels: 1, or 2 of frames ``(N, D, C, H, W)``.
    """

    inputs: Tensor
    activations: Tensor
    scores: Tensor
    of_inputs: Callable[[Tensor], Tensor]
    of_activations: Callable[[Tensor], Tensor]
    at_once: int = 1
    size: tuple[int, ...] = ()
    channel_axis: int = 1

    def channels(self) -> Iterator[Tensor]:
        """Indices of the layer's channels, ``(m,)`` at a time."""
        yield from torch.split(torch.arange(self.activations.shape[1]), self.at_once)


@dataclass(frozen=True)
class ForwardMethod:
    """A method that needs forward passes alone: for models without gradients too. It takes ``K`` passes per image.

    Attributes:
        name: For reports.
        weigh: From `Passes` to a weight for each channel, ``(T, N, K)``; its docstring is the method's own in `help`.
    """

    name: str
    weigh: Callable[[Passes], Tensor]

    def __post_init__(self) -> None:
        if doc := getattr(self.weigh, "__doc__", None):
            object.__setattr__(self, "__doc__", doc)

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, passes: Passes) -> Tensor:
        """Maps ``(T, N, h, w)``: the weighted sums over the channels, clipped at 0."""
        return torch.stack([_weighted_sum(passes.activations, weights) for weights in self.weigh(passes)])


Method: TypeAlias = CamMethod | ForwardMethod


def _score_weights(passes: Passes) -> Tensor:
    """Activations weighted by the score that the image keeps if only the channel's places are shown (Wang et al. 2020).

    A channel is stretched bilinearly to the image and to 0..1, and the model input is multiplied with it. The weights
    are the softmax, over the channels, of the scores; the score of a black image, which the paper subtracts first,
    cancels there. Black is a model input of 0, the mean colour where inputs are normalised. A constant channel shows
    nothing.
    """
    scores = []
    for some in passes.channels():
        channels = passes.activations[:, some].transpose(0, 1)
        masks = to_unit(upsample(channels.flatten(0, 1), passes.size)).reshape(*channels.shape[:2], *passes.size)
        scores.append(passes.of_inputs(passes.inputs * masks.unsqueeze(1 + passes.channel_axis)))
    return torch.cat(scores).softmax(0).movedim(0, 2)


score_cam = ForwardMethod("score_cam", _score_weights)


def _ablation_weights(passes: Passes) -> Tensor:
    """Activations weighted by what the score loses if the channel is set to 0 (Desai and Ramaswamy 2020, eq. 3).

    The paper divides the weights by the score itself. That is one factor for the whole map, and it is left out: it
    would turn evidence round where a score is negative. In a transformer the patches' channel is set to 0, not the
    class token's.
    """
    drops = []
    for some in passes.channels():
        versions = passes.activations.expand(len(some), *passes.activations.shape).clone()
        versions[torch.arange(len(some)), :, some] = 0
        drops.append(passes.scores - passes.of_activations(versions))
    return torch.cat(drops).movedim(0, 2)


ablation_cam = ForwardMethod("ablation_cam", _ablation_weights)


def _weighted_sum(activations: Tensor, weights: Tensor) -> Tensor:
    """``(N, K, h, w)`` and ``(N, K)`` to ``(N, h, w)``: sum over channels, clipped at 0."""
    by_channel = weights.reshape(*weights.shape, *(1 for _ in _places(activations)))
    return (_wide(activations) * by_channel).sum(1).relu().float()


def _places(values: Tensor) -> tuple[int, ...]:
    """The axes of ``(N, K, h, w)`` along which a map has places."""
    return tuple(range(2, values.ndim))


def _wide(values: Tensor) -> Tensor:
    """At least float32: a sum of thousands of half-precision values would lose the small ones."""
    return values if values.dtype == torch.float64 else values.float()
