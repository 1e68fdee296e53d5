"""Pages for sinks, made by hand."""

import math

import numpy as np
from numpy.typing import NDArray

from lightning_cam.cues import Remedy
from lightning_cam.intervention import Reliance
from lightning_cam.sinks import Page, Tile
from lightning_cam.verdict import Finding, Verdict


def picture(seed: int, size: tuple[int, int] = (24, 40)) -> NDArray[np.uint8]:
    """Smooth, so that it survives JPEG, and different for each seed."""
    ramp = np.linspace(0, 200, size[0] * size[1], dtype=np.float64).reshape(*size, 1)
    return (ramp + np.array([seed % 50, 20, 50 - seed % 50])).astype(np.uint8)


def tile(name: str, seed: int, **values: float) -> Tile:
    bands = np.zeros((24, 40), dtype=np.uint8)
    bands[:, :20] = seed % 5
    return Tile(name, f"caption {name} {seed}", picture(seed), bands, values)


def check(step: int, *names: str, **scalars: float) -> Page:
    tiles = tuple(tile(name, step + i, background=step / 10 + i) for i, name in enumerate(names))
    return Page("cam", step, step // 4, {f"cam/{key}": value for key, value in scalars.items()}, tiles)


def last_page(step: int) -> Page:
    return Page("cam", step, 1, strip=picture(3, (60, 90)), text="## Seen\n\n| a | b |\n|---|---|\n| <i> | 2 |")


def convicted(cue: str = "border", classes: tuple[str, ...] = ("cat",)) -> Verdict:
    """A "FAIL" by hand; a second cue has too few images for an interval."""
    remedy = Remedy("blur at random", "transform = 1")
    finding = Finding(cue, "FAIL", 0.5, 0.25, 0.75, 0.001, classes, remedy, f"{cue}: loses 0.50 (at least 0.25)")
    measured = (
        Reliance(cue, 0.5, 0.25, 0.75, 0.001, dict.fromkeys(classes, (0.5, 0.01)), 64.0),
        Reliance("tone", math.nan, math.nan, math.nan, math.nan, {}, math.inf),
    )
    return Verdict("FAIL", 0.25, (finding,), measured, f"the model relies on {cue}")


def bad_news(step: int, verdict: Verdict | None = None, *, alert: bool = True) -> Page:
    return Page("cam", step, 2, verdict=verdict or convicted(), alert=alert, evidence={"border": picture(9, (50, 70))})
