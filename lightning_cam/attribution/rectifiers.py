"""What happens to a gradient at the ReLUs of a network, on its way from the class scores back to the image.

The ReLUs are found in the graph that autograd recorded, so it makes no difference whether a model calls a module, a
function or a method, in place or not, or one module several times. The model itself is not touched.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from ..notices import warn

Rule: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""The gradient before a ReLU and the one behind it to the one that goes on."""

_OTHER_ACTIVATIONS = {
    "Celu": "CELU",
    "Elu": "ELU",
    "Gelu": "GELU",
    "Hardswish": "Hardswish",
    "LeakyRelu": "LeakyReLU",
    "Mish": "Mish",
    "PreluKernel": "PReLU",
    "Silu": "SiLU",
}
# The same without writing into the input. A method, a function and a module all arrive under one of these names.
_OUT_OF_PLACE: dict[str, Callable[..., Tensor]] = {
    "relu": torch.relu,
    "relu_": torch.relu,
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "hardtanh_": F.hardtanh,
    "threshold": torch.threshold,
    "threshold_": torch.threshold,
    "clamp_": torch.clamp,
    "clamp_min_": torch.clamp_min,
}


def guided(before: Tensor, _behind: Tensor) -> Tensor:
    """The gradient where both it and the ReLU's input are positive (Springenberg et al. 2015, figure 1b)."""
    return before.clamp(min=0)


def deconvolved(_before: Tensor, behind: Tensor) -> Tensor:
    """The gradient where it is positive, whatever the ReLU's input (Zeiler and Fergus 2014, section 2.1)."""
    return behind.clamp(min=0)


@dataclass(frozen=True)
class Activations:
    """The activations between the images and some scores, in the graph of those scores.

    Attributes:
        rectifiers: Graph nodes of the ReLUs.
        others: Number of other activations by name.
        reaches_images: Whether the graph leads to the images.
    """

    rectifiers: Sequence[Any]
    others: Counter[str]
    reaches_images: bool


def activations_between(images: Tensor, scores: Tensor, name: str) -> Activations:
    """What lies between the images, a leaf, and the scores of a model called ``name``.

    Raises:
        ValueError: TorchScript hides it.
    """
    rectifiers, others, reaches_images = [], Counter[str](), False
    for node in nodes_behind(scores):
        reaches_images = reaches_images or getattr(node, "variable", None) is images
        kind = kind_of(node)
        if "DifferentiableGraph" in kind:
            raise ValueError(f"TorchScript hides the ReLUs of {name}; pass the module as it is before torch.jit.script")
        if _rectifies(kind, node):
            rectifiers.append(node)
        elif kind in _OTHER_ACTIVATIONS:
            others[_OTHER_ACTIVATIONS[kind]] += 1
    return Activations(rectifiers, others, reaches_images)


def impose(rule: Rule, images: Tensor, logits: Tensor, name: str) -> None:
    """Applies a rule at every ReLU between the images, a leaf, and the logits, for this graph alone.

    Raises:
        ValueError: There is no ReLU, or TorchScript hides them.
    """
    between = activations_between(images, logits, name)
    if between.reaches_images:
        _check(len(between.rectifiers), between.others, name)
    for node in between.rectifiers:
        ruled(rule, node)


def ruled(rule: Rule, node: Any) -> Any:
    """Applies a rule at a node of autograd's graph, until the handle that this returns is removed."""
    return node.register_hook(lambda before, behind: (rule(before[0], behind[0]), *before[1:]))


def is_in_place_on_view(function: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether a call rectifies a view of another tensor in place. Autograd's graph hides which operation that was."""
    name = getattr(function, "__name__", "")
    in_place = name in _OUT_OF_PLACE and (name.endswith("_") or options.get("inplace", False))
    return in_place and bool(arguments) and isinstance(arguments[0], Tensor) and arguments[0]._is_view()


def beside_view(function: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """The same numbers in the same place, from a ReLU that the graph shows. See `is_in_place_on_view`."""
    view, *more = arguments
    kept = {name: value for name, value in options.items() if name != "inplace"}
    rectified = _OUT_OF_PLACE[function.__name__](view.clone(), *more, **kept)
    written: Tensor = view.copy_(rectified)
    return written


def nodes_behind(scores: Tensor) -> Iterator[Any]:
    """Every operation that the scores were computed by, once."""
    waiting, nodes = [scores.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            waiting += [before for before, _ in node.next_functions]
            yield node


def kind_of(node: Any) -> str:
    """Name of the operation, as "Relu" for what autograd calls "ReluBackward0"."""
    name: str = node.name()
    return name.rstrip("0123456789").removesuffix("Backward")


def _rectifies(kind: str, node: Any) -> bool:
    """Whether an operation is a ReLU, perhaps with a ceiling: autograd knows ReLU6 as a hardtanh."""
    if kind == "Clamp":  # with another ceiling than ReLU6's it is rather a clipped image
        return node._saved_min == 0 and node._saved_max in (None, 6)
    return (
        kind == "Relu"
        or (kind == "Threshold" and node._saved_threshold == 0)
        or (kind == "Hardtanh" and node._saved_min_val == 0)
        or (kind == "ClampMin" and node._saved_min == 0)
    )


def _check(n_rectifiers: int, others: Counter[str], name: str) -> None:
    listed = " and ".join(sorted(others))
    if n_rectifiers == 0:
        found = f"its activations are {listed}" if others else "no activation was found"
        raise ValueError(
            f"{name} has no ReLU between image and class scores ({found}), so this would be the plain gradient; "
            "use saliency, smooth_grad or integrated_gradients"
        )
    if others:
        warn(
            f"{name} has {n_rectifiers} ReLUs and {sum(others.values())} other activations ({listed}), where the plain "
            "gradient passes"
        )
