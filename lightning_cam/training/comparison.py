"""Before the training and once in it: is the probe what the model sees? At every check: do the accuracies agree?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..attribution.calls import MOST_ROWS
from ..attribution.heads import class_scores
from ..attribution.self_check import TouchedError, self_checked
from ..datasets.apart import Source, item_at
from ..datasets.items import Reader, own_seed
from ..datasets.labels import known_labels
from ..datasets.normalization import Normalize
from ..datasets.streams import FirstItems
from ..probe import Probe
from ..probe.rest import carrying
from ..probe.task import CLASSES
from .accuracy import Logged, logged_in
from .agreement import Agreement, ModuleForward, agreed, takes
from .batches import Catcher, RealBatch, batch_of, can_be_repeated, loaders_in
from .failures import Failures
from .likeness import overlaps
from .module import NoForwardError, forward_of
from .own_rest import Sample
from .preprocessing import EXACT, Both, Step, unexplained
from .ranks import from_everyone, from_first
from .trainer import Drawing

UNSEEN = "No validation batch has reached the model yet, so the probe has not been compared with one."
FEW = 4  # images whose range is compared


class Comparison:
    """Whether the probe is what the model sees. Every process compares, side by side, and the first one decides.

    Attributes:
        is_settled: Whether a batch has been compared, the same in every process.
    """

    def __init__(self, failures: Failures) -> None:
        self.is_settled = False
        self._awaits_batch = True
        self._is_callable: bool | None = None  # without a batch
        self._catcher = Catcher()
        self._compared_with: RealBatch | None = None
        self._agreement = Agreement()
        self._failures = failures
        self._shares: Mapping[int, float] = {}
        self._validates = True  # whether the batch is one of validation
        self._is_drawn = False  # a probe of the user's own may be harder than the validation data, on purpose

    @property
    def size(self) -> tuple[int, int] | None:
        """``(height, width)`` of the images that the model was given, if a batch has come."""
        batch = self._catcher.batch
        images = next((call.images for _, call in batch.entries), None) if batch else None
        return None if images is None else (images.shape[-2], images.shape[-1])

    def shows_way(self, module: nn.Module, probe: Probe, given: ModuleForward | None) -> bool:
        """Whether it is known how the model is called; if not, the first batch shows it."""
        if not self.is_settled and self._is_callable is None:
            self._is_callable = can_be_called(module, probe, given)
        return self.is_settled or bool(self._is_callable)

    @property
    def has_waited(self) -> bool:
        """Whether nothing could be looked at before a batch came."""
        return self._is_callable is False

    @property
    def has_come(self) -> bool:
        """Whether anything has arrived at the model since `begin`."""
        return self._catcher.has_come

    def begin(self, module: nn.Module, loaders: Any, *, validates: bool) -> None:
        """Before a step of the user's own, of validation or of training."""
        if self._awaits_batch:
            self._validates = validates
            with self._failures.surviving("watching a batch"):
                self._catcher.begin(module, loaders)

    def end(self) -> None:
        """After that step, or where it raised."""
        with self._failures.surviving("watching a batch"):
            self._catcher.end()

    def await_another(self) -> None:
        """When the training begins: it may set the constants and running means that a sanity check ran without."""
        self._awaits_batch, self._catcher.batch = True, None

    def settle(
        self,
        module: nn.Module,
        probe: Probe,
        loaders: Any,
        *,
        drawing: Drawing | None,
        given: ModuleForward | None,
        has_score: bool = False,
    ) -> Agreement | None:
        """What came of the comparison, the same in every process; None without a batch, or where it is as before.

        Args:
            module: As it is now.
            probe: As drawn or given, without a step that an earlier comparison found.
            loaders: Of the batch.
            drawing: How the probe was drawn from their data set; None where the user made the probe.
            given: The user's own ``forward=``.
            has_score: Whether maps explain a score of the user's own, so that the model may give no class scores.
        """
        if not self._awaits_batch or not all(from_everyone(self._catcher.batch is not None)):
            return None
        self.is_settled, self._awaits_batch, self._is_drawn = True, False, drawing is not None
        batch, self._catcher.batch = self._catcher.batch, None
        before, self._compared_with = self._compared_with, batch
        if all(from_everyone(_is_as_before(batch, before))):
            return None
        mine = self._agreement  # a second comparison that fails changes nothing
        with self._failures.surviving("comparing the probe with a batch"):
            if batch is not None:
                mine = self._compared(module, probe, loaders, batch, drawing, given=given, has_score=has_score)
        touched = next(filter(None, from_everyone(mine.has_touched)), "")
        step, doubt = from_first((mine.step, mine.doubt))
        self._agreement = replace(mine, step=step, doubt=doubt, has_touched=touched)
        return self._agreement

    def _compared(
        self,
        module: nn.Module,
        probe: Probe,
        loaders: Any,
        batch: RealBatch,
        drawing: Drawing | None,
        *,
        given: ModuleForward | None,
        has_score: bool,
    ) -> Agreement:
        """What this process finds. All get to the forward passes, or none does."""
        at_hand, loader = None, next(loaders_in(loaders), None)  # an iterable of one's own has no data set
        drawing = drawing if loader is not None else None
        try:
            with self_checked(module):
                with self._failures.surviving("comparing the probe with a batch"):
                    at_hand = self._at_hand(module, probe, loader, batch, drawing)
                if not all(from_everyone(at_hand is not None)) or at_hand is None:
                    return self._agreement
                batch, inputs, are_same = at_hand
                return agreed(
                    module,
                    batch,
                    inputs,
                    are_same=are_same,
                    are_drawn=drawing is not None,
                    given=_called(module, probe, given),
                    task=probe.task,
                    has_score=has_score,
                    is_steady=partial(self._is_steady, module, loader, batch),
                    sample=partial(_sample, loader, batch, drawing),
                )
        except TouchedError as error:
            return Agreement(has_touched=str(error))

    def _at_hand(
        self, module: nn.Module, probe: Probe, loader: Any, batch: RealBatch, drawing: Drawing | None
    ) -> tuple[RealBatch, Tensor, bool]:
        """A batch, model inputs by the probe's way, and whether they are of the batch's items."""
        inputs = None
        if drawing is not None:
            self._shares = _shares(Source(loader.dataset).asked)
            batch = self._in_order(module, loader, batch) if drawing.preprocess is None else batch
            inputs = None if probe.is_numbered else _same_items(loader, batch, probe, drawing)
        return batch, _first_inputs(probe, FEW) if inputs is None else inputs, inputs is not None

    def _in_order(self, module: nn.Module, loader: Any, batch: RealBatch) -> RealBatch:
        """The batch, or one of items that are known, where that is like what has really arrived.

        Of compiled code nothing was seen, so that nothing is known which the other batch could contradict.
        """
        if (batch.indices is not None and batch.at_stem is not None) or not self._may_repeat(module, loader):
            return batch
        with own_seed(0), suppress(Exception):  # a step may want more of its batch than we know
            indices = _some_of(Source(loader.dataset).items)
            ours = batch_of(module, loader, batch.indices or indices, batch.stem)
            if batch.at_stem is None or batch.stem is None:
                return replace(ours, passages=batch.passages) if ours.at_stem is not None else batch
            at_stem = ours.calls[batch.stem].largest
            if at_stem is not None and overlaps(at_stem, batch.at_stem):
                # It has ended there. What is known of further networks is of the real batch.
                return replace(batch, calls={**batch.calls, **ours.calls}, indices=ours.indices)
        return batch

    def _may_repeat(self, module: nn.Module, loader: Any) -> bool:
        return self._validates and can_be_repeated(module, loader)

    def _is_steady(self, module: nn.Module, loader: Any, batch: RealBatch) -> bool:
        """Whether the batch's items arrive as the same numbers when they are read and prepared again."""
        if not self._may_repeat(module, loader):
            return False
        with own_seed(1), suppress(Exception):  # see above
            again = batch_of(module, loader, batch.indices or (), batch.stem).at_stem
            return again is not None and batch.at_stem is not None and unexplained(again, batch.at_stem) <= EXACT
        return False

    def logged(self, metrics: Mapping[str, Any]) -> Logged | None:
        """The accuracy on validation data that the user logs, if there is one."""
        return logged_in(metrics, self._shares) if self._is_drawn else None


