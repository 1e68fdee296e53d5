"""Where a Vision Transformer attends: its own attention matrices, from the first block to the last.

Fused attention never makes a matrix. A torch function mode sees each call of it and computes the same from a matrix
that can be kept, so the model is not touched. Attention that is written out is seen at its softmax. That of
`nn.MultiheadAttention`, as in torchvision's models, is hidden inside one torch function, so these are refused.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..probe import Probe
from .backward import gradients_of
from .engine import own_rows
from .layers import class_name
from .layouts import layout_of, size_of
from .outputs import as_logits
from .subject import ScoresOf, Subject, looking
from .targets import Target
from .tracing import Traced

Fold: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""The flow so far ``(N, T, T)``, a block's attention ``(N, heads, T, T)`` and its gradient, to the flow behind it."""

_FEWEST_TOKENS = 4  # of a matrix that can lie on an image
_INSTEAD = "use Grad-CAM, which reads any layer, for example trust.attention or examine()"


def attention_rollout(
    model: nn.Module, probe: Probe, *, forward: ScoresOf | None = None, batch_size: int = 32
) -> Tensor:
    """How much of each patch flows to the class token, whatever the class (Abnar and Zuidema 2020, section 3, rollout).

    ``A_l = 0.5 mean over heads + 0.5 I``, for the residual connection, and the product ``A_L ... A_1``. The map is the
    row of the class token. Where the scores come from the patches instead, as without such a token and in BEiT, it is
    the mean of their rows.

    Args:
        model: A Vision Transformer as of timm and Hugging Face, in any mode.
        probe: The images to explain.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.

    Raises:
        ValueError: The model has no attention between all patches, as with windows.
    """
    with looking(model, probe, None, forward, batch_size) as subject:
        return subject.maps(torch.cat(list(_flows(subject, rolled, None))))


