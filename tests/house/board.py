"""A real TensorBoard with our tab, in a process of its own: `python board.py LOGDIR [FLAG ...]` prints its address."""

import base64
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from tensorboard import default, program
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import Request

from lightning_cam.tensorboard_tab.plugin import AttentionLoader

ROOT = Path(__file__).parents[2]


class Driver(base_plugin.TBPlugin):  # type: ignore[misc]  # TensorBoard has no types
    """A page of TensorBoard's own origin that has TensorBoard in a frame and runs the code in its address."""

    plugin_name = "driver"

    def is_active(self) -> bool:
        return False

    def get_plugin_apps(self) -> dict[str, Callable[..., Any]]:
        return {"/page": Request.application(_page), "/end": Request.application(_end)}


def _page(request: Request) -> Any:
    code, width = request.args["code"], int(request.args["width"])
    html = f'<body><iframe src="/#lightning_cam" width="{width}" height="900"></iframe><script>{code}</script></body>'
    digest = base64.b64encode(sha256(code.encode()).digest()).decode()
    return http_util.Respond(request, html, "text/html", csp_scripts_sha256s=[digest])


def _end(request: Request) -> Any:
    """TensorBoard goes away in the middle of an answer."""
    os._exit(0)


@contextmanager
def served(folder: Path, *flags: str) -> Iterator[str]:
    """The address of a TensorBoard on ``folder``."""
    command = [sys.executable, "-W", "ignore", __file__, str(folder), *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as board:
        assert board.stdout is not None
        try:
            yield board.stdout.readline().strip().rstrip("/")
        finally:
            board.terminate()


def main(folder: str, *flags: str) -> None:
    board = program.TensorBoard(plugins=[*default.get_static_plugins(), AttentionLoader, Driver])
    board.configure(argv=[None, "--logdir", folder, "--port", "0", "--reload_interval", "1", *flags])
    print(board.launch(), flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
