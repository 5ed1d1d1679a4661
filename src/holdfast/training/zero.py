"""Gradients and what the optimizer keeps, divided among processes by DeepSpeed (ZeRO-2) under accelerate's settings.

DeepSpeed's engine is given the tensors that train and no model: every process has the whole weights as without it, and
model, methods and speed-ups know nothing of it. The engine adds gradients up as they come, keeps this process's part,
moves that part by torch's own optimizer, and gathers the moved weights.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from holdfast import ranks
from holdfast.errors import HoldfastError
from holdfast.launch import zero_section
from holdfast.methods.recipe import Recipe
from holdfast.models.loading import Loaded
from holdfast.speed.blocks import blocks_of
from holdfast.training.shards import Shards
from holdfast.values import JSON

if TYPE_CHECKING:
    from accelerate import Accelerator


class Zero(Shards):
    """What this process has while DeepSpeed divides gradients and the optimizer's state.

    Gradients are added up while the backward pass goes on, in the order in which they come. That is one order in all
    processes where each pass reaches every trained tensor, and it is compared. It is not where a text without a picture
    passes the connector by, where tokens choose among experts, or where a method hands its gradient over by itself:
    there gradients stay whole until the passes of a step are done, and are added up in the optimizer's order.
    """

    def __init__(
        self,
        loaded: Loaded,
        recipe: Recipe,
        optimizer: torch.optim.Optimizer,
        limit: float | None,
        *,
        pictures: bool,
    ) -> None:
        """
        Args:
            loaded: With the recipe attached.
            recipe: What trains.
            optimizer: Of the trained tensors; what it keeps for them is divided, too.
            limit: Of the gradients' norm.
            pictures: Whether every example has some.
        """
        super().__init__()
        self.optimizer = optimizer
        self.trained = list(recipe.named_trainable().values())
        own = set(map(id, loaded.model.parameters()))
        experts = any(isinstance(part, nn.ModuleList) for block in blocks_of(loaded.model) for part in block.modules())
        foreign = any(id(parameter) not in own for parameter in self.trained)
        self.at_once = bool(recipe.touches() - {"llm"} and not pictures) or experts or foreign
        self.places = {id(parameter): place for place, parameter in enumerate(self.trained)}
        self.order: list[int] = []
        self.left = 0
        self.before = [(set(vars(parameter)), parameter) for parameter in self.trained]
        kept = {p: dict(optimizer.state.pop(p)) for p in self.trained if p in optimizer.state}
        self.groups = [(group, list(group["params"])) for group in optimizer.param_groups]
        # In front of DeepSpeed's own hooks, which take the gradient away.
        self.hooks = [p.register_post_accumulate_grad_hook(self._noted) for p in self.trained if not self.at_once]
        self.engine = _engine(self.trained, optimizer, limit, loaded.device)
        self._take_up(kept)

    @property
    def all_save(self) -> bool:
        return True

    def most(self, count: int) -> int:
        return count if self.at_once else max(self.ranks.all(count))

    @contextmanager
    def summing(self, passes: int) -> Iterator[None]:
        self.left, self.order = passes, []
        if self.at_once:
            with self.engine.coalesce_grad_reduction():
                try:
                    yield
                except BaseException:
                    for parameter in self.trained:  # nothing to add up: the others may not come
                        parameter.grad = None
                    raise
                self._fill()
            return
        yield
        if len(set(self.ranks.all(hash(tuple(self.order))))) > 1:
            raise HoldfastError(
                "gradients came in another order in another process, and DeepSpeed would add unlike ones up",
                remedy="start plain processes (--processes), or divide by FSDP2; please report it with the "
                "configuration",
            )
        self.reached.update(self.trained[place] for place in self.order)

    def backward(self, accelerator: Accelerator, loss: Tensor) -> None:
        self.left -= 1
        if not self.at_once:
            self.engine.set_gradient_accumulation_boundary(self.left == 0)
        # DeepSpeed divides what it adds up by the number of processes; the loss already is divided by all tokens.
        self.engine.backward(self.engine(loss * self.ranks.world), scale_wrt_gas=False)

    def add_up(self, trainable: Mapping[str, nn.Parameter]) -> None:
        """Done while the backward pass went on."""

    def clip(self, accelerator: Accelerator, parameters: list[nn.Parameter], limit: float) -> float:
        return 0.0  # the engine does, in its step

    def move(self, optimizer: torch.optim.Optimizer, norm: float) -> float:
        self.engine.step()
        return float(self.engine.get_global_grad_norm() or 0.0)

    def kept(self, parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
        from deepspeed.utils import safe_get_full_optimizer_state

        for key, value in self._part_of(parameter).items():
            yield key, safe_get_full_optimizer_state(parameter, key) if value.ndim else value

    @torch.no_grad()
    def end(self) -> None:
        """Every trained tensor by itself again, and nothing left of DeepSpeed."""
        for hook in self.hooks:
            hook.remove()
        self.engine.destroy()
        for names, parameter in self.before:
            parameter.data = parameter.data.clone()  # it was a piece of one long tensor
            parameter.grad = None
            for name in set(vars(parameter)) - names:
                delattr(parameter, name)
        for group, parameters in self.groups:
            group["params"] = parameters
        self.optimizer.state.clear()
        self.engine = None

    def _part_of(self, parameter: Tensor) -> Mapping[str, Tensor]:
        """What the optimizer keeps for this process's part of the group that a tensor belongs to."""
        group = next(group for group, own in self.groups if any(parameter is one for one in own))
        found: dict[str, Tensor] = self.optimizer.state[group["params"][0]]
        return found

    @torch.no_grad()
    def _take_up(self, kept: Mapping[nn.Parameter, Mapping[str, Tensor]]) -> None:
        """Divide what an optimizer of whole tensors has kept, or begin with nothing.

        DeepSpeed would look for it behind the first step of the first group, when the others have none yet.
        """
        from deepspeed.utils import safe_set_full_optimizer_state

        for group, parameters in self.groups:
            flat, step = group["params"][0], kept.get(parameters[0], {}).get("step", 0)
            begun = {name: torch.zeros_like(flat) for name in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[flat] = {"step": torch.tensor(float(step)), **begun}
        self.engine.optimizer._lazy_init_hp_params_optimizer_state()
        for parameter, found in kept.items():
            for key, value in found.items():
                if value.ndim:
                    safe_set_full_optimizer_state(parameter, value.to(parameter.device), key)

    def _noted(self, parameter: Tensor) -> None:
        self.order.append(self.places[id(parameter)])

    def _fill(self) -> None:
        """A gradient of zero here where another process has one."""
        reached = torch.tensor([float(parameter.grad is not None) for parameter in self.trained])
        self.ranks.add_up([reached])
        for parameter, count in zip(self.trained, reached.tolist(), strict=True):
            if count:
                self.reached.add(parameter)
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)


class _Through(nn.Module):
    """What the engine takes for a model: it holds what trains, and what goes in comes out."""

    def __init__(self, trained: list[nn.Parameter]) -> None:
        super().__init__()
        self.trained = nn.ParameterList(trained)

    def forward(self, loss: Tensor) -> Tensor:
        return loss


def _engine(
    trained: list[nn.Parameter], optimizer: torch.optim.Optimizer, limit: float | None, device: torch.device
) -> Any:
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    if device.type == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # it would be compiled; gloo adds up as well
    settings: JSON = {
        "zero_optimization": {"reduce_bucket_size": ranks.BUCKET, **zero_section(), "stage": 2},
        "steps_per_print": math.inf,
        "train_batch_size": ranks.here().world,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,  # passes are counted here
        "gradient_clipping": limit or 0.0,
        "zero_allow_untested_optimizer": True,
    }
    return deepspeed.initialize(model=_Through(trained), optimizer=optimizer, config=settings)[0]
