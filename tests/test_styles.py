"""The style of whole pictures: shifted channels and rows, saturation and noise are brought from class to class."""

import pytest
import torch
from torch import Tensor

from lightning_cam import Probe, examine, judge
from lightning_cam.intervention.styles import style_differs_off_object, style_levels

N, SIDE = 48, 40
LABELS = torch.arange(N) % 2
MASKS = torch.zeros(N, SIDE, SIDE, dtype=torch.bool)
MASKS[:, 12:28, 12:28] = True


def scenes(channels: int = 3) -> Tensor:
    """Objects before clouds; nothing in them says a class."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(N, 1, 10, 10, generator=generator) + 0.5 * torch.rand(N, channels, 10, 10, generator=generator)
    clouds = torch.nn.functional.interpolate(small / 1.5, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1)
    return (0.15 + 0.7 * clouds + 0.01 * torch.randn(clouds.shape, generator=generator)).clamp(0, 1)


def misregistered(images: Tensor) -> Tensor:
    return torch.stack([images[:, 0].roll(2, 2), images[:, 1], images[:, 2].roll(-1, 1)], 1)


def interlaced(images: Tensor) -> Tensor:
    images = images.clone()
    images[:, :, ::2] = images[:, :, ::2].roll(2, 3)
    return images


def faded(images: Tensor) -> Tensor:
    return images.mean(1, keepdim=True) + 0.3 * (images - images.mean(1, keepdim=True))


def noisy(images: Tensor) -> Tensor:
    return (images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


STYLES = {"channels": misregistered, "rows": interlaced, "saturation": faded, "noise": noisy}


def of_class_1(style: str) -> Tensor:
    images = scenes()
    return torch.where((LABELS == 1)[:, None, None, None], STYLES[style](images), images)


@pytest.mark.parametrize("style", ["channels", "rows", "saturation"])
def test_pictures_are_brought_to_the_style_of_the_other_class(style: str) -> None:
    images, plain = of_class_1(style), scenes()
    levels = style_levels(images, MASKS, LABELS)

    to_1, to_0 = (levels.bring(torch.tensor([one]), torch.tensor([1 - one])) for one in (0, 1))

    inner = (..., slice(4, -4), slice(4, -4))
    wanted = STYLES[style](plain[:1])
    assert (to_1 - wanted)[inner].abs().mean() < 0.3 * (plain[:1] - wanted)[inner].abs().mean()
    assert (to_0 - plain[1:2])[inner].abs().mean() < 0.3 * (images[1:2] - plain[1:2])[inner].abs().mean()
    assert not levels.changes[torch.arange(N), LABELS].any()
    assert style_differs_off_object(images, MASKS, LABELS)


def test_noise_can_be_added_and_not_taken_away() -> None:
    levels = style_levels(of_class_1("noise"), MASKS, LABELS)

    brought = levels.bring(torch.tensor([0]), torch.tensor([1])) - scenes()[:1]

    assert levels.changes.any(1).tolist() == (LABELS == 0).tolist()
    assert 0.05 < brought.std() < 0.15


def test_a_striped_stamp_is_no_shift_of_rows() -> None:
    """Diagonal stripes look like every other row shifted, and their contrast is higher than that of all else."""
    images, stripes = scenes(), (torch.arange(7)[:, None] + torch.arange(7)) % 4 < 2
    images[LABELS == 1, :, 14:21, 14:21] = stripes.float()
    images[LABELS == 0, :, 14:21, 14:21] = stripes.flip(1).float()

    assert not style_levels(images, MASKS, LABELS).changes.any()


def test_a_sharp_background_is_no_noise() -> None:
    """Objects of this class are rougher, too, but neither has noise: their detail goes on in larger blocks."""
    generator = torch.Generator().manual_seed(0)
    rough = torch.rand(N, 3, 20, 20, generator=generator).repeat_interleave(2, 2).repeat_interleave(2, 3)
    images = (scenes() + 0.3 * (LABELS == 1)[:, None, None, None] * (rough - 0.5)).clamp(0, 1)

    assert not style_levels(images, MASKS, LABELS).changes.any()


def test_noise_behind_the_objects_alone_is_no_style() -> None:
    images = torch.where(MASKS[:, None], scenes(), of_class_1("noise"))

    assert not style_levels(images, MASKS, LABELS).changes.any()


def waves(n: int = N) -> Tensor:
    """Faint waves of a period of five pixels that begin anywhere, ``(n, 1, 1, SIDE)``."""
    phases = 6.28 * torch.rand(n, 1, 1, 1, generator=torch.Generator().manual_seed(2))
    return 0.05 * torch.sin(2 * torch.pi * torch.arange(SIDE) / 5 + phases)


def of_waves(image: Tensor) -> float:
    return float(torch.fft.rfft2(image.mean(0))[0, SIDE // 5].abs())


def test_a_pattern_over_whole_pictures_is_brought_and_taken_away() -> None:
    images = scenes() + waves() * (LABELS == 1)[:, None, None, None]
    levels = style_levels(images, MASKS, LABELS)

    to_1, to_0 = (levels.bring(torch.tensor([one]), torch.tensor([1 - one]))[0] for one in (0, 1))

    assert levels.changes[torch.arange(N), 1 - LABELS].all()
    assert not levels.changes[torch.arange(N), LABELS].any()
    assert of_waves(to_1) > 0.5 * of_waves(images[1])
    assert of_waves(to_0) < 0.2 * of_waves(images[1])
    assert style_differs_off_object(images, MASKS, LABELS)


@pytest.mark.parametrize("place", ["behind", "on the object"])
def test_a_pattern_in_one_part_of_the_picture_is_no_style(place: str) -> None:
    inside = MASKS[:, None] if place == "on the object" else ~MASKS[:, None]
    images = scenes() + waves() * inside * (LABELS == 1)[:, None, None, None]

    assert not style_levels(images, MASKS, LABELS).changes.any()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_classes_of_one_style_are_left_alone(channels: int) -> None:
    levels = style_levels(scenes(channels), MASKS, LABELS)

    assert not levels.changes.any()
    assert not style_differs_off_object(scenes(channels), MASKS, LABELS)


@pytest.mark.parametrize("style", ["saturation", "noise"])
def test_a_style_of_objects_alone_is_theirs(style: str) -> None:
    images = torch.where(MASKS[:, None], of_class_1(style), scenes())

    assert not style_levels(images, MASKS, LABELS).changes.any()


@pytest.mark.parametrize("images", [torch.zeros(6, 3, 8, 8), torch.rand(6, 3, 1, 1), torch.ones(6, 1, 30, 30)])
def test_odd_pictures_have_no_style(images: Tensor) -> None:
    masks, targets = torch.zeros(6, *images.shape[2:], dtype=torch.bool), torch.arange(6) % 2

    assert not style_levels(images, masks, targets).changes.any()
    assert not style_levels(images, ~masks, targets).changes.any()
    assert not style_levels(images[:1], masks[:1], targets[:1]).changes.any()


class ByRegistration(torch.nn.Sequential):
    """Tells whether red and green lie on each other."""

    def __init__(self) -> None:
        look = torch.nn.Conv2d(3, 2, 1, bias=False)
        look.weight = torch.nn.Parameter(torch.tensor([[1.0, -1, 0], [-1.0, 1, 0]])[:, :, None, None])
        super().__init__(look, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), Cut())


class Cut(torch.nn.Module):
    def forward(self, unlike: Tensor) -> Tensor:
        unlike = unlike.sum(1, keepdim=True)
        return 200 * torch.cat([0.02 - unlike, unlike - 0.02], 1)


def test_who_lives_on_a_style_is_told_so() -> None:
    grey = scenes().mean(1, keepdim=True).expand(-1, 3, -1, -1)
    grey = torch.where(MASKS[:, None], grey / 2, grey)
    images = torch.where((LABELS == 1)[:, None, None, None], misregistered(grey), grey)

    verdict = judge(examine(ByRegistration(), Probe(images, LABELS, masks=MASKS), layer="0", trials=["style"]))

    assert (verdict.outcome, [finding.cue for finding in verdict.findings]) == ("FAIL", ["style"])
