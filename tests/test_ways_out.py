"""Items of usual forms that are not read by themselves: what the message says to pass works as it is pasted."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor

from lightning_cam.datasets.items import Reader
from lightning_cam.datasets.tasks import FormError

READER = Reader(seed=0, size=None, masks=None, boxes=None, files=None)
IMAGE, OTHER = torch.rand(2, 3, 16, 16)
PICTURE = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
BOX, CORNERS = [2, 4, 6, 8], (2.0, 4.0, 8.0, 12.0)


def message_of(item: Any) -> str:
    with pytest.raises(FormError) as error:
        READER.reading([item], 0)
    return str(error.value)


def pasted(message: str, argument: str) -> Callable[..., Any]:
    """The function that a message says to pass: the longest text behind the argument that is an expression."""
    text = message.split(f"{argument}=lambda ", 1)[1].split(" and forward=")[0]
    for end in range(len(text), 0, -1):
        try:
            known = {"torch": torch, "torchvision": torchvision, "names": ["cat", "dog"]}
            function: Callable[..., Any] = eval(f"lambda {text[:end]}", known)
        except SyntaxError:
            continue
        return function
    raise AssertionError(message)


@pytest.mark.parametrize(
    "item",
    [
        (PICTURE, [{"bbox": BOX, "category_id": 3, "iscrowd": 0}, {"bbox": [0, 0, 2, 2], "category_id": 1}]),
        (IMAGE, torch.tensor([[3, 5 / 16, 8 / 16, 6 / 16, 8 / 16]])),
        (IMAGE, torch.tensor([CORNERS]), torch.tensor([3])),
        (IMAGE, (torch.tensor([CORNERS]), torch.tensor([3]))),
        {"image": PICTURE, "objects": {"bbox": [BOX], "category": [3], "area": [48]}},
        {"photo": IMAGE, "objects": {"bbox": [BOX], "label": [3]}},
    ],
    ids=["coco", "yolo", "boxes and labels", "boxes and labels in a tuple", "hugging face", "hugging face, own names"],
)
def test_boxes_are_read_by_the_code_of_the_message(item: Any) -> None:
    reading = READER.reading([pasted(message_of(item), "read")(item)], 0)

    assert reading.target == 3
    assert reading.item.box == pytest.approx(CORNERS)


def test_a_picture_without_objects_is_read_by_the_code_of_coco() -> None:
    code = pasted(message_of((PICTURE, [{"bbox": BOX, "category_id": 3}])), "read")

    assert READER.reading([code((PICTURE, []))], 0).item.box == ()


@pytest.mark.parametrize(
    ("item", "rest", "given"),
    [
        (({"image": IMAGE, "table": torch.arange(4.0)}, 1), {"table": torch.arange(4.0)}, ["image", "table"]),
        (({"img": IMAGE}, 1), {}, ["img"]),
        ((IMAGE, OTHER, 1), {"other": OTHER}, [OTHER]),
        (([IMAGE, OTHER], 1), {"other": OTHER}, [OTHER]),
    ],
    ids=["inputs by name", "a picture by name", "two pictures", "a pair"],
)
def test_further_inputs_go_beside_the_picture_by_the_code_of_the_message(
    item: Any, rest: dict[str, Tensor], given: list[Any]
) -> None:
    message = message_of(item)
    reading = READER.reading([pasted(message, "read")(item)], 0)

    called: list[Any] = []
    forward = pasted(message, "forward")
    forward(lambda *inputs: called.extend(inputs), IMAGE, *([rest] if rest else []))

    assert (reading.target, list(reading.item.rest)) == (1, list(rest))
    assert list(called[0]) == given if isinstance(called[0], dict) else called[1] is given[0]


def test_names_of_classes_become_numbers_by_the_code_of_the_message() -> None:
    item = (IMAGE, "dog")

    assert READER.reading([pasted(message_of(item), "read")(item)], 0).target == 1


@pytest.mark.parametrize("item", [(IMAGE, OTHER, IMAGE), ([IMAGE, OTHER], 1)], ids=["a triplet", "a pair"])
def test_views_without_a_class_are_told_of_similarity(item: Any) -> None:
    assert re.search(r"pass a probe with classes and forward=Similarity\(lambda", message_of(item))


@pytest.mark.parametrize(
    "item", [IMAGE, (IMAGE, [{"bbox": BOX}]), (IMAGE, "a cat on a mat"), {"image": IMAGE}, (IMAGE,)]
)
def test_nothing_is_made_up_for_other_items(item: Any) -> None:
    assert "lambda" not in message_of(item)
