"""What a run says while it goes on, as typed events; the terminal, the log and the trackers listen.

An event whose values belong to one room stands in that room (:class:`holdfast.speed.decision.Engaged`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from holdfast.values import JSON


@dataclass(frozen=True)
class Event:
    """Something that happened in a run."""


Listener = Callable[[Event], None]
"""Hears what happens; it takes the events it knows and leaves the others."""


def silence(event: Event) -> None:
    """A listener that hears nothing."""


@dataclass(frozen=True)
class FinishedBefore(Event):
    """The run in ``folder`` has its scores already."""

    folder: Path


@dataclass(frozen=True)
class PicturesChecked(Event):
    """``done`` of the ``total`` pictures of a data file are known to be sound or not."""

    done: int
    total: int


@dataclass(frozen=True)
class LoadingModel(Event):
    """A model is being loaded."""

    model: str


@dataclass(frozen=True)
class Dividing(Event):
    """While a recipe trains something is divided among processes: ``what``, among how many, and by whom, in words."""

    what: str


@dataclass(frozen=True)
class Waiting(Event):
    """Another process, ``holder`` in words, makes ``what``, which is used here when it is done."""

    what: str
    holder: str


@dataclass(frozen=True)
class Resumed(Event):
    """Training goes on after ``step`` of ``steps``."""

    step: int
    steps: int


@dataclass(frozen=True)
class LedgerRow:
    """One component's line. ``total`` counts base and added values; ``checkpoint_bytes`` is what the artifact takes."""

    component: str
    method: str
    options: Mapping[str, object]
    trainable: int
    total: int
    lr: float | None
    checkpoint_bytes: int
    notes: Mapping[str, object] = field(default_factory=dict)

    @property
    def parts(self) -> Sequence[JSON]:
        """Of several methods on the component each: its ``method``, ``lr`` and what is ``trainable``."""
        parts = self.notes.get("parts", [])
        return parts if isinstance(parts, list) else []


@dataclass(frozen=True)
class Ledger:
    """What trains: all rows and their sums; ``percent`` is trainable / (base + added) * 100."""

    rows: tuple[LedgerRow, ...]
    base: int
    added: int

    @property
    def trainable(self) -> int:
        """Values the optimizer moves."""
        return sum(row.trainable for row in self.rows)

    @property
    def percent(self) -> float:
        """Trained values among base and added ones, in percent."""
        return 100 * self.trainable / (self.base + self.added)

    def to_json(self) -> JSON:
        """Plain values for ``ledger.json``."""
        return {
            "components": {
                row.component: {k: v for k, v in asdict(row).items() if k != "component"} for row in self.rows
            },
            "base": self.base,
            "added": self.added,
            "trainable": self.trainable,
            "trainable_percent": self.percent,
        }


@dataclass(frozen=True)
class LedgerWritten(Event):
    """The recipe is attached, and this is what it trains."""

    ledger: Ledger


@dataclass(frozen=True)
class ExampleShown(Event):
    """One training example as pieces of text, each with whether its tokens are supervised."""

    pieces: Sequence[tuple[str, bool]]


@dataclass(frozen=True)
class LeaksFound(Event):
    """Test sets share pictures or questions with training: a sentence each, before step 1."""

    sentences: Sequence[str]


@dataclass(frozen=True)
class MemoryShort(Event):
    """A step is estimated to need more memory than its device has; the run goes on.

    Attributes:
        need: Estimated bytes.
        has: Bytes of the device.
        device: Its kind.
        ways: What would help, the most helpful first.
    """

    need: int
    has: int
    device: str
    ways: Sequence[str]

    def sentence(self) -> str:
        """For people."""
        need, has = (f"{count / 1e9:,.3g} GB" for count in (self.need, self.has))
        start = f"A training step is estimated to need {need} of memory, and the {self.device} has {has}."
        return f"{start} Ways out: {'; '.join(self.ways)}."


@dataclass(frozen=True)
class GradientsChecked(Event):
    """After the first backward: the trainable tensors that it did not reach."""

    missing: Sequence[str]


@dataclass(frozen=True)
class StepDone(Event):
    """An optimizer step.

    Attributes:
        step: Its number, from 1.
        steps: Of the whole run.
        seconds: Spent on training so far.
        loss: Mean over the step's answer tokens.
        lr: The highest learning rate.
        norm: Of the gradient before it was clipped.
        tokens: Answer tokens of the step.
    """

    step: int
    steps: int
    seconds: float
    loss: float
    lr: float
    norm: float
    tokens: int


@dataclass(frozen=True)
class Validated(Event):
    """Mean loss per answer token, and the percentage of items that greedy decoding gets exactly right."""

    step: int
    loss: float
    exact: float


@dataclass(frozen=True)
class MemorySplit(Event):
    """A step ran out of memory and is done again with at most ``largest`` examples a forward pass."""

    step: int
    largest: int


@dataclass(frozen=True)
class CachingFeatures(Event):
    """The features of ``total`` image sets are to be computed."""

    total: int


@dataclass(frozen=True)
class FeaturesCached(Event):
    """``count`` more of them are there."""

    count: int


@dataclass(frozen=True)
class Predicting(Event):
    """``total`` items of ``task`` are to be asked; ``who`` is base, tuned or model."""

    task: str
    who: str
    total: int


@dataclass(frozen=True)
class Predicted(Event):
    """``count`` more of them are answered."""

    task: str
    who: str
    count: int


@dataclass(frozen=True)
class RecipeDone(Event):
    """A recipe of a study is finished; ``entry`` is its entry of ``scores.json``."""

    entry: JSON


@dataclass(frozen=True)
class PointBegun(Event):
    """A worker of a study begins a point, or what leads to one.

    Attributes:
        worker: Its number, from 0.
        title: The levels of the point.
        want: How far it goes: scores, artifact or validation.
    """

    worker: int
    title: str
    want: str


@dataclass(frozen=True)
class PointMoved(Event):
    """A worker is at ``done`` of ``total`` of one stage of its point."""

    worker: int
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class PointEnded(Event):
    """A point, or what leads to one, is finished or has failed, here or in another process.

    Attributes:
        worker: Its number; -1 for another process's.
        key: Of the point.
        title: Its levels.
        want: How far it went.
        reason: Why it failed; None if it did not.
        seconds: That it took.
    """

    worker: int
    key: str
    title: str
    want: str
    reason: str | None
    seconds: float


@dataclass(frozen=True)
class StudyMoved(Event):
    """How far a study is.

    Attributes:
        points: Of the study, in this process's part of it.
        finished: Of those.
        failed: Of those.
        candidates: Measured of how many, for choices on validation data.
        seconds_left: Estimated; None while nothing has been timed.
    """

    points: int
    finished: int
    failed: int
    candidates: tuple[int, int]
    seconds_left: float | None
