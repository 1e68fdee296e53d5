"""The probe that a run keeps in its folder, for a review of guessed masks."""

from pathlib import Path

from ..probe.storage import is_saved
from ..sinks.folder import VERDICT
from ..sinks.places import PROBE, RUN
from ..sinks.reading_back import newest

_OF_A_RUN = (VERDICT, RUN, f"*/{VERDICT}", f"*/{RUN}")


def place_of_pictures(folder: Path) -> Path:
    """Where the last run keeps its probe, if ``folder`` is of a run or right above one; else ``folder`` itself.

    Raises:
        ValueError: The run keeps none, or what it left cannot be read.
    """
    if is_saved(folder) or not any(any(folder.glob(file)) for file in _OF_A_RUN):
        return folder
    place = newest(folder).file.parent / PROBE
    if not is_saved(place):
        raise ValueError(
            f"'{place.parent}' keeps no pictures of full size: a run does so at its end, if masks were guessed, unless "
            "log_images=False or they take more than 64 MB; give the folder of pictures that its model is examined "
            "with, or a probe that callback.probe.save(folder) wrote"
        )
    return place
