"""Lines over something that grows: loss over steps, gain and forgetting over training, sweeps of a setting."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from holdfast.reports.charts.labels import Box, place_labels, text_width
from holdfast.reports.charts.svg import (
    PARADIGMS,
    Chart,
    Interval,
    Scale,
    drawing,
    element,
    frame,
    reach,
    shape,
    short,
    spanning,
)
from holdfast.reports.numbers import between

MOST_LINES = 60


@dataclass(frozen=True)
class LinePoint:
    """One point of a line, with its interval and where a click on it leads."""

    x: float
    y: float
    interval: Interval | None = None
    href: str = ""


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        name: At its end, and in the table.
        points: In the order of x.
        look: A paradigm, or ``first``, ``second`` where lines are told apart by nothing else.
        number: The recipe's place on the page, if it is one's.
    """

    name: str
    points: Sequence[LinePoint]
    look: str = "first"
    number: int | None = None


@dataclass(frozen=True)
class Axes:
    """What stands along both axes; ``digits`` after the point in the table and beside the pointer."""

    x_title: str
    y_title: str
    log_x: bool = False
    log_y: bool = False
    zero: bool = False
    digits: int = 1


def lines_chart(name: str, about: str, series: Sequence[Series], axes: Axes, *, height: float = 270.0) -> Chart:
    """A chart of lines; at most :data:`MOST_LINES` are drawn, all stand in the table."""
    drawn = [line for line in series if line.points][:MOST_LINES]
    steps = sorted({point.x for line in series for point in line.points})
    rows = []
    for line in series:
        at = {point.x: point for point in line.points}
        rows.append((line.name, *(_written(at.get(step), axes) for step in steps)))
    few = len(steps) <= 24
    return Chart(
        name=name,
        about=about,
        wide=_draw(drawn, 460.0, height, axes, about),
        columns=(axes.x_title, *(f"{step:g}" for step in steps)) if few else (axes.x_title, "first", "last"),
        rows=rows if few else [(row[0], _ends(row[1:], 0), _ends(row[1:], -1)) for row in rows],
        keys=[paradigm for paradigm in PARADIGMS if any(line.look == paradigm for line in drawn)],
    )


def _written(point: LinePoint | None, axes: Axes) -> str:
    return "" if point is None else f"{point.y:.{axes.digits}f}".replace("-", "−")


def _ends(cells: Sequence[str], at: int) -> str:
    filled = [cell for cell in cells if cell]
    return filled[at] if filled else "–"


def _draw(series: Sequence[Series], width: float, height: float, axes: Axes, about: str) -> Markup:
    points = [point for line in series for point in line.points]
    ends = max((text_width(line.name, 11.0) for line in series), default=0.0)
    right = width - min(ends + 14, 0.3 * width) if len(series) > 1 else width - 14
    x = _scale([point.x for point in points], axes.log_x, 46.0, right)
    values = [point.y for point in points] + ([0.0] if axes.zero else [])
    y = _scale(reach(values, [point.interval for point in points]), axes.log_y, height - 46, 34.0)
    grid = frame(x, y, x_title=axes.x_title, y_title=axes.y_title, x_ticks=_x_ticks(points, x))
    lines = [_line(line, x, y, axes) for line in series]
    ends_at = [(line.name, x.at(line.points[-1].x), y.at(line.points[-1].y)) for line in series if len(series) > 1]
    names = [
        element("text", text, class_="name small", x=left, y=at, text_anchor=anchor)
        for text, left, at, anchor in place_labels(
            ends_at, Box(x.end - 16, 14, width + 20, height - 30), size=11.0, reach=9.0
        )
    ]
    zero = element("line", class_="zero", x1=x.start, x2=x.end, y1=y.at(0.0), y2=y.at(0.0)) if axes.zero else Markup()
    return drawing(width, height, grid, zero, *lines, element("g", *names, aria_hidden="true"), about=about)


def _scale(values: Sequence[float], logarithmic: bool, start: float, end: float) -> Scale:
    low, high = min(values), max(values)
    if logarithmic and low > 0 and high > low:
        factor = (high / low) ** 0.04
        return Scale(low / factor, high * factor, start, end, logarithmic=True)
    return spanning(values, start=start, end=end, room=0.04, least=abs(high) * 1e-3 or 1.0)


def _x_ticks(points: Sequence[LinePoint], x: Scale) -> list[float] | None:
    """The values themselves where they are few, as those of a sweep are."""
    own = sorted({point.x for point in points})
    places = [x.at(value) for value in own]
    apart = all(b - a > 34 for a, b in itertools.pairwise(places))
    return own if len(own) <= 8 and apart else None


def _line(line: Series, x: Scale, y: Scale, axes: Axes) -> Markup:
    path = " ".join(f"{short(x.at(point.x))},{short(y.at(point.y))}" for point in line.points)
    marks = []
    few = len(line.points) <= 24
    for point in line.points if few else line.points[:: math.ceil(len(line.points) / 48)]:
        at = (x.at(point.x), y.at(point.y))
        parts = []
        if point.interval:
            low, high = (y.clipped(limit) for limit in point.interval)
            parts.append(element("line", class_=f"bar {line.look}", x1=at[0], x2=at[0], y1=low, y2=high))
        parts.append(element("circle", class_="hit", cx=at[0], cy=at[1], r=9))
        if few:
            known = line.look if line.look in PARADIGMS else "selective"
            parts.append(Markup(shape(known, *at, 3.4).replace(f"shape {known}", f"shape {line.look}", 1)))
        tip = f"{line.name}\n{axes.x_title} {point.x:g}\n{_written(point, axes)}"
        tip += f" ({between(point.interval)})" if point.interval else ""
        marks.append(
            element(
                "a" if point.href else "g",
                *parts,
                href=point.href or None,
                class_="mark",
                data_recipe=line.number,
                data_tip=tip,
                aria_label=tip.replace("\n", ", ") if point.href else None,
            )
        )
    return element(
        "g",
        element("polyline", class_=f"line {line.look}", points=path),
        *marks,
        class_="series",
        data_recipe=line.number,
    )
