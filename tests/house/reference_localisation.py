"""Weakly supervised localisation again: one sample and one threshold at a time, in float64, as the papers define it."""

import math

from house.reference_measures import Map, Mask, bilinear, box, largest, size_of, true_pixels

Box = tuple[int, int, int, int]


def box_at(resized: Map, threshold: float) -> Box:
    return box(true_pixels(largest([[value >= threshold - 1e-6 for value in row] for row in resized])))


def overlap(one: Box, other: Box) -> float:
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (one, other)]
    return width * height / (sum(areas) - width * height)


def to_unit(values: Map, mask: Mask) -> Map:
    resized = bilinear(values, *size_of(mask))
    low, high = min(map(min, resized)), max(map(max, resized))
    return [[(value - low) / (high - low) for value in row] for row in resized]


def box_accuracies(maps: list[Map], masks: list[Mask], at_least: float, thresholds: list[float]) -> list[float]:
    """``BoxAcc(tau, delta)`` of Choe et al. 2020, eq. 3."""
    accuracies = []
    for threshold in thresholds:
        hits = 0
        for values, mask in zip(maps, masks, strict=True):
            hits += overlap(box_at(to_unit(values, mask), threshold), box(true_pixels(mask))) >= at_least
        accuracies.append(hits / len(maps))
    return accuracies


def pixel_average(maps: list[Map], masks: list[Mask], thresholds: list[float]) -> float:
    """``PxAP`` of Choe et al. 2020, from its eq. 5 on."""
    scaled = [to_unit(values, mask) for values, mask in zip(maps, masks, strict=True)]
    area, before = 0.0, 0.0
    for threshold in sorted(thresholds, reverse=True):
        chosen = hit = objects = 0
        for values, mask in zip(scaled, masks, strict=True):
            for row, inside in zip(values, mask, strict=True):
                for value, is_object in zip(row, inside, strict=True):
                    chosen += value >= threshold - 1e-6
                    hit += value >= threshold - 1e-6 and is_object
                    objects += is_object
        area += hit / chosen * (hit / objects - before)
        before = hit / objects
    return area


def pointing_hit(values: Map, mask: Mask, tolerance: float) -> float:
    """Zhang et al. 2018, section 4.1: the highest pixel, and how far the object is."""
    resized = bilinear(values, *size_of(mask))
    highest = max(map(max, resized))
    y, x = next((y, x) for y, row in enumerate(resized) for x, value in enumerate(row) if value == highest)
    return float(min(math.hypot(y - a, x - b) for a, b in true_pixels(mask)) <= tolerance)
