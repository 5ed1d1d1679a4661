"""The picture: how much of the target each recipe learned against how much of the sources it kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.files import beside
from holdfast.reports.tables import source_mean, target_mean

COLOURS = {
    "selective": "#1b6ca8",
    "additive": "#b3541e",
    "reparameterization": "#3a7d44",
    "baseline": "#555555",
}


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other one beats in both coordinates, by the first coordinate."""
    front = [
        index
        for index, (x, y) in enumerate(points)
        if not any((a >= x and b >= y) and (a > x or b > y) for a, b in points)
    ]
    return sorted(front, key=lambda index: points[index])


def draw_pareto(entries: Sequence[Mapping[str, Any]], file: Path, *, title: str = "") -> None:
    """Draw to ``file``; the suffix (.png, .svg) decides the format.

    The horizontal axis is the mean source score after tuning, the vertical one the target's; both in points. The
    base stands as a cross, the front of undominated recipes is joined by a line.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "holdfast"
    named = [(entry, source_mean(entry, "after"), target_mean(entry, "after")) for entry in entries]
    placed = [(entry, x, y) for entry, x, y in named if x is not None and y is not None]
    if not placed:
        return
    figure, axes = pyplot.subplots(figsize=(7.2, 4.6), dpi=160)
    base_x, base_y = source_mean(placed[0][0], "before"), target_mean(placed[0][0], "before")
    assert base_x is not None and base_y is not None
    axes.plot([base_x], [base_y], marker="x", color="#222222", markersize=8, markeredgewidth=2, linestyle="none")
    axes.axvline(base_x, color="#bbbbbb", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.annotate(
        "untouched base", (base_x, base_y), xytext=(-6, 6), textcoords="offset points", ha="right", fontsize=8
    )
    points = [(x, y) for _, x, y in placed]
    front = pareto_front(points)
    axes.plot(*zip(*(points[i] for i in front), strict=True), color="#999999", linewidth=1, zorder=1)
    seen: set[str] = set()
    for entry, x, y in placed:
        paradigm = str(entry["paradigm"]).split(" + ", maxsplit=1)[0]
        label = None if paradigm in seen else paradigm
        seen.add(paradigm)
        axes.plot([x], [y], "o", color=COLOURS.get(paradigm, "#555555"), markersize=6.5, label=label, zorder=3)
    _annotate(axes, [(str(entry["name"]), x, y) for entry, x, y in placed])
    axes.set_xlabel("mean score on the source tasks after tuning (kept)")
    axes.set_ylabel("score on the target after tuning (learned)")
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eeeeee", linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.margins(x=0.09, y=0.09)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4)
    figure.tight_layout()
    kind = file.suffix.removeprefix(".")
    with beside(file) as partial:
        figure.savefig(partial, format=kind, metadata={"Date": None} if kind == "svg" else None)
    pyplot.close(figure)


def _annotate(axes: Any, names: Sequence[tuple[str, float, float]]) -> None:
    """Write each name beside its point, on the first of eight sides where it hits no other name or point."""
    from matplotlib.patheffects import withStroke

    halo = withStroke(linewidth=3, foreground="white")
    figure = axes.figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    edges = [(7, -3, "left"), (-7, -3, "right"), (0, 8, "center"), (0, -14, "center")]
    corners = [(7, 7, "left"), (7, -13, "left"), (-7, 7, "right"), (-7, -13, "right")]
    sides = edges + corners
    dots = [axes.transData.transform((x, y)) for _, x, y in names]
    taken: list[Any] = []
    for name, x, y in sorted(names, key=lambda item: -item[2]):
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
        taken.append(best[2])
