"""What is right for each image of a probe, whatever its targets are: checked, and as answers to the model's task."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..datasets.questions import answer_names, questions_of_all
from ..datasets.values import Scale, answers_of, are_fractions, half_names, value_names
from ..spatial import boxes_to_masks
from .checks import (
    LENT,
    checked_boxes,
    checked_classes,
    checked_label_names,
    checked_labels,
    checked_maps,
    checked_targets,
    checked_values,
    largest_regions,
)
from .one_object import one_object, places
from .task import Task, task_of_targets


@dataclass(frozen=True, eq=False)
class Answers:
    """The right answers for images.

    Attributes:
        targets: ``(N,)`` classes or, of labels and values, answers to the questions for one of them.
        classes: Names of the answers.
        labels: ``(N, K)`` marks; None where the targets are none.
        values: ``(N, D)`` float32; None where the targets are none.
        regions: Maps of classes ``(N, H, W)`` uint8; None where the targets are none.
        boxes: ``(N, 4)`` of the objects that are asked for; None where the task is another.
        task: What is asked.
    """

    targets: Tensor
    classes: tuple[str, ...]
    labels: Tensor | None
    values: Tensor | None
    regions: Tensor | None
    boxes: Tensor | None
    task: Task

    @classmethod
    def of(
        cls,
        targets: Tensor,
        n_images: int,
        classes: Sequence[str] | None,
        *,
        labels: Tensor | None,
        values: Tensor | None,
        regions: Tensor | None,
        boxes: Tensor | None,
        task: Task | None,
    ) -> "Answers":
        """As a user gives targets; or, beside ``labels`` or ``values``, as they were answered already.

        Raises:
            ValueError: The message names the problem and the solution.
        """
        maps = checked_maps(targets if regions is None else regions, n_images)
        sides = None
        if maps is not None and task is None:
            largest = largest_regions(maps)
            sides = one_object(maps, largest, classes)
            targets = largest if regions is None else targets
        if sides is not None:
            targets, classes, task = sides
        numbers = _values_in(targets, n_images) if values is None else checked_values(values, n_images)
        marks = None if numbers is not None else checked_labels(targets if labels is None else labels, n_images)
        scales = tuple(Scale.of(column) for column in numbers.T) if numbers is not None else ()
        if marks is not None and labels is None:
            targets, classes = questions_of_all(marks), answer_names(checked_label_names(classes, marks))
        elif numbers is not None and not _are_answers(targets, classes, 2 * len(scales)):
            targets, classes = answers_of(numbers, scales), half_names(value_names(classes, len(scales)), scales)
        answers = checked_targets(targets, n_images)
        names = checked_classes(classes, answers)
        corners = None if boxes is None else checked_boxes(boxes, n_images)
        has = {"has_regions": maps is not None, "has_boxes": corners is not None}
        asked = task or task_of_targets(names, marks, scales, **has)
        return cls(answers, names, marks, numbers, maps, corners, asked)

    @property
    def objects(self) -> Tensor | None:
        """The regions that are asked for, ``(N, H, W)`` bool; None where the targets are no maps."""
        if self.regions is None:
            return None
        return (
            places(self.regions, self.task.region)[0]
            if self.task.region
            else self.regions == self.targets[:, None, None]
        )

    def sources(self, given: Sequence[str] | None) -> Sequence[str] | None:
        """Where masks came from; of one class of objects, the place of an image without one is another's."""
        if self.regions is None or not self.task.region:
            return given
        are_lent = places(self.regions, self.task.region)[1].tolist()
        return [LENT if is_lent else "given" for is_lent in are_lent]

    def filled(self, size: tuple[int, int]) -> Tensor | None:
        """The boxes as masks ``(N, H, W)``; None where there are none."""
        return None if self.boxes is None else boxes_to_masks(self.boxes, size)


def _values_in(targets: Tensor, n_images: int) -> Tensor | None:
    """Values ``(N, D)`` where the targets can be nothing else."""
    if not isinstance(targets, Tensor) or targets.ndim not in (1, 2) or not targets.is_floating_point():
        return None
    rows = targets.detach().as_subclass(Tensor).cpu().reshape(len(targets), -1)
    are_values = bool(len(rows)) and any(are_fractions(row) for row in rows.tolist())
    return checked_values(targets, n_images) if are_values else None


def _are_answers(targets: Tensor, classes: Sequence[str] | None, n: int) -> bool:
    """Whether targets are ``n`` answers with their names already, as in a probe that was saved."""
    return classes is not None and len(classes) == n and getattr(targets, "dtype", None) == torch.int64
