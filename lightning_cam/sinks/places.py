"""Which folder a run keeps its files in, so that nothing of the user's or of another run is written over."""

import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from itertools import count
from pathlib import Path

from .page import Run

RUN = "run.json"  # says which run a folder belongs to, and which files in it are the run's
PROBE = "probe"  # folder of the probe, as it is saved, where its masks are guessed, doubted or missing
NAMES = (
    *("history.jsonl", "verdict.json", "evolution.png", "evidence_*.png", "report.html", "summary.md", "step_*"),
    *(PROBE, RUN),
)
UNFINISHED = ".lightning_cam.tmp"
MOST_BYTES = 10_000_000  # of `RUN`: a check adds 17 bytes, so half a million checks


@dataclass(frozen=True)
class Owner:
    """Whose a folder is, as its `RUN` says.

    Attributes:
        run: Identifier of the run that writes into it.
        earlier: Of the runs that this one resumed.
        ended: Step of the last page if that run came to its end.
        files: Names of what the runs made there; a name may be a folder's.
        began: When that run took the folder, in seconds since 1970; 0 where an earlier version did not say it.
        off: Why that run looks at nothing any more; empty where it looks.
    """

    run: str
    earlier: tuple[str, ...] = ()
    ended: int | None = None
    files: tuple[str, ...] = ()
    began: float = 0.0
    off: str = ""

    def continued_by(self, run: Run) -> bool:
        """Whether ``run`` resumes one of this folder, and not from a checkpoint before its end: that is a branch."""
        is_branch = self.ended is not None and run.first_step < self.ended
        return bool(run.resumes) and run.resumes in (self.run, *self.earlier) and not is_branch


def local_folder(path: Path | str) -> Path:
    """The path of a folder of this machine. `Path` would make a relative folder of an address.

    Raises:
        ValueError: It is an address, such as ``s3://bucket``.
    """
    text = str(path).removeprefix("file://")
    if "://" in text:
        raise ValueError(
            f"'{text}' is an address and no folder of this machine; pass CAMCallback(sinks=[FolderSink('a/folder')])"
        )
    return Path(text)


def place_of(path: Path, run: Run) -> Path:
    """``path`` or a folder ``run_<n>`` in it: the last one that this run has or continues, else a free one.

    It is taken at once, so that two runs which start together differ.
    """
    owners = [(place, owner) for place in _taken(path) for owner in [read_owner(place)] if owner is not None]
    for place, owner in reversed(owners):
        if owner.run == run.name:
            return place
    for place, owner in reversed(owners):
        if owner.continued_by(run):
            earlier = (*owner.earlier, owner.run)
            write_owner(place, replace(owner, run=run.name, earlier=earlier, began=time.time(), off=""))
            return place
    return free_place(path, run)


def free_place(path: Path, run: Run) -> Path:
    """Takes the first folder that has no file of a name of ours. Other files in it are no hindrance."""
    for place in _places(path):
        if not _is_free(place):
            continue
        try:
            create(place / RUN, _as_json(Owner(run.name, began=time.time())))
        except FileExistsError:  # another process was faster
            continue
        return place
    raise AssertionError("there is always a next number")


def read_owner(folder: Path) -> Owner | None:
    """What a folder says of itself; None where it says nothing that can be read."""
    path = folder / RUN
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        entry = json.loads(path.read_bytes())
        run, ended, earlier, files = entry["run"], entry.get("ended"), entry.get("earlier", []), entry.get("files", [])
        began, off = float(entry.get("began", 0.0)), entry.get("off", "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    texts = [run, off, *earlier, *files] if isinstance(earlier, list) and isinstance(files, list) else [None]
    if not all(isinstance(text, str) for text in texts) or not isinstance(ended, int | None):
        return None
    return Owner(run, tuple(earlier), ended, tuple(files), began, off)


def files_named(name: str, folder: Path) -> list[Path]:
    """Files of that name at or below a folder, in order; links are followed, but into no folder twice."""
    visited: set[str] = set()
    found = []
    for root, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(root)
        if place in visited:  # links can form a circle
            folders.clear()
            continue
        visited.add(place)
        folders.sort()
        found += [Path(root, name)] if name in names else []
    return sorted(path for path in found if path.is_file())


def write_owner(folder: Path, owner: Owner) -> None:
    """Replaces what a folder says of itself."""
    write_whole(folder / RUN, _as_json(owner))


def write_whole(path: Path, data: bytes) -> None:
    """Writes beside the file and then puts it in place, so that a killed run leaves no half file."""
    unfinished = path.with_name(f".{path.name}{UNFINISHED}")
    try:
        unfinished.unlink(missing_ok=True)  # a link there would lead the bytes elsewhere
        unfinished.write_bytes(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def create(path: Path, data: bytes) -> None:
    """As `write_whole`, but raises a FileExistsError where there is a file, in whatever moment it was made."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        unfinished.write_bytes(data)
        try:
            os.link(unfinished, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with path.open("xb") as file:
                file.write(data)
    finally:
        unfinished.unlink(missing_ok=True)


def _places(path: Path) -> Iterator[Path]:
    first = _first(path)
    yield first
    yield from (first / f"run_{number}" for number in count(2))


def _first(path: Path) -> Path:
    while os.path.lexists(path) and not path.is_dir():  # a file of the user's
        path = path.with_name(f"{path.name}_2")
    return path


def _taken(path: Path) -> list[Path]:
    """The places that there are, in their order; some may have been deleted."""
    first = _first(path)
    later = [place for place in first.glob("run_*") if place.name[4:].isdecimal()]
    return [first, *sorted(later, key=lambda place: int(place.name[4:]))]


def _is_free(place: Path) -> bool:
    """Whether nothing there has a name of ours. Makes the folder if there is none."""
    if os.path.lexists(place) and not place.is_dir():
        return False
    place.mkdir(parents=True, exist_ok=True)
    names = [file.name for file in place.iterdir()]
    return not any(fnmatch(name, ours) for name in names for ours in NAMES)


def _as_json(owner: Owner) -> bytes:
    return json.dumps(asdict(owner)).encode()
