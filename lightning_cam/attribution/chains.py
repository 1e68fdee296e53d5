"""Modules that a step calls one after the other, such as a backbone and its head, as one way from images to scores.

Hooks see what the step's own calls take and give. Where a module is given what another gave, perhaps pooled or
flattened in between, the two are a chain, which can be repeated with other images and written as code.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .arrivals import is_redirected, watched
from .calls import MOST_ROWS, Call, Link, Replay, kept_call
from .passing import Passing
from .structures import Path, mapped, tensors_in

_MOST = 64  # calls of a step that are looked at; a step that calls more, such as one that paints, has no short way
_NEAR = 1e-4  # of the largest value: a mean in another precision or order rounds differently
# What people write between two modules. The braces stand for the tensor.
_BETWEEN: Mapping[str, Callable[[Tensor], Tensor]] = {
    "{}": lambda x: x,
    "{}.flatten(1)": lambda x: x.flatten(1),
    "{}.mean((2, 3))": lambda x: x.mean((2, 3)),
    "{}.amax((2, 3))": lambda x: x.amax((2, 3)),
    "{}.mean(1)": lambda x: x.mean(1),
    "{}[:, 0]": lambda x: x[:, 0],
    "{}.flatten(2).mT": lambda x: x.flatten(2).mT,
    "{}.relu()": lambda x: x.relu(),
    "{}.relu().flatten(1)": lambda x: x.relu().flatten(1),
    "{}.relu().mean((2, 3))": lambda x: x.relu().mean((2, 3)),
    "torch.nn.functional.normalize({})": lambda x: F.normalize(x),
}


@dataclass(frozen=True, eq=False)
class Passage:
    """A call that the step itself made, and no other module: a few rows of what went in and of what came out."""

    name: str
    call: Call
    output: Any

    @property
    def given(self) -> Tensor | None:
        """The only tensor that went in, where it was the first argument."""
        tensors = list(tensors_in((self.call.args, self.call.kwargs)))
        is_only = len(tensors) == 1 and tensors[0][0] == ("0", "0") and tensors[0][1].ndim > 1
        return tensors[0][1] if is_only else None


class Passages:
    """Watches the calls of one step. `close` takes every hook away again.

    Attributes:
        made: The calls that have ended, in order.
    """

    def __init__(self, model: nn.Module) -> None:
        self.made: list[Passage] = []
        self._running: list[tuple[str, Call | None, int]] = []
        self._thread = threading.get_ident()
        self._handles = []
        for name, module, _ in watched(model):
            self._handles += [
                module.register_forward_pre_hook(Passing(partial(self._begin, name)), with_kwargs=True),
                module.register_forward_hook(Passing(self._end), always_call=True),
            ]

    def _begin(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() != self._thread or is_redirected(module):
            return
        call = None
        if not self._running and len(self.made) < _MOST:
            with suppress(Exception), torch.inference_mode(False), torch.no_grad():  # arguments may be of any kind
                call = kept_call(args, kwargs)
        self._running.append((name, call, _n_rows((args, kwargs))))

    def _end(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if threading.get_ident() != self._thread or not self._running:
            return
        name, call, n_rows = self._running.pop()
        if call is not None:
            with suppress(Exception), torch.inference_mode(False), torch.no_grad():  # see above
                self.made.append(Passage(name, call, mapped(output, partial(_rows, n=n_rows))))

    def close(self) -> None:
        """Takes the hooks away; safe to call twice."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _n_rows(arguments: Any) -> int:
    return next((len(tensor) for _, tensor in tensors_in(arguments)), 0)


def _rows(_path: Path, value: Any, n: int) -> Any:
    """A few rows of a tensor that has ``n``, nothing of any other one."""
    if not isinstance(value, Tensor):
        return value
    return value[: MOST_ROWS if value.ndim and len(value) == n else 0].detach().clone() if value.ndim else value


def chains_in(passages: Sequence[Passage], starts: Sequence[str]) -> list[Replay]:
    """The ways of two modules and more that begin with images at one of ``starts``, the longest first."""
    routes: list[Replay | None] = []
    for position, passage in enumerate(passages):
        place, link = _link(passages[:position], passage)
        before = None if link is None else routes[place]
        if before is not None and link is not None:
            routes.append(replace(before, links=(*before.links, link)))
        else:
            is_start = passage.name in starts and passage.call.images is not None
            routes.append(Replay(passage.name, passage.call) if is_start else None)
    chains = {route.names: route for route in routes if route is not None and route.links}
    return sorted(chains.values(), key=lambda route: -len(route.links))


def _link(earlier: Sequence[Passage], passage: Passage) -> tuple[int, Link | None]:
    """The last of the earlier calls that gave what this one was given, by its position, and how."""
    given, call = passage.given, passage.call
    for position in reversed(range(len(earlier) if given is not None else 0)):
        output = earlier[position].output
        for path, tensor in tensors_in(output):
            for code, between in _BETWEEN.items():
                if given is not None and _is_made(between, tensor, given):
                    code = code.format("{}" + _access(output, path))
                    return position, Link(passage.name, call.args[1:], call.kwargs, path, code, between)
    return -1, None


def _is_made(between: Callable[[Tensor], Tensor], tensor: Tensor, wanted: Tensor) -> bool:
    try:
        made = between(tensor)
    except (RuntimeError, IndexError):  # it has too few axes
        return False
    if made.shape != wanted.shape or not made.is_floating_point():
        return False
    one, other = made.detach().float(), wanted.detach().float()
    return bool(torch.allclose(one, other, rtol=0, atol=_NEAR * float(other.abs().max())))


def _access(structure: Any, path: Path) -> str:
    """The code that leads from an output to one of its tensors."""
    code = ""
    for part in path:
        if isinstance(structure, Mapping):
            code, structure = f"{code}[{part!r}]", next(v for key, v in structure.items() if str(key) == part)
        elif isinstance(structure, (tuple, list)) and not hasattr(structure, "_fields"):
            code, structure = f"{code}[{part}]", structure[int(part)]
        else:
            code, structure = f"{code}.{part}", getattr(structure, part)
    return code
