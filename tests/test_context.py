"""What a model knows from parts of an image: by rules whose answer is known."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lightning_cam.intervention import context, summary
from lightning_cam.intervention.codec import jpeg_quality

N, SIZE = 12, 20


def scene() -> tuple[Tensor, Tensor, Tensor]:
    """An object in the middle and a background around it, both as bright as the class says."""
    targets = torch.arange(N) % 2
    masks = torch.zeros(N, SIZE, SIZE, dtype=torch.bool)
    masks[:, 6:14, 6:14] = True
    return (0.1 + 0.8 * targets.float())[:, None, None, None].expand(N, 3, SIZE, SIZE).clone(), targets, masks


def read(images: Tensor, targets: Tensor, masks: Tensor | None, model: Callable[[Tensor], Tensor]) -> dict[str, float]:
    found = context(images, targets, masks, model(images), model)
    return {name: summary(values) for name, values in found.items()}


def by_pixel(y: int, x: int) -> Callable[[Tensor], Tensor]:
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
    found = read(*scene(), by_pixel(*pixel))

    assert {name: found[name] for name in expected} == expected


def test_the_background_alone_has_no_object() -> None:
    images, targets, masks = scene()
    images[masks[:, None].expand_as(images)] = 0.5  # grey objects on telling backgrounds
    only_object_counts = images.clone()
    only_object_counts[~masks[:, None].expand_as(images)] = 0.1

    assert read(images, targets, masks, by_pixel(10, 10))["background_only_accuracy"] == 1  # filled in from around
    assert read(only_object_counts, targets, masks, by_pixel(10, 10))["background_only_accuracy"] == 0.5


def test_without_masks_nothing_is_said_of_objects_and_backgrounds() -> None:
    images, targets, _ = scene()

    assert set(read(images, targets, None, by_pixel(0, 0))) == {"periphery_accuracy", "reencode_attraction"}


@pytest.mark.parametrize("unknown", [0, 1])
def test_images_without_a_mask_do_not_count(unknown: int) -> None:
    images, targets, masks = scene()
    masks[targets == unknown] = False

    assert read(images, targets, masks, by_pixel(10, 10))["foreground_only_accuracy"] == 1
    assert read(images, 1 - targets, masks, by_pixel(10, 10))["foreground_only_accuracy"] == 0


def test_the_class_that_one_background_speaks_for_attracts() -> None:
    """Class 1 has bright corners; grey ones speak for class 0, whose mean probability rises."""
    images, targets, masks = scene()

    def dark_corner_is_0(pixels: Tensor) -> Tensor:
        return torch.stack([(pixels[:, 0, 0, 0] < 0.6).float(), (pixels[:, 0, 0, 0] >= 0.6).float()], 1)

    assert read(images, targets, masks, dark_corner_is_0)["flatten_attraction"] == 0.5  # from half of them to all
    assert read(images, targets, masks, by_pixel(10, 10))["flatten_attraction"] == pytest.approx(0, abs=1e-6)


def test_the_class_that_one_jpeg_quality_speaks_for_attracts() -> None:
    """A model that takes whatever was encoded for class 1: every image is, once all are encoded alike."""
    images, targets, masks = torch.rand(N, 3, 32, 32), torch.arange(N) % 2, None

    def encoded_is_1(pixels: Tensor) -> Tensor:
        return torch.tensor([[1.0, 0.0] if quality == 100 else [0.0, 1.0] for quality in jpeg_quality(pixels)])

    assert read(images, targets, masks, encoded_is_1)["reencode_attraction"] == 1
    assert read(images, targets, masks, lambda pixels: torch.full((len(pixels), 2), 0.5))["reencode_attraction"] == 0


def test_pictures_that_jpeg_has_not_are_not_encoded() -> None:
    images, targets, masks = scene()

    assert "reencode_attraction" not in read(images.repeat(1, 2, 1, 1)[:, :4], targets, masks, by_pixel(0, 0))
