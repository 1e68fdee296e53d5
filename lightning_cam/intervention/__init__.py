"""The wing of use: each trial swaps one cue of the probe images, and measures the change of the model's answers."""

from .context import context, summary
from .donors import Donors, balanced_subset, can_swap, draw_donors, graded_donors, matched_donors
from .edits import Edit
from .effects import from_own
from .filters import in_parts
from .groups import GroupSwap, trials_by_attribute
from .material import Material, Session
from .reliance import MARGIN, Reliance, weigh, weigh_labels
from .settling import first_part
from .stamps import patches_of
from .swaps import DonorSwap, LevelSwap, Swap
from .trials import STANDARD, Trial, answers, chosen_trials, effects, limited, moves_object, region_trial
from .volumes import NOT_ON_VOLUMES, as_pictures, as_volumes, for_volumes

__all__ = [
    "MARGIN",
    "NOT_ON_VOLUMES",
    "STANDARD",
    "DonorSwap",
    "Donors",
    "Edit",
    "GroupSwap",
    "LevelSwap",
    "Material",
    "Reliance",
    "Session",
    "Swap",
    "Trial",
    "answers",
    "as_pictures",
    "as_volumes",
    "balanced_subset",
    "can_swap",
    "chosen_trials",
    "context",
    "draw_donors",
    "effects",
    "first_part",
    "for_volumes",
    "from_own",
    "graded_donors",
    "in_parts",
    "limited",
    "matched_donors",
    "moves_object",
    "patches_of",
    "region_trial",
    "summary",
    "trials_by_attribute",
    "weigh",
    "weigh_labels",
]
