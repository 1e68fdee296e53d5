"""Chromium without a window: a page as it has it, and what its console says."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TELEPHONE = 390  # pixels, as wide as most
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


def opened(file: Path, address: str = "", *options: str) -> tuple[str, list[str]]:
    """The page as Chromium has it after a while, and what its console says."""
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={file.parent / 'chromium'}",
        "--enable-logging=stderr", "--virtual-time-budget=3000", *options, "--dump-dom", f"file://{file}{address}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def width_on_a_telephone(file: Path) -> int:
    """How wide a page is in a window of `TELEPHONE`."""
    return int(on_a_telephone(file, "page.documentElement.scrollWidth"))


def on_a_telephone(file: Path, expression: str) -> Any:
    """What JavaScript says of the document ``page`` in a window of `TELEPHONE`. Chromium's own have 500 at least."""
    frame = file.with_name("frame.html")
    code = f"onload = () => {{ const page = frames[0].document; document.title = JSON.stringify({expression}) }}"
    frame.write_text(f'<iframe src="{file.name}" width="{TELEPHONE}" height="900"></iframe><script>{code}</script>')
    dom, _ = opened(frame, "", "--allow-file-access-from-files")
    return json.loads(re.findall(r"<title>(.+?)</title>", dom)[0])


KEYS = {"ArrowLeft": 37, "Enter": 13}


class Browser:
    """A Chromium that goes on while others work, by its own protocol: messages of JSON that end in a zero."""

    def __init__(self, reading: Any, writing: Any) -> None:
        self._reading, self._writing = reading, writing
        self._n_asked = 0
        self._session: str | None = None

    def ask(self, method: str, **parameters: Any) -> Any:
        """Sends a message and waits for its answer; what happens meanwhile is left out."""
        self._n_asked += 1
        of = {} if self._session is None else {"sessionId": self._session}
        message = {"id": self._n_asked, "method": method, "params": parameters, **of}
        self._writing.write(json.dumps(message).encode() + b"\0")
        while (answer := self._answer()).get("id") != self._n_asked:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _answer(self) -> dict[str, Any]:
        letters = iter(lambda: self._reading.read(1), b"\0")
        answer: dict[str, Any] = json.loads(b"".join(letters))
        return answer

    def open(self, address: str, *, first: str = "") -> None:
        """In a tab of its own, where the next questions go. The code ``first`` runs first in each frame."""
        tab = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        self.ask("Page.enable")
        self.ask("Page.addScriptToEvaluateOnNewDocument", source=first)
        self.ask("Page.navigate", url=address)

    def run(self, code: str) -> Any:
        """The value of an expression; None where it cannot be had."""
        return self.ask("Runtime.evaluate", expression=code, returnByValue=True)["result"].get("value")

    def until(self, code: str, seconds: float = 30) -> Any:
        """The value of an expression as soon as it is one that counts as true."""
        end = time.monotonic() + seconds
        while not (value := self.run(code)):
            assert time.monotonic() < end, code
            time.sleep(0.05)
        return value

    def press(self, key: str) -> None:
        """A key, where the focus is."""
        for kind in ("keyDown", "keyUp"):
            letter = {"text": "\r"} if key == "Enter" else {}  # without it no button is pressed
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=KEYS[key], **letter)


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A Chromium that keeps its files in ``folder``."""
    there, here = os.pipe(), os.pipe()
    options = f"--headless --no-sandbox --disable-gpu --remote-debugging-pipe --user-data-dir='{folder}' about:blank"
    command = f"exec '{CHROMIUM}' {options} 3<&{there[0]} 4>&{here[1]}"
    with (
        subprocess.Popen(["bash", "-c", command], pass_fds=(there[0], here[1]), stderr=subprocess.DEVNULL) as chromium,
        os.fdopen(here[0], "rb") as reading,
        os.fdopen(there[1], "wb", buffering=0) as writing,
    ):
        os.close(there[0])
        os.close(here[1])
        try:
            yield Browser(reading, writing)
        finally:
            chromium.terminate()
