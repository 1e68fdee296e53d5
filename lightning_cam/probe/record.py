"""The probe: the fixed images that are looked at, what is on them and where."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from ..datasets.items import Regions
from ..datasets.normalization import as_written, from_written
from ..datasets.pictures import said_of
from . import storage
from .checks import (
    checked_classes,
    checked_images,
    checked_indices,
    checked_masks,
    checked_names,
    checked_sources,
    checked_targets,
    plain_tensors,
)
from .datasets import draw_from_dataset
from .drawn import Drawn, Preprocess
from .folders import ReadingOptions, draw_from_folder


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Probe:
    """Images to look at again and again, with their classes and, where known, the mask of the object.

    Everything is checked here and copied to the CPU, so whoever holds a probe may trust it. Nobody edits one.

    Args:
        images: ``(N, C, H, W)`` float pixels in [0, 1], as a person would look at them. Kept as float32.
        targets: ``(N,)`` class indices.
        masks: ``(N, H, W)`` bool, True on the object, or one ``(H, W)`` mask or None per image. A mask that is False
            everywhere means the same as None: missing.
        classes: Name of each class; "0", "1", ... by default.
        names: One name per image, unique; made of class and index by default.
        preprocess: Pixels to model input, such as torchvision's ``v2.Normalize``; None gives the model the pixels.
        mask_sources: Where each mask came from, out of ``MASK_SOURCES``; "given" by default.

    Raises:
        ValueError: What the message says, with the way out.

    >>> probe = Probe(torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]), classes=["cat", "dog"])
    >>> probe
    Probe(2 images 3x4x4, 2 classes, masks: 2 none)
    >>> probe.names
    ('cat_0', 'dog_1')
    """

    images: Tensor
    targets: Tensor
    masks: Tensor | None
    classes: tuple[str, ...]
    names: tuple[str, ...]
    preprocess: Preprocess | None
    mask_sources: tuple[str, ...]

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
    ) -> None:
        with plain_tensors():
            pixels = checked_images(images)
            labels = checked_targets(targets, len(pixels))
            found = checked_masks(masks, pixels)
        known = checked_classes(classes, labels)
        fields = {
            "images": pixels,
            "targets": labels,
            "masks": found if found.any() else None,
            "classes": known,
            "names": checked_names(names, labels, known),
            "preprocess": preprocess,
            "mask_sources": checked_sources(mask_sources, found),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @classmethod
    @plain_tensors()
    def from_dataset(
        cls,
        dataset: Any,
        n: int | None = 64,
        *,
        seed: int = 0,
        masks: Regions | None = None,
        boxes: Regions | None = None,
        find_masks: bool = True,
        size: tuple[int, int] | None = None,
        preprocess: Preprocess | None = None,
        classes: Sequence[str] | None = None,
        loader: DataLoader[Any] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> "Probe":
        """Draws a probe from a data set: class-balanced, the same at each call, and nothing from global random state.

        Of very many classes some are drawn, with four images each, since trials swap within a class as well.

        Labels are taken from the data set where it lists them; otherwise up to ``max(2 * n, 256)`` items are read.
        Random transforms run under a seed of their own. Items are ``(image, target, ...)`` or dicts; images are
        floats, bytes (divided by 255) or PIL images; targets are class indices or one-hot.

        What the model is given is what the data set gives: a torchvision ``Normalize`` in its transform is inverted to
        show pixels, and becomes ``preprocess``. Where none is found and values lie outside [0, 1], every channel is
        stretched to [0, 1], with a warning, and ``preprocess`` is the way back.

        A mask is, in this order: from ``masks``, the item's own (``tv_tensors.Mask``, or the key "mask" of a dict),
        from ``boxes``, from the item's ``tv_tensors.BoundingBoxes``, from the transparency of a PIL image, or what
        stands before a plain background.

        Args:
            dataset: Anything with ``len()`` and ``[index]``; ``Subset`` and ``ConcatDataset`` are looked through.
            n: How many images; all of them where there are fewer. None takes an eighth of them, 256 at most and not
                more than fit into 128 MiB, but 64 at least.
            seed: Another seed, another choice.
            masks: ``(H, W)`` masks of two levels by index in the data set, at the size of the item's image.
            boxes: ``(k, 4)`` boxes ``x1, y1, x2, y2`` in pixels by index in the data set.
            find_masks: Whether to look for objects before a plain background, where nothing else gives a mask.
            size: ``(height, width)`` to resize to, without keeping proportions; None takes the images as they are.
            preprocess: Pixels to model input, instead of what is recognised.
            classes: Names of the classes, instead of the data set's.
            loader: The loader of a training that is going on. Items are read by workers like its own, or in a process
                that is forked for it; without a loader, from a copy of the data set. Either way files stay unopened,
                and generators and counters stay as they are. A data set that cannot be copied is read itself.
            say: Is told about the progress, where it takes more than two seconds.

        Raises:
            TypeError: The data set has no length or no index.
            ValueError: What the message says, with the way out.
        """
        return cls._of(
            draw_from_dataset(
                dataset,
                n,
                seed=seed,
                masks=masks,
                boxes=boxes,
                find_masks=find_masks,
                size=size,
                preprocess=preprocess,
                classes=classes,
                loader=loader,
                say=say,
            )
        )

    @classmethod
    @plain_tensors()
    def from_folder(
        cls,
        path: str | PathLike[str],
        n: int = 64,
        *,
        seed: int = 0,
        masks: str | PathLike[str] | None = None,
        find_masks: bool = True,
        size: tuple[int, int] | None = None,
        grayscale: bool = False,
        upright: bool = False,
        preprocess: Preprocess | None = None,
    ) -> "Probe":
        """Draws a probe from a folder with one sub-folder per class: class-balanced and the same at each call.

        Pixels are what torchvision's ``ImageFolder`` gives a model: transparency is dropped and the colour underneath
        shows, and images lie as stored, whatever their EXIF orientation says (with a warning where it says something).
        16-bit grey alone is scaled here and clipped there.

        A mask is the file at the same place in ``masks``, or what is not fully transparent (where alpha varies), or
        what stands before a plain background.

        Args:
            path: The folder; class indices follow the sorted names of its sub-folders.
            n: How many images; all of them where there are fewer.
            seed: Another seed, another choice.
            masks: A folder ``<class>/<stem of the image>.*`` with the object in white, as large as the image as stored.
            find_masks: Whether to look for objects before a plain background, where nothing else gives a mask.
            size: ``(height, width)`` to resize to, without keeping proportions; None takes the images as they are.
            grayscale: One channel instead of three.
            upright: Turn images and their masks as EXIF says, for models whose training data is turned.
            preprocess: Pixels to model input.

        Raises:
            ValueError: What the message says, with the file's name and the way out.
        """
        return cls._of(
            draw_from_folder(
                Path(path),
                n,
                seed=seed,
                masks=None if masks is None else Path(masks),
                find_masks=find_masks,
                options=ReadingOptions(size=size, upright=upright, grayscale=grayscale),
                preprocess=preprocess,
            )
        )

    @classmethod
    def _of(cls, drawn: Drawn) -> "Probe":
        return cls(
            drawn.images,
            drawn.targets,
            masks=drawn.masks,
            classes=drawn.classes,
            names=drawn.names,
            preprocess=drawn.preprocess,
            mask_sources=drawn.mask_sources,
        )

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        size = "x".join(str(length) for length in self.images.shape[1:])
        sources = ", ".join(f"{count} {source}" for source, count in Counter(self.mask_sources).items())
        return f"Probe({len(self)} images {size}, {len(self.classes)} classes, masks: {sources})"

    def inputs(self) -> Tensor:
        """What the model is given: ``preprocess(images)``, ``(N, ...)`` on the CPU, without a gradient."""
        return self.prepare(self.images)

    def prepare(self, images: Tensor) -> Tensor:
        """Model input of other pixels ``(M, C, H, W)`` in [0, 1], such as edited ones."""
        with torch.inference_mode(False), torch.no_grad():
            # A copy: torchvision's Normalize(inplace=True), or a model's first layer, would write into the probe.
            copied = images.clone()
            inputs = copied if self.preprocess is None else self.preprocess(copied)
        if not isinstance(inputs, Tensor) or inputs.shape[:1] != images.shape[:1]:
            found = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
            raise ValueError(
                f"preprocess must map {len(images)} images to a tensor of {len(images)} inputs, got {found}"
            )
        return inputs

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over images, targets, masks, classes and names, in hex. ``preprocess`` is not part of it."""
        return storage.digest(self._arrays(), self.classes, self.names)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        tensors = {"images": self.images, "targets": self.targets, "masks": self.masks}
        return {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes the probe to ``folder``: arrays without pickle, and a manifest with the fingerprint.

        A ``Normalize`` is written as numbers; any other ``preprocess`` is not, and has to be passed to `load` again.
        """
        storage.write(
            Path(folder),
            self._arrays(),
            {
                "fingerprint": self.fingerprint,
                "classes": self.classes,
                "names": self.names,
                "mask_sources": self.mask_sources,
                "preprocess": as_written(self.preprocess),
            },
        )

    @classmethod
    def load(cls, folder: str | PathLike[str], *, preprocess: Preprocess | None = None) -> "Probe":
        """The probe that was saved to ``folder``; ``preprocess`` takes the place of the saved one.

        Raises:
            ValueError: There is no complete probe, something was changed, or ``preprocess`` has to be passed.
        """
        arrays, facts = storage.read(Path(folder))
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with said_of(Path(folder)):
            return cls(
                tensors["images"],
                tensors["targets"],
                masks=tensors.get("masks"),
                classes=facts["classes"],
                names=facts["names"],
                preprocess=from_written(facts["preprocess"]) if preprocess is None else preprocess,
                mask_sources=facts["mask_sources"],
            )

    def copies(self) -> list[str]:
        """Names of the images that have the same pixels as an earlier one.

        >>> Probe(torch.zeros(2, 3, 4, 4), torch.tensor([0, 0])).copies()
        ['0_1']
        """
        pixels = [hashlib.sha256(image.numpy().tobytes()).digest() for image in self.images]
        return [name for position, name in enumerate(self.names) if pixels[position] in pixels[:position]]

    def with_preprocess(self, preprocess: Preprocess | None) -> "Probe":
        """The same images with another way to model input."""
        return Probe(
            self.images,
            self.targets,
            masks=self.masks,
            classes=self.classes,
            names=self.names,
            preprocess=preprocess,
            mask_sources=self.mask_sources,
        )

    def select(self, indices: Sequence[int]) -> "Probe":
        """The probe of some of the images, in the order of ``indices`` (each in 0 .. len - 1, none twice)."""
        chosen = checked_indices(indices, len(self))
        return Probe(
            self.images[chosen],
            self.targets[chosen],
            masks=None if self.masks is None else self.masks[chosen],
            classes=self.classes,
            names=[self.names[index] for index in chosen],
            preprocess=self.preprocess,
            mask_sources=[self.mask_sources[index] for index in chosen],
        )
