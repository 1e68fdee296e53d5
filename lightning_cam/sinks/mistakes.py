"""The surest mistakes of the whole validation set, beside those of the probe."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..examination import Look
from ..probe import Probe
from .slices import in_slices, pictured
from .snapshot import Portraits, Snapshot


@dataclass(frozen=True, eq=False)
class ShownMistakes:
    """The surest mistakes as numbers, for a page that draws them.

    Attributes:
        snapshot: Of the mistaken images, surest first; its pairs are of all images.
        n_images: How many images the validation had.
        accuracy: The share of them that is right.
    """

    snapshot: Snapshot
    n_images: int
    accuracy: float


@dataclass(frozen=True, eq=False)
class SurestMistakes:
    """The surest mistakes with their maps.

    Attributes:
        probe: The images.
        look: Their maps and answers.
        rows: ``(k,)`` those to show, surest first.
        n_images: As in `ShownMistakes`.
        accuracy: As in `ShownMistakes`.
        pairs: As in `Snapshot`, of all images.
    """

    probe: Probe
    look: Look
    rows: Tensor
    n_images: int
    accuracy: float
    pairs: Sequence[tuple[int, int, int, int]]

    def shown(self, *, is_against: bool) -> ShownMistakes:
        """For a page; encodes the images."""
        everything = torch.arange(len(self.probe))
        portraits = replace(Portraits.of(pictured(self.probe), everything, self.rows), is_against=is_against)
        snapshot = Snapshot.of(
            portraits,
            in_slices(self.look.grid_maps, self.probe, everything),
            self.look.logits.softmax(1),
            torch.full((len(self.probe),), torch.nan),
            predicted_maps=in_slices(self.look.predicted_grid_maps, self.probe, everything),
            pairs=self.pairs,
        )
        return ShownMistakes(snapshot, self.n_images, self.accuracy)
