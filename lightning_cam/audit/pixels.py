"""Facts about the pixels of pictures, most of them from small copies. Pure numpy."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

SIDE = 64  # of a small copy
CELLS = 8  # along each side of the cell map
CROP = 128  # side of the largest piece that is measured in the picture's own resolution

_BORDER = 6  # width in pixels, a tenth of the small copy
_EIGHT = [(y, x) for y in (0, SIDE // 2, -1) for x in (0, SIDE // 2, -1) if (y, x) != (SIDE // 2, SIDE // 2)]
_PER_CELL = np.kron(np.eye(CELLS, dtype=np.float32), np.full((1, SIDE // CELLS), CELLS / SIDE, np.float32))


def measure(copies: Array) -> dict[str, Array]:
    """Facts ``(N,)`` or ``(N, D)`` by name, and ``cells (N, 8, 8, 5)``, of small copies ``(N, 64, 64, 3)`` in 0 to 255.

    The eight background pixels are the corners and the middles of the sides (Noyan 2022, for PlantVillage). A cell has
    its mean red, green and blue, the spread of its brightness and its fine detail.
    """
    planes = np.ascontiguousarray(copies.transpose(0, 3, 1, 2))
    grey = _mean(planes, 1)
    spread, detail = _spread(grey, (1, 2)), _detail(grey)
    border = planes[:, :, _frame(_BORDER)]
    return {
        "border colour": _mean(border, -1),
        "border spread": _mean(_spread(border, -1), -1),
        "plain border": _largest_share(copies[:, _frame(1)]),
        "background pixels": np.concatenate([planes[:, :, y, x] for y, x in _EIGHT], 1),
        "mean colour": _mean(planes, (2, 3)),
        "contrast": spread,
        "saturation": _mean(planes.max(1) - planes.min(1), (1, 2)),
        "fine detail": _ratio(_mean(detail, (1, 2)), spread),
        "cells": _cells(planes, grey, detail),
    }


def textures(crops: Sequence[Array]) -> dict[str, Array]:
    """Blockiness (-1 to 1) and sharpness, ``(N,)``, of grey crops ``(H, W)`` that start on the grid of 8x8 blocks.

    Blockiness compares the steps across the borders of blocks with all others: ``(b - o) / (b + o)``. Sharpness is the
    mean step between neighbours in units of the crop's spread. Both are NaN for a crop without steps or of one block.
    """
    shapes = [crop.shape for crop in crops]
    values = np.empty((2, len(crops)))
    for shape in set(shapes):
        alike = [i for i, each in enumerate(shapes) if each == shape]
        values[:, alike] = _texture(np.stack([crops[i] for i in alike]))
    return {"blockiness": values[0], "sharpness": values[1]}


def _frame(width: int) -> npt.NDArray[np.bool_]:
    frame = np.ones((SIDE, SIDE), bool)
    frame[width:-width, width:-width] = False
    return frame


def _texture(grey: Array) -> Array:
    """Blockiness and sharpness ``(2, N)`` of crops ``(N, H, W)``."""
    down = _mean(_distance(grey[:, 1:], grey[:, :-1]), 2)
    right = _mean(_distance(grey[:, :, 1:], grey[:, :, :-1]), 1)
    steps = np.concatenate([down, right], 1)
    on_border = np.concatenate([np.arange(down.shape[1]), np.arange(right.shape[1])]) % 8 == 7
    if not on_border.any():
        return np.full((2, len(grey)), np.nan)
    across, within = _mean(steps[:, on_border], 1), _mean(steps[:, ~on_border], 1)
    return np.stack([_ratio(across - within, across + within), _ratio(_mean(steps, 1), _spread(grey, (1, 2)))])


def _mean(values: Array, axis: int | tuple[int, ...]) -> Array:
    return np.asarray(values.mean(axis, dtype=np.float32))


def _spread(values: Array, axis: int | tuple[int, ...]) -> Array:
    return np.asarray(values.std(axis, dtype=np.float32))


def _distance(one: Array, other: Array) -> Array:
    """``|one - other|``, which bytes hold."""
    return np.asarray(np.maximum(one, other) - np.minimum(one, other))


def _detail(grey: Array) -> Array:
    """Absolute Laplacian ``(N, 64, 64)``. Beyond the outline its pixels are repeated."""
    wide = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1] + wide[:, 1:-1, :-2] + wide[:, 1:-1, 2:]
    return np.asarray(np.abs(around - 4 * grey))


def _cells(planes: Array, grey: Array, detail: Array) -> Array:
    """Means over cells. Two products of matrices are ten times faster than numpy's mean over small blocks."""
    layers = np.concatenate([planes, (grey**2)[:, None], detail[:, None]], 1)
    cells = (_PER_CELL @ layers @ _PER_CELL.T).transpose(0, 2, 3, 1)
    cells[..., 3] = np.sqrt((cells[..., 3] - cells[..., :3].mean(-1) ** 2).clip(0))
    return np.asarray(cells)


def _largest_share(colours: Array) -> Array:
    """Share ``(N,)`` of the most frequent exact colour among pixels ``(N, P, 3)``."""
    red, green, blue = np.moveaxis(colours.round().astype(np.int64), -1, 0)
    ordered = np.sort((red << 32) + (green << 16) + blue, axis=1)
    place = np.arange(ordered.shape[1])
    starts = np.where(np.diff(ordered, prepend=-1) != 0, place, 0)
    run = place - np.maximum.accumulate(starts, axis=1) + 1
    return np.asarray(run.max(1) / len(place))


def _ratio(over: Array, under: Array) -> Array:
    return np.asarray(np.divide(over, under, out=np.full_like(over, np.nan), where=under > 0))
