"""Negative evidence from examine to tile and page, in colours of its own, and classes known by what is absent."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam import Probe, cams, examine, render
from lightning_cam.examination import Reading, Report
from lightning_cam.render import scale
from lightning_cam.sinks.frames import Frame
from lightning_cam.sinks.pages import check_page

HEALTHY, SPOT = 0, 1


class Spots(nn.Module):
    """Sees bright spots: each speaks for class 1 and against class 0, and a plain picture is "healthy"."""

    def __init__(self) -> None:
        super().__init__()
        self.spots = nn.Threshold(0.5, 0.0)

    def forward(self, images: Tensor) -> Tensor:
        amount = F.max_pool2d(self.spots(images), 4).sum((1, 2, 3))
        return torch.stack([1 - 2 * amount, 2 * amount - 1], 1)


def photographs() -> Probe:
    """Two plain pictures, and two with a spot at the left and at the right."""
    images = torch.full((4, 1, 16, 16), 0.4)
    images[2, :, 4:8, 4:8] = images[3, :, 4:8, 8:12] = 1
    return Probe(images, torch.tensor([HEALTHY, HEALTHY, SPOT, SPOT]), classes=["healthy", "spot"])


def looked(method: cams.CamMethod, targets: list[int] | None = None) -> Report:
    probe = photographs()
    probe = probe if targets is None else replace(probe, targets=torch.tensor(targets))
    return examine(Spots(), probe, layer="spots", method=method, trials=())


def captions(report: Report) -> list[str]:
    assert report.probe is not None
    frame = Frame.of(report, Reading(0, 0, {}), torch.arange(4))
    return [tile.caption.split("; ")[1] for tile in check_page(report.probe, frame, "cam").tiles]


def test_what_argues_against_a_class_is_found() -> None:
    report = looked(cams.against(cams.grad_cam), [SPOT, SPOT, HEALTHY, HEALTHY])

    assert (report.method, report.is_against) == ("against_grad_cam", True)
    assert [bool(each.any()) for each in report.grid_maps] == [False, False, True, True]
    torch.testing.assert_close(report.grid_maps[2] > 0, photographs().images[2, 0] > 0.5)


@pytest.mark.parametrize("method", [cams.cam, cams.grad_cam, cams.hires_cam, cams.layer_cam, cams.grad_cam_plus_plus])
def test_evidence_against_one_of_two_classes_is_evidence_for_the_other(method: cams.CamMethod) -> None:
    against = looked(cams.against(method), [HEALTHY] * 4)

    torch.testing.assert_close(against.grid_maps, looked(method, [SPOT] * 4).grid_maps)


def test_a_right_answer_without_evidence_says_that_the_class_may_be_known_by_absence() -> None:
    assert captions(looked(cams.grad_cam)) == [
        "no evidence for healthy: known by what is absent?",
        "no evidence for healthy: known by what is absent?",
        "attention for true class spot",
        "attention for true class spot",
    ]


def test_a_wrong_answer_without_evidence_is_no_absence() -> None:
    wrong = captions(looked(cams.grad_cam, [SPOT, SPOT, HEALTHY, HEALTHY]))[2:]

    assert wrong == ["attention for true class healthy"] * 2


def test_tiles_of_negative_evidence_say_so() -> None:
    assert captions(looked(cams.against(cams.grad_cam)))[0] == "evidence against true class healthy"


def test_negative_evidence_has_colours_of_its_own() -> None:
    attention, photo = torch.linspace(0, 1, 64).reshape(8, 8), torch.full((3, 32, 32), 0.5)
    pictures = [render.tile(photo, attention, None, ["a"], against=against)[0].astype(int) for against in (False, True)]
    middle = np.s_[60:200, 250:450]  # inside the coloured panel

    assert [bool((picture[middle][..., 2] >= picture[middle][..., 0]).all()) for picture in pictures] == [False, True]
    shares = np.linspace(0.5, 8, 9, dtype=np.float32)[None]
    steps = scale.tinted(np.full((1, 9, 3), 128, np.uint8), shares, against=True) @ scale.LUMA
    assert (np.diff(steps[0, 1:]) > 0).all()


def test_the_page_knows_that_its_maps_argue_against() -> None:
    html = [looked(method)._repr_html_() or "" for method in (cams.grad_cam, cams.against(cams.grad_cam))]
    blocks = [re.search(r"id=&quot;portraits&quot;&gt;(.*?)&lt;/script", text) for text in html]
    portraits = [json.loads(block[1].replace("&quot;", '"')) for block in blocks if block]

    assert [each.get("against", False) for each in portraits] == [False, True]
    assert [each["ramp"] for each in portraits] == [render.COLOURS.tolist(), render.COLOURS_AGAINST.tolist()]
