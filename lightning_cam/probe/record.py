"""The fixed images that are looked at, what is on them and where: as they are checked, kept and selected."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..datasets.normalization import as_written, from_written
from ..datasets.pictures import said_of
from ..maskers.reviewed import reviewed_of
from ..spatial import VOLUME_AXES
from . import storage
from .answers import Answers
from .checks import (
    GUESS,
    checked_attributes,
    checked_images,
    checked_indices,
    checked_inputs,
    checked_masks,
    checked_names,
    checked_sources,
    plain_tensors,
)
from .doubts import Doubt, doubts, warn_of
from .drawn import Preprocess
from .matching import Matching
from .rest import Rest, as_array, checked_rest, numbered
from .task import OBJECTS, REGIONS, Task

SomeProbe = TypeVar("SomeProbe", bound="Record")
_ARRAYS = ("images", "targets", "masks", "labels", "values", "regions", "boxes")


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Record:
    """What a `Probe` holds: checked once, never changed, kept in a folder, and asked for some of its images."""

    images: Tensor
    targets: Tensor
    masks: Tensor | None
    classes: tuple[str, ...]
    names: tuple[str, ...]
    preprocess: Preprocess | None
    mask_sources: tuple[str, ...]
    labels: Tensor | None
    attributes: Mapping[str, tuple[str, ...]]
    values: Tensor | None
    regions: Tensor | None
    boxes: Tensor | None
    task: Task
    rest: Mapping[str, Tensor] | None

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        *,
        masks: Tensor | Sequence[Tensor | None] | None = None,
        classes: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        preprocess: Preprocess | None = None,
        mask_sources: Sequence[str] | None = None,
        reviewed: str | PathLike[str] | None = None,
        labels: Tensor | None = None,
        attributes: Mapping[str, Sequence[object]] | None = None,
        values: Tensor | None = None,
        regions: Tensor | None = None,
        boxes: Tensor | None = None,
        task: Task | None = None,
        rest: Rest | None = None,
    ) -> None:
        with plain_tensors():
            pixels = checked_images(images)
            given = {"labels": labels, "values": values, "regions": regions, "boxes": boxes}
            right = Answers.of(targets, len(pixels), classes, **given, task=task)
            is_kept = task is not None and task.region and masks is not None  # what was lent stays with its image
            if masks is None and right.boxes is not None:
                masks, mask_sources = right.filled((pixels.shape[2], pixels.shape[3])), ["box"] * len(pixels)
            objects = checked_masks(masks if right.objects is None or is_kept else right.objects, pixels)
        fields = {
            "images": pixels,
            "masks": objects if objects.any() else None,
            "names": checked_names(names, right.targets, right.classes),
            "preprocess": preprocess,
            "mask_sources": checked_sources(mask_sources if is_kept else right.sources(mask_sources), objects),
            **vars(right),
            "attributes": checked_attributes(attributes, len(pixels)),
            "rest": checked_rest(rest, len(pixels)),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        is_given = masks is not None and any(mask is not None for mask in masks)
        if reviewed is not None:
            for name, value in vars(self.with_reviewed(reviewed)).items():
                object.__setattr__(self, name, value)
        elif is_given and mask_sources is None:  # the user's: what was drawn comes with its sources
            warn_of(self.mask_doubts, self.mask_sources, are_expected=True)

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        size = "x".join(str(length) for length in self.images.shape[1:])
        sources = ", ".join(f"{count} {source}" for source, count in Counter(self.mask_sources).items())
        known = f", attributes: {', '.join(self.attributes)}" if self.attributes else ""
        beside = "" if self.rest is None else f", rest: {', '.join(self.rest)}"
        noun = "volumes" if self.has_volumes else "images"
        has_background = self.task.kind in (REGIONS, OBJECTS)  # among the scores, and never asked for
        n = len(set(self.targets.tolist())) if has_background else self.n_scores
        return f"Probe({len(self)} {noun} {size}, {n} {self.task.noun}, masks: {sources}{known}{beside})"

    @property
    def has_volumes(self) -> bool:
        """Whether the images are volumes or videos, ``(N, C, D, H, W)``."""
        return self.images.ndim == VOLUME_AXES

    @property
    def depth(self) -> int:
        """How many slices a volume has; 1 of pictures."""
        return self.images.shape[2] if self.has_volumes else 1

    @cached_property
    def slices(self) -> Tensor:
        """The slice ``(N,)`` by which a person is shown each volume: the middle one of its object, or of the volume."""
        middle = torch.full((len(self),), self.depth // 2)
        if self.masks is None or not self.has_volumes:
            return middle
        holds = self.masks.flatten(2).any(2)
        places = torch.arange(self.depth)
        first, last = places.where(holds, self.depth).amin(1), places.where(holds, -1).amax(1)
        return ((first + last) // 2).where(holds.any(1), middle)

    @property
    def n_scores(self) -> int:
        """How many numbers a model gives for an image: one for each class, for each label, or for each value."""
        return self.task.n_scores

    def inputs(self) -> Tensor:
        """Model input: ``preprocess(images)``, ``(N, ...)`` on the CPU, without a gradient."""
        return self.prepare(self.images)

    def prepare(self, images: Tensor, rows: Tensor | None = None) -> Tensor:
        """Model input of other pixels ``(M, C, H, W)`` in [0, 1], such as edited ones.

        Args:
            images: The pixels.
            rows: Of a probe with a `rest`, which of its images ``(M,)`` these are made of; None means all, in order.
                The number goes along in one more channel, which `rest.carrying` takes off before the model runs.
        """
        with torch.inference_mode(False), torch.no_grad():
            # A copy: torchvision's Normalize(inplace=True), or a model's first layer, would write into the probe.
            copied = images.clone()
            inputs = copied if self.preprocess is None else self.preprocess(copied)
        checked = checked_inputs(inputs, len(images))
        if not self.is_numbered:
            return checked
        if rows is None and len(images) != len(self):
            raise ValueError(
                "this cannot be shown of a probe with rest= or boxes=: it is not known which picture they are of"
            )
        return numbered(checked, torch.arange(len(self)) if rows is None else rows)

    @property
    def is_numbered(self) -> bool:
        """Whether model inputs carry the number of their image, see `prepare`."""
        return self.rest is not None or self.boxes is not None

    @property
    def matching(self) -> Matching | None:
        """What reads the detections of the objects that are asked for; None where the task is another."""
        size = (self.images.shape[2], self.images.shape[3])
        return None if self.boxes is None else Matching(self.boxes, size, self.n_scores)

    @property
    def known_masks(self) -> Tensor | None:
        """The masks that somebody made or that a plain background shows; False where one was guessed or is doubted."""
        if self.masks is None:
            return None
        is_known = torch.tensor([source != GUESS for source in self.mask_sources])
        for doubt in self.mask_doubts:
            is_known &= ~doubt.rows
        return self.masks & is_known.reshape(-1, *(1 for _ in self.masks.shape[1:]))

    @cached_property
    def mask_doubts(self) -> tuple[Doubt, ...]:
        """What cannot be right about the masks that were given; such masks lead to a warning at most."""
        return doubts(self.images, self.masks, self.mask_sources)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all but ``preprocess``, in hex."""
        return storage.digest(self._arrays(), self.classes, self.names, self.attributes)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        tensors = {name: getattr(self, name) for name in _ARRAYS}
        beside = {f"rest_{place}": as_array(rows) for place, rows in enumerate((self.rest or {}).values())}
        return {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None} | beside

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes the probe to ``folder``: arrays without pickle, and a manifest with the fingerprint.

        A ``Normalize`` is written as numbers. Any other ``preprocess`` is not saved; pass it to `load` again.
        """
        storage.save(Path(folder), self._arrays(), self._facts(self.fingerprint))

    def in_bytes(self) -> dict[str, bytes]:
        """The files that `save` writes, by name, but a quarter as large: pixels are rounded to bytes."""
        arrays = {**self._arrays(), "images": (255 * self.images).round().to(torch.uint8).numpy()}
        return dict(
            storage.files_of(arrays, self._facts(storage.digest(arrays, self.classes, self.names, self.attributes)))
        )

    def _facts(self, fingerprint: str) -> dict[str, Any]:
        return {
            "fingerprint": fingerprint,
            "classes": self.classes,
            "names": self.names,
            "mask_sources": self.mask_sources,
            "preprocess": as_written(self.preprocess),
            **({"attributes": dict(self.attributes)} if self.attributes else {}),
            **({"rest": list(self.rest)} if self.rest else {}),
        }

    @classmethod
    def load(cls: type[SomeProbe], folder: str | PathLike[str], *, preprocess: Preprocess | None = None) -> SomeProbe:
        """Loads the probe from ``folder``. A ``preprocess`` that is passed here replaces the saved one.

        Raises:
            ValueError: The folder has no complete probe, a file was changed, or ``preprocess`` must be passed.
        """
        arrays, facts = storage.load(Path(folder))
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        images = tensors["images"]
        with said_of(Path(folder)):
            return cls(
                images if images.is_floating_point() else images.float() / 255,
                tensors["targets"],
                masks=tensors.get("masks"),
                classes=facts["classes"],
                names=facts["names"],
                preprocess=from_written(facts["preprocess"]) if preprocess is None else preprocess,
                mask_sources=facts["mask_sources"],
                labels=tensors.get("labels"),
                attributes=facts.get("attributes"),
                values=tensors.get("values"),
                regions=tensors.get("regions"),
                rest={name: tensors[f"rest_{place}"] for place, name in enumerate(facts.get("rest", []))},
                boxes=tensors.get("boxes"),
            )

    def copies(self) -> list[str]:
        """Names of the images that have the same pixels as an earlier one.

        >>> Record(torch.zeros(2, 3, 4, 4), torch.tensor([0, 0])).copies()
        ['0_1']
        """
        pixels = [hashlib.sha256(image.numpy().tobytes()).digest() for image in self.images]
        return [name for position, name in enumerate(self.names) if pixels[position] in pixels[:position]]

    def with_preprocess(self: SomeProbe, preprocess: Preprocess | None) -> SomeProbe:
        """The same images with another ``preprocess``."""
        return replace(self, preprocess=preprocess)

    def with_rest(self: SomeProbe, rest: Rest | None) -> SomeProbe:
        """The same images with something else that the model is given beside them."""
        return replace(self, rest=checked_rest(rest, len(self)))

    def with_reviewed(self: SomeProbe, path: str | PathLike[str]) -> SomeProbe:
        """The images that a person kept on the page of ``lightning-cam masks``, with the masks as they were corrected.

        Args:
            path: The file that the page of this probe saved. Pictures are known by their names.

        Raises:
            ValueError: The file is of another form, of other pictures, or of another size.
        """
        if self.has_volumes:
            raise ValueError("the page of lightning-cam masks shows pictures, not volumes; pass their masks=")
        positions, masks = reviewed_of(Path(path), self.names, (self.images.shape[2], self.images.shape[3]))
        sources = tuple("reviewed" if mask.any() else "none" for mask in masks)
        return replace(self.select(positions), masks=masks, mask_sources=sources)

    def select(self: SomeProbe, indices: Sequence[int]) -> SomeProbe:
        """The probe of some of the images, in the order of ``indices`` (each in 0 .. len - 1, none twice)."""
        positions = checked_indices(indices, len(self))
        return replace(
            self,
            images=self.images[positions],
            targets=self.targets[positions],
            masks=None if self.masks is None else self.masks[positions],
            names=tuple(self.names[position] for position in positions),
            mask_sources=tuple(self.mask_sources[position] for position in positions),
            labels=None if self.labels is None else self.labels[positions],
            attributes={name: tuple(values[p] for p in positions) for name, values in self.attributes.items()},
            values=None if self.values is None else self.values[positions],
            rest=None if self.rest is None else {name: values[positions] for name, values in self.rest.items()},
            regions=None if self.regions is None else self.regions[positions],
            boxes=None if self.boxes is None else self.boxes[positions],
        )
