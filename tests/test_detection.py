"""A few runs of the planted-shortcut benchmark: a used cue is found and named, a model that uses none is left alone."""

import pytest

from planted import runs
from planted.detector import ALARMS, Detection, detector
from planted.plan import Run
from planted.scoring import guessed_and_reviewed

FAMILIES = ("background_photo", "corner_mark", "jpeg")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[runs.Record]:
    """Small networks on creatures, biased and clean."""
    cache = tmp_path_factory.mktemp("runs")
    planned = [Run("creatures", 2, family, strength, seed=5) for family in FAMILIES for strength in (1.0, 0.5)]
    return [runs.load(runs.make(run, cache, None)) for run in planned]


@pytest.fixture(scope="module")
def detected(records: list[runs.Record]) -> dict[Run, tuple[float, Detection]]:
    """Truth and what is said."""
    return {record.run: (record.reliance, detector(record.model(), record.probe)) for record in records}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_planted_shortcut_is_found_and_named(family: str, detected: dict[Run, tuple[float, Detection]]) -> None:
    run = Run("creatures", 2, family, 1.0, seed=5)
    truth, said = detected[run]

    assert truth > 0.5
    assert said.outcome in ALARMS
    assert said.cue in run.cue.names


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_clean_twin_raises_no_alarm(family: str, detected: dict[Run, tuple[float, Detection]]) -> None:
    truth, said = detected[Run("creatures", 2, family, 0.5, seed=5)]

    assert abs(truth) < 0.1
    assert said.outcome not in ALARMS


@pytest.mark.slow
def test_scores_tell_the_two_apart(detected: dict[Run, tuple[float, Detection]]) -> None:
    relying = [said.score for run, (_, said) in detected.items() if run.strength == 1]
    clean = [said.score for run, (_, said) in detected.items() if run.strength < 1]

    assert min(relying) > max(clean) + 0.1


@pytest.mark.slow
def test_guessed_masks_warn_and_reviewed_ones_convict_but_nobody_innocent(records: list[runs.Record]) -> None:
    for record in records:
        guessed, reviewed, tightened = guessed_and_reviewed(record.probe)
        first, then = detector(record.model(), guessed), detector(record.model(), reviewed)

        assert tightened.masks.float().mean() < 0.9 * reviewed.masks.float().mean()
        assert (first.outcome in ALARMS, then.outcome in ALARMS) == (record.run.strength == 1,) * 2
        assert first.outcome != "PASS"
        if record.run.family in ("background_photo", "corner_mark"):  # which need masks
            assert (first.outcome == "FAIL", then.outcome == "FAIL") == (False, record.run.strength == 1)
