"""Whether numbers that a model gives are logits, probabilities or cosines.

The last operation before the output shows it: a score after a sigmoid is a probability, and one after a linear layer is
a logit, even if it lies in [0, 1]. Where autograd does not show the operation, the range of the numbers decides.
"""

from typing import Any, Literal, TypeAlias

from torch import Tensor

from .outputs import SUM_TOLERANCE

Kind: TypeAlias = Literal["logits", "probabilities", "cosines", "values", "regions"]

_LONGEST_COSINE = 1.01  # bfloat16 has 8 bits of precision, so that a cosine of 1 may be a little more
_VIEWS = ("View", "Reshape", "Squeeze", "Unsqueeze", "Select", "Slice", "Clone", "ToCopy", "Alias", "Transpose", "T")
_PRODUCTS = ("Mm", "Bmm", "Sum")  # a matrix product, or `cosine_similarity`
_LINEAR = ("Addmm", *_PRODUCTS, "Convolution", "MkldnnConvolution", "Mean", "NativeLayerNorm", "NativeBatchNorm")


def kind_by_operation(scores: Tensor, width: int) -> Kind | None:
    """The kind that the last operation shows; None if autograd does not show it."""
    node = _last_operation(scores)
    name = "" if node is None else node.name()
    if name.startswith(("LogSoftmax", "LogSigmoid")):
        return "logits"
    if name.startswith("Sigmoid"):
        return "probabilities"
    if name.startswith("Softmax"):
        return "logits"  # of a softmax: `as_logits` gives its logarithm
    if name.startswith(_PRODUCTS) and width > 1 and float(scores.detach().abs().max()) < _LONGEST_COSINE:
        return "cosines" if _is_of_unit_vectors(node) else "logits"
    return "logits" if name.startswith(_LINEAR) else None


def is_of_softmax(scores: Tensor) -> bool:
    """Whether the last operation is a softmax."""
    node = _last_operation(scores)
    return node is not None and node.name().startswith("Softmax")


def _last_operation(scores: Tensor) -> Any:
    """The operation that computed the numbers. Views and copies are skipped, because they compute nothing."""
    node = scores.grad_fn
    while node is not None and node.name().removesuffix("Backward0").removeprefix("Unsafe").startswith(_VIEWS):
        node = next((before for before, _ in node.next_functions if before is not None), None)
    return node


def _is_of_unit_vectors(node: Any) -> bool:
    """Whether a factor of a matrix product was divided, as by its own length, just before the product."""
    waiting = [before for before, _ in node.next_functions if before is not None]
    for _ in range(3):  # a transposition or a view may lie between
        if any(each.name().startswith("Div") for each in waiting):
            return True
        waiting = [before for each in waiting for before, _ in each.next_functions if before is not None]
    return False


def kind_by_range(rows: Tensor) -> Kind:
    """The kind that the range of ``(N, K)`` numbers suggests. `as_logits` converts rows that sum to 1."""
    inside = bool(((rows >= 0) & (rows <= 1)).all())
    sums_to_one = rows.shape[1] > 1 and bool(((rows.sum(1) - 1).abs() < SUM_TOLERANCE).all())
    return "probabilities" if inside and not sums_to_one else "logits"
