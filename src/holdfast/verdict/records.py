"""The records of a comparison, and their public JSON. Scores here are shares; points appear in the JSON only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from holdfast.predictions.record import Prediction

Interval = tuple[float, float]
Outcome = Literal["forgot", "learned", "kept", "never"]
OUTCOMES: tuple[Outcome, ...] = ("forgot", "learned", "kept", "never")


@dataclass(frozen=True, slots=True)
class Pair:
    """One item before and after. An item is right when its score is at least one half."""

    before: Prediction
    after: Prediction

    @property
    def outcome(self) -> Outcome:
        """``forgot``, ``learned``, ``kept`` (right twice) or ``never`` (wrong twice)."""
        was, now = (self.before.score or 0.0) >= 0.5, (self.after.score or 0.0) >= 0.5
        if was:
            return "kept" if now else "forgot"
        return "learned" if now else "never"


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; either may be undefined."""

    value: float | None
    interval: Interval | None = None

    def to_json(self, scale: float = 100.0) -> dict[str, Any]:
        """Value and interval, in points by default."""
        return {"value": _scaled(self.value, scale), "interval": _interval(self.interval, scale)}


@dataclass(frozen=True)
class NonInferiority:
    """The claim 'at most ``margin`` is lost'.

    Attributes:
        margin: Largest loss that would be tolerated, as a share.
        lower_bound: One-sided lower confidence bound of the difference.
        holds: Whether the bound lies above minus the margin.
    """

    margin: float
    lower_bound: float
    holds: bool

    @property
    def at_most_lost(self) -> float:
        """The largest loss the data leave possible."""
        return max(0.0, -self.lower_bound)


@dataclass(frozen=True)
class FormatSplit:
    """Strict against lenient parsing: what was lost in form, and what in substance.

    Attributes:
        before, after: Lenient scores.
        format_change: Strict difference minus lenient difference; negative is loss of the answer format.
        ability_change: Lenient difference; negative is loss of ability.
        format_share: Part of the strict loss that is format, 0 to 1; ``None`` when nothing was lost.
    """

    before: float
    after: float
    format_change: float
    ability_change: float
    format_share: float | None


@dataclass(frozen=True)
class TaskComparison:
    """One task before and after.

    Attributes:
        name: The task.
        role: ``target`` or ``source``.
        metric: Metric of the scores, where known.
        n: Paired items.
        clusters: Independent units: images where questions share one, else items.
        binary: Whether every score is 0 or 1.
        before, after, difference: Mean scores.
        interval: Two-sided interval of the difference; ``interval_method`` says how it was made.
        p_value: Two-sided; ``p_method`` says of which test.
        p_holm: ``p_value`` corrected for all tasks of the comparison.
        mcnemar: Exact McNemar p-value of the flips, blind to shared images.
        counts: Items per outcome.
        improved, worsened: Items whose score rose or fell at all.
        truncated: Cut answers before and after.
        unparsed: Answers the parser gave up on, before and after.
    """

    name: str
    role: Literal["target", "source"]
    metric: str | None
    n: int
    clusters: int
    binary: bool
    before: float
    after: float
    difference: float
    interval: Interval
    interval_method: str
    p_value: float
    p_method: str
    p_holm: float
    mcnemar: float
    counts: Mapping[Outcome, int]
    improved: int
    worsened: int
    noninferiority: NonInferiority
    detectable: float
    retention: Estimate
    format_split: FormatSplit | None
    truncated: tuple[int, int]
    unparsed: tuple[int, int]
    pairs: tuple[Pair, ...] = field(repr=False)

    @property
    def learned(self) -> int:
        """Items wrong before and right after."""
        return self.counts["learned"]

    @property
    def forgot(self) -> int:
        """Items right before and wrong after."""
        return self.counts["forgot"]

    @property
    def churn(self) -> float:
        """Share of the items that flipped either way."""
        return (self.learned + self.forgot) / self.n

    @property
    def relative_negative_flips(self) -> float | None:
        """Share forgotten of what was right before (NFR over accuracy); ``None`` when nothing was right."""
        right = self.forgot + self.counts["kept"]
        return self.forgot / right if right else None

    def to_json(self) -> dict[str, Any]:
        """The public form, in points."""
        split = self.format_split
        return {
            "role": self.role,
            "metric": self.metric,
            "n": self.n,
            "clusters": self.clusters,
            "before": 100 * self.before,
            "after": 100 * self.after,
            "difference": 100 * self.difference,
            "interval": _interval(self.interval, 100.0),
            "interval_method": self.interval_method,
            "p_value": self.p_value,
            "p_method": self.p_method,
            "p_holm": self.p_holm,
            "mcnemar_p": self.mcnemar,
            **{outcome: self.counts[outcome] for outcome in ("learned", "forgot", "kept", "never")},
            "improved": self.improved,
            "worsened": self.worsened,
            "learned_rate": self.learned / self.n,
            "forgot_rate": self.forgot / self.n,
            "relative_negative_flip_rate": self.relative_negative_flips,
            "churn": self.churn,
            "noninferiority": {
                "margin": 100 * self.noninferiority.margin,
                "lower_bound": 100 * self.noninferiority.lower_bound,
                "at_most_lost": 100 * self.noninferiority.at_most_lost,
                "holds": self.noninferiority.holds,
            },
            "detectable_effect": 100 * self.detectable,
            "retention": self.retention.to_json(scale=1.0),
            "lenient": None
            if split is None
            else {
                "before": 100 * split.before,
                "after": 100 * split.after,
                "format_change": 100 * split.format_change,
                "ability_change": 100 * split.ability_change,
                "format_share": split.format_share,
            },
            "truncated": list(self.truncated),
            "unparsed": list(self.unparsed),
        }


