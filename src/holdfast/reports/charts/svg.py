"""The few words of SVG that the charts are written in: escaped elements, scales with round ticks, marks by paradigm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

PARADIGMS = ("selective", "additive", "reparameterization", "mixed", "baseline")
"""What a mark's shape and colour stand for, in the order of the legend."""


Interval = tuple[float, float]
WIDEST = 0.25
"""How far intervals may widen an axis at either end, as a share of what the values span; beyond it they are cut."""


@dataclass(frozen=True)
class Chart:
    """A picture of the page and what stands for it where it cannot be seen.

    Attributes:
        name: Short and unlike the others of the page; part of ids.
        about: The caption, which is what a screen reader says of the picture.
        wide: The drawing for a desk.
        narrow: The drawing for a phone; the wide one serves where it is empty.
        columns: Headings of the table alternative; the first column is text, the others are numbers.
        rows: Its cells.
        keys: The paradigms of the legend.
    """

    name: str
    about: str
    wide: Markup
    narrow: Markup = Markup()  # noqa: RUF009 - immutable
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    keys: Sequence[str] = ()


def element(name: str, /, *content: object, **attributes: object) -> Markup:
    """One element; texts are escaped, ``None`` leaves an attribute out, ``class_`` is class and ``x_y`` is x-y."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(escape(part) for part in content)
    return Markup(f"<{name}{written}>{inside}</{name}>")


def short(value: object) -> str:
    """A coordinate in as few digits as anyone sees."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def drawing(width: float, height: float, *content: object, about: str) -> Markup:
    """The picture as a whole; what is inside stays reachable for keyboard and screen reader."""
    return element("svg", *content, viewBox=f"0 0 {short(width)} {short(height)}", role="group", aria_label=about)


@dataclass(frozen=True)
class Scale:
    """From values to places; percent of a width where no places are given.

    Attributes:
        low, high: The values at both ends.
        start, end: Their places.
        logarithmic: Whether equal ratios have equal lengths; both values are then above 0.
    """

    low: float
    high: float
    start: float = 0.0
    end: float = 100.0
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Where a value stands."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return round(self.start + (self.end - self.start) * (value - low) / (high - low), 2)

    def clipped(self, value: float) -> float:
        """The same for a value that may lie beyond the ends."""
        return self.at(min(self.high, max(self.low, value)))

    def ticks(self, about: int = 5) -> list[float]:
        """Round values between both ends, some ``about`` of them."""
        if self.logarithmic:
            return self._decades(about)
        step = _round_step((self.high - self.low) / about)
        first = math.ceil(self.low / step - 1e-9)
        return [round(at * step, 10) for at in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _decades(self, about: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for digits in ((1, 2, 5), (1, 3), (1,)):
            made = [digit * 10.0**power for power in range(first, last + 1) for digit in digits]
            kept = [value for value in made if self.low * 0.999 <= value <= self.high * 1.001]
            if len(kept) <= 2 * about:
                break
        return kept if len(kept) > 1 else [self.low, self.high]


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.9)


def spanning(values: Sequence[float], *, start: float, end: float, room: float = 0.06, least: float = 1.0) -> Scale:
    """A scale over all values with some room at both ends, at least ``least`` long."""
    low, high = min(values), max(values)
    margin = max(room * (high - low), (least - (high - low)) / 2)
    return Scale(low - margin, high + margin, start, end)


def reach(values: Sequence[float], intervals: Sequence[Interval | None]) -> list[float]:
    """The ends of an axis: all values, and of the intervals as much as leaves the values most of the picture."""
    low, high = min(values), max(values)
    beyond = WIDEST * max(high - low, 1.0)
    limits = [limit for interval in intervals if interval for limit in interval]
    return [max(min([low, *limits]), low - beyond), min(max([high, *limits]), high + beyond)]


def frame(x: Scale, y: Scale, *, x_title: str, y_title: str, x_ticks: Sequence[float] | None = None) -> Markup:
    """Grid, tick texts and the names of both axes."""
    left, right, top, bottom = x.start, x.end, min(y.start, y.end), max(y.start, y.end)
    along = x.ticks(max(3, int((right - left) / 90))) if x_ticks is None else x_ticks
    parts: list[Markup] = []
    for value in along:
        at = x.at(value)
        parts.append(element("line", class_="grid", x1=at, x2=at, y1=top, y2=bottom))
        parts.append(element("text", tick(value), class_="tick", x=at, y=bottom + 18, text_anchor="middle"))
    for value in y.ticks(max(3, int((bottom - top) / 60))):
        at = y.at(value)
        parts.append(element("line", class_="grid", x1=left, x2=right, y1=at, y2=at))
        parts.append(element("text", tick(value), class_="tick", x=left - 8, y=at + 4, text_anchor="end"))
    parts.append(element("text", x_title, class_="title", x=(left + right) / 2, y=bottom + 38, text_anchor="middle"))
    # Above the axis and not turned on its side: a turned line is slow to read.
    parts.append(element("text", y_title, class_="title", x=left - 34, y=top - 12))
    return element("g", *parts, aria_hidden="true")


def tick(value: float) -> str:
    """The text at a tick, thousands as k."""
    return f"{short(value / 1000)}k" if abs(value) >= 10_000 else f"{value:.4g}".replace("-", "−")


def shape(paradigm: str, x: float, y: float, size: float) -> Markup:
    """The mark of a paradigm: a circle, a triangle, a diamond, a square, or a plus for what has none."""
    kind = f"shape {paradigm}"
    if paradigm == "selective":
        return element("circle", class_=kind, cx=x, cy=y, r=size)
    if paradigm == "additive":
        corners = [(0.0, -1.25), (1.15, 0.85), (-1.15, 0.85)]
    elif paradigm == "reparameterization":
        corners = [(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]
    elif paradigm == "mixed":
        corners = [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]
    else:
        arm = 0.4
        corners = [(-arm, -1.2), (arm, -1.2), (arm, -arm), (1.2, -arm), (1.2, arm), (arm, arm)]
        corners += [(arm, 1.2), (-arm, 1.2), (-arm, arm), (-1.2, arm), (-1.2, -arm), (-arm, -arm)]
    points = " ".join(f"{short(x + size * dx)},{short(y + size * dy)}" for dx, dy in corners)
    return element("polygon", class_=kind, points=points)


def legend_mark(paradigm: str) -> Markup:
    """The small picture of a paradigm for legends and tables."""
    return element("svg", shape(paradigm, 7.0, 7.0, 4.6), class_="key", viewBox="0 0 14 14", aria_hidden="true")
