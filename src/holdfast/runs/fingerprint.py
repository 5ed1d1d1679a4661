"""What a run began with, so that it is never resumed on another model or on other data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.runs.folder import RunFolder
from holdfast.tasks.drawn import PocketExamples
from holdfast.tasks.task import Task

FILE = "begun.json"


def check_fingerprint(folder: RunFolder, identity: str, tasks: Sequence[Task]) -> None:
    """Record the base weights and the examples of a run, or refuse if they are not those it began with.

    Raises:
        HoldfastError: The weights of the model, or the examples of a task, have changed since.
    """
    digests = {task.name: _digest(task) for task in tasks}
    if not folder.has_work or not (folder.path / FILE).exists():
        folder.write_json(FILE, {"base_identity": identity, "tasks": digests})
        return
    then = folder.read_json(FILE, "base_identity", "tasks")
    remedy = "bring back what it began with, or choose another --out"
    if then["base_identity"] != identity:
        raise HoldfastError(
            f"the run began on other weights ({then['base_identity']}) than the model has now ({identity})",
            file=folder.path,
            remedy=remedy,
        )
    changed = [name for name, digest in digests.items() if then["tasks"].get(name) != digest]
    if changed:
        raise HoldfastError(
            f"the examples of '{changed[0]}' have changed since the run began", file=folder.path, remedy=remedy
        )


def _digest(task: Task) -> str:
    digest = hashlib.sha256(f"{task.metric}:{task.variant}".encode())
    for part in (task.train, task.validation, task.test):
        digest.update(str(len(part)).encode())
        if isinstance(part, PocketExamples):  # most of them may never be needed
            digest.update(part.key.encode())
            continue
        for example in part:
            digest.update(repr((example.id, example.turns, example.choices, _images(example))).encode())
            digest.update(example.system.encode())
    return digest.hexdigest()[:16]


def _images(example: Example) -> list[str | int]:
    """Names and sizes of files; drawn pixels stand in the key. Times would change with every copy."""
    files = [image for image in example.images if isinstance(image, Path)]
    return [example.image_key if not files else "", *(part for f in files for part in (f.name, f.stat().st_size))]
