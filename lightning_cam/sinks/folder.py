"""Keeps pages in a folder: pictures, the series of scalars, the summary. Needs no logger."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..notices import LightningCAMWarning, warn
from ..text import error_text
from .disk import require_space, safe_name
from .history import HISTORY, History
from .page import Page, Run, png
from .places import PROBE, create, free_place, local_folder, place_of, read_owner, write_owner, write_whole
from .report_page import RunPage, read_back
from .verdict_file import VERDICT, verdict_file, versions
from .wording import summary

REPORT = "report.html"
STRIP_SAYS = "Where the model looks, over time"
MOST_BYTES_OF_REPORT = 20_000_000  # it has some MB; a larger one is not ours


class FolderSink:
    """Keeps pictures, the series of scalars, the verdict and a summary as files.

    ``step_00000012/<probe>.png``, ``history.jsonl`` (a line per check), ``verdict.json`` and ``report.html`` (the run
    as one page) at each check; at the end ``evolution.png``, ``map_groups.png``, ``evidence_<cue>.png`` and
    ``summary.md``. If masks were guessed, ``probe`` has the pictures in full, for ``lightning-cam masks``. A file is
    either whole or not there. A run that is resumed into the same folder continues the series; a step that comes again
    replaces the earlier one.

    Args:
        path: The folder; made when the first page comes. Where it has files of yours with the same names, or another
            run, a folder ``run_<n>`` in it is taken instead. ``run.json`` lists what a run made; nothing else is
            written over or removed.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = local_folder(path)
        self._folders: dict[str, _RunFolder] = {}

    def write(self, page: Page) -> None:
        """Keeps one page. Of a disk that is nearly full only the verdict and the scalars take something.

        Raises:
            OSError: The folder cannot be written to.
        """
        run = page.run
        if run.name not in self._folders:
            self._open(run, _RunFolder(place_of(self._path, run)))
        try:
            self._folders[run.name].keep(page)
        except (FileExistsError, FileNotFoundError):  # a file of the user's is in the way, another process has taken
            earlier = self._folders[run.name]  # the folder over, or somebody has deleted it
            if not earlier.root.exists():
                _say(f"'{earlier.root}' was deleted, so it is made again, without the earlier pictures")
            self._open(run, _RunFolder(free_place(self._path, run), earlier.history.lines, earlier.page))
            self._folders[run.name].keep(page)

    @property
    def path(self) -> Path:
        """The folder, or the one above where it was taken."""
        return self._path

    def page_of(self, run: Run) -> RunPage | None:
        """The page of a run that is kept here, as far as it has come; None where nothing could be kept."""
        return self._folders[run.name].page if run.name in self._folders else None

    def report_of(self, run: Run) -> Path | None:
        """The file of that page; None where the last of it could not be written."""
        folder = self._folders.get(run.name)
        return folder.root / REPORT if folder is not None and folder.has_report else None

    def _open(self, run: Run, folder: "_RunFolder") -> None:
        self._folders[run.name] = folder
        if folder.root != self._path:
            _say(f"'{self._path}' has files of yours or of another run, so this run is kept in '{folder.root}'")


