"""Groups of images whose maps are alike: ways in which a model comes to its answers. They show, and convict nobody."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.linalg import eigh
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.nn import functional as F

SIDE = 12  # cells a side of a map: of 24 pixels for an image of 224, as large as a tag or a watermark
# Share of all pairs of maps that are near. With 0.1, 40 to 90 maps of one soft spot, moved by two pixels, fell into
# four groups, and with 0.3 three places became one. With 0.2 all was right, 8 maps of a corner beside 56 others, too.
NEAR = 0.2
MOST = 8  # groups: a person looks at each


@dataclass(frozen=True, eq=False)
class MapClusters:
    """``k`` groups of maps, the largest first.

    Attributes:
        members: ``(N,)`` number of each image's group; -1 for a map that is empty or not finite.
        sizes: ``(k,)``.
        classes: ``(k,)`` the class of most images of the group.
        purity: ``(k,)`` share of the group that is of this class.
        means: ``(k, SIDE, SIDE)`` mean map; each map has a sum of 1 before.
        typical: ``(k,)`` the image whose map is nearest to the mean.
        eigenvalues: The smallest ones of the graph, ascending; the first wide gap among them gives ``k``.
    """

    members: Tensor
    sizes: Tensor
    classes: Tensor
    purity: Tensor
    means: Tensor
    typical: Tensor
    eigenvalues: Tensor

    def __repr__(self) -> str:
        groups = ", ".join(
            f"{n} images, {share:.0%} of class {label}"
            for n, share, label in zip(self.sizes.tolist(), self.purity.tolist(), self.classes.tolist(), strict=True)
        )
        return f"MapClusters({groups or 'no map'})"


def map_clusters(maps: Tensor, targets: Tensor, *, n_clusters: int | None = None) -> MapClusters:
    """Spectral clusters of attention maps (SpRAy: Lapuschkin et al. 2019, "Unmasking Clever Hans predictors").

    A group of one class whose mean map lies in a corner is worth a look: it may be a tag. Maps are made small and
    brought to a sum of 1, so their place and form count. The eigengap gives the number of groups. Deviations: the graph
    has Gaussian weights instead of nearest neighbours, which broke single groups up, and any map does, not LRP alone.

    >>> maps = torch.zeros(40, 12, 12)
    >>> maps[:20, 1, 1] = maps[20:, 8, 8] = 1
    >>> map_clusters(maps + 0.001 * torch.rand(40, 12, 12), torch.arange(40) // 20)
    MapClusters(20 images, 100% of class 0, 20 images, 100% of class 1)

    Args:
        maps: ``(N, h, w)`` not negative, such as `Report.maps`.
        targets: ``(N,)`` classes of the images.
        n_clusters: How many groups; None chooses, up to `MOST`.
    """
    if maps.ndim != 3 or targets.shape != maps.shape[:1]:
        raise ValueError(
            f"expected maps (N, h, w) and targets (N,), found {tuple(maps.shape)} and {tuple(targets.shape)}"
        )
    if n_clusters is not None and n_clusters < 1:
        raise ValueError(f"expected at least one group, found n_clusters={n_clusters}")
    small = F.adaptive_avg_pool2d(maps.detach().cpu().double(), SIDE)
    total = small.sum((1, 2))
    rows = ((total > 0) & total.isfinite()).nonzero().flatten()
    shares = small[rows] / total[rows, None, None]
    groups, eigenvalues = _groups(shares.flatten(1).numpy(), n_clusters)
    return _described(torch.from_numpy(groups), shares, rows, targets.cpu(), torch.from_numpy(eigenvalues))


def _groups(points: NDArray[np.float64], n_clusters: int | None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A group for each point, and the smallest eigenvalues."""
    n = len(points)
    if n < 3:
        return np.zeros(n, dtype=np.int64), np.zeros(0)
    values, vectors = eigh(_laplacian(points), subset_by_index=(0, min(MOST, n - 1)))
    k = int(np.diff(values).argmax()) + 1 if n_clusters is None else min(n_clusters, len(values))
    if k == 1:
        return np.zeros(n, dtype=np.int64), values
    directions = vectors[:, :k] / np.linalg.norm(vectors[:, :k], axis=1, keepdims=True).clip(1e-12)
    _, groups = kmeans2(directions, k, minit="++", seed=0, missing="warn")
    return groups.astype(np.int64), values


def _laplacian(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric normalised Laplacian of a graph in which near maps are joined strongly."""
    distances, n = cdist(points, points), len(points)
    near = np.quantile(distances[~np.eye(n, dtype=bool)], NEAR)
    joined = np.exp(-((distances / max(near, 1e-12)) ** 2) / 2)
    np.fill_diagonal(joined, 0)
    scale = 1 / np.sqrt(joined.sum(1).clip(1e-12))
    laplacian: NDArray[np.float64] = np.eye(n) - scale[:, None] * joined * scale
    return laplacian


def _described(groups: Tensor, shares: Tensor, rows: Tensor, targets: Tensor, eigenvalues: Tensor) -> MapClusters:
    kinds = sorted(set(groups.tolist()), key=lambda kind: -int((groups == kind).sum()))
    members = torch.full((len(targets),), -1)
    facts = []
    for number, kind in enumerate(kinds):
        own = (groups == kind).nonzero().flatten()
        members[rows[own]] = number
        labels, mean = targets[rows[own]], shares[own].mean(0)
        label = labels.mode().values
        typical = rows[own[(shares[own] - mean).square().sum((1, 2)).argmin()]]
        facts.append((torch.tensor(len(own)), label, (labels == label).double().mean(), mean, typical))
    empty = (torch.zeros(0), torch.zeros(0), torch.zeros(0), torch.zeros(0, SIDE, SIDE), torch.zeros(0))
    sizes, classes, purity, means, typical = map(torch.stack, zip(*facts, strict=True)) if facts else empty
    return MapClusters(members, sizes, classes, purity, means, typical, eigenvalues)
