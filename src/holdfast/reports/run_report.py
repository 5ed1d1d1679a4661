"""``report.html`` of a run or a study: the recipes, the picture, the ledger, and every item that flipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.files.places import path_of
from holdfast.reports.explorer import Section, write_report
from holdfast.reports.pareto import draw_pareto
from holdfast.reports.run_details import run_details
from holdfast.reports.tables import COLUMNS, cells, warnings_of
from holdfast.runs.still_learning import RULE
from holdfast.verdict.compare import compare

EXPLAIN = (
    "E: mean gain on the target. F: mean change on the sources, negative when the model forgets. O = E + F. "
    "H: harmonic mean of target and source score after tuning. learned / forgot: items that turned right / wrong, over "
    "all tasks. s: seconds of training. Scores are in points."
)


def write_run_report(run: Path, entries: Sequence[Mapping[str, Any]], *, base: Path | None = None) -> Path:
    """The report of one run folder.

    Args:
        run: A finished run.
        entries: Its recipe's entry of ``scores.json``.
        base: Where relative paths of its configuration start; pictures of its data are shown when this is given.

    Returns:
        The path of the report.
    """
    entry = entries[0]
    comparison = compare(run / "base", run, target=next(iter(entry["target"])))
    details = [replace(section, last=section.folded) for section in run_details(run)]
    sections = [*_warnings(entries), _recipes(entries), *details]
    return write_report(
        run / "report.html",
        str(entry["name"]),
        {str(entry["name"]): comparison},
        sections=sections,
        images=[run.parent / ".base" / "images", *(picture_roots(run, base) if base else ())],
    )


def picture_roots(run: Path, base: Path) -> list[Path]:
    """The folders below which the pictures of a run's data stand: what its configuration names, and nothing else."""
    from holdfast.config.loading import load_config
    from holdfast.tasks.prepared import find_prepared

    config = load_config(run / "config.yaml")
    roots = []
    for spec in [*([config.target] if config.target else []), *config.sources]:
        if spec.data.startswith("pocket"):
            continue
        if (place := find_prepared(spec, base)) is not None:
            roots.append(place.images)
        elif spec.root is not None:
            roots.append(base / path_of(spec.root))
        else:
            roots.append((base / path_of(spec.data)).parent)
    return roots


def write_study_report(out: Path, title: str, entries: Sequence[Mapping[str, Any]]) -> Path:
    """The report of a study folder, with the Pareto picture beside it; returns its path."""
    draw_pareto(entries, out / "pareto.png", title=title)
    draw_pareto(entries, out / "pareto.svg", title=title)
    comparisons = {
        entry["name"]: compare(out / entry["name"] / "base", out / entry["name"], target=next(iter(entry["target"])))
        for entry in entries
    }
    sections = [replace(_recipes(entries), lead=True)]
    if (out / "pareto.svg").exists():
        caption = "Up is learned, right is kept. The line joins the recipes that no other one beats in both."
        sections.append(Section("Learned against kept", picture=out / "pareto.svg", caption=caption, lead=True))
    origins = [(entry["name"], entry["method"], entry.get("origin") or "-") for entry in entries]
    sections.append(
        Section("Where the settings come from", columns=("recipe", "method", "origin"), rows=origins, folded=True)
    )
    sections += [*_warnings(entries), _sources(entries)]
    return write_report(
        out / "report.html",
        title,
        comparisons,
        sections=sections,
        images=[out / ".base" / "images"],
    )


def _recipes(entries: Sequence[Mapping[str, Any]]) -> Section:
    return Section(
        "Recipes", text=EXPLAIN, columns=[name for name, _ in COLUMNS], rows=[cells(entry) for entry in entries]
    )


def _warnings(entries: Sequence[Mapping[str, Any]]) -> list[Section]:
    """What limits the figures, if anything does; one leak that all recipes share is told once."""
    told: dict[str, list[str]] = {}
    for entry in entries:
        for warning in warnings_of(entry):
            told.setdefault(warning, []).append(str(entry["name"]))
    if not told:
        return []
    several = len(entries) > 1
    lines = [f"{', '.join(names)}: {warning}" if several else warning for warning, names in told.items()]
    rule = f"A run is still learning where {RULE}." if any(entry.get("still_learning") for entry in entries) else ""
    return [Section("What limits these figures", text=rule, lines=lines)]


def _sources(entries: Sequence[Mapping[str, Any]]) -> Section:
    names = list(entries[0]["sources"])
    before = ["untouched base", *(f"{entries[0]['sources'][name]['before']:.1f}" for name in names)]
    floors = [entries[0]["sources"][name].get("blind_floor") for name in names]
    rows = [["without the image", *("–" if floor is None else f"{floor['score']:.1f}" for floor in floors)], before]
    rows += [[entry["name"], *(f"{entry['sources'][name]['after']:.1f}" for name in names)] for entry in entries]
    return Section("Which skills went", columns=("recipe", *names), rows=rows)
