"""The self-check of a look reads all state of a model before and after, and restores everything that differs.

`untouched` restores the usual changes of a forward pass at every look. It does not notice weights that are written
through ``.data``, for example. The self-check does, because it reads all parameters. For a ResNet-50 this takes 0.2 s
on one CPU thread: too slow for every look, cheap for the first.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .guard import GENERATORS, MOST_BYTES, has_bytes, random_states, refill
from .model_state import MOST_ITEMS, held_by, named_by_methods, own_classes

MOST_COPIED = 2**30  # bytes of a model's state that are copied, to the host, so that they can be put back
_PLAIN = (bool, int, float, complex, str, bytes)  # texts compare NaN with NaN, and 0.0 with -0.0
_CHUNK = 2**18  # words that are summed at once: the products take 2 MiB, and each device holds as many factors


class TouchedError(RuntimeError):
    """A look has changed something; the message says what."""


@dataclass(frozen=True, eq=False)
class _Part:
    """One thing that must stay the same: its name, how to read it, and how to put back what was read, if at all."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object] | None = None


@contextmanager
def self_checked(model: nn.Module) -> Iterator[None]:
    """Compares everything around a look, and puts back what differs, whatever happens inside.

    Everything is parameters, buffers and ``.grad`` bit for bit, ``requires_grad``, attributes and hooks of every
    module, random states, torch's modes and switches, the tensors and generators that modules hold in objects of other
    kinds, attributes of the user's own classes, and the global containers that their methods name. Of a model of more
    than `MOST_COPIED` bytes checksums are kept, and its tensors cannot be put back.

    Raises:
        TouchedError: Something differs. An exception from inside goes first.
    """
    parts = list(_parts(model))
    before = [part.read() for part in parts]
    changed: list[_Part] = []
    try:
        yield
    finally:
        for part, value in zip(parts, before, strict=True):
            if not _same(part.read(), value):
                changed.append(part)
                if part.write is not None:
                    part.write(value)
    if changed:
        raise TouchedError(_description(changed))


def _description(changed: Sequence[_Part]) -> str:
    names = list(dict.fromkeys(part.name for part in changed))
    lasting = list(dict.fromkeys(part.name for part in changed if part.write is None))
    verb = "was" if len(names) == 1 else "were"
    rest = f"what could not be put back: {_listed(lasting)}" if lasting else "all of it is put back"
    return f"{_listed(names)} {verb} changed by the model's own forward; {rest}"


def _listed(names: Sequence[str], most: int = 3) -> str:
    """The first few of the names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _parts(model: nn.Module) -> Iterator[_Part]:
    held = list(held_by(model))
    tensors = {name: tensor for name, tensor in _tensors(model, held) if _is_plain(tensor)}
    devices = {tensor.device for tensor in tensors.values()}
    yield from _contents(tensors)
    for name, parameter in model.named_parameters():
        yield from _roles(name, parameter)
    for name, module in model.named_modules():
        yield _Part(f"attributes or hooks of {name or type(model).__name__!r}", partial(_attributes, module))
    named = list(named_by_methods(model))
    inside = [(f"{name}.{key}", item) for name, value in named for key, item in _pairs(value)]
    for name, value in {id(value): (name, value) for name, value in (*named, *inside, *held)}.values():
        if type(value) in GENERATORS:
            read, write = GENERATORS[type(value)]
            yield _Part(f"random generator {name!r}", partial(read, value), partial(write, value))
    for name, value in named:
        if isinstance(value, (list, dict, set, deque)) and len(value) <= MOST_ITEMS:
            yield _Part(f"variable {name!r}", partial(_Items.of, value), partial(_put_items_back, value))
    for kind in own_classes(model):
        yield _Part(f"class {kind.__name__!r}", partial(_Items.of_class, kind), partial(_put_class_back, kind))
    for name, read_state, write_state in random_states(devices):
        yield _Part(name, read_state, write_state)
    yield from _switches({device.type for device in devices})


# ---- tensors ---------------------------------------------------------------------------------------------------------


def _tensors(model: nn.Module, held: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Tensor]]:
    """Each tensor once, by name."""
    for name, parameter in model.named_parameters():
        yield f"parameter {name!r}", parameter
        if parameter.grad is not None:
            yield f"gradient of {name!r}", parameter.grad
    for name, buffer in model.named_buffers():
        yield f"buffer {name!r}", buffer
    identities = set(map(id, (*model.parameters(), *model.buffers())))
    for name, value in held:
        if _is_plain(value) and value.grad_fn is None and value.nbytes <= MOST_BYTES and id(value) not in identities:
            identities.add(id(value))
            yield f"tensor {name!r}", value


def _is_plain(value: Any) -> bool:
    return type(value) in (Tensor, nn.Parameter) and has_bytes(value)


def _contents(tensors: Mapping[str, Tensor]) -> Iterator[_Part]:
    """Values, read as checksums where they are; copied as well if there are not too many."""
    fits = sum(tensor.nbytes for tensor in tensors.values()) <= MOST_COPIED
    # A random factor for each place: a plain sum would not change if two values swapped places.
    factors = torch.randint(-(2**62), 2**62, (_CHUNK,), generator=torch.Generator().manual_seed(0), device="cpu")
    placed = {tensor.device: factors.to(tensor.device) for tensor in tensors.values()}
    for name, tensor in tensors.items():
        write = partial(_put_back, tensor, tensor.data, tensor.detach().to("cpu", copy=True)) if fits else None
        yield _Part(name, partial(_digest, tensor, placed[tensor.device]), write)


def _digest(tensor: Tensor, factors: Tensor) -> tuple[Any, ...]:
    """Where the values lie, and a sum that depends on every bit and its place; integers wrap around."""
    flat = tensor.detach().reshape(-1)
    words = flat.view({1: torch.uint8, 2: torch.int16}.get(flat.element_size(), torch.int32))
    total = torch.zeros((), dtype=torch.int64, device=flat.device)
    for part in torch.split(words, _CHUNK):
        total = total * 31 + (part * factors[: len(part)]).sum()
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, int(total)


def _put_back(tensor: Tensor, place: Tensor, copy: Tensor, _digest: Any) -> None:
    """The old values into the old memory, past autograd's books, as they were written."""
    with torch.inference_mode(tensor.is_inference()):
        tensor.data = place
        place.copy_(copy)


