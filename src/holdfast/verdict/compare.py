"""Base against tuned: read, pair, test. The door of the verdict::

comparison = compare("runs/first/base", "runs/first")
print("\\n".join(comparison.sentences()))
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from holdfast.errors import HoldfastError, nearest
from holdfast.predictions.reading import Ask, Reading
from holdfast.predictions.record import Prediction
from holdfast.scoring.judge import scored
from holdfast.verdict.pairing import check_asked, pair_tasks
from holdfast.verdict.records import Comparison
from holdfast.verdict.runs import RunsComparison
from holdfast.verdict.sentences import verdict
from holdfast.verdict.sequence import measure
from holdfast.verdict.statistics.permutation import RESAMPLES
from holdfast.verdict.summary import conclude
from holdfast.verdict.tasks import compare_task

Source = str | Path | Reading | Mapping[str, Sequence[Prediction]]
"""A file or folder of any recognised format, what was read from one, or predictions by task."""


class Settings(TypedDict, total=False):
    """How two sides are read and compared; what is left out is as said here.

    Attributes:
        target: The task or tasks that were tuned for; default: what the tuned run folder says. All others are
            sources. Without any target E, O and H stay undefined and F runs over all tasks.
        task: Name for a file that does not name its task.
        columns: Field -> column, for plain tables (``{"id": "qid", "score": "acc"}``).
        references: File with the gold answers, for files that carry none.
        metric: Scorer (``NAME`` or ``NAME:VARIANT``) for files without scores; scores of a file are then replaced.
        intersect: Compare the shared items instead of refusing different item sets; default: refuse.
        margin: Tolerated loss in points, for the non-inferiority claim; default: 1.
        confidence: Of two-sided intervals and one-sided bounds; default: 0.95.
        scale: The value of a perfect score in the files (100 for percent); default: 1.
        resamples: Random sign patterns of a test that cannot be exact.
        seed: Of those patterns; default: 0.
    """

    target: str | Sequence[str] | None
    task: str | None
    columns: Mapping[str, str] | None
    references: str | Path | None
    metric: str | None
    intersect: bool
    margin: float
    confidence: float
    scale: float
    resamples: int
    seed: int


def compare(base: Source, tuned: Source, **settings: Unpack[Settings]) -> Comparison:
    """Compare the predictions of an untouched base with those of a tuned model on the same items.

    Args:
        base: Before.
        tuned: After.
        **settings: See :class:`Settings`.

    Returns:
        The comparison, targets first.

    Raises:
        HoldfastError: Unreadable input, different items, missing scores, unknown target, silly settings.
    """
    margin, confidence = settings.get("margin", 1.0), settings.get("confidence", 0.95)
    resamples, seed = settings.get("resamples", RESAMPLES), settings.get("seed", 0)
    if not 0.5 < confidence < 1:
        raise HoldfastError(f"confidence {confidence} is not between 0.5 and 1")
    if not 0 <= margin <= 100:
        raise HoldfastError(f"the margin of {margin} points is not between 0 and 100")
    if resamples < 100:
        raise HoldfastError(f"{resamples} resamples are too few for a test", remedy="take at least 100")
    ask = _ask(settings)
    before, after = _open(base, "base", ask), _open(tuned, "tuned", ask)
    names = _names(before, after)
    base_tasks, tuned_tasks = _same_names(before, after, settings.get("target"))
    pairs, notes = pair_tasks(base_tasks, tuned_tasks, names=names, intersect=ask.intersect)
    for name in pairs:
        check_asked(name, before.asked.get(name, {}), after.asked.get(name, {}), names)
    targets = _targets(settings.get("target"), after, pairs)
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
    base: Source, tuned: Sequence[Source], *, sequence: Sequence[str] | None = None, **settings: Unpack[Settings]
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
    ask = _ask(settings)
    before = _open(base, "base", ask)
    readings = [_open(one, f"run {number}", ask) for number, one in enumerate(tuned, start=1)]
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


def _ask(settings: Settings) -> Ask:
    references = settings.get("references")
    return Ask(
        task=settings.get("task"),
        metric=settings.get("metric"),
        references=None if references is None else Path(references),
        intersect=settings.get("intersect", False),
        columns=settings.get("columns") or {},
        scale=settings.get("scale", 1.0),
    )


def _open(source: Source, name: str, ask: Ask) -> Reading:
    """What stands in a source, scored where that is asked for or needed."""
    if isinstance(source, Reading):
        return source
    if isinstance(source, Mapping):
        tasks = {key: list(predictions) for key, predictions in source.items()}
        return Reading(name=name, recognised="predictions in memory", tasks=tasks)
    return scored(source, ask)


def _names(before: Reading, after: Reading) -> tuple[str, str]:
    """What to call the two sides; the same file twice is a legitimate comparison with itself."""
    return (before.name, after.name) if before.name != after.name else (before.name, f"{after.name} (tuned)")


def _same_names(
    before: Reading, after: Reading, target: str | Sequence[str] | None
) -> tuple[Mapping[str, Sequence[Prediction]], Mapping[str, Sequence[Prediction]]]:
    """Two lone files that do not both name their task are of one task; a target that is named is that one."""
    if len(before.tasks) == len(after.tasks) == 1 and not (before.named and after.named):
        (first,), (second,) = before.tasks, after.tasks
        asked = target if isinstance(target, str) else target[0] if target and len(target) == 1 else None
        name = first if before.named else second if after.named else asked or _shared_words(first, second)
        return {name: next(iter(before.tasks.values()))}, {name: next(iter(after.tasks.values()))}
    return before.tasks, after.tasks


def _shared_words(first: str, second: str) -> str:
    """What the names of two files have in common at their ends or beginnings, since the rest names the models;
    ``items`` where that is nothing."""
    if first == second:
        return first
    for cut in (lambda words: words[::-1], list):
        one, two = (cut(re.split(r"[_\s]+", name)) for name in (first, second))
        shared = [a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False))]
        if shared:
            return "_".join(cut(shared))
    return "items"


def _targets(target: str | Sequence[str] | None, after: Reading, pairs: Mapping[str, object]) -> set[str]:
    if target is None:
        return {name for name in after.targets if name in pairs}
    wanted = {target} if isinstance(target, str) else set(target)
    for name in sorted(wanted):
        if name not in pairs:
            raise HoldfastError(f"the target '{name}' is not among the compared tasks", remedy=nearest(name, pairs))
    return wanted
