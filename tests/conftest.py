"""Fixtures for every test: what a test changes outside itself makes it fail."""

import os
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

CHANGED_BY_OTHERS = {"PYTEST_CURRENT_TEST", "WANDB_MODE", "WANDB_SERVICE"}  # by pytest, WandbLogger and wandb


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    """What a test draws does not depend on the tests before it: their order is random."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """Environment, threads and torch's global switches are as the test found them."""
    environment = dict(os.environ)
    threads = set(threading.enumerate())
    grad = torch.is_grad_enabled()
    yield
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:  # the next test's logger would go on in it
        wandb.finish()
    leaked = [t.name for t in set(threading.enumerate()) - threads if t.is_alive() and not t.daemon]
    changed = {k for k in environment.keys() | os.environ.keys() if environment.get(k) != os.environ.get(k)}
    os.environ.clear()
    os.environ.update(environment)
    assert not leaked, f"threads left running: {leaked}"
    assert changed <= CHANGED_BY_OTHERS, f"environment changed: {changed}"
    assert torch.is_grad_enabled() == grad
