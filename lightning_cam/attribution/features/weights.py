"""The filters of the first convolution as pictures."""

from torch import Tensor, nn

from ..guard import untouched
from ..layers import check_layer, class_name, module_of, named_layers, outermost, unwrapped


def filters(model: nn.Module, *, layer: str | None = None) -> Tensor:
    """Filters of a convolution as pictures ``(K, C, h, w)`` in [0, 1] (Zeiler and Fergus 2014, figures 4 and 6).

    Each filter is stretched by its own largest magnitude, and 0.5 is a weight of zero: a grey picture is a dead filter.
    The weights are for the model's input, behind ``preprocess``. A grouped convolution has ``C / groups`` channels.
    A filter with a weight that is not finite is NaN.

    >>> model = nn.Sequential(nn.Conv2d(1, 1, (1, 3), bias=False))
    >>> _ = model[0].weight.data.copy_(Tensor([[[[-2.0, 0.0, 1.0]]]]))
    >>> filters(model)
    tensor([[[[0.0000, 0.5000, 0.7500]]]])

    Args:
        model: Any model, in any mode.
        layer: Dotted name of a convolution; None takes the first one.

    Raises:
        ValueError: There is no such layer, or it is no convolution of images.
    """
    model = unwrapped(model)
    name = first_convolution(model) if layer is None else check_layer(model, layer)
    convolution = module_of(model, name)
    if not isinstance(convolution, nn.Conv2d):
        raise ValueError(
            f"expected a Conv2d, found {name!r}, a {type(convolution).__name__}; choose another, layer='...'"
        )
    with untouched(model):  # a parametrization, such as a spectral norm, computes the weights as they are read
        weights = convolution.weight.detach().float().cpu()
    largest = weights.abs().amax((1, 2, 3), keepdim=True)
    return 0.5 + 0.5 * weights / largest.where(largest != 0, 1)


def first_convolution(model: nn.Module) -> str:
    """Name of the first convolution of images, in the order in which the model holds its layers.

    Raises:
        ValueError: There is none.
    """
    layers = named_layers(model)
    name = next((name for name, module in layers.items() if isinstance(module, nn.Conv2d)), None)
    if name is None:
        raise ValueError(
            f"{class_name(model)} has no Conv2d, whose filters would be pictures; it has {outermost(layers)}"
        )
    return name
