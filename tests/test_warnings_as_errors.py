"""Where a filter makes errors of warnings, ours stop no training and hide no exception of the user's."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from house.shortcut import BORDER, Framed, framed, framed_probe
from house.trainings import Net, loader, moody, pictures, probe, trainer, watched
from lightning_cam import CAMCallback
from lightning_cam.notices import LightningCAMWarning

FILTERS: dict[str, dict[str, Any]] = {
    "by message": {"message": "lightning_cam"},
    "by class": {"category": LightningCAMWarning},
    "by parent": {"category": UserWarning, "message": "lightning_cam"},
    "by module": {"module": ".*", "category": LightningCAMWarning},
}


@pytest.fixture(params=["by class"])
def filtered(request: pytest.FixtureRequest) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", **FILTERS[request.param])
        yield


class NoSink:
    def write(self, page: Any) -> None:
        raise OSError("full")


class Cut(Net):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if self.global_step == 7:
            raise KeyError("the user's own")
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("filtered", FILTERS, indirect=True)
@pytest.mark.usefixtures("filtered")
def test_a_check_that_fails_stops_nothing(tmp_path: Path, printed: list[str]) -> None:
    run = watched(tmp_path, CAMCallback(probe(), trials=(), layer="body.0", every_n_train_steps=2), moody(good_calls=2))

    assert run.global_step == 12
    assert "a check failed, training goes on" in printed[0]
    assert "switched off for this fit, training goes on" in printed[1]
    printed.clear()


@pytest.mark.usefixtures("filtered")
def test_the_users_own_exception_is_the_one_that_comes_out(tmp_path: Path, printed: list[str]) -> None:
    with pytest.raises(KeyError, match="the user's own"):
        watched(tmp_path, CAMCallback(probe(), trials=(), sinks=[NoSink()]), Cut())

    assert "pictures could not be kept" in printed[0]
    printed.clear()


@pytest.mark.usefixtures("filtered")
def test_a_probe_in_false_colours_is_drawn(tmp_path: Path, printed: list[str]) -> None:
    images, targets = pictures(80).tensors
    callback = CAMCallback(trials=())

    run = trainer(tmp_path, callback)
    run.fit(Net(), loader(), DataLoader(TensorDataset(images * 9 - 4, targets), 4))

    assert run.global_step == 12
    assert len(callback.history) > 1
    assert "false colours" in printed[0]
    printed.clear()


@pytest.mark.usefixtures("filtered")
def test_an_alarm_that_only_warns_does_not_stop(tmp_path: Path, printed: list[str]) -> None:
    callback = CAMCallback(framed_probe(), trials=BORDER, every_n_epochs=10, sinks=[])
    run = trainer(tmp_path, callback, max_epochs=20)

    run.fit(Framed(), DataLoader(TensorDataset(*framed(128, seed=0)), 8))

    assert run.current_epoch == 20
    assert "FAIL" in printed[0]
    printed.clear()
