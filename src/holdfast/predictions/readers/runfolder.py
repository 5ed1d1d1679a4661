"""Holdfast's own layout: the run folder, which also says what its target was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.predictions.file import read_predictions
from holdfast.predictions.readers.reading import Reading


def read_folder(path: Path) -> Reading:
    """A run folder (``predictions/*.jsonl``), its ``base`` part, or a bare folder of prediction files.

    Raises:
        HoldfastError: No prediction files, or two of one task.
    """
    folder = path / "predictions" if (path / "predictions").is_dir() else path
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        inner = sorted(str(found.parent) for found in path.glob("*/predictions"))
        remedy = f"did you mean {', '.join(inner[:6])}?" if inner else "a run folder holds predictions/<task>.jsonl"
        raise HoldfastError("the folder holds no prediction files", file=path, remedy=remedy)
    reading = Reading(name=str(path), recognised="", tasks={}, targets=targets_of(path))
    for file in files:
        predictions = read_predictions(file)
        task = predictions[0].task or file.stem
        if task in reading.tasks:
            raise HoldfastError(f"the task '{task}' stands in two files of the folder", file=file)
        reading.tasks[task] = predictions
    kind = "Holdfast run folder" if folder != path else "folder of prediction files"
    reading.recognised = f"{kind}, {len(files)} {'task' if len(files) == 1 else 'tasks'}"
    # Drawn images stand once for all runs of a model, beside the run folders; RUN/base is one level deeper.
    drawn = (place / ".base" / "images" for place in (path.parent, path.parent.parent))
    reading.roots = (path / "images", path.parent / "images", *drawn, path)
    return reading


def targets_of(run: Path) -> tuple[str, ...]:
    """The target tasks a run folder declares in ``scores.json``, else in ``config.yaml``; none if it does not."""
    scores = run / "scores.json"
    if scores.is_file():
        try:
            recipes = json.loads(scores.read_text(encoding="utf-8")).get("recipes", {})
        except (OSError, ValueError, AttributeError) as error:
            raise HoldfastError("the scores cannot be read", file=scores) from error
        found: dict[str, None] = {}
        for recipe in recipes.values() if isinstance(recipes, dict) else recipes:
            found |= dict.fromkeys(_names(recipe.get("target")) if isinstance(recipe, dict) else ())
        if found:
            return tuple(found)
    config = run / "config.yaml"
    if config.is_file():
        from holdfast.config.documents import read_mapping  # YAML is loaded only where it is needed

        target = read_mapping(config).get("target")
        if isinstance(target, dict):
            target = target.get("name") or target.get("data")
        if isinstance(target, str):
            return (Path(target.removeprefix("pocket:")).stem,)
    return ()


def _names(target: Any) -> tuple[str, ...]:
    if isinstance(target, str):
        return (target,)
    if isinstance(target, (list, dict)):
        return tuple(str(name) for name in target)
    return ()
