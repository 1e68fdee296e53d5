"""A saved probe: a folder with arrays and a manifest. It has no pickle, and an incomplete or changed one is refused.

The arrays are written first, with the probe's fingerprint in their names. Then the new manifest, which points to them,
replaces the old one in one step. So the folder holds the old probe or the new one, even if a save is interrupted.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..text import printable

SCHEMA = 1
MANIFEST = "manifest.json"
# Types and number of axes of each array. A file with another header is refused before its values are read.
_KINDS = {
    "images": (("float32", "uint8"), (4, 5)),  # five of volumes
    "targets": (("int64",), (1,)),
    "masks": (("bool",), (3, 4)),
    "labels": (("int64",), (2,)),
    "values": (("float32",), (2,)),
    "regions": (("uint8",), (3,)),
    "boxes": (("float32",), (2,)),
}
_REST = re.compile("rest_[0-9]{1,3}")  # by their place in the names of the rest
_INTEGERS = tuple(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))
_REST_TYPES = ("float32", "float64", "float16", "bool", "complex64", "complex128", *_INTEGERS)
_REST_AXES = tuple(range(1, 33))
_FACTS = {"arrays", "checksum", "classes", "fingerprint", "mask_sources", "names", "preprocess", "schema"}
_HEX = re.compile("[0-9a-f]{64}")
_START_BYTES = 1_000  # read from a damaged manifest: ours begins with `schema` and `arrays`
_MOST_BYTES = 100_000_000  # of a manifest; enough for a million long names
# What numpy raises on broken headers, which it reads as Python literals: `MemoryError` is its parser's word for depth.
_BROKEN_HEADER = (
    *(OSError, ValueError, EOFError, TypeError, OverflowError),
    *(SyntaxError, TokenError, RecursionError, MemoryError),
)

Arrays = Mapping[str, NDArray[Any]]


def digest(
    arrays: Arrays, classes: Sequence[str], names: Sequence[str], attributes: Mapping[str, Sequence[str]] | None = None
) -> str:
    """sha256 over the arrays (name, dtype, shape, values) and the texts, in hex; attributes count if there are any."""
    kinds = {name: [str(array.dtype), array.shape] for name, array in sorted(arrays.items())}
    texts = [classes, names, kinds, *([sorted(attributes.items())] if attributes else [])]
    total = hashlib.sha256(json.dumps(texts).encode())
    for name in kinds:
        total.update(np.ascontiguousarray(arrays[name]).data)
    return total.hexdigest()


def save(folder: Path, arrays: Arrays, facts: Mapping[str, Any]) -> None:
    """Saves ``arrays`` and ``facts`` (JSON types: fingerprint, classes, names, mask_sources, preprocess, attributes).

    Attributes are left out where there are none. The arrays of the probe that was saved there before are removed. All
    other files in the folder stay.

    Raises:
        ValueError: The folder has a manifest that is not of a probe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    old_files = _files_of_predecessor(folder)
    files = {name: _file(name, facts["fingerprint"]) for name in arrays}
    for name, data in files_of(arrays, facts):
        with _replacing(folder / name) as file:
            file.write(data)
    for old_file in old_files - set(files.values()):
        (folder / old_file).unlink(missing_ok=True)


