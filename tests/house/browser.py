"""Chromium without a window: a page as it has it, and what its console says."""

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


def opened(file: Path, address: str = "", *options: str) -> tuple[str, list[str]]:
    """The page as Chromium has it after a while, and what its console says."""
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={file.parent / 'chromium'}",
        "--enable-logging=stderr", "--virtual-time-budget=3000", *options, "--dump-dom", f"file://{file}{address}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
