"""Items in forms that are not read by themselves, and the code that turns each into one that is."""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor

_WITH_OTHER = "forward=lambda module, images, rest: module(images, rest['other'])"
_VIEWS = "pass a probe with classes and forward=Similarity(lambda module, images: embedding)"
PAIR = (
    "to look at the first, pass read=lambda item: {'image': item[0][0], 'label': item[1], 'rest': {'other': "
    f"item[0][1]}}}} and {_WITH_OTHER}; of two views of one picture, as for SimCLR, {_VIEWS}"
)
_CORNERS = "[[x, y, x + w, y + h] for x, y, w, h in {}]"
_KINDS = ("category", "categories", "label", "labels", "category_id")
_COCO_BOX, _COCO_KIND = "bbox", "category_id"
_OF_BOX, _OF_YOLO = 4, 5  # numbers: of a box, and of a class before it


def way_out(item: Any) -> str:
    """What to pass for an item of a usual form that is not read by itself; empty where nothing is known.

    >>> way_out((Tensor(3, 8, 8), [{"bbox": [1, 1, 4, 4], "category_id": 3}]))[:35]
    'pass read=lambda item: (item[0], {"'
    """
    if isinstance(item, Mapping):
        return _of_columns(item)
    if not isinstance(item, (tuple, list)) or len(item) < 2:
        return ""
    image, target, *rest = item
    if isinstance(image, Mapping):
        return _of_inputs(image)
    if len(item) == 3 and all(map(_is_picture, item)):
        return f"of several pictures without a class, {_VIEWS}"
    if len(item) == 3 and _is_picture(image) and _is_picture(target):
        return (
            "to look at the first of two pictures, pass read=lambda item: {'image': item[0], 'label': item[2], 'rest': "
            f"{{'other': item[1]}}}} and {_WITH_OTHER}"
        )
    return _of_boxes(target, rest) or _of_names(target)


def _of_columns(item: Mapping[Any, Any]) -> str:
    """Of Hugging Face: one column holds the boxes and kinds of all objects."""
    objects = item.get("objects")
    if not isinstance(objects, Mapping) or _COCO_BOX not in objects:
        return ""
    image = next((key for key, value in item.items() if _is_picture(value)), "image")
    kinds = next((key for key in _KINDS if key in objects), _KINDS[0])
    corners = _CORNERS.format('item["objects"]["bbox"]')
    return (
        f'pass read=lambda item: (item["{image}"], {{"boxes": {corners}, "labels": item["objects"]["{kinds}"]}}) if '
        "boxes are x, y, width, height in pixels"
    )


def _of_inputs(inputs: Mapping[Any, Any]) -> str:
    """Of a model that is given several things by name."""
    image = next((key for key, value in inputs.items() if _is_picture(value)), None)
    if image is None:
        return ""
    kept = ", ".join(f"{key!r}: item[0][{key!r}]" for key in inputs if key != image)
    rest = f", 'rest': {{{kept}}}" if kept else ""
    forward = f"{{{image!r}: images{', **rest' * bool(kept)}}}"
    return (
        f"pass read=lambda item: {{'image': item[0][{image!r}], 'label': item[1]{rest}}} and "
        f"forward=lambda module, images{', rest' * bool(kept)}: module({forward})"
    )


def _of_boxes(target: Any, rest: Sequence[Any]) -> str:
    if isinstance(target, Sequence) and target and all(isinstance(one, Mapping) for one in target):
        if not all(_COCO_BOX in one and _COCO_KIND in one for one in target):
            return ""
        corners = _CORNERS.format('(one["bbox"] for one in item[1])')
        kinds = '[one["category_id"] for one in item[1]]'
        return f'pass read=lambda item: (item[0], {{"boxes": {corners}, "labels": {kinds}}})'
    if isinstance(target, (tuple, list)) and len(target) == 2 and _are_boxes(target[0], _OF_BOX):
        return 'pass read=lambda item: (item[0], {"boxes": item[1][0], "labels": item[1][1]})'
    if _are_boxes(target, _OF_BOX) and len(rest) == 1:
        return 'pass read=lambda item: (item[0], {"boxes": item[1], "labels": item[2]})'
    if _are_boxes(target, _OF_YOLO):
        return (
            'pass read=lambda item: (item[0], {"boxes": torchvision.ops.box_convert(item[1][:, 1:], "cxcywh", "xyxy") '
            '* torch.tensor([item[0].shape[-1], item[0].shape[-2]] * 2), "labels": item[1][:, 0].long()}) if a row is '
            "class, centre, width and height as shares of the picture, as for YOLO"
        )
    return ""


def _of_names(target: Any) -> str:
    is_word = isinstance(target, str) and not target.strip().count(" ")
    return "pass read=lambda item: (item[0], names.index(item[1])) with names, the list of your classes" * is_word


def _is_picture(value: Any) -> bool:
    return isinstance(value, Image.Image) or (isinstance(value, Tensor) and value.ndim == 3)


def _are_boxes(value: Any, n: int) -> bool:
    return isinstance(value, Tensor) and value.ndim == 2 and value.shape[1] == n
