"""What predictions hang on: paired edits of one cue at a time, and what they do to the model's answers."""

from .context import context, summary
from .edits import Edit
from .effects import effects
from .reliance import MARGIN, Reliance, weigh
from .trials import (
    STANDARD,
    Donors,
    Trial,
    answers,
    as_seen,
    can_swap,
    chosen_trials,
    draw_donors,
    region_trial,
    swapped,
)

__all__ = [
    "MARGIN",
    "STANDARD",
    "Donors",
    "Edit",
    "Reliance",
    "Trial",
    "answers",
    "as_seen",
    "can_swap",
    "chosen_trials",
    "context",
    "draw_donors",
    "effects",
    "region_trial",
    "summary",
    "swapped",
    "weigh",
]