def files_of(arrays: Arrays, facts: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The files of a saved probe in the order in which they are written, each with its name."""
    for name, array in arrays.items():
        file = BytesIO()
        np.save(file, array, allow_pickle=False)
        yield _file(name, facts["fingerprint"]), file.getvalue()
    content = {"schema": SCHEMA, "arrays": sorted(arrays), **facts}
    yield MANIFEST, json.dumps({**content, "checksum": _checksum(content)}, indent=1).encode()


def is_saved(folder: Path) -> bool:
    """Whether there is a saved probe, as far as can be seen without reading it."""
    return (folder / MANIFEST).is_file() and _is_of_a_probe(folder / MANIFEST)


def load(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Reads the arrays and the facts that `save` wrote.

    Raises:
        ValueError: The folder has no saved probe, or the probe is incomplete or was changed.
    """
    facts = _facts(folder / MANIFEST)
    mapped = {name: _mapped(folder, name, facts) for name in facts["arrays"]}
    if digest(mapped, facts["classes"], facts["names"], facts.get("attributes")) != facts["fingerprint"]:
        raise ValueError(f"the probe in {folder} is not the one that was saved: its arrays were changed; save it again")
    return {name: np.array(array) for name, array in mapped.items()}, facts


def _files_of_predecessor(folder: Path) -> set[str]:
    """The arrays that the folder's manifest lists; none if it is damaged, because nobody can tell whose they are."""
    path = folder / MANIFEST
    if not path.exists():
        return set()
    try:
        facts = _facts(path)
    except ValueError as error:
        if _is_of_a_probe(path):
            return set()
        raise ValueError(
            f"{path} is not of a saved probe; save the probe to another folder, or move that file"
        ) from error
    return {_file(name, facts["fingerprint"]) for name in facts["arrays"]}


def _is_of_a_probe(path: Path) -> bool:
    """Whether a damaged manifest was one of ours. If so, it may be replaced."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    return b'"schema"' in start and b'"arrays"' in start


def _file(name: str, fingerprint: str) -> str:
    return f"{name}-{fingerprint[:12]}.npy"


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that replaces ``path`` in one step, after all of it is on the disk."""
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
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} has more than {_MOST_BYTES // 10**6} MB, which no probe needs; save the probe again")
    try:
        facts = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}); remove it and save the probe again") from error
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        schema = facts.get("schema") if isinstance(facts, dict) else type(facts).__name__
        raise ValueError(f"{path} must have schema {SCHEMA}, got {schema}; save the probe again with this version")
    content = {key: value for key, value in facts.items() if key != "checksum"}
    if (
        facts.keys() - {"attributes", "rest"} != _FACTS
        or facts["checksum"] != _checksum(content)
        or not _is_sound(facts)
    ):
        raise ValueError(f"{path} is not what was saved: it was changed; save the probe again")
    return facts


def _is_sound(facts: Mapping[str, Any]) -> bool:
    """Whether the entries can come from `save`. Entries that name files must not lead out of the folder."""
    fingerprint, arrays = facts["fingerprint"], facts["arrays"]
    texts = all(_are_texts(facts[key]) for key in ("arrays", "classes", "names", "mask_sources"))
    named = isinstance(fingerprint, str) and _HEX.fullmatch(fingerprint) is not None
    named &= _are_attributes(facts.get("attributes", {}), len(facts["names"]) if texts else 0)
    rest = facts.get("rest", [])
    known = {*_KINDS, *(f"rest_{place}" for place in range(len(rest)))} if _are_texts(rest) else set()
    return texts and named and _is_step(facts["preprocess"]) and {"images", "targets"} <= set(arrays) <= known


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _are_attributes(values: object, n: int) -> bool:
    return isinstance(values, dict) and all(_are_texts(each) and len(each) == n for each in values.values())


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(type(value) in (int, float) and abs(value) < math.inf for value in values)


def _is_step(written: object) -> bool:
    """Whether it has the form of `normalization.as_written`."""
    if not isinstance(written, dict):
        return written in (None, "callable")
    rows = written.keys() == {"mean", "std"} and all(map(_are_numbers, written.values()))
    return rows and len(written["mean"]) == len(written["std"]) > 0 and all(written["std"])


def _mapped(folder: Path, name: str, facts: Mapping[str, Any]) -> NDArray[Any]:
    """An array on the disk. It is mapped, so a header that promises more than the file holds allocates nothing."""
    path = folder / _file(name, facts["fingerprint"])
    if not path.is_file():  # opening a pipe would wait for ever
        raise ValueError(f"{path} cannot be read (there is no such file); save the probe again")
    try:
        mapped: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except _BROKEN_HEADER as error:
        raise ValueError(f"{path} cannot be read ({printable(error)}); save the probe again") from error
    types, n_axes = (_REST_TYPES, _REST_AXES) if _REST.fullmatch(name) else _KINDS[name]
    if str(mapped.dtype) not in types or mapped.ndim not in n_axes:
        expected, actual = f"{types[0]} of {n_axes[0]} dimensions", f"{mapped.dtype} of {mapped.ndim}"
        raise ValueError(f"{path} must hold {expected}, got {actual}; save the probe again")
    if len(mapped) != len(facts["names"]):
        raise ValueError(f"{path} must hold {len(facts['names'])} rows, got {len(mapped)}; save the probe again")
    return mapped
