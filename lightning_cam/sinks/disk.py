"""What a disk takes: names of files that every file system allows, and room for them."""

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from ..text import words

MOST_BYTES_OF_NAME = 90  # with what is put before and behind it 135; encrypted home folders (eCryptfs) allow 143
MIN_FREE = 500_000_000  # bytes that pictures leave on the disk: the next checkpoint matters more


def safe_name(name: str) -> str:
    """A file name without its ending that stays in its folder and on every file system; different names stay different.

    Letters of every script are kept. The digest tells names apart that a file system takes for the same, because of
    capitals or of how accents are stored; with it no name is a reserved one.

    >>> safe_name("../../etc/passwd"), safe_name("狗")
    ('etc_passwd-3754d6cb3a', '狗-cecd675a4c')
    """
    letters = words(name).encode(sys.getfilesystemencoding(), "ignore")[:MOST_BYTES_OF_NAME]
    readable = letters.decode(sys.getfilesystemencoding(), "ignore").lstrip("-_")[:40]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{readable or 'probe'}-{digest}"


def require_space(folder: Path) -> None:
    """Raises an OSError while there is still room: a full disk would fail the training's own writes as well."""
    if folder.exists() and shutil.disk_usage(folder).free < MIN_FREE:  # a remote folder does not exist here
        raise OSError(f"less than {MIN_FREE // 10**6} MB free at {folder}, no room for pictures")


def require_room(folder: Path, n_bytes: int, *, behind: int = 0) -> None:
    """Raises an OSError if ``n_bytes`` cannot be written behind the first ``behind`` bytes of a file in ``folder``.

    Free space does not tell: a quota, or a limit on the size of files, may be nearer. So room is taken and given back,
    where the system can do so without writing.
    """
    if not hasattr(os, "posix_fallocate") or not folder.exists():  # macOS, Windows; a remote folder
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), behind, n_bytes)
        except OSError as error:
            if error.errno in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT):  # others: this file system cannot tell
                raise
