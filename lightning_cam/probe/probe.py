"""The probe as everybody meets it: what it is made of, and how it is drawn from a data set or a folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from ..datasets.items import Regions
from ..datasets.tables import Attributes
from ..maskers import Annotations, as_annotations
from .checks import plain_tensors
from .datasets import draw_from_dataset
from .doubts import warn_of
from .drawn import Drawn, Preprocess
from .folders import ReadingOptions, draw_from_folder
from .masking import Masking, Segmenter
from .record import Record
from .task import Kind


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Probe(Record):
    """Images to look at again and again, with their classes and, where known, the mask of the object.

    Everything is checked here and copied to the CPU, so code that gets a probe can trust it. A probe never changes.

    Args:
        images: ``(N, C, H, W)`` float pixels in [0, 1], as a person would look at them. Kept as float32. Volumes, and
            videos with time for depth, are ``(N, C, D, H, W)``.
        targets: ``(N,)`` class indices; or ``(N, K)`` of 0 and 1, of several labels at once, and -1 where nobody knows;
            or floats ``(N,)`` or ``(N, D)``, values to predict, of which one at least is no whole number; or maps
            ``(N, H, W)`` of classes, 0 for the background and 255 or less than 0 for what is ignored.
        masks: ``(N, H, W)`` bool, True on the object, or one ``(H, W)`` mask or None per image. A mask that is False
            everywhere means the same as None: missing. Of volumes ``(N, D, H, W)``.
        classes: Name of each class; "0", "1", ... by default.
        names: One name per image, unique; made of class and index by default.
        preprocess: Pixels to model input, such as torchvision's ``v2.Normalize``; None gives the model the pixels.
        mask_sources: Where each mask came from, out of ``MASK_SOURCES``; "given" by default.
        reviewed: The file that the page of ``lightning-cam masks`` saved, see `with_reviewed`.
        labels: Of several labels, the marks ``(N, K)``, where ``targets`` are answers already.
        attributes: A value per image of what a shortcut may hang on, such as ``{"site": values}``; None where it is
            not known. The report has the right answers of each group of class and value.
        values: Numbers ``(N,)`` or ``(N, D)`` to predict, where all are whole or ``targets`` are answers already.
        regions: Maps ``(N, H, W)`` of classes, where ``targets`` are the classes of their largest regions already.
        task: As `task` of another probe, whose halves are kept; by default it is read from the targets.
        rest: What the model is given beside each image, ``(N, ...)``: a tensor, several, or several by name. Only
            images are edited, and the rest stays with its image. The model is called as ``model(images, rest)``, with
            ``*rest`` of several and ``**rest`` by name; for anything else ``forward=`` is ``(model, images, rest)``.

    Each image of several labels is asked for one of them: `targets` is then ``2 k + 1`` if the image has label ``k``
    and ``2 k`` if it lacks it, and `classes` are the names of these answers, "no cat", "cat", "no dog", "dog".
    Of values, the answers are the halves below and from the middle on, ``(N, D)`` asked in turn. Of maps, each image is
    asked for its largest region beside the background; that is its object, too. Of maps of one class alone, each image
    is asked whether the object is there, `targets` 0 or 1, and an image without one is asked for the place of another
    image's object; without such images, the halves are those of smaller and of larger objects.

    Raises:
        ValueError: The message names the problem and the solution.

    >>> import torch
    >>> probe = Probe(torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]), classes=["cat", "dog"])
    >>> probe
    Probe(2 images 3x4x4, 2 classes, masks: 2 none)
    >>> probe.names
    ('cat_0', 'dog_1')
    """

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
        attributes: Attributes | None = None,
        loader: DataLoader[Any] | None = None,
        task: Kind | None = None,
        ignore_index: int | None = None,
        say: Callable[[str], None] | None = None,
    ) -> "Probe":
        """Draws a probe from a data set: class-balanced, the same at each call, and nothing from global random state.

        Of very many classes some are drawn, with four images each, since trials swap within a class as well.

        Labels are taken from the data set where it lists them; otherwise up to ``max(2 * n, 256)`` items are read.
        Random transforms run under a seed of their own. Items are ``(image, target, ...)`` or dicts; images are
        floats, bytes (divided by 255) or PIL images; targets are class indices or one-hot, rows of 0 and 1, or values.

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
            attributes: Where values come from, such as ``{"site": "hospital"}``: a key or field of an item, its
                position in a tuple, a function from an item to a value, or a value for each item of the data set.
                Of a data set that lists its files, such as `ImageFolder`, also as in `from_folder`.
            loader: The loader of a running training. With it, workers like its own or a forked process read the items.
                Without it, a copy of the data set is read, or the data set itself if it cannot be copied. Reading apart
                leaves the training's open files, generators and counters as they are.
            task: Whether targets are classes, or "values" to predict such as ages or counts. None takes them for values
                where one at least is no whole number.
            ignore_index: Of maps of classes, the number that the loss leaves out, beside 255 and negative ones.
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
                attributes=attributes,
                kind=task,
                ignored=ignore_index,
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
        attributes: Attributes | None = None,
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
            attributes: Where values come from: ``{"site": values}`` with a function from a path to a value, a mapping
                from file names such as "cat/3.png" or "3.png" to values, or a value for each file in the order of
                `ImageFolder`; or a CSV file with a column of file names, of which any other column is an attribute.
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
                attributes=attributes,
            ),
            has_masks=masks is not None or segmenter is not None,
        )

    @classmethod
    def _of(cls, drawn: Drawn, *, has_masks: bool, reviewed: str | PathLike[str] | None = None) -> "Probe":
        probe = cls(**vars(drawn), reviewed=reviewed)
        warn_of(probe.mask_doubts, probe.mask_sources, are_expected=has_masks)
        return probe
