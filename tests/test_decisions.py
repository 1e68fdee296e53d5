"""Decisions beside probabilities: what a swap does to right answers, and what follows from it."""

import math

import pytest
import torch
from torch import Tensor, nn

from house.swapping import columns_of
from lightning_cam import Probe, examine
from lightning_cam.intervention import Donors, DonorSwap, LevelSwap, Reliance, Trial, weigh
from lightning_cam.intervention.effects import DECISION, PROBABILITY, RIGHT
from lightning_cam.intervention.levels import Levels
from lightning_cam.verdict import judge
from test_examination_trials import CORNER, MIDDLE, Reader, probe
from test_verdict import report

TARGETS = torch.arange(8) % 2
DONORS = Donors(same=TARGETS.new_tensor([2, 3, 4, 5, 6, 7, 0, 1])[:, None], other=(torch.arange(8)[:, None] + 1) % 8)


def unsure(images: Tensor) -> Tensor:
    """Goes by the first pixel, and is never sure: 0.51 at most."""
    likely = 0.49 + 0.02 * images[:, 0, 0, 0]
    return torch.stack([1 - likely, likely], 1)


def _first(images: Tensor, masks: Tensor, donors: Tensor, donor_masks: Tensor) -> Tensor:
    return torch.cat([donors[..., :1], images[..., 1:]], 3)


def pictures(of: Tensor) -> Tensor:
    return of.float()[:, None, None, None].expand(-1, 1, 2, 2)


def test_an_unsure_model_loses_little_probability_and_all_of_its_right_answers() -> None:
    trial = Trial("left", DonorSwap(_first))

    (effect,) = columns_of([trial], pictures(TARGETS), TARGETS, None, DONORS, unsure).values()

    torch.testing.assert_close(effect[:, PROBABILITY], torch.full((8,), 0.02))
    assert torch.equal(effect[:, [DECISION, RIGHT]], torch.ones(8, 2))


def test_levels_take_right_answers_as_well() -> None:
    def levels_of(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
        of = (images[:, 0, 0, 0] > 0.5).long()

        def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
            return pictures(wanted)

        return Levels(of, torch.ones(len(of), 2, dtype=torch.bool), bring)

    trial = Trial("grey", LevelSwap(levels_of))

    (effect,) = columns_of([trial], pictures(TARGETS), TARGETS, None, DONORS, unsure).values()

    torch.testing.assert_close(effect[:, PROBABILITY], torch.full((8,), 0.02))
    torch.testing.assert_close(effect[:, [DECISION, RIGHT]], torch.ones(8, 2))


def test_levels_that_classes_have_in_common_leave_pictures_as_they_are() -> None:
    """Of class 0 three of four pictures are dark, of class 1 one of four: half of the levels are in common."""
    of = torch.tensor([0, 1, 0, 1, 0, 1, 1, 0])

    def levels_of(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
        return Levels(of, torch.ones(len(of), 2, dtype=torch.bool), lambda chosen, wanted: pictures(wanted))

    trial = Trial("grey", LevelSwap(levels_of))

    (effect,) = columns_of([trial], pictures(of), TARGETS, None, DONORS, unsure).values()

    torch.testing.assert_close(effect[:, DECISION], torch.full((8,), 0.5))
    plain = (of == TARGETS).float()
    torch.testing.assert_close(effect[:, RIGHT], 0.5 + 0.5 * plain)


def columns(probability: float, decision: float, right: float, n: int = 80) -> Tensor:
    return torch.tensor([[probability, decision, right]]).expand(n, 3).clone()


def weighed(effects: Tensor, cue: str = "background") -> Reliance:
    (reliance,) = weigh({cue: effects}, torch.arange(len(effects)) % 2, ["cats", "dogs"])
    return reliance


@pytest.mark.parametrize(
    ("effects", "outcome"),
    [
        pytest.param(columns(0.02, 1.0, 1.0), "FAIL", id="decisions alone"),
        pytest.param(columns(1.0, 0.0, 0.5), "FAIL", id="probability alone"),
        pytest.param(columns(0.01, 0.0, 0.9), "PASS", id="neither"),
    ],
)
def test_either_reading_convicts_and_both_acquit(effects: Tensor, outcome: str) -> None:
    assert judge(report(weighed(effects))).outcome == outcome


def test_decisions_that_may_be_lost_leave_it_open() -> None:
    effects = columns(0.01, 0.0, 0.9)
    effects[::14, DECISION] = 1.0

    assert judge(report(weighed(effects))).outcome == "INCONCLUSIVE"


def test_a_finding_says_on_how_many_pictures_the_model_is_right() -> None:
    verdict = judge(report(weighed(columns(0.6, 0.95, 0.98))))

    (finding,) = verdict.findings
    assert finding.accuracy_own == pytest.approx(0.98)
    assert finding.accuracy_other == pytest.approx(0.03, abs=1e-6)
    assert finding.text.startswith(
        "background: with the background of another class instead of its own, the model is right on 3 % of the "
        "pictures, not 98 %, and the right class loses 0.60 of its probability"
    )


def test_without_decisions_probability_alone_is_judged() -> None:
    """As in the files of earlier versions."""
    (alone,) = weigh({"background": columns(0.02, 1.0, 1.0)[:, 0]}, torch.arange(80) % 2, ["cats", "dogs"])

    assert math.isnan(alone.accuracy_lost)
    assert judge(report(alone)).outcome == "PASS"
    assert "pictures" not in judge(report(alone)).reason


def test_a_reader_of_the_background_that_is_never_sure_fails_and_one_of_the_object_passes() -> None:
    """Scores that lie as close together as cosines do."""
    looked_at = probe(ground=True)

    def cosines(model: nn.Module, x: Tensor) -> Tensor:
        scores: Tensor = model(x) - 0.05
        return scores

    models = [Reader(region, certainty=0.1) for region in (CORNER, MIDDLE)]
    options = {"layer": "conv", "forward": cosines, "trials": ["background", "border", "corner"]}
    verdicts = [judge(examine(model, looked_at, **options)) for model in models]

    assert [verdict.outcome for verdict in verdicts] == ["FAIL", "PASS"]
    assert verdicts[0].measured[0].mean < 0.1
    assert verdicts[0].findings[0].accuracy_own > 0.9
    assert verdicts[0].findings[0].accuracy_other < 0.1


def test_lost_accuracy_is_among_the_scalars() -> None:
    looked_at: Probe = probe(ground=True)

    scalars = examine(Reader(CORNER), looked_at, layer="conv", trials=["background"]).scalars

    assert scalars["accuracy_lost/background"] == pytest.approx(1.0)
