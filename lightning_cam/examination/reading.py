"""The scalars of one check, as they are kept in a history and in checkpoints."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reading:
    """The scalars of one check, on Lightning's own step axis."""

    step: int
    epoch: int
    scalars: Mapping[str, float]

    def __repr__(self) -> str:
        return f"Reading(step={self.step}, epoch={self.epoch}, {len(self.scalars)} scalars)"

    @property
    def defined(self) -> dict[str, float]:
        """What can be logged: an undefined mean has no point on a curve, and EarlyStopping stops at a NaN."""
        return {key: value for key, value in self.scalars.items() if math.isfinite(value)}

    def as_json(self) -> dict[str, Any]:
        """In JSON types; NaN, which JSON has not, becomes None."""
        scalars = {key: value if math.isfinite(value) else None for key, value in self.scalars.items()}
        return {"step": self.step, "epoch": self.epoch, "scalars": scalars}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Reading":
        """The reading that `as_json` was asked of."""
        scalars = {str(key): math.nan if value is None else float(value) for key, value in entry["scalars"].items()}
        return cls(int(entry["step"]), int(entry["epoch"]), scalars)
