"""The picture for papers: gain on the target against change of the sources, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.files import beside
from holdfast.reports.charts.front import pareto_front
from holdfast.reports.charts.gains import GainMark, clipped_reach
from holdfast.reports.charts.svg import spanning

LOOKS = {
    "selective": ("#1b6ca8", "o"),
    "additive": ("#b3541e", "^"),
    "reparameterization": ("#2f7a42", "D"),
    "mixed": ("#7a4b9c", "s"),
    "baseline": ("#5f6664", "P"),
}
"""Paradigm -> colour and marker, as on the page in light."""

MOST_NAMES = 30
CROWD = 15
"""Recipes beyond which a name that finds no free place is left out."""


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
    _annotate(axes, [("untouched base", 0.0, 0.0), *((marks[i].name, marks[i].x, marks[i].y) for i in named)])
    axes.set_xlabel("change on the sources, points (right is kept)")
    axes.set_ylabel(f"gain on {where}, points")
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eeeeee", linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=5)
    figure.tight_layout()
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


def _annotate(axes: Any, names: Sequence[tuple[str, float, float]]) -> None:
    """Write each name beside its point, on the first of eight sides where it hits no other name or point.

    Where there are many, the first in the list come first, and what would hit another name is not written.
    """
    from matplotlib.patheffects import withStroke

    halo = withStroke(linewidth=3, foreground="white")
    figure = axes.figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    edges = [(7, -3, "left"), (-7, -3, "right"), (0, 8, "center"), (0, -14, "center")]
    corners = [(5, 4, "left"), (5, -11, "left"), (-5, 4, "right"), (-5, -11, "right")]
    sides = corners + edges
    dots = [axes.transData.transform((x, y)) for _, x, y in names]
    taken: list[Any] = []
    crowded = len(names) > CROWD
    for name, x, y in names if crowded else sorted(names, key=lambda item: -item[2]):
        best: Any = None
        here = axes.transData.transform((x, y))
        others = [dot for dot in dots if abs(dot[0] - here[0]) + abs(dot[1] - here[1]) > 1e-6]
        for dx, dy, side in sides:
            text = axes.annotate(name, (x, y), xytext=(dx, dy), textcoords="offset points", ha=side, fontsize=8)
            text.set_path_effects([halo])  # the front's line must not strike a name through
            box = text.get_window_extent(renderer)
            hits = sum(box.overlaps(other) for other in taken)
            hits += sum(box.x0 - 8 <= dot[0] <= box.x1 + 8 and box.y0 - 4 <= dot[1] <= box.y1 + 4 for dot in others)
            hits += 0 if axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 + 40 else 1
            if best is None or hits < best[0]:
                if best is not None:
                    best[1].remove()
                best = (hits, text, box)
            else:
                text.remove()
            if hits == 0:
                break
        if crowded and any(best[2].overlaps(other) for other in taken):
            best[1].remove()
            continue
        taken.append(best[2])
