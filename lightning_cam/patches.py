"""Small patches that recur nearly identical in the pictures of one class and not in others: stamps, logos, dates.

Each picture is described by windows around its points of finest detail. A window that is nearly the same in many
pictures of one class is a candidate. A window of a texture also has many windows that are *rather* like it; a copy
has none of these, and that tells a stamp from a leaf's edge. Pure: no state, no global randomness.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

WINDOW = 7  # pixels along a side: a stamp of a small picture, and smaller than one of a large picture
_POINTS = 48  # windows of a picture; of 400 drawn pictures of 64 pixels with a text, 90 % show it at these
_APART = 5  # pixels: two points of a picture are no nearer
_LEAST_DETAIL = 2 / 255  # of brightness, root mean square: what two grey levels of noise bring
_MOST_SOURCES = 2000  # windows that are compared with all others: 0.3 s for 400 pictures
_AT_ONCE = 64  # pictures that are compared together
# Correlation of the pixels of two windows, each less its mean. Of 400 pictures each, stamps drawn at random places have
# all of their likenesses above 0.9, edges of leaves two thirds, textures a half.
_ALIKE, _RATHER_ALIKE, _LEAST_COPIES = 0.9, 0.8, 0.7
_LEAST_SHARE = 0.1  # of a class, less the share of the others. Textures and objects reached 0.08. Measured as above.
_RARER = 5.0  # times as frequent as in the other classes: edges of leaves were 1.8 and 2.8 times
_FALSE_ALARMS = 0.01  # chance of any finding where no patch belongs to a class
_FEWEST = 4  # pictures that show it: three may be shots of one scene
_IN_PLACE = 0.9  # of the pictures of a patch, to call its place the same. Chosen, not measured.
_JITTER = 1  # pixels by which two windows of one stamp may lie farther apart in another picture
# Of the windows of a class that are compared: stamps reached 0.09; crops of one photograph a class had 0.12 to 0.73.
_MOST_WINDOWS = 0.15
_TOGETHER = 0.6  # of the pictures of a window that show another at the same distance: then both are one stamp


@dataclass(frozen=True, eq=False)
class Points:
    """Where ``N`` pictures have their finest detail.

    Attributes:
        places: ``(N, P, 2)`` row and column of the upper left corner of each window.
        vectors: ``(N, P, D)`` its pixels less their mean, of length 1; zeros where a picture has fewer windows.
    """

    places: Tensor
    vectors: Tensor


@dataclass(frozen=True, eq=False)
class Patch:
    """A patch that recurs.

    Attributes:
        label: The class whose pictures show it.
        rows: ``(M,)`` the pictures that show it, of any class.
        places: ``(M, 2)`` row and column of the upper left corner of its window there.
        share: Of the pictures of its class, how many show it, 0 to 1.
        elsewhere: The same of all other pictures.
        p_value: Chance that any window is so unevenly spread if no patch belongs to a class.
    """

    label: int
    rows: Tensor
    places: Tensor
    share: float
    elsewhere: float
    p_value: float


def common_box(places: Tensor, sizes: Tensor) -> tuple[float, float, float, float] | None:
    """Top, left, bottom and right of the place that windows share, in shares of the picture; None where it varies.

    A stamp is wider than one of its windows, so the place is wider by a window on each side.

    Args:
        places: ``(M, 2)`` of the windows.
        sizes: ``(M, 2)`` height and width of their pictures.
    """
    shares = places / sizes
    middle = shares.median(0).values
    is_there = ((shares - middle).abs() * sizes <= WINDOW).all(1)
    if is_there.float().mean() < _IN_PLACE:
        return None
    window = WINDOW / sizes.float().mean(0)
    top, left = (shares[is_there].amin(0) - window).clamp(0, 1).tolist()
    bottom, right = (shares[is_there].amax(0) + 2 * window).clamp(0, 1).tolist()
    return top, left, bottom, right


def points_of(images: Tensor) -> Points:
    """The windows of finest detail of images ``(N, C, H, W)`` in [0, 1]; none of images smaller than a window."""
    n, channels, height, width = images.shape
    if not n or min(height, width) < WINDOW:
        return Points(torch.zeros(n, 0, 2, dtype=torch.long), torch.zeros(n, 0, channels * WINDOW**2))
    detail = _detail(images.mean(1, keepdim=True))
    is_peak = (_largest(detail) == detail) & (detail > _LEAST_DETAIL**2)
    strengths = detail.where(is_peak, -1.0).flatten(1)
    found = strengths.topk(min(_POINTS, strengths.shape[1]), 1)
    across = width - WINDOW + 1
    rows, columns = found.indices // across, found.indices % across
    inside = (torch.arange(WINDOW)[:, None] * width + torch.arange(WINDOW)).flatten()
    pixels = (rows * width + columns)[:, :, None] + inside
    picked = images.flatten(2).gather(2, pixels.flatten(1)[:, None].expand(-1, channels, -1))
    windows = picked.reshape(n, channels, -1, WINDOW**2).permute(0, 2, 1, 3).flatten(2)
    windows = windows - windows.mean(2, keepdim=True)
    vectors = F.normalize(windows, dim=2).where((found.values > 0)[:, :, None], 0.0)
    return Points(torch.stack([rows, columns], 2), vectors)


def together(points: Sequence[Points]) -> Points:
    """The windows of several pictures, of any size, as those of one set of pictures."""
    most = max((each.vectors.shape[1] for each in points), default=0)
    places = [F.pad(each.places, (0, 0, 0, most - each.places.shape[1])) for each in points]
    vectors = [F.pad(each.vectors, (0, 0, 0, most - each.vectors.shape[1])) for each in points]
    return Points(torch.cat(places), torch.cat(vectors)) if points else points_of(torch.zeros(0, 1, 1, 1))


def find(points: Points, labels: Tensor, seed: int = 0) -> tuple[Patch, ...]:
    """The patches that belong to a class ``labels (N,)``, the most frequent first."""
    if not points.vectors.shape[1] or len(set(labels.tolist())) < 2:
        return ()
    owners, windows = _sources(points, labels, seed)
    if not len(windows):
        return ()
    likeness, at = _likeness(points.vectors, windows)
    shares, elsewhere, p_values, is_patch = _spread(likeness, labels, owners)
    is_patch &= ~_of_scenes(is_patch, labels[owners])[labels[owners]]
    left = is_patch.nonzero()[:, 0]
    left = left[(elsewhere - shares)[left].argsort(stable=True)]
    hits, found = likeness > _ALIKE, list[Patch]()
    while len(left):
        stamp, left = _one_stamp(left, hits, at, points.places)
        rows, places = _occurrences(stamp, hits, at, points.places)
        label = labels[owners[stamp[0]]]
        is_own, n_own = labels[rows] == label, int((labels == label).sum())
        share, other = float(is_own.sum() / n_own), float((~is_own).sum() / (len(labels) - n_own))
        found.append(Patch(int(label), rows, places, share, other, float(p_values[stamp[0]])))
    return tuple(sorted(found, key=lambda patch: -patch.share))


def _of_scenes(is_patch: Tensor, labels: Tensor) -> Tensor:
    """Which classes have so many recurring windows ``(T,)`` that they are shots of one scene, ``(classes,)``."""
    counts = labels.bincount()
    return labels.bincount(is_patch.double(), len(counts)) > _MOST_WINDOWS * counts


def _detail(grey: Tensor) -> Tensor:
    """Mean square of the fine detail in each window, ``(N, 1, H - 6, W - 6)``."""
    wide = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    fine = grey - _over(wide, 3, torch.Tensor.add_) / 9
    return _over(fine.square_(), WINDOW, torch.Tensor.add_) / WINDOW**2


def _largest(values: Tensor) -> Tensor:
    """The largest value around each place."""
    half = _APART // 2
    return _over(F.pad(values, (half, half, half, half)), _APART, lambda so_far, each: so_far.clamp_(min=each))


def _over(values: Tensor, side: int, together: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Values of each square of that side, taken together. Shifts are ten times as fast as pooling on a CPU."""
    for dim in (2, 3):
        length = values.shape[dim] - side + 1
        result = values.narrow(dim, 0, length).clone()
        for start in range(1, side):
            together(result, values.narrow(dim, start, length))
        values = result
    return values


