"""The rim of objects: a halo that goes with a class is found, and brought from class to class."""

import pytest
import torch
from torch import Tensor, nn

from lightning_cam import Probe, examine, judge
from lightning_cam.intervention.masks import widened
from lightning_cam.intervention.rims import rim_levels

N, SIDE = 48, 40
LABELS = torch.arange(N) % 2
MASKS = torch.zeros(N, SIDE, SIDE, dtype=torch.bool)
MASKS[:, 12:26, 14:28] = True
RIMS = widened(MASKS, 2) & ~MASKS


def scenes(channels: int = 3) -> Tensor:
    """Objects of one colour each before clouds; nothing in them says a class."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(N, channels, 6, 6, generator=generator)
    clouds = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1)
    colours = torch.rand(N, channels, 1, 1, generator=generator)
    return torch.where(MASKS[:, None], colours, clouds)


def with_rims(images: Tensor, dark: Tensor) -> Tensor:
    """A rim of 0.3 times the background, and of that plus 0.7 where it is not dark."""
    rims = 0.3 * images + 0.7 * ~dark[:, None, None, None]
    return torch.where(RIMS[:, None], rims, images)


HALOS = with_rims(scenes(), LABELS == 0)
EVERYTHING = torch.arange(N)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_rim_is_brought_to_that_of_the_other_class(channels: int) -> None:
    images = with_rims(scenes(channels), LABELS == 0)

    swapped = rim_levels(images, MASKS, LABELS).bring(EVERYTHING, 1 - LABELS)

    expected = with_rims(scenes(channels), LABELS == 1)
    rims = RIMS[:, None].expand_as(images)
    assert (swapped - expected)[rims].abs().mean() < 0.15 * (images - expected)[rims].abs().mean()
    far = ~widened(MASKS, 3)[:, None].expand_as(images)
    inside = MASKS[:, None].expand_as(images)
    assert torch.equal(swapped[far | inside], images[far | inside])


def test_at_the_own_level_a_rim_is_drawn_as_well() -> None:
    levels = rim_levels(HALOS, MASKS, LABELS)

    drawn = levels.bring(EVERYTHING, LABELS)

    assert levels.changes.all()
    assert 0 < (drawn - HALOS).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("images", "masks", "labels"),
    [
        pytest.param(scenes(), MASKS, LABELS, id="no rim"),
        pytest.param(with_rims(scenes(), LABELS < 0), MASKS, LABELS, id="the same rim"),
        pytest.param(HALOS, torch.zeros_like(MASKS), LABELS, id="no masks"),
        pytest.param(HALOS, torch.ones_like(MASKS), LABELS, id="no background"),
        pytest.param(HALOS, MASKS, torch.zeros_like(LABELS), id="one class"),
        pytest.param(HALOS[:1], MASKS[:1], LABELS[:1], id="one image"),
        pytest.param(torch.zeros(N, 3, 2, 2), torch.ones(N, 2, 2).bool(), LABELS, id="two pixels"),
    ],
)
def test_rims_that_do_not_differ_are_left_alone(images: Tensor, masks: Tensor, labels: Tensor) -> None:
    assert not rim_levels(images, masks, labels).changes.any()


class ByRim(nn.Module):
    """Class 1 where the rim is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.grey = nn.Conv2d(3, 1, 1)
        self.grey.weight.data.fill_(1 / 3)
        self.grey.bias.data.zero_()

    def forward(self, images: Tensor) -> Tensor:
        rim = self.grey(images)[:, 0, 10:12, 14:28].mean((1, 2)) - 0.5
        return 20 * torch.stack([-rim, rim], 1)


def test_a_model_that_reads_the_rim_warns_by_its_name() -> None:
    probe = Probe(HALOS, LABELS, masks=MASKS)

    verdict = judge(examine(ByRim(), probe, trials=["edge"], layer="grey"))

    assert (verdict.outcome, [finding.cue for finding in verdict.findings]) == ("WARN", ["edge"])
    assert verdict.findings[0].accuracy_own - verdict.findings[0].accuracy_other > 0.8
