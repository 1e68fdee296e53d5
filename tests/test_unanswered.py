"""Outputs that are NaN are no answers: never right, never a mistake, and said wherever answers are."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from house.browser import opened
from house.shortcut import BORDER, framed_probe
from house.trainings import Net
from lightning_cam import CAMCallback, Report, examine, judge
from lightning_cam.examination import Reading
from lightning_cam.render import tile_lines
from lightning_cam.sinks.frames import in_numbers, portraits_of, snapshot_of
from lightning_cam.sinks.pages import check_page
from lightning_cam.sinks.per_image import PerImage


class Undefined(nn.Module):
    """Answers NaN for the first ``n`` images that it sees in a pass."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.body, self.n = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), n

    def forward(self, images: Tensor) -> Tensor:
        scores = self.body(images)
        return scores.where(torch.arange(len(scores))[:, None] >= self.n, torch.nan)


@pytest.fixture(scope="module")
def undefined() -> Report:
    torch.manual_seed(0)
    return examine(Undefined(99), framed_probe(), trials=BORDER)


def test_no_answer_is_right(undefined: Report) -> None:
    n = len(framed_probe())
    verdict = judge(undefined)

    assert undefined.n_unanswered == n
    assert math.isnan(undefined.scalars["probe_accuracy"])
    assert undefined.scalars["undefined_answers"] == 1
    assert verdict.outcome == "INCONCLUSIVE"
    assert (
        f"the model's outputs are NaN or infinite for {n} of {n} probe pictures, so there is nothing" in verdict.reason
    )
    assert "fewer than by chance" not in verdict.reason
    assert "NaN" in verdict.why_untested["border"]


def test_images_without_an_answer_are_left_out_of_the_accuracy() -> None:
    torch.manual_seed(0)
    probe = framed_probe()
    some = examine(Undefined(3), probe, trials=(), batch_size=len(probe))
    right = some.logits[3:].argmax(1) == probe.targets[3:]

    assert some.scalars["probe_accuracy"] == pytest.approx(float(right.float().mean()))
    assert some.scalars["undefined_answers"] == pytest.approx(3 / len(probe))
    assert "undefined_answers" not in examine(Undefined(0), probe, trials=()).scalars


def test_a_table_and_a_comparison_have_no_class_for_them(undefined: Report) -> None:
    pytest.importorskip("pandas")
    glances = ("00",) * len(undefined.targets)

    assert undefined.to_dataframe()["predicted"].isna().all()
    assert PerImage.of(undefined, framed_probe(), glances).predicted.unique().tolist() == [-1]


def test_a_tile_says_that_there_is_no_answer(undefined: Report) -> None:
    probe, shown = framed_probe(), torch.arange(4)
    frame = in_numbers(undefined, Reading(1, 0, {}), shown)
    page, snapshot = check_page(probe, frame, "cam"), snapshot_of(frame, portraits_of(probe, frame))

    assert all(tile.caption.startswith("no answer: the scores are NaN; ") for tile in page.tiles)
    assert list(snapshot.predicted) == [-1] * 4
    assert (snapshot.mistaken, snapshot.pairs) == ([], [])
    assert "known by what is absent" not in " ".join(tile_lines("0", None, math.nan, None, 7, is_empty=True))


@pytest.mark.slow
def test_the_page_calls_them_neither_right_nor_wrong(undefined: Report, tmp_path: Path) -> None:
    undefined.to_html(tmp_path / "report.html")
    dom, console = opened(tmp_path / "report.html")

    assert console == []
    assert "no answer: the scores are NaN" in dom
    assert "No mistake on the images that have an answer" in dom
    assert "class -1" not in dom
    assert "undefined: " not in dom


@pytest.mark.slow
def test_a_training_says_once_from_which_step_on(tmp_path: Path) -> None:
    from house.trainings import loader, probe, trainer

    class Broken(Net):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * (math.nan if self.global_step else 1.0)

    callback = CAMCallback(probe(16), trials=(), verbose=False, every_n_epochs=1)
    with pytest.warns(UserWarning, match="outputs are NaN or infinite at step [1-9]") as caught:
        trainer(tmp_path, callback, max_epochs=3).fit(Broken(), loader(), loader())

    assert sum("NaN or infinite" in str(each.message) for each in caught) == 1
