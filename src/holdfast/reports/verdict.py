"""The verdict in the terminal: sentences, then two tables of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from holdfast.verdict.records import Comparison, Estimate, TaskComparison
from holdfast.verdict.sentences import points, probability, signed

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.verdict.runs import RunsComparison

LETTERS = (
    ("E", "change on targets"),
    ("F", "change on sources"),
    ("O", "E + F"),
    ("H", "harmonic, after"),
)
STYLES = {"lost": "red", "gained": "green"}
IN_MARGIN = {"within": "yes", "beyond": "no", "not shown": "not shown"}


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Sentences first, numbers after."""
    for number, sentence in enumerate(comparison.sentences()):
        indent = "  " if number else ""
        lines = textwrap.wrap(sentence, console.width, initial_indent=indent, subsequent_indent=indent)
        console.print(Text("\n".join(lines), style="" if number else "bold"))
    console.print()
    console.print(change_table(comparison))
    console.print()
    console.print(item_table(comparison))
    table = summary_table(comparison)
    if table is not None:
        console.print()
        console.print(table)
    console.print()
    for line in footnotes(comparison):
        console.print(Text(line, style="dim"))


def print_runs(console: Console, runs: RunsComparison) -> None:
    """The sequence and one line a run, then every run in full."""
    if runs.sequence is not None:
        for sentence in runs.sequence.sentences():
            console.print(Text(sentence, style="bold"))
        console.print()
        console.print(sequence_table(runs))
        console.print()
    table = _table("run", "E", "F", "O", "H", "learned", "forgot")
    for name, comparison in runs.runs.items():
        summary, tasks = comparison.summary, comparison.tasks.values()
        moved = sum(task.learned for task in tasks), sum(task.forgot for task in tasks)
        changes = (_signed(estimate.value) for estimate in (summary.E, summary.F, summary.O))
        table.add_row(Text(name), *changes, _plain(summary.H.value), *(f"{count:,}" for count in moved))
    console.print(table)
    for name, comparison in runs.runs.items():
        console.print()
        console.rule(Text(name), align="left", style="dim")
        print_comparison(console, comparison)


def change_table(comparison: Comparison) -> Table:
    """Scores, difference with interval, p-value, and the largest loss that remains possible."""
    level = f"{comparison.confidence:.0%}"
    table = _table("task", "blind", "before", "after", "change", f"{level} CI", "p", "lost ≤", "in margin")
    for task in comparison.tasks.values():
        low, high = task.interval
        table.add_row(
            Text(task.name + (" *" if task.role == "target" else "")),
            "-" if task.floor is None else points(task.floor.score),
            points(task.before),
            points(task.after),
            Text(signed(task.difference), style=STYLES.get(task.verdict, "")),
            f"{signed(low)} to {signed(high)}",
            probability(task.p_holm),
            points(task.noninferiority.at_most_lost),
            IN_MARGIN[task.noninferiority.answer],
        )
    return table


def item_table(comparison: Comparison) -> Table:
    """How the items moved, and what the set could have shown."""
    columns = ("task", "items", "learned", "forgot", "kept", "never", "churn", "rel. NFR", "MDE")
    split = any(task.format_split is not None for task in comparison.tasks.values())
    table = _table(*columns, *(("format",) if split else ()))
    for task in comparison.tasks.values():
        relative = task.relative_negative_flips
        table.add_row(
            Text(task.name + (" *" if task.role == "target" else "")),
            f"{task.n:,}",
            *(f"{task.counts[outcome]:,}" for outcome in ("learned", "forgot", "kept", "never")),
            f"{task.churn:.1%}",
            "-" if relative is None else f"{relative:.1%}",
            points(task.detectable),
            *((_format(task),) if split else ()),
        )
    return table


def summary_table(comparison: Comparison) -> Table | None:
    """E, F, O and H in points and as shares of the base; nothing without them."""
    summary = comparison.summary
    known = [letter for letter, _ in LETTERS if getattr(summary, letter).value is not None]
    if not known:
        return None
    level = f"{comparison.confidence:.0%}"
    table = _table("", "points", f"{level} CI", "of the base", f"{level} CI", "", left=(0, 5))
    for letter, about in LETTERS:
        if letter not in known:
            continue
        raw, ratio = getattr(summary, letter), summary.ratios[letter]
        show = _plain if letter == "H" else _signed
        counted = len(comparison.targets if letter == "E" else comparison.sources)
        left_out = len(comparison.summary.left_out.get(letter, ()))
        if left_out:
            about = f"{about} ({counted - left_out} of {counted})"
        table.add_row(
            letter, show(raw.value), _spread(raw, letter), _percent(show(ratio.value)), _spread(ratio, letter), about
        )
    return table


def sequence_table(runs: RunsComparison) -> Table:
    """R: one row a stage, one column a task, in the order learned."""
    measures = runs.sequence
    assert measures is not None
    table = _table("after stage", *measures.tasks)
    table.add_row("untouched base", *map(points, measures.base))
    for task, row in zip(measures.tasks, measures.matrix, strict=True):
        table.add_row(Text(task), *map(points, row))
    return table


def footnotes(comparison: Comparison) -> list[str]:
    """What the columns mean, what was read, what was left out."""
    tests = sorted({task.p_method for task in comparison.tasks.values()})
    shared = [f"{task.name} {task.clusters:,}" for task in comparison.tasks.values() if task.clusters < task.n]
    holm = f"; Holm over {comparison.summary.claims} claims" if comparison.summary.claims > 1 else ""
    lines = [
        comparison.rule,
        f"p: {'; '.join(tests)}{holm}.",
        f"lost ≤: one-sided {comparison.confidence:.0%} bound. in margin: whether at most {points(comparison.margin)} "
        "points are lost; 'no': more is shown to be lost; 'not shown': neither is.",
        "blind: best score without the images. churn: items that flipped; rel. NFR: share forgotten of what was right; "
        "MDE: smallest change found with 80% power.",
    ]
    if any(task.format_split is not None for task in comparison.tasks.values()):
        lines.append("format: points of the change that lenient parsing takes back, so form and not ability.")
    if shared:
        lines.append(f"Questions share images, so images are the units of intervals and tests: {', '.join(shared)}.")
    if comparison.targets:
        lines.append("* target")
    return [*lines, *comparison.notes, *(f"Read {told}." for told in comparison.recognised)]


def _format(task: TaskComparison) -> str:
    split = task.format_split
    if split is None:
        return "-"
    return signed(split.format_change)


def _spread(estimate: Estimate, letter: str) -> str:
    if estimate.interval is None:
        return "-"
    show = points if letter == "H" else signed
    return " to ".join(show(limit) for limit in estimate.interval)


def _percent(text: str) -> str:
    return text if text == "-" else f"{text}%"


def _signed(value: float | None) -> str:
    return "-" if value is None else signed(value)


def _plain(value: float | None) -> str:
    return "-" if value is None else points(value)


def _table(*columns: str, left: Sequence[int] = (0,)) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True, header_style="dim")
    for number, name in enumerate(columns):
        justify = "left" if number in left else "right"
        table.add_column(name, justify=justify, no_wrap=number != 0, overflow="fold")  # type: ignore[arg-type]
    return table
