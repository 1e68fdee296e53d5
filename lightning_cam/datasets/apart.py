"""Reads items apart from the training's own data set, whose open files, generators and counters do not change.

If the training's loader has workers, new workers of the same kind read the items. Otherwise a forked process reads
them, so that nothing comes back but the items. If that fails, or without a training, a copy of the data set is read.
"""

import multiprocessing
import os
import pickle
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from ..origins import raised
from .copying import copy_of
from .streams import FirstItems, indexed

T = TypeVar("T")
ReadItem: TypeAlias = Callable[[Any, int], T]  # reads something from the item of a data set at an index

PATIENCE = 60.0  # seconds for one item; a forked process may wait for ever for a thread, because threads are not forked
# Seconds for the first item: a process that waits for a thread hardly ever gets as far as one, and a file on a slow
# disk is opened in less.
FIRST_PATIENCE = 20.0
LEAVING = 2.0  # seconds in which a process of ours may end by itself
UNNOTICED = 2.0  # seconds; a person who waits longer wants to know the reason
_MOST_WORKERS = 8  # enough for the 64 or more items of a probe


@dataclass(frozen=True)
class Source:
    """A data set to read apart from whoever uses it.

    Args:
        dataset: The user's own data set.
        loader: The training's loader of the data set; None without a training.
        say: Gets a message about the progress after `UNNOTICED` seconds; None for silence.
    """

    dataset: Any
    loader: Any = None
    say: Callable[[str], None] | None = None
    _stuck: list[Exception] = field(default_factory=list)  # why no process is forked any more: it waited in vain

    @cached_property
    def twin(self) -> Any:
        """A copy for questions about labels and names, because a property may open files. None if copying fails."""
        return copy_of(self.items)

    @cached_property
    def items(self) -> Any:
        """The data set, or the first items of one without an index."""
        return indexed(self.dataset)

    @property
    def asked(self) -> Any:
        """The copy, or the data set itself."""
        return self.items if self.twin is None else self.twin

    def read(self, read: ReadItem[T], indices: Sequence[int]) -> Iterator[T]:
        """Calls ``read`` for each index, in order. A caller who stops early leaves a few more items read in vain."""
        started, first, has_told = time.monotonic(), 0.0, False
        for n_read, result in enumerate(_in_any_way(self, read, indices), 1):
            yield result
            now, n_left = time.monotonic(), len(indices) - n_read
            first = first or now  # until then a worker started, which happens once
            rest = (now - first) / max(n_read - 1, 1) * n_left
            if self.say is not None and not has_told and now - started > UNNOTICED and rest > UNNOTICED:
                has_told = True
                self.say(f"reading up to {len(indices)} items for the probe, which takes {rest:.0f} s more at most")


def item_at(dataset: Any, index: int) -> Any:
    """Reads an item as it is."""
    return dataset[index]


def _in_any_way(source: Source, read: ReadItem[T], indices: Sequence[int]) -> Iterator[T]:
    dataset, loader = source.items, source.loader
    n_read, failure = 0, None
    if loader is not None and (_has_workers(loader) or sys.platform == "linux"):
        try:
            for result in _elsewhere(source, read, indices):
                yield result
                n_read += 1
            return
        except Exception as error:  # of the item, or of the process; reading a copy tells
            failure = error
    if source.twin is None and failure is not None:
        raise failure
    if source.twin is None and loader is not None and isinstance(dataset, FirstItems):
        raise TypeError(f"{type(source.dataset).__name__} cannot be copied, and reading it here would use it up")
    for index in indices[n_read:]:
        yield read(source.asked, index)


def _elsewhere(source: Source, read: ReadItem[T], indices: Sequence[int]) -> Iterator[T]:
    if _has_workers(source.loader):
        yield from _like_workers(source.items, read, indices, source.loader)
        return
    if source._stuck:
        raise source._stuck[0]
    try:
        yield from _forked(source, read, indices)
    except _StuckError as error:
        source._stuck.append(error)
        raise


# ---- the training's kind of workers ----------------------------------------------------------------------------------


def _has_workers(loader: Any) -> bool:
    return isinstance(loader, DataLoader) and loader.num_workers > 0


class _Through(Dataset[bytes]):
    """A data set whose items are the results of ``read``, as bytes."""

    def __init__(self, dataset: Any, read: ReadItem[Any]) -> None:
        self.dataset = dataset
        self.read = read

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> bytes:
        return _outcome(self.dataset, self.read, index)


