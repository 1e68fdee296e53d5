"""Masks from annotations in the usual forms: the same object is read from each, and wrong files are one sentence."""

import base64
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder

from lightning_cam import Probe, maskers
from lightning_cam.maskers import outlines

WIDTH, HEIGHT = 40, 30
LEFT, TOP, RIGHT, BOTTOM = 10, 5, 22, 17  # of the object, ends exclusive
CORNERS = [[LEFT, TOP], [RIGHT - 1, TOP], [RIGHT - 1, BOTTOM - 1], [LEFT, BOTTOM - 1]]


def truth() -> Tensor:
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    mask[TOP:BOTTOM, LEFT:RIGHT] = True
    return mask


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of two pictures, with names of which one occurs in both."""
    generator = np.random.default_rng(0)
    for name in ("cat/1", "cat/2", "dog/1", "dog/3"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        values = generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / "images" / f"{name}.png")
    return tmp_path / "images"


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Image.Image):
        content.save(path)
    elif isinstance(content, (str, bytes)):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    else:
        path.write_text(json.dumps(content))
    return path


def coco(*annotations: dict[str, Any], name: str = "cat/1.png") -> dict[str, Any]:
    image = {"id": 7, "file_name": name, "height": HEIGHT, "width": WIDTH}
    return {
        "images": [image],
        "annotations": [{"image_id": 7, "category_id": 1, **annotation} for annotation in annotations],
        "categories": [{"id": 1, "name": "Cat"}, {"id": 2, "name": "sofa"}],
    }


def runs() -> list[int]:
    flat = truth().T.flatten().int()
    changes = [0, *(flat.diff().nonzero()[:, 0] + 1).tolist(), len(flat)]
    return np.diff(changes).tolist()  # the first run is outside


def packed(counts: list[int]) -> str:
    """COCO's compression, written from its description."""
    text = ""
    for position, count in enumerate(counts):
        value = count - counts[position - 2] if position > 2 else count
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(48 + (bits | (32 if more else 0)))
    return text


def labelme(shape: str, points: list[list[float]], **more: Any) -> dict[str, Any]:
    return {"imagePath": "1.png", "shapes": [{"label": "cat", "shape_type": shape, "points": points, **more}]}


def embedded() -> str:
    file = io.BytesIO()
    Image.fromarray(np.full((BOTTOM - TOP, RIGHT - LEFT), 255, np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


VOC = (
    "<annotation><filename>1.png</filename><object><name>cat</name><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
    "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object></annotation>"
)


def class_picture() -> Image.Image:
    """As VOC's: colours number the classes, and the rim of the object is undefined."""
    picture = Image.new("P", (WIDTH, HEIGHT))
    palette = np.zeros((256, 3), np.uint8)
    palette[8], palette[255] = (64, 0, 0), (224, 224, 192)
    picture.putpalette(palette.tobytes())
    ImageDraw.Draw(picture).rectangle((LEFT, TOP, RIGHT - 1, BOTTOM - 1), fill=8, outline=255)
    return picture


def shares(*points: tuple[float, float]) -> str:
    return " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in points)


CENTRE, SIDES = ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2), (RIGHT - LEFT, BOTTOM - TOP)
PLAIN = [value for corner in CORNERS for value in corner]
FORMS: dict[str, tuple[str, Any, str]] = {  # file, content, and the source that the probe names
    "coco, polygon": ("all.json", coco({"segmentation": [PLAIN]}), "given"),
    "coco, runs": ("all.json", coco({"segmentation": {"counts": runs(), "size": [HEIGHT, WIDTH]}}), "given"),
    "coco, packed": ("all.json", coco({"segmentation": {"counts": packed(runs()), "size": [HEIGHT, WIDTH]}}), "given"),
    "coco, box": ("all.json", coco({"bbox": [LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP]}), "box"),
    "labelme, polygon": ("cat/1.json", labelme("polygon", CORNERS), "given"),
    "labelme, rectangle": ("cat/1.json", labelme("rectangle", [[RIGHT, TOP], [LEFT, BOTTOM]]), "box"),
    "labelme, mask": ("cat/1.json", labelme("mask", [CORNERS[0], CORNERS[2]], mask=embedded()), "given"),
    "voc, begun at 1 and ended at 0": (
        "Annotations/cat/1.xml",
        VOC.format(LEFT + 1, TOP + 1, RIGHT - 1, BOTTOM - 1),
        "box",
    ),
    "voc, classes": ("cat/1.png", class_picture(), "folder"),
    "yolo, box": ("labels/cat/1.txt", f"3 {shares(CENTRE, SIDES)}\n", "box"),
    "yolo, polygon": ("cat/1.txt", f"0 {shares(*(tuple(corner) for corner in CORNERS))}", "given"),  # type: ignore[arg-type]
    "pictures": ("cat/1.png", Image.fromarray(truth().numpy()), "folder"),
}


@pytest.mark.parametrize(("name", "content", "source"), FORMS.values(), ids=FORMS)
def test_each_form_gives_the_object(pictures: Path, tmp_path: Path, name: str, content: Any, source: str) -> None:
    file = written(tmp_path / "notes" / name, content)
    probe = Probe.from_folder(pictures, masks=file if name == "all.json" else tmp_path / "notes", find_masks=False)

    position = probe.names.index("cat_1")
    assert probe.masks is not None
    assert torch.equal(probe.masks[position], truth())
    assert probe.mask_sources[position] == source
    assert set(probe.mask_sources) == {source, "none"}


def test_the_circle_of_labelme_holds_the_disc(pictures: Path, tmp_path: Path) -> None:
    written(tmp_path / "notes" / "cat" / "1.json", labelme("circle", [[20, 15], [26, 15]]))
    probe = Probe.from_folder(pictures, masks=tmp_path / "notes", find_masks=False)

    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    distance = ((x - 20) ** 2 + (y - 15) ** 2) ** 0.5
    assert probe.masks is not None
    mask = probe.masks[probe.names.index("cat_1")]
    assert mask[distance <= 5].all()
    assert not mask[distance >= 8].any()


def test_pycocotools_reads_the_same() -> None:
    reference = pytest.importorskip("pycocotools.mask")
    mask = torch.rand(37, 53, generator=torch.Generator().manual_seed(0)) > 0.3
    text = reference.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))["counts"].decode()
    canvas = Image.new("L", (53, 37))
    outlines.Runs(outlines.unpacked(text), (37, 53)).draw(canvas)

    assert torch.equal(torch.from_numpy(np.array(canvas) > 0), mask)


