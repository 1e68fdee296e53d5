"""Runs to compare, made by hand: the effects of their pictures, and verdicts that agree with them."""

import torch

from lightning_cam.cues import Remedy
from lightning_cam.intervention import Reliance
from lightning_cam.sinks.per_image import PerImage
from lightning_cam.verdict import Finding, Outcome, Verdict

N = 64


def spread(mean: float, *, seed: int = 0, sd: float = 0.1, n: int = N) -> torch.Tensor:
    """Effects with that mean to four decimals."""
    values = torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * sd
    return (values - values.mean() + mean).clamp(-1, 1)


def images(effects: dict[str, torch.Tensor], *, right: float = 1.0, first: int = 0, n: int = N) -> PerImage:
    """Pictures ``first`` to ``first + n``; the model is right on the first ones."""
    targets = torch.arange(n) % 2
    predicted = targets.where(torch.arange(n) < round(right * n), 1 - targets)
    names = tuple(f"picture {first + i}" for i in range(n))
    glances = tuple(f"{(37 * (first + i)) % 65536:04x}" for i in range(n))
    return PerImage(names, glances, ("cat", "dog"), targets, predicted, effects)


def verdict(effects: dict[str, torch.Tensor], found: tuple[str, ...], outcome: Outcome | None = None) -> Verdict:
    measured = [
        Reliance(cue, float(e.mean()), float(e.mean()) - 0.03, float(e.mean()) + 0.03, 0.01, {}, 9.0)
        for cue, e in effects.items()
    ]
    findings = tuple(
        Finding(r.cue, "FAIL", r.mean, r.low, r.high, 0.01, (), Remedy("", ""), "") for r in measured if r.cue in found
    )
    said = outcome or ("FAIL" if findings else "PASS")
    return Verdict(said, 0.0, findings, tuple(measured), "a reason")


BIASED = {"border": spread(0.8), "tone": spread(0.02, seed=1)}
CLEAN = {"border": spread(0.01, seed=2), "tone": spread(0.02, seed=3)}