def _begin(own_start: Callable[[int], None] | None, dataset: Any, worker: int) -> None:
    """Starts as a worker of the training does: its data set is in `get_worker_info`, where many open their file."""
    _reopen_files()
    object.__setattr__(get_worker_info(), "dataset", dataset)  # it refuses any other way
    if own_start is not None:
        own_start(worker)


def _like_workers(dataset: Any, read: ReadItem[T], indices: Sequence[int], loader: Any) -> Iterator[T]:
    with_workers: DataLoader[bytes] = DataLoader(
        _Through(dataset, read),
        sampler=indices,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=1 if isinstance(dataset, FirstItems) else min(loader.num_workers, len(indices), _MOST_WORKERS),
        multiprocessing_context=loader.multiprocessing_context,
        worker_init_fn=partial(_begin, loader.worker_init_fn, loader.dataset),
        generator=torch.Generator(),  # not the global one, from which a loader draws its seed
        timeout=PATIENCE,
    )
    for outcome in with_workers:
        yield _result(outcome)


def _as_it_is(outcome: Any) -> Any:
    return outcome


# ---- a process of our own --------------------------------------------------------------------------------------------


class _StuckError(TimeoutError):
    """A forked process waits, perhaps for ever."""


def _forked(source: Source, read: ReadItem[T], indices: Sequence[int]) -> Iterator[T]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(ours, theirs, source.items, read, indices), daemon=True)
    child.start()
    theirs.close()
    try:
        for position in range(len(indices)):
            _await(ours, PATIENCE if position else min(FIRST_PATIENCE, PATIENCE), source.say)
            yield _result(ours.recv_bytes())
    except _StuckError:
        child.terminate()  # it will not notice that nobody listens
        raise
    finally:
        ours.close()
        _see_off(child)


def _await(pipe: Any, patience: float, say: Callable[[str], None] | None) -> None:
    """Waits until there is something to receive; says so where a person begins to wonder."""
    if pipe.poll(min(UNNOTICED, patience)):
        return
    if say is not None:
        say(f"waiting for an item of the data set, which a process of its own reads; given up after {patience:.0f} s")
    if not pipe.poll(max(0.0, patience - UNNOTICED)):
        raise _StuckError(
            f"an item was not read within {patience:.0f} s by a process of its own, perhaps since it waits for a "
            "thread, which a forked process does not have; pass CAMCallback(Probe.from_dataset(dataset)), which "
            "forks none"
        )


def _see_off(child: Any) -> None:
    """Lets a process end by itself, then by an exception. One that is killed keeps the locks it has, and all wait."""
    child.join(LEAVING)
    if child.is_alive():
        child.terminate()
        child.join(LEAVING)
    child.kill()
    child.join()


def _send(ours: Any, theirs: Any, dataset: Any, read: ReadItem[Any], indices: Sequence[int]) -> None:
    signal.signal(signal.SIGTERM, _leave)  # Lightning's own, which is inherited, would ask a cluster to start again
    torch.set_num_threads(1)  # threads of the parent are not here, and waiting for them would have no end
    ours.close()  # else nobody notices that the parent has closed its own
    _reopen_files()
    with suppress(BrokenPipeError):  # the parent wants no more
        for index in indices:
            theirs.send_bytes(_outcome(dataset, read, index))


def _leave(*_: Any) -> None:
    sys.exit(0)


def _outcome(dataset: Any, read: ReadItem[Any], index: int) -> bytes:
    """The result or the exception of ``read``, as bytes, so that processes share no memory and no file."""
    try:
        result: tuple[bool, Any] = (True, read(dataset, index))
    except Exception as error:
        result = (False, error)
    try:
        return pickle.dumps(result)
    except Exception:  # an exception of the data set's own may be anything
        return pickle.dumps((False, RuntimeError(raised(result[1]))))


def _result(outcome: bytes) -> Any:
    is_read, result = pickle.loads(outcome)
    if not is_read:
        raise result
    return result


def _reopen_files() -> None:
    """Opens inherited files again, because after a fork both processes share one position in each open file."""
    folder = Path("/proc/self/fd")
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        with suppress(OSError):  # closed since, or deleted
            _reopen(int(path.name), path)


def _reopen(number: int, path: Path) -> None:
    import fcntl  # here, since Windows has none

    is_read_only = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    if is_read_only and stat.S_ISREG(os.fstat(number).st_mode):
        place = os.lseek(number, 0, os.SEEK_CUR)
        again = os.open(path, os.O_RDONLY)
        os.lseek(again, place, os.SEEK_SET)
        os.dup2(again, number, inheritable=False)
        os.close(again)
