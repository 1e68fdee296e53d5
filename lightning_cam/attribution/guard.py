"""A look does not change the model: `untouched` restores everything that a forward pass can change.

It cannot see parameters that the model's own forward writes through ``.data``, nor state outside of modules, of the
plain objects and containers that they hold, and of their forward hooks. It leaves out containers of more than ten
thousand items, and tensors and arrays of more than 64 MiB: those are data rather than state, and copying them would
cost more than looking. The `self_check` covers some of the rest, a few times in a run, because it takes longer.
"""

import operator
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import CellType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .model_state import cells_of, containers_of, values_in

MOST_BYTES = 2**26  # of a tensor that is neither parameter nor buffer; a larger one is data rather than state
# How the state of a generator is read and written, by its exact type: a subclass may have none.
GENERATORS: dict[type, tuple[Callable[[Any], Any], Callable[[Any, Any], object]]] = {
    torch.Generator: (torch.Generator.get_state, torch.Generator.set_state),
    np.random.Generator: (lambda g: g.bit_generator.state, lambda g, state: setattr(g.bit_generator, "state", state)),
    np.random.RandomState: (np.random.RandomState.get_state, np.random.RandomState.set_state),
    random.Random: (random.Random.getstate, random.Random.setstate),
}


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, autocast, compiled code and logging; afterwards everything is as before.

    "Everything" means training flags module by module, buffers and metric states bit for bit, attributes and hooks of
    every module, random states (torch's on the CPU and on the model's devices, numpy's, Python's and the model's own
    generators) and torch's switches. It holds after an exception and after Ctrl-C. Parameters and their ``.grad`` are
    never written.

    Raises:
        RuntimeError: The model has lazy parameters that its first forward has yet to create.
    """
    modules = list(model.modules())
    containers = containers_of(modules)
    held = [value for container in containers for value in values_in(container)]
    tensors = {id(value): value for value in (*model.buffers(), *held) if isinstance(value, Tensor)}.values()
    _refuse_lazy(model, tensors)
    devices = {tensor.device for tensor in tensors}
    with ExitStack() as stack:
        # What is entered first is left last: all else is put back while gradients are off and tensors are normal ones.
        stack.enter_context(_torch_switches({device.type for device in devices}))
        stack.enter_context(_restored_random_states(devices))
        stack.enter_context(_restored_generators([value for value in held if type(value) in GENERATORS]))
        stack.enter_context(_restored_items(containers))
        stack.enter_context(_restored_cells([cell for module in modules for cell in cells_of(module)]))
        stack.enter_context(_restored_arrays([value for value in held if _is_array(value)]))
        stack.enter_context(_restored_tensors(list(filter(is_state, tensors))))
        stack.enter_context(_evaluating(modules))
        _mute(modules)
        _detach_backward_hooks(modules)
        yield


def _refuse_lazy(model: nn.Module, tensors: Iterable[Tensor]) -> None:
    if any(map(is_lazy, tensors)):
        raise RuntimeError(
            f"{type(model).__name__} has parameters without a shape, which its first forward pass creates at random. "
            "lightning_cam must not make that pass, because it would change your training; "
            "run the model on one batch before the fit"
        )


@contextmanager
def _torch_switches(device_types: Iterable[str]) -> Iterator[None]:
    """Normal tensors, no gradients, full precision, eager code, NaN allowed, attention without its shortcut.

    The shortcut returns nested tensors and skips the hooks of inner layers.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autograd.set_detect_anomaly(False))
        for device_type in filter(torch.amp.is_autocast_available, {"cpu", *device_types}):
            stack.enter_context(torch.autocast(device_type, enabled=False, cache_enabled=False))
        if "torch._dynamo" in sys.modules:  # else nothing is compiled yet, and importing it takes seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        yield


@contextmanager
def _restored_random_states(devices: Iterable[torch.device]) -> Iterator[None]:
    """The global states. Lightning's `isolate_rng` does not restore them after an exception."""
    with ExitStack() as stack:
        for _, read, write in random_states(devices):
            stack.callback(write, read())
        yield