def _roles(name: str, parameter: nn.Parameter) -> Iterator[_Part]:
    """What a parameter is besides its values."""
    grad = parameter.grad
    yield _Part(f"gradient of {name!r}", lambda: id(parameter.grad), lambda _: setattr(parameter, "grad", grad))
    yield _Part(f"requires_grad of {name!r}", lambda: parameter.requires_grad, parameter.requires_grad_)
    yield _Part(f"hooks of {name!r}", partial(_hooks, parameter), partial(_put_hooks_back, parameter))


def _hooks(parameter: nn.Parameter) -> dict[Any, Any]:
    return dict(parameter._backward_hooks or {})


def _put_hooks_back(parameter: nn.Parameter, hooks: dict[Any, Any]) -> None:
    if parameter._backward_hooks is not None:
        parameter._backward_hooks.clear()
        parameter._backward_hooks.update(hooks)


# ---- modules and switches --------------------------------------------------------------------------------------------


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Which objects a module has, among them its parameters, children and hooks: who they are, not what they hold."""
    return {
        name: [(key, id(item)) for key, item in value.items()] if isinstance(value, dict) else id(value)
        for name, value in vars(module).items()
    }


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    """Keys and items of a short dictionary or list."""
    if not isinstance(value, (dict, list)) or len(value) > MOST_ITEMS:
        return []
    return list(value.items() if isinstance(value, dict) else enumerate(value))


@dataclass(frozen=True, eq=False)
class _Items:
    """Keys and values, kept alive. Numbers and texts are compared by value, all else by identity."""

    keys: list[Any]
    values: list[Any]

    @classmethod
    def of(cls, container: Any) -> "_Items":
        """The items of a container; without keys where it has none."""
        if isinstance(container, dict):
            return cls(list(container), list(container.values()))
        return cls([], list(container))

    @classmethod
    def of_class(cls, kind: type) -> "_Items":
        """Attributes of a class itself, without Python's own."""
        return cls.of({name: value for name, value in vars(kind).items() if not name.startswith("__")})

    def is_like(self, other: "_Items") -> bool:
        """Whether nothing has come, gone or become another."""
        return len(self.values) == len(other.values) and all(
            one is another or (type(one) is type(another) and type(one) in _PLAIN and repr(one) == repr(another))
            for one, another in zip(self.keys + self.values, other.keys + other.values, strict=True)
        )


def _put_items_back(container: Any, items: _Items) -> None:
    is_dictionary = isinstance(container, dict)
    refill(container, dict(zip(items.keys, items.values, strict=True)) if is_dictionary else items.values)


def _put_class_back(kind: type, items: _Items) -> None:
    before = dict(zip(items.keys, items.values, strict=True))
    for name in {name for name in vars(kind) if not name.startswith("__")} - before.keys():
        type.__delattr__(kind, name)
    for name, value in before.items():
        if vars(kind).get(name) is not value:
            type.__setattr__(kind, name, value)


def _switches(device_types: Iterable[str]) -> Iterator[_Part]:
    """What a forward can set for the whole process."""
    cudnn = torch.backends.cudnn
    yield _Part("gradient mode", torch.is_grad_enabled, torch.set_grad_enabled)
    yield _Part("inference mode", torch.is_inference_mode_enabled)
    yield _Part("anomaly detection", torch.is_anomaly_enabled, torch.set_anomaly_enabled)
    yield _Part("default dtype", torch.get_default_dtype, torch.set_default_dtype)
    yield _Part("number of threads", torch.get_num_threads, torch.set_num_threads)
    yield _Part("deterministic mode", _deterministic, _set_deterministic)
    yield _Part("cudnn.benchmark", lambda: cudnn.benchmark, partial(setattr, cudnn, "benchmark"))
    yield _Part("cudnn.deterministic", lambda: cudnn.deterministic, partial(setattr, cudnn, "deterministic"))
    for kind in filter(torch.amp.is_autocast_available, {"cpu", *device_types}):
        yield _Part(f"autocast on {kind}", partial(torch.is_autocast_enabled, kind), partial(_set_autocast, kind))


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(mode: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(mode[0], warn_only=mode[1])


def _set_autocast(device_type: str, enabled: bool) -> None:
    torch.set_autocast_enabled(device_type, enabled)


def _same(one: Any, other: Any) -> bool:
    """Equality that goes into the arrays and tensors of which random states are made."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, _Items):
        return one.is_like(other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    return bool(one == other)
