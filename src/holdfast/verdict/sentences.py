"""The verdict in plain sentences, before any table."""

from __future__ import annotations

from holdfast.verdict.records import Comparison, Interval, TaskComparison

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
    if not any(task.improved or task.worsened for task in tasks):
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
        f"Nothing changed: all {items:,} items of {tasks} {_plural('task', tasks)} score the same before and after, "
        "so E, F and O are 0 and nothing flipped."
    )


def _overall(comparison: Comparison) -> str:
    """The whole in one sentence; empty for a single task, which has a sentence of its own."""
    if len(comparison.tasks) == 1:
        return ""
    summary, parts = comparison.summary, []
    level = f"{comparison.confidence:.0%}"
    if summary.E.value is not None and summary.E.interval is not None:
        count = len(comparison.targets)
        where = f"the target {comparison.targets[0]}" if count == 1 else f"average over {count} targets"
        low, high = summary.E.interval
        if low <= 0 <= high:
            spread = f"{signed(summary.E.value)} points, {level} CI {signed(low)} to {signed(high)}"
            parts.append(f"shows no clear gain on {where} ({spread})")
        else:
            verb = "gained" if summary.E.value >= 0 else "lost"
            parts.append(f"{verb} {points(abs(summary.E.value))} points on {where}")
    if summary.F.value is not None and summary.F.interval is not None:
        count = len(comparison.sources)
        kind = "source" if comparison.targets else "task"
        where = f"average over {count} {'source tasks' if comparison.targets else 'tasks'}"
        where = f"the {kind} {comparison.sources[0]}" if count == 1 else where
        low, high = summary.F.interval
        if low <= 0 <= high:
            what = "no clear loss" if summary.F.value <= 0 else "no clear gain"
            spread = f"{signed(summary.F.value)} points, {level} CI {signed(low)} to {signed(high)}"
            parts.append(f"shows {what} on {where} ({spread})")
        else:
            verb = "gained" if summary.F.value > 0 else "lost"
            small, large = _as_size(summary.F.value, summary.F.interval)
            parts.append(f"{verb} {points(abs(summary.F.value))} points on {where} ({level} CI {small} to {large})")
    text = " and ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""


def task_sentence(task: TaskComparison, comparison: Comparison) -> str:
    """One task in one or two sentences."""
    level = f"{comparison.confidence:.0%}"
    low, high = _as_size(task.difference, task.interval)
    clear = task.p_holm < 1 - comparison.confidence
    flips = _flips(task)
    if task.improved == 0 and task.worsened == 0:
        return f"Nothing changed on {task.name} ({task.n:,} items)."
    if not clear:
        sign_low, sign_high = (signed(limit) for limit in task.interval)
        name = "p" if len(comparison.tasks) == 1 else "Holm p"
        still = (
            f"No clear change on {task.name}: {signed(task.difference)} points "
            f"({level} CI {sign_low} to {sign_high}, {name} {_equals(task.p_holm)})"
        )
        blind = task.detectable >= 0.02 and task.role == "source"
        hint = f"; less than {points(task.detectable)} points would mostly go unseen here" if blind else ""
        return f"{still}{flips}{hint}."
    verb = "Gained" if task.difference > 0 else "Lost"
    text = f"{verb} {points(abs(task.difference))} points on {task.name} ({level} CI {low} to {high})"
    split = task.format_split
    if split is not None and split.format_share is not None:
        text += f", {part_in_words(split.format_share)} answer format"
    return f"{text}{flips}."


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
