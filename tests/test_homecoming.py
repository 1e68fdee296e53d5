"""A fit in processes of its own, as with ``ddp_spawn``: its history and verdict come home to the one that called it."""

import copy
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from house.shortcut import trained_on_frames
from lightning_cam import CAMCallback
from lightning_cam.training import homecoming


class _MultiProcessingLauncher:  # as Lightning calls its own
    pass


SPAWNED: Any = SimpleNamespace(strategy=SimpleNamespace(launcher=_MultiProcessingLauncher()), is_global_zero=True)


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[CAMCallback, CAMCallback]:
    """A callback at home, and one that has looked in a process of its own."""
    monkeypatch.setattr(homecoming.tempfile, "gettempdir", lambda: str(tmp_path / "messages"))
    (tmp_path / "messages").mkdir()
    home = CAMCallback()
    looked, _ = trained_on_frames(tmp_path, verbose=False)
    looked._message = pickle.loads(pickle.dumps(home._message))
    return home, looked


def elsewhere(callback: CAMCallback, trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's last hook, in another process than the one that made the callback."""
    with monkeypatch.context() as patch:
        patch.setattr(homecoming.os, "getpid", lambda: -1)
        callback.teardown(trainer, None, "fit")


@pytest.mark.filterwarnings("ignore:lightning_cam. FAIL")
def test_history_and_verdict_come_home(away: tuple[CAMCallback, CAMCallback], monkeypatch: pytest.MonkeyPatch) -> None:
    home, looked = away
    SPAWNED.callbacks, SPAWNED.lr_scheduler_configs = [], []
    elsewhere(looked, SPAWNED, monkeypatch)
    (file,) = homecoming.Path(homecoming.tempfile.gettempdir()).iterdir()

    assert file.stat().st_mode & 0o077 == 0
    assert str(home.verdict) == str(looked.verdict)
    assert [reading.step for reading in home.history] == [reading.step for reading in looked.history]
    assert not file.exists()
    assert len(home.history) > 1  # and stay


@pytest.mark.parametrize(
    "trainer",
    [
        SimpleNamespace(strategy=SimpleNamespace(launcher=None), is_global_zero=True),
        SimpleNamespace(strategy=SPAWNED.strategy, is_global_zero=False),
    ],
    ids=["not launched from here", "not the first process"],
)
def test_nobody_else_leaves_a_message(
    away: tuple[CAMCallback, CAMCallback], monkeypatch: pytest.MonkeyPatch, trainer: Any
) -> None:
    home, looked = away
    elsewhere(looked, trainer, monkeypatch)

    assert home.history == ()
    assert home.verdict is None


def test_half_a_message_is_none_and_a_copy_has_its_own(away: tuple[CAMCallback, CAMCallback]) -> None:
    home, _ = away
    home._message._path.write_text('{"history": [')

    assert copy.deepcopy(home)._message._path != home._message._path
    assert home.history == ()
    assert not home._message._path.exists()


def test_a_message_that_nobody_reads_goes_with_its_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homecoming.tempfile, "gettempdir", lambda: str(tmp_path))
    message = homecoming.Message()
    message._path.touch()
    del message

    assert not list(tmp_path.iterdir())
