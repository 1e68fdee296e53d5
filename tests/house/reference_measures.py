"""The measures and their geometry again: one sample at a time, in float64 loops, straight from the definitions.

Nothing here imports the package. Maps and masks are lists of rows; exact geometry is done in fractions.
"""

import math
from fractions import Fraction

Map = list[list[float]]
Mask = list[list[bool]]


def size_of(rows: Map | Mask) -> tuple[int, int]:
    return len(rows), len(rows[0])


def covered(mask: Mask, h: int, w: int) -> Map:
    """Share of each cell's area under True pixels."""
    height, width = size_of(mask)
    cells = [[Fraction(0)] * w for _ in range(h)]
    for i in range(h):
        for j in range(w):
            for y in range(height):
                for x in range(width):
                    if mask[y][x]:
                        down = common(Fraction(i, h), Fraction(i + 1, h), Fraction(y, height), Fraction(y + 1, height))
                        across = common(Fraction(j, w), Fraction(j + 1, w), Fraction(x, width), Fraction(x + 1, width))
                        cells[i][j] += down * across * h * w
    return [[float(cell) for cell in row] for row in cells]


def common(start: Fraction, end: Fraction, other_start: Fraction, other_end: Fraction) -> Fraction:
    """Length that two intervals share."""
    return max(Fraction(0), min(end, other_end) - max(start, other_start))


def bilinear(values: Map, height: int, width: int) -> Map:
    h, w = size_of(values)
    result = [[0.0] * width for _ in range(height)]
    for y in range(height):
        for x in range(width):
            v = max((y + 0.5) * h / height - 0.5, 0.0)
            u = max((x + 0.5) * w / width - 0.5, 0.0)
            i, j = int(v), int(u)
            below, right = min(i + 1, h - 1), min(j + 1, w - 1)
            top = values[i][j] * (1 - (u - j)) + values[i][right] * (u - j)
            bottom = values[below][j] * (1 - (u - j)) + values[below][right] * (u - j)
            result[y][x] = top * (1 - (v - i)) + bottom * (v - i)
    return result


def regions(mask: Mask) -> list[list[tuple[int, int]]]:
    """4-connected regions, each as its pixels, in the order of their first pixel."""
    height, width = size_of(mask)
    found, seen = [], set()
    for y in range(height):
        for x in range(width):
            if mask[y][x] and (y, x) not in seen:
                region, front = [], [(y, x)]
                seen.add((y, x))
                while front:
                    a, b = front.pop()
                    region.append((a, b))
                    for c, d in ((a - 1, b), (a + 1, b), (a, b - 1), (a, b + 1)):
                        if 0 <= c < height and 0 <= d < width and mask[c][d] and (c, d) not in seen:
                            seen.add((c, d))
                            front.append((c, d))
                found.append(region)
    return found


def largest(mask: Mask) -> Mask:
    height, width = size_of(mask)
    pixels = max(regions(mask), key=len, default=[])
    return [[(y, x) in set(pixels) for x in range(width)] for y in range(height)]


def box(pixels: list[tuple[int, int]]) -> tuple[int, int, int, int]:
    """``x1, y1, x2, y2``, ends exclusive."""
    ys, xs = [y for y, _ in pixels], [x for _, x in pixels]
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def true_pixels(mask: Mask) -> list[tuple[int, int]]:
    return [(y, x) for y, row in enumerate(mask) for x, value in enumerate(row) if value]


def total(values: Map) -> float:
    return math.fsum(value for row in values for value in row)


def weighted(values: Map, weights: Map) -> float:
    return math.fsum(
        v * w for row, others in zip(values, weights, strict=True) for v, w in zip(row, others, strict=True)
    )


def ring(h: int, w: int) -> Map:
    """Share of each cell outside the inner 80 % of both sides."""
    low, high = Fraction(1, 10), Fraction(9, 10)
    return [
        [
            float(
                1
                - common(Fraction(i, h), Fraction(i + 1, h), low, high)
                * common(Fraction(j, w), Fraction(j + 1, w), low, high)
                * h
                * w
            )
            for j in range(w)
        ]
        for i in range(h)
    ]


def background_attention_ratio(values: Map, mask: Mask) -> float:
    n_true, n_pixels = len(true_pixels(mask)), len(mask) * len(mask[0])
    if n_true in (0, n_pixels) or total(values) == 0 or size_of(values) == (1, 1):
        return math.nan
    return 1 - weighted(values, covered(mask, *size_of(values))) / total(values)


def background_attention_lift(values: Map, mask: Mask) -> float:
    ratio = background_attention_ratio(values, mask)
    area = 1 - len(true_pixels(mask)) / (len(mask) * len(mask[0]))
    cells = len(values) * len(values[0])
    if math.isnan(ratio):
        return math.nan
    if ratio / area >= 1 / cells and (1 - ratio) / (1 - area) >= 1 / cells:
        return math.log(ratio / (1 - ratio)) - math.log(area / (1 - area))
    return math.log(max(ratio / area, 1 / cells) / max((1 - ratio) / (1 - area), 1 / cells))


def pointing_accuracy(values: Map, mask: Mask) -> float:
    h, w = size_of(values)
    height, width = size_of(mask)
    highest = max(map(max, values))
    if highest == min(map(min, values)) or len(true_pixels(mask)) in (0, height * width):
        return math.nan
    hits = []
    for i in range(h):
        for j in range(w):
            if values[i][j] == highest:
                y, x = (i + Fraction(1, 2)) * height / h, (j + Fraction(1, 2)) * width / w
                touching = [
                    mask[a][b] for a in range(height) for b in range(width) if a <= y <= a + 1 and b <= x <= b + 1
                ]
                hits.append(sum(touching) / len(touching))
    return sum(hits) / len(hits)


def box_iou(values: Map, mask: Mask) -> float:
    highest = max(map(max, values))
    if highest == min(map(min, values)) or not true_pixels(mask):
        return math.nan
    resized = bilinear(values, *size_of(mask))
    threshold = 0.2 * max(map(max, resized))
    high = [[value >= threshold or math.isclose(value, threshold) for value in row] for row in resized]
    ax1, ay1, ax2, ay2 = box(true_pixels(largest(high)))
    bx1, by1, bx2, by2 = box(true_pixels(mask))
    both = max(0, min(ax2, bx2) - max(ax1, bx1)) * max(0, min(ay2, by2) - max(ay1, by1))
    return both / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - both)


def border_attention_ratio(values: Map) -> float:
    if total(values) == 0 or size_of(values) == (1, 1):
        return math.nan
    return weighted(values, ring(*size_of(values))) / total(values)


def attention_entropy(values: Map) -> float:
    if total(values) == 0 or size_of(values) == (1, 1):
        return math.nan
    shares = [value / total(values) for row in values for value in row]
    return -math.fsum(share * math.log(share) for share in shares if share > 0) / math.log(len(shares))


def attention_drift(values: Map, previous: Map) -> float:
    if total(values) == 0 or total(previous) == 0 or size_of(values) == (1, 1):
        return math.nan
    return 1 - weighted(values, previous) / math.sqrt(weighted(values, values) * weighted(previous, previous))
