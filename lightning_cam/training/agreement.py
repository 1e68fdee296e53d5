"""Whether a model is given of the probe what it is given of the user's own batches; if not, which step is missing.

A validation batch and the same items read for the probe must arrive at the model's first layer as the same tensor.
Where they do not, the missing step is looked for: in what arrived at ``forward``, then in what arrived at the network
inside. A step counts as found only if the probe's images, sent through it, arrive as the batch did.

Processes that train together try the same ways side by side, and the first one decides. So all run equally many forward
passes, with as many images, and a collective inside a forward waits for nobody.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..attribution import engine
from ..attribution.calls import Replay
from ..attribution.guard import untouched
from ..attribution.heads import class_scores
from ..probe.rest import rows_of
from ..probe.task import OBJECTS, Task
from .batches import RealBatch, arrives
from .doubts import missing_step, more_than_images, one_of, other_numbers, takes_no_images
from .likeness import is_equal, is_of_one_range, of_any_size, overlaps
from .module import forward_of
from .own_rest import Sample
from .preprocessing import Step, explain, unexplained
from .ranks import from_first, rank

ModuleForward: TypeAlias = Callable[[nn.Module, Tensor], Any]
Way: TypeAlias = tuple[Step | None, tuple[str, ...] | None]
"""A step, and the names of modules that are called as in the batch, or None for images alone."""

# Of the same items, as a share of their spread: another way to resize leaves 0.1, a curve or other colours 0.5 or more.
_OTHER = 0.3


@dataclass(frozen=True)
class Agreement:
    """What came of the comparison.

    Attributes:
        step: What the probe's inputs lack; None where nothing is missing or nothing was found.
        forward: How the user's step calls the model; None where that is with images alone.
        doubt: Why no verdict can be trusted, in words for a person; empty where the probe is what the model sees.
        guess: Why the class scores may be those of another network, unless the accuracy that the user logs agrees.
        has_touched: What the model's own forward changed out of sight; empty where nothing was.
    """

    step: Step | None = None
    forward: ModuleForward | None = None
    doubt: str = ""
    guess: str = ""
    has_touched: str = ""


def agreed(
    module: nn.Module,
    batch: RealBatch,
    inputs: Tensor,
    *,
    are_same: bool,
    are_drawn: bool,
    given: ModuleForward | None,
    task: Task,
    has_score: bool = False,
    is_steady: Callable[[], bool] = lambda: False,
    sample: Callable[[], Sample | None] = lambda: None,
) -> Agreement:
    """Compares what arrives at the first layer in the user's step and by the probe's way. The model stays as it is.

    All processes have to call this. Step and doubt count in the first one.

    Args:
        module: The Lightning module.
        batch: What arrived in a step of its own.
        inputs: ``(n, ...)`` model inputs by the probe's way.
        are_same: Whether they are of the same items as the batch, row by row; else ranges and sizes are compared.
        are_drawn: Whether they are of the same data set at least.
        given: The user's own ``forward=``, which is taken as it is.
        task: What the model is asked.
        has_score: Whether the model may give no class scores, because maps explain a score of the user's own.
        is_steady: Whether the same items arrive as the same numbers again, so that nothing on their way is random.
        sample: The batch's items, for what is said of them.
    """
    expected = batch.at_stem
    if from_first(batch.stem is None or expected is None):
        return Agreement()  # compiled or scripted as a whole; nothing can be seen there
    inputs = _of_length(inputs, from_first(len(inputs)))
    is_like = is_of_one_range if are_drawn else overlaps
    is_like = partial(of_any_size, is_like) if task.kind == OBJECTS else is_like
    is_same = is_equal if are_same else is_like
    arrived: Tensor | None = None
    to_scores: ModuleForward | None = None
    to_features: Agreement | None = None
    for step, names in _ways_of_the_first(batch, inputs, are_same=are_same, given=given):
        if to_features is not None and (names is None or len(names) == 1):
            continue
        sent, forward, is_found, gives_scores = inputs if step is None else step(inputs), given, False, False
        with suppress(Exception):  # the way is not this one, whatever the user's code says to it
            forward = given or _call if names is None else batch.ways[names]
            found, gives_scores = _arrived(module, sent, forward, task, has_score=has_score)
            arrived = found.get(batch.stem or "") if arrived is None else arrived
            is_found = _leads_there(found, batch, names, is_same)
        is_found, gives_scores = from_first((is_found, gives_scores))
        to_scores = forward if to_scores is None and gives_scores else to_scores
        if not is_found:
            continue
        agreement = _checked(Agreement(step, forward), module, inputs, task, sample)
        if gives_scores or given is not None:
            return replace(agreement, guess=_guess(module, batch, sent, names, task))
        to_features = agreement  # unless the step's next calls lead on from there
    if to_features is not None or expected is None:
        return to_features or Agreement()
    if arrived is not None and is_like(arrived, expected):
        is_other = are_same and unexplained(arrived, expected) > _OTHER and is_steady()
        doubt = other_numbers(batch) if is_other else ""  # else transforms of the data set are random
    elif given is None and (name := _network_past_forward(batch)):
        doubt = takes_no_images(name)
    else:
        shown = rows_of(inputs)[0] if getattr(given, "carries", False) else inputs
        doubt = missing_step(batch, shown, expected, arrived, are_same=are_same)
    return Agreement(forward=to_scores if isinstance(to_scores, Replay) else None, doubt=doubt)


def _arrived(
    module: nn.Module, sent: Tensor, forward: ModuleForward, task: Task, *, has_score: bool
) -> tuple[Mapping[str, Tensor], bool]:
    """What arrives at the modules on a way, and whether it leads to scores of these classes.

    Nothing counts as arrived where the way leads from a part of the module to features for another part.

    Raises:
        Exception: Whatever the user's code says to this way, or that there are no class scores at its end.
    """
    arrived = arrives(module, partial(forward, module), sent)
    try:
        gives_scores = _gives_scores(module, sent, forward, task)  # or raises
    except ValueError:
        if not has_score:
            raise
        gives_scores = True  # of the user's own, which reads any output
    is_part = isinstance(forward, Replay) and forward.names != ("",)
    return (arrived if gives_scores or not is_part else {}), gives_scores


def _gives_scores(module: nn.Module, sent: Tensor, forward: ModuleForward, task: Task) -> bool:
    if getattr(forward, "embeds", False):  # these become scores by `Similarity`
        return True
    head = class_scores(module, sent, task.n_scores, partial(forward, module), task=task).head
    return not head.remark or head.is_guess


def _leads_there(
    found: Mapping[str, Tensor],
    batch: RealBatch,
    names: tuple[str, ...] | None,
    is_same: Callable[[Tensor, Tensor], bool],
) -> bool:
    """Whether at a first layer of the batch's the same arrives: of the network itself, or of those behind `forward`."""
    stems = [batch.stems[names[0]]] if names and names[0] else list(batch.stems.values())
    stem = next((stem for stem in stems if stem in found), None)
    expected = None if stem is None else batch.calls[stem].largest
    return stem is not None and expected is not None and is_same(found[stem], expected)


