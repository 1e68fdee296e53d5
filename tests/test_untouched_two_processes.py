"""The promise where two processes train one model: with the callback each ends the same, bit for bit."""

from pathlib import Path

import pytest

from house.ranks import ranks

pytestmark = pytest.mark.slow


def test_two_processes_end_bit_for_bit_the_same(tmp_path: Path) -> None:
    outcomes = ranks(tmp_path, "twins")

    assert set(outcomes) == {"0", "1"}
    assert outcomes["0"] == outcomes["1"]
    assert {name: different for name, (different, _) in outcomes["0"].items() if different} == {}
    assert {name for name, (_, n_checks) in outcomes["0"].items() if n_checks < 5} == {"writing", "writing in one"}


def test_spawned_processes_end_bit_for_bit_the_same(tmp_path: Path) -> None:
    assert ranks(tmp_path, "spawned")["0"] == []
    assert (tmp_path / "cam_report").is_dir()  # they did look