@contextmanager
def _restored_generators(generators: Sequence[Any]) -> Iterator[None]:
    """The state of generators that the model holds."""
    states = [GENERATORS[type(generator)][0](generator) for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            GENERATORS[type(generator)][1](generator, state)


@contextmanager
def _restored_items(containers: Sequence[Any]) -> Iterator[None]:
    """Modules' attributes, and what the containers among them hold: hooks, caches, counters.

    Only containers that changed are written, because other threads may read them.
    """
    saved = [dict(held) if isinstance(held, dict) else list(held) for held in containers]
    try:
        yield
    finally:
        for held, items in zip(containers, saved, strict=True):
            if has_moved(held, items):
                refill(held, items)


@contextmanager
def _restored_cells(cells: Sequence[CellType]) -> Iterator[None]:
    """Variables that hooks share with the function around them, such as a counter."""
    saved = [cell.cell_contents for cell in cells]
    try:
        yield
    finally:
        for cell, value in zip(cells, saved, strict=True):
            cell.cell_contents = value


@contextmanager
def _restored_arrays(arrays: Sequence[Any]) -> Iterator[None]:
    saved = [array.copy() for array in arrays]
    try:
        yield
    finally:
        for array, values in zip(arrays, saved, strict=True):
            if not np.array_equal(array, values):
                array[...] = values


@contextmanager
def _restored_tensors(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Contents of buffers and other tensors that modules hold, such as the states of a torchmetrics metric.

    They are compared as bytes in one block per device. So NaN equals NaN, and the CPU waits for a GPU once.
    """
    groups = [[t for t in tensors if t.device == device] for device in {t.device for t in tensors}]
    shapes = [[tensor.shape for tensor in group] for group in groups]
    saved = [_bytes(group) for group in groups]
    try:
        yield
    finally:
        for group, before, old in zip(groups, saved, shapes, strict=True):
            if not torch.equal(_bytes(group), before):
                _rewrite(group, before, old)


@contextmanager
def _evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Evaluation mode flag by flag: ``train()`` would unfreeze a frozen BatchNorm, and models override it."""
    flags = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module, flag in zip(modules, flags, strict=True):
            module.training = flag


def _mute(modules: Iterable[nn.Module]) -> None:
    """Silences `log` and `log_dict` of Lightning modules; `_restored_items` restores them.

    A value logged by a forward would enter the means that decide when to stop and which checkpoint to keep.
    """
    for module in modules:
        for kind in type(module).__mro__:
            if kind.__name__ == "LightningModule":  # of whichever package
                vars(module).update((name, _nothing) for name in vars(kind) if name == "log" or name.startswith("log_"))


def _detach_backward_hooks(modules: Iterable[nn.Module]) -> None:
    """Removes hooks that collect the gradients of training, such as Opacus'; `_restored_items` restores them."""
    for module in modules:
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()


def random_states(devices: Iterable[torch.device]) -> Iterator[tuple[str, Callable[[], Any], Callable[[Any], None]]]:
    """Name, getter and setter of every global random state that a model on these devices can draw from."""
    yield "Python's random state", random.getstate, random.setstate
    yield "numpy's random state", np.random.get_state, np.random.set_state
    yield "torch's random state", torch.get_rng_state, torch.set_rng_state
    for device in devices:
        if device.type not in ("cpu", "meta"):
            backend = torch.get_device_module(device)
            where = {} if device.type == "mps" else {"device": device}
            read, write = partial(backend.get_rng_state, **where), partial(backend.set_rng_state, **where)
            yield f"random state of {device}", read, write


def _nothing(*_: Any, **__: Any) -> None:
    """Stands in for a method that logs."""


def has_moved(held: Any, items: Any) -> bool:
    """Whether a container has other objects than before. By identity: tensors compared by value give tensors."""
    if len(held) != len(items) or not all(map(operator.is_, held, items)):
        return True
    return isinstance(items, dict) and not all(map(operator.is_, held.values(), items.values()))


def refill(held: Any, items: Any) -> None:
    """Gives a container the items back that it had, in their order."""
    if isinstance(held, dict):
        for key in held.keys() - items.keys():
            del held[key]
        held.update(items)
        if list(held) != list(items):
            for key in items:  # one after the other to the end, so that nobody meets an empty dict
                held[key] = held.pop(key)
    else:
        held.clear()
        (held.update if isinstance(held, set) else held.extend)(items)


def is_state(tensor: Tensor) -> bool:
    """Whether a forward may write to a tensor: a buffer, a counter, a metric's state.

    Not a parameter, because only training writes to it. Not a tensor in a graph, which is a result, nor a wrapped one.
    """
    return type(tensor) is Tensor and tensor.grad_fn is None and has_bytes(tensor) and tensor.nbytes <= MOST_BYTES


def _is_array(value: Any) -> bool:
    is_plain = type(value) is np.ndarray and not value.dtype.hasobject
    return is_plain and value.flags.writeable and value.nbytes <= MOST_BYTES


def has_bytes(tensor: Tensor) -> bool:
    """Whether a tensor's values lie in memory one after the other: not sparse, quantised or on the meta device."""
    return tensor.layout is torch.strided and tensor.device.type != "meta" and not tensor.is_quantized


def _bytes(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1).view(torch.uint8) for tensor in tensors])


def _rewrite(tensors: Sequence[Tensor], saved: Tensor, shapes: Sequence[torch.Size]) -> None:
    """Restores the tensors that differ, and no others, because autograd counts each write as a new version."""
    parts = torch.split(saved, [s.numel() * t.element_size() for s, t in zip(shapes, tensors, strict=True)])
    for tensor, part, shape in zip(tensors, parts, shapes, strict=True):
        if not torch.equal(_bytes([tensor]), part):
            with torch.inference_mode(tensor.is_inference()):  # torch forbids writes to an inference tensor elsewhere
                tensor.resize_(shape).copy_(part.clone().view(tensor.dtype).view(shape))


@contextmanager
def switches_kept(module: nn.Module) -> Iterator[None]:
    """A step of a GAN that ends early leaves the parameters of its other network switched off."""
    switches = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        yield
    finally:
        for parameter, is_on in switches:
            parameter.requires_grad_(is_on)
