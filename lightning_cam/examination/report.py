"""The record of one look at a model, which everything above reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..attributes import AttributeReading
from ..attribution.heads import Head
from ..attribution.outputs import NO_ANSWER, predicted_classes
from ..intervention import Donors, Reliance, Trial
from ..probe import Probe
from ..probe.task import OBJECTS, Task
from ..spatial import upsample
from .table import as_dataframe

if TYPE_CHECKING:
    import pandas

    from ..verdict import Verdict
    from .evidence import Evidence


@dataclass(frozen=True, eq=False)
class Report:
    """One look at a model: its maps, its answers, and what they amount to.

    Attributes:
        layer: Dotted name of the layer whose maps these are; of several that were fused, joined by " + ".
        method: Name of the method.
        grid_maps: ``(N, h, w)`` float32, raw attention of the true class, not normalised; mass is measured here. Of
            volumes ``(N, d, h, w)``.
        predicted_grid_maps: ``(N, h, w)`` float32, attention of the predicted class.
        logits: ``(N, n_classes)`` float32; NaN of a model without class scores.
        values: One ``(N,)`` tensor per measure; NaN where it is undefined.
        learned: Whether the model tells the probe's classes apart better than chance: without that no cue is judged.
        trials: The trials that were asked for, each with the worst outcome that it may lead to on this probe.
        donors: Which images lent their properties to which; None if nothing was swapped.
        effects: One ``(N,)`` tensor per cue that was swapped: how much of its class an image loses, -1 to 1.
        reliances: The same over the probe, with intervals and tests.
        scalars: Means over the images where the value is defined. Keys have no prefix; the callback logs them
            under its name, such as "cam/".
        model_seconds: Wall time spent inside the model.
        head: Where in the model's output the class scores were, and what they are.
        has_one_class: Whether all probe images are of one class: then there is nothing to tell apart.
        size: ``(H, W)`` of the probe's images, or ``(D, H, W)`` of volumes.
        names: Of the images.
        classes: Names of the probe's classes.
        targets: ``(N,)`` class indices of the images.
        probe: The images themselves; without them there is no page.
        is_against: Whether the maps show what argues against a class, as with `cams.against`.
        mask_sources: Where each image's mask came from, see `MASK_SOURCES`.
        mask_doubts: What cannot be right about masks that were given, in sentences.
        labels: Names of labels or values, of which each image is asked for one; empty where images have one class.
        unlearned: Those that the model does not tell apart better than chance, or that no image has or none lacks;
            nothing is judged of them.
        task: What the model was asked.
        attributes: Right answers by group, for every attribute of the probe that the user knows.
        method_maps: By the name of each further method, `grid_maps` and `predicted_grid_maps`, ``(2, N, h, w)``.
        scores: ``(N,)`` float32 of the user's own ``score``, which all maps explain then, those of the true and of the
            predicted class alike; None where they explain classes.
        untrusted: By the name of each method, which maps of the true class stay the same with random weights ``(N,)``
            bool; empty where that was not asked for, or could not be found out.
    """

    layer: str
    method: str
    grid_maps: Tensor
    predicted_grid_maps: Tensor
    logits: Tensor
    values: Mapping[str, Tensor]
    learned: bool
    trials: tuple[Trial, ...]
    donors: Donors | None
    effects: Mapping[str, Tensor]
    reliances: tuple[Reliance, ...]
    scalars: Mapping[str, float]
    model_seconds: float
    head: Head | None = None
    has_one_class: bool = False
    size: tuple[int, ...] = (0, 0)
    names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    targets: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    probe: Probe | None = None
    is_against: bool = False
    mask_sources: tuple[str, ...] = ()
    mask_doubts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    unlearned: tuple[str, ...] = ()
    task: Task | None = None
    attributes: tuple[AttributeReading, ...] = ()
    method_maps: Mapping[str, Tensor] = field(default_factory=dict)
    scores: Tensor | None = None
    untrusted: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def has_answers(self) -> bool:
        """Whether the model gives class scores; else its maps explain ``scores``, and ``logits`` are NaN."""
        return self.scores is None or self.head is not None

    @property
    def maps(self) -> Tensor:
        """``(N, H, W)`` float32, `grid_maps` at image size. Made anew each time: it is as large as a probe."""
        return upsample(self.grid_maps, self.size)

    @property
    def chances(self) -> Tensor:
        """``(N, n_classes)`` probabilities of the model; of objects confidences, which stand each for itself."""
        is_of_objects = self.task is not None and self.task.kind == OBJECTS
        return self.logits.sigmoid() if is_of_objects else self.logits.softmax(1)

    @property
    def n_unanswered(self) -> int:
        """Images for which the model's output is NaN or infinite."""
        is_asked = self.has_answers and bool(self.logits.numel())
        return int((predicted_classes(self.logits) == NO_ANSWER).sum()) if is_asked else 0

    def to_dataframe(self) -> "pandas.DataFrame":
        """One row for each probe image, as a pandas table.

        Columns: ``name``, ``class``, ``predicted``, ``probability`` (of the true class), every measure under its own
        name, and ``effect/<cue>`` for every cue that was swapped. NaN where a value is undefined.

        Raises:
            ImportError: pandas is not installed.
        """
        return as_dataframe(self)

    def to_html(
        self, path: str | PathLike[str], verdict: "Verdict | None" = None, evidence: "Sequence[Evidence]" = ()
    ) -> None:
        """Writes the report as one page that opens from disk and asks for nothing.

        Args:
            path: The file; one that is there is replaced.
            verdict: As `judge` gave it; None judges the report as it is.
            evidence: As `examination.collect_evidence` gave it: the pictures that a swap changed most.

        Raises:
            ValueError: The report was made without its probe.
        """
        from ..sinks import alone  # up: a record that shows itself asks the floor that draws

        Path(path).write_text(alone.report_html(self, verdict, evidence), encoding="utf-8", errors="replace")

    def _repr_html_(self) -> str | None:
        """The page in a frame, for notebooks."""
        from ..sinks import alone  # up, as in `to_html`

        return None if self.probe is None else alone.framed(alone.report_html(self))

    def __repr__(self) -> str:
        cues = ", ".join(self.effects) or "no cue"
        return f"Report({len(self.logits)} images, layer {self.layer!r}, {self.method}; {cues} swapped)"
