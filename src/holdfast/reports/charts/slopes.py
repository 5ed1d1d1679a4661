"""Before and after, one small panel a task: every recipe's line starts at the untouched base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.reports.charts.svg import PARADIGMS, Chart, Scale, drawing, element
from holdfast.reports.numbers import number

WIDTH, HEIGHT = 200.0, 190.0
MOST_LINES = 60


@dataclass(frozen=True)
class Slope:
    """One recipe on one task; scores in points."""

    name: str
    number: int
    paradigm: str
    before: float
    after: float


def slopes_panel(task: str, slopes: Sequence[Slope], *, floor: float | None = None) -> Chart:
    """The panel of a task, from 0 to the top of its scale; the dotted line is the best score without the image.

    Its table stands once for all panels.
    """
    top = 100.0 if max(max(s.before, s.after) for s in slopes) <= 100 else max(max(s.before, s.after) for s in slopes)
    low = min(0.0, *(s.after for s in slopes))
    y = Scale(low, top, HEIGHT - 24, 12.0)
    left, right = 30.0, WIDTH - 34
    about = f"{task} before and after, in points, of {len(slopes)} {'recipe' if len(slopes) == 1 else 'recipes'}"
    parts = [element("line", class_="grid", x1=at, x2=at, y1=y.at(low), y2=y.at(top)) for at in (left, right)]
    parts += [
        element("text", number(value), class_="tick", x=left - 5, y=y.at(value) + 4, text_anchor="end")
        for value in sorted({round(s.before, 1) for s in slopes[:1]})
    ]
    parts += [
        element("text", words, class_="tick", x=at, y=HEIGHT - 6, text_anchor="middle")
        for words, at in (("before", left), ("after", right))
    ]
    if floor is not None:
        parts.append(element("line", class_="floor", x1=left, x2=right, y1=y.at(floor), y2=y.at(floor)))
    lines = []
    for slope in slopes[:MOST_LINES]:
        tip = f"{slope.name}\n{task}: {number(slope.before)} → {number(slope.after)}"
        line = element(
            "line", class_=f"line {slope.paradigm}", x1=left, x2=right, y1=y.at(slope.before), y2=y.at(slope.after)
        )
        dot = element("circle", class_=f"shape {slope.paradigm}", cx=right, cy=y.at(slope.after), r=3)
        wide = element("line", class_="hit", x1=left, x2=right, y1=y.at(slope.before), y2=y.at(slope.after))
        lines.append(element("g", wide, line, dot, class_="mark", data_recipe=slope.number, data_tip=tip))
    ends = [max(slopes, key=lambda s: s.after), min(slopes, key=lambda s: s.after)]
    parts += [
        element("text", number(s.after), class_="tick", x=right + 6, y=y.at(s.after) + 4)
        for s in ends[: 1 if abs(y.at(ends[0].after) - y.at(ends[1].after)) < 12 else 2]
    ]
    return Chart(
        name=f"slope-{task}",
        about=about,
        wide=drawing(WIDTH, HEIGHT, *parts, *lines, about=about),
        keys=[paradigm for paradigm in PARADIGMS if any(s.paradigm == paradigm for s in slopes)],
    )