def _guess(module: nn.Module, batch: RealBatch, sent: Tensor, names: tuple[str, ...] | None, task: Task) -> str:
    """Why other networks or heads may give the class scores: the training changes them, and they give some, too."""
    if not names or names == ("",):
        return ""
    ways, rivals = batch.ways, [names]
    for other in from_first([each for each in ways if not _is_part(each, names) and (each[0] or not names[0])]):
        with suppress(Exception):  # a generator, say, gives images
            is_new = not any(_is_part(other, each) for each in rivals)
            if _gives_scores(module, sent, ways[other], task) and is_new:
                rivals.append(other)
    return one_of([ways[each] for each in rivals]) if len(rivals) > 1 else ""


def _is_part(names: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether one of two ways is the beginning of the other."""
    return all(one == other for one, other in zip(names, others, strict=False))


def _of_length(inputs: Tensor, n: int) -> Tensor:
    """``n`` of the inputs, from the beginning again where there are too few."""
    return inputs if len(inputs) == n else inputs[torch.arange(n) % len(inputs)]


def _ways_of_the_first(batch: RealBatch, inputs: Tensor, *, are_same: bool, given: ModuleForward | None) -> list[Way]:
    """The ways that the first process finds, or the same error in every process."""
    ways: list[Way] | str = []
    try:
        ways = list(_ways(batch, inputs, are_same=are_same, given=given)) if rank() == 0 else []
    except Exception as error:
        ways = str(error)
    ways = from_first(ways)
    if isinstance(ways, str):
        raise RuntimeError(ways)
    return ways


def _ways(batch: RealBatch, inputs: Tensor, *, are_same: bool, given: ModuleForward | None) -> Iterator[Way]:
    """Steps and calls that may lead to what arrived, the simplest first."""
    yield None, None
    ways = batch.ways if given is None else {}
    yield from ((None, names) for names in ways)
    for name, call in batch.entries:
        images = call.images
        step = explain(inputs, images) if are_same and images is not None else None
        if step is not None:
            yield step, None
            yield from ((step, names) for names in ways if names[0] == name)


def takes(module: nn.Module, inputs: Tensor, given: ModuleForward | None) -> bool:
    """Whether the model can be given images alone. The model stays as it is."""
    try:
        with untouched(module):
            (given or _call)(module, engine.placed(module, inputs).clone())
    except Exception:  # whatever the user's code says to it
        return False
    return True


def _call(module: nn.Module, images: Tensor) -> Any:
    """The model's class scores as they are had without any knowledge of its batches."""
    forward = forward_of(module, None)
    return module(images) if forward is None else forward(module, images)


def _checked(
    found: Agreement, module: nn.Module, inputs: Tensor, task: Task, sample: Callable[[], Sample | None]
) -> Agreement:
    """The agreement; doubted where the class scores hang on more than images, which the probe does not have."""
    if not isinstance(found.forward, Replay):
        return Agreement(found.step)
    replay = found.forward
    if replay.call.is_plain and replay.names == ("",) and replay.call.images is not None:
        return found if not replay.call.images.is_floating_point() else Agreement(found.step)
    others = replay.others(module)
    if others and _depends(module, replay, inputs if found.step is None else found.step(inputs), task):
        return Agreement(found.step, replay, doubt=more_than_images(replay, module, sample()))
    return found


def _depends(module: nn.Module, replay: Replay, inputs: Tensor, task: Task) -> bool:
    """Whether other rows beside the images lead to other class scores."""
    try:
        one = class_scores(module, inputs, task.n_scores, partial(replay, module), task=task)
        other = class_scores(module, inputs, task.n_scores, partial(replay.turned(), module), task=task)
        logits = [engine.predict(module, inputs, forward=each) for each in (one, other)]
        return not torch.allclose(logits[0], logits[1], rtol=1e-3, atol=1e-5)
    except (ValueError, RuntimeError):  # the check that follows says what is wrong
        return False


def _network_past_forward(batch: RealBatch) -> str:
    """Name of the network that is given images, where ``forward`` is not, as in a GAN; else empty."""
    whole = batch.calls.get("")
    name = next((name for name, _ in batch.entries), "")
    return name if whole is not None and whole.images is None else ""
