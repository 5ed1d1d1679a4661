"""The frozen-feature cache: fill it ahead of training, then take batches from it instead of running the tower."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import torch

from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.files import locked
from holdfast.models.loading import Loaded
from holdfast.speed.decision import NotPossible
from holdfast.speed.features import files
from holdfast.speed.features.digests import group, image_set
from holdfast.speed.features.eviction import LEFT_FREE, Eviction
from holdfast.speed.features.extract import Extractor, Stage
from holdfast.speed.features.folder import LOCK, SUFFIX, GroupCard, Verification, remove, sweep, touch
from holdfast.speed.features.images import CachedImages
from holdfast.speed.features.tap import check_forward
from holdfast.speed.features.towers import inside, towers
from holdfast.speed.features.verify import verify
from holdfast.values import Keywords


class FeatureCache:
    """Features of one model at one stage.

    Frozen parts are run in evaluation mode: where a tower has dropout, the plain path of a training step would draw
    noise that features do not have.

    Attributes:
        stage: ``connector`` where that is frozen too, else ``tower``.
        note: Why not everything could be stored, as a sentence; None while all is well.
    """

    def __init__(self, loaded: Loaded, stage: Stage, folder: Path, cap: int, name: str, autocast: Keywords) -> None:
        self.stage: Stage = stage
        self.note: str | None = None
        self._loaded, self._folder, self._cap = loaded, folder, cap
        self._group, self._autocast = folder / name, autocast
        self._verified = Verification.read(self._group)
        self._extractor = Extractor(loaded.model, loaded.anatomy, stage, self._verified.fields)
        self._needed: set[Path] = set()
        self._trusted: set[Path] = set()
        self._eviction = Eviction(folder, cap, self._needed.__contains__)

    @classmethod
    def open(cls, loaded: Loaded, frozen: Collection[str], *, folder: Path, cap: int) -> FeatureCache:
        """The cache for ``loaded`` under a recipe that leaves ``frozen`` components as they are.

        Opened inside autocast, features are made and kept as that precision makes them. All weights of the components
        concerned are read once.

        Args:
            loaded: The model; its frozen components as they will be used.
            frozen: Names of components.
            folder: Of the whole cache; made when the first features are stored.
            cap: Bytes that the whole folder may take.

        Raises:
            NotPossible: The vision encoder trains, or the family has no place for features.
        """
        model, anatomy = loaded.model, loaded.anatomy
        if "vision" not in frozen:
            raise NotPossible("the vision encoder trains, so what it says of an image changes at every step")
        check_forward(model)
        whole = "connector" in frozen or not anatomy.connector.parameters
        if not whole and inside(model, anatomy):
            raise NotPossible("its connector trains and stands inside the vision encoder")
        if not whole and not towers(model, anatomy):
            raise NotPossible("its vision encoder is not a module of its own")
        kind = loaded.device.type
        enabled = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind)
        autocast = {"device_type": kind, "dtype": dtype, "enabled": enabled}
        stage: Stage = "connector" if whole else "tower"
        parts = ("vision", "connector") if whole else ("vision",)
        name = group(loaded, stage, parts, {"autocast": str(dtype) if enabled else "off"})
        return cls(loaded, stage, folder, cap, name, autocast)

    def missing(self, examples: Sequence[Example]) -> list[Example]:
        """One example for every distinct image set whose features are not stored whole."""
        found: dict[Path, Example] = {}
        known: set[Path] = set()
        for example in examples:
            if not example.images:
                continue
            path = self._path(example)
            if path in known or path in found:
                continue
            if files.is_whole(path):
                known.add(path)
                touch(path)
            else:
                found[path] = example
        return list(found.values())

    def fill(self, examples: Sequence[Example], *, advance: Callable[[int], None] | None = None) -> None:
        """Compute and store what is missing, each image set by itself. May be interrupted: what is done stays.

        Where the cap would need features of this very run to go, or the disk is nearly full, filling stops and
        :attr:`note` says so; the rest is to be computed as it is used.

        Args:
            examples: Those of the run; all of them, so that none is taken for old.
            advance: Told the number of image sets done.

        Raises:
            NotPossible: The family makes its features in a way that cannot be cut out.
        """
        advance = advance or (lambda count: None)
        missing = self.missing(examples)
        sweep(self._folder)
        for index, example in enumerate(missing):
            path = self._path(example)
            if not files.is_whole(path) and not self._store(path, self._take(example)):  # another process may be faster
                advance(len(missing) - index)
                return
            advance(1)

    def check(self, examples: Sequence[Example]) -> None:
        """Prove on up to two examples in one batch that features change nothing and are looked at.

        A proof stands beside the features and holds for what they hold for: these weights, settings and versions.

        Raises:
            NotPossible: The logits differ from the plain path's, or do not depend on the features.
        """
        chosen: dict[Path, Example] = {}
        for example in examples:
            if example.images and len(chosen) < 2:
                chosen.setdefault(self._path(example), example)
        rows = list(chosen.values())
        if len(rows) <= self._verified.rows:
            return
        self.fill(rows)
        cached = self.batch(rows)
        if cached is None:  # no room for even these
            cached = CachedImages(self.stage, tuple(self._take(row) for row in rows), self._loaded.device)
        batch = self._loaded.chat.encode(rows, with_answers=False)
        with torch.autocast(**self._autocast):
            verify(self._loaded.model, self._here(batch), cached.to(self._loaded.device))
        self._verified = Verification(len(rows), self._extractor.read)
        if self._group.is_dir():
            self._verified.write(self._group)

    def batch(self, examples: Sequence[Example]) -> CachedImages | None:
        """Features of the rows of one batch, mapped into memory; None when they have no images or one is not stored."""
        records: dict[Path, files.FeatureRecord] = {}
        rows = [self._path(example) for example in examples if example.images]
        for path in rows:
            if path not in records:
                record = self._read(path)
                if record is None:
                    return None
                records[path] = record
        if not rows:
            return None
        made = CachedImages(self.stage, tuple(records[path] for path in rows), torch.device("cpu"))
        return made if made.fits() else None

    def _path(self, example: Example) -> Path:
        path = self._group / f"{image_set(example)}{SUFFIX}"
        self._needed.add(path)
        return path

    def _read(self, path: Path) -> files.FeatureRecord | None:
        """A record whose values are compared with their checksum the first time that this process reads it."""
        record = files.read(path, trusted=path in self._trusted)
        if record is None:
            self._trusted.discard(path)
            remove(path)
        elif path not in self._trusted:
            self._trusted.add(path)
            touch(path)
        return record

    def _take(self, example: Example) -> files.FeatureRecord:
        inputs = self._here(self._loaded.chat.encode([example], with_answers=False))
        try:
            with torch.autocast(**self._autocast):
                return self._extractor.extract(inputs)
        except HoldfastError:
            raise
        except Exception as error:  # the plain path may still work: Mistral 3 fails on one image of one token alone
            reason = f"its code fails on the images of '{example.id}' alone ({type(error).__name__}: {error})"
            raise NotPossible(reason) from error

    def _here(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {key: value.to(self._loaded.device) for key, value in inputs.items()}

    def _store(self, path: Path, record: files.FeatureRecord) -> bool:
        content = files.encode(record.spec, record.tensors)
        try:
            # One process at a time counts, makes room and writes, so that two together do not outgrow the cap.
            with locked(self._folder / LOCK, what="the feature cache", wait=lambda holder: None, named=False):
                if not self._eviction.make(len(content)):
                    self.note = self._no_room()
                    return False
                self._card().write(self._group)
                files.write(path, content)
        except HoldfastError as error:
            self.note = f"The feature cache {self._folder} has no more room ({error.problem}); the rest is computed."
            return False
        return True

    def _no_room(self) -> str:
        if self._eviction.short_of_disk:
            return (
                f"The disk of the feature cache {self._folder} has less than {LEFT_FREE / 1e9:g} GB left; they stay "
                "free for the run. The rest is computed at every use; make room to keep it."
            )
        return (
            f"The feature cache is full: {self._cap / 1e9:g} GB do not hold all images of this run. "
            "The rest is computed at every use; raise the cap to keep them."
        )

    def _card(self) -> GroupCard:
        import transformers

        model = self._loaded.model
        weight = next(iter(self._loaded.anatomy.vision.parameters.values()))
        dtype = self._autocast["dtype"] if self._autocast["enabled"] else weight.dtype
        name = str(dtype).removeprefix("torch.")
        return GroupCard(self._loaded.name, type(model).__name__, self.stage, name, transformers.__version__)
