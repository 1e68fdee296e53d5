"""What a fit in processes of its own, as with ``ddp_spawn``, leaves for the process that started them."""

import json
import os
import tempfile
import uuid
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..examination import Reading
from ..sinks.reading_back import verdict_of
from ..verdict import Verdict

LAUNCHER = "_MultiProcessingLauncher"  # Lightning's, of ddp_spawn, ddp_fork and ddp_notebook


class Message:
    """A file from the first of the processes to the one that made this object. Lightning brings no callback back.

    Its name is nobody else's, and it is removed when it was read, or when its receiver goes.
    """

    def __init__(self) -> None:
        self._receiver = os.getpid()
        self._path = Path(tempfile.gettempdir()) / f"lightning_cam_{uuid.uuid4().hex}.json"
        weakref.finalize(self, _remove, self._path, self._receiver)

    def __deepcopy__(self, _: dict[int, Any]) -> "Message":
        return Message()

    def send(self, trainer: Any, readings: Sequence[Reading], verdict: Verdict | None) -> None:
        """Writes what there is, in the first process; nothing where the training runs in the receiver's own process."""
        launchers = {kind.__name__ for kind in type(getattr(trainer.strategy, "launcher", None)).__mro__}
        if os.getpid() == self._receiver or LAUNCHER not in launchers or not trainer.is_global_zero:
            return
        content = {"history": [reading.as_json() for reading in readings], "verdict": verdict and verdict.as_json()}
        with suppress(OSError):  # a full disk
            self._path.unlink(missing_ok=True)
            number = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "w") as file:
                json.dump(content, file)

    def receive(self) -> tuple[list[Reading], Verdict | None] | None:
        """Readings and verdict of the last fit in other processes, once; None where there is nothing new."""
        if os.getpid() != self._receiver or not self._path.exists():
            return None
        try:
            content = json.loads(self._path.read_text())
            verdict = content["verdict"] and verdict_of(content["verdict"])
            return [Reading.from_json(entry) for entry in content["history"]], verdict
        except (OSError, ValueError, KeyError, TypeError):  # a process that was killed left half of it
            return None
        finally:
            self._path.unlink(missing_ok=True)


def _remove(path: Path, receiver: int) -> None:
    if os.getpid() == receiver:  # and not in a fork
        path.unlink(missing_ok=True)
