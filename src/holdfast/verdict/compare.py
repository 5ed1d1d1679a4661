"""Base against tuned: read, pair, test. The door of the verdict::

comparison = compare("runs/first/base", "runs/first")
print("\\n".join(comparison.sentences()))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from holdfast.errors import HoldfastError, nearest
from holdfast.predictions.readers.reading import Reading
from holdfast.predictions.record import Prediction
from holdfast.scoring.recognise import read
from holdfast.verdict.pairing import pair_tasks
from holdfast.verdict.records import Comparison
from holdfast.verdict.runs import RunsComparison
from holdfast.verdict.sentences import verdict
from holdfast.verdict.sequence import measure
from holdfast.verdict.statistics.permutation import RESAMPLES
from holdfast.verdict.summary import conclude
from holdfast.verdict.tasks import compare_task

Source = str | Path | Reading | Mapping[str, Sequence[Prediction]]
"""A file or folder of any recognised format, what was read from one, or predictions by task."""


def compare(
    base: Source,
    tuned: Source,
    *,
    target: str | Sequence[str] | None = None,
    task: str | None = None,
    columns: Mapping[str, str] | None = None,
    references: str | Path | None = None,
    metric: str | None = None,
    intersect: bool = False,
    margin: float = 1.0,
    confidence: float = 0.95,
    scale: float = 1.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare the predictions of an untouched base with those of a tuned model on the same items.

    Args:
        base: Before.
        tuned: After.
        target: The task or tasks that were tuned for; default: what the tuned run folder says. All others are
            sources. Without any target E, O and H stay undefined and F runs over all tasks.
        task: Name for a file that does not name its task.
        columns: Field -> column, for plain tables (``{"id": "qid", "score": "acc"}``).
        references: File with the gold answers, for files that carry none.
        metric: Scorer (``NAME`` or ``NAME:VARIANT``) for files without scores; scores of a file are then replaced.
        intersect: Compare the shared items instead of refusing different item sets.
        margin: Tolerated loss in points, for the non-inferiority claim.
        confidence: Of two-sided intervals and one-sided bounds.
        scale: The value of a perfect score in the files (100 for percent).
        resamples: Random sign patterns of a test that cannot be exact.
        seed: Of those patterns.

    Returns:
        The comparison, targets first.

    Raises:
        HoldfastError: Unreadable input, different items, missing scores, unknown target, silly settings.
    """
    if not 0.5 < confidence < 1:
        raise HoldfastError(f"confidence {confidence} is not between 0.5 and 1")
    if not 0 <= margin <= 100:
        raise HoldfastError(f"the margin of {margin} points is not between 0 and 100")
    if resamples < 100:
        raise HoldfastError(f"{resamples} resamples are too few for a test", remedy="take at least 100")
    options = Inputs(task, columns, references, metric, intersect, scale)
    before, after = options.open(base, "base"), options.open(tuned, "tuned")
    names = _names(before, after)
    base_tasks, tuned_tasks = _same_names(before, after)
    pairs, notes = pair_tasks(base_tasks, tuned_tasks, names=names, intersect=intersect)
    targets = _targets(target, after, pairs)
    ordered = [*(name for name in pairs if name in targets), *(name for name in pairs if name not in targets)]
    records, clusters = [], {}
    for name in ordered:
        role: Literal["target", "source"] = "target" if name in targets else "source"
        record, clusters[name] = compare_task(
            name,
            pairs[name],
            role=role,
            margin=margin / 100,
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        )
        records.append(record)
    records, summary = conclude(records, clusters, confidence=confidence, seed=seed, resamples=resamples)
    recognised = [f"{names[0]}: {before.recognised}", f"{names[1]}: {after.recognised}"]
    comparison = Comparison(
        tasks={record.name: record for record in records},
        summary=summary,
        base=names[0],
        tuned=names[1],
        recognised=tuple(recognised),
        confidence=confidence,
        margin=margin / 100,
        seed=seed,
        notes=tuple(dict.fromkeys((*before.notes, *after.notes, *notes))),
        roots=(*after.roots, *before.roots),
    )
    return replace(comparison, words=tuple(verdict(comparison)))


