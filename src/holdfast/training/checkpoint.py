"""Exact resume: everything that step k + 1 depends on, in safetensors and JSON, replaced in one rename."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from holdfast import files
from holdfast.errors import HoldfastError
from holdfast.files.digest import sealed, sha256
from holdfast.methods.recipe import Recipe
from holdfast.training.shards import Shards

_FOLDER = "checkpoint"


@dataclass
class Progress:
    """Where a run stands: finished steps, seconds spent, and the history of validation."""

    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    worse: int = 0
    stopped: bool = False


def save_checkpoint(
    run: Path,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer | None,
    progress: Progress,
    shards: Shards | None = None,
) -> None:
    """Write the checkpoint beside its final name and swap it in.

    Args:
        run: The run folder.
        recipe: In training.
        optimizer: Of what trains; without it no step can follow.
        progress: Where the run stands.
        shards: Where tensors are divided: every process calls this, each sends what it has, and the first one writes
            what one process alone would write.
    """
    shards = Shards() if shards is None else shards
    first, plain = shards.ranks.first, dict[str, Tensor]()

    def keep(name: str, tensor: Tensor, parameter: nn.Parameter | None = None) -> None:
        whole = tensor if parameter is None else shards.whole(parameter, tensor)
        if first:
            plain[name] = whole.contiguous().cpu().clone()

    for name, parameter in recipe.named_trainable().items():
        keep(f"trainable:{name}", parameter.detach(), parameter)
        for key, value in shards.kept(parameter, optimizer) if optimizer is not None else ():
            keep(f"optimizer:{key}:{name}", value)
    if not first:
        return
    for name, tensor in recipe.state().items():
        keep(f"state:{name}", tensor)
    keep("random:cpu", torch.get_rng_state())
    if torch.cuda.is_available():
        keep("random:cuda", torch.cuda.get_rng_state())
    with files.folder_beside(run / _FOLDER, replace=True, durable=True) as partial:
        save_file(plain, partial / "tensors.safetensors")
        record = {**vars(progress), "tensors": sha256(partial / "tensors.safetensors")}
        files.write_json(partial / "progress.json", record | {"sha256": sealed(record)}, indent=None)


def load_checkpoint(
    run: Path,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer | None,
    steps: int | None = None,
    *,
    moments: str | None = None,
) -> Progress | None:
    """Continue from the checkpoint of ``run`` if there is one; ``recipe`` must be attached.

    ``moments`` is the device that what the optimizer keeps goes to; default: each beside its tensor.

    Raises:
        HoldfastError: The checkpoint is damaged or belongs to another recipe.
    """
    folder = run / _FOLDER
    files.heal_folder(folder)
    if not (folder / "progress.json").exists():
        return None
    try:
        record = files.read_json(folder / "progress.json")
        is_sealed = "sha256" in record  # older checkpoints are not
        if is_sealed and record.pop("sha256") != sealed(record):
            raise _damaged(folder, "progress.json is not as it was written")
        if is_sealed and record.pop("tensors") != sha256(folder / "tensors.safetensors"):
            raise _damaged(folder, "tensors.safetensors is not as it was written")
        tensors = load_file(folder / "tensors.safetensors")
        progress = Progress(**record)
    except HoldfastError as error:
        if error.file and error.file.endswith("progress.json"):
            raise _damaged(folder, error.problem) from error
        raise
    except Exception as error:  # safetensors raises its own type, which it does not export
        raise _damaged(folder) from error
    groups: dict[str, dict[str, Tensor]] = {"trainable": {}, "optimizer": {}, "state": {}, "random": {}}
    for key, tensor in tensors.items():
        group, _, name = key.partition(":")
        if group not in groups:
            raise _damaged(folder, f"'{key[:80]}' is no part of a checkpoint")
        groups[group][name] = tensor
    trainable = recipe.named_trainable()
    if set(groups["trainable"]) != set(trainable):
        raise HoldfastError(
            "the checkpoint trains other tensors than this configuration", file=folder, remedy="choose another --out"
        )
    if steps is not None and not 0 <= progress.step <= steps:
        raise _damaged(folder, f"it stands at step {progress.step} of {steps}")
    if progress.step and trainable and not groups["optimizer"] and not is_sealed:
        raise _damaged(folder, "the state of the optimizer is missing")
    if "cpu" not in groups["random"]:
        raise _damaged(folder, "the state of the random generator is missing")
    recipe.load(groups["trainable"], groups["state"])
    for key, value in groups["optimizer"].items():
        kind, _, name = key.partition(":")
        if name not in trainable:
            raise _damaged(folder, f"it holds the optimizer's state of '{name[:80]}', which does not train")
        if optimizer is not None:
            parameter = trainable[name]
            optimizer.state[parameter][kind] = value if kind == "step" else value.to(moments or parameter.device)
    torch.set_rng_state(groups["random"]["cpu"])
    if "cuda" in groups["random"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(groups["random"]["cuda"])
    return progress


def _damaged(folder: Path, what: str = "") -> HoldfastError:
    problem = "the checkpoint is damaged" + (f": {what}" if what else "")
    return HoldfastError(problem, file=folder, remedy="delete this folder to begin the run anew")
