"""When to look, as a pure decision over counters and seconds."""

import math
from dataclasses import dataclass
from enum import Enum

ALWAYS_SPARED = 10.0  # seconds of looking: less matters to nobody, and a share of a young fit is nothing
TRIALS_TAKE = 25  # times a look without them; ResNet-18, 32 and 64 images of 96 pixels, one CPU thread: 22 to 29


@dataclass(frozen=True)
class Rhythm:
    """When to look between the first look, before training, and the last, after it.

    By default: at global steps 4, 16, 64, 256, ... of the first epoch, where most changes, and after every validation.
    """

    every_n_epochs: int | None = None
    every_n_train_steps: int | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) > 1:
            raise ValueError("every_n_epochs and every_n_train_steps exclude each other; give one of them")
        for name, value in given.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(
                    f"{name} must be a whole number from 1 on, got {value!r}; leave it out for the default"
                )

    @property
    def was_chosen(self) -> bool:
        """Whether the user asked for these checks, so that none may be skipped."""
        return bool(self.every_n_epochs or self.every_n_train_steps)

    def after_step(self, global_step: int, epoch: int) -> bool:
        """Whether to look after optimizer step number ``global_step``, counted from 1.

        >>> [step for step in range(1, 300) if Rhythm().after_step(step, epoch=0)]
        [4, 16, 64, 256]
        """
        if self.every_n_train_steps:
            return global_step % self.every_n_train_steps == 0
        return self.every_n_epochs is None and epoch == 0 and _is_power_of_four(global_step)

    def after_epoch(self, epoch: int) -> bool:
        """Whether to look after a validation in ``epoch``, or after the epoch where there is no validation."""
        return self.every_n_train_steps is None and (epoch + 1) % (self.every_n_epochs or 1) == 0


class Kind(Enum):
    """What a check looks at: maps and what hangs on trials, or maps alone."""

    FULL = "full"
    MAPS = "maps"


@dataclass(frozen=True)
class Account:
    """What checks of one kind have taken, in seconds: all of them, and the last one."""

    spent: float = 0.0
    last: float = 0.0

    def charged(self, seconds: float) -> "Account":
        """The account after one more check."""
        return Account(self.spent + seconds, seconds)


def spare(elapsed: float, max_overhead: float) -> float:
    """Seconds that looking may take: its share of the fit so far, or what every fit can spare.

    >>> [spare(elapsed, max_overhead=0.02) for elapsed in (100, 600)]
    [10.0, 12.0]

    Args:
        elapsed: Seconds since the fit began.
        max_overhead: Share of the fit; from 1 on there is no end to it.
    """
    return math.inf if max_overhead >= 1 else max(ALWAYS_SPARED, max_overhead * elapsed)


def affordable(full: Account, maps: Account | None, seconds: float, *, after_epoch: bool = False) -> Kind | None:
    """The most that a check can be; None where there is to be none. Each kind has half of what can be spared.

    >>> [affordable(Account(9, 9), Account(4, 1), seconds) for seconds in (36, 10, 9)]
    [<Kind.FULL: 'full'>, <Kind.MAPS: 'maps'>, None]

    Args:
        full: Of checks with trials. What the first will take is guessed; after an epoch it is made at any price.
        maps: Of checks without trials; None if all are, of one kind then, which has everything.
        seconds: What looking may take in all.
        after_epoch: Whether this check would come after an epoch.
    """
    if maps is None:
        return Kind.FULL if full.spent + full.last <= seconds else None
    expected = full.last or TRIALS_TAKE * maps.last
    if full.spent + expected <= seconds / 2 or (after_epoch and not full.last):
        return Kind.FULL
    return Kind.MAPS if maps.spent + maps.last <= seconds / 2 else None


def _is_power_of_four(number: int) -> bool:
    return number > 1 and number.bit_count() == 1 and number.bit_length() % 2 == 1
