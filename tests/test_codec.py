"""JPEG quality read from pixels that Pillow encoded, and images brought to it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from house.cases import case
from house.natural import natural, through_jpeg
from house.swapping import effects_of
from lightning_cam.intervention import STANDARD, draw_donors
from lightning_cam.intervention.codec import PRISTINE, jpeg_quality, reencoded

QUALITIES = (8, 12, 23, 40, 55, 67, 80, 88, 92, 95)


# reading


@pytest.mark.parametrize("size", [(64, 64), (100, 76), (48, 80)], ids=["square", "odd blocks", "wide"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_quality_of_an_encoding_is_read_within_one(size: tuple[int, int], channels: int) -> None:
    pictures = natural(4, *size, channels=channels)

    for quality in QUALITIES:
        with case(f"quality {quality}"):
            assert all(abs(read - quality) <= 1 for read in jpeg_quality(through_jpeg(pictures, quality)))


def test_every_image_of_a_batch_has_its_own_quality() -> None:
    pictures = natural(3)
    batch = torch.cat([through_jpeg(pictures[:1], 90), pictures[1:2], through_jpeg(pictures[2:], 20)])

    assert jpeg_quality(batch) == [90, PRISTINE, 20]
    assert jpeg_quality(batch.flip(0)) == [20, PRISTINE, 90]


@pytest.mark.parametrize("quality", [15, 60])
def test_the_lower_of_two_encodings_is_read(quality: int) -> None:
    twice = through_jpeg(through_jpeg(natural(4), quality), 93)

    assert all(abs(read - quality) <= 1 for read in jpeg_quality(twice))


def test_double_precision_reads_the_same() -> None:
    encoded = through_jpeg(natural(), 35)

    assert jpeg_quality(encoded.double()) == jpeg_quality(encoded) == [35, 35]


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_never_encoded_are_pristine(channels: int) -> None:
    pictures = natural(16, channels=channels)

    assert jpeg_quality(pictures) == jpeg_quality((pictures * 255).round() / 255) == [PRISTINE] * 16


@pytest.mark.parametrize("quality", [8, 23, 55, 80])
@pytest.mark.parametrize("size", [(48, 48), (90, 70)], ids=["smaller", "larger"])
def test_pictures_scaled_since_they_were_encoded_are_pristine(quality: int, size: tuple[int, int]) -> None:
    scaled = F.interpolate(through_jpeg(natural(8), quality), size=size, mode="bilinear", antialias=True)

    assert jpeg_quality(scaled) == [PRISTINE] * 8


@pytest.mark.parametrize("level", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_constant_pictures_are_pristine(level: float, channels: int) -> None:
    assert jpeg_quality(torch.full((1, channels, 32, 40), level)) == [PRISTINE]


@pytest.mark.parametrize("size", [(7, 7), (5, 40), (40, 5), (1, 1)])
def test_pictures_without_a_whole_block_are_pristine(size: tuple[int, int]) -> None:
    assert jpeg_quality(torch.rand(3, 3, *size)) == [PRISTINE] * 3


def test_a_single_block_can_be_read() -> None:
    assert jpeg_quality(torch.zeros(1, 3, 8, 8)) == [PRISTINE]


# writing


@pytest.mark.parametrize("quality", [8, 23, 40, 67, 88])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_given_a_quality(quality: int, channels: int) -> None:
    pictures = natural(4, 56, 72, channels=channels)

    assert torch.equal(reencoded(pictures, [quality] * 4), through_jpeg(pictures, quality))


def test_another_encoding_at_the_own_quality_is_nearly_nothing() -> None:
    pictures = through_jpeg(natural(4), 50)

    assert (reencoded(pictures, [50] * 4) - pictures).abs().mean() < 1 / 255


def test_each_picture_gets_a_quality_of_its_own() -> None:
    assert jpeg_quality(reencoded(natural(3), [12, PRISTINE, 75])) == [12, PRISTINE, 75]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reencoding_keeps_dtype_and_range_and_its_input(dtype: torch.dtype) -> None:
    pictures = natural(2, 24, 40).to(dtype)
    before = pictures.clone()

    result = reencoded(pictures, [10, PRISTINE])

    assert result.dtype == reencoded(pictures, [10, 10]).dtype == dtype
    assert result.min() >= 0
    assert result.max() <= 1
    assert not torch.equal(result[0], pictures[0])
    assert torch.equal(result[1], pictures[1])
    assert torch.equal(pictures, before)


# swapping


def swapped_qualities(qualities: list[int], reads_class_1_from: int) -> Tensor:
    """Effects of the codec trial on pictures of alternating classes, for a model that goes by the quality alone."""
    pictures = torch.cat([through_jpeg(natural(1, seed=i), q) for i, q in enumerate(qualities)])

    def probabilities(images: Tensor) -> Tensor:
        low = torch.tensor([float(q < reads_class_1_from) for q in jpeg_quality(images)])
        return torch.stack([1 - low, low], 1)

    targets = torch.arange(len(qualities)) % 2
    (codec,) = (trial for trial in STANDARD if trial.cue == "codec")
    return effects_of([codec], pictures, targets, None, draw_donors(targets, 2, 0), probabilities)["codec"]


def test_a_model_that_goes_by_quality_shows_it_where_quality_can_be_swapped() -> None:
    """Pictures of the worse class cannot be made better: they say nothing, rather than that nothing hangs on it."""
    found = swapped_qualities([90, 20] * 4, reads_class_1_from=50)

    assert found[::2].tolist() == [1.0] * 4
    assert found[1::2].isnan().all()


def test_where_all_pictures_are_alike_nothing_is_known_of_the_quality() -> None:
    assert swapped_qualities([90] * 8, reads_class_1_from=50).isnan().all()
