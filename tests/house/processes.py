"""Processes that begin with everything imported: a fork of one takes a fraction of starting anew."""

import atexit
import multiprocessing
import os
import runpy
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

START = multiprocessing.get_context("forkserver")
# Not the tests' own modules: Python before 3.13 has not their path there (gh-117378).
START.set_forkserver_preload(["lightning_cam", "pytorch_lightning", "lightning.pytorch", "torch.utils.tensorboard"])


def exit_code(target: Callable[..., None], *given: object, seconds: float = 60) -> int | None:
    """Runs a function to its end in a child; below 0 it is a signal, None a child that hangs."""
    child = START.Process(target=target, args=given)
    child.start()
    child.join(seconds)
    code = child.exitcode
    child.kill()
    child.join()
    return code


def printed_by(script: Path, folder: Path, *arguments: str, **environment: str) -> str:
    """What ``python -W ignore script arguments`` prints in ``folder``."""
    output = folder / "printed.txt"
    code = exit_code(_run_as_main, script, folder, arguments, environment, output, seconds=300)
    printed = output.read_text()
    assert code == 0, printed
    return printed


@contextmanager
def suppress_good_exit() -> Iterator[None]:
    """``sys.exit(0)`` is an ordinary end."""
    try:
        yield
    except SystemExit as end:
        if end.code:
            raise


def _run_as_main(
    script: Path, folder: Path, arguments: tuple[str, ...], environment: dict[str, str], output: Path
) -> None:
    os.chdir(folder)
    os.environ |= environment
    sys.argv[:] = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    warnings.simplefilter("ignore")
    with output.open("w") as file:
        sys.stdout = sys.stderr = file
        os.dup2(file.fileno(), 1)  # for what is not Python's
        try:
            with suppress_good_exit():
                runpy.run_path(str(script), run_name="__main__")
            atexit._run_exitfuncs()  # which a child of multiprocessing does not do
        except BaseException:
            traceback.print_exc()
            file.flush()
            os._exit(1)
        file.flush()
        os._exit(0)
