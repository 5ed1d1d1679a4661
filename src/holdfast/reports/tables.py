"""The table of recipes at 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

_NUMBERS = ("train %", "target", "source", "E", "F", "O", "H", "learned", "forgot", "s")
COLUMNS = (("recipe", "left"), *((name, "right") for name in _NUMBERS))


def target_mean(entry: Mapping[str, Any], when: str) -> float | None:
    """Mean target score ``before`` or ``after``, in points, over the targets that E counts."""
    return _mean(_counted(entry, "target", "E", when))


def source_mean(entry: Mapping[str, Any], when: str) -> float | None:
    """Unweighted mean over the sources that F counts, ``before`` or ``after``, in points; none without sources."""
    return _mean(_counted(entry, "sources", "F", when))


def _counted(entry: Mapping[str, Any], part: str, letter: str, when: str) -> list[float]:
    """Scores of the tasks behind E or F; of all tasks where none is left, for their scores are facts all the same."""
    left_out = entry.get("left_out", {}).get(letter, ())  # entries of older runs count every task
    tasks: Mapping[str, Any] = entry[part]
    return [task[when] for name, task in tasks.items() if name not in left_out or len(left_out) == len(tasks)]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def warnings_of(entry: Mapping[str, Any]) -> list[str]:
    """What limits the figures of a recipe: leaks into its tests, and training that ended too early."""
    told = [str(leak["sentence"]) for leak in entry.get("leaks", ())]
    return [*told, str(entry["still_learning"])] if entry.get("still_learning") else told


def cells(entry: Mapping[str, Any]) -> list[str]:
    """One recipe's row as texts, in the order of :data:`COLUMNS`."""
    arrows = []
    for mean in (target_mean, source_mean):
        before, after = mean(entry, "before"), mean(entry, "after")
        arrows.append("-" if before is None or after is None else f"{before:.0f}→{after:.0f}")
    return [
        str(entry["name"]),
        percent(entry["trainable_percent"]),
        *arrows,
        *(signed(entry[letter]) for letter in "EFO"),
        "-" if entry["H"] is None else f"{entry['H']:.1f}",
        str(entry["learned"]),
        str(entry["forgot"]),
        f"{entry['seconds']:.0f}",
    ]


def percent(value: float) -> str:
    """A share of parameters: enough digits to tell small ones apart."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.3g}"


def signed(value: float | None) -> str:
    """A difference in points with its sign; exactly zero has none."""
    return "-" if value is None else "0.0" if round(value, 1) == 0 else f"{value:+.1f}"


def recipe_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    """All recipes, for the terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for name, side in COLUMNS:
        table.add_column(name, justify="left" if side == "left" else "right", no_wrap=True)
    for entry in entries:
        table.add_row(*cells(entry))
    return table
