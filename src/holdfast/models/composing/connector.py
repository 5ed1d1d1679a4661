"""The connector of a model that is put together: drawn afresh, or taught values from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from holdfast.errors import HoldfastError

DEVIATION = 0.02
"""Of fresh weights, as LLaVA's configuration draws them; biases begin at zero."""


def draw(projector: nn.Module, seed: int) -> None:
    """Fill a connector with values that depend on its shapes and the seed only."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(projector.named_parameters()):
            fresh = torch.zeros(parameter.shape)
            if name.endswith("weight"):
                fresh.normal_(std=DEVIATION, generator=generator)
            parameter.copy_(fresh)


def take(projector: nn.Module, file: Path, facts: Mapping[str, str]) -> None:
    """Fill a connector with taught values.

    Args:
        projector: Two linear layers.
        file: Safetensors with their values under their own names or a model's longer ones. Where its metadata say on
            which parts they were taught (the keys of ``facts``), the parts must be those.
        facts: What this model is put together of.

    Raises:
        HoldfastError: No such file, other names or shapes, or values taught on other parts.
    """
    if not file.is_file():
        raise HoldfastError("there are no values for the projector", file=file, remedy="check the path of --projector")
    try:
        with safe_open(file, "pt") as stored:
            metadata = stored.metadata() or {}
            values: dict[str, Tensor] = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own type, which it does not export
        reason = " ".join(str(error).split())[:200]
        raise HoldfastError(
            f"these are no safetensors ({reason})", file=file, remedy="give --projector the file as it was written"
        ) from error
    for fact, here in facts.items():
        if metadata.get(fact, here) != here:
            raise HoldfastError(
                f"these values were taught on another {fact} ({metadata[fact]}), not on this one ({here})",
                file=file,
                remedy="compose the parts they were taught on, or leave --projector out",
            )
    own = dict(projector.named_parameters())
    given = {".".join(name.split(".")[-2:]): value for name, value in values.items()}
    if given.keys() != own.keys() or len(given) != len(values):
        raise HoldfastError(
            f"this file holds {', '.join(sorted(values))[:200]}, and the projector has {', '.join(sorted(own))}",
            file=file,
            remedy="give --projector a file with these tensors",
        )
    with torch.no_grad():
        for name, parameter in own.items():
            if given[name].shape != parameter.shape:
                raise HoldfastError(
                    f"{name} is {tuple(given[name].shape)} in this file, and {tuple(parameter.shape)} between these "
                    "parts",
                    file=file,
                    remedy="compose parts of the widths that it was taught on, or leave --projector out",
                )
            parameter.copy_(given[name])