def test_what_is_named_as_the_class_is_the_object_and_else_everything(pictures: Path, tmp_path: Path) -> None:
    other = {"bbox": [0, 0, 4, 4], "category_id": 2}
    own = {"segmentation": [PLAIN]}
    both = written(tmp_path / "both.json", coco(own, other))
    others = written(tmp_path / "others.json", coco(other, {**own, "category_id": 2}))

    masks = [Probe.from_folder(pictures, masks=file, find_masks=False).masks for file in (both, others)]
    assert masks[0] is not None
    assert masks[1] is not None
    assert not masks[0][:, 0, 0].any()
    assert masks[1][:, 0, 0].any()
    assert masks[1].sum() == truth().sum() + 16


def test_a_data_set_of_files_takes_annotations(pictures: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "all.json", coco({"segmentation": [PLAIN]}))
    dataset = ImageFolder(pictures, v1.ToTensor())
    probe = Probe.from_dataset(dataset, masks=maskers.annotations(file), find_masks=False)

    assert probe.masks is not None
    assert torch.equal(probe.masks[probe.names.index("cat_1")], truth())
    assert probe.fingerprint == Probe.from_dataset(dataset, masks=str(file), find_masks=False).fingerprint
    with pytest.raises(ValueError, match=r"does not say which file an item is from; use Probe.from_folder"):
        Probe.from_dataset([(torch.rand(3, 8, 8), 0)], masks=file)
    with pytest.raises(ValueError, match=r"must have its image's size \(20, 20\)"):
        Probe.from_dataset(
            ImageFolder(pictures, v1.Compose([v1.CenterCrop(20), v1.ToTensor()])), masks=file, find_masks=False
        )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat/1.png", ["cat_1"]),
        ("photos\\val\\cat\\1.png", ["cat_1"]),
        ("2.jpg", ["cat_2"]),
        ("val2017/2.jpg", ["cat_2"]),
        ("dog/2.png", []),  # of another class: not the picture of this one
        ("val2017/1.jpg", []),  # nobody knows which
        ("../../cat/1.png", ["cat_1"]),
    ],
)
def test_an_annotation_finds_its_picture_and_no_other(
    pictures: Path, tmp_path: Path, name: str, expected: list[str]
) -> None:
    content = coco({"segmentation": [PLAIN]}, name=name)
    content["images"].append({**content["images"][0], "file_name": "dog/3.png"})
    probe = Probe.from_folder(pictures, masks=written(tmp_path / "all.json", content), find_masks=False)

    sources = zip(probe.names, probe.mask_sources, strict=True)
    assert sorted(name for name, source in sources if source != "none") == [*expected, "dog_3"]


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


