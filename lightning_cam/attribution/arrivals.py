"""Hooks record, for one step of the user's own, the arguments that a model's modules get.

The hooks only read. They keep copies of a few rows, because a module may write into its input afterwards.
"""

import threading
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from .calls import Call, kept_call
from .passing import Passing

# A hook ends their fast path in evaluation mode, and the slow path's kernel rounds differently.
_LEFT_ALONE = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)


class Enough(BaseException):
    """Ends a step at the first layer. It is no `Exception`, because the step's own code may catch those."""


class Arrivals:
    """Watches a model for one step. `close` takes every hook away again.

    A network is a module inside the model that was called by no other one inside it. Those after the first are watched
    where they were given images like the first, as a student beside its teacher; a head that was given a map is not.

    Args:
        model: The model to watch.
        stops_at: Name of the layer at which to raise `Enough`, so that nothing behind it runs; "" is the first layer of
            all, and None is none.
        runs_eagerly: Whether compiled code runs as it is written, as it does inside `untouched`.

    Attributes:
        calls: The first call of each module by its name, in the order of the calls; "" is the model.
    """

    def __init__(self, model: nn.Module, *, stops_at: str | None = None, runs_eagerly: bool = False) -> None:
        self._stops_at = stops_at
        self.calls: dict[str, Call] = {}
        self._stems: dict[str, str] = {}
        self._networks: list[str] = []
        self._thread = threading.get_ident()
        self._handles = [
            module.register_forward_pre_hook(Passing(partial(self._note, name, is_closed)), with_kwargs=True)
            for name, module, is_closed in watched(model, runs_eagerly=runs_eagerly)
        ]

    @property
    def stems(self) -> Mapping[str, str]:
        """For each network, the name of its first module with parameters of its own that was given images or a map.

        The model itself counts only where no network was called, because many ways lead past its ``forward``.
        """
        inside = {network: stem for network, stem in self._stems.items() if network}
        return inside or self._stems

    def _note(
        self, name: str, is_closed: bool, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if threading.get_ident() != self._thread or name in self.calls or is_redirected(module):
            return
        network = self._network_of(name)
        is_watched = self._is_like_first(Call(args, kwargs, 0)) if name == network else network in self.calls
        if name and (network in self._stems or not is_watched):
            return
        with torch.inference_mode(False), torch.no_grad():
            self.calls[name] = call = kept_call(args, kwargs)
        if next(module.parameters(recurse=is_closed), None) is not None and call.largest is not None:
            self._stems[network] = name
            if name and self._stops_at in ("", name):
                raise Enough

    def _network_of(self, name: str) -> str:
        """The network that a module belongs to: itself, if none of those around it has been called."""
        around = [network for network in self._networks if f"{name}.".startswith(f"{network}.")]
        if not around and name:
            self._networks.append(name)
        return around[0] if around else name

    def _is_like_first(self, call: Call) -> bool:
        """Whether a network is the first, or is given images of as many channels as that."""
        first = next((self.calls[network].images for network in self._stems if network), call.images)
        return first is None or (call.images is not None and call.images.shape[1] == first.shape[1])

    def close(self) -> None:
        """Takes the hooks away; safe to call twice."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> "Arrivals":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def is_redirected(module: nn.Module) -> bool:
    """Whether a call runs a step in the place of ``forward``, as Lightning's do where DDP wraps the module."""
    return "ForwardRedirection" in getattr(module.forward, "__qualname__", "")


def watched(model: nn.Module, *, runs_eagerly: bool = False) -> Iterator[tuple[str, nn.Module, bool]]:
    """Name and module of each module that may get a hook, and whether the modules inside it may not.

    Scripted modules get none, and neither do compiled ones that run compiled, and attentions with a fast path.
    """
    waiting: list[tuple[str, nn.Module]] = [("", model)]
    while waiting:
        name, module = waiting.pop(0)
        # A compiled call compiles its hooks as well; `torch.compile(module)` compiles only the module inside.
        is_compiled = getattr(module, "_compiler_ctx", None) or getattr(module, "_compiled_call_impl", None)
        if (is_compiled and not runs_eagerly) or isinstance(module, (torch.jit.ScriptModule, *_LEFT_ALONE)):
            continue
        is_closed = hasattr(module, "_orig_mod")
        yield name, module, is_closed
        if not is_closed:
            waiting += [(f"{name}.{child}".lstrip("."), each) for child, each in module.named_children()]
