"""Holdfast's own layouts: prediction files, and the run folder, which also says what its target was."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.predictions.columns import FIELDS, Columns
from holdfast.predictions.file import OWN_COLUMNS, read_predictions
from holdfast.predictions.layout import FolderLayout, Layout, reading_of
from holdfast.predictions.reading import Ask, Look, Reading

_MARKS = {"task", "references", "metric", "score"}
_HOLD = (".jsonl", ".json", ".xlsx", ".tsv", ".csv")
_KNOWN = {*FIELDS, "extra"}


def fits(look: Look) -> bool:
    """Records that call their id and prediction so, and hold nothing that a prediction file does not."""
    return look.has("id prediction") and bool(_MARKS & look.keys) and look.keys <= _KNOWN


def read(look: Look, ask: Ask) -> Reading:
    """One prediction file."""
    columns = Columns(OWN_COLUMNS, file=look.path, scale=ask.scale)
    return reading_of(look, "Holdfast predictions", columns.predictions(look.rows()))


def passes_over(name: str, beside: Collection[str], judges: bool) -> bool:
    """Settings and totals of a run."""
    return name in ("config.json", "scores.json", "comparison.json", "evaluation.json", "ledger.json")


def is_run(path: Path) -> bool:
    """Whether a folder holds predictions as a run leaves them."""
    return (path / "predictions").is_dir()


def read_run(path: Path, ask: Ask) -> Reading:
    """A run folder (``predictions/*.jsonl``) or its ``base`` part.

    Raises:
        HoldfastError: No prediction files, or two of one task.
    """
    files = sorted((path / "predictions").glob("*.jsonl"))
    if not files:
        raise nothing_in(path)
    reading = Reading(name=str(path), recognised="", tasks={}, targets=targets_of(path))
    for file in files:
        predictions = read_predictions(file)
        task = predictions[0].task or file.stem
        if task in reading.tasks:
            raise HoldfastError(f"the task '{task}' stands in two files of the folder", file=file)
        reading.tasks[task] = predictions
    reading.recognised = f"Holdfast run folder, {len(files)} {'task' if len(files) == 1 else 'tasks'}"
    # Drawn images stand once for all runs of a model, beside the run folders; RUN/base is one level deeper.
    drawn = (place / ".base" / "images" for place in (path.parent, path.parent.parent))
    reading.asked = _asked(path)
    reading.roots = (path / "images", path.parent / "images", *drawn, path)
    return reading


def _asked(path: Path) -> dict[str, dict[str, str]]:
    """What a run or an evaluation recorded of its questions; nothing where it is older or the record is damaged."""
    for place in (path, path.parent) if path.name in ("base", "start") else (path,):
        for name in ("begun.json", "evaluation.json"):
            with suppress(HoldfastError):
                found = read_json(place / name)
                asked = found.get("asked") if isinstance(found, dict) else None
                if isinstance(asked, dict):
                    return {str(task): facts for task, facts in asked.items() if isinstance(facts, dict)}
    return {}


def nothing_in(path: Path) -> HoldfastError:
    """The error for a folder without predictions, which names folders inside that have some."""
    inner = sorted(str(found.parent) for found in path.glob("*/predictions"))
    if not inner:  # lmms-eval and VLMEvalKit put a folder a model, and one a run, below the one that is named to them
        files = (*path.glob("*/*.*"), *path.glob("*/*/*.*"))
        inner = sorted({str(file.parent) for file in files if file.suffix in _HOLD})
    remedy = f"did you mean {', '.join(inner[:6])}?" if inner else "a run folder holds predictions/<task>.jsonl"
    return HoldfastError("the folder holds no prediction files", file=path, remedy=remedy)


def targets_of(run: Path) -> tuple[str, ...]:
    """The target tasks a run folder declares in ``scores.json``, else in ``config.yaml``; none if it does not."""
    scores = run / "scores.json"
    if scores.is_file():
        content = read_json(scores)
        recipes = content.get("recipes", {}) if isinstance(content, dict) else {}
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


LAYOUTS = (
    Layout("Holdfast predictions", fits, read, passes_over=passes_over),
    FolderLayout("Holdfast run folder", is_run, read_run),
)
