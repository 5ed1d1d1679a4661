"""Where a run's model and tasks come from: loaded anew, or from what the last run of the same process has loaded."""

from __future__ import annotations

import copy
from pathlib import Path

from holdfast.config.schema import RunConfig
from holdfast.events import Listener
from holdfast.models.loading import Loaded, load_model, weights_in
from holdfast.runs.reading import Tasks, read_tasks

LARGEST = 1 << 28
"""Bytes of a model of which an untouched copy is kept; a larger one is loaded again, from the system's file cache."""


class Shelf:
    """Gives every run a model and tasks of its own, loaded for it."""

    def model(self, config: RunConfig) -> Loaded:
        """The untouched base.

        Raises:
            HoldfastError: As :func:`holdfast.models.loading.load_model`.
        """
        return load_model(
            config.model,
            dtype=weights_in(config.train),
            trust_remote_code=config.trust_remote_code,
            attention=config.speed.attention,
            load=config.load,
        )

    def tasks(self, config: RunConfig, base: Path, listen: Listener) -> Tasks:
        """What the configuration names.

        Raises:
            HoldfastError: As :func:`holdfast.runs.reading.read_tasks`.
        """
        return read_tasks(config, base, listen)


NO_SHELF = Shelf()


class KeepingShelf(Shelf):
    """Keeps the last model and the last tasks for runs of one process that follow each other.

    A run changes its model. Each therefore gets a copy of a model that nothing has touched, with the digest of its
    weights, which is then taken once; processor and template are read only and shared.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self.largest = largest
        self._model: tuple[tuple[object, ...], Loaded] | None = None
        self._tasks: dict[str, Tasks] = {}

    def model(self, config: RunConfig) -> Loaded:
        """A copy of the kept model, where it is this one."""
        if config.load.bits is not None:  # packed matrices are the library's own objects: not copied, loaded
            return super().model(config)
        wanted = (config.model, weights_in(config.train), config.trust_remote_code, config.speed.attention)
        if self._model is None or self._model[0] != wanted:
            self._model = None  # two large models at once may be one too many
            loaded = super().model(config)
            if sum(part.numel() * part.element_size() for part in loaded.model.parameters()) > self.largest:
                return loaded
            loaded.identity, loaded.setup  # noqa: B018 - taken once, and copied with the rest
            self._model = (wanted, loaded)
        kept = self._model[1]
        return copy.deepcopy(kept, {id(kept.chat): kept.chat})

    def tasks(self, config: RunConfig, base: Path, listen: Listener) -> Tasks:
        """The kept tasks, where they are these; files are read once a process."""
        parts = config.model_dump_json(exclude={"model", "tune", "fuse", "train", "speed", "load", "name"})
        wanted = f"{base.resolve()} {parts}"
        if wanted not in self._tasks:
            self._tasks = {wanted: super().tasks(config, base, listen)}
        return self._tasks[wanted]
