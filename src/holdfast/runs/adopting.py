"""A training that another run has done: taken over by a run that differs from it in what it is asked alone."""

from __future__ import annotations

import re
import shutil

from holdfast import files
from holdfast.config.loading import dump_config
from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError
from holdfast.methods.recipe import Recipe
from holdfast.runs.artifacts import load_artifacts
from holdfast.runs.divergence import FILE as DIVERGENCE
from holdfast.runs.fingerprint import FILE as BEGUN
from holdfast.runs.folder import RunFolder
from holdfast.runs.reading import Tasks
from holdfast.values import JSON

_ASKED = {"sources", "evaluate", "speed", "name"}
_LEFT = ("train.jsonl", "gradients.json", "ledger.json")
"""What a training leaves beside its artifact, its figures and its environment."""


def training_of(config: RunConfig) -> str | None:
    """The part of a configuration that its training hangs on, but for the contents of files, as text.

    Returns:
        ``None`` where the training is bound to what is asked: the recipe looks at sources, fuses what another run has
        trained, or is looked at while it trains.
    """
    if config.fuse is not None or config.evaluate.during is not None or Recipe(config).needs_sources:
        return None
    return _trained(dump_config(config))


def trained_in(run: RunFolder) -> str | None:
    """The same of a run folder that holds what was trained; ``None`` where there is nothing to take over.

    Text is compared, so that thousands of folders are looked through at once; what code of another version wrote, with
    fewer settings, is taken for another training.
    """
    if not (run.artifact / "artifact.json").is_file():
        return None
    try:
        return _trained(files.read_text(run.config))
    except HoldfastError:
        return None


def _trained(written: str) -> str:
    """A dumped configuration without its sections on what is asked and how fast."""
    return "".join(section for name, section in _sections(written).items() if name not in _ASKED)


def _sections(written: str) -> dict[str, str]:
    return {part.partition(":")[0]: part for part in re.split(r"^(?=\w+:)", written, flags=re.MULTILINE)}


def adopt(other: RunFolder, own: RunFolder, tasks: Tasks) -> bool:
    """Copy the training of ``other``, and its answers to the same questions, where the run would end in the same bits.

    Args:
        other: A run with the same :func:`training_of`.
        own: Where nothing was trained yet.
        tasks: Of the run.

    Returns:
        Whether it was so. It is not where the base, its processor or the examples have changed, where ``other`` is not
        whole, where items were left out, or where a method did not begin at the base (sources that are new would lack
        their answers before step 1).
    """
    assert tasks.target is not None
    try:
        then, now = (run.read_json(BEGUN, "format", "base_identity", "model", "tasks", "asked") for run in (other, own))
        same = all(then[part] == now[part] for part in ("format", "base_identity", "model"))
        trained_on = [task.name for task in (tasks.target, *tasks.mix)]
        same = same and all(then["tasks"].get(name) == now["tasks"][name] for name in trained_on)
        left_out = any(run.read_json("skipped.json") for run in (other, own))
        whole = all((other.path / name).is_file() for name in _LEFT)
        if not same or left_out or not whole or (other.path / "start").exists():
            return False
        load_artifacts(other.artifact)
        ways = [_sections(files.read_text(run.config)).get("evaluate") for run in (other, own)]
        environment: JSON = other.read_json("environment.json", "engaged")
        training: JSON = other.read_json("training.json", "steps", "seconds")
    except HoldfastError:  # damaged: it is trained anew
        return False
    for name in (*_LEFT, *([DIVERGENCE] if (other.path / DIVERGENCE).is_file() else [])):
        files.copy_file(other.path / name, own.path / name)
    environment["engaged"].pop("evaluation", None)
    own.write_json("environment.json", environment)
    own.write_json("training.json", training | {"adopted": other.path.name})
    for task in tasks.all:
        file, name = other.predictions(task.name), task.name
        # How drawn examples were asked is not recorded with them.
        alike = then["asked"].get(name) == now["asked"][name] if name in now["asked"] else ways[0] == ways[1]
        if file.is_file() and alike and then["tasks"].get(name) == now["tasks"][name]:
            files.copy_file(file, own.predictions(name))
    with files.folder_beside(own.artifact, replace=True, durable=True) as partial:
        shutil.copytree(other.artifact, partial, dirs_exist_ok=True)
    return True
