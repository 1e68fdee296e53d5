"""``verdict.json``: a verdict with what it is worth, and the versions that made it."""

import importlib.metadata
import json
import time
from typing import Any

import torch

from ..verdict import Verdict
from .page import Page

VERDICT = "verdict.json"
MOST_BYTES_OF_IMAGES = 5_000_000  # in a verdict: half of what is read back. 128 images with ten cues take 30 kB


def verdict_file(page: Page) -> dict[str, bytes]:
    """The file by its name; none without a verdict."""
    return {} if page.verdict is None else {VERDICT: _text(page, page.verdict).encode()}


def _entry(page: Page, verdict: Verdict) -> dict[str, Any]:
    """A verdict with what it is worth: of which run and probe, made when and with what, whether the fit had ended."""
    return {
        "final": page.is_final,
        "run": page.run.name,
        "probe": page.probe,
        "written": time.time(),
        "versions": versions(),
        "step": page.step,
        "epoch": page.epoch,
        **verdict.as_json(),
        "tested": list(verdict.tested),
        "untested": list(verdict.untested),
    }


def _text(page: Page, verdict: Verdict) -> str:
    """The images come last, in one line, so that a person can read the rest; they stay out where they are too many."""
    text = json.dumps(_entry(page, verdict), indent=1, allow_nan=False)
    images = "" if page.images is None else json.dumps(page.images.as_json(), allow_nan=False)
    return f'{text[:-2]},\n "images": {images}\n}}' if 0 < len(images) < MOST_BYTES_OF_IMAGES else text


def versions() -> dict[str, str]:
    """What a run was made with."""
    return {"lightning_cam": _installed_version(), "torch": str(torch.__version__)}


def _installed_version() -> str:
    try:
        return importlib.metadata.version("lightning-cam")
    except importlib.metadata.PackageNotFoundError:  # run from a folder of sources
        return "unknown"
