"""The tasks that a configuration names, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.config.schema import RunConfig, TaskSpec
from holdfast.errors import HoldfastError, within
from holdfast.events import Listener, PicturesChecked, silence
from holdfast.methods.recipe import Recipe
from holdfast.metrics.registry import get_metric
from holdfast.models.loading import Loaded
from holdfast.runs.folder import safe_name
from holdfast.runs.pictures import Refusals
from holdfast.tasks.drawn import Joined, PocketExamples
from holdfast.tasks.resolve import expand, resolve_task
from holdfast.tasks.task import Task


@dataclass
class Tasks:
    """The target (which may be absent in evaluation) and the sources of a run, and what is trained on beside them."""

    target: Task | None
    sources: list[Task]
    skipped: list[HoldfastError]
    mix: list[Task] = field(default_factory=list)

    @property
    def all(self) -> list[Task]:
        """Those that are asked, target first."""
        return ([self.target] if self.target is not None else []) + self.sources

    def shown(self, recipe: Recipe) -> Joined:
        """Training examples of the sources, for a recipe that looks at them; none for any other."""
        return Joined(tuple(task.train for task in self.sources) if recipe.needs_sources else ())


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
            if named.weight != 1:
                remedy = "give the stabiliser replay its weights, or name the data set under mix"
                raise HoldfastError("a source is not trained on, so it has no weight", remedy=remedy, key="weight")
            sources += [read(spec, config.evaluate.source_limit) for spec in expand([named])]
    mix = []
    for place, named in enumerate(config.mix):
        with within("mix", place):
            mix.append(read(named.model_copy(update={"validation": 0.0, "test": 0.0}), None))
            if not mix[-1].train:
                raise HoldfastError("the data set has no training examples", remedy="remove it from mix")
    names = [safe_name(task.name) for task in ([target] if target else []) + sources + mix]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise HoldfastError(f"two tasks are called '{min(twice)}'", remedy="give each its own name", key="sources")
    return Tasks(target, sources, skipped, mix)


def visible(tasks: Tasks, loaded: Loaded, *, skip: bool) -> Tasks:
    """The tasks without the items whose pictures the model's processor refuses.

    Raises:
        HoldfastError: There is one, and bad items are not to be skipped.
    """
    refusals = Refusals(loaded.chat)
    kept = [refusals.keep_task(task, skip=skip) for task in [*tasks.all, *tasks.mix]]
    skipped = [*tasks.skipped, *(problem for _, problems in kept for problem in problems)]
    seen = [task for task, _ in kept]
    asked, mix = seen[: len(tasks.all)], seen[len(tasks.all) :]
    return Tasks(asked[0], asked[1:], skipped, mix) if tasks.target is not None else Tasks(None, asked, skipped, mix)


def check_room(tasks: Sequence[Task], loaded: Loaded, limit: int) -> None:
    """Refuse a longest answer that ends within the reasoning of every item of a task whose data reason.

    Args:
        tasks: What will be asked.
        loaded: The model, for its tokens.
        limit: Longest answer of tasks that name none.

    Raises:
        HoldfastError: No item of a task would come to its answer.
    """
    for task in tasks:
        thoughts = [] if isinstance(task.test, PocketExamples) else [e.thoughts for e in task.test if e.thoughts]
        if not thoughts:
            continue
        room = task.max_new_tokens or limit
        lengths = [len(ids) for ids in loaded.chat.tokenizer(thoughts, add_special_tokens=False)["input_ids"]]
        if min(lengths) >= room:
            raise HoldfastError(
                f"the reasoning of task '{task.name}' has {min(lengths):,} to {max(lengths):,} tokens, and "
                f"max_new_tokens is {room:,}, so that no answer would be reached",
                remedy=f"set max_new_tokens to {max(lengths) + 32} or more, or reasoning: drop of the task",
            )
