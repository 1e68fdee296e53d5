"""What a model knows from parts of an image: by rules whose answer is known."""

import pytest
import torch
from torch import Tensor

from lightning_cam.intervention import context

N, SIZE = 12, 20


def scene() -> tuple[Tensor, Tensor, Tensor]:
    """An object in the middle and a background around it, both as bright as the class says."""
    targets = torch.arange(N) % 2
    masks = torch.zeros(N, SIZE, SIZE, dtype=torch.bool)
    masks[:, 6:14, 6:14] = True
    return (0.1 + 0.8 * targets.float())[:, None, None, None].expand(N, 3, SIZE, SIZE).clone(), targets, masks


def by_pixel(y: int, x: int) -> object:
    """A model that knows the class from one pixel, and guesses class 0 from grey."""
    return lambda images: torch.stack([1 - images[:, 0, y, x], images[:, 0, y, x] - 0.05], 1).softmax(1)


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        pytest.param((0, 0), {"periphery_accuracy": 1, "foreground_only_accuracy": 0.5}, id="corner"),
        pytest.param((10, 10), {"periphery_accuracy": 0.5, "foreground_only_accuracy": 1}, id="object"),
    ],
)
def test_a_part_that_holds_what_the_model_reads_is_enough(pixel: tuple[int, int], expected: dict[str, float]) -> None:
    found = context(*scene(), by_pixel(*pixel))

    assert {name: found[name] for name in expected} == expected


def test_the_background_alone_has_no_object() -> None:
    images, targets, masks = scene()
    images[masks[:, None].expand_as(images)] = 0.5  # grey objects on telling backgrounds
    only_object_counts = images.clone()
    only_object_counts[~masks[:, None].expand_as(images)] = 0.1

    assert context(images, targets, masks, by_pixel(10, 10))["background_only_accuracy"] == 1  # filled in from around
    assert context(only_object_counts, targets, masks, by_pixel(10, 10))["background_only_accuracy"] == 0.5


def test_without_masks_only_the_periphery_is_known() -> None:
    images, targets, _ = scene()

    assert set(context(images, targets, None, by_pixel(0, 0))) == {"periphery_accuracy"}


def test_images_without_a_mask_do_not_count() -> None:
    images, targets, masks = scene()
    masks[targets == 0] = False

    assert context(images, targets, masks, by_pixel(10, 10))["foreground_only_accuracy"] == 1
    assert context(images, 1 - targets, masks, by_pixel(10, 10))["foreground_only_accuracy"] == 0
