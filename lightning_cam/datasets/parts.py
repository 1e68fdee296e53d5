"""The parts of one item of a data set, in any of the usual forms: image, target, what goes beside, and regions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from .labels import LABEL_KEYS, first_of
from .objects import objects_of
from .regions import class_map_of, with_map
from .tasks import FormError, form_of
from .values import are_fractions, values_of

IMAGE_KEYS = (
    *("image", "img", "pixel_values", "jpg", "png"),  # the last two in tar files of WebDataset
    *("jpeg", "images", "picture", "photo", "pixels", "x", "input", "inputs"),
)
MASK_KEYS = ("mask", "masks")
SEGMENTATION_KEYS = ("seg", "segmentation", "segmentation_mask")  # of MONAI and Hugging Face; they may number classes
REST_KEY = "rest"


def parts_of(item: Any) -> tuple[Any, Any, list[Any]]:
    """Image, target, and all other values of an item: one of them may be a mask or boxes."""
    if isinstance(item, Mapping):
        image = first_of(item, IMAGE_KEYS, "image")
        if objects_of(item) is not None:
            return image, item, _regions_in(item)
        region = None if any(key in item for key in LABEL_KEYS) else with_map(item, (*MASK_KEYS, *SEGMENTATION_KEYS))
        if region is not None:
            return image, region, []
        return image, first_of(item, LABEL_KEYS, "label"), _regions_in(item)
    if isinstance(item, (tuple, list)) and len(item) >= 2:
        image, target, *rest = _in_usual_order(item)
        if isinstance(target, (tuple, list)):  # torchvision, where a target has several types
            target = [tv_tensors.Mask(part) if isinstance(part, Image.Image) else part for part in target]
            regions = [part for part in target if isinstance(part, (tv_tensors.Mask, tv_tensors.BoundingBoxes))]
            others = [part for part in target if not any(part is region for region in regions)]
            target, rest = (others[0], [*rest, *regions]) if regions and len(others) == 1 else (target, rest)
        _check_no_other_target(target, rest)
        return image, target, rest + (_regions_in(target) if isinstance(target, Mapping) else [])
    raise FormError(f"an item must be (image, target, ...) or a dict, got {form_of(item)}")


def _check_no_other_target(target: Any, rest: Sequence[Any]) -> None:
    """Raises `FormError` where what may be a target lies before a whole number, which may be the class."""
    if not any(_is_whole(part) for part in rest):
        return
    are_numbers = not isinstance(target, Mapping) and are_fractions(values_of(target))
    if are_numbers:
        raise FormError(
            "an item has numbers and then a whole number beside its image, and either may be its target; say which: "
            "pass read=lambda item: (item[0], item[2]) for the whole number, or read=lambda item: (item[0], item[1])"
        )
    classes = None if isinstance(target, Mapping) else class_map_of(target)
    if classes is not None and len(set(classes.flatten().tolist())) <= 2:
        raise FormError(
            "an item has a mask and then a whole number beside its image: it may be a class with the mask of its "
            "object, or a map to predict with an index; say which: pass read=lambda item: {'image': item[0], 'mask': "
            "item[1], 'label': int(item[2])} for the class, or read=lambda item: (item[0], item[1]) for the map"
        )


def others_of(item: Any) -> tuple[int, ...]:
    """The whole numbers that come after the target in a tuple: one of them may be the class."""
    if not isinstance(item, (tuple, list)) or len(item) < 3:
        return ()
    _, target, *rest = _in_usual_order(item)
    return tuple(int(part) for part in rest if _is_whole(part)) if _is_whole(target) else ()


def _is_whole(value: Any) -> bool:
    """Whether a value is one whole number."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        number = torch.as_tensor(value)
        return number.numel() == 1 and not number.is_floating_point() and number.dtype != torch.bool
    return isinstance(value, int) and not isinstance(value, bool)


def rest_of(item: Any) -> dict[str, Tensor]:
    """What the model is given beside the image: under the key "rest" of an item, a tensor, several, or by name."""
    rest = item.get(REST_KEY) if isinstance(item, Mapping) else None
    if rest is None:
        return {}
    several = rest if isinstance(rest, (Mapping, tuple, list)) else [rest]
    named = several if isinstance(several, Mapping) else {str(place): each for place, each in enumerate(several)}
    try:
        return {str(name): torch.as_tensor(value).detach().cpu() for name, value in named.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"the rest of an item must be numbers or tensors, got {form_of(rest)}") from error


def _in_usual_order(item: Sequence[Any]) -> Sequence[Any]:
    """The item without an index or a name before its image."""
    has_name = not _may_be_image(item[0]) and len(item) > 2 and _may_be_image(item[1])
    return item[1:] if has_name else item


def _may_be_image(value: Any) -> bool:
    return isinstance(value, Image.Image) or (isinstance(value, (Tensor, np.ndarray)) and value.ndim in (3, 4))


def _regions_in(item: Mapping[Any, Any]) -> list[Any]:
    masks = [tv_tensors.Mask(item[key]) for key in MASK_KEYS if item.get(key) is not None]
    others = [item[key] for key in SEGMENTATION_KEYS if isinstance(item.get(key), (Tensor, np.ndarray, Image.Image))]
    # A column such as "object_mask"; "attention_mask" and "pixel_mask" are numbers.
    others += [value for key, value in item.items() if str(key).endswith("_mask") and isinstance(value, Image.Image)]
    return [*masks, *item.values(), *(mask for mask in map(tv_tensors.Mask, others) if len(mask.unique()) <= 2)]