WRONG: dict[str, tuple[str, Any, str]] = {
    "other json": (
        "all.json",
        {"name": "x"},
        "must be COCO .* or LabelMe .*keys name; export the",
    ),
    "a list": ("all.json", [1, 2], "it has a list"),
    "no json": ("all.json", "hello", "cannot be read as JSON"),
    "deep json": ("all.json", nested(200_000), "cannot be read as JSON"),
    "bytes": ("all.json", b"\xff\xfe\x00", "cannot be read as JSON"),
    "no file_name": ("all.json", {"images": [{}], "annotations": []}, "without file_name"),
    "no image_id": ("all.json", {"images": [], "annotations": [{}]}, "without image_id"),
    "another size": (
        "all.json",
        {**coco({"segmentation": [PLAIN]}), "images": [{"id": 7, "file_name": "cat/1.png", "height": 9, "width": 8}]},
        "says 9x8 pixels of a picture of 30x40",
    ),
    "two corners": ("all.json", coco({"segmentation": [[1, 2, 3, 4]]}), "at least three corners, got 4 numbers"),
    "texts": ("all.json", coco({"segmentation": [["a"] * 6]}), "a polygon must be a list of numbers, got"),
    "nan": ("all.json", coco({"segmentation": [[float("nan")] * 6]}), "must be a list of numbers"),
    "runs too long": (
        "all.json",
        coco({"segmentation": {"counts": [10**12, 10**12], "size": [HEIGHT, WIDTH]}}),
        "must have 1200 pixels together",
    ),
    "runs of another size": (
        "all.json",
        coco({"segmentation": {"counts": [0, 10**10], "size": [10**5, 10**5]}}),
        "100000x100000 pixels is not as large as the picture",
    ),
    "negative runs": (
        "all.json",
        coco({"segmentation": {"counts": [-5, 1205], "size": [HEIGHT, WIDTH]}}),
        "must have 1200 pixels together",
    ),
    "endless number": (
        "all.json",
        coco({"segmentation": {"counts": "o" * 5000, "size": [HEIGHT, WIDTH]}}),
        "other characters than COCO's",
    ),
    "more runs than pixels": (
        "all.json",
        coco({"segmentation": {"counts": "1" * 10**6, "size": [HEIGHT, WIDTH]}}),
        "more runs than pixels",
    ),
    "many points": ("all.json", coco({"segmentation": [[1.0] * 300_000]}), "more than 200000; simplify"),
    "many outlines": ("all.json", coco(*[{"bbox": [0, 0, 1, 1]}] * 3000), "more than 2000"),
    "nobody's": ("all.json", coco({"segmentation": [PLAIN]}, name="x.png"), "no image has a mask in"),
    "of both": ("all.json", coco({"segmentation": [PLAIN]}, name="1.png"), "2 pictures are named 1"),
    "xml bomb": ("cat/1.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "defines entities"),
    "other xml": ("cat/1.xml", "<svg/>", "with <annotation>, it has <svg>"),
    "broken xml": ("cat/1.xml", "<annotation>", "cannot be read as XML"),
    "voc without numbers": ("cat/1.xml", VOC.format("a", 1, 2, 3), "numbers were expected"),
    "yolo in pixels": ("cat/1.txt", "0 120 80 30 40", "shares from 0 to 1, got 30 to 120"),
    "yolo of words": ("cat/1.txt", "a cat on a mat", "1.txt: numbers were expected"),
    "yolo of three": ("cat/1.txt", "0 0.1 0.1", "at least three corners"),
    "no picture inside": (
        "cat/1.json",
        labelme("mask", [[0, 0], [1, 1]], mask="AAAA"),
        "a mask inside cannot be read",
    ),
    "labelme without pairs": ("cat/1.json", labelme("polygon", [[1]]), r"points must be pairs"),
}


@pytest.mark.parametrize(("name", "content", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_or_hostile_file_is_one_sentence_soon(
    pictures: Path, tmp_path: Path, name: str, content: Any, message: str
) -> None:
    file = written(tmp_path / "notes" / name, content)
    start = time.monotonic()

    with pytest.raises(ValueError, match=message):
        Probe.from_folder(pictures, masks=file if name == "all.json" else tmp_path / "notes")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: coco({"segmentation": [[-9e8, -9e8, 9e8, -9e8, 9e8, 9e8, -9e8, 9e8]]}), id="polygon"),
        pytest.param(lambda: coco({"bbox": [-9e8, -9e8, 1.8e9 - 1, 1.8e9 - 1]}), id="box"),
    ],
)
def test_what_lies_outside_of_the_picture_is_cut_off(
    pictures: Path, tmp_path: Path, make: Callable[[], dict[str, Any]]
) -> None:
    content = make()
    if "bbox" in content["annotations"][0]:
        content["annotations"][0]["bbox"] = [-9e8, -9e8, 9.9e8, 9.9e8]
    probe = Probe.from_folder(pictures, masks=written(tmp_path / "all.json", content), find_masks=False)

    assert probe.masks is not None
    assert probe.masks[probe.names.index("cat_1")].all()


def test_a_place_that_has_no_masks_is_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"masks must be COCO or LabelMe \(.json\), VOC .* got .*1.png; give their"):
        maskers.annotations(pictures / "cat" / "1.png")
    with pytest.raises(ValueError, match=r"a folder or a file of masks was expected, .*nothing is none; check"):
        maskers.annotations(tmp_path / "nothing")
