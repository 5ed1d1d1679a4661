"""Fuse model folders on disk, a piece at a time, into a folder of the base's layout.

Every output file takes over the header of the base's file byte for byte, so names, types, shapes and order are the
base's; the values follow in pieces of at most :data:`holdfast.methods.fusion.base.PIECE`. Memory is that of a few
pieces and of one threshold's histograms, whatever the size of the model: far below its largest shard. A fusion that
decomposes matrices holds one tensor of every model instead.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.files import folder_beside, read_json, write_json
from holdfast.methods.fusion.base import PIECE, Fusion, check_experts, generator_of, pieces
from holdfast.models.checkpoint import Checkpoint, Entry
from holdfast.models.stored_names import same_names
from holdfast.values import JSON

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".msgpack", ".h5", ".npz")
"""Files that hold weights; every other file of the base's folder is copied."""

_ARCHITECTURE = ("model_type", "architectures")


def fuse_folders(
    base: Path,
    tuned: Sequence[Path],
    fusion: Fusion,
    out: Path,
    *,
    seed: int = 0,
    names: Sequence[str] | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> JSON:
    """Write the fused model.

    Args:
        base: The base's folder.
        tuned: Folders of models tuned from it.
        fusion: What to do.
        out: The folder to write; it must not exist.
        seed: Of the fusion's random choices.
        names: What the tuned models are called in ``fusion.json``; default: by their folders.
        advance: Hears how many values of how many are written.

    Returns:
        What is written to ``fusion.json``.

    Raises:
        HoldfastError: ``out`` is not free, the models differ in architecture, names or shapes, or the fusion cannot
            work on folders.
    """
    if out.exists():
        raise HoldfastError(f"{out} exists already", remedy="choose another --out")
    if fusion.needs_data:
        raise HoldfastError(
            f"fusion '{fusion.card.name}' looks at training examples, which folders of weights do not have",
            remedy="write it under fuse: in a recipe",
        )
    check_experts(fusion, len(tuned))
    own, others = Checkpoint(base), [Checkpoint(folder) for folder in tuned]
    others = [same_names(own, other) for other in others if check_architecture(own, other)]
    for other in others:
        check_same(own, other)
    numbers = _Floats(own)
    fusion.begin(lambda: pieces(numbers, others, whole=fusion.unit == "matrix"))
    with folder_beside(out) as partial:
        total, done = sum(own.size(name) for name in own.names()), 0
        for file in own.files:
            with (partial / file.name).open("wb") as stream:
                stream.write(own.headers[file])
                for name, entry in own.entries.items():
                    if entry.file == file:
                        for values in _fused(name, entry, own, others, fusion, seed):
                            stream.write(values.view(torch.uint8).numpy().data)
                            done += len(values)
                            advance(done, total)
        _copy_the_rest(base, partial)
        record = {
            "fusion": fusion.card.name,
            "options": fusion.options.model_dump(mode="json"),
            "seed": seed,
            "base": str(base),
            "tuned": list(names) if names is not None else [str(folder) for folder in tuned],
        }
        write_json(partial / "fusion.json", record)
    return record


@dataclass(frozen=True)
class _Floats:
    """The tensors of a checkpoint that hold real numbers."""

    checkpoint: Checkpoint

    def names(self) -> list[str]:
        return [name for name, entry in self.checkpoint.entries.items() if entry.dtype.is_floating_point]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.checkpoint.shape(name)

    def read(self, name: str, begin: int, end: int) -> Tensor:
        return self.checkpoint.read(name, begin, end)


@dataclass(frozen=True)
class _One:
    """One tensor of a checkpoint."""

    checkpoint: Checkpoint
    name: str

    def names(self) -> list[str]:
        return [self.name]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.checkpoint.shape(name)

    def read(self, name: str, begin: int, end: int) -> Tensor:
        return self.checkpoint.read(name, begin, end)


def _fused(
    name: str, entry: Entry, own: Checkpoint, others: Sequence[Checkpoint], fusion: Fusion, seed: int
) -> Iterator[Tensor]:
    """The new values of one tensor in pieces, in the base's type."""
    if entry.dtype.is_floating_point:
        generator = generator_of(seed, name)
        for piece in pieces(_One(own, name), others, whole=fusion.unit == "matrix"):
            yield fusion.combine(piece, generator).to(entry.dtype)
        return
    for begin in range(0, entry.size, PIECE):
        values = own.read(name, begin, min(begin + PIECE, entry.size))
        if any(not torch.equal(values, other.read(name, begin, begin + len(values))) for other in others):
            raise HoldfastError(
                f"'{name}' holds whole numbers that differ between the models", remedy="fuse models of one base"
            )
        yield values


def check_architecture(base: Checkpoint, tuned: Checkpoint) -> bool:
    """Refuse models of another architecture; nothing is said where a configuration is missing.

    Raises:
        HoldfastError: With the first difference.
    """
    remedy = "fuse models that were tuned from this base"
    one, other = _config(base.place), _config(tuned.place)
    for key in _ARCHITECTURE:
        if key in one and key in other and one[key] != other[key]:
            raise HoldfastError(
                f"{key} is {one[key]} in {base.place} and {other[key]} here", file=tuned.place, remedy=remedy
            )
    return True


def check_same(base: Checkpoint, tuned: Checkpoint) -> None:
    """Refuse tensors of other shapes or kinds.

    Raises:
        HoldfastError: With the first difference.
    """
    remedy = "fuse models that were tuned from this base"
    for name in sorted(base.entries):
        if base.entries[name].shape != tuned.entries[name].shape:
            shapes = f"{list(base.entries[name].shape)} in the base and {list(tuned.entries[name].shape)} here"
            raise HoldfastError(f"'{name}' is {shapes}", file=tuned.place, remedy=remedy)
        if base.entries[name].dtype.is_floating_point != tuned.entries[name].dtype.is_floating_point:
            raise HoldfastError(
                f"'{name}' holds another kind of number than in the base", file=tuned.place, remedy=remedy
            )


def _config(place: Path) -> JSON:
    file = place / "config.json"
    if not file.is_file():
        return {}
    found = read_json(file)
    return found if isinstance(found, dict) else {}


def _copy_the_rest(base: Path, out: Path) -> None:
    """Configuration, tokenizer, processor, index, licence: every plain file of the base that holds no weights."""
    if not base.is_dir():
        return
    for file in sorted(base.iterdir()):
        if file.is_file() and not file.name.startswith(".") and file.suffix not in _WEIGHTS:
            shutil.copyfile(file, out / file.name)
