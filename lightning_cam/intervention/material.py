"""What trials work on: the images of a probe with their donors, and a model that is asked about some of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from . import edits
from .donors import Donors
from .edits import TwoStepEdit
from .masks import has_enough_masks

_VALUES_AT_ONCE = 2**20  # of the images that are edited together: on a CPU, more leave its caches
_MOST_KEPT_VALUES = 2**25  # of images of which readings are kept; these are up to three times as large
_MOST_OF_A_READING = 1.5  # of the values of the images that it is of, where it is kept for all of their donors


@dataclass(frozen=True, eq=False)
class Material:
    """The images of a probe, and who lends properties to whom.

    Attributes:
        images: ``(N, C, H, W)`` pixels in [0, 1].
        targets: ``(N,)``.
        masks: ``(N, H, W)``; None without any.
        donors: Who lends to whom.
        groups: For each attribute that is known of the images, its value as a number ``(N,)``; -1 where it is not.
    """

    images: Tensor
    targets: Tensor
    masks: Tensor | None
    donors: Donors
    groups: Mapping[str, Tensor] = field(default_factory=dict)

    def lent_by(self, donors: Donors) -> "Material":
        """The same with other donors, and with what edits have read from the images so far."""
        other = replace(self, donors=donors)
        vars(other)["readings"] = self.readings
        return other

    @cached_property
    def readings(self) -> "Readings":
        """What edits have read from all images."""
        return Readings(self.images, self.known_masks)

    @property
    def known_masks(self) -> Tensor:
        """``(N, H, W)``, False everywhere where no mask is known."""
        if self.masks is not None:
            return self.masks
        return torch.zeros(len(self.images), *self.images.shape[2:], dtype=torch.bool)

    @property
    def knows_objects(self) -> bool:
        """Whether masks are known for nearly all images."""
        return self.masks is not None and has_enough_masks(self.masks)


class Readings:
    """What edits have read from all images. The last reading is kept, since trials in a row often need the same."""

    def __init__(self, images: Tensor, masks: Tensor) -> None:
        self._images, self._masks = images, masks
        self._last: tuple[object, Sequence[edits.Read]] = (None, ())

    def of(self, edit: TwoStepEdit, borrowers: Tensor, lenders: Tensor) -> tuple[edits.Read, edits.Read]:
        """Of some images that borrow, and of as many that lend."""
        own, lent = self._of_all(edit.read)
        return tuple(each[borrowers] for each in own), tuple(each[lenders] for each in lent)

    def _of_all(self, read: Callable[[Tensor, Tensor], tuple[edits.Read, edits.Read]]) -> Sequence[edits.Read]:
        """Some images at a time: all at once would fill the memory."""
        if read is not self._last[0]:
            n = at_once(self._images)
            pairs = zip(torch.split(self._images, n), torch.split(self._masks, n), strict=True)
            both = zip(*(read(*pair) for pair in pairs), strict=True)
            self._last = read, [tuple(map(torch.cat, zip(*parts, strict=True))) for parts in both]
        return self._last[1]


class PassingReadings(Readings):
    """What edits read from images too many to be held several times: from each of a part that borrows, once."""

    def __init__(self, images: Tensor, masks: Tensor) -> None:
        super().__init__(images, masks)
        self._own: dict[tuple[int, ...], edits.Read] = {}

    def of(self, edit: TwoStepEdit, borrowers: Tensor, lenders: Tensor) -> tuple[edits.Read, edits.Read]:
        """See `Readings`. An edit is asked for what it needs of lenders alone."""
        images, masks = self._images, self._masks
        key = tuple(borrowers.tolist())
        lend = edit.lend or (lambda *lent: edit.read(*lent)[1])
        lent = lend(images[lenders], masks[lenders])
        own = self._own.get(key) or edit.read(images[borrowers], masks[borrowers])[0]
        if sum(each.numel() for each in own) <= _MOST_OF_A_READING * len(borrowers) * images[0].numel():
            self._own[key] = own
        return own, lent


@dataclass(frozen=True, eq=False)
class Session:
    """A model that is asked about some of the images.

    Attributes:
        material: All images. Any of them may be a donor.
        chosen: ``(n,)`` indices of the images whose cues are swapped.
        plain: ``(n, n_classes)`` probabilities of the chosen images as they are.
        probabilities: Pixels to class probabilities ``(n, n_classes)``, forward only.
        with_rows: The same, where the model needs to know which of the images ``(n,)`` the pixels are made of.
    """

    material: Material
    chosen: Tensor
    plain: Tensor
    probabilities: Callable[[Tensor], Tensor]
    with_rows: Callable[[Tensor, Tensor], Tensor] | None = None

    def ask(self, pictures: Tensor, rows: Tensor) -> Tensor:
        """Class probabilities of pictures that were made of the images ``rows (n,)``."""
        return self.probabilities(pictures) if self.with_rows is None else self.with_rows(pictures, rows)

    def part(self, rows: Tensor) -> "Session":
        """The same about some of its images, ``rows (n,)`` bool."""
        return replace(self, chosen=self.chosen[rows], plain=self.plain[rows])

    def readings_of_part(self) -> Readings:
        """What edits read from images: from all, and kept; or, of many values, from a part, and kept as long as it."""
        material = self.material
        if material.images.numel() <= _MOST_KEPT_VALUES:
            return material.readings
        return PassingReadings(material.images, material.known_masks)


def at_once(images: Tensor) -> int:
    """How many of the images are edited together."""
    return max(1, _VALUES_AT_ONCE // images[0].numel())
