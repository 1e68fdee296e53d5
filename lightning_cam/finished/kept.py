"""The probe that a run keeps in its folder, for a review of its masks."""

from pathlib import Path

from ..probe.storage import is_saved
from ..sinks.places import PROBE, RUN, read_owner
from ..sinks.reading_back import newest
from ..sinks.verdict_file import VERDICT


def place_of_pictures(folder: Path) -> Path:
    """Where the last run keeps its probe, if ``folder`` is of a run or above one; else ``folder`` itself.

    Raises:
        ValueError: The run keeps none, or what it left cannot be read.
    """
    if is_saved(folder) or not _is_of_runs(folder):
        return folder
    place = newest(folder).file.parent / PROBE
    if not is_saved(place):
        raise ValueError(
            f"'{place.parent}' keeps no pictures of full size: a run does so at its end, if masks are guessed, doubted "
            "or missing, unless log_images=False or they take more than 64 MB; give the folder of pictures that its "
            "model is examined with, or a probe that callback.probe.save(folder) wrote"
        )
    return place


def _is_of_runs(folder: Path) -> bool:
    """Whether a run wrote at or below ``folder``, however far: its pictures of heat maps are none to draw masks on."""
    return any(folder.rglob(VERDICT)) or any(read_owner(file.parent) is not None for file in folder.rglob(RUN))
