"""Fisher-weighted averaging: each model counts where its own data say that its weights matter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Batch, Context, Options, Pool
from holdfast.methods.fusion.base import Fusion, FusionCard, InMemory, Passes, Piece, Tensors, Weights
from holdfast.models.checkpoint import Checkpoint


class FisherOptions(Options):
    """Where the information is, and how the models are weighed against each other."""

    weight: float = Field(default=1.0, ge=0, description="of the tuned models; the base counts 1")
    floor: float = Field(default=1e-6, ge=0, description="least information of a tuned weight")
    normalise: bool = Field(default=False, description="divide each model's information by its norm")
    samples: int = Field(default=128, gt=0, description="examples looked at where a recipe has data and no files")
    base_file: str | None = Field(default=None, description="safetensors with the base's information")
    tuned_files: tuple[str, ...] = Field(default=(), description="the same of each tuned model")


class FisherAveraging(Fusion):
    """``(F0 w0 + weight sum_t F_t w_t) / (F0 + weight sum_t F_t)`` per value (arXiv 2111.09832), ``F`` the diagonal of
    each model's Fisher information on its own data.

    Information comes from files, from :meth:`inform`, or in a recipe from examples: the base's from the sources, the
    tuned model's from the target. The floor acts on tuned models only, as in the official code: where nobody knows
    anything the tuned weight stays. A value that no tuned model changed stays as it is. ``F`` squares the gradient of
    an example's mean loss a token; the official code leaves the choice to who gives the files.
    """

    card = FusionCard(
        name="fisher",
        family="average",
        summary="each model counts where its own data say that its weights matter",
        paper="arXiv 2111.09832",
        year=2022,
        official_code="mmatena/model_merging",
        checked_against="NumPy formula",
    )
    experts = None
    Settings = FisherOptions

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.information: list[Weights] = []
        self.observed: dict[str, Tensors] = {}

    def inform(self, base: Tensors, tuned: Sequence[Tensors]) -> FisherAveraging:
        """Give the information as tensors of the same names and shapes as the weights."""
        self.information = [InMemory(base), *map(InMemory, tuned)]
        return self

    @property
    def needs_sources(self) -> bool:
        return self.options.base_file is None

    def require(self, context: Context) -> None:
        if self.options.base_file is None and not self.information:
            for pool in ("train", "sources"):
                next(context.look("fusion 'fisher'", 1, of=pool, size=1))

    def observe_tuned(self, model: nn.Module, base: Tensors, names: Sequence[str], context: Context | None) -> None:
        self._observe("train", model, names, context)

    def observe_base(self, model: nn.Module, names: Sequence[str], context: Context | None) -> None:
        self._observe("sources", model, names, context)

    def _observe(self, pool: Pool, model: nn.Module, names: Sequence[str], context: Context | None) -> None:
        if self.options.base_file is not None or self.information:
            return
        if context is None:
            raise HoldfastError(
                "fusion 'fisher' needs the Fisher information of both models, and none was given",
                remedy="give base_file and tuned_files",
            )
        parameters = {name: p for name, p in model.named_parameters() if name in set(names)}
        batches = context.look("fusion 'fisher'", self.options.samples, of=pool, size=1)
        self.observed[pool] = diagonal_fisher(parameters, batches, context.measure)

    def begin(self, passes: Passes) -> None:
        count = len(next(iter(passes())).tuned)
        if self.options.base_file is not None:
            files = [self.options.base_file, *self.options.tuned_files]
            self.information = [Checkpoint(Path(file)) for file in files]
        elif len(self.observed) == 2:
            self.inform(self.observed["sources"], [self.observed["train"]])
        if len(self.information) != count + 1:
            raise HoldfastError(
                f"fusion 'fisher' needs the Fisher information of the base and of {count} tuned models, and "
                f"{len(self.information)} were given",
                remedy="give one safetensors file each, with the weights' names and shapes",
            )
        self._check(passes)
        self.scales = [1.0] * len(self.information)
        if self.options.normalise:
            self.scales = [1 / max(_norm(source), 1e-30) for source in self.information]

    def _check(self, passes: Passes) -> None:
        known = [set(source.names()) for source in self.information]
        for piece in passes():
            for source, names in zip(self.information, known, strict=True):
                if piece.name not in names or math.prod(source.shape(piece.name)) < piece.begin + len(piece.base):
                    raise HoldfastError(
                        f"the Fisher information has no values for '{piece.name}' of that shape",
                        remedy="compute it on the same model",
                    )

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        end = piece.begin + len(piece.base)
        rows = [source.read(piece.name, piece.begin, end).float() for source in self.information]
        own, *others = (row * scale for row, scale in zip(rows, self.scales, strict=True))
        top, bottom = own * piece.base, own.clone()
        for weights, row in zip(piece.tuned, others, strict=True):
            information = self.options.weight * row.clamp_min(self.options.floor)
            top += information * weights
            bottom += information
        untouched = torch.stack([weights == piece.base for weights in piece.tuned]).all(dim=0) | (bottom == 0)
        return torch.where(untouched, piece.base, top / bottom.clamp_min(1e-38))


def diagonal_fisher(
    parameters: Mapping[str, nn.Parameter], batches: Iterable[Batch], loss: Callable[[Batch], Tensor]
) -> dict[str, Tensor]:
    """The mean over batches of the squared gradient of ``loss``, per value; batches of one example are the paper's.

    Args:
        parameters: Whose information is wanted, by name; their ``requires_grad`` is restored.
        batches: What to look at.
        loss: The mean answer loss of one batch.
    """
    totals = {name: torch.zeros_like(p, dtype=torch.float32, device="cpu") for name, p in parameters.items()}
    before = {name: p.requires_grad for name, p in parameters.items()}
    count = 0
    try:
        for parameter in parameters.values():
            parameter.requires_grad_(True)
            parameter.grad = None
        for batch in batches:
            loss(batch).backward()
            count += 1
            for name, parameter in parameters.items():
                if parameter.grad is not None:
                    totals[name] += parameter.grad.float().square().cpu()
                    parameter.grad = None
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(before[name])
            parameter.grad = None
    return {name: total / max(count, 1) for name, total in totals.items()}


def _norm(source: Weights) -> float:
    total: Any = 0.0
    for name in source.names():
        total += float(source.read(name, 0, math.prod(source.shape(name))).double().square().sum())
    return float(total**0.5)
