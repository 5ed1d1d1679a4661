"""Predict and score tasks with a model that is already loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.config.schema import Speed, TaskSpec
from holdfast.errors import HoldfastError
from holdfast.events import Listener, PicturesChecked, Predicted, Predicting
from holdfast.inference.predict import Options, predict
from holdfast.metrics.registry import get_metric
from holdfast.models.identity import model_identity
from holdfast.models.loading import Loaded
from holdfast.predictions.record import Score
from holdfast.runs.folder import RunFolder, safe_name
from holdfast.runs.pictures import Refusals
from holdfast.runs.reading import check_room
from holdfast.scoring.scorecard import score_file
from holdfast.speed.decision import to_json
from holdfast.tasks.resolve import expand, resolve_task
from holdfast.tasks.task import Task
from holdfast.values import JSON

FILE = "evaluation.json"


def assess(
    loaded: Loaded,
    tasks: Sequence[str],
    out: Path,
    *,
    limit: int | None,
    batch_size: int,
    max_new_tokens: int,
    metric: str | None,
    root: str | None,
    listen: Listener,
    speed: Speed | None = None,
    options: Options = "generate",
) -> dict[str, Score]:
    """See :func:`holdfast.api.evaluate`.

    Raises:
        HoldfastError: ``out`` holds predictions of other weights, or a task cannot be read.
    """
    if not tasks:
        raise HoldfastError("no task is named", remedy="give --tasks a file, pocket:NAME, or pocket")
    specs = [TaskSpec(data=name, validation=0.0, test=0.0, metric=metric, root=root) for name in tasks]
    folder = RunFolder(out)

    def tell(done: int, total: int) -> None:
        listen(PicturesChecked(done, total))

    resolved = [
        resolve_task(spec, base=Path.cwd(), seed=0, test_limit=limit, advance=tell).task for spec in expand(specs)
    ]
    # A file that is only asked, never trained on, is asked whole.
    asked_tasks = [task if task.test else replace(task, train=(), test=task.train[:limit]) for task in resolved]
    names = [safe_name(task.name) for task in asked_tasks]
    for task in asked_tasks:
        get_metric(task.metric, task.variant)
        if names.count(safe_name(task.name)) > 1:
            raise HoldfastError(f"two tasks are called '{task.name}'", remedy="ask them in two calls")
    _refuse_unseen(loaded, asked_tasks)
    if options == "generate":
        check_room(asked_tasks, loaded, max_new_tokens)
    with folder.held():
        _claim(folder, loaded, asked_tasks, max_new_tokens, options)
        scores: dict[str, Score] = {}
        for asked in asked_tasks:
            listen(Predicting(asked.name, "model", len(asked.test)))
            file = folder.predictions(asked.name)
            report = predict(
                loaded,
                asked,
                file,
                batch_size=batch_size,
                max_new_tokens=max_new_tokens,
                advance=_counter(listen, asked.name),
                speed=speed,
                options=options,
            )
            if report:
                record = folder.read_json(FILE)
                engaged = record.get("engaged", {}) | {asked.name: to_json(report)}
                folder.write_json(FILE, record | {"engaged": engaged})
            scores[asked.name] = score_file(file, metric=asked.metric, variant=asked.variant)
        earlier = folder.read_json("scores.json", "tasks")["tasks"] if folder.scores.exists() else {}
        made = {name: score.to_json() for name, score in scores.items()}
        folder.write_json("scores.json", {"tasks": earlier | made})
    return scores


def _refuse_unseen(loaded: Loaded, tasks: Sequence[Task]) -> None:
    """Refuse pictures that the model's processor would refuse once they come."""
    refusals = Refusals(loaded.chat)
    for task in tasks:
        try:
            refusals.keep(task.test, skip=False)
        except HoldfastError as error:
            raise HoldfastError(
                f"of task {task.name}, {error.problem}", item=error.item, remedy="crop or pad it, or leave the item out"
            ) from error


def _claim(folder: RunFolder, loaded: Loaded, tasks: Sequence[Task], max_new_tokens: int, options: Options) -> None:
    """Record whose answers to what the folder holds, or refuse if it holds others."""
    identity = model_identity(loaded.model)  # with what was restored on the base
    way = "" if options == "generate" else f"-{options}"
    asked = {task.name: f"{task.key()}-{task.max_new_tokens or max_new_tokens}{way}" for task in tasks}
    record: JSON = {
        "identity": identity,
        "model": loaded.name,
        "setup": loaded.setup,
        "tasks": asked,
        "asked": {task.name: task.asked(max_new_tokens, options) for task in tasks},
    }
    remedy = "choose another --out"
    if (folder.path / FILE).exists():
        before = folder.read_json(FILE, "identity")
        if before["identity"] not in (identity, model_identity(loaded.model, sampled=True)):
            raise HoldfastError("the folder holds answers of another model", file=folder.path, remedy=remedy)
        for part, digits in loaded.setup.items():
            if before.get("setup", {}).get(part, digits) != digits:
                problem = f"the folder holds answers that were made with another {part.removesuffix('s')}"
                raise HoldfastError(problem, file=folder.path, remedy=remedy)
        earlier = before.get("tasks", {})
        by_time = {} if "setup" in before else {task.name: task.key_by_time() for task in tasks}
        other = [
            name for name, key in asked.items() if earlier.get(name, key) not in (key, by_time.get(name, "") + key[16:])
        ]
        if other:
            what = f"answers to other items of '{other[0]}', of another length, or asked in another way"
            raise HoldfastError(f"the folder holds {what}", file=folder.path, remedy=remedy)
        record = before | record | {"tasks": earlier | asked, "asked": before.get("asked", {}) | record["asked"]}
    elif folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
        raise HoldfastError("this exists and is not the folder of an evaluation", file=folder.path, remedy=remedy)
    folder.write_json(FILE, record)


def _counter(listen: Listener, task: str) -> Callable[[int], None]:
    return lambda count: listen(Predicted(task, "model", count))
