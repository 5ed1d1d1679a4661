"""The run folder: what stands where, written beside its final name and renamed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast import files
from holdfast.config.loading import dump_config, load_config
from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError
from holdfast.ranks import here
from holdfast.values import JSON
from holdfast.verdict.entry import read_entry

_AGAIN = "delete this file and give the same command again"
_AFTER_DAMAGE = {
    "scores.json": f"{_AGAIN}; the scores are made anew from the predictions",
    "ledger.json": f"{_AGAIN}; it is taken from the artifact",
    "begun.json": f"if model and data are those the run began with, {_AGAIN}; otherwise choose another --out",
    "training.json": "delete it and the folder 'artifact', and give the same command again, which trains anew",
    "environment.json": _AGAIN,
    "divergence.json": _AGAIN,
    "evaluation.json": "delete its folder and give the same command again",
}
"""What a person can do about a file that cannot be mended from others."""


class RunFolder:
    """One run is one folder, and the folder is the truth."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def artifact(self) -> Path:
        """What training changed."""
        return self.path / "artifact"

    @property
    def scores(self) -> Path:
        """The scorecard; a run that has one is finished."""
        return self.path / "scores.json"

    @property
    def has_work(self) -> bool:
        """Whether training or evaluation has left anything; if so, the folder belongs to its configuration."""
        made = ("train.jsonl", "checkpoint", "checkpoint.old", "artifact", "predictions", "scores.json")
        return any((self.path / name).exists() for name in made)

    def predictions(self, task: str) -> Path:
        """The tuned model's answers to one task."""
        return self.path / "predictions" / f"{safe_name(task)}.jsonl"

    def start_predictions(self, task: str) -> Path:
        """Answers before step 1 of a model whose method does not begin at the base."""
        return self.path / "start" / "predictions" / f"{safe_name(task)}.jsonl"

    def base_predictions(self, task: str) -> Path:
        """The untouched base's answers to the same items."""
        return self.path / "base" / "predictions" / f"{safe_name(task)}.jsonl"

    def begin(self, config: RunConfig) -> None:
        """Make the folder, or check that it holds the same run.

        A folder in which nothing was trained yet takes a new configuration: the first try may have held a mistake.
        Other speed-ups are no other run: they change no result, and the machine may be another today. Nor is another
        name.

        Raises:
            HoldfastError: Another configuration, or something that is not a run, stands there.
        """
        with here().in_turn():
            self._begin(config)

    def _begin(self, config: RunConfig) -> None:
        if self.config.exists():
            before = load_config(self.config)
            if before == config:
                return
            if self.has_work and before.model_copy(update={"speed": config.speed, "name": config.name}) != config:
                raise HoldfastError(
                    "the folder holds a run of another configuration",
                    file=self.path,
                    remedy="choose another --out, or delete it",
                )
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise HoldfastError("this exists and is not a Holdfast run", file=self.path, remedy="choose another --out")
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_text(self.config, dump_config(config))

    def write_json(self, name: str, value: Any) -> None:
        """Write ``name`` in one rename; of several processes the first does."""
        if here().first:
            files.write_json(self.path / name, value)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out of the folder for the length of the block; the first process of a run holds it for all.

        Raises:
            HoldfastError: Another process works in it; the sentence names that one.
        """
        if not here().first:
            yield
            return
        place = self.path.absolute()
        place = place.parent.resolve() / place.name
        with files.locked(place.parent / ".base" / "locks" / f"{place.name}.lock", what=str(self.path)):
            if place.is_dir():
                files.sweep(place)
            yield

    def read_json(self, name: str, *keys: str) -> Any:
        """Read ``name``; with ``keys``, an object that has them.

        Raises:
            HoldfastError: Missing or damaged; the sentence says what to delete.
        """
        if not (self.path / name).exists():
            raise HoldfastError(f"{name} is missing", file=self.path, remedy="is this a finished run?")
        problem = "a key is missing"
        try:
            found = files.read_json(self.path / name)
            if not keys or (isinstance(found, dict) and all(key in found for key in keys)):
                return found
        except HoldfastError as error:
            problem = error.problem
        raise HoldfastError(f"the file is damaged ({problem})", file=self.path / name, remedy=_AFTER_DAMAGE.get(name))

    def entry(self) -> JSON:
        """What the run came to: its entry of ``scores.json``.

        Raises:
            HoldfastError: Missing, damaged or edited into something else; the sentence says what to delete.
        """
        recipes = self.read_json("scores.json", "recipes")["recipes"]
        return read_entry(recipes, self.path / "scores.json", remedy=_AFTER_DAMAGE["scores.json"])

    def append(self, name: str, record: JSON) -> None:
        """Add one line to a JSON Lines file; of several processes the first does."""
        if not here().first:
            return
        finite = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in record.items()}
        files.append_line(self.path / name, finite)


def safe_name(task: str) -> str:
    """A task's name as a file name that cannot leave its folder."""
    cleaned = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in task).lstrip(".")
    return cleaned or "task"
