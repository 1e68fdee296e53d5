"""Values of attributes by file name: from a mapping, or from a CSV file with a column of file names."""

import csv
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from ..notices import warn
from ..text import printable
from .attributes import AttributeSource, AttributeSources, attribute_text

Attributes: TypeAlias = AttributeSources | str | PathLike[str]
"""Sources of values by the name of the attribute, or a CSV file of which each column with such values is one."""
_MOST_NAMED = 8  # columns, in a message


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a CSV file with a header; what a short row lacks is empty."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            delimiter = ";" if ";" in header and "," not in header else ","  # spreadsheets write either
            reader = csv.DictReader(file, restval="", delimiter=delimiter)
            return list(reader.fieldnames or []), list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} cannot be read as CSV ({error}); save it again, in UTF-8") from error


def by_position(attributes: Attributes | None, files: Sequence[Path] | None) -> AttributeSources | None:
    """The sources, with values by file name in the order of the files, whose folders are their classes.

    Args:
        attributes: A mapping by file name has keys such as "cat/3.png", "3.png" or "3", as far as one file has it.
        files: Of all items; None where nobody knows the files.

    Raises:
        ValueError: No file has a value, two files have the same name, or nobody knows the files.
    """
    if isinstance(attributes, (str, PathLike)):
        sources: AttributeSources = _columns(Path(attributes), _known(files))
    elif isinstance(attributes, Mapping) and any(isinstance(source, Mapping) for source in attributes.values()):
        sources = attributes
    else:
        return attributes
    known = _known(files)
    return {name: _listed(name, each, known) if isinstance(each, Mapping) else each for name, each in sources.items()}


def _known(files: Sequence[Path] | None) -> Sequence[Path]:
    if files is None:
        raise ValueError(
            "attributes by file name need to know which file an item is from, and the data set does not list its "
            "files; pass a value for each item, or a function from an item to a value"
        )
    return files


def of_files(attributes: Attributes | None, files: Sequence[Path]) -> AttributeSources | None:
    """The same for the files of a folder, which have no fields. A function gets the path of a file."""
    sources = by_position(attributes, files)
    values = sources.values() if isinstance(sources, Mapping) else ()
    fields = [word for word in values if isinstance(word, (str, int))]
    if fields:
        raise ValueError(
            f"files have no {fields[0]!r}; for a folder pass a function from a path to a value, a mapping from file "
            "names to values, or a CSV file"
        )
    return sources


def _listed(attribute: str, values: Mapping[str, object], files: Sequence[Path]) -> Sequence[object]:
    """The value of each file."""
    keys = _keys(attribute, [*map(str, values)], files)
    known = {_normal(str(key)): value for key, value in values.items()}
    found = [None if key is None else known[key] for key in keys]
    missing = [file for file, value in zip(files, found, strict=True) if not attribute_text(value)]
    if len(missing) == len(files):
        example = printable(next(iter(values), ""))
        raise ValueError(
            f"none of {len(files)} pictures has a value of {attribute!r}: the names are such as {example!r}, and the "
            f"files such as {_short(files[0])!r}; name them like the files"
        )
    if missing:
        warn(
            f"{len(missing)} of {len(files)} pictures have no value of {attribute!r}, such as {_short(missing[0])!r}; "
            "they count in no group"
        )
    return found


def _keys(attribute: str, names: Collection[str], files: Sequence[Path]) -> list[str | None]:
    """The name, of those that are given, which means each file; None where none does."""
    given = set(map(_normal, names))
    keys = [next((key for key in _names_of(file) if key in given), None) for file in files]
    meant: dict[str, list[Path]] = defaultdict(list)
    for key, file in zip(keys, files, strict=True):
        if key is not None:
            meant[key].append(file)
    for key, several in meant.items():
        if len(several) > 1:
            first, second = map(_short, several[:2])
            raise ValueError(
                f"the name {printable(key)!r} of {attribute!r} means {len(several)} files, such as {first!r} and "
                f"{second!r}; write the folder before it, as here"
            )
    return keys


def _names_of(file: Path) -> Iterator[str]:
    """What a file may be called: with more or fewer of its folders, the longest first; then without its suffix."""
    for path in (file, file.with_suffix("")):
        parts = path.as_posix().split("/")
        yield from ("/".join(parts[start:]) for start in range(len(parts)))


def _normal(name: str) -> str:
    return os.path.normpath(name).replace("\\", "/")


def _short(file: Path) -> str:
    """A file in its class folder."""
    return printable("/".join(file.parts[-2:]))


def _columns(path: Path, files: Sequence[Path]) -> dict[str, AttributeSource]:
    """By column of a CSV file, the values by file name; the column that names most of the files holds the names.

    Left out are columns of which all values differ, and one that is the class.
    """
    if not path.is_file():
        raise ValueError(f"attributes must be a mapping such as {{'site': ...}} or a CSV file, and '{path}' is no file")
    columns, rows = read_table(path)
    if not {_normal(column).rpartition("/")[2] for column in columns if column}.isdisjoint(file.name for file in files):
        raise ValueError(f"{path.name} begins with a picture; its first line must name the columns, such as file,site")
    given = {column: {_normal(row[column] or "") for row in rows} for column in columns if column}
    names = {file: set(_names_of(file)) for file in files}
    n_named = {column: sum(not names[file].isdisjoint(given[column]) for file in files) for column in given}
    key = max(n_named, key=lambda column: n_named[column], default="")
    listed = ", ".join(map(repr, columns[:_MOST_NAMED]))
    if not key or not n_named[key]:
        example = f", such as {_short(files[0])!r}"
        raise ValueError(f"no column of {path.name} names one of the pictures{example}; its columns are {listed}")
    kept = {column: _by_name(path, key, column, rows) for column in given if column != key}
    kept = {column: values for column, values in kept.items() if _may_group(values, files)}
    if not kept:
        raise ValueError(
            f"{path.name} has no column beside {key!r} with a value that several pictures share; its columns are "
            f"{listed}"
        )
    return dict(kept)


def _by_name(path: Path, key: str, column: str, rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        name, value = row[key] or "", row[column] or ""
        if values.setdefault(name, value) != value:
            raise ValueError(
                f"{path.name} has two values of {column!r} for {printable(name)!r}, one in line {number}; keep one"
            )
    return values


def _may_group(values: Mapping[str, str], files: Sequence[Path]) -> bool:
    """Whether a column can be an attribute: some value comes twice, and it is not the name of the class."""
    known = [value for value in values.values() if value]
    folders = {_normal(name): value for name, value in values.items()}
    of_files = [(file.parent.name, folders[key]) for file in files for key in _names_of(file) if key in folders]
    return len(set(known)) < len(known) and any(folder != value for folder, value in of_files)
