"""A task divided over the processes of a run: each answers a share into a file of its own, and the first joins them."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.inference.predict import in_order, predict
from holdfast.models.loading import Loaded
from holdfast.predictions.file import PredictionWriter, write_predictions
from holdfast.predictions.record import Prediction
from holdfast.ranks import here
from holdfast.speed.decision import Report
from holdfast.speed.division import image_tokens, shares
from holdfast.tasks.task import Task


def predict_together(loaded: Loaded, task: Task, file: Path, **how: Any) -> Report:
    """What :func:`holdfast.inference.predict.predict` does, by all processes of the run, which call this alike.

    Shares that an earlier try left, with whatever number of processes, are taken up first.

    Args:
        loaded: The model.
        task: Whose test items are asked.
        file: A prediction file; in the end it holds the items in the order in which one process would ask them.
        **how: As for ``predict``.

    Returns:
        The first process's report.

    Raises:
        HoldfastError: As ``predict``.
    """
    ranks = here()
    if ranks.world == 1:
        _join(task, file)
        return predict(loaded, task, file, **how)
    done: set[str] = set()
    if ranks.first:
        done = _join(task, file)
    done = ranks.same(done)
    left = [example for example in task.test if example.id not in done]
    mine = shares(left, ranks.world, image=image_tokens(loaded, left))[ranks.rank]
    report = predict(loaded, replace(task, test=mine), _folder(file) / f"{ranks.rank}.jsonl", **how) if mine else {}
    ranks.wait()
    if ranks.first:
        _join(task, file)
    return ranks.same(report)


def _folder(file: Path) -> Path:
    """Where the shares of a prediction file stand while it is made."""
    return file.parent / ".shares" / file.stem


def _join(task: Task, file: Path) -> set[str]:
    """Put what stands in shares into the file; returns the ids that it then holds."""
    folder = _folder(file)
    if not folder.is_dir():
        return _done(file)
    found: dict[str, Prediction] = {}
    for part in [file, *sorted(folder.glob("*.jsonl"))]:
        if part.exists():
            with PredictionWriter(part, resume=True) as writer:  # a half-written last line goes
                found |= writer.done
    places = {example.id: place for place, example in enumerate(e for group in in_order(task.test) for e in group)}
    kept = sorted((p for p in found.values() if p.id in places), key=lambda prediction: places[prediction.id])
    write_predictions(file, kept)
    shutil.rmtree(folder)
    with suppress(OSError):  # other tasks may have shares there
        folder.parent.rmdir()
    return {prediction.id for prediction in kept}


def _done(file: Path) -> set[str]:
    if not file.exists():
        return set()
    with PredictionWriter(file, resume=True) as writer:
        return set(writer.done)
