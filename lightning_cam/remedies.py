"""What helps where no augmentation takes a cue away: pictures balanced by it, and a last layer that is fitted to them.

A network that uses a shortcut has mostly learned the object as well; its last layer weighs them wrongly (Kirichenko et
al. 2022, "Last Layer Re-Training is Sufficient for Robustness to Spurious Correlations"). A group is the pictures of
one class with one value, such as one site, or one kind of background.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import WeightedRandomSampler

from .datasets.labels import label_of
from .datasets.parts import parts_of

# Of the squared weights, for standardised features; the paper takes the best of a list by validation, with L1.
SHRINKAGE = 1e-2
_MOST_STEPS = 200  # of L-BFGS: a convex problem of a few hundred weights ends long before
_SAME = 1e-3  # of scores: the head of the features must give what the model gives


def group_weights(targets: Sequence[int], values: Sequence[object]) -> Tensor:
    """Weights ``(N,)``, mean 1, under which every class counts as much, and in it every value that it has.

    >>> group_weights([0, 0, 0, 1], ["sea", "sea", "land", "sea"])
    tensor([0.5000, 0.5000, 1.0000, 2.0000])
    """
    if len(targets) != len(values) or not len(targets):
        raise ValueError(f"targets and values must be as many, got {len(targets)} and {len(values)}; pass one each")
    groups = list(zip(map(int, targets), map(str, values), strict=True))
    sizes = Counter(groups)
    n_values = {label: sum(group[0] == label for group in sizes) for label, _ in sizes}
    each = [1 / (sizes[group] * n_values[group[0]]) for group in groups]
    return torch.tensor(each) * (len(groups) / len(n_values))


def balanced_sampler(targets: Sequence[int], values: Sequence[object]) -> WeightedRandomSampler:
    """A sampler for the training's own `DataLoader`: every group comes equally often, with replacement.

    Args:
        targets: Class of each item of the data set.
        values: Value of each item, such as its site.
    """
    return WeightedRandomSampler(group_weights(targets, values).tolist(), len(targets))


def refit_head(
    model: nn.Module,
    dataset: Any,
    values: Sequence[object],
    *,
    head: str | None = None,
    forward: Callable[[nn.Module, Tensor], Any] | None = None,
    batch_size: int = 64,
) -> Any:
    """A copy of the model whose last layer is fitted anew, to groups that count equally. The model does not change.

    All other layers stay. Best on pictures that the model was not trained on: it knows its training pictures by heart,
    and their features hardly show what the others need. Deviates from the paper in that groups are weighted, not
    sampled, and weights are shrunk by their squares.

    Args:
        model: Any classifier whose last step is a linear layer.
        dataset: Items ``(model input, class, ...)`` or dicts, as the model takes them.
        values: Value of each item, such as its site, in the order of the data set.
        head: Dotted name of the last layer; None takes the last linear layer.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Items in a pass.

    Raises:
        ValueError: There is no such layer, the model does more after it, or some class has no items.
    """
    mended = deepcopy(model)
    name, layer = _head_of(mended, head)
    inputs, targets = zip(*_items(dataset, len(values)), strict=True)
    classes, weights = torch.tensor(targets), group_weights(targets, values)
    features, scores = _passed(mended, name, inputs, forward, batch_size)
    if scores.shape[1:] != (layer.out_features,) or not torch.allclose(_applied(layer, features), scores, atol=_SAME):
        raise ValueError(f"the model does more after {name!r} than give its scores; name the last layer with head=")
    _fit(layer, features, classes, weights)
    return mended


def _head_of(model: nn.Module, head: str | None) -> tuple[str, nn.Linear]:
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and name}
    name = head or next(reversed(linear), "")
    if name not in linear:
        raise ValueError(f"refit_head needs a linear last layer inside the model, got {name!r}; it has {list(linear)}")
    return name, linear[name]


def _items(dataset: Any, n_values: int) -> Iterator[tuple[Tensor, int]]:
    if len(dataset) != n_values or not n_values:
        raise ValueError(f"values must be one for each of {len(dataset)} items, got {n_values}; list them in its order")
    for index in range(n_values):
        image, target, _ = parts_of(dataset[index])
        yield torch.as_tensor(image), label_of(target)


def _passed(
    model: nn.Module,
    name: str,
    inputs: Sequence[Tensor],
    forward: Callable[[nn.Module, Tensor], Any] | None,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """What goes into the layer, and the scores: the same passes with a step in its place that changes nothing."""
    place, modes = next(model.parameters()).device, {module: module.training for module in model.modules()}
    layer, (parent, _, last) = model.get_submodule(name), name.rpartition(".")
    call = forward or (lambda network, batch: network(batch))
    read: list[Tensor] = []
    try:
        model.eval()
        for step in (nn.Identity(), layer):
            setattr(model.get_submodule(parent), last, step)
            batches = torch.split(torch.stack(list(inputs)), batch_size)
            with torch.inference_mode():
                read.append(torch.cat([call(model, batch.to(place)).flatten(1).float().cpu() for batch in batches]))
    finally:
        setattr(model.get_submodule(parent), last, layer)
        for module, is_training in modes.items():
            module.training = is_training
    features, scores = read
    return features, scores


def _applied(layer: nn.Linear, features: Tensor) -> Tensor:
    bias = None if layer.bias is None else layer.bias.detach().cpu().float()
    if features.shape[1] != layer.in_features:
        return features.new_full((len(features), layer.out_features), torch.nan)
    return F.linear(features, layer.weight.detach().cpu().float(), bias)


@torch.inference_mode(False)
@torch.enable_grad()
def _fit(layer: nn.Linear, features: Tensor, targets: Tensor, weights: Tensor) -> None:
    """Weighted logistic regression; of one score, class 1 is where it is above 0."""
    n_scores = layer.out_features
    if int(targets.max()) >= max(n_scores, 2) or len(set(targets.tolist())) < 2:
        found = sorted(set(targets.tolist()))
        raise ValueError(
            f"the last layer has {n_scores} scores, and the items have the classes {found}; pass two or more"
        )
    features, has_offset = features.clone(), layer.bias is not None  # a clone: the user may be in inference mode
    mean = features.mean(0) if has_offset else torch.zeros(features.shape[1])
    spread = (features - mean).square().mean(0).sqrt()
    known = spread > spread.max() * 1e-6  # a feature that is always the same tells nothing
    standard = ((features - mean) / spread.where(known, 1.0)).where(known, 0.0)
    fitted = torch.zeros(n_scores, features.shape[1], requires_grad=True)
    offset = torch.zeros(n_scores, requires_grad=has_offset)
    descent = torch.optim.LBFGS(
        [fitted, *([offset] if has_offset else [])], max_iter=_MOST_STEPS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        descent.zero_grad()
        scores = F.linear(standard, fitted, offset)
        scores = torch.cat([torch.zeros_like(scores), scores], 1) if n_scores == 1 else scores
        total = (
            weights * F.cross_entropy(scores, targets, reduction="none")
        ).mean() + SHRINKAGE * fitted.square().sum()
        total.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        return total

    descent.step(loss)  # type: ignore[no-untyped-call] # torch leaves it untyped
    slopes = (fitted / spread.where(known, 1.0)).where(known, 0.0).detach()
    with torch.no_grad():
        layer.weight.copy_(slopes)
        if has_offset:
            layer.bias.copy_(offset.detach() - slopes @ mean)
