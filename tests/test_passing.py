"""What a step of the user's own copies or saves has nothing of the hooks that watch it."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lightning_cam.attribution.arrivals import Arrivals
from lightning_cam.attribution.chains import Passages
from lightning_cam.attribution.overheard import Listener, networks_of

WATCHERS = {
    "arrivals": Arrivals,
    "passages": Passages,
    "listener": lambda model: Listener(model, networks_of(model, None)),
}


@pytest.mark.parametrize("watch", WATCHERS.values(), ids=WATCHERS)
def test_a_step_may_copy_and_save_its_network_while_it_is_watched(watch: Callable[[nn.Module], Any]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten())
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    watcher = watch(model)
    expected = model(images)
    twin, file = copy.deepcopy(model), io.BytesIO()
    torch.save(model, file)
    watcher.close()

    assert b"lightning_cam" not in file.getvalue()
    assert torch.equal(twin(images), expected)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(images), expected)