def compare_runs(
    base: Source, tuned: Sequence[Source], *, sequence: Sequence[str] | None = None, **settings: Any
) -> RunsComparison:
    """Compare several tuned models with one base.

    Args:
        base: Before.
        tuned: After, one or more.
        sequence: The task learned at each of ``tuned``, which are then stages of one sequence; default: what run
            folders declare, if each declares one task and no two the same.
        **settings: As for :func:`compare`.

    Raises:
        HoldfastError: As :func:`compare`; or the sequence does not fit the runs.
    """
    options = Inputs(**{name: settings[name] for name in Inputs.__annotations__ if name in settings})
    before = options.open(base, "base")
    readings = [options.open(one, f"run {number}") for number, one in enumerate(tuned, start=1)]
    names = _short_names([reading.name for reading in readings])
    runs = {name: compare(before, reading, **settings) for name, reading in zip(names, readings, strict=True)}
    stages = [reading.targets for reading in readings]
    declared = [stage[0] for stage in stages if len(stage) == 1]
    if sequence is None and len(set(declared)) == len(stages) > 1:
        sequence = declared
    measures = None
    if sequence is not None:
        first = next(iter(runs.values()))
        measures = measure(
            sequence,
            {name: task.before for name, task in first.tasks.items()},
            [{name: task.after for name, task in run.tasks.items()} for run in runs.values()],
        )
    return RunsComparison(runs, measures)


def _short_names(names: Sequence[str]) -> list[str]:
    """The last part of each path that tells them apart, numbered where none does."""
    for parts in range(1, 4):
        short = ["/".join(Path(name).parts[-parts:]) for name in names]
        if len(set(short)) == len(short):
            return short
    return [f"{number}: {name}" for number, name in enumerate(names, start=1)]


@dataclass(frozen=True)
class Inputs:
    """How to read and score what is compared; the fields are those of :func:`compare`."""

    task: str | None = None
    columns: Mapping[str, str] | None = None
    references: str | Path | None = None
    metric: str | None = None
    intersect: bool = False
    scale: float = 1.0

    def open(self, source: Source, name: str) -> Reading:
        """Read a source, and score it where that is asked for or needed."""
        if isinstance(source, Reading):
            return source
        if isinstance(source, Mapping):
            tasks = {key: list(predictions) for key, predictions in source.items()}
            return Reading(name=name, recognised="predictions in memory", tasks=tasks)
        if self.references is not None:
            return self._official(Path(source), self._recognised(source))
        reading = read(source, task=self.task, columns=self.columns, scale=self.scale)
        scored = all(row.score is not None for rows in reading.tasks.values() for row in rows)
        if scored and self.metric is None:
            return reading
        from holdfast.scoring.readings import is_official, score_reading

        if is_official(self.task):
            return self._official(Path(source), reading.recognised)
        return reading if self.metric is None else score_reading(reading, self.metric)

    def _official(self, path: Path, recognised: str) -> Reading:
        from holdfast.scoring.readings import read_official

        return read_official(
            path,
            task=self.task,
            metric=self.metric,
            references=self.references,
            intersect=self.intersect,
            recognised=recognised,
        )

    def _recognised(self, source: str | Path) -> str:
        """The format of a file that an official loader is to read; such a loader knows layouts that need references."""
        try:
            return read(source, columns=self.columns, scale=self.scale).recognised
        except HoldfastError:
            return ""


def _names(before: Reading, after: Reading) -> tuple[str, str]:
    """What to call the two sides; the same file twice is a legitimate comparison with itself."""
    return (before.name, after.name) if before.name != after.name else (before.name, f"{after.name} (tuned)")


def _same_names(
    before: Reading, after: Reading
) -> tuple[Mapping[str, Sequence[Prediction]], Mapping[str, Sequence[Prediction]]]:
    """Two lone files that do not both name their task are of one task."""
    if len(before.tasks) == len(after.tasks) == 1 and not (before.named and after.named):
        shown = after if after.named else before
        (name,) = shown.tasks
        return {name: next(iter(before.tasks.values()))}, {name: next(iter(after.tasks.values()))}
    return before.tasks, after.tasks


def _targets(target: str | Sequence[str] | None, after: Reading, pairs: Mapping[str, object]) -> set[str]:
    if target is None:
        return {name for name in after.targets if name in pairs}
    wanted = {target} if isinstance(target, str) else set(target)
    for name in sorted(wanted):
        if name not in pairs:
            raise HoldfastError(f"the target '{name}' is not among the compared tasks", remedy=nearest(name, pairs))
    return wanted
