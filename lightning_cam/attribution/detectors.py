"""The layer of a detector that is looked at, and the part of its maps that is image.

Behind the backbone a detection comes from one of several scales, and a head runs over all of them or reads only what is
inside of boxes. Inside it every detection's gradient comes by, on every grid.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .engine import placed
from .layers import class_name, named_layers, outermost

_BACKBONE, _BODY = "backbone", "body"  # torchvision's names; the second is what lies before a pyramid of scales
_EXTRA = "extra"  # further scales of SSD, by which detections of the finer ones do not come
# Cells of a map along the shorter side of a box. Of 64 pictures with two objects, the peak of HiResCAM was in the box
# that was asked for in 95 % with 4 cells a box, and in 6 to 75 % with 2.
CELLS_A_BOX = 4


@dataclass(frozen=True)
class Framed:
    """Layers of a model, and how much of their maps is image.

    Attributes:
        layers: Dotted names.
        shares: Of the height and the width; detectors pad the rest.
    """

    layers: Sequence[str]
    shares: tuple[float, float] = (1.0, 1.0)

    def cropped(self, maps: Tensor) -> Tensor:
        """Maps ``(N, h, w)`` without what was padded: right and below, where torchvision pads.

        >>> Framed(["a"], (1.0, 0.5)).cropped(torch.tensor([[[1.0, 2.0, 0.0, 0.0]]]))
        tensor([[[1., 2.]]])
        """
        if self.shares == (1.0, 1.0):
            return maps
        h, w = (max(round(n * share), 1) for n, share in zip(maps.shape[1:], self.shares, strict=True))
        places = [
            2 * share * (torch.arange(n, device=maps.device) + 0.5) / n - 1
            for n, share in zip((h, w), self.shares, strict=True)
        ]
        y, x = torch.meshgrid(*places, indexing="ij")
        grid = torch.stack([x, y], 2).expand(len(maps), h, w, 2).to(maps)
        return F.grid_sample(maps[:, None], grid, padding_mode="border", align_corners=False)[:, 0]


@dataclass
class _Pass:
    """What ran in a forward pass.

    Attributes:
        n_images: In the pass.
        grids: ``(h, w)`` of each module that gave a map, in the order in which they ended.
        n_calls: Of each module.
        shares: As in `Framed`.
    """

    n_images: int
    grids: dict[str, tuple[int, int]] = field(default_factory=dict)
    n_calls: Counter[str] = field(default_factory=Counter)
    shares: tuple[float, float] = (1.0, 1.0)

    def note(self, name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        """A forward hook."""
        self.n_calls[name] += 1
        if isinstance(output, Tensor) and output.ndim == 4 and len(output) == self.n_images:
            self.grids.pop(name, None)
            self.grids[name] = (output.shape[2], output.shape[3])
        batch = output[0] if isinstance(output, tuple) and output else output
        if isinstance(getattr(batch, "tensors", None), Tensor) and getattr(batch, "image_sizes", None):  # torchvision's
            (height, width), padded = batch.image_sizes[0], batch.tensors.shape
            self.shares = (height / padded[2], width / padded[3])

    def maps(self) -> dict[tuple[int, int], str]:
        """The last of the outermost layers on each grid, in the innermost part of the model that is known.

        Those farther inside may be of one branch of a block, which the block's own grid need not be.
        """
        names = [name for name, grid in self.grids.items() if self.n_calls[name] == 1 and min(grid) > 1]
        for part in (_BACKBONE, _BODY):
            names = [name for name in names if part in name.split(".")] or names
        names = [name for name in names if _EXTRA not in name.split(".")] or names
        deepest_first = sorted(names, key=lambda name: -name.count("."))  # of equals, the order of the pass stays
        return {self.grids[name]: name for name in deepest_first}


def framed_layer(model: nn.Module, inputs: Tensor, forward: Callable[[Tensor], Any], boxes: Tensor) -> Framed:
    """The last layer on the coarsest grid that has `CELLS_A_BOX` cells in most boxes, from one forward pass.

    Args:
        model: A detector.
        inputs: ``(n, C, H, W)``; two are enough.
        forward: How the model is called.
        boxes: ``(N, 4)`` as shares of the image's width and height: x1, y1, x2, y2.

    Raises:
        ValueError: No module gives a map.
    """
    ran = _Pass(len(inputs))
    with ExitStack() as hooks, torch.no_grad():
        for name, module in named_layers(model).items():
            if not isinstance(module, torch.jit.ScriptModule):  # takes no hooks
                hooks.callback(module.register_forward_hook(partial(ran.note, name)).remove)
        forward(placed(model, inputs).clone())
    maps = ran.maps()
    if not maps:
        raise ValueError(
            f"no layer of {class_name(model)} gives a map of the image; name the one to look at, layer='...': the "
            f"model has {outermost(named_layers(model))}"
        )
    width, height = ((boxes[:, 2:] - boxes[:, :2]) * torch.tensor(ran.shares[::-1])).T

    def is_fine(grid: tuple[int, int]) -> bool:
        return bool(torch.minimum(height * grid[0], width * grid[1]).median() >= CELLS_A_BOX)

    fine = [grid for grid in maps if is_fine(grid)]
    return Framed([maps[min(fine) if fine else max(maps)]], ran.shares)
