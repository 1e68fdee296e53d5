"""When to look, as a pure decision over counters."""

from dataclasses import dataclass


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


def _is_power_of_four(number: int) -> bool:
    return number > 1 and number.bit_count() == 1 and number.bit_length() % 2 == 1
