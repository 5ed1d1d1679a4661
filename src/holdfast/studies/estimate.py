"""What a study will take, before it runs: points, trainings, memory and work by shapes; hours by a calibration run."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.config.loading import load_config
from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError
from holdfast.events import Event, Predicted, StepDone
from holdfast.models.shipped import SHIPPED, model_beside
from holdfast.planning.plan import Plan, make_plan
from holdfast.planning.workload import Precision
from holdfast.studies.agenda import Agenda, Job, Planner
from holdfast.studies.studyfile import StudyFile
from holdfast.values import JSON

STEPS = 6
"""Steps of a calibration run; the first is not timed."""

ITEMS = 16
"""Items a task that a calibration run asks."""


@dataclass(frozen=True)
class Timing:
    """What one recipe takes on this machine: seconds of loading and attaching, of a step, and of an answer."""

    start: float
    step: float
    answer: float


@dataclass
class Outlook:
    """What a study takes.

    Attributes:
        points: With a score at the end.
        candidates: Trainings that a choice on validation data asks for.
        trainings: All that train, candidates and trainings that only fusions edit included.
        fusions: Points that train nothing of their own.
        trainable: Fewest and most values that a point trains.
        memory: Bytes of the largest step.
        flops: Of all training steps; None where a length is not known.
        unknown: Points whose number of steps nobody can know without the data.
        unplanned: Trainings of methods that read weights before they know what they train; not in the sums.
        problems: Reason -> titles of the points that cannot run.
        hours: On one worker of this machine; None without a calibration.
        timed: Recipes that were timed.
    """

    points: int
    candidates: int = 0
    trainings: int = 0
    fusions: int = 0
    trainable: tuple[int, int] = (0, 0)
    memory: int = 0
    flops: float = 0.0
    unknown: int = 0
    unplanned: int = 0
    problems: dict[str, list[str]] = field(default_factory=dict)
    hours: float | None = None
    timed: int = 0


def estimate(study: StudyFile, *, calibrate: bool = False) -> Outlook:
    """Plan every point of a study on shapes alone.

    Args:
        study: What to run.
        calibrate: Train a few steps of the cheapest and of the dearest recipe, which needs model and data.

    Raises:
        HoldfastError: A mistake in the study, or in what a calibration needs.
    """
    agenda = _first_choice(study)
    found = Outlook(len(agenda.points))
    plans: dict[str, Plan] = {}
    trained: list[tuple[Job, Plan, int | None]] = []
    for job in agenda.jobs.values():
        found.candidates += job.want == "validation"
        config = load_config(job.config)
        config = config.model_copy(update={"model": model_beside(config.model, study.base)})
        try:
            plan = _plan(config, plans)
        except HoldfastError as error:
            if error.kind == "unplanned":
                found.unplanned += 1
            else:
                found.problems.setdefault(str(error), []).append(job.title)
            continue
        if job.needed is not None:
            found.fusions += job.want == "scores"
            continue
        trained.append((job, plan, steps_of(config)))
    found.trainings = len({job.key for job, _, _ in trained})  # a candidate that is a point too is trained once
    counts = [plan.ledger.trainable for _, plan, _ in trained]
    found.trainable = (min(counts, default=0), max(counts, default=0))
    found.memory = max((plan.memory.peak for _, plan, _ in trained), default=0)
    found.unknown = sum(steps is None for _, _, steps in trained)
    found.flops = sum(
        plan.flops.step * (steps or 0) * load_config(job.config).train.accumulate for job, plan, steps in trained
    )
    if calibrate and found.trainable[1]:
        found.hours, found.timed = _hours(study, agenda, trained)
    return found


def steps_of(config: RunConfig) -> int | None:
    """Optimizer steps, where they are known without looking at the data."""
    train = config.train
    if train.steps is not None:
        return train.steps
    examples = _examples(config)
    return None if examples is None else math.ceil(train.epochs * examples / (train.batch_size * train.accumulate))


def _examples(config: RunConfig) -> int | None:
    target = config.target
    if target is None:
        return None
    if target.limit is None and target.data.startswith("pocket:"):
        from holdfast.tasks.resolve import POCKET_SIZES

        return POCKET_SIZES["train"]
    return target.limit


def _first_choice(study: StudyFile) -> Agenda:
    """The agenda as if the first level of every choice were taken."""
    figures: JSON = {"loss": 0.0, "exact": 0.0, "sources": {}}
    return Planner(study).agenda(lambda key: figures)


def _plan(config: RunConfig, known: dict[str, Plan]) -> Plan:
    parts = config.model_dump(mode="json", include={"model", "tune", "keep", "fuse", "trust_remote_code"})
    text = json.dumps([parts, config.train.batch_size, config.train.gradient_checkpointing], sort_keys=True)
    if text not in known:
        half = config.train.precision == "bf16" or (config.train.precision == "auto" and config.model not in SHIPPED)
        precision: Precision = "bf16" if half else "fp32"
        known[text] = make_plan(config, precision=precision)
    return known[text]


def _hours(study: StudyFile, agenda: Agenda, trained: Sequence[tuple[Job, Plan, int | None]]) -> tuple[float, int]:
    """Hours of one worker, by what the cheapest and the dearest recipe take; and how many recipes were timed."""
    from holdfast.runs.during import moments_of

    learning = [row for row in trained if row[1].ledger.trainable]  # the untouched base takes no steps
    ordered = sorted(learning, key=lambda row: row[1].flops.step)
    timed: list[tuple[float, Timing]] = []
    sizes: dict[str, tuple[int, int]] = {}
    for job, plan, _ in _ends(ordered):
        timed.append((float(plan.flops.step), _time(study, load_config(job.config))))
    seconds = 0.0
    for job, plan, steps in trained:
        config = load_config(job.config)
        took = _between(timed, float(plan.flops.step))
        examples, items = _sizes(study, config, sizes)
        count = steps
        if count is None:
            train = config.train
            count = math.ceil(train.epochs * examples / (train.batch_size * train.accumulate))
        seconds += took.start + took.step * count
        if job.want == "scores":
            seconds += took.answer * items * (1 + len(moments_of(config, examples)))
    fused = [job for job in agenda.jobs.values() if job.needed is not None and job.want == "scores"]
    for job in fused:
        _, items = _sizes(study, load_config(job.config), sizes)
        seconds += timed[-1][1].start + timed[-1][1].answer * items
    return seconds / 3600, len(timed)


def _ends(ordered: Sequence[tuple[Job, Plan, int | None]]) -> list[tuple[Job, Plan, int | None]]:
    first, last = ordered[0], ordered[-1]
    return [first] if first[1].flops.step == last[1].flops.step else [first, last]


def _between(timed: Sequence[tuple[float, Timing]], flops: float) -> Timing:
    """Straight line between the two that were timed."""
    (least, low), (most, high) = timed[0], timed[-1]
    share = 0.0 if most == least else (flops - least) / (most - least)
    mixed = low.step + share * (high.step - low.step)
    return Timing(max(low.start, high.start), mixed, max(low.answer, high.answer))


def _sizes(study: StudyFile, config: RunConfig, known: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Training examples of the target, and test items of target and sources."""
    from holdfast.runs.reading import read_tasks

    text = config.model_dump_json(include={"target", "sources", "mix", "seed", "skip_bad", "evaluate"})
    if text not in known:
        tasks = read_tasks(config, study.base)
        train = 0 if tasks.target is None else len(tasks.target.train)
        known[text] = train, sum(len(task.test) for task in tasks.all)
    return known[text]


