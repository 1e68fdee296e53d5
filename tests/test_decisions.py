"""Decisions beside probabilities: what a swap does to right answers, and what follows from it."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from house.bright_and_dark import CORNER, MIDDLE, Reader, probe
from house.reports import report
from house.swapping import columns_of
from lightning_cam import Probe, examine
from lightning_cam.intervention import Donors, DonorSwap, LevelSwap, Reliance, Trial, weigh
from lightning_cam.intervention import classes as single
from lightning_cam.intervention.effects import APART, DECISION, PROBABILITY, RIGHT
from lightning_cam.intervention.levels import Levels
from lightning_cam.verdict import judge

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
    return torch.tensor([[probability, decision, right, math.nan]]).expand(n, 4).clone()


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


def test_a_finding_says_on_which_part_of_the_pictures_it_was_judged() -> None:
    effects = columns(0.6, 0.95, 0.98)
    effects[40:] = math.nan

    (finding,) = judge(report(weighed(effects))).findings

    assert finding.text.endswith("0.64); judged on 40 of 80 pictures")


def test_answers_that_stay_right_are_not_said_to_be_lost() -> None:
    (finding,) = judge(report(weighed(columns(0.6, 0.0, 1.0)))).findings

    assert "the model is right on 100 % of the pictures as before, and" in finding.text


def test_each_cue_without_a_number_has_a_reason() -> None:
    bare = probe(masks=False)
    chosen = ["background", "border", "edge", Trial("mine", LevelSwap(alike))]

    verdict = judge(examine(Reader(CORNER), bare, layer="conv", trials=chosen))

    assert "border" in verdict.tested
    assert "No masks" in verdict.why_untested["background"]
    assert "No masks" in verdict.why_untested["edge"]
    assert "would change nothing" in verdict.why_untested["mine"]
    assert "No audit" in verdict.why_untested["region"]
    (others,) = (cues for why, cues in verdict.untested_by_reason.items() if why.startswith("No trial"))
    assert {"tone", "corner"} <= set(others)
    assert {cue for cues in verdict.untested_by_reason.values() for cue in cues} == set(verdict.untested)


def alike(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """A cue that no picture has."""
    return Levels(torch.zeros_like(targets), torch.zeros(len(targets), 1, dtype=torch.bool), lambda chosen, _: chosen)


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


# single classes

TWENTY = torch.arange(320) % 20


def of_twenty(effects: Tensor) -> Reliance:
    (reliance,) = weigh({"corner": effects}, TWENTY, [f"class {k}" for k in range(20)])
    return reliance


def test_one_class_of_twenty_that_hangs_on_a_cue_is_found_and_named() -> None:
    effects = columns(0.0, 0.0, 1.0, n=320)
    effects[TWENTY == 7, :2] = 1.0

    verdict = judge(report(of_twenty(effects)))

    (finding,) = verdict.findings
    assert (verdict.outcome, finding.classes) == ("FAIL", ("class 7",))
    assert finding.reliance == pytest.approx(0.05)
    assert finding.text.endswith("; on pictures of 'class 7' it is right on 0 %, not 100 %")


def test_a_background_that_is_hard_for_every_class_is_no_reliance() -> None:
    """One class loses what the other gains."""
    effects = columns(0.0, 0.0, 0.8)
    effects[::2, :2], effects[1::2, :2] = 0.4, -0.4

    assert not weighed(effects).hanging


def test_single_classes_that_differ_by_chance_are_not_found() -> None:
    generator = torch.Generator().manual_seed(0)
    found = 0
    for _ in range(100):
        drawn = torch.rand(320, 1, generator=generator)
        effects = torch.cat([(drawn > 0.9).float() - (drawn < 0.1).float()] * 3, 1)  # a fifth of the answers turns
        found += bool(single.hanging(effects, TWENTY))

    assert found <= 5


def test_pass_says_for_which_classes_it_is_not_settled() -> None:
    effects = columns(0.0, 0.0, 1.0, n=320)
    effects[(TWENTY == 7) & (torch.arange(320) > 180)] = math.nan

    verdict = judge(replace(report(of_twenty(effects)), targets=TWENTY))

    assert verdict.outcome == "PASS"
    assert verdict.reason.endswith(
        "; not settled for 'class 7' alone: of its 16 pictures, corner could be swapped on 9, and a claim about one "
        "class takes 16"
    )
    assert "not settled" not in judge(report(weighed(columns(0.0, 0.0, 1.0)))).reason


def test_the_classes_share_a_tenth_of_the_level() -> None:
    assert single.either_p(0.045, {}) == pytest.approx(0.05)
    assert single.either_p(0.9, {3: (1.0, 0.0, 0.005)}) == pytest.approx(0.05)


# what goes together


class Together(Reader):
    """Right where object and corner are both bright or both dark as the class has it: neither tells it alone."""

    def forward(self, x: Tensor) -> Tensor:
        bright = [self.conv(x)[:, 1, rows, columns].mean((1, 2)) > 0.5 for rows, columns in (MIDDLE, CORNER)]
        sure = 4.0 * (bright[0] ^ bright[1]).float() - 2 + 0 * self.conv(x).mean((1, 2, 3))
        return torch.stack([-sure, sure], 1)


def tied(n: int = 64) -> Probe:
    """Bright or dark squares before bright or dark grounds; the class is whether they differ."""
    targets, generator = torch.arange(n) % 2, torch.Generator().manual_seed(0)
    ground = torch.randint(2, (n,), generator=generator)
    shown = probe(n=n)
    square = (0.2 + 0.6 * (ground ^ targets).float())[:, None, None, None].expand(n, 3, 32, 32)
    behind = (0.2 + 0.6 * ground.float())[:, None, None, None].expand(n, 3, 32, 32)
    assert shown.masks is not None
    return Probe(torch.where(shown.masks[:, None], square, behind), targets, masks=shown.masks)


def test_where_object_and_background_tell_the_class_together_nothing_passes() -> None:
    """Backgrounds of the own class turn answers as often as those of the other."""
    looked_at = examine(Together(MIDDLE), tied(), layer="conv", trials=["background"])

    verdict = judge(looked_at)

    assert abs(looked_at.reliances[0].accuracy_lost) < 0.3
    assert looked_at.reliances[0].apart > 0.3
    assert verdict.outcome == "INCONCLUSIVE"
    assert "with the background of another picture of the same class" in verdict.reason
    assert "pasted in the same way" in verdict.reason
    assert "to make the model do without, put every object on a random background" in verdict.reason


def test_answers_that_the_edit_turns_by_itself_are_no_reliance_on_what_goes_together() -> None:
    """A swap of nothing but a seam, to which the model reacts."""

    def seam(images: Tensor, masks: Tensor, donors: Tensor, donor_masks: Tensor) -> Tensor:
        return 1 - images

    masks = torch.zeros(8, 16, 16, dtype=torch.bool)
    masks[:, 6:10, 6:10] = True
    shown = TARGETS.float()[:, None, None, None].expand(8, 1, 16, 16)
    trial = Trial("background", DonorSwap(seam, needs_masks=True, keeps_object=True))

    (effect,) = columns_of([trial], shown, TARGETS, masks, DONORS, unsure).values()

    assert torch.equal(effect[:, RIGHT], torch.zeros(8))
    assert torch.equal(effect[:, APART], torch.zeros(8))
