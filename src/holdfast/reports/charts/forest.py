"""Stability over seeds: a row a recipe, every run a stroke, the mean with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from holdfast.reports.charts.svg import Interval, Scale, element, spanning

HEIGHT = 34.0


def forest_scale(values: Sequence[float]) -> Scale:
    """One scale for all rows of a column, with zero on it."""
    return spanning([0.0, *(min(130.0, max(-130.0, value)) for value in values)], start=0.0, end=100.0, room=0.04)


def forest_row(
    scale: Scale, *, mean: float, interval: Interval | None, runs: Sequence[float], paradigm: str, about: str
) -> Markup:
    """The picture of one row; it stretches with its cell, so all in it is drawn with lines."""
    middle = HEIGHT / 2
    parts = [element("line", class_="zero", x1=scale.at(0.0), x2=scale.at(0.0), y1=0, y2=HEIGHT)]
    if interval is not None:
        low, high = (scale.clipped(limit) for limit in interval)
        parts.append(element("line", class_=f"range {paradigm}", x1=low, x2=high, y1=middle, y2=middle))
    for value in runs:
        at = scale.clipped(value)
        parts.append(element("line", class_=f"stroke {paradigm}", x1=at, x2=at, y1=middle - 9, y2=middle + 9))
    at = scale.clipped(mean)
    parts.append(element("line", class_=f"dot {paradigm}", x1=at, x2=at, y1=middle, y2=middle))
    return element(
        "svg", *parts, viewBox=f"0 0 100 {HEIGHT:g}", preserveAspectRatio="none", role="img", aria_label=about
    )
