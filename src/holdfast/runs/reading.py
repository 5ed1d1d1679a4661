"""The tasks that a configuration names, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.config.schema import RunConfig, TaskSpec
from holdfast.errors import HoldfastError, within
from holdfast.events import Listener, PicturesChecked, silence
from holdfast.metrics.registry import get_metric
from holdfast.models.loading import Loaded
from holdfast.runs.folder import safe_name
from holdfast.runs.pictures import Refusals
from holdfast.tasks.resolve import expand, resolve_task
from holdfast.tasks.task import Task


@dataclass
class Tasks:
    """The target (which may be absent in evaluation) and the sources of a run."""

    target: Task | None
    sources: list[Task]
    skipped: list[HoldfastError]

    @property
    def all(self) -> list[Task]:
        """Target first."""
        return ([self.target] if self.target is not None else []) + self.sources


def read_tasks(config: RunConfig, base: Path, listen: Listener = silence) -> Tasks:
    """Every task that a configuration names; ``listen`` hears how the check of its pictures goes on.

    Raises:
        HoldfastError: Missing or bad data, or two tasks of one name.
    """
    skipped: list[HoldfastError] = []
    target: Task | None = None

    def read(spec: TaskSpec, limit: int | None) -> Task:
        resolved = resolve_task(
            spec,
            base=base,
            seed=config.seed,
            skip_bad=config.skip_bad,
            test_limit=limit,
            advance=lambda done, total: listen(PicturesChecked(done, total)),
        )
        skipped.extend(resolved.skipped)
        with within("metric"):  # an unknown metric is to stop a run before it trains, not after
            get_metric(resolved.task.metric, resolved.task.variant)
        return resolved.task

    if config.target is not None:
        with within("target"):
            target = read(config.target, None)
    sources = []
    for place, named in enumerate(config.sources):
        with within("sources", place):
            sources += [read(spec, config.evaluate.source_limit) for spec in expand([named])]
    names = [safe_name(task.name) for task in ([target] if target else []) + sources]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise HoldfastError(f"two tasks are called '{min(twice)}'", remedy="give each its own name", key="sources")
    return Tasks(target, sources, skipped)


def visible(tasks: Tasks, loaded: Loaded, *, skip: bool) -> Tasks:
    """The tasks without the items whose pictures the model's processor refuses.

    Raises:
        HoldfastError: There is one, and bad items are not to be skipped.
    """
    refusals = Refusals(loaded.chat)
    kept = [refusals.keep_task(task, skip=skip) for task in tasks.all]
    skipped = [*tasks.skipped, *(problem for _, problems in kept for problem in problems)]
    seen = [task for task, _ in kept]
    return Tasks(seen[0], seen[1:], skipped) if tasks.target is not None else Tasks(None, seen, skipped)
