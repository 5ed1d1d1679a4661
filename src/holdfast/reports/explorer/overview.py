"""The verdict as plain values for the template: sentences, figures, and rows with their intervals drawn to scale."""

from __future__ import annotations

from holdfast.reports.charts.svg import Scale
from holdfast.reports.numbers import number
from holdfast.values import JSON
from holdfast.verdict.records import Comparison, Estimate, TaskComparison
from holdfast.verdict.sentences import probability

FIGURES = (
    ("E", "change on the targets", "mean over targets of after - before"),
    ("F", "change on the sources", "mean over sources of after - before; negative is forgetting"),
    ("O", "sum of both changes", "E + F"),
    ("H", "harmonic mean of the scores after", "harmonic mean of the mean target and source score after tuning"),
)
TONES = {"lost": "down", "gained": "up"}
IN_MARGIN = {"within": "yes", "beyond": "no", "not shown": "not shown"}


def overview(name: str, comparison: Comparison) -> JSON:
    """What the template shows of one comparison."""
    headline, *others = comparison.sentences()
    rows = [_row(task) for task in comparison.tasks.values()]
    scale = _scale(comparison)
    for row, task in zip(rows, comparison.tasks.values(), strict=True):
        low, high = (100 * limit for limit in task.interval)
        row["plot"] = {
            "low": scale.at(max(low, scale.low)),
            "high": scale.at(min(high, scale.high)),
            "point": scale.at(100 * task.difference),
            "zero": scale.at(0.0),
        }
    return {
        "name": name,
        "headline": headline,
        "sentences": others,
        "figures": _figures(comparison),
        "rows": rows,
        "scale": [number(scale.low), number(scale.high)],
        "confidence": f"{comparison.confidence:.0%}",
        "margin": number(100 * comparison.margin),
        "recognised": comparison.recognised,
        "notes": comparison.notes,
        "base": comparison.base,
        "tuned": comparison.tuned,
        "rule": comparison.rule,
        "methods": sorted({f"{task.interval_method}; {task.p_method}" for task in comparison.tasks.values()}),
        "seed": comparison.seed,
        "learned": sum(task.learned for task in comparison.tasks.values()),
        "forgot": sum(task.forgot for task in comparison.tasks.values()),
    }


def _figures(comparison: Comparison) -> list[dict[str, str]]:
    summary = comparison.summary
    shown = []
    for letter, about, exact in FIGURES:
        estimate: Estimate = getattr(summary, letter)
        if estimate.value is None:
            continue
        signed = letter != "H"
        interval = estimate.interval
        spread = "" if interval is None else " to ".join(number(100 * limit, sign=signed) for limit in interval)
        value = 100 * estimate.value
        tone = "flat" if estimate.claim is None else TONES.get(estimate.claim.verdict, "flat")
        left_out = summary.left_out.get(letter, ())
        shown.append(
            {
                "letter": letter,
                "about": about,
                "exact": exact,
                "value": number(value, sign=signed),
                "interval": spread,
                "tone": tone,
                "without": f"without {', '.join(left_out)}" if left_out else "",
                "ratio": _ratio(summary.ratios[letter], letter),
            }
        )
    return shown


def _ratio(estimate: Estimate, letter: str) -> str:
    if estimate.value is None:
        return ""
    return f"{number(100 * estimate.value, sign=letter != 'H')} % of the base score"


def _row(task: TaskComparison) -> JSON:
    split = task.format_split
    low, high = (100 * limit for limit in task.interval)
    share = None if split is None or split.format_share is None or task.verdict != "lost" else split.format_share
    return {
        "name": task.name,
        "role": task.role,
        "n": f"{task.n:,}",
        "clusters": "" if task.clusters == task.n else f"{task.clusters:,} images",
        "before": number(100 * task.before),
        "after": number(100 * task.after),
        "difference": number(100 * task.difference, sign=True),
        "interval": f"{number(low, sign=True)} to {number(high, sign=True)}",
        "tone": TONES.get(task.verdict, "flat"),
        "verdict": task.verdict,
        "blind": "" if task.floor is None else number(100 * task.floor.score),
        "blind_how": "" if task.floor is None else task.floor.how,
        "cannot": _cannot(task),
        "learned": f"{task.learned:,}",
        "forgot": f"{task.forgot:,}",
        "p": probability(task.p_holm),
        "held": IN_MARGIN[task.noninferiority.answer],
        "at_most": number(100 * task.noninferiority.at_most_lost),
        "format": "" if share is None else f"{share:.0%} of it format",
        "detectable": number(100 * task.detectable),
        "metric": task.metric or "",
    }


def _cannot(task: TaskComparison) -> str:
    if task.role == "source":
        return "" if task.cannot_fall is None else "cannot show forgetting"
    return "" if task.cannot_rise is None else "cannot show a gain"


def _scale(comparison: Comparison) -> Scale:
    limits = [100 * limit for task in comparison.tasks.values() for limit in task.interval]
    low, high = min([0.0, *limits]), max([0.0, *limits])
    room = 0.04 * (high - low) or 1.0
    return Scale(low - room, high + room)
