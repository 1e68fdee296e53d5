"""The fixtures that watch every test: what a test leaves behind makes it fail, and nothing else does."""

import re
import threading
from pathlib import Path

import pytest

import lightning_cam  # noqa: F401 - what it imports belongs to no test

pytest_plugins = ["pytester"]

# What a careless test does, what makes up for it afterwards, and what is said.
LEAKS = {
    "environment": ("os.environ['LEFT'] = '1'", "", "$LEFT was None, is 1"),
    "file": ("Path('left.txt').touch()", "", "files in the working directory was"),
    "directory": ("os.mkdir('down'); os.chdir('down')", "os.chdir('..'); os.rmdir('down')", "working directory was"),
    "thread": ("threading.Thread(target=GO.wait, args=(9,), name='late').start()", "GO.set()", "['late']"),
    "our thread": (
        "threading.Thread(target=GO.wait, args=(9,), name='lightning_cam x', daemon=True).start()",
        "GO.set()",
        "['lightning_cam x']",
    ),
    "signal": ("signal.signal(10, print)", "signal.signal(10, signal.SIG_DFL)", "SIGUSR1: 10> was"),
    "filter": ("warnings.simplefilter('ignore')", "", "warning filters was"),
    "dtype": ("torch.set_default_dtype(torch.float64)", "torch.set_default_dtype(torch.float32)", "defaults was"),
    "determinism": (
        "torch.use_deterministic_algorithms(True)", "torch.use_deterministic_algorithms(False)", "determinism was"
    ),
    "threads": ("N = torch.get_num_threads(); torch.set_num_threads(N + 1)", "torch.set_num_threads(N)", "threads was"),
    "gradients": ("torch.set_grad_enabled(False)", "torch.set_grad_enabled(True)", "gradients was"),
    "pillow": (
        "PIXELS, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, 7", "Image.MAX_IMAGE_PIXELS = PIXELS", "Pillow was"
    ),
    "numpy": ("OLD = np.seterr(divide='raise')", "np.seterr(**OLD)", "errors of numpy was"),
    "global hook": ("HANDLE = register_module_forward_hook(print)", "HANDLE.remove()", "hooks on every module was"),
    "our hook": ("exec(compile('nn.ReLU().register_forward_hook(print)', OURS, 'exec'))", "", "hooks left behind"),
}  # fmt: skip
CLEAN = {
    "a hook of the test's own": "nn.ReLU().register_forward_hook(print)",
    "our hook, removed": "exec(compile('nn.ReLU().register_forward_hook(print).remove()', OURS, 'exec'))",
    "nothing": "pass",
}
HEAD = """
import os, signal, threading, warnings
from pathlib import Path
import lightning_cam, numpy as np, torch
from PIL import Image
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
GO = threading.Event()
OURS = str(Path(lightning_cam.__file__).parent / "engine.py")
"""


def test_what_a_test_leaves_behind_makes_it_fail(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text())
    names = [name for leak, _, _ in LEAKS.values() for name in ("N", "PIXELS", "OLD", "HANDLE") if f"{name}" in leak]
    body = [
        f"def test_{number}():\n    global {', '.join(names)}\n    {leak}\n"
        for number, leak in enumerate([*(leak for leak, _, _ in LEAKS.values()), *CLEAN.values()])
    ]
    undo = "\n    ".join(["pass", *(undo for _, undo, _ in LEAKS.values() if undo)])
    pytester.makepyfile(f"{HEAD}\n{''.join(body)}\ndef teardown_module():\n    {undo}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LEFT", raising=False)
        result = pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", "-W", "error")
    for thread in threading.enumerate():
        if thread.name in ("late", "lightning_cam x"):
            thread.join()

    result.assert_outcomes(passed=len(LEAKS) + len(CLEAN), errors=len(LEAKS))
    said = result.stdout.str()
    assert [what for _, _, what in LEAKS.values() if what not in said] == []


def test_no_test_module_imports_another() -> None:
    """What two of them need lives in `house`, so that each can be moved, renamed and read alone.

    The benchmark of oracles reads those of the tests: it measures what they are held to.
    """
    texts = {path.name: path.read_text() for path in Path(__file__).parent.rglob("*.py")} | {"oracles.py": ""}
    importing = {name for name, text in texts.items() if re.search(r"^ *(from|import) test_", text, re.MULTILINE)}

    assert importing == set()


def test_every_fault_of_the_list_has_the_tests_that_it_names() -> None:
    here = Path(__file__).parent
    named = re.findall(r"`(\w+\.py)::(test_\w+)`", (here / "faults.md").read_text())

    assert len(named) > 100
    assert [(file, test) for file, test in named if f"def {test}(" not in (here / file).read_text()] == []
