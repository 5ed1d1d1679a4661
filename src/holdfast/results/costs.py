"""Tables of numbers that scores hold beside E and F: cost, distance from the base, captions of what is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.results.points import Point
from holdfast.results.tables import Column, ResultTable

MEGABYTE = 1e6

Runs = Mapping[str, Sequence[Point]]
"""Name of a recipe -> its finished points."""


def cost_table(runs: Runs) -> ResultTable | None:
    """Share that trains, seconds, memory counted and measured, means over runs; None where no run knows its memory."""
    rows = tuple(
        (
            name,
            mean_of(points, "trainable_percent"),
            mean_of(points, "seconds"),
            _megabytes(points, "memory"),
            _megabytes(points, "peak_memory"),
        )
        for name, points in runs.items()
    )
    if not any(row[3] is not None or row[4] is not None for row in rows):
        return None
    columns = (
        Column("recipe"),
        Column("train %", digits=3),
        Column("s", digits=1),
        Column("MB counted", digits=1),
        Column("MB peak", digits=1),
    )
    known = sum("peak_memory" in point.scores for points in runs.values() for point in points)
    total = sum(map(len, runs.values()))
    notes = (
        "s: seconds of training. MB counted: what tensors of a step of the longest rows take, as holdfast plan counts "
        "them; an allocator adds its gaps. MB peak: the most that training took, "
        f"measured, the weights included; known of {known} of {total} runs.",
    )
    return ResultTable("costs", "What it costs, mean over runs", columns, rows, notes)


def divergence_table(runs: Runs) -> ResultTable | None:
    """How far the next tokens on the target are from the base's; None where no run measured it."""
    shown = {
        "kl_to_base": Column("base || tuned", digits=3),
        "kl_reverse": Column("tuned || base", digits=3),
        "kl_without_target": Column("without target", digits=3),
    }
    note = (
        "Mean Kullback-Leibler divergence of the next token at the answers of the target's test part, in nats. Without "
        "target: base || tuned over all tokens but the right one."
    )
    return _means("divergence", "How far from the base on the target, mean over runs", shown, runs, note)


def caption_table(runs: Runs) -> ResultTable | None:
    """How often captions name what is not there; None where no run has a task that counts it."""
    shown = {
        "hallucinated_before": Column("captions before"),
        "hallucinated": Column("captions after"),
        "hallucinated_names": Column("names after"),
    }
    note = (
        "In percent: captions that name something that is not there, of the base and of the tuned model (CHAIRs), and "
        "how much of what the tuned model names is not there (CHAIRi)."
    )
    return _means("captions", "Captions of what is not there, mean over runs", shown, runs, note)


def _means(name: str, title: str, shown: Mapping[str, Column], runs: Runs, note: str) -> ResultTable | None:
    """Numbers among the scores by recipe, each under its column; None where no run has any."""
    rows = tuple((recipe, *(mean_of(points, one) for one in shown)) for recipe, points in runs.items())
    if not any(value is not None for row in rows for value in row[1:]):
        return None
    return ResultTable(name, title, (Column("recipe"), *shown.values()), rows, (note,))


def mean_of(points: Sequence[Point], name: str) -> float | None:
    """A number among the scores, averaged over the points that have it."""
    values = [value for point in points if isinstance(value := point.scores.get(name), int | float)]
    return sum(values) / len(values) if values else None


def _megabytes(points: Sequence[Point], name: str) -> float | None:
    value = mean_of(points, name)
    return None if value is None else value / MEGABYTE
