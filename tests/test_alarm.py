"""The alarm: it goes off once a fit, and does what the user has chosen."""

from types import SimpleNamespace

import pytest

from lightning_cam import LightningCAMWarning, ShortcutError, Verdict
from lightning_cam.training.alarm import Alarm, OnShortcut

FAIL, PASS = (Verdict(outcome, 0.5, (), (), "for this test") for outcome in ("FAIL", "PASS"))


def trainer(*, is_first: bool = True, should_stop: bool = False) -> SimpleNamespace:
    return SimpleNamespace(is_global_zero=is_first, should_stop=should_stop)


def test_only_the_first_fail_is_news() -> None:
    alarm = Alarm("warn")

    assert [alarm.news(verdict) for verdict in (None, PASS, FAIL, FAIL)] == [None, None, FAIL, None]


@pytest.mark.parametrize(("chosen", "stops"), [("warn", False), ("stop", True)])
def test_the_training_stops_only_where_that_was_chosen(chosen: OnShortcut, stops: bool) -> None:
    fit = trainer()
    with pytest.warns(LightningCAMWarning, match="lightning_cam: FAIL: for this test"):
        Alarm(chosen).act(fit, FAIL)

    assert fit.should_stop is stops


def test_a_warning_does_not_take_back_the_stop_of_another_callback() -> None:
    fit = trainer(should_stop=True)
    with pytest.warns(LightningCAMWarning):
        Alarm("warn").act(fit, FAIL)

    assert fit.should_stop


def test_the_error_says_which_verdict_it_was() -> None:
    with pytest.raises(ShortcutError, match="FAIL: for this test") as raised:
        Alarm("raise").act(trainer(), FAIL)

    assert raised.value.verdict is FAIL


def test_a_function_is_called_in_every_process() -> None:
    """A function may stop the training or wait for the others: one process alone would wait for ever."""
    told: list[Verdict] = []
    for is_first in (True, False):
        Alarm(told.append).act(trainer(is_first=is_first), FAIL)

    assert told == [FAIL, FAIL]
