"""The promise for models that do something in their forward: with the callback they end the same, bit for bit.

`test_untouched_controls` shows which of them notice even a careful forward pass.
"""

from pathlib import Path

import pytest
import torch

from house import models
from house.models import Compilations
from house.twins import Net, Twin, alone, differences, ours, trained
from house.unruly import COMPILED, MODELS

pytestmark = pytest.mark.filterwarnings("ignore:lightning_cam. (pictures of|every map)")


@pytest.mark.parametrize("model", MODELS)
def test_a_training_ends_bit_for_bit_the_same(model: str, tmp_path: Path) -> None:
    twin = MODELS[model]
    callback = ours(every_n_train_steps=1)

    assert differences(alone(twin), trained(tmp_path, [callback], twin)) == set()
    assert len(callback.history) >= 10


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad", "ignore:lightning_cam. ")
def test_a_model_that_cannot_be_looked_at_is_trained_all_the_same(tmp_path: Path) -> None:
    """Reentrant checkpoints hide the layer from autograd; every check fails."""
    twin = Twin(lambda: Net(models.ReentrantCheckpoint))
    callback = ours(every_n_train_steps=1, on_error="warn", layer="body.stage")

    assert differences(trained(tmp_path, twin=twin), trained(tmp_path, [callback], twin)) == set()
    assert callback.history == ()


@pytest.mark.slow
@pytest.mark.parametrize("how", COMPILED)
def test_a_compiled_model_is_trained_the_same_and_compiled_as_often(
    how: str, compiler: Compilations, tmp_path: Path
) -> None:
    twin = COMPILED[how](compiler)
    without = trained(tmp_path, twin=twin)
    n_compilations = compiler.count
    torch.compiler.reset()

    callback = ours(every_n_train_steps=1)
    with_callback = trained(tmp_path, [callback], twin)

    assert differences(without, with_callback) == set()
    assert compiler.count == 2 * n_compilations > 0
    assert len(callback.history) >= 3
