"""The picture for papers: gain on the target against change of the sources, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from holdfast.files import beside
from holdfast.reports.charts.front import pareto_front
from holdfast.reports.charts.gains import GainMark, clipped_reach
from holdfast.reports.charts.labels import Box, place_labels
from holdfast.reports.charts.svg import spanning

LOOKS = {
    "selective": ("#1b6ca8", "o"),
    "additive": ("#b3541e", "^"),
    "reparameterization": ("#2f7a42", "D"),
    "mixed": ("#7a4b9c", "s"),
    "baseline": ("#5f6664", "P"),
}
"""Paradigm -> colour and marker, as on the page in light."""

LETTERS = 8.0
"""Size of the names in points."""

MOST_NAMES = 30
CROWD = 15
"""Names beyond which one that finds no free place is left out."""


def draw_pareto(
    marks: Sequence[GainMark], files: Sequence[Path], *, title: str = "", where: str = "the target"
) -> None:
    """Draw one picture to every file; its suffix (.png, .svg, .pdf) decides the format.

    Up is gain on the target, right is kept, both in points. The base stands as a cross at zero and zero, bars are the
    intervals, and a line joins the recipes that no other one beats in both.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if not marks:
        return
    matplotlib.rcParams["svg.hashsalt"] = "holdfast"
    figure, axes = pyplot.subplots(figsize=(7.2, 4.6), dpi=160)
    for line in (axes.axvline, axes.axhline):
        line(0.0, color="#bbbbbb", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.plot([0.0], [0.0], marker="x", color="#222222", markersize=8, markeredgewidth=2, linestyle="none")
    front = pareto_front([(mark.x, mark.y) for mark in marks])
    axes.plot([marks[i].x for i in front], [marks[i].y for i in front], color="#999999", linewidth=1, zorder=1)
    for paradigm in dict.fromkeys(mark.paradigm for mark in marks):
        colour, marker = LOOKS.get(paradigm, LOOKS["baseline"])
        own = [(place, mark) for place, mark in enumerate(marks) if mark.paradigm == paradigm]
        xs, ys = [mark.x for _, mark in own], [mark.y for _, mark in own]
        axes.plot(xs, ys, marker, color=colour, markersize=6.5, label=paradigm, linestyle="none", zorder=3)
        for place, mark in own:
            if len(marks) <= MOST_NAMES or place in front:
                _bars(axes, mark, colour)
    across, up = (spanning(ends, start=0.0, end=1.0) for ends in clipped_reach(marks))
    axes.set_xlim(across.low, across.high)
    axes.set_ylim(up.low, up.high)
    named = sorted(range(len(marks)), key=lambda i: (i not in front, -marks[i].y))[:MOST_NAMES]
    axes.set_xlabel("change on the sources, points (right is kept)")
    axes.set_ylabel(f"gain on {where}, points")
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eeeeee", linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=5)
    figure.tight_layout()  # names are placed by what is then where
    _annotate(axes, marks, [("untouched base", 0.0, 0.0), *((marks[i].name, marks[i].x, marks[i].y) for i in named)])
    for file in files:
        kind = file.suffix.removeprefix(".")
        with beside(file) as partial:
            figure.savefig(partial, format=kind, metadata={"Date": None} if kind == "svg" else None)
    pyplot.close(figure)


def _bars(axes: Any, mark: GainMark, colour: str) -> None:
    if mark.x_interval:
        axes.plot(mark.x_interval, [mark.y] * 2, color=colour, linewidth=1, alpha=0.6, zorder=2)
    if mark.y_interval:
        axes.plot([mark.x] * 2, mark.y_interval, color=colour, linewidth=1, alpha=0.6, zorder=2)


def _annotate(axes: Any, marks: Sequence[GainMark], names: Sequence[tuple[str, float, float]]) -> None:
    """Write each name beside its point, the first ones first; of many only those that find a free place."""
    from matplotlib.patheffects import withStroke

    axes.figure.canvas.draw()
    unit = axes.figure.dpi / 72 * LETTERS / 12  # pixels of one of the units that labels are placed in

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = axes.transData.transform((x, y)) / unit
        return float(across), -float(up)  # downwards, as on a page

    front = [at(marks[i].x, marks[i].y) for i in pareto_front([(mark.x, mark.y) for mark in marks])]
    bars = [(*at(low, m.y), *at(high, m.y)) for m in marks if m.x_interval for low, high in [m.x_interval]]
    bars += [(*at(m.x, low), *at(m.x, high)) for m in marks if m.y_interval for low, high in [m.y_interval]]
    left, bottom, right, top = (float(edge) / unit for edge in axes.bbox.extents)
    placed = place_labels(
        [(name, *at(x, y)) for name, x, y in names],
        Box(left, -top, right + 8, -bottom),
        size=13.0,  # this font is wider than a browser's
        lines=[(*one, *other) for one, other in pairwise(front)],
        bars=bars if len(marks) <= MOST_NAMES else [],
        every=len(names) <= CROWD,
    )
    halo = withStroke(linewidth=3, foreground="white")
    for name, across, down, anchor in placed:
        side = {"start": "left", "end": "right", "middle": "center"}[anchor]
        place = axes.transData.inverted().transform((across * unit, -down * unit))
        axes.text(*place, name, ha=side, va="baseline", fontsize=LETTERS).set_path_effects([halo])
