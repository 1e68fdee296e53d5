"""What the page of a run draws, as JSON: the probes, and of each check the maps and the curves."""

import base64
import math
from typing import Any

from ..intervention import MARGIN
from ..render import COLOURS, COLOURS_AGAINST
from .mistakes import ShownMistakes
from .page import Page
from .snapshot import Portraits, Snapshot

CURVES = ("background_attention_ratio", "probe_accuracy", "attention_drift")  # beside the reliances


def portraits_entry(portraits: Portraits) -> dict[str, Any]:
    """The probes for the page: names, pictures, classes, and the colours of its maps."""
    probes = [
        {
            "name": name,
            "picture": portraits.pictures[i],
            "outline": portraits.outlines[i],
            "target": portraits.targets[i],
            "area": _number(math.nan if area is None else area),
            "source": portraits.sources[i] if portraits.sources else "",
        }
        for i, (name, area) in enumerate(zip(portraits.names, portraits.areas, strict=True))
    ]
    ramp = COLOURS_AGAINST if portraits.is_against else COLOURS
    words = {"classes": list(portraits.classes), "probes": probes, "ramp": ramp.tolist(), "margin": MARGIN}
    facts = {
        "against": portraits.is_against,
        "ofScore": portraits.are_of_score,
        "unanswered": not portraits.has_answers,
    }
    return words | {name: True for name, is_so in facts.items() if is_so}


def check_entry(page: Page) -> dict[str, Any]:
    """A check for the page: the scalars of its curves, and the maps of the portraits."""
    maps = {} if page.snapshot is None else _maps_entry(page.snapshot)
    return {"step": page.step, "epoch": page.epoch, "values": curve_values(page), **maps}


def curve_values(page: Page) -> dict[str, float | None]:
    """The scalars that the page draws over the training."""
    scalars = {key.removeprefix(f"{page.prefix}/"): value for key, value in page.scalars.items()}
    return {key: _number(value) for key, value in scalars.items() if key in CURVES or key.startswith("reliance/")}


def _maps_entry(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "size": list(snapshot.grids.shape[1:]),
        "maps": base64.b64encode(snapshot.grids.tobytes()).decode(),
        "predicted": list(snapshot.predicted),
        "certainty": [_number(value) for value in snapshot.certainty],
        "own": [_number(value) for value in snapshot.own],
        "outside": [_number(value) for value in snapshot.outside],
        "pairs": [list(pair) for pair in snapshot.pairs],
        **({"scores": [_number(value) for value in snapshot.scores]} if snapshot.scores else {}),
        **({"mistaken": _mistaken_entry(snapshot)} if snapshot.mistaken else {}),
    }


def _mistaken_entry(snapshot: Snapshot) -> dict[str, Any]:
    return {"rows": list(snapshot.mistaken), "maps": base64.b64encode(snapshot.mistaken_grids.tobytes()).decode()}


def mistakes_entry(mistakes: ShownMistakes) -> dict[str, Any]:
    """The surest mistakes of the whole validation set for the page."""
    shown = mistakes.snapshot
    return {
        "portraits": portraits_entry(shown.portraits),
        "check": _maps_entry(shown),
        "images": mistakes.n_images,
        "accuracy": _number(mistakes.accuracy),
    }


def _number(value: float) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return round(float(value), 4) if math.isfinite(value) else None
