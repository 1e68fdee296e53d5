"""The promise: a run with the callback ends in the same state, bit for bit, as the run without it.

Here for the ways to train, in `test_untouched_models` for what a model may do in its forward. `test_untouched_controls`
shows that these tests would notice.
"""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import callbacks

from house.twins import Twin, alone, differences, ours, trained
from house.ways import CONFIGURATIONS
from lightning_cam import CAMCallback
from lightning_cam.intervention import STANDARD

# Many checks a second; their pictures are not the subject here.
pytestmark = pytest.mark.filterwarnings("ignore:lightning_cam. (pictures of|every map)")

TRIGGERS: dict[str, dict[str, Any]] = {
    "default rhythm": {},
    "every step": {"every_n_train_steps": 1},
    "every second epoch": {"every_n_epochs": 2},
}


WITH_EVERY_TRIGGER = ("plain", "accumulation", "validation inside the epoch")


def triggered() -> list[Any]:
    """Every configuration with every trigger; most are slow, since a check at each step finds what others do."""
    return [
        pytest.param(
            configuration,
            trigger,
            id=f"{configuration}, {trigger}",
            marks=[] if trigger == "every step" or configuration in WITH_EVERY_TRIGGER else pytest.mark.slow,
        )
        for configuration, trigger in itertools.product(CONFIGURATIONS, TRIGGERS)
    ]


@pytest.fixture
def _deterministic(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lightning leaves torch and the environment as ``deterministic=True`` has set them."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_deterministic")
@pytest.mark.filterwarnings("ignore:You requested to overfit but enabled train")
@pytest.mark.parametrize(("configuration", "trigger"), triggered())
def test_a_training_ends_bit_for_bit_the_same(configuration: str, trigger: str, tmp_path: Path) -> None:
    twin, callback = CONFIGURATIONS[configuration], ours(**TRIGGERS[trigger])

    assert differences(alone(twin), trained(tmp_path, [callback], twin)) == set()
    assert len(callback.history) >= 2


def test_all_trials_of_a_drawn_probe_change_nothing(tmp_path: Path) -> None:
    callback = CAMCallback(on_error="raise")

    with_callback = trained(tmp_path, [callback])

    assert differences(alone(CONFIGURATIONS["plain"]), with_callback) == set()
    assert callback.trials == STANDARD
    assert callback.probe is not None
    assert len(callback.probe) == 30


def test_two_callbacks_change_nothing(tmp_path: Path) -> None:
    both = [ours(name="first"), ours(name="second", every_n_train_steps=2)]

    with_both = trained(tmp_path, both)

    assert differences(alone(CONFIGURATIONS["plain"]), with_both) <= {"metrics"}  # their own keys
    assert all(len(callback.history) > 2 for callback in both)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_resumed_training_ends_the_same(tmp_path: Path) -> None:
    saving = callbacks.ModelCheckpoint(tmp_path, filename="half")
    trained(tmp_path, [ours()], Twin(last=lambda: [saving], options={"max_epochs": 1, "enable_checkpointing": True}))
    resumed, callback = Twin(checkpoint=tmp_path / "half.ckpt"), ours(every_n_train_steps=1)

    assert differences(trained(tmp_path, [], resumed), trained(tmp_path, [callback], resumed)) == set()
    assert [reading.step for reading in callback.history][-3:] == [7, 8, 9]
