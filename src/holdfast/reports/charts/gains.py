"""The picture of a study: gain on the target against change of the sources, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from markupsafe import Markup

from holdfast.reports.charts.front import pareto_front
from holdfast.reports.charts.labels import Box, Segment, place_labels
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
from holdfast.reports.numbers import between, number

MOST_NAMES = 40
MOST_SEED_DOTS = 400
CROWD = 60
"""Recipes beyond which only those on the front show their intervals without being pointed at."""


@dataclass(frozen=True)
class GainMark:
    """One recipe in the picture; figures in points.

    Attributes:
        name: Of the recipe.
        number: Its place among the recipes of the page, by which charts and tables find each other.
        paradigm: One of :data:`holdfast.reports.charts.svg.PARADIGMS`.
        x, y: Change of the sources and gain on the target, means over runs.
        x_interval, y_interval: Where known.
        href: Where a click leads.
        runs: ``(x, y, href, name)`` of single runs, where there are several.
    """

    name: str
    number: int
    paradigm: str
    x: float
    y: float
    x_interval: Interval | None = None
    y_interval: Interval | None = None
    href: str = "#"
    runs: Sequence[tuple[float, float, str, str]] = field(default=())

    @property
    def tip(self) -> str:
        """What stands beside the pointer, a line a fact."""
        lines = [self.name, f"target {number(self.y, sign=True)}", f"sources {number(self.x, sign=True)}"]
        for at, interval in ((1, self.y_interval), (2, self.x_interval)):
            lines[at] += f" ({between(interval)})" if interval else ""
        return "\n".join(lines)


def gains_chart(name: str, marks: Sequence[GainMark], *, interval_words: str, where: str = "the target") -> Chart:
    """Up is learned, right is kept; the untouched base stands at zero and zero."""
    bars = f"Bars: {interval_words}." if interval_words else "No interval is known."
    about = (
        f"Gain on {where} (upwards) against change on the sources (to the right is kept), in points. "
        f"{bars} The line joins the recipes that no other one beats in both; the cross is the base."
    )
    rows = [
        (
            mark.name,
            number(mark.y, sign=True),
            between(mark.y_interval) or "–",
            number(mark.x, sign=True),
            between(mark.x_interval) or "–",
        )
        for mark in marks
    ]
    return Chart(
        name=name,
        about=about,
        wide=_draw(marks, 1080.0, 560.0, about, where),
        narrow=_draw(marks, 360.0, 420.0, about, where),
        columns=("recipe", "target", "interval", "sources", "interval"),
        rows=rows,
        keys=[paradigm for paradigm in PARADIGMS if any(mark.paradigm == paradigm for mark in marks)],
    )


def _draw(marks: Sequence[GainMark], width: float, height: float, about: str, where: str) -> Markup:
    dots = [run for mark in marks for run in mark.runs] if sum(len(m.runs) for m in marks) <= MOST_SEED_DOTS else []
    xs, ys = clipped_reach(marks, dots)
    x = spanning(xs, start=48.0, end=width - 14)
    y = spanning(ys, start=height - 50, end=34.0)
    base = (x.at(0.0), y.at(0.0))
    arms = [(base[0] - 6, base[1] - 6, base[0] + 6, base[1] + 6), (base[0] - 6, base[1] + 6, base[0] + 6, base[1] - 6)]
    cross = [element("line", class_="base", x1=a, y1=b, x2=c, y2=d) for a, b, c, d in arms]
    zero = [
        element("line", class_="zero", x1=base[0], x2=base[0], y1=y.end, y2=y.start),
        element("line", class_="zero", x1=x.start, x2=x.end, y1=base[1], y2=base[1]),
    ]
    front = pareto_front([(mark.x, mark.y) for mark in marks])
    corners = [(x.at(marks[i].x), y.at(marks[i].y)) for i in front]
    line = [(*one, *other) for one, other in pairwise(corners)]
    joined = " ".join(f"{short(across)},{short(up)}" for across, up in corners)
    crossing = [part for mark in marks for part in _reaches(mark, x, y)] if len(marks) <= CROWD else []
    seeds = [_run_dot(mark, run, x, y) for mark in marks for run in mark.runs] if dots else []
    bars = [_bars(mark, x, y, quiet=len(marks) > CROWD and i not in front) for i, mark in enumerate(marks)]
    order = sorted(range(len(marks)), key=lambda i: (i not in front, -marks[i].y))
    labelled = [(f"{i}", marks[i]) for i in order[:MOST_NAMES]]
    within = Box(x.start - 30, y.end - 4, width, y.start + 2)
    named = [("untouched base", *base)] + [(mark.name, x.at(mark.x), y.at(mark.y)) for _, mark in labelled]
    numbers = {mark.name: mark.number for mark in marks}
    names = [
        element("text", text, class_="name", x=left, y=at, text_anchor=anchor, data_recipe=numbers.get(text))
        for text, left, at, anchor in place_labels(named, within, lines=line, bars=crossing)
    ]
    return drawing(
        width,
        height,
        frame(x, y, x_title="change on the sources, points (right is kept)", y_title=f"gain on {where}, points"),
        *zero,
        *cross,
        element("polyline", class_="front", points=joined),
        *bars,
        *seeds,
        element("g", *names, aria_hidden="true"),
        *(_mark(marks[i], x, y, quiet=len(marks) > CROWD and i not in front) for i in reversed(order)),
        about=about,
    )


def clipped_reach(
    marks: Sequence[GainMark], runs: Sequence[tuple[float, float, str, str]] = ()
) -> tuple[list[float], list[float]]:
    """The ends of both axes: the base, every mark and run, and of the intervals what leaves those most of the place."""
    xs, ys = [0.0, *(mark.x for mark in marks)], [0.0, *(mark.y for mark in marks)]
    return (
        reach([*xs, *(run[0] for run in runs)], [mark.x_interval for mark in marks]),
        reach([*ys, *(run[1] for run in runs)], [mark.y_interval for mark in marks]),
    )


def _reaches(mark: GainMark, x: Scale, y: Scale) -> list[Segment]:
    """Its intervals as lines."""
    at, found = (x.at(mark.x), y.at(mark.y)), []
    if mark.x_interval:
        low, high = (x.clipped(limit) for limit in mark.x_interval)
        found.append((low, at[1], high, at[1]))
    if mark.y_interval:
        low, high = (y.clipped(limit) for limit in mark.y_interval)
        found.append((at[0], low, at[0], high))
    return found


def _bars(mark: GainMark, x: Scale, y: Scale, *, quiet: bool) -> Markup:
    """Both intervals; behind the names, so that no name is struck through."""
    bars = [
        element("line", class_=f"bar {mark.paradigm}", x1=left, x2=right, y1=low, y2=high)
        for left, low, right, high in _reaches(mark, x, y)
    ]
    return element("g", *bars, class_="bars quiet" if quiet else "bars", data_recipe=mark.number)


def _mark(mark: GainMark, x: Scale, y: Scale, *, quiet: bool) -> Markup:
    at = (x.at(mark.x), y.at(mark.y))
    return element(
        "a",
        element("circle", class_="hit", cx=at[0], cy=at[1], r=7 if quiet else 13),
        shape(mark.paradigm, at[0], at[1], 3.5 if quiet else 6.0),
        href=mark.href,
        class_="mark quiet" if quiet else "mark",
        data_recipe=mark.number,
        data_tip=mark.tip,
        aria_label=mark.tip.replace("\n", ", "),
    )


def _run_dot(mark: GainMark, run: tuple[float, float, str, str], x: Scale, y: Scale) -> Markup:
    across, up, href, name = run
    tip = f"{mark.name}, {name}\ntarget {number(up, sign=True)}\nsources {number(across, sign=True)}"
    dot = element("circle", class_=f"run {mark.paradigm}", cx=x.clipped(across), cy=y.clipped(up), r=2.6)
    return element(
        "a", dot, href=href, class_="mark dot", tabindex="-1", data_recipe=mark.number, data_tip=tip, aria_label=name
    )
