"""One tensor under two names: what a checkpoint calls it, and what the model's modules call it.

transformers renames while it loads, so two folders that it loads as the same tensors may name them otherwise: the
published checkpoint by the names of the release, a saved one by those of the modules, a head that is tied to the
embeddings twice or once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from holdfast.errors import HoldfastError
from holdfast.models.checkpoint import Checkpoint

_PIECE = 1 << 20
"""Values that are compared at once."""


def same_names(base: Checkpoint, tuned: Checkpoint) -> Checkpoint:
    """``tuned`` with the names of ``base``, where both stand for the same tensors of the model.

    Names that agree are left alone, and nothing heavy is imported then.

    Raises:
        HoldfastError: The folders hold other tensors, or their configuration makes no model.
    """
    if base.entries.keys() == tuned.entries.keys():
        return tuned
    name_of = _naming(base.place)
    theirs: dict[str, str] = {}
    for name in tuned.entries:
        twin = theirs.setdefault(name_of(name), name)
        if twin != name and len(base.entries) < len(tuned.entries) and not _equal(tuned, twin, name):
            raise HoldfastError(
                f"'{twin}' and '{name}' differ in {tuned.place}, and {base.place} has one tensor for both",
                remedy="save the base with both and tie_word_embeddings false in its config.json, then fuse again",
            )
    wanted = {name: name_of(name) for name in base.entries}
    for name, canonical in wanted.items():
        if canonical not in theirs:
            raise HoldfastError(
                f"'{name}' stands in {base.place} and not in {tuned.place}",
                remedy="fuse models that were tuned from this base",
            )
    known = set(wanted.values())
    extra = next((name for canonical, name in theirs.items() if canonical not in known), None)
    if extra is not None:
        raise HoldfastError(
            f"'{extra}' stands in {tuned.place} and not in {base.place}",
            remedy="fuse models that were tuned from this base",
        )
    return tuned.renamed({name: theirs[canonical] for name, canonical in wanted.items()})


def _equal(held: Checkpoint, one: str, other: str) -> bool:
    if held.shape(one) != held.shape(other):
        return False
    size = held.size(one)
    return all(
        torch.equal(held.read(one, at, min(at + _PIECE, size)), held.read(other, at, min(at + _PIECE, size)))
        for at in range(0, size, _PIECE)
    )


def _naming(place: Path) -> Callable[[str], str]:
    """From a stored name to the module's; a tied head is the embeddings."""
    from transformers import AutoConfig, AutoModelForImageTextToText
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, apply_renamings

    folder = place if place.is_dir() else place.parent
    try:
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config)
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        raise HoldfastError(
            "the models name their tensors differently, and the configuration to tell them apart makes no model",
            file=folder,
            remedy="save both with the same version of transformers, or put config.json beside the weights",
        ) from error
    renamings = [one for one in get_model_conversion_mapping(model) if isinstance(one, WeightRenaming)]
    tied = dict(getattr(model, "all_tied_weights_keys", None) or {})
    prefix = model.base_model_prefix
    modules = set(model.state_dict())

    def name_of(stored: str) -> str:
        name = str(apply_renamings(stored, renamings))
        if name not in modules:  # saved from the model without its head, or with it
            inner, outer = name.removeprefix(f"{prefix}."), f"{prefix}.{name}"
            name = inner if inner in modules else outer if outer in modules else name
        return str(tied.get(name, name))

    return name_of