@dataclass(frozen=True)
class Summary:
    """E, F, O and H, of raw scores and of ratios to the base.

    Attributes:
        E: Mean over targets of (after - before).
        F: Mean over sources of (after - before); negative when the model forgets.
        O: E + F.
        H: Harmonic mean of the mean target and the mean source score, after.
        H_before: The same of the base.
        ratios: The same four as shares of the base: E, F and O with (after - before) / before, H as the harmonic mean
            of the mean ratios after / before of targets and of sources.
    """

    E: Estimate
    F: Estimate
    O: Estimate  # noqa: E741 - the survey's letter
    H: Estimate
    H_before: float | None
    ratios: Mapping[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """``E``..``H`` in points, with ``intervals`` and ``ratios`` beside them."""
        raw = {"E": self.E, "F": self.F, "O": self.O, "H": self.H}
        return {
            **{name: estimate.to_json()["value"] for name, estimate in raw.items()},
            "intervals": {name: estimate.to_json()["interval"] for name, estimate in raw.items()},
            "H_before": _scaled(self.H_before, 100.0),
            "ratios": {name: estimate.to_json(scale=1.0) for name, estimate in self.ratios.items()},
        }


@dataclass(frozen=True)
class Comparison:
    """Base against tuned, over all their tasks.

    Attributes:
        tasks: One record a task, targets first.
        summary: E, F, O, H.
        base, tuned: What was compared, for people.
        recognised: What each input was taken for.
        confidence, margin, seed: The settings behind the numbers; the margin is a share.
        notes: What a reader should know: items left out, scores that could not be had.
        roots: Folders in which image keys may be looked up.
    """

    tasks: Mapping[str, TaskComparison]
    summary: Summary
    base: str
    tuned: str
    recognised: tuple[str, ...] = ()
    confidence: float = 0.95
    margin: float = 0.01
    seed: int = 0
    notes: tuple[str, ...] = ()
    roots: tuple[Path, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the target tasks."""
        return tuple(name for name, task in self.tasks.items() if task.role == "target")

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the source tasks."""
        return tuple(name for name, task in self.tasks.items() if task.role == "source")

    def sentences(self) -> list[str]:
        """The verdict in plain words, the most important first."""
        from holdfast.verdict.sentences import verdict

        return verdict(self)

    def to_json(self) -> dict[str, Any]:
        """The public form; scores and differences in points."""
        return {
            "tasks": {name: task.to_json() for name, task in self.tasks.items()},
            **self.summary.to_json(),
            "targets": list(self.targets),
            "sources": list(self.sources),
            "base": self.base,
            "tuned": self.tuned,
            "recognised": list(self.recognised),
            "confidence": self.confidence,
            "seed": self.seed,
            "sentences": self.sentences(),
            "notes": list(self.notes),
        }


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else scale * value


def _interval(interval: Interval | None, scale: float) -> list[float] | None:
    return None if interval is None else [scale * interval[0], scale * interval[1]]
