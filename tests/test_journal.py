"""The series of a run: keys, readings that are completed, and checkpoints of earlier versions."""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest

import lightning_cam
from house.shortcut import BORDER
from house.trainings import probe, watched
from lightning_cam import CAMCallback, LightningCAMWarning, Reading
from lightning_cam.notices import warn
from lightning_cam.training.failures import Failures
from lightning_cam.training.fit import Fit
from lightning_cam.training.journal import Journal

VERSION_1 = """{
    "version": 1,
    "fingerprint": "4cf2",
    "history": [
        {"step": 0, "epoch": 0, "scalars": {"cam/attention_entropy": 0.75, "cam/attention_drift": null}},
        {"step": 3, "epoch": 0, "scalars": {"cam/attention_entropy": 0.5, "cam/reliance/border": 0.25}}
    ]
}"""


def test_a_state_of_version_1_is_continued_with_its_keys() -> None:
    callback = CAMCallback()
    callback.load_state_dict(json.loads(VERSION_1))

    first, second = callback.history
    assert (first.step, second.step) == (0, 3)
    assert first.scalars.keys() == {"cam/attention_entropy", "cam/attention_drift"}
    assert math.isnan(first.scalars["cam/attention_drift"])
    assert second.scalars == {"cam/attention_entropy": 0.5, "cam/reliance/border": 0.25}
    state = callback.state_dict()
    assert {key: state[key] for key in state if key != "run"} == json.loads(VERSION_1)


def test_the_prefix_is_added_once() -> None:
    reading, news = Journal("leaf").record({"reliance/border": 0.5}, step=3, epoch=1)

    assert reading == news == Reading(3, 1, {"leaf/reliance/border": 0.5})


def test_a_completed_reading_keeps_what_was_logged_and_logs_the_rest() -> None:
    journal = Journal("cam")
    journal.record({"seconds": 1.0}, step=3, epoch=1)
    reading, news = journal.complete({"seconds": 2.0, "reliance/border": 0.5})

    assert reading == Reading(3, 1, {"cam/seconds": 1.0, "cam/reliance/border": 0.5})
    assert news == Reading(3, 1, {"cam/reliance/border": 0.5})
    assert journal.readings == (reading,)


# ---- the open door ---------------------------------------------------------------------------------------------------


def test_trials_are_chosen_by_name_or_as_objects() -> None:
    chosen = CAMCallback(trials=("background", BORDER[0], "cast")).trials

    assert [trial.cue for trial in chosen] == ["background", "border", "cast"]
    assert chosen[1] is BORDER[0]


@pytest.mark.parametrize("trials", [("borders",), "border"], ids=["unknown", "no list"])
def test_names_that_are_no_trials_are_refused_with_the_names_there_are(trials: Any) -> None:
    with pytest.raises(ValueError, match=r"names out of \['background', .*, got .*border"):
        CAMCallback(trials=trials)


@pytest.mark.parametrize("verbose", [True, False])
def test_the_terminal_is_silent_where_that_is_asked_for(
    verbose: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watched(tmp_path, CAMCallback(probe(), trials=(), verbose=verbose))

    assert ("lightning_cam" in capsys.readouterr().out) is verbose


def test_callback_and_reading_are_shown_in_a_line() -> None:
    callback = CAMCallback(probe(), trials=("border",))

    assert repr(callback) == "CAMCallback(name='cam', layer=None; 1 trials, 0 checks so far, verdict None)"
    assert repr(Reading(3, 1, {"cam/seconds": 1.0})) == "Reading(step=3, epoch=1, 1 scalars)"


# ---- warnings --------------------------------------------------------------------------------------------------------


def test_a_warning_has_a_class_and_points_outside_of_the_package() -> None:
    with pytest.warns(LightningCAMWarning, match="lightning_cam: switched off") as caught:
        Fit(CAMCallback().options, Journal("cam")).switch.turn_off("for this test")

    assert [Path(one.filename).name for one in caught] == ["test_journal.py"]


def test_a_warning_in_a_with_block_does_not_point_to_it() -> None:
    with pytest.warns(LightningCAMWarning) as caught, Failures(raises=False).surviving("this test"):
        raise RuntimeError("broken")

    assert [Path(one.filename).name for one in caught] == ["test_journal.py"]


def test_warnings_can_be_silenced_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", LightningCAMWarning)
        warn("nothing to see")


def test_no_other_module_warns_without_the_class() -> None:
    house = Path(lightning_cam.__file__).parent
    modules = [path for path in house.rglob("*.py") if "warnings.warn(" in path.read_text()]

    assert [path.name for path in modules] == ["notices.py"]
