"""Score every entry of many tensors in no more memory than training the chosen ones takes.

A score needs an accumulator as large as the tensors it scores. So the tensors are scored group by group, with as many
passes over the same batches as there are groups, and only what may still be chosen is kept of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from holdfast.methods.contract import Batch, Context

FREE = 1 << 22
"""Values that are scored at once in any case; 16 MiB are not worth another pass."""

STATE = 3
"""float32 values per selected entry that scoring may hold: less than training does, since places are kept too."""

Statistic = Callable[[Tensor], Tensor]


def top(score: Tensor, count: int) -> Tensor:
    """Sorted flat indices of the ``count`` highest scores, int32 where that is enough."""
    kind = torch.int32 if score.numel() < 2**31 else torch.int64
    return score.reshape(-1).topk(count, sorted=False).indices.to(kind).sort().values


def share(ratio: float, size: int) -> int:
    """``ratio`` of ``size`` entries, at least one."""
    return max(1, round(ratio * size))


def spread(ratio: float, sizes: Mapping[str, int]) -> dict[str, int]:
    """How many entries of each tensor a ranking of all together selects, as far as sizes tell: the sum is exact."""
    left, counts = share(ratio, sum(sizes.values())), {}
    for name, size in sizes.items():
        counts[name] = min(left, math.ceil(ratio * size))
        left -= counts[name]
    return counts


def groups(parameters: Mapping[str, nn.Parameter], limit: int) -> list[dict[str, nn.Parameter]]:
    """The tensors in their order, cut so that no group of several holds more than ``limit`` values."""
    found: list[dict[str, nn.Parameter]] = []
    size = 0
    for name, parameter in parameters.items():
        if not found or size + parameter.numel() > limit:
            found.append({})
            size = 0
        found[-1][name] = parameter
        size += parameter.numel()
    return found


def scored(
    model: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    context: Context,
    batches: Callable[[], Iterable[Batch]],
    statistic: Statistic,
    *,
    ratio: float,
    free: int = FREE,
    loss: Callable[[Batch], Tensor] | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Each tensor's name and the sum of ``statistic(gradient)`` over the batches, float32 in the tensor's shape.

    Args:
        model: Whose other parameters need no gradient meanwhile.
        parameters: The tensors to score.
        context: Gives the loss.
        batches: Called once a group; the same batches each time.
        statistic: Of one batch's gradient of one tensor, in float32.
        ratio: The share that will train, which sets the memory that scoring may take.
        free: Values that are scored at once in any case.
        loss: Whose gradient is taken; default: the context's, of the answers.
    """
    measure = loss or context.measure
    total = sum(parameter.numel() for parameter in parameters.values())
    for group in groups(parameters, max(free, int(STATE * ratio * total))):
        sums = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in group.items()}
        with only(model, group), _collecting(group, sums, statistic):
            for batch in batches():
                measure(batch).backward()
        for name in group:
            yield name, sums.pop(name)


@contextmanager
def only(model: nn.Module, group: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Gradients for this group alone, in evaluation mode."""
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    training = model.training
    model.eval()
    for parameter, _ in flags:
        parameter.requires_grad_(False)
    for parameter in group.values():
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        model.train(training)


@contextmanager
def _collecting(group: Mapping[str, nn.Parameter], sums: Mapping[str, Tensor], statistic: Statistic) -> Iterator[None]:
    def collect(name: str) -> Callable[[Tensor], None]:
        @torch.no_grad()
        def add(parameter: Tensor) -> None:
            assert parameter.grad is not None
            sums[name].add_(statistic(parameter.grad.float()))
            parameter.grad = None

        return add

    hooks = [p.register_post_accumulate_grad_hook(collect(name)) for name, p in group.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in group.values():
            parameter.grad = None


def top_overall(scores: Iterable[tuple[str, Tensor]], count: int) -> dict[str, Tensor]:
    """The ``count`` highest scores of all tensors together, as sorted flat indices per tensor.

    Never holds more than ``2 * count`` candidates beside the tensor at hand.
    """
    names: list[str] = []
    best = owner = place = torch.empty(0)
    for name, score in scores:
        flat = score.reshape(-1)
        values, indices = flat.topk(min(count, flat.numel()), sorted=False)
        mine = torch.full_like(indices, len(names), dtype=torch.int32)
        names.append(name)
        if not best.numel():
            best, owner, place = values, mine, indices
            continue
        best, owner, place = torch.cat([best, values]), torch.cat([owner, mine]), torch.cat([place, indices])
        keep = best.topk(min(count, best.numel()), sorted=False).indices
        best, owner, place = best[keep], owner[keep], place[keep]
    return {name: place[owner == position].sort().values.cpu() for position, name in enumerate(names)}