class _RunFolder:
    """A folder of one run. It writes over the files alone that the run made."""

    def __init__(self, root: Path, lines: Mapping[int, str] | None = None, page: RunPage | None = None) -> None:
        self.root = root
        self.page = page
        self.history = History(root / HISTORY, lines)
        self.has_report = False  # whether what came last is on its page
        self._said: set[str] = set()

    def keep(self, page: Page) -> None:
        """Keeps one page.

        A picture or a page that cannot be drawn or written costs neither the verdict nor the series.

        Raises:
            FileExistsError: The folder is no longer the run's, or there is a file that the run did not make.
            OSError: The verdict or the series cannot be written.
        """
        owner = read_owner(self.root)
        if owner is None or owner.run != page.run.name:
            raise FileExistsError(f"'{self.root}' is not of this run any more")
        files = verdict_file(page)
        lost: dict[str, Exception] = {}
        if not self._is_nearly_full():
            for what, made in (
                ("pictures", _pictures),
                (REPORT, partial(self._report, is_new=REPORT not in owner.files)),
            ):
                try:
                    files |= made(page)
                except Exception as error:  # whatever drawing raises
                    lost[what] = error
        names = dict.fromkeys(name.split("/")[0] for name in [*([HISTORY] if page.scalars else []), *files])
        new = [name for name in names if name not in owner.files]
        self._require_absence(new)
        ended = page.step if page.is_final else owner.ended
        changed = replace(owner, ended=ended, files=(*owner.files, *new), off=page.off or owner.off)
        if changed != owner:
            write_owner(self.root, changed)
        writings = {name: partial(self._put, name, data, new) for name, data in files.items()}
        if page.scalars:
            writings[HISTORY] = partial(self.history.add, page, is_new=HISTORY in new)
        for name, write in sorted(writings.items(), key=lambda item: item[0] not in (VERDICT, HISTORY)):
            try:
                write()
            except (FileExistsError, FileNotFoundError):
                raise
            except OSError as error:
                lost[name] = error
        self.has_report = REPORT in files and REPORT not in lost
        self._say_lost(lost)

    def _say_lost(self, lost: Mapping[str, Exception]) -> None:
        """Raises where the verdict or the series is lost, since old ones would be taken for new; else warns once."""
        for name in (VERDICT, HISTORY):
            if name in lost:
                old = (
                    f"the '{name}' that is there is of an earlier check"
                    if (self.root / name).exists()
                    else "none is there"
                )
                raise OSError(f"'{self.root / name}' could not be written ({error_text(lost[name])}); {old}")
        for what in (REPORT, "pictures"):
            errors = [error for name, error in lost.items() if (name == REPORT) == (what == REPORT)]
            if errors and what not in self._said:
                self._said.add(what)
                kept = "the verdict and the scalars are still kept"
                _say(f"{what} could not be written to '{self.root}' ({error_text(errors[0])}); {kept}")

    def _is_nearly_full(self) -> bool:
        try:
            require_space(self.root)
        except OSError as error:
            if "full" not in self._said:
                self._said.add("full")
                _say(f"{error}, nor for {REPORT}; the verdict and the scalars are still kept")
            return True
        return False

    def _report(self, page: Page, *, is_new: bool) -> dict[str, bytes]:
        """The page of the run, where there is something for a person to see."""
        if page.snapshot is None and page.verdict is None and not page.is_final:
            return {}
        if self.page is None:
            self.page = RunPage() if is_new else _earlier_page(self.root / REPORT)
        self.page.add(page)
        return {REPORT: self.page.html(page, versions()).encode("utf-8", "replace")}

    def _require_absence(self, names: Sequence[str]) -> None:
        for name in names:
            if os.path.lexists(self.root / name):
                raise FileExistsError(f"'{self.root / name}' is there, and this run did not make it")

    def _put(self, name: str, data: bytes, new: Sequence[str]) -> None:
        path = self.root / name
        if path.parent != self.root:
            path.parent.mkdir(exist_ok=True)
            if path.parent.is_symlink():
                raise FileExistsError(f"'{path.parent}' leads out of the folder")
        (create if name in new else write_whole)(path, data)


def _pictures(page: Page) -> dict[str, bytes]:
    """What a page is as files, without the verdict and its line of the series."""
    files = {}
    for tile in page.tiles:
        files[f"step_{page.step:08d}/{safe_name(tile.name)}.png"] = tile.png
    place = f"step_{page.step:08d}/" if page.text is None else ""
    for name, picture in page.figures.items():
        files[f"{place}{name}.png"] = png(picture)
    if page.strip is not None:
        files["evolution.png"] = png(page.strip)
    for cue, picture in page.evidence.items():
        files[f"evidence_{safe_name(cue)}.png"] = png(picture)
    films = {f"slices_{safe_name(name)}.gif": film for name, film in page.films.items()}
    files |= films
    if page.text is not None:
        captions = {f"evidence_{safe_name(cue)}.png": f"Only the {cue} was swapped" for cue in page.evidence}
        captions |= {"evolution.png": STRIP_SAYS} if page.strip is not None else {}
        captions |= {file: f"All slices of {name}" for file, name in zip(films, page.films, strict=True)}
        files["summary.md"] = summary(page.text, page.numbers, captions).encode("utf-8", "replace")
    if page.reviewable is not None:
        files |= {f"{PROBE}/{name}": data for name, data in page.reviewable.in_bytes().items()}
    return files


def _earlier_page(path: Path) -> RunPage:
    """What the run that this one resumes had drawn."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES_OF_REPORT:
        return RunPage()
    return read_back(path.read_text(encoding="utf-8", errors="replace"))


def _say(text: str) -> None:
    """Warns. In the thread that draws, a filter that makes an error of it would cost the page."""
    try:
        warn(text)
    except LightningCAMWarning:
        print(f"lightning_cam: {text}", file=sys.stderr)  # noqa: T201 - the only way left to say it
