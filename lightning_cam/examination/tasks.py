"""What differs between tasks once a model has answered: what it has learned, how good it is, what a reliance is of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..attribution.outputs import NO_ANSWER, predicted_classes
from ..intervention import MARGIN, Reliance, weigh, weigh_labels
from ..probe import Probe
from ..probe.task import OBJECTS, OF_MAPS, REGIONS, VALUES
from ..statistics import correlates, has_learned, tells_apart

FOUND: Mapping[str, str] = {**dict.fromkeys(OF_MAPS, "region_iou"), OBJECTS: "object_confidence"}
"""How well the model finds what each image is asked for: the name of its mean, for tasks of parts."""
# Of that mean. What is not found has nothing to lose, so a swap would seem to cost nothing; twice the margin.
LEAST_FOUND = 2 * MARGIN


def learned(logits: Tensor, probe: Probe, context: Mapping[str, Tensor]) -> set[int]:
    """The labels or values that a model tells better than by chance, among the images that are asked for each.

    Of classes it is 0 if they are told apart, and nothing if not. Regions and objects have to be found as well:
    ``context`` has their overlaps or confidences, where cues were swapped.
    """
    found = context.get(FOUND.get(probe.task.kind, ""))
    if not probe.task.asks:
        if found is not None and found.nanmean() < LEAST_FOUND:
            return set()
        return {0} if has_learned(_guessed(logits, probe) == probe.targets, probe.targets) else set()
    odds = _odds(logits, probe.targets)
    return {asked for asked, rows in _groups(probe.targets).items() if _is_told(probe, asked, odds[rows], rows)}


def _guessed(logits: Tensor, probe: Probe) -> Tensor:
    """The likeliest class ``(N,)``; of parts the likeliest of those that are probed, without the background.

    The rim of a region is the background for a model that finds a little less, and would outweigh the rest in the mean.
    """
    if probe.task.kind not in (REGIONS, OBJECTS):
        return predicted_classes(logits)
    probed = torch.tensor(sorted(set(probe.targets.tolist())))
    likeliest = predicted_classes(logits[:, probed])
    return probed[likeliest].where(likeliest != NO_ANSWER, NO_ANSWER)


def _is_told(probe: Probe, asked: int, odds: Tensor, rows: Tensor) -> bool:
    if probe.values is not None:
        return correlates(odds, probe.values[rows, asked])
    return tells_apart(odds, probe.targets[rows] % 2 == 1)


def quality(logits: Tensor, probe: Probe) -> dict[str, float]:
    """How good the answers are: the share of right ones, and of values how predictions go along with the truth.

    Images without an answer are left out, and their share is ``undefined_answers`` where there are any.
    ``probe_correlation`` is Pearson's, the mean of all values; NaN where all predictions are the same. Right is a
    prediction of a value that lies in the right half.
    """
    predicted = predicted_classes(logits)
    is_defined = predicted != NO_ANSWER
    accuracy = {"probe_accuracy": float((predicted == probe.targets)[is_defined].float().mean())}
    if not is_defined.all():
        accuracy["undefined_answers"] = float((~is_defined).float().mean())
    if probe.values is None:
        return accuracy
    odds = _odds(logits, probe.targets).double()
    groups = {asked: rows & is_defined for asked, rows in _groups(probe.targets).items()}
    each = [_correlation(odds[rows], probe.values[rows, asked]) for asked, rows in groups.items()]
    return accuracy | {"probe_correlation": float(torch.stack(each).nanmean())}


def weighed(effects: Mapping[str, Tensor], probe: Probe) -> tuple[Reliance, ...]:
    """The reliances of a probe: over its classes or halves or, of several labels or values, that of the surest one."""
    if probe.task.n_scores == 1 or not probe.task.asks:
        reliances = weigh(effects, probe.targets, probe.classes)
    else:
        names: Sequence[str] = [name for name in probe.task.names for _ in range(2)]
        reliances = weigh_labels(effects, probe.targets, names if probe.task.kind == VALUES else probe.classes)
    return tuple(replace(each, kind=probe.task.kind) for each in reliances)


def predicted_values(logits: Tensor, probe: Probe) -> Tensor:
    """The value ``(N,)`` that is predicted where each image is asked for one, in the units of the targets."""
    odds = _odds(logits, probe.targets)
    values = torch.empty_like(odds)
    for asked, rows in _groups(probe.targets).items():
        values[rows] = probe.task.value(odds[rows], asked)
    return values


def true_values(probe: Probe) -> Tensor:
    """The value ``(N,)`` that each image is asked for."""
    assert probe.values is not None
    return probe.values.gather(1, probe.targets[:, None] // 2)[:, 0]


def _odds(logits: Tensor, answers: Tensor) -> Tensor:
    """Odds ``(N,)`` for the label or value that each image is asked for."""
    return (logits.gather(1, (answers | 1)[:, None]) - logits.gather(1, (answers & ~1)[:, None]))[:, 0]


def _groups(answers: Tensor) -> dict[int, Tensor]:
    return {asked: answers // 2 == asked for asked in sorted(set((answers // 2).tolist()))}


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    pair = torch.stack([one.double(), other.double()])
    pair = pair - pair.mean(1, keepdim=True)
    return (pair[0] * pair[1]).sum() / pair.square().sum(1).prod().sqrt()
