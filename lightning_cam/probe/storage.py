"""A folder of arrays and a manifest: no pickle, and a half-written or changed folder is not read.

The arrays carry the fingerprint of the whole in their names and are written first; then the manifest that points to
them replaces its predecessor in one step. Whatever interrupts a save, the folder holds the old probe or the new one.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

SCHEMA = 1
MANIFEST = "manifest.json"
# What each array must be; a file that says otherwise is refused before it is read.
_KINDS = {"images": ("float32", 4), "targets": ("int64", 1), "masks": ("bool", 3)}
_FACTS = {"arrays", "checksum", "classes", "fingerprint", "mask_sources", "names", "preprocess", "schema"}
_HEX = re.compile("[0-9a-f]{64}")

Arrays = Mapping[str, NDArray[Any]]


def digest(arrays: Arrays, classes: Sequence[str], names: Sequence[str]) -> str:
    """sha256 over the arrays (name, dtype, shape, values) and the texts, in hex."""
    kinds = {name: [str(array.dtype), array.shape] for name, array in sorted(arrays.items())}
    total = hashlib.sha256(json.dumps([classes, names, kinds]).encode())
    for name in kinds:
        total.update(np.ascontiguousarray(arrays[name]).data)
    return total.hexdigest()


def write(folder: Path, arrays: Arrays, facts: Mapping[str, Any]) -> None:
    """Writes ``arrays`` and ``facts`` (JSON types: fingerprint, classes, names, mask_sources, preprocess)."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: _file(name, facts["fingerprint"]) for name in arrays}
    for name, array in arrays.items():
        with _replacing(folder / files[name]) as file:
            np.save(file, array, allow_pickle=False)
    content = {"schema": SCHEMA, "arrays": sorted(arrays), **facts}
    with _replacing(folder / MANIFEST) as file:
        file.write(json.dumps({**content, "checksum": _checksum(content)}, indent=1).encode())
    for old in folder.glob("*-" + "[0-9a-f]" * 12 + ".npy"):
        if old.name not in files.values():
            old.unlink()


def read(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """What `write` wrote.

    Raises:
        ValueError: There is none, it is incomplete, or something in it was changed.
    """
    facts = _facts(folder / MANIFEST)
    arrays = {name: _array(folder, name, facts["fingerprint"]) for name in facts["arrays"]}
    if digest(arrays, facts["classes"], facts["names"]) != facts["fingerprint"]:
        raise ValueError(f"the probe in {folder} is not the one that was saved: its arrays were changed; save it again")
    return arrays, facts


def _file(name: str, fingerprint: str) -> str:
    return f"{name}-{fingerprint[:12]}.npy"


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of ``path`` in one step, once it is completely on the disk."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _facts(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(
            f"a saved probe was expected, {path.parent} has no {MANIFEST}; check the path, or save it again"
        )
    try:
        facts = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); save the probe again") from error
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        found = facts.get("schema") if isinstance(facts, dict) else type(facts).__name__
        raise ValueError(f"{path} must have schema {SCHEMA}, got {found}; save the probe again with this version")
    content = {key: value for key, value in facts.items() if key != "checksum"}
    if facts.keys() != _FACTS or facts["checksum"] != _checksum(content) or not _is_sound(facts):
        raise ValueError(f"{path} is not what was saved: it was changed; save the probe again")
    return facts


def _is_sound(facts: Mapping[str, Any]) -> bool:
    """Whether the entries that lead to files are what `write` makes: they must not lead out of the folder."""
    fingerprint, arrays = facts["fingerprint"], facts["arrays"]
    named = isinstance(fingerprint, str) and _HEX.fullmatch(fingerprint) is not None
    return named and isinstance(arrays, list) and {"images", "targets"} <= set(arrays) <= _KINDS.keys()


def _array(folder: Path, name: str, fingerprint: str) -> NDArray[Any]:
    path = folder / _file(name, fingerprint)
    try:
        # Mapped, so that a header that promises more than the file holds is an error instead of an allocation.
        mapped: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read ({error}); save the probe again") from error
    if (str(mapped.dtype), mapped.ndim) != _KINDS[name]:
        expected, found = "{} of {} dimensions".format(*_KINDS[name]), f"{mapped.dtype} of {mapped.ndim}"
        raise ValueError(f"{path} must hold {expected}, got {found}; save the probe again")
    return np.array(mapped)
