"""What a forked process shares with the one that forked it: positions in open files, and shared memory."""

import ctypes
import mmap
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path

# Bytes. Counters and locks take a page, an arena of `multiprocessing` 4 MiB. What is beyond is data, not state.
_MOST_MEMORY = 2**26
_MAP_FIXED = 0x10  # on Linux; `mmap` does not have it
_MAPPING = re.compile(r"(\w+)-(\w+) rw.s \w+ \S+ \d+ *(/.*)")


def reopen_files() -> None:
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


def unshare_memory(*, keeps_locks: bool) -> None:
    """Puts a copy in the place of shared memory, such as an `mp.Value` or a shared tensor, for this process alone.

    Args:
        keeps_locks: Whether locks stay shared, for processes that talk through queues. A process that talks to nobody
            may be killed while it holds a lock, and then nobody else would ever get it.
    """
    with suppress(OSError, AttributeError):  # not Linux
        system = ctypes.CDLL(None)
        system.mmap.restype, address, size = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
        system.mmap.argtypes = [address, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
        with Path("/proc/self/mem").open("rb", buffering=0) as memory:
            left = _MOST_MEMORY
            for length, start in sorted(_shared(keeps_locks=keeps_locks)):
                left -= length
                if left < 0:
                    break
                with suppress(OSError):  # behind the end of its file, where reading through a pointer kills
                    _unshare(system, memory, start, length)


def _shared(*, keeps_locks: bool) -> Iterator[tuple[int, int]]:
    """Length and start of each region of memory that this process and others write to; devices are left alone."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if (found := _MAPPING.fullmatch(line)) is None:
            continue
        start, end, path = int(found[1], 16), int(found[2], 16), found[3]
        is_lock, is_memory = path.startswith("/dev/shm/sem."), path.startswith(("/dev/shm/", "/dev/zero"))
        if (is_memory or not path.startswith("/dev/")) and not (is_lock and keeps_locks):
            yield end - start, start


def _unshare(system: ctypes.CDLL, memory: FileIO, start: int, length: int) -> None:
    memory.seek(start)
    content = memory.read(length)
    if len(content) < length:
        return
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
    system.mmap(start, length, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    ctypes.memmove(start, content, length)
