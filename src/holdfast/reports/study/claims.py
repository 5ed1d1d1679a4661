"""Claims on trial as the page shows them: the word, the effect against its margin, and what was published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from holdfast.reports.charts.svg import element, spanning
from holdfast.results.claims.trial import ClaimTrial, TestedPart
from holdfast.results.tables import in_unit


@dataclass(frozen=True)
class ClaimView:
    """One claim.

    Attributes:
        trial: What the study says of it.
        kind: Class of the word: ``supported``, ``contradicted``, ``open`` or ``untested``.
        parts: ``(words, effect as text, picture)`` of every comparison; no picture without an interval.
    """

    trial: ClaimTrial
    kind: str
    parts: Sequence[tuple[str, str, Markup]]


KINDS = {"supported": "supported", "contradicted": "contradicted", "not tested here": "untested"}


def claim_views(trials: Sequence[ClaimTrial]) -> list[ClaimView]:
    """What was decided first, then what is open, then what was not tested; within each the order of the study."""
    order = ("supported", "contradicted", "open", "untested")
    views = [
        ClaimView(trial, KINDS.get(trial.ruling, "open"), [_part(part) for part in trial.parts]) for trial in trials
    ]
    return sorted(views, key=lambda view: order.index(view.kind))


def claims_sentence(trials: Sequence[ClaimTrial]) -> str:
    """How many claims came out how."""
    count = {kind: 0 for kind in ("supported", "contradicted", "open", "untested")}
    for trial in trials:
        count[KINDS.get(trial.ruling, "open")] += 1
    told = (
        f"Of {len(trials)} claims on trial {count['supported']} are supported and {count['contradicted']} contradicted"
    )
    told += f"; {count['open']} are not resolved at this scale"
    return told + (f" and {count['untested']} not tested here." if count["untested"] else ".")


def _part(part: TestedPart) -> tuple[str, str, Markup]:
    effect = in_unit(part.value, part.interval, part.unit).replace("-", "−")
    if part.interval is None:
        return part.words, effect, Markup()
    low, high = part.interval
    still = 1.0 if part.unit == "times" else 0.0
    scale = spanning([low, high, part.value, part.margin, still], start=0.0, end=100.0, least=0.1)
    picture = element(
        "svg",
        element("line", class_="zero", x1=scale.at(still), x2=scale.at(still), y1=0, y2=26),
        element("line", class_="margin", x1=scale.at(part.margin), x2=scale.at(part.margin), y1=0, y2=26),
        element("line", class_="range", x1=scale.at(low), x2=scale.at(high), y1=13, y2=13),
        element("line", class_="dot", x1=scale.at(part.value), x2=scale.at(part.value), y1=13, y2=13),
        viewBox="0 0 100 26",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{effect}, held against {part.margin:g}",
    )
    return part.words, effect, picture
