"""What a remedy leaves of a cue, as it is printed and before any training with it."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from house.shortcut import BORDER, Framed, framed_probe, trained_on_frames
from lightning_cam import Probe, Report, examine
from lightning_cam.cues import CUES, Remedy, remedy_for
from lightning_cam.examination import Remaining, what_is_left

_CODE = "from torchvision.transforms import v2\ntransform = v2.Lambda(lambda image: {})"
NOTHING, HALVED, GREY = (Remedy("", _CODE.format(code)) for code in ("image", "image / 8 + 7 / 16", "0 * image"))


class Brightness(nn.Module):
    """Reads the class off the brightness of the uppermost rows."""

    def forward(self, images: Tensor) -> Tensor:
        level = 8 * (images[..., :3, :].mean((1, 2, 3)) - 0.5)
        return torch.stack([-level, level], 1)


@pytest.fixture(scope="module")
def probe() -> Probe:
    return framed_probe()


@pytest.fixture(scope="module")
def report(probe: Probe) -> Report:
    torch.manual_seed(0)
    return replace(examine(Framed(), probe, trials=BORDER, until_settled=False), head=None)


def left(probe: Probe, report: Report, remedy: Remedy) -> Remaining | None:
    return what_is_left(Brightness(), probe, report, "border", remedy)


def test_where_nothing_changes_all_is_left(probe: Probe, report: Report) -> None:
    found = left(probe, report, NOTHING)

    assert found is not None
    assert found.effect == found.before > 0.9
    assert (found.right, found.right_before, found.chance) == (1, 1, 0.5)
    assert found.n == 64
    assert "leaves much" in str(found)


def test_what_is_weakened_is_left_in_part(probe: Probe, report: Report) -> None:
    found = left(probe, report, HALVED)

    assert found is not None
    assert 0.2 < found.effect < 0.4  # of log odds of 16 * 0.4 / 8
    assert found.before > 0.9
    assert str(found).endswith(f"costs {found.effect:.2f} instead of {found.before:.2f}")


def test_both_pictures_of_a_swap_get_the_same_random_numbers(probe: Probe, report: Report) -> None:
    random_colour = Remedy("", _CODE.format("0 * image + torch.rand(())").replace("from", "import torch\nfrom", 1))
    found = left(probe, report, random_colour)

    assert found is not None
    assert found.effect == 0


def test_a_model_that_does_not_know_such_pictures_tells_nothing(probe: Probe, report: Report) -> None:
    found = left(probe, report, GREY)

    assert found is not None
    assert found.right == 0.5
    assert "right on 50 % of them instead of 100 %; train with the remedy" in str(found)


@pytest.mark.slow
@pytest.mark.parametrize("cue", [cue.name for cue in CUES])
def test_every_remedy_can_be_tried_in_the_same_way_each_time(cue: str, probe: Probe, report: Report) -> None:
    remedy = remedy_for(cue).at(report.size)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]
    found = left(probe, report, remedy)

    assert found is not None
    assert found == left(probe, report, remedy)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()


def test_what_cannot_be_tried_says_nothing(probe: Probe, report: Report) -> None:
    by_transparency = remedy_for("background").fitting(["alpha"])

    assert left(probe, report, Remedy("look for it", "")) is None
    assert left(probe, report, by_transparency) is None  # a probe has none any more
    assert left(probe, report, remedy_for("border")) is None  # other sizes than the probe's
    in_bands = replace(probe, images=probe.images[:, [0, 1, 2, 0, 1]])  # as a satellite's
    assert left(in_bands, report, remedy_for("style")) is None
    assert what_is_left(Brightness(), probe, report, "background", NOTHING) is None


def test_a_fit_ends_with_what_its_remedies_leave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback, _ = trained_on_frames(tmp_path, verbose=True)
    assert callback.verdict is not None
    (finding,) = callback.verdict.findings

    assert finding.tried.startswith("tried on ")
    assert finding.tried in capsys.readouterr().out
    for page in tmp_path.rglob("report.html"):
        assert "Tried on " in page.read_text()
    for text in tmp_path.rglob("verdict.json"):
        assert finding.tried in text.read_text()
    assert list(tmp_path.rglob("report.html"))
