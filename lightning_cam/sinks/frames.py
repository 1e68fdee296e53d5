"""A check as pictures need it: the shown part of a report, and the same as numbers for a page that draws itself."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..examination import Reading, Report
from ..probe import Probe
from .slices import in_slices, words_of
from .snapshot import MOST_PROBES, Portraits, Snapshot, confused


@dataclass(frozen=True, eq=False)
class Frame:
    """What pictures need of one check, for the ``n`` probes that are shown.

    Attributes:
        reading: The check's scalars and step.
        shown: ``(n,)`` indices into the probe.
        maps: ``(n, h, w)`` at the layer's own size.
        probabilities: ``(n, n_classes)``.
        background: ``(n,)`` background attention ratio, NaN where undefined.
        predicted_maps: ``(n, h, w)`` of the predicted class; None where they are not kept.
        pairs: As in `Snapshot`.
        is_against: As in `Report`.
        of_volumes: Which slice of each volume is shown; empty of pictures.
        scores: ``(n,)`` of the user's own score, which the maps explain then.
        has_answers: As in `Report`.
    """

    reading: Reading
    shown: Tensor
    maps: Tensor
    probabilities: Tensor
    background: Tensor
    predicted_maps: Tensor | None = None
    pairs: Sequence[tuple[int, int, int, int]] = ()
    is_against: bool = False
    of_volumes: tuple[str, ...] = ()
    scores: Tensor | None = None
    has_answers: bool = True

    @classmethod
    def of(cls, report: Report, reading: Reading, shown: Tensor) -> "Frame":
        """The shown part of a report."""
        undefined = torch.full((len(report.logits),), torch.nan)
        background = report.values.get("background_attention_ratio", undefined)
        maps, chances = in_slices(report.grid_maps[shown], report.probe, shown), report.chances[shown]
        scores = None if report.scores is None else report.scores[shown]
        frame = cls(
            reading,
            shown,
            maps,
            chances,
            background[shown],
            is_against=report.is_against,
            scores=scores,
            has_answers=report.has_answers,
        )
        if report.probe is None or not report.probe.has_volumes:
            return frame
        return replace(frame, of_volumes=tuple(words_of(report.probe, i) for i in shown.tolist()))


def shown_probes(targets: Tensor, n_images: int) -> Tensor:
    """Indices of the probes to show, the same number of each class as far as there are, in the probe's order.

    >>> shown_probes(torch.tensor([0, 0, 0, 0, 1, 1]), 4)
    tensor([0, 1, 4, 5])
    """
    place_in_class = torch.stack([(targets[:i] == targets[i]).sum() for i in range(len(targets))])
    return place_in_class.argsort(stable=True)[:n_images].sort().values


def in_numbers(report: Report, reading: Reading, shown: Tensor) -> Frame:
    """As `Frame.of`, with what a page that draws itself shows of mistakes."""
    pairs = confused(report.logits, report.targets)
    if report.scores is not None:  # a mistake has no map of its own then
        return replace(Frame.of(report, reading, shown), pairs=pairs)
    predicted = in_slices(report.predicted_grid_maps[shown], report.probe, shown)
    return replace(Frame.of(report, reading, shown), predicted_maps=predicted, pairs=pairs)


def portraits_of(probe: Probe, frame: Frame) -> Portraits:
    """Of a frame's probes; where they are many, of the same number of each class."""
    rows = shown_probes(probe.targets[frame.shown], MOST_PROBES)
    return replace(
        Portraits.of(probe, frame.shown, rows),
        is_against=frame.is_against,
        are_of_score=frame.scores is not None,
        has_answers=frame.has_answers,
    )


def snapshot_of(frame: Frame, portraits: Portraits) -> Snapshot:
    """A check of all shown probes, as numbers."""
    return Snapshot.of(
        portraits,
        frame.maps,
        frame.probabilities,
        frame.background,
        predicted_maps=frame.predicted_maps,
        pairs=frame.pairs,
        scores=frame.scores,
    )
