"""The detector that is measured: from a model and a probe to one score and a verdict."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from lightning_cam import Probe, examine
from lightning_cam.intervention import STANDARD
from lightning_cam.verdict import RunningVerdict, Verdict, judge, limits

ALARMS = ("FAIL", "WARN")


@dataclass(frozen=True)
class Detection:
    """What a detector says about a model.

    Attributes:
        score: Higher means more reliance on something that is not the object.
        outcome: PASS, WARN, FAIL or INCONCLUSIVE.
        cue: What the model relies on most; None where nothing is said.
        n_forward: Images that went through the model.
    """

    score: float
    outcome: str
    cue: str | None
    n_forward: int


def detector(model: nn.Module, probe: Probe, layer: str | None = None) -> Detection:
    """What the package says after one look."""
    counted = _Counted()
    return detection(judge(examine(model, probe, layer=layer, forward=counted)), counted.n)


def watch(models: Iterable[nn.Module], probe: Probe) -> list[Detection]:
    """What the package says at each check of a run."""
    running = RunningVerdict(limits(STANDARD, (), ()))
    said = []
    for model in models:
        counted = _Counted()
        said.append(detection(running.judge(examine(model, probe, forward=counted)), counted.n))
    return said


class _Counted:
    """Calls models and counts the images."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, model: nn.Module, inputs: Tensor) -> Tensor:
        self.n += len(inputs)
        return model(inputs)


def detection(verdict: Verdict, n_forward: int = 0) -> Detection:
    """What is kept of a verdict."""
    cue = verdict.findings[0].cue if verdict.findings else None
    return Detection(verdict.score, verdict.outcome, cue, n_forward)
