"""The records of a comparison, and their public JSON. Scores here are shares; points appear in the JSON only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from holdfast.predictions.record import Prediction
from holdfast.values import JSON
from holdfast.verdict.floors import BlindFloor
from holdfast.verdict.rule import Claim, Verdict, in_words

Interval = tuple[float, float]
Outcome = Literal["forgot", "learned", "kept", "never"]
OUTCOMES: tuple[Outcome, ...] = ("forgot", "learned", "kept", "never")


@dataclass(frozen=True, slots=True)
class Pair:
    """One item before and after. An item is right when its score is at least one half.

    Attributes:
        before: What the base answered.
        after: What the tuned model answered.
    """

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
    """A number with its interval; either may be undefined. E and F also carry what may be claimed of them.

    Attributes:
        value: A share: a difference of scores or, as a ratio, a part of the base's.
        interval: Two-sided, at the comparison's confidence.
        claim: p-value, test and word, after the correction for all claims.
    """

    value: float | None
    interval: Interval | None = None
    claim: Claim | None = None

    def to_json(self, scale: float = 100.0) -> JSON:
        """Value and interval, in points by default."""
        return {"value": _scaled(self.value, scale), "interval": _interval(self.interval, scale)}


@dataclass(frozen=True)
class NonInferiority:
    """The claim 'at most ``margin`` is lost', and its opposite.

    Attributes:
        margin: Largest loss that would be tolerated, as a share.
        lower_bound: One-sided lower confidence bound of the difference.
        upper_bound: One-sided upper confidence bound of the difference.
    """

    margin: float
    lower_bound: float
    upper_bound: float

    @property
    def holds(self) -> bool:
        """Whether it is shown that no more than the margin is lost."""
        return self.lower_bound > -self.margin

    @property
    def answer(self) -> Literal["within", "beyond", "not shown"]:
        """``beyond`` where it is shown that more than the margin is lost, and ``not shown`` where neither is."""
        if self.holds:
            return "within"
        return "beyond" if self.upper_bound < -self.margin else "not shown"

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
        before, after, difference: Mean scores, as shares of a perfect one; all that follows is in shares as well.
        interval: Two-sided interval of the difference; ``interval_method`` says how it was made.
        p_value: Two-sided; ``p_method`` says of which test.
        p_holm: ``p_value`` corrected for all claims of the comparison.
        verdict: What the one rule says (:mod:`holdfast.verdict.rule`).
        unchanged: Whether every prediction is the same before and after.
        top: The largest possible score.
        floor: The best score without the images, where it can be told.
        mcnemar: Exact McNemar p-value of the flips, blind to shared images.
        counts: Items per outcome.
        improved, worsened: Items whose score rose or fell at all.
        noninferiority: Whether more than the margin is lost.
        detectable: The smallest change that the test would find with 80 % power.
        retention: ``after / before``, with Fieller's interval; undefined where nothing was right before.
        format_split: What of the change is form; ``None`` where the metric reads in one way only.
        truncated: Cut answers before and after.
        unparsed: Answers the parser gave up on, before and after.
        pairs: The items.
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
    verdict: Verdict
    unchanged: bool
    top: float
    floor: BlindFloor | None
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
    def answers_changed(self) -> int:
        """Items whose prediction is another text after."""
        return sum(pair.before.prediction != pair.after.prediction for pair in self.pairs)

    @property
    def cannot_fall(self) -> str | None:
        """Why this task cannot show forgetting: there was no score, or none that the images were needed for."""
        if self.before <= 0:
            return "it scored 0 before, the bottom of its scale"
        if self.floor is not None and self.before <= self.floor.score:
            return f"before, it scored no more than {self.floor.how} ({100 * self.floor.score:.1f})"
        return None

    @property
    def cannot_rise(self) -> str | None:
        """Why this task cannot show a gain."""
        return "it had the top of its scale before" if self.before >= self.top else None

    @property
    def churn(self) -> float:
        """Share of the items that flipped either way."""
        return (self.learned + self.forgot) / self.n

    @property
    def relative_negative_flips(self) -> float | None:
        """Share forgotten of what was right before (NFR over accuracy); ``None`` when nothing was right."""
        right = self.forgot + self.counts["kept"]
        return self.forgot / right if right else None

    def to_json(self) -> JSON:
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
            "verdict": self.verdict,
            "predictions_changed": self.answers_changed,
            "blind_floor": None if self.floor is None else {"score": 100 * self.floor.score, "how": self.floor.how},
            "cannot_fall": self.cannot_fall,
            "cannot_rise": self.cannot_rise,
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
                "upper_bound": 100 * self.noninferiority.upper_bound,
                "holds": self.noninferiority.holds,
                "answer": self.noninferiority.answer,
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
        E: Mean over targets of (after - before), those left out that had the top of their scale before.
        F: Mean over sources of (after - before); negative when the model forgets. Sources that cannot show forgetting
            are left out.
        O: E + F.
        H: Harmonic mean of the mean target and the mean source score, after.
        H_before: The same of the base.
        left_out: ``E`` and ``F`` -> the tasks that are not in it, because they cannot show what it measures.
        claims: How many claims Holm's correction ran over.
        ratios: The same four as shares of the base: E, F and O with (after - before) / before, H as the harmonic mean
            of the mean ratios after / before of targets and of sources.
    """

    E: Estimate
    F: Estimate
    O: Estimate  # noqa: E741 - the survey's letter
    H: Estimate
    H_before: float | None
    ratios: Mapping[str, Estimate]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    claims: int = 1

    def to_json(self) -> JSON:
        """``E``..``H`` in points, with ``intervals`` and ``ratios`` beside them."""
        raw = {"E": self.E, "F": self.F, "O": self.O, "H": self.H}
        return {
            **{name: estimate.to_json()["value"] for name, estimate in raw.items()},
            "intervals": {name: estimate.to_json()["interval"] for name, estimate in raw.items()},
            "verdicts": {name: claim.verdict for name in "EF" if (claim := raw[name].claim) is not None},
            "left_out": {name: list(tasks) for name, tasks in self.left_out.items()},
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
        words: The verdict in sentences, see :func:`holdfast.verdict.sentences.verdict`.
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
    words: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the target tasks."""
        return tuple(name for name, task in self.tasks.items() if task.role == "target")

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the source tasks."""
        return tuple(name for name, task in self.tasks.items() if task.role == "source")

    @property
    def rule(self) -> str:
        """How the words were decided."""
        return in_words(self.summary.claims, self.confidence)

    def sentences(self) -> list[str]:
        """The verdict in plain words, the most important first."""
        return list(self.words)

    def to_json(self) -> JSON:
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
            "rule": self.rule,
            "sentences": self.sentences(),
            "notes": list(self.notes),
        }


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else scale * value


def _interval(interval: Interval | None, scale: float) -> list[float] | None:
    return None if interval is None else [scale * interval[0], scale * interval[1]]