def _sample(loader: Any, batch: RealBatch, drawing: Drawing | None) -> Sample | None:
    """The items of a batch, for code that finds its tensors in them; None where they are not known."""
    with own_seed(0), suppress(Exception):  # a data set may raise anything; then the words say less
        if drawing is not None and batch.indices:
            return Sample(list(Source(loader.dataset, loader).read(item_at, batch.indices)), drawing.read)
    return None


def _first_inputs(probe: Probe, n: int) -> Tensor:
    return probe.prepare(probe.images[:n], torch.arange(len(probe.images[:n])))


def _is_as_before(batch: RealBatch | None, before: RealBatch | None) -> bool:
    """Whether the same numbers arrived at the same layer, so that there is nothing new to compare."""
    if batch is None or before is None or batch.at_stem is None or before.at_stem is None:
        return False
    return batch.stem == before.stem and torch.equal(batch.at_stem, before.at_stem)


def can_be_called(module: nn.Module, probe: Probe, given: ModuleForward | None) -> bool:
    """Whether a check can be made before any batch, the same in every process.

    If not, the first batch shows how the model is called. A probe whose ``preprocess`` raises goes on to the check,
    which says so.
    """
    given = carrying(given, probe)
    try:
        forward_of(module, given)
    except NoForwardError:
        return False
    mine = False
    try:
        inputs = _first_inputs(probe, 2)
    except Exception:  # whatever the user's code raises
        mine = True
    else:
        with suppress(TouchedError), self_checked(module):
            mine = takes(module, inputs, given)
    return all(from_everyone(mine))


