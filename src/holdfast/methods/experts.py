"""What several experts share and what is each one's own, in one artifact that gives any of them.

Tensors of such an artifact are called as the parameter is, with what they are behind it:

====================  =======================  =================================================
``NAME:shared``       as the parameter         the change that all have
``NAME:masks``        ``[experts, n / 8]``     bits: where the shared change holds for each
``NAME:left``         ``[experts, out, k]``    of a matrix that each adds, ``left @ right``
``NAME:right``        ``[experts, k, in]``     its other factor
``NAME:own``          ``[experts, n]``         what each adds where there is no matrix
====================  =======================  =================================================

The metadata ``experts`` hold the names of the experts, the weight at which each counts (for masks: 1 for one of them)
and the scale of each one's masked change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact
from holdfast.values import JSON

Tensors = Mapping[str, Tensor]


def combined(base: Tensor, parts: Tensors, weights: Sequence[float], scales: Sequence[float]) -> Tensor:
    """The weights that experts have together.

    Args:
        base: Flat, float32.
        parts: By what stands behind the name; masks as booleans ``[experts, n]``.
        weights: Of the experts.
        scales: Of their masked changes; nothing where there are no masks.
    """
    shared = parts["shared"].float().reshape(-1)
    if "masks" in parts:
        one = weights.index(1.0)
        return base + scales[one] * (shared * parts["masks"][one])
    result = base + shared
    for place, weight in enumerate(weights):
        result = result + weight * _own(parts, place)
    return result


def _own(parts: Tensors, place: int) -> Tensor:
    if "own" in parts:
        return parts["own"][place].float()
    return (parts["left"][place].float() @ parts["right"][place].float()).reshape(-1)


def packed(parts: Tensors, like: Tensor) -> dict[str, Tensor]:
    """As they are stored: masks as bits, all else in the type of ``like``, what is shared in its shape."""
    stored = {name: part.to(like.dtype) for name, part in parts.items() if name != "masks"}
    stored["shared"] = stored["shared"].reshape(like.shape)
    if "masks" in parts:
        stored["masks"] = torch.from_numpy(np.packbits(parts["masks"].numpy(), axis=1))
    return stored


def written(artifact: Artifact, base: Tensors) -> Tensors:
    """The tensors that an artifact writes over the base: as they are, or put together from what experts share.

    Raises:
        HoldfastError: It was made on another model.
    """
    if "experts" not in artifact.metadata:
        return artifact.tensors
    facts = artifact.metadata["experts"]
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in artifact.tensors.items():
        name, _, part = key.rpartition(":")
        found.setdefault(name, {})[part] = tensor
    result = {}
    for name, parts in found.items():
        own = base.get(name)
        if own is None or own.shape != parts["shared"].shape:
            raise HoldfastError(
                f"the artifact holds '{name}' {tuple(parts['shared'].shape)}, which this model does not have",
                remedy="load it on the model it was trained on",
            )
        if "masks" in parts:
            bits = np.unpackbits(parts["masks"].numpy(), axis=1, count=own.numel())
            parts["masks"] = torch.from_numpy(bits.astype(bool))
        flat = own.detach().reshape(-1).float().cpu()
        result[name] = combined(flat, parts, facts["weights"], facts["scales"]).to(own.dtype).view(own.shape)
    return result


def names_of(artifacts: Sequence[Artifact]) -> list[str]:
    """What the experts of a run are called, in their order; nothing where it holds one set of weights."""
    kept: list[JSON] = [artifact.metadata["experts"] for artifact in artifacts if "experts" in artifact.metadata]
    return list(kept[0]["names"]) if kept else []


def choose(artifacts: Sequence[Artifact], expert: int) -> list[Artifact]:
    """The same artifacts, giving one expert's weights.

    Args:
        artifacts: Of a run.
        expert: Which, from 1.

    Raises:
        HoldfastError: There is none of that number.
    """
    names = names_of(artifacts)
    if not names:
        raise HoldfastError(
            "the run holds one set of weights, not those of several experts",
            remedy="leave the expert out; a run with fuse: {method: emr, experts: [...]} holds several",
        )
    if not 0 < expert <= len(names):
        known = ", ".join(f"{place} ({name})" for place, name in enumerate(names, 1))
        raise HoldfastError(f"there is no expert {expert}", remedy=f"choose one of {known}")
    weights = [float(place == expert) for place in range(1, len(names) + 1)]
    chosen = []
    for artifact in artifacts:
        if "experts" in artifact.metadata:
            facts = {**artifact.metadata["experts"], "weights": weights}
            artifact = replace(artifact, metadata={**artifact.metadata, "experts": facts})
        chosen.append(artifact)
    return chosen
