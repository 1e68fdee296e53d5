"""What reliances lead to: outcomes, findings, reasons, over one check and over many."""

import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from house.reports import TRIALS, report
from lightning_cam import Probe, examine, statistics
from lightning_cam.audit import AuditResult
from lightning_cam.audit.findings import AuditFinding
from lightning_cam.cues import remedy_for
from lightning_cam.examination import Report
from lightning_cam.finished.wording import as_options
from lightning_cam.intervention import MARGIN, STANDARD, Reliance, Trial, weigh
from lightning_cam.verdict import RunningVerdict, ShortcutError, Verdict, judge, limits
from lightning_cam.verdict.hiding import background_left, share_left
from lightning_cam.verdict.judging import ALPHA, _judged

NAN = math.nan


def reliance(
    cue: str,
    mean: float,
    low: float,
    high: float,
    p_value: float = 1.0,
    *,
    by_class: dict[str, tuple[float, float]] | None = None,
    needed_n: float = 100,
) -> Reliance:
    return Reliance(cue, mean, low, high, p_value, by_class or {}, needed_n)


def strong(cue: str, mean: float = 0.6, p_value: float = 1e-6) -> Reliance:
    return reliance(cue, mean, mean - 0.1, mean + 0.1, p_value)


def weak(cue: str) -> Reliance:
    """Above the margin, but it may be chance."""
    return reliance(cue, 0.15, 0.05, 0.25, 0.2)


def absent(cue: str) -> Reliance:
    return reliance(cue, 0.0, -0.05, 0.05, 1.0)


def open_(cue: str, needed_n: float = 100) -> Reliance:
    return reliance(cue, 0.05, -0.02, 0.14, 0.9, needed_n=needed_n)


# reliance

TARGETS = torch.arange(20) % 2


def test_a_reliance_is_the_mean_of_the_classes_means() -> None:
    effects = torch.tensor([1.0, 0.0] * 4 + [0.0, 0.5])
    targets = torch.tensor([0] * 8 + [1] * 2)

    (found,) = weigh({"cast": effects}, targets, ["a", "b"])

    assert found.cue == "cast"
    assert found.mean == 0.375
    assert found.low < 0.375 < found.high


def test_reliances_come_in_the_order_of_the_effects() -> None:
    found = weigh({cue: torch.zeros(20) for cue in ("tone", "border", "cast")}, TARGETS, ["a", "b"])

    assert [one.cue for one in found] == ["tone", "border", "cast"]


def test_p_value_is_of_a_mean_of_at_most_the_margin() -> None:
    """Effects around the margin: every flip of their signs is as likely, and all but one sum to less."""
    effects = torch.tensor([0.5] * 10, dtype=torch.float64)

    (found,) = weigh({"cast": effects}, torch.arange(10) % 2, ["a", "b"])

    assert found.p_value == pytest.approx(0.5**10)
    (found,) = weigh({"cast": torch.full((10,), MARGIN - 0.01)}, torch.arange(10) % 2, ["a", "b"])
    assert found.p_value == 1


def test_undefined_effects_take_no_part() -> None:
    effects = torch.linspace(-0.2, 0.6, 20)
    padded = torch.cat([effects, torch.full((6,), NAN)])

    (found,) = weigh({"cast": padded}, torch.cat([TARGETS, TARGETS[:6]]), ["a", "b"])

    (expected,) = weigh({"cast": effects}, TARGETS, ["a", "b"])
    numbers = ("mean", "low", "high", "p_value", "needed_n")
    assert [getattr(found, name) for name in numbers] == pytest.approx(
        [getattr(expected, name) for name in numbers], rel=0.05
    )
    assert found.by_class == expected.by_class


@pytest.mark.parametrize("n", [0, 1, 7])
def test_too_few_effects_have_no_interval(n: int) -> None:
    effects = torch.full((20,), NAN)
    effects[:n] = 0.5

    (found,) = weigh({"cast": effects}, TARGETS, ["a", "b"])

    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.by_class == {}


def test_classes_are_named_with_their_means_where_the_whole_is_shown() -> None:
    effects = torch.tensor([0.9, 0.0]).repeat(10) + torch.linspace(-0.05, 0.05, 20)

    (found,) = weigh({"cast": effects}, TARGETS, ["cats", "dogs"])

    assert found.by_class["cats"] == (pytest.approx(0.9, abs=0.01), pytest.approx(found.p_value, abs=0.02))
    assert found.by_class["dogs"] == (pytest.approx(0.0, abs=0.01), pytest.approx(1, abs=0.01))


def test_classes_are_not_looked_at_where_the_whole_is_not_shown() -> None:
    effects = torch.tensor([0.5, -0.5]).repeat(10)

    (found,) = weigh({"cast": effects}, TARGETS, ["cats", "dogs"])

    assert found.p_value > ALPHA
    assert found.by_class == {}


def test_labels_name_classes_also_where_some_are_missing_from_the_probe() -> None:
    (found,) = weigh({"cast": torch.full((20,), 0.8)}, TARGETS * 2 + 1, ["a", "b", "c", "d"])

    assert set(found.by_class) == {"b", "d"}


