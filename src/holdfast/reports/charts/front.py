"""Which points no other one beats."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other one beats in both coordinates, by the first coordinate."""
    front = [
        index
        for index, (x, y) in enumerate(points)
        if not any((a >= x and b >= y) and (a > x or b > y) for a, b in points)
    ]
    return sorted(front, key=lambda index: points[index])
