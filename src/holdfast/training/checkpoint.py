"""Exact resume: everything that step k + 1 depends on, in safetensors and JSON, replaced in one rename."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from holdfast import files
from holdfast.errors import HoldfastError
from holdfast.methods.recipe import Recipe

_FOLDER = "checkpoint"


@dataclass
class Progress:
    """Where a run stands: finished steps, seconds spent, and the history of validation."""

    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    worse: int = 0
    stopped: bool = False


def save_checkpoint(run: Path, recipe: Recipe, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write the checkpoint beside its final name and swap it in."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in recipe.named_trainable().items():
        tensors[f"trainable:{name}"] = parameter.detach()
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer:{key}:{name}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    tensors |= {f"state:{name}": tensor for name, tensor in recipe.state().items()}
    tensors["random:cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random:cuda"] = torch.cuda.get_rng_state()
    plain = {name: tensor.contiguous().cpu().clone() for name, tensor in tensors.items()}
    with files.folder_beside(run / _FOLDER, replace=True, durable=True) as partial:
        save_file(plain, partial / "tensors.safetensors")
        files.write_json(partial / "progress.json", vars(progress), indent=None)


def load_checkpoint(run: Path, recipe: Recipe, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Continue from the checkpoint of ``run`` if there is one; ``recipe`` must be attached.

    Raises:
        HoldfastError: The checkpoint is damaged or belongs to another recipe.
    """
    folder = run / _FOLDER
    files.heal_folder(folder)
    if not (folder / "progress.json").exists():
        return None
    try:
        tensors = load_file(folder / "tensors.safetensors")
        progress = Progress(**files.read_json(folder / "progress.json"))
    except Exception as error:  # safetensors raises its own type, which it does not export
        raise _damaged(folder) from error
    groups: dict[str, dict[str, Any]] = {"trainable": {}, "optimizer": {}, "state": {}, "random": {}}
    for key, tensor in tensors.items():
        group, _, name = key.partition(":")
        groups[group][name] = tensor
    trainable = recipe.named_trainable()
    if set(groups["trainable"]) != set(trainable):
        raise HoldfastError(
            "the checkpoint trains other tensors than this configuration", file=folder, remedy="choose another --out"
        )
    recipe.load(groups["trainable"], groups["state"])
    for key, value in groups["optimizer"].items():
        kind, _, name = key.partition(":")
        parameter = trainable[name]
        optimizer.state[parameter][kind] = value if kind == "step" else value.to(parameter.device)
    torch.set_rng_state(groups["random"]["cpu"])
    if "cuda" in groups["random"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(groups["random"]["cuda"])
    return progress


def _damaged(folder: Path) -> HoldfastError:
    return HoldfastError("the checkpoint is damaged", file=folder, remedy="delete this folder to begin the run anew")
