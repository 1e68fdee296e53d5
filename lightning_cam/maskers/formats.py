"""The forms that annotations are written in: COCO, LabelMe, VOC, YOLO, and pictures of masks."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..datasets.masking import binary
from ..datasets.pictures import FORMATS, MAX_PIXELS, UNREADABLE, alpha_mask, pixels_of, read_picture, said_of
from ..text import printable, shortened
from .outlines import Box, Outline, Patch, Polygon, Runs, Shape, Size, numbers, polygon, unpacked

MOST_BYTES = {".json": 2**30, ".xml": 10**7, ".txt": 10**7}  # COCO's own largest file has 470 MB
_KINDS = "COCO (images and annotations) or LabelMe (shapes)"


def json_of(path: Path) -> Any:
    """What a JSON file holds."""
    try:
        return json.loads(_content(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{printable(path)} cannot be read as JSON ({shortened(str(error), 80)})") from error


def is_coco(content: object) -> bool:
    """Whether a JSON file has the two lists of COCO."""
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ("images", "annotations"))


def is_labelme(content: object) -> bool:
    """Whether a JSON file has LabelMe's list."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def unknown_json(path: Path, content: object) -> ValueError:
    """Says that a JSON file has another form."""
    keys = ", ".join(printable(key) for key in list(content)[:5]) if isinstance(content, dict) else ""
    form = f"the keys {keys or 'of nothing'}" if isinstance(content, dict) else f"a {type(content).__name__}"
    return ValueError(f"{printable(path)} must be {_KINDS}, it has {form}; export the annotations as COCO")


# ---- COCO: one file for all pictures


@dataclass(frozen=True)
class CocoPicture:
    """What a file of COCO says of one picture: name, size, annotations, and the names of all categories."""

    name: str
    size: Size | None
    annotations: Sequence[dict[str, Any]]
    categories: Mapping[Any, str]


def coco_pictures(content: Mapping[str, Any]) -> list[CocoPicture]:
    """All pictures of a file."""
    categories = _categories(content.get("categories"))
    by_image: dict[Any, list[Any]] = {}
    for annotation in content["annotations"]:
        if not isinstance(annotation, dict) or not isinstance(annotation.get("image_id"), (int, str)):
            raise ValueError("an annotation without image_id; export it as COCO instances")
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    pictures = []
    for image in content["images"]:
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
            raise ValueError("an image without file_name; export it as COCO instances")
        number = image.get("id")
        found = by_image.get(number, []) if isinstance(number, (int, str)) else []
        size = _size(image.get("height"), image.get("width"))
        pictures.append(CocoPicture(image["file_name"], size, found, categories))
    return pictures


def coco_outlines(picture: CocoPicture) -> list[Outline]:
    """Outlines of the annotations of one picture."""
    outlines = []
    for annotation in picture.annotations:
        number = annotation.get("category_id")
        label = picture.categories.get(number, "") if isinstance(number, (int, str)) else ""
        outlines += [Outline(label, shape) for shape in _coco_shapes(annotation)]
    return outlines


def _categories(entries: object) -> dict[Any, str]:
    known = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {entry["id"]: str(entry.get("name", ""))[:200] for entry in known if isinstance(entry.get("id"), (int, str))}


def _coco_shapes(annotation: Mapping[str, Any]) -> list[Shape]:
    drawn = annotation.get("segmentation")
    if isinstance(drawn, dict):
        return [_runs(drawn)]
    if isinstance(drawn, list) and drawn:
        return [polygon(part) for part in drawn]
    if annotation.get("bbox"):
        x, y, width, height = _four(annotation["bbox"], "bbox")
        return [Box(np.array([x, y, x + width, y + height]))]
    return []


def _runs(drawn: Mapping[str, Any]) -> Runs:
    counts, size = drawn.get("counts"), drawn.get("size")
    if not isinstance(size, list) or len(size) != 2 or _size(*size) is None:
        raise ValueError(f"a run-length mask must have a size [height, width], got {shortened(str(size), 40)}")
    height, width = size
    if isinstance(counts, str):
        if len(counts) > 8 * (height * width + 1):
            raise ValueError("a run-length mask has more runs than pixels; export it again")
        return Runs(unpacked(counts), (height, width))
    if not isinstance(counts, list) or not all(type(count) is int for count in counts):
        raise ValueError("the counts of a run-length mask must be a text or a list of whole numbers; export it again")
    return Runs(tuple(counts), (height, width))


def _four(values: object, what: str) -> NDArray[np.float64]:
    corners = numbers(values, what)
    if len(corners) != 4:
        raise ValueError(f"{what} must have four numbers, got {len(corners)}; export it again")
    return corners


def _size(height: object, width: object) -> Size | None:
    known = type(height) is int and type(width) is int and height > 0 and width > 0
    return (int(str(height)), int(str(width))) if known else None


# ---- LabelMe: one file for each picture


def labelme_outlines(path: Path) -> list[Outline]:
    """Outlines in a file of LabelMe. Points and lines have no inside, and are left out."""
    content = json_of(path)
    if not is_labelme(content):
        raise unknown_json(path, content)
    with said_of(path):
        found = [(str(entry.get("label", "")), _labelme_shape(entry)) for entry in _dicts(content["shapes"])]
    return [Outline(label, shape) for label, shape in found if shape is not None]


def _dicts(entries: list[Any]) -> list[dict[str, Any]]:
    return [entry for entry in entries if isinstance(entry, dict)]


