"""Each recipe with and without the callback: it sees what the model sees or says what is missing, and touches nothing.

`FAST` names the recipes of the fast tests, one of each kind.
"""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from lightning_cam import CAMCallback
from lightning_cam.verdict import INCONCLUSIVE
from realism.further import FURTHER
from realism.modules import MODULES
from realism.parts import Recipe
from realism.recipes import RECIPES

ALL = RECIPES | FURTHER | MODULES

FAST = (
    "on_after_batch_transfer",
    "bytes, divided in the step",
    "a processor in collate_fn",
    "a step that is no map of the channels",
    "constants set when training starts",
    "a teacher first",
    "a body and a head, no forward, no validation",
    "forward takes the dict",
    "images and a table",
    "a sigmoid (N, 1)",
    "features and logits",
    "random transforms in every hook",
    "items of None",
    "streams",
)
OTHERS = ("cam_report/kept.txt", "notes.txt", "lightning_logs/version_0/other.csv")


def fitted(recipe: Recipe, root: Path, callbacks: list[Any]) -> tuple[pl.Trainer, Any]:
    torch.manual_seed(0)
    module = recipe.module()
    options: dict[str, Any] = {
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "log_every_n_steps": 1,
    }
    trainer = pl.Trainer(default_root_dir=root, callbacks=callbacks, **{**options, **recipe.trainer})
    training, validation = recipe.loaders()
    if recipe.datamodule is not None:
        trainer.fit(module, datamodule=recipe.datamodule(training, validation))
    else:
        trainer.fit(module, training, validation)
    return trainer, module


def state(module: Any) -> dict[str, bytes]:
    return {
        name: tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        for name, tensor in module.state_dict().items()
    }


def accuracy(recipe: Recipe, trainer: Any, module: Any, callback: CAMCallback) -> float:
    """The user's own, as logged or on the same pictures."""
    if recipe.own is None:
        metrics = trainer.callback_metrics  # of these two keys the first is unknown to the callback
        return float(metrics["val_right" if "val_right" in metrics else "val_acc"])
    assert callback.probe is not None
    with torch.no_grad():
        scores = recipe.own(module.eval(), callback.probe.images)
    return float((scores.argmax(1) == callback.probe.targets).float().mean())


@pytest.mark.filterwarnings("ignore:Your `val_dataloader`'s sampler has shuffling enabled")
@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in ALL])
def test_the_probe_is_what_the_model_sees_or_it_is_said(name: str, tmp_path: Path) -> None:
    recipe = ALL[name]
    for other in OTHERS:
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).write_text("of somebody else")
    callback = CAMCallback(trials=("cast",), n_images=1, every_n_epochs=1, verbose=False, **recipe.callback)

    _, alone = fitted(recipe, tmp_path / "alone", [])
    randomness = torch.get_rng_state()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer, watched = fitted(recipe, tmp_path, [callback])

    assert state(watched) == state(alone)
    assert torch.equal(torch.get_rng_state(), randomness)
    assert all((tmp_path / other).read_text() == "of somebody else" for other in OTHERS)
    assert not any(module._forward_pre_hooks for module in watched.modules())
    words = "\n".join([str(callback.verdict), *(str(each.message) for each in caught)])
    if recipe.sentence:
        assert re.search(recipe.sentence, words)
        assert callback.verdict is None or callback.verdict.outcome == INCONCLUSIVE
    else:
        own = accuracy(recipe, trainer, watched, callback)
        assert "check failed" not in words
        assert callback.history[-1].scalars["cam/probe_accuracy"] == pytest.approx(own, abs=0.02)
        assert own > 0.6  # else it would say nothing
        assert "lightning_cam: there will be no verdict" not in words
