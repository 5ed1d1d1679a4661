"""Model Tailor: keep a thin patch of the tuned weights and let its neighbours make up for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Batch, Context, Options
from holdfast.methods.fusion.base import Fusion, FusionCard, Passes, Piece, Tensors
from holdfast.methods.inputs import Inputs


class Patch(Options):
    """How thin the patch is, and how it is decorated."""

    sparsity: float = Field(default=0.9, ge=0, lt=1, description="share of the weights that go back to the base")
    block: int = Field(default=128, gt=0, description="columns that compete with each other")
    salience: float = Field(default=0.5, ge=0, le=1, description="weight of |change| against sensitivity")
    damping: float = Field(default=0.01, gt=0, description="added to the Hessian's diagonal, times its mean")
    samples: int = Field(default=128, gt=0, description="target examples looked at")
    compensate: Literal["release", "surgeon", "none"] = Field(
        default="release", description="sign of the compensation: the release's, that of optimal brain surgery, or none"
    )


class ModelTailor(Fusion):
    """Per matrix, layer by layer (arXiv 2402.12048): score every weight by its change and by how sensitive the layer's
    output is to it, keep the best ``1 - sparsity`` of every block of columns, put the rest back to the base, and
    spread each column's error over the columns that follow.

    Needs target examples, so it runs in recipes only. Tuned tensors that are no linear layer's weight (the projector
    in the release) go back to the base. Fails when many or deep layers were tuned: the release tunes the last twelve.
    """

    card = FusionCard(
        name="model_tailor",
        family="sparse change",
        summary="a thin patch of the tuned weights, and neighbours that make up for the rest",
        paper="arXiv 2402.12048",
        year=2024,
        official_code="didizhu-zju/Model-Tailor",
        checked_against="NumPy loop over columns with explicit inverses",
    )
    needs_data = True
    Settings = Patch

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.tailored: dict[str, Tensor] | None = None

    def require(self, context: Context) -> None:
        next(context.look("fusion 'model_tailor'", 1, size=1))

    def observe_tuned(self, model: nn.Module, base: Tensors, names: Sequence[str], context: Context | None) -> None:
        if context is None:
            raise HoldfastError(
                "fusion 'model_tailor' needs target examples to see which weights matter, and none were given",
                remedy="use it in a recipe with a target",
            )
        options = self.options
        batches = list(context.look("fusion 'model_tailor'", options.samples, size=1))
        self.tailored = tailor_model(model, base, names, batches, context, options)

    def begin(self, passes: Passes) -> None:
        if self.tailored is None:
            raise HoldfastError(
                "fusion 'model_tailor' looks at training examples, which two folders of weights do not have",
                remedy="write it under fuse: in a recipe",
            )

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        assert self.tailored is not None
        values = self.tailored.get(piece.name)
        if values is None:
            return piece.base
        return values.reshape(-1)[piece.begin : piece.begin + len(piece.base)]


def tailor_model(
    model: nn.Module, base: Tensors, names: Sequence[str], batches: Sequence[Batch], context: Context, options: Patch
) -> dict[str, Tensor]:
    """Tailor the linear layers among ``names`` block by block, each seeing inputs from the blocks tailored before it.

    ``model`` is left tailored; whoever calls this restores it.

    Returns:
        The new weights, float32 on the CPU, by parameter name.
    """
    wanted = set(names)
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and f"{name}.weight" in wanted
    }
    groups: dict[str, dict[str, nn.Linear]] = {}
    for name, layer in layers.items():
        groups.setdefault(_block_of(model, name), {})[name] = layer
    result: dict[str, Tensor] = {}
    for group in groups.values():
        hessians = input_hessians(group, batches, context, options.damping)
        for name, layer in group.items():
            key = f"{name}.weight"
            new = tailor(base[key].float().cpu(), layer.weight.detach().float().cpu(), hessians[name], options)
            result[key] = new
            with torch.no_grad():
                layer.weight.copy_(new)
    return result


def input_hessians(
    layers: Mapping[str, nn.Linear], batches: Iterable[Batch], context: Context, damping: float
) -> dict[str, Tensor]:
    """``H = (2 / n) sum X X^T + damping mean(diag) I`` of each layer's inputs, ``[in, in]`` in float32 on the CPU.

    ``n`` is the number of batches. An input that is always zero gets a diagonal of one, so that H can be inverted.
    """
    several, seen, result = list(batches), Inputs(layers), {}
    seen.hear(several, context)
    for name, total in seen.squares.items():
        hessian = total * (2 / max(len(several), 1))
        diagonal = hessian.diagonal()
        diagonal[diagonal == 0] = 1
        diagonal += damping * diagonal.mean()
        result[name] = hessian
    return result


def tailor(base: Tensor, tuned: Tensor, hessian: Tensor, options: Patch) -> Tensor:
    """The new weights ``[out, in]`` of one layer.

    With ``U`` the upper Cholesky factor of the inverse of ``hessian``, in blocks of columns: the sensitivity
    ``W^2 / diag(U)^2`` of the weights as compensated so far and the salience ``|W - W0|`` of the weights as they came
    are standardised by row, mixed, and the best stay. Column ``i`` then takes its new value ``q``; its error
    ``e = (w - q) / U_ii`` is added as ``e U_i`` to the columns that follow (the release; brain surgery subtracts
    it).

    Args:
        base: ``[out, in]``.
        tuned: ``[out, in]``.
        hessian: ``[in, in]``, positive definite.
        options: The fusion's.
    """
    weights = tuned.clone()
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    sign = {"release": 1.0, "surgeon": -1.0, "none": 0.0}[options.compensate]
    columns = weights.shape[1]
    salience = (tuned - base).abs()
    for begin in range(0, columns, options.block):
        end = min(begin + options.block, columns)
        now, old, upper = weights[:, begin:end].clone(), base[:, begin:end], factor[begin:end, begin:end]
        dropped = _dropped(salience[:, begin:end], now, upper.diagonal(), options)
        errors = torch.zeros_like(now)
        for column in range(end - begin):
            value = torch.where(dropped[:, column], old[:, column], now[:, column])
            errors[:, column] = (now[:, column] - value) / upper[column, column]
            now[:, column:] += sign * torch.outer(errors[:, column], upper[column, column:])
            now[:, column] = value
        weights[:, begin:end] = now
        weights[:, end:] += sign * errors @ factor[begin:end, end:]
    return weights


def _dropped(salience: Tensor, now: Tensor, diagonal: Tensor, options: Patch) -> Tensor:
    """Which weights of one block go back to the base: those that score lowest, over the whole block."""
    sensitivity = now.square() / diagonal.square()
    score = options.salience * _by_row(salience) + (1 - options.salience) * _by_row(sensitivity)
    count = round(options.sparsity * score.numel())
    if not count:
        return torch.zeros_like(score, dtype=torch.bool)
    return score <= score.flatten().kthvalue(count).values


def _by_row(values: Tensor) -> Tensor:
    if values.shape[1] < 2:
        return torch.zeros_like(values)
    return (values - values.mean(dim=1, keepdim=True)) / values.std(dim=1, keepdim=True).clamp_min(1e-12)


def _block_of(model: nn.Module, name: str) -> str:
    """The repeated block that a layer stands in, or its own name."""
    parts = name.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        if isinstance(model.get_submodule(".".join(parts[: depth - 1])), nn.ModuleList):
            return ".".join(parts[:depth])
    return name
