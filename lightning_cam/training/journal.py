"""The series of readings of a run: how it grows, what its keys are, where it is logged, how a checkpoint keeps it."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ..examination import Reading
from . import loggers
from .failures import Failures, warn
from .ranks import from_first

STATE_VERSION = 1


class Journal:
    """The readings of a run, which may be more than one fit: a resumed fit continues the series.

    Args:
        name: First part of every logged key. Nothing else in the package adds it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._readings: list[Reading] = []
        self.run = uuid.uuid4().hex  # from the system, not from a generator that a training uses
        self.resumes = ""  # the run of the checkpoint: from one checkpoint several runs may go on
        self._fingerprint: str | None = None  # of the probe that a checkpoint's readings were taken on

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All readings so far, oldest first, with their keys as logged."""
        return tuple(self._readings)

    def begin(self, fingerprint: str) -> None:
        """Starts the series of a fit: readings that were taken on another probe begin a new one."""
        if self._readings and self._fingerprint not in (None, fingerprint):
            warn("the checkpoint's readings were taken on another probe set, so a new series is started")
            self.start_anew()
        # Whether there are readings decides whether a look comes first, and a process that looks alone waits forever.
        self._readings = from_first(self._readings)

    def start_anew(self) -> None:
        """A new run, without readings."""
        self._readings, self.run, self.resumes = [], uuid.uuid4().hex, ""

    def record(self, scalars: Mapping[str, float], step: int, epoch: int) -> tuple[Reading, Reading]:
        """Adds the reading of a check.

        Args:
            scalars: By key without prefix.
            step: On Lightning's own step axis.
            epoch: The epoch of the check.

        Returns:
            The reading, and the part of it that is to be logged; for a new reading both are the same.
        """
        reading = Reading(step, epoch, self._logged(scalars))
        self._readings.append(reading)
        return reading, reading

    def complete(self, scalars: Mapping[str, float]) -> tuple[Reading, Reading]:
        """Adds to the last reading what a second check of the same weights has found. See `record`.

        A value that was logged once stays: a second point at the same step would contradict the first.
        """
        earlier = self._readings.pop()
        news = {key: value for key, value in self._logged(scalars).items() if key not in earlier.scalars}
        reading = replace(earlier, scalars={**earlier.scalars, **news})
        self._readings.append(reading)
        return reading, replace(earlier, scalars=news)

    def log(self, reading: Reading, trainer: Any, failures: Failures, *, through: Any = None) -> None:
        """Hands a reading to who monitors it and to every logger.

        Args:
            reading: What is to be logged.
            trainer: Whose loggers.
            failures: Counts the loggers that fail.
            through: The Lightning module in hooks where ``self.log`` is allowed, for the progress bar, `EarlyStopping`
                and `ModelCheckpoint`. None elsewhere; the values can be monitored all the same.
        """
        defined = reading.defined
        if through is None:
            trainer.callback_metrics.update({key: torch.tensor(value) for key, value in defined.items()})
        else:  # not to the loggers: there Lightning lets a failure stop the training
            through.log_dict(dict(defined), logger=False)
        loggers.log(trainer.loggers, defined, reading.step, failures)
        for key in reading.scalars:  # an undefined value is no point on a curve, but whoever monitors it must find it
            trainer.callback_metrics.setdefault(key, torch.tensor(torch.nan))

    def as_state(self, fingerprint: str | None) -> dict[str, Any]:
        """The series in JSON types only, since Lightning loads checkpoints with ``weights_only``.

        Args:
            fingerprint: Of the probe; None before one is known.
        """
        history = [reading.as_json() for reading in self._readings]
        probe = fingerprint or self._fingerprint
        return {"version": STATE_VERSION, "run": self.run, "fingerprint": probe, "history": history}

    def adopt(self, readings: Sequence[Reading]) -> None:
        """Takes the series of a fit that ran in other processes."""
        self._readings = list(readings)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues the series of a checkpoint. A state that cannot be read is left out: it must not stop a resume."""
        try:
            readings = [Reading.from_json(entry) for entry in state["history"]]
            fingerprint = str(state["fingerprint"])
            run = str(state.get("run") or "")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            warn(f"the checkpoint's series cannot be read ({error!r}); starting a new one")
            return
        self._readings, self._fingerprint = readings, fingerprint
        self.run, self.resumes = uuid.uuid4().hex, run

    def _logged(self, scalars: Mapping[str, float]) -> dict[str, float]:
        return {f"{self.name}/{key}": value for key, value in scalars.items()}
