"""The verdict in plain sentences, before any table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from holdfast.verdict.records import Comparison, Estimate, Interval, TaskComparison

PARTS = (
    (0.05, "hardly any of it"),
    (0.15, "about a tenth of it"),
    (0.29, "about a quarter of it"),
    (0.42, "about a third of it"),
    (0.58, "about half of it"),
    (0.70, "about two thirds of it"),
    (0.95, "most of it"),
    (1.01, "all of it"),
)


def verdict(comparison: Comparison) -> list[str]:
    """Sentences: the whole first, then one a task, the largest losses before the rest."""
    tasks = list(comparison.tasks.values())
    if all(task.unchanged for task in tasks):
        return [_nothing(comparison)]
    sentences = [_overall(comparison)]
    sentences += [task_sentence(task, comparison) for task in tasks if task.role == "target"]
    sources = sorted((task for task in tasks if task.role == "source"), key=lambda task: (task.difference, task.name))
    sentences += [task_sentence(task, comparison) for task in sources]
    return [sentence for sentence in sentences if sentence]


def _nothing(comparison: Comparison) -> str:
    items = sum(task.n for task in comparison.tasks.values())
    tasks = len(comparison.tasks)
    return (
        f"Nothing changed: all {items:,} items of {tasks} {_plural('task', tasks)} have the same answer before and "
        "after, so E, F and O are 0 and nothing flipped."
    )


def _overall(comparison: Comparison) -> str:
    """The whole in one sentence; empty for a single task, which has a sentence of its own."""
    if len(comparison.tasks) == 1:
        return ""
    summary = comparison.summary
    kind = "source" if comparison.targets else "task"
    parts = [
        _part(summary.E, _where(comparison.targets, summary.left_out.get("E", ()), "target"), comparison),
        _part(summary.F, _where(comparison.sources, summary.left_out.get("F", ()), kind), comparison),
    ]
    text = " and ".join(part for part in parts if part)
    if text.startswith("shows "):  # a sentence without a subject begins with what it names
        text = text.replace("shows ", "")
    told = [text[:1].upper() + text[1:] + "."] if text else []
    return " ".join([*told, *undefined(comparison)])


def undefined(comparison: Comparison) -> list[str]:
    """What of E and F is left without a task, and why."""
    told = []
    left_out = comparison.summary.left_out
    if comparison.summary.E.value is None and left_out.get("E"):
        told.append("E is undefined: no target could show a gain.")
    if comparison.summary.F.value is None and left_out.get("F"):
        told.append("F is undefined: no source could show forgetting.")
    return told


def _where(names: Sequence[str], left_out: Sequence[str], kind: str) -> str:
    counted = [name for name in names if name not in left_out]
    if len(counted) == 1:
        return f"the {kind} {counted[0]}"
    return f"average over {len(counted)} {'source tasks' if kind == 'source' else f'{kind}s'}"


def _part(estimate: Estimate, where: str, comparison: Comparison) -> str:
    if estimate.value is None or estimate.claim is None:
        return ""
    level = f"{comparison.confidence:.0%}"
    word = estimate.claim.verdict
    if estimate.interval is None or word == "nothing changed":
        return f"shows no change on {where}"
    if word == "no clear change":
        low, high = estimate.interval
        p = f"{_p_name(comparison)} {_equals(estimate.claim.p_holm)}"
        spread = f"{signed(estimate.value)} points, {level} CI {signed(low)} to {signed(high)}, {p}"
        return f"shows no clear change on {where} ({spread})"
    small, large = _as_size(estimate.value, estimate.interval)
    return f"{word} {points(abs(estimate.value))} points on {where} ({level} CI {small} to {large})"


def task_sentence(task: TaskComparison, comparison: Comparison) -> str:
    """One task in one or two sentences."""
    text = _change_sentence(task, comparison) + _too_few(task, comparison)
    if task.role == "source" and task.cannot_fall is not None:
        return f"{text} It cannot show forgetting: {task.cannot_fall}; F is without it."
    if task.role == "target" and task.cannot_rise is not None:
        return f"{text} It cannot show a gain: {task.cannot_rise}; E is without it."
    return text


def _change_sentence(task: TaskComparison, comparison: Comparison) -> str:
    level = f"{comparison.confidence:.0%}"
    if task.unchanged:
        return f"Nothing changed on {task.name} ({task.n:,} {_plural('item', task.n)})."
    if task.improved == 0 and task.worsened == 0:
        changed = task.answers_changed
        return (
            f"No score changed on {task.name} ({task.n:,} {_plural('item', task.n)}), though {changed:,} "
            f"{_plural('answer', changed)} did."
        )
    flips = _flips(task)
    if task.verdict == "no clear change":
        low, high = (signed(limit) for limit in task.interval)
        still = (
            f"No clear change on {task.name}: {signed(task.difference)} points "
            f"({level} CI {low} to {high}, {_p_name(comparison)} {_equals(task.p_holm)})"
        )
        blind = task.detectable >= 0.02 and task.role == "source"
        hint = f"; less than {points(task.detectable)} points would mostly go unseen here" if blind else ""
        return f"{still}{flips}{hint}."
    small, large = _as_size(task.difference, task.interval)
    size = points(abs(task.difference))
    text = f"{task.verdict.capitalize()} {size} points on {task.name} ({level} CI {small} to {large})"
    split = task.format_split
    if split is not None and split.format_share is not None:
        text += f", {part_in_words(split.format_share)} answer format"
    return f"{text}{flips}."


def _too_few(task: TaskComparison, comparison: Comparison) -> str:
    """What to know where even all units turning one way, ``p = 2 / 2**units``, would be no clear change."""
    least = math.floor(1 - math.log2(1 - comparison.confidence)) + 1
    if task.clusters >= least:
        return ""
    unit = _plural("item" if task.clusters == task.n else "image", task.clusters)
    return f" Too few: {task.clusters} {unit} can show no change, it takes at least {least}."


def _p_name(comparison: Comparison) -> str:
    return "p" if comparison.summary.claims == 1 else "Holm p"


def part_in_words(share: float) -> str:
    """A share as words: 'about a third of it'."""
    return next(words for limit, words in PARTS if share < limit)


def probability(value: float) -> str:
    """A p-value for people: never 0."""
    if value < 0.0001:
        return "<0.0001"
    return f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def _equals(value: float) -> str:
    text = probability(value)
    return text if text.startswith("<") else f"= {text}"


def _flips(task: TaskComparison) -> str:
    if not task.forgot and not task.learned:
        return f"; no item flipped, {task.worsened:,} score lower and {task.improved:,} higher"
    text = f"; {task.forgot:,} {_plural('item', task.forgot)} forgotten ({task.forgot / task.n:.1%})"
    return f"{text} and {task.learned:,} learned"


def _as_size(value: float, interval: Interval) -> tuple[str, str]:
    """The interval of a loss as sizes of the loss, small before large; of a gain as it is."""
    low, high = interval if value > 0 else (-interval[1], -interval[0])
    return points(low), points(high)


def points(share: float) -> str:
    """A share in points; small ones keep a second decimal, so that a real difference never reads 0.0."""
    return _shown(share, "")


def signed(share: float) -> str:
    """A share in points with its sign."""
    return _shown(share, "+")


def _shown(share: float, sign: str) -> str:
    value = 100 * share
    text = f"{value:{sign}.1f}" if abs(value) >= 0.095 else f"{value:{sign}.2f}"
    return "0.0" if float(text) == 0 else text


def _plural(word: str, count: int) -> str:
    return word if count == 1 else word + "s"
