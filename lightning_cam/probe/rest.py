"""What a model is given beside each picture: a row of a table, a question, a second picture. It is never edited.

Edits make other pictures of a probe's picture, in any number and order, and the rest has to stay with its picture. So
model inputs carry which row of the probe they are of, in one more channel that is taken off before the model runs.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .matching import Matching

Rest: TypeAlias = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
"""``(N, ...)`` rows of one argument of a model, of several, or of several by name."""

BITS = 16  # of the number of a row: no probe has more pictures than 65536


def checked_rest(rest: Rest | None, n_images: int) -> dict[str, Tensor] | None:
    """Copies of the rows, by the name or the number of the argument. None or empty where there is nothing."""
    if rest is None:
        return None
    given = {"0": rest} if isinstance(rest, Tensor) else rest
    named = given if isinstance(given, Mapping) else {str(place): each for place, each in enumerate(given)}
    for name, rows in named.items():
        if not isinstance(rows, Tensor) or rows.shape[:1] != (n_images,):
            form = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise ValueError(
                f"rest must be tensors with a row for each of the {n_images} images, got {form} for {name!r}; "
                "torch.stack what belongs to the images, in their order"
            )
    return {str(name): rows.detach().cpu().clone() for name, rows in named.items()} or None


def as_array(rows: Tensor) -> NDArray[Any]:
    """The rows as numpy has them: bfloat16 and the like, which it lacks, in single precision."""
    try:
        return rows.numpy()
    except TypeError:
        return rows.float().numpy()


def check_call(module: nn.Module, rest: Mapping[str, Tensor] | None, forward: Callable[..., Any] | None) -> None:
    """Raises `ValueError` where the function that is called does not take such a rest."""
    if rest is None:
        return
    named = {name: None for name in rest if not name.isdigit()}
    in_order = [None for name in rest if name.isdigit()]
    try:
        signature = inspect.signature(module.forward if forward is None else forward)
    except (ValueError, TypeError):  # written in C
        return
    try:
        signature.bind(None, *in_order, **named) if forward is None else signature.bind(module, None, rest)
    except TypeError as error:
        takes = f"({', '.join(signature.parameters)})"
        if forward is not None:
            raise ValueError(
                f"the probe has a rest, so forward= must take (module, images, rest), got {takes}"
            ) from error
        raise ValueError(
            f"{type(module).__name__}.forward() takes {takes}, and the rest of the probe is {', '.join(rest)} "
            f"({error}); name the rest as these arguments, or pass forward=lambda module, images, rest: class_scores"
        ) from error


def numbered(inputs: Tensor, rows: Tensor) -> Tensor:
    """Model inputs ``(n, C, H, W)`` with one more channel, the numbers ``rows (n,)`` as signs, again and again.

    Signs survive any precision, a mask that is laid over the input, and noise.

    Raises:
        ValueError: The inputs are no pictures, or too small.
    """
    if inputs.ndim not in (4, 5) or inputs[0, 0].numel() < BITS:
        raise ValueError(
            f"a probe with rest= needs model inputs (N, C, H, W) of at least {BITS} pixels, got {tuple(inputs.shape)}"
        )
    inputs = inputs if inputs.is_floating_point() else inputs.float()
    signs = 2 * (rows[:, None] >> torch.arange(BITS) & 1) - 1
    n = inputs[0, 0].numel()
    plane = signs.repeat(1, -(-n // BITS))[:, :n].to(inputs)
    return torch.cat([inputs, plane.reshape(-1, 1, *inputs.shape[2:])], 1)


def rows_of(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs and the rows that `numbered` was given.

    >>> rows_of(numbered(torch.zeros(2, 3, 5, 5), torch.tensor([7, 300])))[1]
    tensor([  7, 300])
    """
    plane = inputs[:, -1].detach().flatten(1).float()
    signs = F.pad(plane, (0, -plane.shape[1] % BITS)).reshape(len(plane), -1, BITS).sum(1)
    return inputs[:, :-1], ((signs > 0).long() << torch.arange(BITS, device=inputs.device)).sum(1)


@dataclass(frozen=True, eq=False)
class Carrying:
    """How to get outputs from a model that is given more than images, or whose output is read image by image.

    Attributes:
        forward: ``(model, inputs, rest) -> outputs``, with the rest in the form in which it was given; None calls the
            model with the images and then the rest. Without a rest ``(model, inputs) -> outputs``.
        rest: By the name or the number of the argument.
        matching: Reads detections of the objects that images are asked for; None leaves outputs as they are.
    """

    forward: Callable[..., Any] | None
    rest: Mapping[str, Tensor]
    matching: Matching | None = None
    carries = True

    @property
    def embeds(self) -> bool:
        """Whether the outputs are embeddings, see `Similarity`."""
        return getattr(self.forward, "embeds", False)

    def __call__(self, model: nn.Module, numbered_inputs: Tensor) -> Any:
        """The model's output for inputs of `numbered`."""
        inputs, rows = rows_of(numbered_inputs)
        output = self._output(model, inputs, rows)
        return output if self.matching is None else self.matching(output, inputs, rows)

    def _output(self, model: nn.Module, inputs: Tensor, rows: Tensor) -> Any:
        beside = _Named({name: _placed(values[rows.cpu()], inputs) for name, values in self.rest.items()})
        places = [name for name in beside if name.isdigit()]
        in_order = [beside[name] for name in places]
        if self.forward is None:
            return model(inputs, *in_order, **{name: beside[name] for name in beside.keys() - set(places)})
        if not beside:
            return self.forward(model, inputs)
        return self.forward(model, inputs, beside if not places else in_order if len(places) > 1 else in_order[0])


class Carried(Protocol):
    """What is known of each image of a probe."""

    @property
    def rest(self) -> Mapping[str, Tensor] | None:
        """What the model is given beside the images."""

    @property
    def matching(self) -> Matching | None:
        """What reads detections."""


def carrying(forward: Callable[..., Any] | None, probe: Carried) -> Callable[..., Any] | None:
    """``forward`` for the inputs of a probe; as it is where they have no numbers, or where it reads them."""
    if (probe.rest is None and probe.matching is None) or getattr(forward, "carries", False):
        return forward
    return Carrying(forward, probe.rest or {}, probe.matching)


class _Named(dict[str, Tensor]):
    def __missing__(self, name: str) -> Tensor:
        raise KeyError(f"the rest of the probe has no {name!r}; it has {', '.join(self)}")


def _placed(rows: Tensor, like: Tensor) -> Tensor:
    return rows.to(like.device, like.dtype if rows.is_floating_point() else rows.dtype)
