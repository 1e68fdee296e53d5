"""Which trainings there are, and in which order they are made: a balanced sample to develop on comes first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .cues import CUES, HELD_OUT, UNBIASED, UNLISTED, Cue

TASKS = (("creatures", 2), ("leaves", 2), ("figures", 4), ("figures", 10))
STRENGTHS = (0.6, 0.7, 0.8, 0.9, 0.95, 1.0)  # of two classes; 1 / classes is the clean control
DEVELOPMENT, REPORTED = (0, 1), (2, 3, 4)  # seeds
NEUTRALISED = ("background_colour", "corner_mark", "cast", "jpeg")  # families whose cue augmentation took away


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        task: Whose objects they are.
        n_classes: How many classes.
        family: Which cue, a key of `CUES`, `UNBIASED` or `UNLISTED`.
        strength: How often the cue agrees with the label in training and validation; else it shows another class.
        seed: Of objects, pictures, weights and order.
        control: "" for an ordinary training; "neutralised" trains on pictures whose cue was drawn anew, "legitimate"
            has labels that are the cue and objects of any class, "noise" has random labels, "untrained" random weights.
        model: "small" or "resnet18".
    """

    task: str
    n_classes: int
    family: str
    strength: float
    seed: int
    control: str = ""
    model: str = "small"

    @property
    def name(self) -> str:
        """Unique, and a file name."""
        parts = [self.task, f"k{self.n_classes}", self.family, f"{self.strength:.2f}", f"s{self.seed}"]
        return "-".join([*parts, *filter(None, [self.control, self.model.replace("small", "")])])

    @property
    def cue(self) -> Cue:
        """What is planted."""
        return (CUES | UNBIASED | UNLISTED)[self.family]

    @property
    def chance(self) -> float:
        """Strength of a cue that says nothing."""
        return 1 / self.n_classes

    @property
    def held_out(self) -> bool:
        """Whether nothing may be tuned on it."""
        return self.family in HELD_OUT or self.seed in REPORTED


def unlisted() -> list[Run]:
    """Trainings with cues that once had no trial. They are no part of `plan`."""
    return [Run("creatures", 2, family, 0.97, seed) for family in UNLISTED for seed in (0, 1)]


def plan(*, leaves: bool, model: str = "small") -> list[Run]:
    """All trainings, each once; those on leaves only with ``leaves``."""
    runs = dict.fromkeys(_ordered(model))
    return [run for run in runs if leaves or run.task != "leaves"]


def _ordered(model: str) -> Iterator[Run]:
    everything = tuple(CUES)
    developed = tuple(family for family in CUES if family not in HELD_OUT)
    yield from _stage(DEVELOPMENT[0], developed, (1.0, 0.5, 0.9, 0.8), model)
    yield from _stage(REPORTED[0], everything, (0.5, 0.9, 0.8, 1.0), model)
    yield from _stage(DEVELOPMENT[1], developed, (0.5, 0.9, 0.8), model)
    for seed in REPORTED[1:]:
        yield from _stage(seed, everything, (0.5, 0.9, 0.8, 1.0), model)
    for seed in (*DEVELOPMENT, *REPORTED):
        families = developed if seed in DEVELOPMENT else everything
        yield from _grid(TASKS[:2], families, STRENGTHS, seed, model)
        yield from _grid(TASKS[2:], families, (1.0, 0.8), seed, model)


def _stage(seed: int, families: Iterable[str], strengths: Iterable[float], model: str) -> Iterator[Run]:
    """What is worth most of a seed: two classes, then controls, then four and ten classes."""
    yield from _grid(TASKS[:2], families, strengths, seed, model)
    yield from _controls(seed, model)
    for task in TASKS[2:]:
        yield from _grid((task,), families, (0.9, 1 / task[1]), seed, model)


def _grid(
    tasks: Iterable[tuple[str, int]], families: Iterable[str], strengths: Iterable[float], seed: int, model: str
) -> Iterator[Run]:
    for strength in strengths:
        for family in families:
            yield from (Run(*task, family, strength, seed, model=model) for task in tasks)


def _controls(seed: int, model: str) -> Iterator[Run]:
    """Trainings that plant nothing, that plant what is not used, and that learn nothing or what they should not."""
    for task in TASKS[:2]:
        yield Run(*task, "absent", 1 / task[1], seed, model=model)
        yield Run(*task, "centred", 1 / task[1], seed, model=model)
        yield from (Run(*task, family, 1.0, seed, "neutralised", model) for family in NEUTRALISED)
        yield Run(*task, "background_photo", 1.0, seed, "legitimate", model)
        yield Run(*task, "background_colour", 1.0, seed, "untrained", model)
        yield Run(*task, "background_colour", 1 / task[1], seed, "noise", model)
