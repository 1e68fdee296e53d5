"""The probe: the fixed images that are looked at, what is on them and where."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from ..datasets.questions import answer_names, questions_of_all
from ..maskers import Annotations, as_annotations
from ..maskers.reviewed import reviewed_of
from . import storage
from .checks import (
    GUESS,
    checked_classes,
    checked_images,
    checked_indices,
    checked_inputs,
    checked_label_names,
    checked_labels,
    checked_masks,
    checked_names,
    checked_sources,
    checked_targets,
    plain_tensors,
)
from .datasets import draw_from_dataset
from .doubts import warn_of_wrong_masks
from .drawn import Drawn, Preprocess
from .folders import ReadingOptions, draw_from_folder
from .masking import Masking, Segmenter


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Probe:
    """Images to look at again and again, with their classes and, where known, the mask of the object.

    Everything is checked here and copied to the CPU, so code that gets a probe can trust it. A probe never changes.

    Args:
        images: ``(N, C, H, W)`` float pixels in [0, 1], as a person would look at them. Kept as float32.
        targets: ``(N,)`` class indices; or ``(N, K)`` of 0 and 1, of several labels at once, and -1 where nobody knows.
        masks: ``(N, H, W)`` bool, True on the object, or one ``(H, W)`` mask or None per image. A mask that is False
            everywhere means the same as None: missing.
        classes: Name of each class; "0", "1", ... by default.
        names: One name per image, unique; made of class and index by default.
        preprocess: Pixels to model input, such as torchvision's ``v2.Normalize``; None gives the model the pixels.
        mask_sources: Where each mask came from, out of ``MASK_SOURCES``; "given" by default.
        reviewed: The file that the page of ``lightning-cam masks`` saved, see `with_reviewed`.
        labels: Of several labels, the marks ``(N, K)``, where ``targets`` are answers already.

    Each image of several labels is asked for one of them: `targets` is then ``2 k + 1`` if the image has label ``k``
    and ``2 k`` if it lacks it, and `classes` are the names of these answers, "no cat", "cat", "no dog", "dog".

    Raises:
        ValueError: The message names the problem and the solution.

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
    labels: Tensor | None

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
    ) -> None:
        with plain_tensors():
            pixels = checked_images(images)
            marks = checked_labels(targets if labels is None else labels, len(pixels))
            if marks is not None and labels is None:
                targets, classes = questions_of_all(marks), answer_names(checked_label_names(classes, marks))
            answers = checked_targets(targets, len(pixels))
            regions = checked_masks(masks, pixels)
        class_names = checked_classes(classes, answers)
        fields = {
            "images": pixels,
            "targets": answers,
            "masks": regions if regions.any() else None,
            "classes": class_names,
            "names": checked_names(names, answers, class_names),
            "preprocess": preprocess,
            "mask_sources": checked_sources(mask_sources, regions),
            "labels": marks,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        is_given = masks is not None and any(mask is not None for mask in masks)
        if reviewed is not None:
            for name, value in vars(self.with_reviewed(reviewed)).items():
                object.__setattr__(self, name, value)
        elif is_given and mask_sources is None:  # the user's: what was drawn comes with its sources
            warn_of_wrong_masks(regions, self.mask_sources)

    @classmethod
    @plain_tensors()
    def from_dataset(
        cls,
        dataset: Any,
        n: int | None = 64,
        *,
        seed: int = 0,
        masks: Regions | str | PathLike[str] | Annotations | None = None,
        boxes: Regions | None = None,
        segmenter: Segmenter | None = None,
        find_masks: bool = True,
        size: tuple[int, int] | None = None,
        preprocess: Preprocess | None = None,
        classes: Sequence[str] | None = None,
        reviewed: str | PathLike[str] | None = None,
        loader: DataLoader[Any] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> "Probe":
        """Draws a probe from a data set: class-balanced, the same at each call, and nothing from global random state.

        Of very many classes some are drawn, with four images each, since trials swap within a class as well.

        Labels are taken from the data set where it lists them; otherwise up to ``max(2 * n, 256)`` items are read.
        Random transforms run under a seed of their own. Items are ``(image, target, ...)`` or dicts; images are
        floats, bytes (divided by 255) or PIL images; targets are class indices or one-hot.

        The model gets the same numbers as from the data set. A torchvision ``Normalize`` in its transform is inverted
        to show pixels, and becomes ``preprocess``. If there is none and values lie outside [0, 1], every channel is
        stretched to [0, 1] with a warning, and ``preprocess`` undoes this.

        The first of these gives the mask: ``masks``, the item's own mask (``tv_tensors.Mask``, or the key "mask" of a
        dict), the transparency of a PIL image, ``segmenter``, ``boxes``, the item's ``tv_tensors.BoundingBoxes``, or an
        object on a plain background. If no image has any but the last, the others are guessed: such a mask covers more
        than the object, and leads to a warning at most. ``mask_sources`` says which mask came from where.

        Args:
            dataset: Anything with ``len()`` and ``[index]``; ``Subset`` and ``ConcatDataset`` are looked through. Of an
                ``IterableDataset`` or the like, the first 256 items are read.
            n: Number of images; all of them if there are fewer. None takes an eighth of the data set: at most 256 and
                as many as fit into 128 MiB, but at least 64.
            seed: Seed of the choice of images.
            masks: ``(H, W)`` masks of two levels by index in the data set, at the size of the item's image; or
                annotations of its files, as `maskers.annotations` reads them.
            boxes: ``(k, 4)`` boxes ``x1, y1, x2, y2`` in pixels by index in the data set.
            segmenter: Your own model: pixels ``(N, C, H, W)`` in [0, 1] to scores ``(N, H, W)``, above 0.5 on the
                object. Masks of less than 3 % of an image count as missing.
            find_masks: Whether to look for objects if nothing else gives a mask, and to guess.
            size: ``(height, width)`` of the resized images; proportions may change. None keeps the size.
            preprocess: Pixels to model input; None uses the ``Normalize`` of the data set.
            classes: Names of the classes; None uses those of the data set.
            reviewed: What was saved of the same probe, see `with_reviewed`; nothing is guessed then.
            loader: The loader of a running training. With it, workers like its own or a forked process read the items.
                Without it, a copy of the data set is read, or the data set itself if it cannot be copied. Reading apart
                leaves the training's open files, generators and counters as they are.
            say: Gets a message about the progress if reading, or guessing masks, takes more than two seconds.

        Raises:
            TypeError: The data set has no length or no index, and is no stream that can begin anew.
            ValueError: The message names the problem and the solution.
        """
        return cls._of(
            draw_from_dataset(
                dataset,
                n,
                seed=seed,
                masks=as_annotations(masks) if isinstance(masks, (str, PathLike)) else masks,
                boxes=boxes,
                masking=Masking(find_masks and reviewed is None, segmenter, say),
                size=size,
                preprocess=preprocess,
                classes=classes,
                loader=loader,
            ),
            has_masks=masks is not None or segmenter is not None,
            reviewed=reviewed,
        )

    @classmethod
    @plain_tensors()
    def from_folder(
        cls,
        path: str | PathLike[str],
        n: int = 64,
        *,
        seed: int = 0,
        masks: str | PathLike[str] | Annotations | None = None,
        segmenter: Segmenter | None = None,
        find_masks: bool = True,
        size: tuple[int, int] | None = None,
        grayscale: bool = False,
        upright: bool = False,
        preprocess: Preprocess | None = None,
        say: Callable[[str], None] | None = None,
    ) -> "Probe":
        """Draws a probe from a folder with one sub-folder per class: class-balanced and the same at each call.

        Pixels are the same as from torchvision's ``ImageFolder``. It drops transparency; the colour underneath shows.
        It ignores the EXIF orientation; if a file has one, a warning says so. The one difference: 16-bit grey is
        scaled here and clipped there.

        The first of these gives the mask: ``masks``, the pixels that are not fully transparent (if any are),
        ``segmenter``, or an object on a plain background. If no image has any but the last, the others are guessed,
        as in `from_dataset`.

        Args:
            path: The folder; class indices follow the sorted names of its sub-folders.
            n: Number of images; all of them if there are fewer.
            seed: Seed of the choice of images.
            masks: A folder ``<class>/<stem of the image>.*`` with the object in white, as large as the image as stored;
                or annotations, as `maskers.annotations` reads them.
            segmenter: As in `from_dataset`.
            find_masks: Whether to look for objects if nothing else gives a mask, and to guess.
            size: ``(height, width)`` of the resized images; proportions may change. None keeps the size.
            grayscale: One channel instead of three.
            upright: Turn images and their masks by their EXIF orientation, for models whose training does so.
            preprocess: Pixels to model input.
            say: Gets a message before a guess that takes more than two seconds.

        Raises:
            ValueError: The message names the file, the problem and the solution.
        """
        return cls._of(
            draw_from_folder(
                Path(path),
                n,
                seed=seed,
                masks=as_annotations(masks),
                masking=Masking(find_masks, segmenter, say),
                options=ReadingOptions(size=size, upright=upright, grayscale=grayscale),
                preprocess=preprocess,
            ),
            has_masks=masks is not None or segmenter is not None,
        )

    @classmethod
    def _of(cls, drawn: Drawn, *, has_masks: bool, reviewed: str | PathLike[str] | None = None) -> "Probe":
        probe = cls(**vars(drawn), reviewed=reviewed)
        if has_masks:
            regions = torch.zeros(len(probe), 1, 1, dtype=torch.bool) if probe.masks is None else probe.masks
            warn_of_wrong_masks(regions, probe.mask_sources)
        return probe

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        size = "x".join(str(length) for length in self.images.shape[1:])
        sources = ", ".join(f"{count} {source}" for source, count in Counter(self.mask_sources).items())
        kinds = f"{len(self.classes)} classes" if self.labels is None else f"{self.n_scores} labels"
        return f"Probe({len(self)} images {size}, {kinds}, masks: {sources})"

    @property
    def n_scores(self) -> int:
        """How many scores a model gives for an image: one for each class, or one for each label."""
        return len(self.classes) if self.labels is None else self.labels.shape[1]

    def inputs(self) -> Tensor:
        """Model input: ``preprocess(images)``, ``(N, ...)`` on the CPU, without a gradient."""
        return self.prepare(self.images)

    def prepare(self, images: Tensor) -> Tensor:
        """Model input of other pixels ``(M, C, H, W)`` in [0, 1], such as edited ones."""
        with torch.inference_mode(False), torch.no_grad():
            # A copy: torchvision's Normalize(inplace=True), or a model's first layer, would write into the probe.
            copied = images.clone()
            inputs = copied if self.preprocess is None else self.preprocess(copied)
        return checked_inputs(inputs, len(images))

    @property
    def known_masks(self) -> Tensor | None:
        """The masks that somebody made or that a plain background shows; False where one was guessed."""
        is_guessed = torch.tensor([source == GUESS for source in self.mask_sources])
        return None if self.masks is None else self.masks & ~is_guessed[:, None, None]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over images, targets, masks, classes and names, in hex. ``preprocess`` is not part of it."""
        return storage.digest(self._arrays(), self.classes, self.names)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        tensors = {"images": self.images, "targets": self.targets, "masks": self.masks, "labels": self.labels}
        return {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes the probe to ``folder``: arrays without pickle, and a manifest with the fingerprint.

        A ``Normalize`` is written as numbers. Any other ``preprocess`` is not saved; pass it to `load` again.
        """
        storage.save(Path(folder), self._arrays(), self._facts(self.fingerprint))

    def in_bytes(self) -> dict[str, bytes]:
        """The files that `save` writes, by name, but a quarter as large: pixels are rounded to bytes."""
        arrays = {**self._arrays(), "images": (255 * self.images).round().to(torch.uint8).numpy()}
        return dict(storage.files_of(arrays, self._facts(storage.digest(arrays, self.classes, self.names))))

    def _facts(self, fingerprint: str) -> dict[str, Any]:
        return {
            "fingerprint": fingerprint,
            "classes": self.classes,
            "names": self.names,
            "mask_sources": self.mask_sources,
            "preprocess": as_written(self.preprocess),
        }

    @classmethod
    def load(cls, folder: str | PathLike[str], *, preprocess: Preprocess | None = None) -> "Probe":
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
            )

    def copies(self) -> list[str]:
        """Names of the images that have the same pixels as an earlier one.

        >>> Probe(torch.zeros(2, 3, 4, 4), torch.tensor([0, 0])).copies()
        ['0_1']
        """
        pixels = [hashlib.sha256(image.numpy().tobytes()).digest() for image in self.images]
        return [name for position, name in enumerate(self.names) if pixels[position] in pixels[:position]]

    def with_preprocess(self, preprocess: Preprocess | None) -> "Probe":
        """The same images with another ``preprocess``."""
        return replace(self, preprocess=preprocess)

    def with_reviewed(self, path: str | PathLike[str]) -> "Probe":
        """The images that a person kept on the page of ``lightning-cam masks``, with the masks as they were corrected.

        Args:
            path: The file that the page of this probe saved. Pictures are known by their names.

        Raises:
            ValueError: The file is of another form, of other pictures, or of another size.
        """
        positions, masks = reviewed_of(Path(path), self.names, (self.images.shape[2], self.images.shape[3]))
        sources = tuple("reviewed" if mask.any() else "none" for mask in masks)
        return replace(self.select(positions), masks=masks, mask_sources=sources)

    def select(self, indices: Sequence[int]) -> "Probe":
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
        )
