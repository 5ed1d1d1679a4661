"""The one rule that decides between gained, lost and no clear change, for the summary and for the tasks alike.

Every sentence that says *gained* or *lost* is a claim: one a task, one on the mean of the targets where there are
several, one on the mean of the sources where there are several (the mean of one task is that task). Each has the
two-sided p-value of the same paired test, and Holm's correction runs over all of them, so that the chance of any false
word on the page is at most 1 - confidence. A claim is made where its corrected p-value is below that level and its
interval excludes zero; an interval never excludes zero where its own test does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from holdfast.verdict.statistics.decisions import holm

Verdict = Literal["gained", "lost", "no clear change", "nothing changed"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Claim:
    """What may be said of one change.

    Attributes:
        p_value: Two-sided; ``p_method`` says of which test.
        p_holm: Corrected for all claims of the comparison.
        verdict: The word.
    """

    p_value: float
    p_method: str
    p_holm: float
    verdict: Verdict


def decide(value: float, interval: Interval, p_holm: float, *, level: float, unchanged: bool) -> Verdict:
    """The word for one change.

    Args:
        value: The change.
        interval: Its interval.
        p_holm: Its corrected p-value.
        level: 1 - confidence.
        unchanged: Whether every prediction is the same before and after.
    """
    if unchanged:
        return "nothing changed"
    low, high = interval
    if p_holm >= level or low <= 0 <= high:
        return "no clear change"
    return "gained" if value > 0 else "lost"


def agreeing(interval: Interval, p_value: float, level: float) -> Interval:
    """The interval, drawn out to zero where the test of the same level does not exclude zero."""
    low, high = interval
    return interval if p_value < level else (min(low, 0.0), max(high, 0.0))


def corrected(p_values: Sequence[float]) -> list[float]:
    """Holm's correction over all claims of a comparison."""
    return holm(p_values)


def in_words(claims: int, confidence: float) -> str:
    """The rule, for the page."""
    level = f"{1 - confidence:.2g}"
    if claims == 1:
        how = f"its p-value is below {level}"
    else:
        how = f"its p-value, corrected by Holm's method for the {claims} claims of this page, is below {level}"
    return f"One rule: a change is called gained or lost where {how} and its interval excludes 0; else no clear change."