@pytest.mark.parametrize("n", [16, 64])
@pytest.mark.parametrize("spread", [0.0, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("mean", [0.0, 0.05, 0.2])
def test_needed_images_are_more_than_there_are_while_nothing_is_settled(n: int, spread: float, mean: float) -> None:
    effects = mean + spread * torch.linspace(-1, 1, n)

    (found,) = weigh({"cast": effects}, torch.arange(n) % 2, ["a", "b"])

    settled = found.high < MARGIN or found.p_value < ALPHA
    assert settled or found.needed_n > n


def test_effects_that_agree_above_the_margin_need_the_fewest_images() -> None:
    (found,) = weigh({"cast": torch.full((20,), 0.3)}, TARGETS, ["a", "b"])

    assert found.needed_n == statistics.FEWEST


def test_needed_images_settle_it() -> None:
    """Effects with the same mean and spread."""
    few = torch.linspace(-0.5, 0.54, 40)
    (found,) = weigh({"cast": few}, torch.arange(40) % 2, ["a", "b"])
    assert found.high > MARGIN

    enough = int(found.needed_n) + 20
    (settled,) = weigh({"cast": torch.linspace(-0.5, 0.54, enough)}, torch.arange(enough) % 2, ["a", "b"])
    assert settled.high < MARGIN


# outcomes


def test_a_cue_shown_above_the_margin_fails() -> None:
    verdict = judge(report(strong("background"), absent("border")))

    assert verdict.outcome == "FAIL"
    assert [(f.cue, f.outcome) for f in verdict.findings] == [("background", "FAIL")]
    assert "background" in verdict.reason
    assert "border" not in verdict.reason


@pytest.mark.parametrize("cue", ["frequency", "position"])
def test_a_cue_that_the_object_may_have_a_part_in_only_warns(cue: str) -> None:
    verdict = judge(report(strong(cue), absent("border")))

    assert verdict.outcome == "WARN"
    assert [(f.cue, f.outcome) for f in verdict.findings] == [(cue, "WARN")]
    assert cue in verdict.reason


def test_a_cue_that_is_likely_but_not_shown_warns() -> None:
    verdict = judge(report(weak("background"), absent("border")))

    assert verdict.outcome == "WARN"
    assert [(f.cue, f.outcome) for f in verdict.findings] == [("background", "WARN")]


@pytest.mark.parametrize("cue", ["frequency", "position"])
def test_a_cue_that_the_object_may_have_a_part_in_must_be_shown_to_warn(cue: str) -> None:
    """A fair model uses a little of each; where the data set gives the cue away less is enough."""
    likely = report(weak(cue), absent("border"))

    assert judge(likely).outcome == "INCONCLUSIVE"
    assert _judged(likely, limits={cue: "FAIL"}).outcome == "WARN"


@pytest.mark.parametrize("low", [0.0, -0.1])
def test_a_reliance_that_may_be_none_at_all_does_not_warn(low: float) -> None:
    verdict = judge(report(reliance("cast", 0.2, low, 0.5, 0.2)))

    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.findings == ()


@pytest.mark.parametrize("mean", [0.05, MARGIN])
def test_a_reliance_within_the_margin_is_no_finding_however_sure(mean: float) -> None:
    verdict = judge(report(reliance("cast", mean, mean - 0.01, mean + 0.01, 0.5)))

    assert verdict.findings == ()


def test_every_cue_shown_to_lie_below_the_margin_passes() -> None:
    verdict = judge(report(absent("background"), absent("border")))

    assert verdict.outcome == "PASS"
    assert verdict.findings == ()
    assert "background, border" in verdict.reason
    assert "0.10" in verdict.reason


def test_a_reliance_well_below_zero_passes() -> None:
    assert judge(report(reliance("cast", -0.4, -0.5, -0.3))).outcome == "PASS"


@pytest.mark.parametrize("high", [MARGIN, 0.3])
def test_one_cue_that_may_lie_above_leaves_it_open(high: float) -> None:
    unsure = reliance("border", 0.02, -0.2, high, needed_n=311)

    verdict = judge(report(absent("background"), unsure))

    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.findings == ()
    assert "border" in verdict.reason
    assert "background" not in verdict.reason
    assert "311 probe images" in verdict.reason


def test_the_most_images_that_any_open_cue_needs_are_named() -> None:
    verdict = judge(report(open_("background", 200), open_("border", 3000), open_("cast", 50)))

    assert "3000 probe images" in verdict.reason
    assert all(cue in verdict.reason for cue in ("background", "border", "cast"))


@pytest.mark.parametrize("needed_n", [1e6, math.inf])
def test_absurd_numbers_of_images_are_just_many(needed_n: float) -> None:
    reason = judge(report(open_("background", needed_n))).reason

    assert "many more probe images" in reason
    assert "inf" not in reason


@pytest.mark.parametrize("n", [8, 16, 24])
def test_few_images_without_any_effect_do_not_pass(n: int) -> None:
    targets = torch.arange(n) % 2
    found = weigh({"cast": torch.zeros(n)}, targets, ["a", "b"])

    verdict = judge(report(*found))

    assert verdict.outcome == "INCONCLUSIVE"


def test_many_images_without_any_effect_pass() -> None:
    found = weigh({"cast": torch.zeros(80)}, torch.arange(80) % 2, ["a", "b"])

    assert judge(report(*found)).outcome == "PASS"


def test_a_finding_goes_before_what_is_open() -> None:
    assert judge(report(strong("cast"), open_("border"))).outcome == "FAIL"
    assert judge(report(strong("position"), open_("border"))).outcome == "WARN"


def test_of_a_warning_and_a_conviction_the_conviction_counts() -> None:
    verdict = judge(report(strong("position", 0.9), strong("cast", 0.4)))

    assert verdict.outcome == "FAIL"
    assert [f.cue for f in verdict.findings] == ["cast", "position"]
    assert "cast" in verdict.reason
    assert "position" not in verdict.reason


@pytest.mark.parametrize("found", [strong, absent, open_])
def test_a_model_that_has_not_learned_cannot_be_judged(found: object) -> None:
    measured = found("background")

    verdict = judge(report(measured, learned=False))

    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.findings == ()
    assert verdict.score == 0
    assert verdict.measured == (measured,)
    assert "does not tell the probe's classes apart" in verdict.reason


def test_without_trials_there_is_nothing_to_judge() -> None:
    verdict = judge(report())

    assert verdict.outcome == "INCONCLUSIVE"
    assert "no cue was tested" in verdict.reason


@pytest.mark.parametrize("found", [(), (reliance("cast", 0.9, NAN, NAN, 0.001),)], ids=["none", "too few images"])
def test_without_an_interval_nothing_is_claimed(found: tuple[Reliance, ...]) -> None:
    verdict = judge(report(*found, trials=[TRIALS["cast"]]))

    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.findings == ()
    assert verdict.score == 0
    assert "too few images for any claim" in verdict.reason


# several cues


def test_findings_are_convictions_first_and_then_by_their_lower_bound() -> None:
    found = [strong("position", 0.9), strong("cast", 0.4), strong("frequency", 0.95), strong("border", 0.7)]

    assert [f.cue for f in judge(report(*found)).findings] == ["border", "cast", "frequency", "position"]


def test_score_is_the_highest_lower_bound() -> None:
    verdict = judge(
        report(reliance("cast", 0.3, 0.2, 0.4, 0.01), reliance("border", 0.4, 0.1, 0.9, 0.01), absent("tone"))
    )

    assert verdict.score == 0.2


def test_score_of_a_clean_model_may_be_negative() -> None:
    assert judge(report(absent("cast"), reliance("border", -0.1, -0.2, 0.0))).score == -0.05


def test_the_level_is_shared_among_the_cues_that_count() -> None:
    """Holm: 0.02 is below 0.05 alone, and above 0.05 / 3 among three."""
    close, expected = strong("cast", 0.3, p_value=0.02), strong("border", 0.3, p_value=1e-6)

    alone = judge(report(close))
    among_three = judge(report(close, absent("background"), absent("codec")))
    beside_expected = _judged(report(close, expected, absent("codec")), limits={"border": "PASS", "codec": "PASS"})

    assert (alone.outcome, alone.findings[0].p_value) == ("FAIL", 0.02)
    assert (among_three.outcome, among_three.findings[0].p_value) == ("WARN", pytest.approx(0.06))
    assert (beside_expected.outcome, beside_expected.findings[0].p_value) == ("FAIL", 0.02)


def test_the_level_is_shared_step_by_step() -> None:
    """Bonferroni would make 0.06 of 0.03."""
    findings = judge(report(strong("cast", p_value=0.02), strong("border", p_value=0.03))).findings

    assert [finding.p_value for finding in findings] == pytest.approx([0.04, 0.04])
    assert [finding.outcome for finding in findings] == ["FAIL", "FAIL"]


def test_cues_without_an_interval_do_not_share_the_level() -> None:
    verdict = judge(report(strong("cast", p_value=0.03), reliance("border", 0.0, NAN, NAN, NAN)))

    assert verdict.outcome == "FAIL"
    assert verdict.findings[0].p_value == 0.03


def test_a_finding_on_contrast_says_what_was_swapped() -> None:
    (finding,) = judge(report(strong("contrast"))).findings

    assert "with the contrast and brightness of another class" in finding.text


def test_finding_carries_what_was_measured_and_a_remedy() -> None:
    by_class = {"cats": (0.2, 0.001), "dogs": (0.9, 0.002), "cows": (0.95, 0.4)}
    measured = reliance("codec", 0.5, 0.375, 0.625, 0.001, by_class=by_class)

    (finding,) = judge(report(measured)).findings

    assert (finding.reliance, finding.low, finding.high, finding.p_value) == (0.5, 0.375, 0.625, 0.001)
    assert finding.classes == ("dogs", "cats")
    assert finding.remedy == remedy_for("codec")
    assert finding.text == (
        "codec: with the JPEG quality of another class instead of its own, the right class loses 0.50 of its "
        "probability (95 % interval 0.38 to 0.62)"
    )


def test_verdict_has_every_cue_that_was_measured() -> None:
    measured = (strong("cast"), absent("border"), reliance("tone", 0.5, NAN, NAN, 0.2))

    assert _judged(report(*measured), limits={"border": "PASS"}).measured == measured


# what is not measured


def test_what_cannot_be_measured_without_masks_does_not_pass() -> None:
    trials = (TRIALS["background"], TRIALS["border"])

    verdict = judge(report(absent("border"), trials=trials))

    assert verdict.outcome == "INCONCLUSIVE"
    assert "not measured without masks of the objects: background; to measure, pass" in verdict.reason


@pytest.mark.parametrize(
    ("cue", "doubted"), [("border", True), ("resolution", True), ("contrast", False), ("position", False)]
)
def test_a_warning_about_what_lies_off_the_object_says_that_only_masks_would_tell(cue: str, doubted: bool) -> None:
    trials = (TRIALS["background"], replace(TRIALS[cue], at_most="WARN"))

    verdict = judge(report(reliance(cue, 0.4, 0.3, 0.5, 1e-9), trials=trials))
    with_masks = judge(report(absent("background"), reliance(cue, 0.4, 0.3, 0.5, 1e-9), trials=trials))

    assert verdict.outcome == with_masks.outcome == "WARN"
    assert ("only masks would tell" in verdict.reason) == doubted
    assert "only masks would tell" not in with_masks.reason


def test_a_warning_about_what_may_be_the_object_says_how_to_allow_it() -> None:
    trials = (TRIALS["border"], replace(TRIALS["patch"], at_most="WARN"))

    verdict = judge(report(reliance("patch", 0.4, 0.3, 0.5, 1e-9), trials=trials))
    beside = judge(report(reliance("border", 0.4, 0.3, 0.5, 1e-9), trials=trials))

    assert verdict.outcome == "WARN"
    assert "patch may be part of the object itself" in verdict.reason
    assert "if patch belongs to the object, pass expected_cues=['patch']" in verdict.reason
    assert "part of the object" not in beside.reason


@pytest.mark.parametrize(("other", "is_said"), [(1.0, False), (0.4, True)])
def test_a_class_that_stays_as_right_is_not_said_to_lose(other: float, is_said: bool) -> None:
    hangs = replace(strong("border"), accuracy_own=1.0, accuracy_lost=0.3, hanging={"cat": (1.0, other, 1e-4)})

    (finding,) = judge(report(hangs)).findings

    assert ("on pictures of 'cat' it is right on" in finding.text) == is_said


@pytest.mark.parametrize(("n_without", "outcome"), [(4, "PASS"), (5, "INCONCLUSIVE")])
def test_a_model_without_an_answer_for_many_pictures_does_not_pass(n_without: int, outcome: str) -> None:
    logits = torch.zeros(40, 2)
    logits[:n_without] = NAN

    verdict = judge(replace(report(absent("border")), logits=logits))

    assert verdict.outcome == outcome
    assert f"NaN or infinite for {n_without} of 40" in verdict.reason


UNTOLD = replace(TRIALS["contrast"], at_most="INCONCLUSIVE")


def test_what_may_be_the_objects_own_neither_warns_nor_passes() -> None:
    verdict = judge(report(strong("contrast"), absent("border"), trials=[UNTOLD, TRIALS["border"]]))

    assert (verdict.outcome, verdict.findings, verdict.score) == ("INCONCLUSIVE", (), -0.05)
    assert "the probe does not surely show that whole pictures of the classes differ in contrast" in verdict.reason
    assert "pass expected_cues=['contrast']; if not, vary brightness, contrast and saturation" in verdict.reason


def test_what_may_be_the_objects_own_passes_where_it_does_nothing_or_is_expected() -> None:
    trials = [UNTOLD, TRIALS["border"]]

    assert judge(report(absent("contrast"), absent("border"), trials=trials)).outcome == "PASS"
    assert judge(report(strong("contrast"), absent("border"), trials=trials), ["contrast"]).outcome == "PASS"


def test_what_may_be_the_objects_own_warns_at_most_where_an_audit_found_it() -> None:
    verdict = _judged(report(strong("contrast"), trials=[UNTOLD]), {"contrast": "FAIL"})

    assert verdict.outcome == "WARN"


@pytest.mark.parametrize(("mean", "causes"), [(0.9, ["contrast"]), (0.3, ["border"])])
def test_what_may_be_the_objects_own_is_named_where_less_is_found_in_its_place(mean: float, causes: list[str]) -> None:
    verdict = judge(report(strong("contrast", mean), strong("border"), trials=[UNTOLD, TRIALS["border"]]))

    assert [finding.cue for finding in verdict.findings if finding.is_cause] == causes


def test_masks_are_not_missing_where_no_image_found_donors() -> None:
    """A single class, or one image of each: `examine` measures nothing then."""
    verdict = judge(report(trials=STANDARD))

    assert verdict.outcome == "INCONCLUSIVE"
    assert "two classes with two images each" in verdict.reason
    assert "without masks" not in verdict.reason


@pytest.mark.parametrize("learned", [True, False])
def test_nothing_measured_says_so_and_why(learned: bool) -> None:
    verdict = judge(report(trials=(TRIALS["background"],), learned=learned))

    assert verdict.outcome == "INCONCLUSIVE"
    assert "not measured without masks" in verdict.reason


def test_too_few_masks_are_as_none() -> None:
    """A cue left out of the count must not be passed over in silence."""
    verdict = judge(report(reliance("background", 0.4, NAN, NAN, 0.3), absent("border")))

    assert "not measured without masks" in verdict.reason


def test_nothing_is_missing_where_all_was_measured() -> None:
    assert "not measured" not in judge(report(absent("background"), absent("border"))).reason


# what the user and the audit say


def test_nothing_declared_leaves_the_trials_as_they_are() -> None:
    assert limits(STANDARD, (), ()) == {}
    shared = {"contrast", "frequency", "position", "edge", "scale", "orientation", "exposure"}
    assert {trial.cue for trial in STANDARD if trial.at_most == "WARN"} == shared


def test_expected_cues_lead_to_nothing_even_where_the_audit_found_them() -> None:
    assert limits(STANDARD, ["background", "tone"], {"background", "cast"}) == {
        "background": "PASS", "tone": "PASS", "cast": "FAIL",
    }  # fmt: skip


def test_audited_cues_convict() -> None:
    most = limits(STANDARD, [], {"position", "file"})

    assert most == {"position": "FAIL"}
    assert _judged(report(strong("position")), limits=most).outcome == "FAIL"


def test_a_trial_that_judges_nothing_is_lifted_by_the_audit_alone() -> None:
    silent = (Trial("cast", TRIALS["cast"].swap, at_most="PASS"),)

    assert judge(report(strong("cast"), trials=silent)).outcome == "INCONCLUSIVE"
    assert _judged(report(strong("cast"), trials=silent), limits=limits(silent, [], ["cast"])).outcome == "FAIL"


def test_an_expected_cue_is_measured_and_never_convicts() -> None:
    measured = (strong("background"), absent("border"))

    verdict = _judged(report(*measured), limits=limits(STANDARD, ["background"], ()))

    assert verdict.outcome == "PASS"
    assert verdict.findings == ()
    assert verdict.expected == ("background",)
    assert verdict.measured == measured
    assert verdict.score == -0.05
    assert "background" not in verdict.reason


def test_where_every_cue_is_expected_nothing_can_be_said() -> None:
    verdict = _judged(report(strong("background")), limits={"background": "PASS"})

    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.findings == ()
    assert "no cue was tested" in verdict.reason


def test_an_expected_cue_that_needs_masks_is_not_missed() -> None:
    trials = (TRIALS["background"], TRIALS["border"])

    verdict = _judged(report(absent("border"), trials=trials), limits=limits(trials, ["background"], ()))

    assert verdict.outcome == "PASS"
    assert "not measured" not in verdict.reason


@pytest.mark.parametrize("expected", [["backgruond"], ["cast", "sound"]])
def test_unknown_expected_cues_are_refused(expected: list[str]) -> None:
    with pytest.raises(ValueError, match=r"expected_cues must be a list of names out of \['background', .*, got \["):
        limits(STANDARD, expected, ())


def test_one_expected_cue_has_to_stand_in_a_list() -> None:
    with pytest.raises(ValueError, match=r"must be a list of names .* got 'cast'"):
        limits(STANDARD, "cast", ())
    with pytest.raises(ValueError, match="must be a list of names"):
        limits((), "cast", ())


def test_without_trials_no_expected_cue_is_refused() -> None:
    assert limits((), ["background"], ()) == {}


# as text and as JSON


def full() -> Verdict:
    measured = reliance("cast", 0.5, 0.4, 0.6, 0.001, by_class={"cats": (0.5, 0.001)}, needed_n=math.inf)
    return judge(report(measured, weak("codec"), reliance("border", 0.1, NAN, NAN, NAN)))


def test_verdict_is_json() -> None:
    verdict = full()

    said = json.loads(json.dumps(verdict.as_json(), allow_nan=False))

    assert set(said) == {"outcome", "score", "findings", "measured", "reason", "attributes", "why_untested", "expected"}
    assert (said["outcome"], said["score"], said["reason"]) == ("FAIL", 0.4, verdict.reason)
    assert [f["cue"] for f in said["findings"]] == ["cast", "codec"]
    assert said["findings"][0]["classes"] == ["cats"]
    assert said["findings"][0]["remedy"] == {
        "what": remedy_for("cast").what,
        "code": remedy_for("cast").code,
        "other": None,
    }
    assert said["measured"][0] == {
        "cue": "cast",
        "mean": 0.5,
        "low": 0.4,
        "high": 0.6,
        "p_value": 0.001,
        "by_class": {"cats": [0.5, 0.001]},
        "needed_n": None,
        "label": "",
        **dict.fromkeys(["accuracy_own", "accuracy_lost", "accuracy_low", "accuracy_high", "either_p"]),
        "hanging": {},
        "unsettled": {},
        "apart": None,
        "apart_low": None,
        "kind": "classes",
        "n": 0,
        "n_images": 0,
    }
    assert said["measured"][2]["low"] is None


def test_verdict_reads_as_its_reason_and_a_line_per_finding() -> None:
    verdict = full()

    lines = str(verdict).split("\n")

    assert lines[0] == f"FAIL: {verdict.reason}"
    assert lines[1:] == [f"  {finding.text}" for finding in verdict.findings]


def test_verdict_survives_pickling() -> None:
    verdict = full()

    read = pickle.loads(pickle.dumps(verdict))

    assert str(read) == str(verdict)
    assert json.dumps(read.as_json()) == json.dumps(verdict.as_json())


def test_shortcut_error_carries_the_verdict() -> None:
    verdict = full()
    error = ShortcutError(verdict)

    assert isinstance(error, RuntimeError)
    assert error.verdict is verdict
    assert str(error) == str(verdict)
    assert pickle.loads(pickle.dumps(error)).verdict.reason == verdict.reason


# a run

FIRST_LEVEL = ALPHA / 20  # of a single cue, at each of the first 20 checks


def outcomes(running: RunningVerdict, *reports: Report) -> list[str]:
    return [running.judge(one).outcome for one in reports]


def test_one_check_never_convicts_and_two_in_a_row_do() -> None:
    bad = report(strong("cast"))

    assert outcomes(RunningVerdict({}), bad, bad, bad) == ["WARN", "FAIL", "FAIL"]


def test_a_check_in_between_ends_the_streak() -> None:
    bad, good = report(strong("cast")), report(absent("cast"))

    assert outcomes(RunningVerdict({}), bad, good, bad, bad) == ["WARN", "PASS", "WARN", "FAIL"]


def test_a_check_that_cannot_measure_ends_the_streak() -> None:
    bad, undefined = report(strong("cast")), report(reliance("cast", NAN, NAN, NAN, NAN))

    assert outcomes(RunningVerdict({}), bad, undefined, bad) == ["WARN", "INCONCLUSIVE", "WARN"]


def test_a_check_of_a_model_that_has_not_learned_ends_the_streak() -> None:
    bad = report(strong("cast"))

    assert outcomes(RunningVerdict({}), bad, report(strong("cast"), learned=False), bad) == [
        "WARN",
        "INCONCLUSIVE",
        "WARN",
    ]


def test_two_checks_with_different_cues_convict_neither() -> None:
    one, other = report(strong("cast"), absent("border")), report(absent("cast"), strong("border"))

    assert outcomes(RunningVerdict({}), one, other) == ["WARN", "WARN"]


def test_what_can_only_warn_must_be_shown_at_the_level_of_the_run() -> None:
    likely = report(strong("position", p_value=ALPHA / 2))

    assert judge(likely).outcome == "WARN"
    assert outcomes(RunningVerdict({}), likely, likely) == ["INCONCLUSIVE", "INCONCLUSIVE"]


def test_streaks_may_be_longer() -> None:
    bad = report(strong("cast"))

    assert outcomes(RunningVerdict({}, streak=3), bad, bad, bad) == ["WARN", "WARN", "FAIL"]


@pytest.mark.parametrize(("p_value", "expected"), [(0.9, {"cast"}), (1.1, set())])
def test_the_level_of_a_check_is_that_of_the_run_spread_over_its_checks(p_value: float, expected: set[str]) -> None:
    running = RunningVerdict({})
    running.add_check({"cast": FIRST_LEVEL * p_value})

    assert running.add_check({"cast": FIRST_LEVEL * p_value}) == expected


def test_the_level_is_shared_among_the_cues_of_a_check() -> None:
    running = RunningVerdict({})
    values = {"cast": FIRST_LEVEL * 0.4, "border": FIRST_LEVEL * 0.6}
    running.add_check(values)

    assert running.add_check(values) == {"cast"}


def test_the_level_falls_with_the_number_of_checks() -> None:
    running = RunningVerdict({})
    for _ in range(199):
        running.add_check({"cast": 1.0})
    level = ALPHA * 20 / 201**2

    assert running.add_check({"cast": level * 0.9}) == set()
    assert running.add_check({"cast": level * 0.9}) == {"cast"}
    assert running.add_check({"cast": level * 1.1}) == set()


def test_checks_that_test_nothing_use_up_none_of_the_level() -> None:
    running = RunningVerdict({})
    for _ in range(199):
        running.judge(report(strong("cast"), learned=False))

    running.add_check({"cast": FIRST_LEVEL * 0.9})
    assert running.add_check({"cast": FIRST_LEVEL * 0.9}) == {"cast"}


def test_a_lower_alpha_asks_for_more() -> None:
    running = RunningVerdict({}, alpha=ALPHA / 10)
    values = {"cast": FIRST_LEVEL * 0.9}
    running.add_check(values)

    assert running.add_check(values) == set()


def test_expected_cues_neither_share_the_level_nor_convict() -> None:
    close = strong("cast", p_value=FIRST_LEVEL * 0.9)
    both = report(close, strong("border"))

    assert outcomes(RunningVerdict({}), both, both) == ["WARN", "FAIL"]
    sharing = RunningVerdict({"cast": "FAIL", "border": "WARN"})
    assert outcomes(sharing, both, both) == ["WARN", "WARN"]
    expecting = RunningVerdict({"cast": "FAIL", "border": "PASS"})
    assert outcomes(expecting, both, both) == ["WARN", "FAIL"]


def test_cues_that_only_warn_do_so_at_once_and_however_long() -> None:
    """Nothing follows from a warning, so it need not wait for a second check."""
    good, bad = report(absent("position")), report(strong("position"))

    assert outcomes(RunningVerdict({}), good, *[bad] * 5, good) == ["PASS"] + ["WARN"] * 5 + ["PASS"]


def test_a_later_clean_check_passes() -> None:
    bad, good = report(strong("cast")), report(absent("cast"))

    assert outcomes(RunningVerdict({}), bad, bad, good) == ["WARN", "FAIL", "PASS"]


def test_running_calls_nothing_above_the_margin_that_is_not() -> None:
    noise = torch.Generator().manual_seed(0)
    running = RunningVerdict({})
    targets = torch.arange(40) % 2

    def look() -> str:
        effects: dict[str, Tensor] = {cue: 0.2 * torch.randn(40, generator=noise) for cue in ("cast", "border")}
        return running.judge(report(*weigh(effects, targets, ["a", "b"]))).outcome

    assert "FAIL" not in {look() for _ in range(20)}


def test_one_class_is_nothing_to_judge() -> None:
    probe = Probe(torch.rand(8, 3, 8, 8), torch.zeros(8, dtype=torch.long), classes=["good", "bad"])
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

    verdict = judge(examine(model, probe, layer="0"))

    assert verdict.outcome == "INCONCLUSIVE"
    assert "one class alone" in str(verdict)
    assert "yet" not in str(verdict)


def test_what_the_callback_says_with_expected_cues_can_be_had_of_a_report() -> None:
    one = report(strong("background"), absent("border"))

    assert judge(one).outcome == "FAIL"
    assert judge(one, expected_cues=["background"]) == RunningVerdict({"background": "PASS"}).conclude(one)
    assert judge(report(strong("position"))).outcome == "WARN"
    place = AuditFinding("place", "position", "a", 0.9, 0.8, 0.001, "strong", "the place tells the class", "crop", "")
    audit = AuditResult(("a", "b"), (9, 9), (9, 9), (), (place,), (place,), np.zeros((8, 8)), np.zeros((8, 8), bool))
    assert judge(report(strong("position")), audit=audit).outcome == "FAIL"


def test_an_expected_cue_that_the_report_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="expected_cues must be a list of names out of"):
        judge(report(strong("background")), expected_cues=["colour of the frame"])


def test_what_was_not_measured_is_listed() -> None:
    verdict = judge(report(strong("background"), reliance("cast", math.nan, math.nan, math.nan, math.nan)))

    assert verdict.tested == ("background",)
    assert "cast" in verdict.untested
    assert "background" not in verdict.untested
    assert repr(verdict).startswith("Verdict(FAIL, score ")


def test_where_some_images_were_left_out_the_way_to_all_is_said() -> None:
    effects = torch.full((8,), math.nan)
    effects[:3] = 0.0
    some = replace(report(reliance("border", 0.0, -0.5, 0.5)), effects={"border": effects}, logits=torch.zeros(8, 2))

    reason = judge(some).reason

    assert reason.startswith("cues were swapped on 3 of the 8 probe images alone, too few to rule out")
    assert "on all pictures without training, type lightning-cam examine CHECKPOINT --model" in reason
    assert "max_overhead=1" in reason
    assert as_options(reason).endswith("relies on border")  # the command does not send to itself


@pytest.mark.parametrize("kind", ["labels", "regions", "values"])
def test_no_command_is_named_for_targets_that_class_folders_cannot_hold(kind: str) -> None:
    effects = torch.full((8,), math.nan)
    effects[:3] = 0.0
    of_kind = replace(reliance("border", 0.0, -0.5, 0.5), kind=kind)
    some = replace(report(of_kind), effects={"border": effects}, logits=torch.zeros(8, 2))

    reason = judge(some).reason

    assert "lightning-cam examine" not in reason
    assert "max_overhead=1" in reason


def test_a_cue_that_few_images_have_is_not_said_to_need_fewer_than_there_are() -> None:
    of_few = replace(reliance("resolution", 0.0, -0.2, 0.2), n=12, needed_n=36.0)
    every = replace(report(of_few), effects={"resolution": torch.zeros(64)}, logits=torch.zeros(64, 2))

    reason = judge(every).reason

    assert reason.startswith("the resolution was swapped on 12 of the 64 probe images alone, too few to rule out")
    assert "would be enough" not in reason


# guessed masks


def guessed(*reliances: Reliance) -> Report:
    return replace(report(*reliances), mask_sources=("guess", "border"))


def test_guessed_masks_acquit_nobody_and_the_way_out_is_named() -> None:
    verdict = judge(guessed(absent("background"), absent("codec")))

    assert judge(report(absent("background"), absent("codec"))).outcome == "PASS"
    assert verdict.outcome == "INCONCLUSIVE"
    assert "were guessed, which proves nothing about background: a guess" in verdict.reason
    assert "or take in a stamp or background" in verdict.reason
    assert "lightning-cam masks RUN_DIR writes a page to correct them, and says how to judge again" in verdict.reason


def test_a_finding_that_is_read_off_masks_says_what_is_wrong_with_them() -> None:
    verdict = judge(replace(report(strong("exposure"), absent("codec")), mask_doubts=("masks look inverted",)))

    assert verdict.outcome == "WARN"
    assert "; masks look inverted; until then the masks prove nothing about exposure;" in verdict.reason
    assert "may be part of the object itself" not in verdict.reason


# masks that may be larger than the objects


def covering(*reliances: Reliance, columns: int, source: str = "reviewed") -> Report:
    """Masks over so many of ten columns of two pictures."""
    masks = torch.zeros(2, 10, 10, dtype=torch.bool)
    masks[:, :, :columns] = True
    probe = Probe(torch.zeros(2, 3, 10, 10), torch.arange(2), masks=masks, mask_sources=[source] * 2)
    return replace(report(*reliances), mask_sources=probe.mask_sources, probe=probe)


BELOW = reliance("background", 0.0, -0.05, 0.06)


@pytest.mark.parametrize(
    ("found", "columns", "source", "outcome"),
    [
        pytest.param(BELOW, 3, "reviewed", "PASS", id="0.06 of 0.7 is 0.086"),
        pytest.param(BELOW, 5, "reviewed", "INCONCLUSIVE", id="0.06 of 0.5 is 0.12"),
        pytest.param(BELOW, 5, "box", "INCONCLUSIVE", id="a box hides as much"),
        pytest.param(
            replace(BELOW, high=0.01, accuracy_high=0.06), 5, "reviewed", "INCONCLUSIVE", id="right answers as well"
        ),
        pytest.param(BELOW, 5, "given", "PASS", id="given masks are of the object"),
        pytest.param(BELOW, 5, "border", "PASS", id="so are those on a plain background"),
        pytest.param(replace(BELOW, high=0.01), 7, "reviewed", "PASS", id="0.01 of 0.3 is 0.033"),
        pytest.param(replace(BELOW, high=0.01), 8, "reviewed", "INCONCLUSIVE", id="a fifth of a picture is too little"),
        pytest.param(replace(BELOW, high=-0.01), 8, "reviewed", "INCONCLUSIVE", id="below zero as well"),
        pytest.param(replace(BELOW, cue="corner"), 5, "reviewed", "INCONCLUSIVE", id="a part of the background"),
        pytest.param(replace(BELOW, cue="cast"), 8, "reviewed", "PASS", id="a cast is swapped everywhere"),
    ],
)
def test_what_masks_hide_passes_only_if_it_would_stay_below_the_margin(
    found: Reliance, columns: int, source: str, outcome: str
) -> None:
    assert judge(covering(found, absent("codec"), columns=columns, source=source)).outcome == outcome


def test_it_is_said_what_masks_hide_and_how_to_see_it() -> None:
    verdict = judge(covering(BELOW, reliance("border", 0.0, -0.05, 0.001), columns=5))

    assert verdict.reason == (
        "the masks cover 50 % of a picture, and nothing under them was swapped; on the rest the right class loses less "
        "than 0.06 of its probability, which does not rule out that the model relies on background; for PASS, make the "
        "masks tighter on the page of lightning-cam masks, or pass masks of objects alone"
    )


def test_what_masks_hide_neither_convicts_nor_acquits_of_what_is_seen() -> None:
    assert judge(covering(strong("background"), columns=9)).outcome == "FAIL"
    assert "too few images" in judge(covering(open_("background"), columns=9)).reason


def test_reviewed_masks_that_are_not_at_hand_let_nothing_pass() -> None:
    assert judge(replace(report(BELOW), mask_sources=("reviewed", "none"))).outcome == "INCONCLUSIVE"


def test_what_needs_no_masks_is_judged_beside_guessed_ones() -> None:
    assert judge(guessed(absent("codec"))).outcome == "PASS"

    verdict = judge(guessed(strong("codec"), absent("background")))

    assert verdict.outcome == "FAIL"
    assert "guessed" not in verdict.reason


class Tinted(nn.Module):
    """Looks at red and green all over."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.conv.weight.data = torch.tensor([[-1.0, -1.0, 0.0], [1.0, 1.0, 0.0]])[:, :, None, None]
        self.conv.bias.data = torch.tensor([0.825, -0.825])

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = 5 * self.conv(images).mean((2, 3))
        return found


def read_with_masks(first: int, last: int, source: str) -> Verdict:
    """Of greenish objects, from row and column 12 to 20, on reddish grounds. Masks are of other rows and columns."""
    targets = torch.arange(40) % 2
    images = 0.4 + 0.02 * torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images[:, 0] += 0.06 * (targets[:, None, None] - 0.5)
    images[:, :, 12:20, 12:20] = 0.3
    images[:, 1, 12:20, 12:20] += 0.6 * targets[:, None, None]
    masks = torch.zeros(40, 32, 32, dtype=torch.bool)
    masks[:, first:last, first:last] = True
    probe = Probe(images, targets, masks=masks, mask_sources=[source] * 40)
    return judge(examine(Tinted().eval(), probe, layer="conv", trials=["background"]))


def test_only_masks_that_may_be_too_large_hide_background() -> None:
    masks = torch.zeros(8, 32, 32, dtype=torch.bool)
    masks[:6, :, :16] = True
    sources = ["given", "given", "given", "reviewed", "reviewed", "segmenter+guess", "none", "none"]
    probe = Probe(torch.rand(8, 3, 32, 32), torch.arange(8) % 2, masks=masks, mask_sources=sources)

    assert share_left(examine(Tinted().eval(), probe, layer="conv", trials=[])) == 0.75


@pytest.mark.parametrize("rim", [0, 8])
def test_what_is_surely_object_does_not_count_as_hidden_background(rim: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images, objects = 0.3 + 0.2 * torch.rand(16, 3, 64, 64, generator=generator), torch.zeros(16, 64, 64).bool()
    images[:, :, 20:44, 22:46] += 0.4
    objects[:, 20:44, 22:46] = True
    masks = torch.zeros_like(objects)
    masks[:, 20 - rim : 44 + rim, 22 - rim : 46 + rim] = True
    probe = Probe(images, torch.arange(16) % 2, masks=masks, mask_sources=["reviewed"] * 16)
    report = examine(Tinted().eval(), probe, layer="conv", trials=[])

    left = float((~masks).sum() / (~objects).sum())
    assert left - 0.03 < background_left(report) < left + 0.03
    assert share_left(report) < left - 0.05


def test_a_reviewed_mask_that_is_too_large_acquits_no_model_that_relies_on_the_background() -> None:
    exact, large = read_with_masks(12, 20, "reviewed"), read_with_masks(5, 27, "reviewed")

    assert exact.outcome == "FAIL"
    assert (large.outcome, read_with_masks(5, 27, "alpha").outcome) == ("INCONCLUSIVE", "PASS")
    assert large.measured[0].high < MARGIN < exact.measured[0].low


# findings that are one cause


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(
            {"background": 0.9, "border": 0.8, "cast": 0.85}, {"background": ("cast", "border")}, id="a scene"
        ),
        pytest.param({"background": 0.9, "cast": 0.95}, {"background": ("cast",)}, id="its colour alike"),
        pytest.param({"background": 0.3, "cast": 0.8}, {"cast": ("background",)}, id="a cast seen on the background"),
        pytest.param({"style": 0.9, "background": 0.7, "border": 0.6}, {"style": ("background", "border")}, id="style"),
        pytest.param({"background": 0.9, "style": 0.3}, {"background": ("style",)}, id="not the whole picture"),
        pytest.param({"patch": 0.7, "background": 0.5}, {"patch": ("background",)}, id="a stamp"),
        pytest.param({"patch": 0.5, "background": 0.9}, {"background": ("patch",)}, id="a corner with a stamp"),
        pytest.param({"codec": 0.9, "resolution": 0.5}, {"codec": ("resolution",)}, id="blocks look sharp"),
        pytest.param({"edge": 0.8, "resolution": 0.3}, {"edge": ("resolution",)}, id="a halo looks sharp"),
        pytest.param({"codec": 0.9, "background": 0.9}, {"codec": (), "background": ()}, id="two causes"),
        pytest.param({"background": 0.5, "position": 0.9}, {"background": (), "position": ()}, id="nothing alike"),
    ],
)
def test_findings_that_are_one_cause_have_one_remedy(found: dict[str, float], expected: dict[str, object]) -> None:
    verdict = judge(report(*(strong(cue, mean) for cue, mean in found.items())))

    assert verdict.causes == expected
    assert {finding.cue for finding in verdict.findings} == {*found}
    causes = {finding.cue: finding.cause for finding in verdict.findings}
    assert all(f.remedy == remedy_for(causes[f.cue]).at((0, 0)) for f in verdict.findings)
    assert verdict.findings[0].is_cause


def test_an_unsure_finding_is_no_cause_of_a_conviction() -> None:
    verdict = judge(report(strong("border"), reliance("background", 0.6, 0.05, 0.9, p_value=0.2)))

    assert verdict.causes == {"border": (), "background": ()}


def test_a_conviction_is_named_by_its_cause_even_where_that_alone_would_only_warn() -> None:
    verdict = judge(report(strong("contrast", 0.9), strong("style", 0.8)))

    assert verdict.outcome == "FAIL"
    assert verdict.reason.startswith("the model relies on something that is not the object: contrast; ")
    assert verdict.findings[0].remedy == remedy_for("contrast").at((0, 0))


def test_a_verdict_names_the_cause_and_what_is_seen_through_it() -> None:
    verdict = judge(report(strong("style", 0.9), strong("background", 0.7), strong("border", 0.5)))

    assert verdict.reason.startswith("the model relies on something that is not the object: style; ")
    assert "likely the same cause: background, border" in verdict.reason


def test_a_pass_says_what_was_tested_and_what_was_not() -> None:
    verdict = judge(report(absent("background"), absent("border")))

    assert verdict.reason.startswith("none of 2 cues that were swapped costs")
    assert "not tested: corner, region, cast" in verdict.reason
    assert "background" not in verdict.reason.split("not tested")[1]
    assert "hue, shading or a lone mark on the object" in verdict.reason
    assert "No swap exists" in verdict.why_untested["hue, shading or a lone mark on the object"]


def test_a_property_of_the_object_is_context() -> None:
    with_tone = judge(report(absent("background"), strong("tone")))

    assert with_tone.outcome == "PASS"
    assert "as context: with the tone of another class the right class loses 0.60" in with_tone.reason
    assert "context" not in judge(report(absent("background"), absent("tone"))).reason
    assert "context" not in judge(report(strong("background"), strong("tone"))).reason
