"""How large `report.html` is at 64 photographs and 100 checks, and how long Chromium takes until it shows the verdict.

``python tests/benchmarks/report_page.py PHOTOS [--probes 64] [--checks 100]``: ``PHOTOS`` is a folder or a zip of
JPEGs; without it the pictures are noise, which takes more room than any photograph.
"""

import argparse
import io
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from house.browser import CHROMIUM
from lightning_cam import Probe, front
from lightning_cam.sinks import Page
from lightning_cam.sinks.report_page import RunPage
from lightning_cam.sinks.snapshot import MOST_CELLS, Portraits, Snapshot, confused

SIDE, CLASSES = 256, ("fin", "sprout", "leaf", "shell")
OBSERVER = (
    "<script>new PerformanceObserver((list) => { for (const entry of list.getEntries()) "
    "console.log('PAINT', entry.name, entry.startTime); }).observe({ type: 'paint', buffered: true });</script>"
)


def photographs(path: Path | None, n: int) -> Tensor:
    """``(n, 3, SIDE, SIDE)`` in [0, 1]."""
    if path is None:
        return torch.rand(n, 3, SIDE, SIDE)
    if path.suffix == ".zip":
        archive = zipfile.ZipFile(path)
        files = [archive.read(name) for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg"))]
    else:
        files = [file.read_bytes() for file in sorted(path.rglob("*.jp*g"))]
    pictures = [Image.open(io.BytesIO(data)).convert("RGB").resize((SIDE, SIDE)) for data in files[:n]]
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2) / 255


def whole_page(images: Tensor, n_checks: int) -> tuple[str, float]:
    """The page of a run that is wrong on three of four pictures, and the seconds that its last check took."""
    n, everything = len(images), torch.arange(len(images))
    masks = torch.zeros(n, SIDE, SIDE, dtype=torch.bool)
    masks[:, SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4] = True
    targets = everything % len(CLASSES)
    shown = Portraits.of(Probe(images, targets, masks=masks, classes=CLASSES), everything, everything)
    run, html, seconds = RunPage(), "", 0.0
    for step in range(n_checks):
        start = time.perf_counter()
        chances, cells = torch.rand(n, len(CLASSES)).softmax(1), (n, MOST_CELLS, MOST_CELLS)
        snapshot = Snapshot.of(
            shown, torch.rand(cells), chances, torch.rand(n), predicted_maps=torch.rand(cells),
            pairs=confused(chances, targets),
        )  # fmt: skip
        scalars = {f"cam/reliance/cue{i}{end}": 0.1234 for i in range(12) for end in ("", "_low", "_high")}
        page = Page("cam", step, step, scalars, snapshot=snapshot)
        run.add(page)
        html = run.html(page, {})
        seconds = time.perf_counter() - start
    return html, seconds


def first_paint(html: str) -> float:
    """Milliseconds from the beginning of the navigation until something can be read, by the performance API."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        file.write_text(re.sub(r'<meta http-equiv="[^>]*>', OBSERVER, html), encoding="utf-8")
        command = [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile",
            "--enable-logging=stderr", "--timeout=20000", f"--screenshot={folder}/page.png", f"file://{file}",
        ]  # fmt: skip
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stderr
    found = re.search(r"PAINT first-contentful-paint ([\d.]+)", said)
    return float(found[1]) if found else float("nan")


def main() -> None:
    """Prints one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="?", type=Path)
    parser.add_argument("--probes", type=int, default=64)
    parser.add_argument("--checks", type=int, default=100)
    options = parser.parse_args()
    torch.manual_seed(0)
    html, seconds = whole_page(photographs(options.photos, options.probes), options.checks)
    code = sum(len(front.source(name)) for name in ("page.css", "boot.js", "report.html.j2")) + len(front.script())
    print(f"code {code / 1e3:.1f} kB, page {len(html.encode()) / 1e6:.2f} MB, last check {1e3 * seconds:.0f} ms")
    if CHROMIUM:
        paints = sorted(first_paint(html) for _ in range(5))
        print(f"first contentful paint {paints[2]:.0f} ms, median of 5 ({paints[0]:.0f} to {paints[-1]:.0f})")


if __name__ == "__main__":
    main()
