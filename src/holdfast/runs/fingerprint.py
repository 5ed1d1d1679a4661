"""What a run began with, by content, so that it is never resumed on another model or on other data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.config.schema import Evaluate, RunConfig
from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.importing import growing
from holdfast.models.loading import Loaded
from holdfast.ranks import here
from holdfast.runs.folder import RunFolder
from holdfast.tasks.drawn import PocketExamples
from holdfast.tasks.task import Task, contents_of
from holdfast.values import JSON

FILE = "begun.json"
FORMAT = 2
"""Format 1 knew pictures by name and size, and said nothing of processor, tokenizer, template and generation."""


@growing()
def check_fingerprint(folder: RunFolder, loaded: Loaded, tasks: Sequence[Task], settings: Evaluate) -> None:
    """Record the model and the examples of a run, or refuse if they are not those it began with.

    Raises:
        HoldfastError: The weights, something else that answers depend on, or the examples of a task have changed.
    """
    now: JSON = {
        "format": FORMAT,
        "base_identity": loaded.identity,
        "model": loaded.setup,
        "tasks": {task.name: _parts(task) for task in tasks},
        # What was asked, for a comparison with answers of another run.
        "asked": {
            task.name: task.asked(settings.max_new_tokens, settings.options)
            for task in tasks
            if not isinstance(task.test, PocketExamples)
        },
    }
    _check_alike(now, loaded, tasks)
    if folder.has_work and (folder.path / FILE).exists():
        then = folder.read_json(FILE, "base_identity", "tasks")
        _check_form(then, folder.path / FILE)
        changed = _changed(then, now, loaded, tasks)
        if changed is not None:
            remedy = "bring back what it began with, or choose another --out"
            raise HoldfastError(f"{changed} since the run began", file=folder.path, remedy=remedy)
        if then.get("format") == FORMAT:
            return
    folder.write_json(FILE, now)


def check_same_recipe(config: RunConfig) -> None:
    """Of several processes, that they are at one run.

    Raises:
        HoldfastError: This one has another configuration than the first.
    """
    ranks = here()
    if ranks.same(config) != config:
        raise HoldfastError(
            f"process {ranks.rank} has another recipe than process 0 of the same run",
            remedy="give every process the same command",
        )


def _check_alike(now: JSON, loaded: Loaded, tasks: Sequence[Task]) -> None:
    """That every process of a run has the model and the examples of the first; it is asked at the same time."""
    ranks = here()
    differs = _changed(ranks.same(now), now, loaded, tasks)
    if differs is not None:
        what = differs.replace("have changed", "differ").replace("has changed", "differs")
        raise HoldfastError(
            f"process {ranks.rank} began with something else than process 0 of the same run: {what}",
            remedy="give every machine the same files",
        )


def _check_form(then: Any, file: Path) -> None:
    if not isinstance(then["tasks"], dict) or then.get("format", 1) not in (1, FORMAT):
        raise HoldfastError(
            "this does not say in a known way what the run began with",
            file=file,
            remedy=f"delete {file.parent} to begin anew",
        )


def _changed(then: JSON, now: JSON, loaded: Loaded, tasks: Sequence[Task]) -> str | None:
    """What is another than it was, as a clause; None if nothing is."""
    if not loaded.known_as(then["base_identity"]):
        return f"the weights of the model have changed ({then['base_identity']}, now {loaded.identity})"
    before = then.get("model", {})
    for part, digits in now["model"].items():
        if before.get(part, digits) != digits:
            plural = "have" if part.endswith("s") else "has"
            return f"the {part} of the model {plural} changed"
    for task in tasks:
        recorded = then["tasks"].get(task.name)
        if not isinstance(recorded, dict):
            if recorded != _digest_by_size(task):
                return f"the examples of '{task.name}' have changed"
            continue
        for part, digits in now["tasks"][task.name].items():
            if recorded.get(part) != digits:
                return f"the {part} of '{task.name}' have changed"
    return None


def _parts(task: Task) -> dict[str, str]:
    """What a task is made of, sixteen digits each."""
    texts, pictures = hashlib.sha256(), hashlib.sha256()
    for part in (task.train, task.validation, task.test):
        texts.update(str(len(part)).encode())
        if isinstance(part, PocketExamples):  # most of them may never be needed
            texts.update(part.key.encode())
            continue
        for example, contents in zip(part, contents_of(part), strict=True):
            texts.update(repr((example.id, example.system, example.turns, example.choices)).encode())
            pictures.update(b"".join(contents) + b"|")
    scoring = hashlib.sha256(f"{task.metric}:{task.variant}:{task.max_new_tokens}".encode())
    return {
        "pictures": pictures.hexdigest()[:16],
        "questions or answers": texts.hexdigest()[:16],
        "scoring rules": scoring.hexdigest()[:16],
    }


def _digest_by_size(task: Task) -> str:
    """What format 1 recorded."""
    digest = hashlib.sha256(f"{task.metric}:{task.variant}".encode())
    for part in (task.train, task.validation, task.test):
        digest.update(str(len(part)).encode())
        if isinstance(part, PocketExamples):
            digest.update(part.key.encode())
            continue
        for example in part:
            digest.update(repr((example.id, example.turns, example.choices, _sizes(example))).encode())
            digest.update(example.system.encode())
    return digest.hexdigest()[:16]


def _sizes(example: Example) -> list[str | int]:
    files = [image for image in example.images if isinstance(image, Path)]
    return [example.image_key if not files else "", *(part for f in files for part in (f.name, f.stat().st_size))]
