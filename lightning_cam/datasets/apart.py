"""Items read apart from the training's own data set, whose open files, generators and counters stay as they are.

Where the training's loader has workers, workers like these read. Otherwise a process does that is forked for it, so
that nothing which happens there comes back. Where that fails, or nobody trains, a copy of the data set is read.
"""

import copy
import multiprocessing
import os
import pickle
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

T = TypeVar("T")
ReadItem: TypeAlias = Callable[[Any, int], T]  # a data set and an index to what is read there

PATIENCE = 60.0  # seconds for one item; a forked process can wait for ever for a thread that was not forked with it
UNNOTICED = 2.0  # seconds after which a person who waits wants to know for what
_MOST_WORKERS = 8  # they read 64 items at least
_SHARED_FROM = 2**20  # bytes of an array, from which on it is data rather than state, and a copy has the same one
_MOST_OBJECTS = 10_000  # in a data set; a container with more is data


@dataclass(frozen=True)
class Source:
    """A data set to read apart from whoever uses it.

    Args:
        dataset: The user's own.
        loader: The training's loader of it; None where nobody trains.
        say: Is told how far reading is, once it takes more than `UNNOTICED` seconds; None for silence.
    """

    dataset: Any
    loader: Any = None
    say: Callable[[str], None] | None = None

    @cached_property
    def twin(self) -> Any:
        """A copy, to ask for labels and names: where there are properties, they may open files. None without one."""
        return copy_of(self.dataset)

    @property
    def asked(self) -> Any:
        """The copy, or the data set itself."""
        return self.dataset if self.twin is None else self.twin

    def read(self, read: ReadItem[T], indices: Sequence[int]) -> Iterator[T]:
        """What ``read`` gives for each index, in order. After an early stop, a few items were read in vain."""
        started, said = time.monotonic(), False
        for n_read, result in enumerate(_in_any_way(self, read, indices), 1):
            yield result
            seconds = time.monotonic() - started
            if self.say is not None and not said and seconds > UNNOTICED and n_read < len(indices):
                said = True
                rest = seconds / n_read * (len(indices) - n_read)
                self.say(f"reading up to {len(indices)} items for the probe, which takes {rest:.0f} s more at most")


def item_at(dataset: Any, index: int) -> Any:
    """Reads an item as it is."""
    return dataset[index]


def _in_any_way(source: Source, read: ReadItem[T], indices: Sequence[int]) -> Iterator[T]:
    dataset, loader = source.dataset, source.loader
    n_read, failure = 0, None
    if loader is not None and (_has_workers(loader) or sys.platform == "linux"):
        elsewhere = _like_workers if _has_workers(loader) else _forked
        try:
            for result in elsewhere(dataset, read, indices, loader):
                yield result
                n_read += 1
            return
        except Exception as error:  # of the item, or of the process; reading a copy tells
            failure = error
    if source.twin is None and failure is not None:
        raise failure
    for index in indices[n_read:]:
        yield read(source.asked, index)


def copy_of(dataset: Any) -> Any:
    """A copy with state of its own and the same data; None where one cannot be made, because a file is open, say."""
    try:
        return copy.deepcopy(dataset, {id(shared): shared for shared in _data_in(dataset)})
    except Exception:  # of whatever the data set holds
        return None


def _data_in(dataset: Any) -> Iterator[Any]:
    """What is too large to be state: long containers, large arrays and tensors, and all beyond many objects."""
    waiting, known = deque([dataset]), {id(dataset)}
    n_objects = 0
    while waiting:
        value = waiting.popleft()
        n_objects += 1
        if n_objects > _MOST_OBJECTS or _is_data(value):
            yield value
            continue
        inside = value if isinstance(value, (dict, list, tuple, set, deque)) else getattr(value, "__dict__", {})
        for item in list(inside.values() if isinstance(inside, dict) else inside):
            if id(item) not in known and not isinstance(item, (str, bytes, int, float, type(None))):
                known.add(id(item))
                waiting.append(item)


def _is_data(value: Any) -> bool:
    if isinstance(value, (Tensor, np.ndarray)):
        return bool(value.nbytes >= _SHARED_FROM)
    if isinstance(value, Image.Image):  # a copy of one with a palette is another picture
        return True
    return isinstance(value, (dict, list, tuple, set, deque)) and len(value) > _MOST_OBJECTS


# ---- the training's kind of workers ----------------------------------------------------------------------------------


def _has_workers(loader: Any) -> bool:
    return isinstance(loader, DataLoader) and loader.num_workers > 0


class _Seen(Dataset[bytes]):
    """A data set through ``read``."""

    def __init__(self, dataset: Any, read: ReadItem[Any]) -> None:
        self.dataset = dataset
        self.read = read

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> bytes:
        return _outcome(self.dataset, self.read, index)


def _begin(own_start: Callable[[int], None] | None, dataset: Any, worker: int) -> None:
    """As the training's worker begins, with its data set in `get_worker_info`, where many open a file."""
    _reopen_files()
    object.__setattr__(get_worker_info(), "dataset", dataset)  # it refuses any other way
    if own_start is not None:
        own_start(worker)


def _like_workers(dataset: Any, read: ReadItem[T], indices: Sequence[int], loader: Any) -> Iterator[T]:
    with_workers: DataLoader[bytes] = DataLoader(
        _Seen(dataset, read),
        sampler=indices,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=min(loader.num_workers, len(indices), _MOST_WORKERS),
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


def _forked(dataset: Any, read: ReadItem[T], indices: Sequence[int], _loader: Any) -> Iterator[T]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(theirs, dataset, read, indices), daemon=True)
    child.start()
    theirs.close()
    try:
        for _ in indices:
            if not ours.poll(PATIENCE):
                raise TimeoutError(f"an item was not read within {PATIENCE:.0f} s")
            yield _result(ours.recv_bytes())
    finally:
        child.kill()
        child.join()
        ours.close()


def _send(pipe: Any, dataset: Any, read: ReadItem[Any], indices: Sequence[int]) -> None:
    torch.set_num_threads(1)  # threads of the parent are not here, and waiting for them would have no end
    _reopen_files()
    for index in indices:
        pipe.send_bytes(_outcome(dataset, read, index))


def _outcome(dataset: Any, read: ReadItem[Any], index: int) -> bytes:
    """What was read, or raised: as bytes, so that no memory or file has to be shared."""
    try:
        result: tuple[bool, Any] = (True, read(dataset, index))
    except Exception as error:
        result = (False, error)
    try:
        return pickle.dumps(result)
    except Exception:  # an exception of the data set's own may be anything
        return pickle.dumps((False, RuntimeError(str(result[1]))))


def _result(outcome: bytes) -> Any:
    is_read, result = pickle.loads(outcome)
    if not is_read:
        raise result
    return result


def _reopen_files() -> None:
    """Files that were open before a fork share one place with the parent: from here on this process has its own."""
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
