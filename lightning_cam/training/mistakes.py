"""The mistakes of the whole validation set, from the outputs that the user's own validation computes.

Nothing runs twice. A hook sees images and output of each batch; the surest of the wrong images are kept, and of all
others the two class indices. On a GPU nothing waits for the result of a batch.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..attribution.heads import Head
from ..attribution.outputs import SUM_TOLERANCE, predicted_classes
from ..attribution.overheard import Listener, networks_of
from ..datasets.normalization import as_normalize, spanning
from ..datasets.parts import parts_of
from ..probe import Probe
from ..probe.datasets import FramesFirst
from ..sinks.snapshot import pairs_of
from .accuracy import CLEARLY, Logged
from .failures import Failures
from .observer import Observer
from .ranks import from_everyone, n_ranks, rank

MOST = 8  # images: a glance. Each has three maps on the page
MOST_VALUES = 2**23  # of kept images: 32 MiB, 8 images of 591 x 591 pixels in colour
MOST_ANSWERS = 2_000_000  # of which two class indices are kept, 8 bytes each


@dataclass(frozen=True, eq=False)
class Kept:
    """The surest mistakes, surest first.

    Attributes:
        certainty: ``(k,)`` probability of the predicted class; -1 in a row that is no mistake.
        labels: ``(k,)``.
        predicted: ``(k,)``.
        places: ``(k,)`` which images of the validation data they are, as the loader gave them.
        images: ``(k, C, H, W)`` model inputs.
    """

    certainty: Tensor
    labels: Tensor
    predicted: Tensor
    places: Tensor
    images: Tensor

    def surest(self, n: int) -> "Kept":
        """At most ``n`` of them."""
        rows = self.certainty.topk(min(n, len(self.certainty))).indices
        return Kept(*(column[rows] for column in vars(self).values()))

    def beside(self, other: "Kept") -> "Kept":
        """Both."""
        columns = zip(vars(self).values(), vars(other).values(), strict=True)
        return Kept(*(torch.cat(pair) for pair in columns))

    def real(self) -> "Kept":
        """On the CPU, without the rows that are no mistake."""
        columns = [column.cpu() for column in vars(self).values()]
        rows = (columns[0] >= 0) & columns[-1].isfinite().flatten(1).all(1)
        return Kept(*(column[rows] for column in columns))


@dataclass(frozen=True, eq=False)
class _Seen:
    """As `Gathered`, of one process, which may have kept nothing."""

    kept: Kept | None
    labels: Tensor
    predicted: Tensor
    n_classes: int


@dataclass(frozen=True, eq=False)
class Gathered:
    """What all processes have seen of the validation data.

    Attributes:
        kept: The surest mistakes.
        labels: ``(n,)`` of all images.
        predicted: ``(n,)``.
        n_classes: How many classes the model knows.
    """

    kept: Kept
    labels: Tensor
    predicted: Tensor
    n_classes: int

    @property
    def accuracy(self) -> float:
        """Share of all images that are right."""
        return float((self.labels == self.predicted).double().mean())

    def goes_with(self, logged: Logged | None) -> bool:
        """Whether labels and answers were understood as by the user, whose own accuracy tells."""
        return logged is None or self.accuracy > logged.value - CLEARLY

    def pairs(self) -> list[tuple[int, int, int, int]]:
        """Which classes are taken for which, in all images; as `Snapshot.pairs`."""
        return pairs_of(self.predicted, self.labels)

    def as_probe(self, like: Probe) -> Probe:
        """The kept images as a probe, with the pixels that a person would look at."""
        inputs, before = self.kept.images.float(), like.preprocess
        are_frames = isinstance(before, FramesFirst)
        if isinstance(before, FramesFirst):
            inputs, before = inputs.transpose(1, 2), before.then
        step = as_normalize(before) if before is not None else None
        pixels = inputs if before is None else inputs if step is None else step.inverse(inputs)
        preprocess: Any = step
        if (step is None and before is not None) or not _are_pixels(pixels):
            preprocess = spanning(list(inputs))
            pixels = preprocess.inverse(inputs)
        return Probe(
            pixels.clamp(0, 1),
            self.kept.labels,
            masks=[None] * len(inputs),
            classes=[*like.classes, *(f"class {i}" for i in range(len(like.classes), self.n_classes))],
            names=[f"validation image {place}" for place in self.kept.places.tolist()],
            preprocess=FramesFirst(preprocess) if are_frames else preprocess,
        )


def _are_pixels(values: Tensor) -> bool:
    return bool((values >= -1e-3).all() and (values <= 1 + 1e-3).all())  # up to half precision


class Mistakes:
    """Collects the mistakes of one validation after another; the last one counts.

    Args:
        observer: Knows how the model is called, and where its class scores are.
        failures: Counts what goes wrong.
        is_wanted: Whether anybody looks at the pictures.
    """

    def __init__(self, observer: Observer, failures: Failures, *, is_wanted: bool) -> None:
        self._observer = observer
        self._failures = failures
        self._is_wanted = is_wanted
        self._listener: Listener | None = None
        self._networks: Mapping[str, tuple[str, str]] = {}
        self._kept: Kept | None = None
        self._answers: list[Tensor] = []  # (2, n) for each batch: labels, predicted
        self._n_seen = self._n_classes = 0

    def before(self, trainer: Any, module: nn.Module, *, is_first: bool) -> None:
        """Before a batch of the first validation loader."""
        if not self._is_wanted or trainer.fast_dev_run or trainer.sanity_checking:
            return
        with self._failures.surviving("listening to the validation"):
            if is_first:
                self.forget()
                self._networks = networks_of(module, self._observer.way) if self._observer.can_listen else {}
            if self._networks and self._n_seen < MOST_ANSWERS:
                self._listener = Listener(module, self._networks)

    def after(self, batch: Any) -> None:
        """After that batch."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with self._failures.surviving("listening to the validation"):
                listener.close()
                self._listen(listener, batch)

    def _listen(self, listener: Listener, batch: Any) -> None:
        labels, head = labels_of(batch), self._observer.head
        answer = None if labels is None or head is None else _answer(listener, head, len(labels))
        if labels is None or answer is None:
            self._networks = {}  # of this validation nothing is known: a part of it would be taken for all
            self._kept, self._answers = None, []
            return
        with torch.no_grad():
            self._take(*answer, labels)

    def _take(self, images: Tensor, chances: Tensor, labels: Tensor) -> None:
        certainty, predicted = chances.amax(1), predicted_classes(chances)
        labels = labels.to(chances.device, torch.long)
        self._n_classes = chances.shape[1]
        self._answers.append(torch.stack([labels, predicted]).int())
        first, step = self._n_seen * n_ranks() + rank(), n_ranks()  # processes take turns, as samplers share images out
        places = torch.arange(first, first + len(labels) * step, step, device=chances.device)
        self._n_seen += len(labels)
        is_class = (labels >= 0) & (labels < chances.shape[1])  # others tell of images without a class
        is_mistake = is_class & (predicted != labels) & certainty.isfinite()
        n = min(MOST, MOST_VALUES // max(images[0].numel(), 1))
        if chances.device.type == "cpu" and not is_mistake.any():  # elsewhere the question would wait for an answer
            return
        mine = Kept(certainty.where(is_mistake, -1.0), labels, predicted, places, images).surest(n)
        if self._kept is None:
            self._kept = mine
        elif self._kept.images.shape[1:] == images.shape[1:]:
            self._kept = self._kept.beside(mine).surest(n)

    def gathered(self) -> Gathered | None:
        """Of all processes, the same in every process; None where there is no mistake, or nothing was seen.

        All processes have to call this.
        """
        mine: _Seen | None = None
        with suppress(RuntimeError):  # no memory, say: the other processes must not wait
            mine = self._mine()
        return _merged([each for each in from_everyone(mine) if each is not None])

    def _mine(self) -> _Seen | None:
        if not self._answers:
            return None
        answers = torch.cat(self._answers, 1).long().cpu()
        labels, predicted = answers[:, (answers[0] >= 0) & (answers[0] < self._n_classes)]
        return _Seen(None if self._kept is None else self._kept.real(), labels, predicted, self._n_classes)

    def forget(self) -> None:
        """Lets go of images and hooks."""
        if self._listener is not None:
            self._listener.close()
        self._listener, self._networks, self._kept, self._answers, self._n_seen = None, {}, None, [], 0


def labels_of(batch: Any) -> Tensor | None:
    """Class indices ``(N,)`` in a batch, where they are found in one of the usual forms."""
    with suppress(Exception):  # whatever a batch of the user's own is
        target = parts_of(batch)[1]
        if isinstance(target, Tensor) and target.numel() == len(target) > 0 and not target.is_complex():
            return target.detach().reshape(-1)  # numbers with a fraction are told apart at the end
    return None


def _answer(listener: Listener, head: Head, n: int) -> tuple[Tensor, Tensor] | None:
    """Images and probabilities ``(n, n_classes)``; None where no network or more than one may have given them."""
    fitting = {}
    for name, answer in listener.answers.items():
        with suppress(Exception):  # another output than the class scores
            chances = _probabilities(head.scores(answer.output).detach().float())
            if len(answer.images) == len(chances) == n:
                fitting[name] = answer.images, chances
    return fitting.get("", next(iter(fitting.values()), None) if len(fitting) == 1 else None)


def _probabilities(scores: Tensor) -> Tensor:
    """As the softmax of `as_logits`, which asks what the numbers are; here a GPU would have to wait for the answer."""
    if scores.shape[1] == 1:
        return torch.cat([-scores / 2, scores / 2], 1).softmax(1)
    are_probabilities = ((scores >= 0).all(1) & ((scores.sum(1) - 1).abs() < SUM_TOLERANCE)).all()
    return torch.where(are_probabilities, scores, scores.softmax(1))


def _merged(parts: Sequence[_Seen]) -> Gathered | None:
    """Without images of another size than the first, since a probe has one size."""
    with_images = [part.kept for part in parts if part.kept is not None and len(part.kept.labels)]
    if not with_images:
        return None
    kept = with_images[0]
    for other in with_images[1:]:
        kept = kept.beside(other) if other.images.shape[1:] == kept.images.shape[1:] else kept
    labels, predicted = (torch.cat([getattr(part, name) for part in parts]) for name in ("labels", "predicted"))
    return Gathered(kept.surest(MOST), labels, predicted, max(part.n_classes for part in parts))