def _time(study: StudyFile, config: RunConfig) -> Timing:
    """Run a few steps and a few answers in a folder that is thrown away."""
    from holdfast.runs.run import Runner

    train = config.train.model_copy(update={"steps": STEPS, "evaluate_every": None, "trackers": (), "log_every": STEPS})
    limit = config.evaluate.model_copy(update={"source_limit": ITEMS, "during": None})
    assert config.target is not None
    target = config.target.model_copy(update={"test_limit": ITEMS})
    short = config.model_copy(update={"train": train, "evaluate": limit, "target": target, "fuse": None})
    heard: list[tuple[float, Event]] = []

    def listen(event: Event) -> None:
        if isinstance(event, StepDone) or (isinstance(event, Predicted) and event.who == "tuned"):
            heard.append((time.perf_counter(), event))

    with tempfile.TemporaryDirectory(prefix="holdfast-calibration-") as folder:
        begun = time.perf_counter()
        Runner(short, Path(folder) / "run", base=study.base, listen=listen).execute()
        whole = time.perf_counter() - begun
    steps = [event.seconds for _, event in heard if isinstance(event, StepDone)]
    step = (steps[-1] - steps[0]) / max(1, len(steps) - 1)
    answered = [(when, event.count) for when, event in heard if isinstance(event, Predicted)]
    answer = (answered[-1][0] - answered[0][0]) / max(1, sum(count for _, count in answered[1:]))
    asked = 2 * sum(count for _, count in answered)
    return Timing(max(0.0, whole - step * len(steps) - answer * asked), step, answer)


def by_reason(problems: Mapping[str, Sequence[str]]) -> list[str]:
    """A line a reason: how many points, the first of them, and why."""
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {reason}"
        for reason, names in problems.items()
    ]
