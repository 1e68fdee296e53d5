"""Two processes train one model: one of them looks, both log the same numbers, and neither waits for the other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl

sys.path.insert(0, {tests!r})
warnings.simplefilter("ignore")
from test_callback import Net, loader, moody, probe
from lightning_cam import CAMCallback

if __name__ == "__main__":
    callback = CAMCallback(probe(), every_n_train_steps=2, layer="body.0")
    stopping = pl.callbacks.EarlyStopping("cam/attention_entropy", patience=99)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", callbacks=[callback, stopping],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=Path({folder!r}), log_every_n_steps=1,
    )
    trainer.fit(moody(good_calls=1) if {failing} else Net(), loader(), loader(8))
    entropies = [round(reading.scalars["cam/attention_entropy"], 6) for reading in callback.history]
    steps = [reading.step for reading in callback.history]
    Path({folder!r}, f"rank{{trainer.global_rank}}").write_text(f"{{trainer.global_step}} {{steps}} {{entropies}}")
    trainer.strategy.barrier()  # rank 0 ends the other process when it is done
"""  # fmt: skip

STOPPED = """
import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, {tests!r})
warnings.simplefilter("ignore")
from lightning_cam import CAMCallback
from shortcut import BORDER, Framed, framed, framed_probe

if __name__ == "__main__":
    told = []
    callback = CAMCallback(framed_probe(), trials=BORDER, every_n_epochs=1, on_shortcut={then})
    trainer = pl.Trainer(
        max_epochs=40, accelerator="cpu", devices=2, strategy="ddp", callbacks=[callback],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=Path({folder!r}),
    )
    pl.seed_everything(0)
    trainer.fit(Framed(), DataLoader(TensorDataset(*framed(128, seed=0)), 8))
    said = [callback.verdict.outcome, round(callback.verdict.score, 6)]
    Path({folder!r}, f"rank{{trainer.global_rank}}").write_text(f"{{trainer.current_epoch}} {{len(told)}} {{said}}")
    trainer.strategy.barrier()
"""


def ranks(folder: Path, text: str = SCRIPT, **given: object) -> dict[str, str]:
    """What each process says at the end of its training, by its rank."""
    script = folder / "train.py"
    script.write_text(text.format(tests=str(Path(__file__).parent), folder=str(folder), **given))
    done = subprocess.run(
        [sys.executable, str(script)], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {path.name[-1]: path.read_text() for path in folder.glob("rank[01]")}  # they may share lines of output


@pytest.mark.slow
def test_both_ranks_read_the_same_numbers_and_can_monitor_them(tmp_path: Path) -> None:
    said = ranks(tmp_path, failing=False)

    assert set(said) == {"0", "1"}
    assert said["0"] == said["1"]
    assert said["0"].startswith("6 [0, 1, 3, 5]")


@pytest.mark.slow
def test_a_check_that_fails_on_rank_0_hangs_nobody(tmp_path: Path) -> None:
    said = ranks(tmp_path, failing=True)

    assert set(said) == {"0", "1"}
    assert said["0"] == said["1"]
    assert said["0"].startswith("6 [0] ")


@pytest.mark.slow
def test_both_ranks_stop_at_the_alarm_with_one_verdict(tmp_path: Path) -> None:
    said = ranks(tmp_path, STOPPED, then="'stop'")

    assert set(said) == {"0", "1"}
    assert said["0"] == said["1"]
    assert re.match(r"\d+ 0 \['FAIL', 0\.[5-9]", said["0"])
    assert int(said["0"].split()[0]) < 40


@pytest.mark.slow
def test_a_function_is_told_on_rank_0_alone(tmp_path: Path) -> None:
    said = ranks(tmp_path, STOPPED, then="told.append")

    assert said["0"].startswith("40 1 ['FAIL'")
    assert said["1"].startswith("40 0 ['FAIL'")