def gives_values(module: nn.Module, probe: Probe, given: ModuleForward | None) -> bool:
    """Whether the model gives one number where the probe has more than two classes, the same in every process."""
    mine = False
    if probe.task.kind == CLASSES and len(set(probe.targets.tolist())) > 2:
        with suppress(Exception), self_checked(module):  # where it cannot be called yet, the first check says so
            run = forward_of(module, carrying(given, probe))
            inputs = _first_inputs(probe, FEW)
            mine = class_scores(module, inputs, None, None if run is None else partial(run, module)).head.width == 1
    return all(from_everyone(mine))


def _called(module: nn.Module, probe: Probe, given: ModuleForward | None) -> ModuleForward | None:
    """How the model is called with the probe's inputs; of a module without ``forward`` that is its only network."""
    carried = carrying(given, probe)
    with suppress(NoForwardError):
        return forward_of(module, carried) if probe.boxes is not None else carried
    return carried


def with_step(probe: Probe, step: Step) -> Probe:
    """The probe with one more step on the way to model input; two normalisations in a row are one."""
    first, then = probe.preprocess, step.as_normalize()
    if then is None:
        return probe.with_preprocess(Both(first, step))
    return probe.with_preprocess(
        then.after(first) if isinstance(first, Normalize) else then if first is None else Both(first, then)
    )


def _shares(dataset: Any) -> Mapping[int, float]:
    labels = known_labels(dataset) or []
    return {label: count / len(labels) for label, count in Counter(labels).items()}


def _some_of(dataset: Any) -> Sequence[int]:
    """Items of every class, where they are sorted; of a stream the first ones, since those between are read as well."""
    n = len(dataset)
    return range(0, n, 1 if isinstance(dataset, FirstItems) else max(n // MOST_ROWS, 1))[:MOST_ROWS]


def _same_items(loader: Any, batch: RealBatch, probe: Probe, drawing: Drawing) -> Tensor | None:
    """Model inputs of the batch's items by the probe's way; None where they are not known, or the user sets the way."""
    if batch.indices is None or drawing.preprocess is not None:
        return None
    size = (probe.images.shape[-2], probe.images.shape[-1])
    with own_seed(0):
        source = Source(drawing.items_of(loader.dataset), loader)
        readings = list(source.read(Reader(0, size, None, None, None).reading, batch.indices))
    if any(reading.is_missing for reading in readings):  # the batch has other rows than these
        return None
    return torch.stack([reading.item.as_given for reading in readings])
