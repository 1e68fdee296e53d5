"""What a network is given and answers in a step of the user's own, seen by hooks while the step runs.

The hooks only read, and they keep no copies: who listens takes what is needed before the step's end.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from .arrivals import watched
from .calls import Replay
from .passing import Passing


@dataclass(frozen=True, eq=False)
class Answer:
    """The images that a network was given, ``(N, C, H, W)``, and its output. Both are the step's own tensors."""

    images: Tensor
    output: Any


def networks_of(model: nn.Module, way: Replay | None) -> dict[str, tuple[str, str]]:
    """The networks that may give the class scores: the names of the first and the last module of each.

    By a known way it is that one. Otherwise it is the model itself, called "", or a child of it with parameters.
    Scripted and compiled modules are left out, since they would compile a hook as well.
    """
    if way is not None:
        ways = {way.names[0]: (way.names[0], way.names[-1])}
    else:
        children = [name for name, child in model.named_children() if next(child.parameters(), None) is not None]
        ways = {name: (name, name) for name in ["", *children]}
    open_to_hooks = {name for name, _, _ in watched(model)}
    return {name: ends for name, ends in ways.items() if open_to_hooks.issuperset(ends)}


class Listener:
    """Listens to networks for one step. `close` takes every hook away again.

    Args:
        model: The model to listen to.
        networks: As `networks_of` gives them.
    """

    def __init__(self, model: nn.Module, networks: Mapping[str, tuple[str, str]]) -> None:
        self._thread = threading.get_ident()
        self._images: dict[str, Tensor | None] = {}
        self._answers: dict[str, list[Answer]] = {name: [] for name in networks}
        self._handles = []
        for name, (first, last) in networks.items():
            for module, note in ((first, self._note_images), (last, self._note_output)):
                hook = Passing(partial(note, name))
                self._handles.append(model.get_submodule(module).register_forward_hook(hook, with_kwargs=True))

    @property
    def answers(self) -> dict[str, Answer]:
        """By network. One that ran several times in the step is left out: it is not known which call counts."""
        return {name: answers[0] for name, answers in self._answers.items() if len(answers) == 1}

    def _note_images(
        self, name: str, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _output: Any
    ) -> None:
        if threading.get_ident() == self._thread:
            given = [value for value in (*args, *kwargs.values()) if _is_images(value)]
            self._images[name] = given[0] if len(given) == 1 else None

    def _note_output(
        self, name: str, _module: nn.Module, _args: tuple[Any, ...], _kwargs: dict[str, Any], output: Any
    ) -> None:
        images = self._images.pop(name, None) if threading.get_ident() == self._thread else None
        if images is not None:
            self._answers[name].append(Answer(images.detach(), output))

    def close(self) -> None:
        """Takes the hooks away; safe to call twice."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _is_images(value: Any) -> bool:
    is_map = isinstance(value, Tensor) and value.ndim == 4 and min(value.shape[-2:]) > 1
    return is_map and bool(value.is_floating_point())
