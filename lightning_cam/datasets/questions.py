"""Several labels at once: which image of a probe is asked for which label.

Each image gets one question: has it this label, yes or no? So every image counts once, and the answers for one label
are those of a classifier of two classes. Answer ``2 k`` says that label ``k`` is absent, and ``2 k + 1`` that the image
has it. Labels are marks ``(N, K)``: 0, 1, and -1 where nobody knows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .labels import LABEL_KEYS, first_of, label_columns, through
from .normalization import wrapped
from .tasks import FormError, task_of

UNMARKED = -1
# Images that are asked for one label, at least: of 12 answers that agree, a sign test is sure after correction for
# five labels and ten cues (2**-12 * 50 = 0.012), and of 8 it is not.
LEAST_PER_LABEL = 12
# The same, where the probe may be as large as it needs: as many as a probe of two classes has. From 36 images whose
# answers stay the same it can be ruled out that a label relies on a cue, see `needed_n`.
PER_LABEL = 64
_LEAST_OF_ANSWER = 2  # images: a trial swaps among images of one answer, and a single one has no partner


def marks_of(target: object) -> tuple[int, ...]:
    """The marks of an item's target: two or more of 0, 1 and -1 in a row; empty for another target.

    A NaN or any negative number stands for a label that nobody knows.

    >>> marks_of(torch.tensor([0.0, 1.0, -1.0])), marks_of(3), marks_of(torch.tensor([0.2, 0.8]))
    ((0, 1, -1), (), ())
    """
    if isinstance(target, Mapping):
        return () if task_of(target) else marks_of(first_of(target, LABEL_KEYS, "label"))
    try:
        numbers = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError):
        return ()
    marks = as_marks(numbers[None]) if numbers.ndim == 1 else None
    return () if marks is None else tuple(marks[0].tolist())


def as_marks(rows: Tensor) -> Tensor | None:
    """Marks ``(N, K)`` of numbers ``(N, K)``; None where these are no marks."""
    if rows.ndim != 2 or rows.shape[1] < 2 or rows.is_complex() or not rows.numel():
        return None
    numbers = rows.double().nan_to_num(UNMARKED)
    marks = numbers.clamp_min(UNMARKED)
    are_marks = bool(((marks == 0) | (marks == 1) | (numbers < 0)).all()) and bool((numbers >= 0).any())
    return marks.floor().long() if are_marks else None


def known_marks(dataset: Any) -> Tensor | None:
    """Marks ``(N, K)`` of all items, as `known_labels`; None if only reading the items gives them."""
    rows = through(dataset, _own_marks)
    return torch.stack(rows) if rows else None


def _own_marks(dataset: Any) -> list[Tensor] | None:
    if getattr(dataset, "target_transform", None) is not None:
        return None
    for values in label_columns(dataset):
        try:
            marks = as_marks(torch.as_tensor(values))
        except (TypeError, ValueError, RuntimeError):
            continue
        if marks is not None and len(marks) == len(dataset):
            return list(marks)
    inner = wrapped(dataset)
    marks = None if inner is None else known_marks(inner)
    return list(marks) if marks is not None and len(marks) == len(dataset) else None


def answer_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Names of the answers to the questions for labels.

    >>> answer_names(["cat", "dog"])
    ('no cat', 'cat', 'no dog', 'dog')
    """
    return tuple(name for label in labels for name in (f"no {label}", label))


def checked_marks(rows: Sequence[tuple[int, ...]]) -> Tensor:
    """Marks ``(N, K)`` of items.

    Raises:
        FormError: Items have different numbers of labels, or some have none.
    """
    widths = sorted({len(row) for row in rows})
    if len(widths) != 1 or not widths[0]:
        raise FormError(f"every item must have as many 0/1 labels as the others, got {widths[0]} and {widths[-1]}")
    marks = torch.tensor(rows)
    if (marks == UNMARKED).any() and not (marks == 0).any():
        raise FormError("labels must be 1 where an image has one and 0 where it has not, got no 0 but negative numbers")
    return marks


def balanced_questions(marks: Tensor, n: int, seed: int) -> dict[int, int]:
    """An answer for each of ``n`` rows of marks ``(N, K)``, as many of each answer as there are.

    Answers take turns, the rarest first. Of too many labels for ``n`` images, some are asked for: those that enough
    images have and lack come first.

    >>> balanced_questions(torch.tensor([[1], [0], [1], [0], [1], [1]]), 4, seed=0).values()
    dict_values([0, 1, 0, 1])
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(marks), generator=generator)
    counts = torch.stack([(marks == answer).sum(0) for answer in (0, 1)], 1)
    labels = _asked_for(counts, max(n // LEAST_PER_LABEL, 1), generator)
    answers = sorted((int(counts[k, y]), 2 * k + y) for k in labels for y in (0, 1))
    shuffled = marks[order]
    candidates = {
        # Others take at most ``n`` of them.
        answer: iter(order[shuffled[:, answer // 2] == answer % 2][:n].tolist())
        for _, answer in answers
    }
    taken: dict[int, int] = {}
    while len(taken) < n and candidates:
        for answer, rows in list(candidates.items()):
            row = next((row for row in rows if row not in taken), None)
            if row is None:
                del candidates[answer]
            elif len(taken) < n:
                taken[row] = answer
    return taken


def _asked_for(counts: Tensor, most: int, generator: torch.Generator) -> list[int]:
    """Labels that images have and lack, or all where there is none; ``counts (K, 2)`` of rows."""
    fewest = counts.amin(1)
    usable = fewest >= _LEAST_OF_ANSWER
    if not usable.any():
        usable = counts.amax(1) > 0
    mixed = torch.randperm(len(counts), generator=generator).tolist()
    ranked = sorted(mixed, key=lambda k: -min(int(fewest[k]), LEAST_PER_LABEL // 2))
    return sorted([k for k in ranked if usable[k]][:most])


def questions_of_all(marks: Tensor) -> Tensor:
    """An answer ``(N,)`` for every row of marks ``(N, K)``, balanced as far as that goes.

    Raises:
        ValueError: Nothing is known of a row.
    """
    unknown = (marks == UNMARKED).all(1)
    if unknown.any():
        raise ValueError(f"image {int(unknown.nonzero()[0])} has no label that is known; leave it out")
    taken = balanced_questions(marks, len(marks), seed=0)
    first = marks.argmax(1)  # of all others, a label that they have, or the first that is known
    rest = 2 * first + marks.gather(1, first[:, None])[:, 0]
    return torch.tensor([taken.get(row, int(rest[row])) for row in range(len(marks))])
