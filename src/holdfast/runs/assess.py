"""Predict and score tasks with a model that is already loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from holdfast.config.schema import TaskSpec
from holdfast.errors import HoldfastError
from holdfast.evaluation.items import Score
from holdfast.evaluation.predict import predict
from holdfast.evaluation.scorecard import score_file
from holdfast.models.loading import Loaded
from holdfast.runs.folder import RunFolder
from holdfast.tasks.resolve import expand, resolve_task
from holdfast.training.loop import Listener


def assess(
    loaded: Loaded,
    tasks: Sequence[str],
    out: Path,
    *,
    limit: int | None,
    batch_size: int,
    max_new_tokens: int,
    metric: str | None,
    listen: Listener,
) -> dict[str, Score]:
    """See :func:`holdfast.api.evaluate`.

    Raises:
        HoldfastError: ``out`` holds predictions of other weights, or a task cannot be read.
    """
    if not tasks:
        raise HoldfastError("no task is named", remedy="give --tasks a file, pocket:NAME, or pocket")
    specs = [TaskSpec(data=name, validation=0.0, test=0.0, metric=metric) for name in tasks]
    folder = RunFolder(out)
    identity = _identity(loaded)
    marker = out / "evaluation.json"
    if marker.exists() and folder.read_json("evaluation.json")["identity"] != identity:
        raise HoldfastError(f"{out} holds answers of another model", remedy="choose another --out")
    resolved = [resolve_task(spec, base=Path.cwd(), seed=0, test_limit=limit).task for spec in expand(specs)]
    folder.write_json("evaluation.json", {"identity": identity, "model": loaded.name})
    scores: dict[str, Score] = {}
    for task in resolved:
        # A file that is only asked, never trained on, is asked whole.
        asked = task if task.test else type(task)(task.name, (), (), task.train[:limit], task.metric, task.variant)
        listen("predicting", task=asked.name, who="model", total=len(asked.test))
        predict(
            loaded, asked, folder.predictions(asked.name), batch_size=batch_size, max_new_tokens=max_new_tokens,
            advance=_counter(listen, asked.name),
        )  # fmt: skip
        scores[asked.name] = score_file(folder.predictions(asked.name), metric=asked.metric, variant=asked.variant)
    folder.write_json("scores.json", {"tasks": {name: score.to_json() for name, score in scores.items()}})
    return scores


def _identity(loaded: Loaded) -> str:
    from holdfast.models.identity import model_identity

    return model_identity(loaded.model)


def _counter(listen: Listener, task: str) -> Callable[[int], None]:
    return lambda count: listen("predicted", task=task, who="model", count=count)
