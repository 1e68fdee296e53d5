"""The code by which each picture keeps what a step gives beside it, found in items of the batch, to be pasted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import tv_tensors

from ..attribution.calls import Replay, zeros_in_code
from ..attribution.structures import tensors_in
from ..datasets.labels import LABEL_KEYS
from ..datasets.parts import parts_of

_DEEPEST = 3  # containers inside an item
_NEAR = 1e-3  # relative: a table may have come in single precision


@dataclass(frozen=True, eq=False)
class Sample:
    """Items of a batch, in its order.

    Attributes:
        items: As the data set gives them.
        read: The user's own ``read=``, if any.
    """

    items: Sequence[Any]
    read: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class OwnRest:
    """Code in two parts.

    Attributes:
        read: For ``read=lambda item:``; empty where no items are known.
        forward: For ``forward=lambda module, images, rest:``.
        names: Of what each picture keeps.
        missing: Those that no item has, for which dots stand in `read`.
    """

    read: str
    forward: str
    names: tuple[str, ...]
    missing: tuple[str, ...]


def own_rest(replay: Replay, module: nn.Module, sample: Sample | None) -> OwnRest | None:
    """How pictures keep what a call is given beside them; None where that is their labels alone."""
    names = dict(zip(replay.call.others, _as_names(replay.others(module)), strict=True))
    image, label, mask = ("", "", "") if sample is None else _parts(sample)
    given = dict(tensors_in((replay.call.args, replay.call.kwargs)))
    code, words = {}, {}
    for path, name in names.items():
        found = "" if sample is None else _found(given[path], name, sample.items)
        if name in LABEL_KEYS or (found and found == label):  # it would tell the model the answer
            words[path] = zeros_in_code(given[path])
            continue
        code[name], words[path] = found, f"rest[{name!r}]"
    if not code:
        return None
    read = "" if sample is None else _read_code(sample, image, label, mask, code)
    return OwnRest(read, replay.sketch(words), tuple(code), tuple(name for name in code if not code[name]))


def _read_code(sample: Sample, image: str, label: str, mask: str, code: Mapping[str, str]) -> str:
    kept = ", ".join(f"{name!r}: {each or '...'}" for name, each in code.items())
    rest = f"'rest': {{{kept}}}"
    if sample.read is None and isinstance(sample.items[0], Mapping):
        return f"{{**item, {rest}}}"
    marked = f"'mask': {mask}, " if mask else ""
    return f"{{'image': {image or 'image'}, 'label': {label or 'label'}, {marked}{rest}}}"


def _as_names(others: Sequence[str]) -> list[str]:
    """Names that can stand for arguments, each once."""
    names: list[str] = []
    for place, other in enumerate(others):
        name = other.replace("[", "_").replace("]", "")
        name = name if name.isidentifier() else f"input_{place}"
        names.append(f"{name}_{place}" if name in names else name)
    return names


def _parts(sample: Sample) -> tuple[str, str, str]:
    """Code of the image, the label and the mask of an item; empty where it is not known."""
    with suppress(Exception):  # whatever the user's code says to items in this process
        read = [item if sample.read is None else sample.read(item) for item in sample.items]
        images, labels, extras = zip(*map(parts_of, read), strict=True)
        masks = [next((part for part in each if isinstance(part, tv_tensors.Mask)), None) for each in extras]
        return _place(images, sample.items), _place(labels, sample.items), _place(masks, sample.items)
    return "", "", ""


def _place(parts: Sequence[Any], items: Sequence[Any]) -> str:
    """Code that leads to the very same part in each item."""
    own = [{code for code, leaf in _leaves(item) if leaf is part} for item, part in zip(items, parts, strict=True)]
    return min(set.intersection(*own), default="")


def _found(rows: Tensor, name: str, items: Sequence[Any]) -> str:
    """Code that leads from each item to its row ``rows (n, ...)``: of the same numbers, else of the same name."""
    common: dict[str, None] = {}
    for place, (item, row) in enumerate(zip(items, rows, strict=False)):
        codes = [code for code, leaf in _leaves(item) if _is_equal(leaf, row)]
        common = dict.fromkeys(codes if place == 0 else [code for code in common if code in codes])
    leaves = dict(_leaves(items[0]))
    named = [code for code in leaves if code.endswith(f"[{name!r}]")]
    code = next((each for each in named if each in common), next(iter(common), named[0] if named else ""))
    return _in_form(code, leaves[code], rows[0]) if code else ""


def _in_form(code: str, leaf: Any, row: Tensor) -> str:
    """The code, and what makes the step's tensor of it where that has another type or shape."""
    value = torch.as_tensor(leaf) if not isinstance(leaf, str) else row
    kind = "" if value.dtype == row.dtype else f".to({row.dtype})"
    shape = "" if value.shape == row.shape or value.numel() != row.numel() else f".reshape({tuple(row.shape)})"
    return f"torch.as_tensor({code}){kind}{shape}" if kind or shape else code


def _is_equal(leaf: Any, row: Tensor) -> bool:
    with suppress(TypeError, ValueError, RuntimeError):
        value, wanted = torch.as_tensor(leaf).double().flatten(), row.detach().cpu().double().flatten()
        return value.shape == wanted.shape and torch.allclose(value, wanted, rtol=_NEAR, equal_nan=True)
    return False


def _leaves(item: Any, code: str = "item", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Everything in an item that is no container, and lists of numbers, with the code that leads there."""
    yield code, item
    if depth < _DEEPEST and isinstance(item, (Mapping, tuple, list)):
        pairs = item.items() if isinstance(item, Mapping) else enumerate(item)
        for key, value in pairs:
            yield from _leaves(value, f"{code}[{key!r}]", depth + 1)
