"""A model's own `torch.inference_mode()` blocks, left while gradients are traced through them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .structures import Path, mapped, tensors_in

WAY_OUT = (
    "gradients cannot be traced through the model's own torch.inference_mode(): write torch.no_grad() in its place, "
    "or look at a layer behind it, layer='...'"
)


@contextmanager
def left(model: nn.Module, start: Callable[[Tensor], Tensor] = torch.clone) -> Iterator[None]:
    """While open, each inference block of the model ends, for this thread, at the first module that is called in it.

    From there to the end of the block gradients are on. ``start`` makes a normal tensor of each floating one that the
    block has made before. The outermost guard puts every switch back, whatever state the inner ones restore.
    """

    def normal(_path: Path, value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_inference():
            return value
        return start(value) if value.is_floating_point() else value.clone()

    owner, gradients_were_on = threading.get_ident(), torch.is_grad_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.set_grad_enabled(gradients_were_on))  # the line above has turned them on

        def leave(_module: nn.Module, args: Any, kwargs: Any) -> Any:
            if threading.get_ident() != owner or not torch.is_inference_mode_enabled():
                return None
            stack.enter_context(torch.inference_mode(mode=False))
            made_before = any(tensor.is_inference() for _, tensor in tensors_in((args, kwargs)))
            return mapped((args, kwargs), normal) if made_before else None

        for module in model.modules():
            if not isinstance(module, torch.jit.ScriptModule):  # takes no hooks
                stack.callback(module.register_forward_pre_hook(leave, with_kwargs=True).remove)
        yield


def explained(run: Callable[[], Any]) -> Any:
    """What ``run`` returns. An error about inference tensors becomes one sentence with the way out."""
    try:
        return run()
    except RuntimeError as error:
        if is_of_inference(error):
            raise RuntimeError(WAY_OUT) from error
        raise


def is_of_inference(error: RuntimeError) -> bool:
    """Whether torch complains about a tensor that was made in inference mode."""
    return "nference tensor" in str(error)