def _sources(points: Points, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Whose windows are compared with all others, ``(T,)``, and these windows ``(T, D)``: of some pictures a class."""
    generator = torch.Generator().manual_seed(seed)
    classes, n_points = sorted(set(labels.tolist())), points.vectors.shape[1]
    each = max(2, _MOST_SOURCES // (len(classes) * n_points))
    chosen = []
    for label in classes:
        members = (labels == label).nonzero()[:, 0]
        chosen.append(members[torch.randperm(len(members), generator=generator)[:each]])
    rows = torch.cat(chosen)
    owners, windows = rows.repeat_interleave(n_points), points.vectors[rows].flatten(0, 1)
    is_one = windows.any(1)
    return owners[is_one], windows[is_one]


def _likeness(vectors: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
    """How like each source the likest window of each picture is, ``(T, N)``, and which of its windows that is."""
    parts = [
        (windows @ some.flatten(0, 1).T).view(len(windows), len(some), -1).max(2)
        for some in torch.split(vectors, _AT_ONCE)
    ]
    return torch.cat([part.values for part in parts], 1), torch.cat([part.indices for part in parts], 1)


def _spread(likeness: Tensor, labels: Tensor, owners: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shares of the source's class and of the others, p values after Bonferroni, and which sources are patches."""
    of_class = labels == labels[owners][:, None]
    is_alike, is_rather = likeness > _ALIKE, likeness > _RATHER_ALIKE
    # The source's own picture is no evidence: it was chosen for it.
    n_own, n_others = of_class.sum(1) - 1, (~of_class).sum(1)
    alike, others = (is_alike & of_class).sum(1) - 1, (is_alike & ~of_class).sum(1)
    rather = (is_rather & of_class).sum(1) - 1
    shares, elsewhere = alike / n_own.clamp_min(1), others / n_others.clamp_min(1)
    chances = stats.hypergeom.sf(alike - 1, n_own + n_others, n_own, alike + others)
    p_values = (torch.from_numpy(chances) * len(owners)).clamp(max=1)
    is_patch = (
        (p_values < _FALSE_ALARMS)
        & (alike >= _FEWEST)
        & (shares - elsewhere > _LEAST_SHARE)
        & (shares > _RARER * elsewhere)
        & (alike >= _LEAST_COPIES * rather)
    )
    return shares, elsewhere, p_values, is_patch


def _one_stamp(sources: Tensor, hits: Tensor, at: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Of sources, the first with those that keep one distance from it, which makes them one stamp; and the rest."""
    distances = _places(sources, at, places) - _places(sources[:1], at, places)  # (S, N, 2)
    shared = hits[sources] & hits[sources[0]]
    typical = torch.where(shared[:, :, None], distances.float(), torch.nan).nanmedian(1, keepdim=True).values
    is_kept = ((distances - typical).abs().amax(2) <= _JITTER) & shared
    together = is_kept.sum(1) >= _TOGETHER * hits[sources].sum(1)
    together[0] = True
    return sources[together], sources[~together]


def _places(sources: Tensor, at: Tensor, places: Tensor) -> Tensor:
    """Where each picture has the window that is likest to each source, ``(S, N, 2)``."""
    rows = torch.arange(len(places)).expand(len(sources), -1)
    return places[rows, at[sources]]


def _occurrences(sources: Tensor, hits: Tensor, at: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The pictures that show a stamp by the first source, or by another part of it; and its place there.

    Of a stamp that is cut off by the border, its place inside the picture that is nearest.
    """
    where = _places(sources, at, places)
    shared = (hits[sources] & hits[sources[0]])[:, :, None]
    offsets = torch.where(shared, (where - where[0]).float(), torch.nan).nanmedian(1, keepdim=True).values
    by_first = (where - offsets.nan_to_num().round().long()).clamp_min(0).minimum(places.flatten(0, 1).amax(0))
    is_hit, first = hits[sources].max(0)
    rows = is_hit.nonzero()[:, 0]
    return rows, by_first[first[rows], rows]