def attention_relevance(
    model: nn.Module,
    probe: Probe,
    *,
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Tensor:
    """Attention weighted by its gradient: what speaks for the class (Chefer et al. 2021, ICCV, eq. 5 and 6).

    ``R = R + mean over heads of (dS/dA * A)+ R`` from ``R = I`` on, block by block. The map is read as in
    `attention_rollout`, without what a patch gives itself where there is no class token.

    Args:
        model: A Vision Transformer as of timm and Hugging Face, in any mode.
        probe: The images to explain, and their classes.
        score: Logits ``(N, n_classes)``, or a batch of outputs of a model without class scores, to the numbers ``(N,)``
            to explain; None is the logit of each image's own class.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.

    Raises:
        ValueError: The model has no attention between all patches, as with windows.
    """
    with looking(model, probe, score, forward, batch_size) as subject:
        return subject.maps(torch.cat(list(_flows(subject, related, subject.score))))


def rolled(flow: Tensor, attention: Tensor, _gradient: Tensor | None) -> Tensor:
    """One block of `attention_rollout`."""
    identity = torch.eye(flow.shape[-1], device=flow.device)
    return (0.5 * attention.mean(1) + 0.5 * identity) @ flow


def related(flow: Tensor, attention: Tensor, gradient: Tensor | None) -> Tensor:
    """One block of `attention_relevance`; a block that the score does not depend on adds nothing."""
    return flow if gradient is None else flow + (gradient * attention).relu().mean(1) @ flow


def _flows(subject: Subject, fold: Fold, score: Target | None) -> Iterator[Tensor]:
    """Maps ``(n, h, w)`` of a batch at a time."""
    reads_patches = False
    for start in range(0, len(subject.inputs), subject.batch_size):
        batch = subject.inputs[start : start + subject.batch_size]
        own_score = None if score is None else partial(own_rows, score, start, len(subject.inputs))
        matrices, gradients, is_defined = _attentions(subject, batch, own_score)
        _check(matrices, class_name(subject.model), len(batch))
        flow = torch.eye(matrices[0].shape[-1], device=batch.device).expand(len(batch), -1, -1)
        for matrix, gradient in zip(matrices, gradients, strict=True):
            flow = fold(flow, matrix.detach().float(), None if gradient is None else gradient.float())
        if start == 0:  # with a score the gradients are there already
            reads_patches = _reads_patches(gradients if score else _attentions(subject, batch[:1], _highest)[1])
        maps = _read(flow, size_of(batch), reads_patches=reads_patches)
        yield maps.where(is_defined.reshape(-1, *(1 for _ in maps.shape[1:])), torch.nan)


def _attentions(
    subject: Subject, batch: Tensor, score: Target | None
) -> tuple[Sequence[Tensor], Sequence[Tensor | None], Tensor]:
    """Matrices ``(n, heads, T, T)`` in the order of the calls, gradients, and whether each score is finite."""
    leaf = batch.detach().clone().requires_grad_()
    with torch.set_grad_enabled(score is not None), Traced(), _Recorder(len(batch)) as recorder:
        logits = as_logits(subject.forward(leaf.clone()))  # some forwards write into it
        scores = logits.amax(1) if score is None else score(logits)
        matrices = recorder.matrices
        gradients: Sequence[Tensor | None] = [None] * len(matrices)
        if score is not None and matrices and scores.requires_grad:
            gradients = gradients_of(scores.sum(), matrices)
    return matrices, gradients, scores.detach().isfinite()


def _check(matrices: Sequence[Tensor], name: str, n: int) -> None:
    sizes = {matrix.shape[-1] for matrix in matrices}
    if not matrices:
        raise ValueError(f"no attention between all patches was seen in {name}; {_INSTEAD}")
    if len(sizes) > 1 or any(len(matrix) != n for matrix in matrices):
        raise ValueError(f"{name} attends within windows or on several grids, which do not multiply; {_INSTEAD}")


def _highest(logits: Tensor) -> Tensor:
    return logits.amax(1)


def _reads_patches(gradients: Sequence[Tensor | None]) -> bool:
    """Whether scores depend on what the last block gives to patches, and not on what it gives to the first token."""
    last = next((each for each in reversed(gradients) if each is not None), None)
    if last is None:
        return False
    are_read = (last != 0).any(3).any(1).any(0)  # (T,), tokens that attend
    return bool(are_read.any()) and not bool(are_read[0])


def _read(flow: Tensor, size: tuple[int, ...], *, reads_patches: bool) -> Tensor:
    """The map ``(n, h, w)`` in a flow ``(n, T, T)``."""
    n_tokens = flow.shape[-1]
    layout = layout_of(flow.new_zeros(len(flow), n_tokens, 1), size, n_images=len(flow))
    if layout.prefix and not reads_patches:
        return layout.grid(flow[:, 0, :, None])[:, 0]
    own = (flow - torch.diag_embed(flow.diagonal(dim1=1, dim2=2)))[:, layout.prefix :].mean(1)
    return layout.grid(own[:, :, None])[:, 0]


class _Recorder(TorchFunctionMode):
    """Keeps the attention matrices of ``n`` images."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.matrices: list[Tensor] = []
        self._n = n

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        if func is F.scaled_dot_product_attention and _is_plain(*args, **options):
            return self._attended(*args, **options)
        output = func(*args, **options)
        if getattr(func, "__name__", "") == "softmax" and isinstance(output, Tensor):
            return self._kept(output)
        return output

    def _attended(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,  # of a model in evaluation mode
        is_causal: bool = False,
        scale: float | None = None,
        **_options: Any,
    ) -> Tensor:
        """As the fused call, by way of the matrix."""
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if attn_mask is not None:
            is_bool = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -torch.inf) if is_bool else scores + attn_mask
        return self._kept(scores.softmax(-1)) @ value

    def _kept(self, matrix: Tensor) -> Tensor:
        """The matrix, in the shape in which it came."""
        shape = matrix.shape
        is_square = matrix.ndim in (3, 4) and shape[-1] == shape[-2] >= _FEWEST_TOKENS
        if not is_square or shape[0] % self._n:
            return matrix
        by_image = matrix if matrix.ndim == 4 else matrix.reshape(self._n, -1, *shape[-2:])  # heads beside images
        self.matrices.append(by_image)
        return by_image.reshape(shape)


def _is_plain(query: Tensor, key: Tensor, *_more: Any, is_causal: bool = False, **_options: Any) -> bool:
    """Whether all tokens attend to all tokens, so that the call can be written out."""
    return query.shape == key.shape and not is_causal
