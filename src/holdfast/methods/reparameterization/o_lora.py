"""O-LoRA (arXiv 2310.14152): a LoRA that keeps out of the directions of those trained before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast import files
from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Context
from holdfast.methods.low_rank import LowRank, LowRankCard, LowRankOptions


class PastOptions(LowRankOptions):
    """LoRA's, the runs that came before, and how hard their directions are avoided."""

    source = "cmnfriend/O-LoRA"
    r: int = Field(default=8, gt=0, description="rank")
    alpha: float | None = Field(default=32, gt=0, description="scale, over r")
    past: tuple[str, ...] = Field(
        default=(), description="folders of runs whose adapters came before, each exported into the next one's model"
    )
    strength: float = Field(default=0.5, ge=0, description="of the term against the past adapters' directions")
    shrink: float = Field(default=0.0, ge=0, description="of the norms of the new factors")


class OLora(LowRank):
    """``W + s B A`` on a model ``W`` that holds the changes of earlier tasks; the loss gains ``strength`` times the
    entries' sizes of ``A_past A^T``, summed over layers and ``past`` runs, and ``shrink`` times the norms of ``A`` and
    ``B``. The first task of a sequence has no past and trains as LoRA does.
    """

    card = LowRankCard(
        name="o_lora",
        family="calibration",
        summary="LoRA orthogonal to the adapters of earlier tasks",
        paper="arXiv 2310.14152",
        year=2023,
        official_code="cmnfriend/O-LoRA",
        checked_against="the paper's terms over dense matrices under AdamW, three steps",
        default_lr=1e-3,
    )
    Settings = PastOptions

    def begin(self, context: Context) -> None:
        self.avoided: dict[str, list[Tensor]] = {}
        for folder in self.options.past:
            for name, factor in first_factors(Path(folder), self.component.name, self.layers).items():
                self.avoided.setdefault(name, []).append(factor.to(self.layers[name].weight.device))

    def penalty(self, step: int) -> Tensor | None:
        terms, options = [], self.options
        for name, site in self.sites.items():
            change: Any = site.change
            terms += [options.strength * (past @ change.A.T).abs().sum() for past in self.avoided.get(name, ())]
            if options.shrink:
                terms.append(options.shrink * (change.A.norm() + change.B.norm()))
        return torch.stack([term.to(terms[0].device) for term in terms]).sum() if terms else None

    def detach(self) -> Artifact:
        self.avoided = {}
        return super().detach()


def first_factors(run: Path, component: str, layers: Mapping[str, nn.Linear]) -> dict[str, Tensor]:
    """``A [r, in]`` of every layer that a run's adapter changed.

    Raises:
        HoldfastError: The run holds no LoRA of this component, or one of another model.
    """
    from safetensors.torch import load_file

    record = run / "artifact" / "artifact.json"
    if not record.is_file():
        raise HoldfastError("there is no finished artifact of an earlier run", file=run, remedy="name a run's folder")
    parts = [part for part in files.read_json(record)["parts"] if part["component"] == component]
    tensors = {k: t for part in parts for k, t in load_file(record.parent / Path(part["file"]).name).items()}
    marks = (":A", ".lora_A.weight")
    found = {k.removesuffix(mark): t.float() for mark in marks for k, t in tensors.items() if k.endswith(mark)}
    if not found:
        raise HoldfastError(f"the run holds no LoRA of component '{component}'", file=run, remedy="name another run")
    for name, factor in found.items():
        if name in layers and factor.ndim == 2 and factor.shape[1] == layers[name].in_features:
            continue
        raise HoldfastError(
            f"the run's adapter changes '{name}' {tuple(factor.shape)}, which is not among the layers tuned here",
            file=run,
            remedy="name runs of the same architecture, and the same modules",
        )
    return found
