"""From a task's specification to its examples: a file, a prepared folder, or the pocket world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.config.schema import AS_IT_IS, TaskSpec
from holdfast.data.contents import Advance
from holdfast.data.examples import Example
from holdfast.data.readers import ExamplesRead, read_examples
from holdfast.data.reasoning import without_reasoning
from holdfast.data.sets import OpenedSet, is_set, open_set
from holdfast.errors import HoldfastError, nearest, within
from holdfast.files.places import path_of
from holdfast.importing import growing
from holdfast.tasks.drawn import PocketExamples
from holdfast.tasks.prepared import find_prepared, load_prepared
from holdfast.tasks.task import Task, split_by_image, subsample, with_prompt

POCKET_SIZES = {"train": 2000, "validation": 200, "test": 200}
"""Examples drawn from the pocket world where the specification sets no limit."""

NOTHING_SKIPPED: tuple[HoldfastError, ...] = ()


@dataclass(frozen=True)
class Resolved:
    """A task and the bad items that were left out of it (empty unless the user asked to skip them)."""

    task: Task
    skipped: tuple[HoldfastError, ...] = ()


def expand(specs: Sequence[TaskSpec]) -> list[TaskSpec]:
    """Specifications with ``pocket`` replaced by all source tasks of the pocket world."""
    result: list[TaskSpec] = []
    for spec in specs:
        if spec.data == "pocket":
            from holdfast.pocket.tasks import SOURCES

            result += [spec.model_copy(update={"data": f"pocket:{name}", "name": None}) for name in SOURCES]
        else:
            result.append(spec)
    return result


@growing()
def resolve_task(
    spec: TaskSpec,
    *,
    base: Path,
    seed: int,
    skip_bad: bool = False,
    test_limit: int | None = None,
    advance: Advance | None = None,
) -> Resolved:
    """Read or draw the examples of one task.

    Args:
        spec: Where from and how.
        base: Folder that relative paths start at: the configuration's.
        seed: Decides subsamples; splits depend on the images alone.
        skip_bad: Leave bad items out instead of refusing.
        test_limit: At most so many test items, if the specification itself sets no limit.
        advance: Told how many of how many pictures are checked, file by file.

    Raises:
        HoldfastError: The data are missing or hold a mistake, or a part that is needed is empty.
    """
    of_a_set = not spec.data.startswith("pocket:") and is_set(spec.data, base)
    for key in ("split", "subset"):
        if getattr(spec, key) is not None and not of_a_set:
            remedy = f"remove {key}, or name a data set of Hugging Face"
            raise HoldfastError(
                f"{key} is for data sets of Hugging Face, and {spec.data} is none", remedy=remedy, key=key
            )
    if spec.data.startswith("pocket:"):
        task, skipped = _pocket(spec, test_limit), NOTHING_SKIPPED
    elif of_a_set:
        task, skipped = _from_set(spec, base, skip_bad, advance)
    elif (place := find_prepared(spec, base)) is not None:
        task, skipped = load_prepared(
            place, spec, base=base, seed=seed, skip_bad=skip_bad, test_limit=test_limit, advance=advance
        )
    else:
        task, skipped = _from_files(spec, base, skip_bad, advance)
    limit = spec.test_limit or test_limit
    task = replace(
        task,
        train=_asked(subsample(task.train, spec.limit, seed), spec),
        validation=_asked(task.validation, spec),
        test=_asked(subsample(task.test, limit, seed), spec),
        metric=spec.metric or task.metric,
        # A variant belongs to a metric: another metric than the card's starts from its own first variant.
        variant=spec.variant or (None if spec.metric not in (None, task.metric) else task.variant),
        max_new_tokens=spec.max_new_tokens or task.max_new_tokens,
        weight=spec.weight,
    )
    return Resolved(task, skipped)


def _asked(examples: Sequence[Example], spec: TaskSpec) -> Sequence[Example]:
    """The examples in the specification's prompt, under its system prompt where they have none of their own, with
    answers that can be judged."""
    if spec.prompt != AS_IT_IS:
        examples = tuple(with_prompt(example, spec.prompt) for example in examples)
    if spec.system:
        examples = tuple(e if e.system else replace(e, system=spec.system) for e in examples)
    if not spec.data.startswith("pocket:"):
        examples = without_reasoning(examples, keep=spec.reasoning == "keep")
    return examples


def _pocket(spec: TaskSpec, test_limit: int | None) -> Task:
    from holdfast.pocket.tasks import SOURCES, TARGETS

    name = spec.data.removeprefix("pocket:")
    if name not in SOURCES + TARGETS:
        raise HoldfastError(f"the pocket world has no task '{name}'", remedy=nearest(name, SOURCES + TARGETS))
    sizes = POCKET_SIZES | {"train": spec.limit or POCKET_SIZES["train"]}
    sizes["test"] = spec.test_limit or test_limit or (500 if name == "digits" else POCKET_SIZES["test"])
    return Task(
        spec.name or name,
        PocketExamples(name, "train", sizes["train"]),
        PocketExamples(name, "validation", sizes["validation"]),
        PocketExamples(name, "test", sizes["test"]),
    )


def _from_files(
    spec: TaskSpec, base: Path, skip_bad: bool, advance: Advance | None
) -> tuple[Task, tuple[HoldfastError, ...]]:
    skipped: list[HoldfastError] = []
    root = None if spec.root is None else base / path_of(spec.root)

    def read(name: str) -> tuple[Example, ...]:
        file = base / path_of(name)
        reading = read_examples(file, root=root, columns=spec.columns, advance=advance)
        return _good(reading, file, skip_bad, skipped)

    examples = read(spec.data)
    train, validation, test = _divided(examples, spec, root=root or (base / path_of(spec.data)).parent)
    if isinstance(spec.validation, str):
        validation = read(spec.validation)
    if isinstance(spec.test, str):
        test = read(spec.test)
    name = spec.name or Path(spec.data).stem
    return Task(name, train, validation, test), tuple(skipped)


def _from_set(
    spec: TaskSpec, base: Path, skip_bad: bool, advance: Advance | None
) -> tuple[Task, tuple[HoldfastError, ...]]:
    opened = open_set(spec.data, base=base, subset=spec.subset)
    skipped: list[HoldfastError] = []
    root = None if spec.root is None else base / path_of(spec.root)

    def read(split: str) -> tuple[Example, ...]:
        reading = opened.read(split, columns=spec.columns, root=root, advance=advance)
        return _good(reading, Path(opened.name), skip_bad, skipped)

    trained = opened.split(spec.split)
    held_out = {part: _held_out(spec, part, opened, trained) for part in ("validation", "test")}
    shares = spec.model_copy(update={part: 0.0 for part, split in held_out.items() if split is not None})
    train, validation, test = _divided(read(trained), shares, root=root or opened.root)
    if held_out["validation"] is not None:
        validation = read(held_out["validation"])
    if held_out["test"] is not None:
        test = read(held_out["test"])
    name = spec.name or Path(opened.name).stem
    return Task(name, train, validation, test), tuple(skipped)


def _held_out(spec: TaskSpec, part: str, opened: OpenedSet, trained: str) -> str | None:
    """The split that a part is, by name or because the set has one of that name; ``None``: a share is split off."""
    given = getattr(spec, part)
    if isinstance(given, str):
        with within(part):
            return opened.split(given)
    own = part not in spec.model_fields_set and part in opened.splits and part != trained
    return part if own else None


def _divided(
    examples: Sequence[Example], spec: TaskSpec, *, root: Path
) -> tuple[tuple[Example, ...], tuple[Example, ...], tuple[Example, ...]]:
    """Train, validation and test by the shares of the specification."""
    validation, test = (value if isinstance(value, float | int) else 0.0 for value in (spec.validation, spec.test))
    if validation + test >= 1:
        raise HoldfastError("validation and test shares leave nothing to train on", remedy="make them smaller")
    return split_by_image(examples, float(validation), float(test), root=root)


def _good(reading: ExamplesRead, file: Path, skip_bad: bool, skipped: list[HoldfastError]) -> tuple[Example, ...]:
    """The examples of a file; what is wrong with the others is refused, or added to ``skipped``."""
    if reading.problems and not reading.examples:
        raise HoldfastError(
            f"every item is bad; the first: {reading.problems[0]}", file=file, remedy="run holdfast data check on it"
        )
    if reading.problems and not skip_bad:
        first, count = reading.problems[0], len(reading.problems)
        more = f" ({count - 1} more; see holdfast data check {file})" if count > 1 else ""
        raise HoldfastError(
            first.problem + more,
            file=first.file,
            line=first.line,
            item=first.item,
            remedy=f"{first.remedy or 'mend it'}, or leave bad items out with --skip-bad",
        )
    skipped += reading.problems
    return reading.examples
