"""``report.html`` of a run or a study: the recipes, the picture, the ledger, and every item that flipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.data.sets import is_set
from holdfast.files.places import path_of
from holdfast.reports.explorer import Section, write_report
from holdfast.reports.run_details import run_details
from holdfast.reports.tables import COLUMNS, cells, warnings_of
from holdfast.runs.still_learning import RULE
from holdfast.verdict.compare import compare

EXPLAIN = (
    "E: mean change on the target. F: mean change on the sources, negative when the model forgets. O = E + F. "
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
        if spec.data.startswith("pocket") or is_set(spec.data, base):  # those hold their pictures themselves
            continue
        if (place := find_prepared(spec, base)) is not None:
            roots.append(place.images)
        elif spec.root is not None:
            roots.append(base / path_of(spec.root))
        else:
            roots.append((base / path_of(spec.data)).parent)
    return roots


def write_study_report(out: Path, title: str, entries: Sequence[Mapping[str, Any]]) -> Path:
    """The report of a folder of runs, a recipe each, with the picture beside it; returns its path."""
    from holdfast.reports.study import write_study_page
    from holdfast.results.points import Point, Results

    names = [str(entry["name"]) for entry in entries]
    points = [
        Point(name, {"recipe": name}, "finished", None, dict(entry), out / name)
        for name, entry in zip(names, entries, strict=True)
    ]
    axes = {"recipe": tuple(names)}
    return write_study_page(Results(title, "", axes, tuple(points), (), {}, out), out)


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
