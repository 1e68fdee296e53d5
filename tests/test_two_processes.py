"""Two processes train one model: they share the probe, log the same numbers, and neither waits for the other."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from house.ranks import ranks

Scenario = Callable[[str], list[Any]]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """What the first and the second process say of a scenario."""
    outcomes = ranks(tmp_path_factory.mktemp("together"), "together")
    assert set(outcomes) == {"0", "1"}
    return lambda scenario: [outcomes[rank][scenario] for rank in ("0", "1")]


def test_both_ranks_read_the_same_numbers_and_can_monitor_them(together: Scenario) -> None:
    first, second = together("nobody fails")

    assert first == second
    assert first[:2] == [6, [0, 1, 3, 5]]


@pytest.mark.parametrize("scenario", ["first fails", "second fails", "both fail"])
def test_a_check_that_fails_on_any_rank_hangs_nobody(together: Scenario, scenario: str) -> None:
    first, second = together(scenario)

    assert first == second
    assert first[:2] == [6, [0]]


def test_both_ranks_stop_at_the_alarm_with_one_verdict(together: Scenario) -> None:
    first, second = together("stopped")

    assert first == second
    epoch, n_told, outcome, score = first
    assert (n_told, outcome) == (0, "FAIL")
    assert score >= 0.5
    assert epoch < 40


def test_a_function_is_told_on_every_rank(together: Scenario) -> None:
    first, second = together("told")

    assert first == second
    assert first[:3] == [40, 1, "FAIL"]


def test_the_first_process_says_for_all_which_checks_are_made(together: Scenario) -> None:
    """Looking is dear on its clock, so trials are given up, then looks; on the other's it is free."""
    assert together("clocks") == [[[0, False], [0, True], [1, False], [4, True]]] * 2


def test_each_rank_looks_at_its_share_with_the_result_of_one(together: Scenario) -> None:
    """With the first one's BatchNorm: what the second makes of the same images alone is something else."""
    (n_first, distance, with_trials), (n_second, other_distance, _) = together("one probe")

    assert n_first == n_second > 0
    assert distance < 1e-5
    assert other_distance > 1e-3
    assert with_trials


def test_both_ranks_log_what_the_first_has_found_in_the_units(together: Scenario) -> None:
    first, second = together("units")

    assert first == second
    assert len(first) == 9


def test_where_the_ranks_have_different_probes_the_first_ones_counts(together: Scenario) -> None:
    """The second process only runs along."""
    (n_first, distance, _), (n_second, _, _) = together("two probes")

    assert n_first == n_second > 0
    assert distance < 1e-5


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """The same of trainings in which a process that waits for the other gives up after a minute."""
    outcomes = ranks(tmp_path_factory.mktemp("hostile"), "hostile")
    assert set(outcomes) == {"0", "1"}
    return lambda scenario: [outcomes[rank][scenario] for rank in ("0", "1")]


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param("talking", id="a forward with collectives, an odd number of images, masks for some"),
        pytest.param("resumed", id="resumed with validation data of its own in each process"),
        pytest.param("slow", id="static graph, and one process slower by twenty seconds"),
        "first without disk",
        "second without disk",
    ],
)
def test_no_process_waits_for_the_other(hostile: Scenario, scenario: str) -> None:
    assert hostile(scenario) == [[6, [0, 2, 5]]] * 2


def test_both_compare_their_batches_in_equally_many_forward_passes(hostile: Scenario) -> None:
    """One knows at once that the probe is what the model sees, the other does not; the forward has collectives."""
    first, second = hostile("comparing")

    assert first == second
    assert first[:2] == [6, [0, 2, 5]]


def test_the_evidence_is_drawn_with_a_collective_in_the_forward(hostile: Scenario) -> None:
    assert hostile("evidence") == [["FAIL", True], ["FAIL", 1]]


def test_a_function_may_stop_the_training(hostile: Scenario) -> None:
    first, second = hostile("function")

    assert first == second < 40


def test_a_process_that_is_killed_ends_the_other(tmp_path: Path) -> None:
    """Not after the minute that the process group waits, and the pictures so far are kept."""
    started = time.monotonic()

    with pytest.raises(AssertionError):
        ranks(tmp_path, "killed")

    assert time.monotonic() - started < 60
    assert list((tmp_path / "cam_report").glob("**/*.png"))


@pytest.mark.parametrize("strategy", ["ddp_fork", "ddp_notebook"])
def test_forked_processes_are_looked_at(strategy: str, tmp_path: Path) -> None:
    outcomes = ranks(tmp_path, "forked", strategy)

    assert [outcomes["0"], outcomes["1"]] == [[6, [0, 2, 5]]] * 2
    assert outcomes["_home"] == [[0, 2, 5], "INCONCLUSIVE"]  # in the process that called fit


def test_a_sharded_model_is_not_looked_at_and_one_process_says_so(tmp_path: Path) -> None:
    outcomes = ranks(tmp_path, "sharded")

    reason = "ModelParallelStrategy shards the model, which is not supported"
    assert outcomes["0"] == [3, 0, [f"lightning_cam: switched off for this fit, training goes on; {reason}"]]
    assert outcomes["1"] == [3, 0, []]


def test_where_one_rank_cannot_draw_the_probe_all_switch_off_and_train_and_one_says_so(tmp_path: Path) -> None:
    outcomes = ranks(tmp_path, "unreadable")

    n_steps, (message,) = outcomes["0"]
    assert "switched off for this fit" in message
    assert "no probe can be drawn" in message
    assert "torn" in message
    assert outcomes["1"] == [n_steps, []]
    assert n_steps == 3


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("several volumes", "a volume or a video has four axes"),
        ("flattened pictures", "no layer of Module gives a map"),
        ("refused by one", "your forward raised ValueError: not here"),
    ],
)
def test_what_cannot_be_looked_at_is_trained_on_in_every_process_and_said_by_one(
    task: str, words: str, tmp_path: Path
) -> None:
    outcomes = ranks(tmp_path, "other_task", task)

    n_steps, is_same, said = outcomes["0"]
    assert (n_steps, is_same) == (4, True)
    assert any(words in message for message in said)
    assert outcomes["1"] == [4, True, []]
