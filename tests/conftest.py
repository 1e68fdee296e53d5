"""Fixtures for every test: what a test changes outside itself makes it fail."""

import importlib.util
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch.nn.modules import module
from torch.utils.hooks import RemovableHandle

from house.models import Compilations
from lightning_cam.training import (  # here, since Lightning writes to the environment when it is imported
    failures,
    rhythm,
)

# Networks of a few hundred weights are no faster on more threads, and workers share the cores. For children as well.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

collect_ignore = ["two_processes"]  # scripts with a process of their own

# By pytest, WandbLogger, wandb and torch's compiler.
CHANGED_BY_OTHERS = {"PYTEST_CURRENT_TEST", "WANDB_MODE", "WANDB_SERVICE", "TORCHINDUCTOR_CACHE_DIR"}
# pytest-timeout, and torch for good once a loader with workers has run.
SIGNALS_OF_OTHERS = {signal.SIGALRM, signal.SIGCHLD}
THREADS_OF_OTHERS = ("Mlflow",)  # pools that wait for work


@pytest.hookimpl(optionalhook=True)  # the plugin may be missing, as on a machine that `gpu.sh` runs on
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """No workers for a file or two, which are done before workers have started; pytest-xdist's own number for more."""
    files = [Path(name.split("::")[0]).is_file() for name in config.args]
    return 0 if len(files) <= 2 and all(files) else None


# Begun first, so that at the end no worker is left alone with one of them.
LONG = {
    "test_layer_coverage.py", "test_statistics_simulation.py", "test_two_processes.py", "test_untouched.py",
    "test_untouched_two_processes.py", "test_examples.py", "test_demo.py", "test_faults_trainer.py",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)  # otherwise as pytest-randomly has shuffled them


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    """What a test draws does not depend on the tests before it: their order is random."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def printed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was printed since a filter has made an error of it, as pytest's own does here: no test leaves it unread."""
    texts: list[str] = []
    monkeypatch.setattr(failures, "print_instead", texts.append)
    yield texts
    assert not texts, texts


@pytest.fixture
def compiler() -> Iterator[Compilations]:
    """A backend for `torch.compile`; nothing compiled stays behind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own, about itself
        torch.compiler.reset()
        yield Compilations()
        torch.compiler.reset()


# ---- what a test may not leave behind --------------------------------------------------------------------------------


def switches() -> dict[str, Any]:
    """Everything of the process that a test may use, and has to put back."""
    return {
        **{f"${key}": value for key, value in os.environ.items() if key not in CHANGED_BY_OTHERS},
        "working directory": str(Path.cwd()),
        "files in the working directory": {path.name for path in Path().iterdir() if path.name[0] != "."},
        "search path": sys.path[:],
        "warning filters": [entry for entry in warnings.filters if _is_for_all(entry)],
        **{repr(number): signal.getsignal(number) for number in signal.valid_signals() - SIGNALS_OF_OTHERS},
        "limits of Pillow": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES),
        "errors of numpy": np.geterr(),
        "hooks on every module": {k: dict(v) for k, v in vars(module).items() if k[:8] == "_global_" and v},
        **switches_of_torch(),
    }


def _is_for_all(entry: Any) -> bool:
    """Whether a filter is for warnings of others too; what a package says of its own when it is imported is not."""
    _, _, category, of_module, _ = entry
    return category.__module__ == "builtins" and of_module is None


def switches_of_torch() -> dict[str, Any]:
    """Its modes, defaults and backends."""
    return {
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()),
        "defaults": (torch.get_default_dtype(), torch.get_default_device()),
        "determinism": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic),
        "backends": (torch.backends.cudnn.benchmark, torch.backends.mha.get_fastpath_enabled()),
        "threads": torch.get_num_threads(),
    }


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine skips no check; `test_overhead` has a clock of its own."""
    monkeypatch.setattr(rhythm, "ALWAYS_SPARED", float("inf"))
    monkeypatch.setattr(rhythm, "MOST_OF_A_SHORT_FIT", float("inf"))


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """Files, environment, threads, hooks, signal handlers and global switches are as the test found them."""
    environment, threads, before = dict(os.environ), set(threading.enumerate()), switches()
    yield
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:  # the next test's logger would go on in it
        wandb.finish()
    after = switches()
    os.environ.clear()
    os.environ.update(environment)
    changed = [what for what in before.keys() | after.keys() if before.get(what) != after.get(what)]
    assert not changed, "\n".join(f"{what} was {before.get(what)}, is {after.get(what)}" for what in changed)
    left = [thread.name for thread in set(threading.enumerate()) - threads if _goes_on(thread)]
    assert not left, f"threads left running: {left}"


def _goes_on(thread: threading.Thread) -> bool:
    """Whether it would hold up the interpreter, or is our own."""
    if thread.name.startswith("lightning_cam"):
        thread.join(2)  # it has been told to stop
    if thread.name.startswith(THREADS_OF_OTHERS):
        return False
    return thread.is_alive() and (not thread.daemon or thread.name.startswith("lightning_cam"))


HOUSE = str(Path(importlib.util.find_spec("lightning_cam").origin).parent)


@pytest.fixture(scope="session", autouse=True)
def _hooks() -> Iterator[list[tuple[Any, int]]]:
    """Hooks that the package registers, while there are any: the place in which they are kept, and their number."""
    registered: list[tuple[Any, int]] = []
    register = RemovableHandle.__init__

    def noting(self: RemovableHandle, kept: Any, **options: Any) -> None:
        register(self, kept, **options)
        through, caller = sys._getframe(1).f_code, sys._getframe(2).f_code
        if through.co_filename == module.__file__ and caller.co_filename.startswith(HOUSE):
            registered.append((kept, self.id))

    RemovableHandle.__init__ = noting  # the one door that every hook goes through
    yield registered
    RemovableHandle.__init__ = register


@pytest.fixture(autouse=True)
def _no_hooks(_hooks: list[tuple[Any, int]]) -> Iterator[None]:
    """The package leaves no hook behind, on no model, not even on one that a test has thrown away."""
    yield
    left = [kept[number] for kept, number in _hooks if number in kept]
    _hooks.clear()
    assert not left, f"hooks left behind: {left}"
