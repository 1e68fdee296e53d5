"""Runs of made-up checks as `report.html`, by hand, and what a browser is to do with them."""

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_cam import AuditResult, Probe
from lightning_cam.audit.findings import AuditFinding, FactSkill
from lightning_cam.sinks import Page
from lightning_cam.sinks.page import Run
from lightning_cam.sinks.report_page import RunPage
from lightning_cam.sinks.snapshot import Portraits, Snapshot, confused

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[31m"


class Elements(HTMLParser):
    """Every element of a page, and the text that a person reads without JavaScript."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._skipped = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._skipped = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._skipped = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._skipped else data


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed))


def portraits(n: int = 4, side: int = 32, classes: Sequence[str] = ("cat", "dog")) -> Portraits:
    blocks = random(n, 3, side // 8, side // 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    masks = torch.zeros(n, side, side, dtype=torch.bool)
    masks[: n - 1, side // 4 : side // 2, side // 4 :] = True
    names = [f"{classes[i % 2]}_{i}" for i in range(n)]
    everything = torch.arange(n)
    return Portraits.of(
        Probe(blocks, everything % 2, masks=masks, classes=classes, names=names), everything, everything
    )


def page(step: int, of: Portraits, cells: int = 7, **scalars: float) -> Page:
    """A check whose first half of the probes is right."""
    n = len(of.names)
    right = torch.nn.functional.one_hot(torch.arange(n) % 2, 2).float()
    probabilities = torch.where(torch.arange(n)[:, None] < n // 2, right, 1 - right) * 0.8 + 0.1
    snapshot = Snapshot.of(
        of,
        random(n, cells, cells, seed=step),
        probabilities,
        random(n, seed=step),
        predicted_maps=random(n, cells, cells, seed=step + 1000),
        pairs=confused(probabilities, torch.arange(n) % 2),
    )
    values = {f"cam/{key}": value for key, value in scalars.items()}
    return Page("cam", step, step // 4, values, snapshot=snapshot, run=Run("a run"), probe="abc")


def report(*pages: Page) -> str:
    run = RunPage()
    for each in pages:
        run.add(each)
    return run.html(pages[-1], {"torch": "2.0"})


def block(html: str, name: str) -> object:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def written(folder: Path, html: str) -> Path:
    file = folder / "report.html"
    file.write_text(html, encoding="utf-8")
    return file


def driven(html: str, code: str) -> str:
    """The page without its policy, and with a script behind it."""
    return re.sub(r'<meta http-equiv="[^>]*>', "", html).replace("</body>", f"<script>{code}</script></body>")


def audited(findings: tuple[AuditFinding, ...]) -> AuditResult:
    fact = FactSkill("format", "codec", "cat", 0.0, 0.0, 1.0)
    return AuditResult(("cat",), (7,), (7,), (), (fact,), findings, np.zeros((8, 8)), np.zeros((8, 8), bool))