def _labelme_shape(entry: Mapping[str, Any]) -> Shape | None:
    kind, points = entry.get("shape_type") or "polygon", entry.get("points")
    if kind not in ("polygon", "rectangle", "circle", "mask"):
        return None
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise ValueError("points must be pairs [x, y]; export it again")
    flat = [value for point in points for value in point]
    if kind == "polygon":
        return polygon(flat)
    first, second = _four(flat, kind).reshape(2, 2)
    if kind == "circle":
        radius = float(np.hypot(*(second - first)))
        angles = np.linspace(0, 2 * np.pi, 64)
        return Polygon(first + radius * np.stack([np.cos(angles), np.sin(angles)], 1))
    low, high = np.minimum(first, second), np.maximum(first, second)
    if kind == "rectangle":
        return Box(np.concatenate([low, high]))
    return Patch(_embedded(entry.get("mask")), (round(low[0]), round(low[1])))


def _embedded(text: object) -> NDArray[np.bool_]:
    """A picture that is written into JSON."""
    try:
        picture = Image.open(BytesIO(base64.b64decode(text if isinstance(text, str) else "")), formats=FORMATS)
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError(f"{picture.width}x{picture.height} pixels")
        return np.array(picture.convert("L")) > 0
    except (*UNREADABLE, binascii.Error) as error:
        raise ValueError(f"a mask inside cannot be read ({printable(error)}); draw it as a polygon") from error


# ---- VOC: one XML file for each picture


def voc_outlines(path: Path) -> list[Outline]:
    """Boxes in a file of VOC. VOC counts pixels from 1, many others from 0; the box holds what either may mean."""
    content = _content(path)
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError(f"{printable(path)} defines entities, which no annotation needs; export it again")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{printable(path)} cannot be read as XML ({printable(error)})") from error
    if root.tag != "annotation":
        raise ValueError(f"{printable(path)} must be of VOC, with <annotation>, it has <{printable(root.tag)[:40]}>")
    with said_of(path):
        return [_voc_box(entry) for entry in root.findall("object") if entry.find("bndbox") is not None]


def _voc_box(entry: ElementTree.Element) -> Outline:
    texts = [entry.findtext(f"bndbox/{side}") or "" for side in ("xmin", "ymin", "xmax", "ymax")]
    corners = numbers(_floats(texts), "bndbox")
    return Outline(entry.findtext("name") or "", Box(corners + np.array([-1, -1, 1, 1])))


# ---- YOLO: one text file for each picture, in shares of its width and height


def yolo_outlines(path: Path, size: Size) -> list[Outline]:
    """Boxes and polygons in a text file of YOLO."""
    lines = _content(path).decode("utf-8", "replace").splitlines()
    with said_of(path):
        return [Outline("", _yolo_shape(_floats(line.split()), size)) for line in lines if line.strip()]


def _yolo_shape(values: list[float], size: Size) -> Shape:
    shares = numbers(values[1:], "a line")
    if len(shares) > 0 and not -1 <= shares.min() <= shares.max() <= 2:
        raise ValueError(f"YOLO gives shares from 0 to 1, got {shares.min():g} to {shares.max():g}; divide by the size")
    sides = np.array([size[1], size[0]], dtype=np.float64)
    if len(shares) in (4, 5):  # the fifth is how sure a detector was
        centre, half = shares[:2], shares[2:4] / 2
        return Box(np.concatenate([(centre - half) * sides, (centre + half) * sides]))
    return polygon((shares.reshape(-1, 2) * sides).flatten().tolist() if len(shares) % 2 == 0 else shares.tolist())


# ---- pictures of masks


def mask_in(path: Path, image_size: Size) -> Tensor:
    """``(H, W)`` as stored, True where the mask is bright or, with transparency, where it is not transparent.

    In a picture with a palette of colours, as VOC's, each colour but black is a class, and the object. So is the rim
    that VOC leaves undefined: it may belong to the object.
    """
    picture = read_picture(path)
    size = (picture.height, picture.width)
    if size != image_size:
        expected, actual = (f"{width}x{height}" for height, width in (image_size, size))
        raise ValueError(
            f"mask {printable(path)} must be as large as its image as stored, {expected} pixels, got {actual}; resize "
            "it"
        )
    opaque = alpha_mask(picture)
    if opaque is not None:
        return opaque
    if _has_classes(picture):
        return torch.from_numpy(np.array(picture) > 0)
    with said_of(path):
        return binary(255 * pixels_of(picture, grayscale=True)[0])


def _has_classes(picture: Image.Image) -> bool:
    if picture.mode != "P":
        return False
    given = np.array(picture.getpalette("RGB") or []).reshape(-1, 3)
    palette = np.zeros((256, 3), int)  # a broken file has pixels beyond its palette
    palette[: len(given)] = given
    colours = palette[np.unique(np.array(picture))]
    return bool((colours != colours[:, :1]).any() and not palette[0].any())


# ---- reading


def _floats(texts: list[str]) -> list[float]:
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise ValueError(f"numbers were expected, got {printable(texts)[:40]}; is it an annotation?") from error


def _content(path: Path) -> bytes:
    """The bytes of a file that is one, and no larger than any of its kind."""
    if not path.is_file():  # opening a pipe would wait for ever
        raise ValueError(f"{printable(path)} is no file; check the path")
    n_bytes, most = path.stat().st_size, MOST_BYTES.get(path.suffix.lower(), 10**7)
    if n_bytes > most:
        raise ValueError(f"{printable(path)} has {n_bytes} bytes, more than any annotation; split it")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{printable(path)} cannot be read ({printable(error)})") from error
