"""MLflow's own tracking server on 127.0.0.1, and reading back what it was given, with MLflow's own client."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .read_back import Shown

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # the only one that is there at once
}
SECONDS_TO_START = 120


@contextmanager
def mlflow_environment(uri: str) -> Iterator[None]:
    """MLflow is told where to write, and tells nobody else."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**QUIET, "MLFLOW_TRACKING_URI": uri}.items():
            patch.setenv(key, value)
        yield


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """The server's address; it keeps runs in a database and artifacts in ``folder``."""
    with mortal_mlflow_server(folder) as (uri, _):
        yield uri


@contextmanager
def mortal_mlflow_server(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """As `mlflow_server`, and what makes it go away: from then on connections are refused."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "artifacts")]
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "server.log").open("w") as log:
        command = [sys.executable, "-m", "mlflow", "server", *address, *kept]
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **QUIET}, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"

    def go_away() -> None:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # its workers too; asked to end, it waits for its clients
        server.wait()

    try:
        _wait_for(f"{uri}/health", server)
        with mlflow_environment(uri):
            yield uri, go_away
    finally:
        go_away()


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    begun = time.monotonic()
    while server.poll() is None and time.monotonic() < begun + SECONDS_TO_START:
        with suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError("MLflow's server did not start")


def artifact(client: Any, run_id: str, path: str) -> bytes:
    return Path(client.download_artifacts(run_id, path)).read_bytes()


def artifacts(client: Any, run_id: str, folder: str = "") -> list[str]:
    """Paths of all artifacts of a run."""
    found = client.list_artifacts(run_id, folder)
    return [path for each in found for path in (artifacts(client, run_id, each.path) if each.is_dir else [each.path])]


def series(client: Any, run_id: str) -> dict[str, list[Shown]]:
    """Every picture by its key, in the order of steps: MLflow keeps key and step in the file's name."""
    shown: dict[str, list[Shown]] = {}
    for path in Path(client.download_artifacts(run_id, "images")).glob("*.png"):
        key, _, step, *_ = path.name.split("+")
        with Image.open(path) as picture:
            shown.setdefault(key.replace("~", "/"), []).append(Shown(int(step), np.asarray(picture)))
    return {key: sorted(pictures, key=lambda picture: picture.step) for key, pictures in shown.items()}
