"""When to look and how deep, decided from counters and seconds alone."""

import math
from dataclasses import dataclass
from enum import Enum

# Seconds that checks may take of any fit that is not short: a share of a fit that has just begun is nothing.
ALWAYS_SPARED = 10.0
# Largest share of a fit that all checks together may take, the first and the last full one included. Without it, checks
# took as long as a fit of 16 s (ResNet-18, 320 images of 96 pixels). Pictures and evidence come on top, up to 0.07.
MOST_OF_A_SHORT_FIT = 0.18
# One full check takes as long as this many checks of maps alone. Measured: 22 to 29, with ResNet-18, 32 and 64 images
# of 96 pixels, one CPU thread.
TRIALS_TAKE = 25
# Share of the passes that are left with one donor of each kind instead of two; level swaps need as many with either.
ONE_DONOR_TAKES = 0.6
# Images that any trial swaps cues on. If all of them agree, the sign-flip test gives p = 2 ** -16. Of several labels
# each is judged by its own images: with 20 of 160 and three labels, a fit of 10 s ended without a number of any cue.
LEAST_TRIED = 16
MOST_QUESTIONS = 4  # that are cared for in this way; a short fit cannot wait for more


@dataclass(frozen=True)
class Rhythm:
    """When to look between the first check, before the training, and the last one, after it.

    The default is global steps 4, 16, 64, 256, ... of the first epoch, where a model changes most, and the end of every
    validation.
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


class Depth(Enum):
    """How much a check does: maps and trials, or maps alone."""

    FULL = "full"
    MAPS = "maps"


@dataclass(frozen=True)
class Effort:
    """How much a full check asks of the model. Fewer images and donors make intervals wider, not wrong.

    Attributes:
        n_images: How many probe images have their cues swapped. All of them lend, and all of them get a map.
        n_donors: How many donors of each kind an image has.
    """

    n_images: int
    n_donors: int = 2

    @property
    def weight(self) -> float:
        """Passes, in those of one image with two donors."""
        return self.n_images * (1.0 if self.n_donors > 1 else ONE_DONOR_TAKES)


@dataclass(frozen=True)
class Occasion:
    """What kind of check is made, and where it is logged.

    Attributes:
        depth: Maps and trials, or maps alone.
        step: On Lightning's own step axis.
        can_log: Whether Lightning allows ``self.log`` in this hook.
        before_training: Whether this is the first check, of the weights that the training starts from.
        effort: Of the trials; None for all images.
        completes: Whether the last check saw the same weights, so that this one adds its trials to that reading.
    """

    depth: Depth
    step: int
    can_log: bool = False
    before_training: bool = False
    effort: Effort | None = None
    completes: bool = False

    @property
    def is_judged(self) -> bool:
        """Whether the verdict may change. Before the training there is nothing to convict, with trials or without."""
        return self.before_training or self.depth is Depth.FULL


@dataclass(frozen=True)
class Account:
    """Seconds that checks of one depth have taken: all of them, and the last one."""

    spent: float = 0.0
    last: float = 0.0

    def charged(self, seconds: float) -> "Account":
        """The account after one more check."""
        return Account(self.spent + seconds, seconds)


class Budget:
    """How long the checks of one fit have taken, and which check the next one may be.

    Args:
        max_overhead: Largest share of the fit's time that checks may take; a value of 1 or more removes every limit.
        has_trials: Whether there are trials, which make a full check more expensive than one of maps alone.
    """

    def __init__(self, max_overhead: float, *, has_trials: bool) -> None:
        self._max_overhead = max_overhead
        self._has_trials = has_trials
        self._accounts = dict.fromkeys(Depth, Account())
        self._apart = 0.0
        self._per_weight: float | None = None  # seconds of a full check per unit of `Effort.weight`

    @property
    def spent(self) -> float:
        """Seconds of all checks so far, and of what came with them."""
        return self._apart + sum(account.spent for account in self._accounts.values())

    def seconds_of(self, effort: Effort) -> float:
        """Expected time of a full check; 0 where nothing is known yet."""
        return (self._per_weight or 0) * effort.weight

    def charge_apart(self, seconds: float) -> None:
        """Takes note of time that no later check will take again."""
        self._apart += seconds

    def charge(self, depth: Depth, seconds: float, effort: Effort) -> None:
        """Takes note of a check, also of one that failed: its time is gone as well.

        Args:
            depth: Of the check.
            seconds: That it took.
            effort: Of its trials; of all probe images where there were none.
        """
        self._accounts[depth] = self._accounts[depth].charged(seconds)
        if depth is Depth.FULL:
            self._per_weight = seconds / effort.weight
        elif not self._accounts[Depth.FULL].last:
            self._per_weight = TRIALS_TAKE * seconds / effort.weight

    def affordable(self, elapsed: float, *, expected: float = math.inf, after_epoch: bool) -> Depth | None:
        """The deepest check that fits the budget; None for no check.

        Args:
            elapsed: Seconds since the fit began.
            expected: Seconds that the whole fit will take; infinite where nobody knows.
            after_epoch: See `affordable`.
        """
        maps = self._accounts[Depth.MAPS] if self._has_trials else None
        seconds = spare(elapsed, self._max_overhead, expected)
        return affordable(self._accounts[Depth.FULL], maps, seconds, after_epoch=after_epoch)

    def effort(self, n_images: int, expected: float, *, is_last: bool, n_questions: int = 1) -> Effort:
        """The largest effort with which the full checks of a short fit take at most `MOST_OF_A_SHORT_FIT` of it.

        Checks before the last one leave two thirds to it.

        Args:
            n_images: In the probe.
            expected: See `affordable`.
            is_last: Whether nothing comes after this check.
            n_questions: Labels or values, of which each image is asked for one.
        """
        share = MOST_OF_A_SHORT_FIT if is_last else MOST_OF_A_SHORT_FIT / 3
        allowed = math.inf if self._max_overhead >= 1 else share * expected - self.spent
        efforts = possible_efforts(n_images, LEAST_TRIED * min(n_questions, MOST_QUESTIONS))
        fitting = (effort for effort in efforts if self.seconds_of(effort) <= allowed)
        return next(fitting, efforts[-1])

    def confession(self, effort: Effort, n_images: int) -> str:
        """What a short fit costs the verdict, and how to get all of it."""
        return (
            f"the training was short, so the last check swaps cues on {effort.n_images} of the {n_images} probe images "
            "to take a small part of its time; a weak reliance may stay unsettled; lightning-cam examine judges the "
            "finished model on all images without training; max_overhead=1 does it within the fit"
        )

    def explanation(self, elapsed: float) -> str:
        """Why checks are skipped or made without trials, and how to keep all of them."""
        cheaper, dearer = (
            ("made without trials, or skipped,", "a full one") if self._has_trials else ("skipped", "one more")
        )
        return (
            f"to keep the training fast, checks are {cheaper} from here on as long as {dearer} would take them above "
            f"{self._max_overhead:.0%} of the fit; they took {self.spent:.0f} s of {elapsed:.0f} s so far; to keep "
            "all of them, pass CAMCallback(every_n_epochs=1), or a larger max_overhead"
        )


def possible_efforts(n_images: int, least: int = LEAST_TRIED) -> list[Effort]:
    """From all images with two donors down to ``least`` or more with one. Halving keeps the subsets of checks nested.

    >>> [(effort.n_images, effort.n_donors) for effort in possible_efforts(64)]
    [(64, 2), (64, 1), (32, 1), (16, 1)]
    """
    efforts = [Effort(n_images), Effort(n_images, n_donors=1)]
    while efforts[-1].n_images // 2 >= least:
        efforts.append(Effort(efforts[-1].n_images // 2, n_donors=1))
    return efforts


def spare(elapsed: float, max_overhead: float, expected: float = math.inf) -> float:
    """Seconds that checks may take: their share of the fit so far, but at least `ALWAYS_SPARED` of a long fit.

    Of a short fit they may take half of `MOST_OF_A_SHORT_FIT`.

    >>> [spare(elapsed, 0.02, expected) for elapsed, expected in ((10, 50), (100, 900), (600, 900))]
    [4.5, 10.0, 12.0]

    Args:
        elapsed: Seconds since the fit began.
        max_overhead: Largest share of the fit; a value of 1 or more removes the limit.
        expected: Seconds that the whole fit will take; infinite where nobody knows.
    """
    if max_overhead >= 1:
        return math.inf
    return max(min(ALWAYS_SPARED, MOST_OF_A_SHORT_FIT / 2 * expected), max_overhead * elapsed)


def affordable(full: Account, maps: Account | None, seconds: float, *, after_epoch: bool = False) -> Depth | None:
    """The deepest check that fits into ``seconds``; None for no check. Each depth may use half of the seconds.

    >>> [affordable(Account(9, 9), Account(4, 1), seconds) for seconds in (36, 10, 9)]
    [<Depth.FULL: 'full'>, <Depth.MAPS: 'maps'>, None]

    Args:
        full: Seconds spent on full checks. Before the first one, its time is estimated from the checks of maps alone.
        maps: Seconds spent on checks without trials. None if no trials are configured: there is then one depth, and it
            may use all of the seconds.
        seconds: What all checks together may take.
        after_epoch: Whether an epoch has ended. The first full check after an epoch is made at any price, since a run
            without any trial has no verdict.
    """
    if maps is None:
        return Depth.FULL if full.spent + full.last <= seconds else None
    expected = full.last or TRIALS_TAKE * maps.last
    if full.spent + expected <= seconds / 2 or (after_epoch and not full.last):
        return Depth.FULL
    return Depth.MAPS if maps.spent + maps.last <= seconds / 2 else None


def _is_power_of_four(number: int) -> bool:
    return number > 1 and number.bit_count() == 1 and number.bit_length() % 2 == 1
