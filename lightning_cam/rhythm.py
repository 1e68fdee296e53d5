"""When to look, as a pure decision over counters."""

from dataclasses import dataclass

ALWAYS_SPARED = 10.0  # seconds of looking: less matters to nobody, and a share of a young fit is nothing


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


def is_affordable(spent: float, expected: float, elapsed: float, max_overhead: float) -> bool:
    """Whether one more look keeps looking below its share of the fit so far, or below what every fit can spare.

    >>> [is_affordable(11, 2, elapsed, max_overhead=0.02) for elapsed in (100, 600, 700)]
    [False, False, True]

    Args:
        spent: Seconds of looking so far.
        expected: Seconds that the next look will take.
        elapsed: Seconds since the fit began.
        max_overhead: Share of the fit that looking may take; from 1 on everything is affordable.
    """
    return max_overhead >= 1 or spent + expected <= max(ALWAYS_SPARED, max_overhead * elapsed)


def _is_power_of_four(number: int) -> bool:
    return number > 1 and number.bit_count() == 1 and number.bit_length() % 2 == 1
