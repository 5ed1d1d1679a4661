"""The llm's blocks taken apart between processes while a recipe trains: torch's FSDP2 under accelerate's settings.

ZeRO-3 divides the same (Rajbhandari et al., arXiv 1910.02054, section 5.3), and FSDP2 does it where accelerate
was asked for that: DeepSpeed's own engine takes every module of a model apart and gathers as modules are called, by all
processes in one order, which a text without a picture breaks.

accelerate prepares FSDP2 on accelerators only, and then divides everything. Here torch's own ``fully_shard`` is given
the blocks of the llm, frozen or not; what was added to them, the embeddings, the head, the connector and the vision
encoder stay whole in every process, so that a head tied to the embeddings stays tied, and a text without a picture asks
for nothing that its neighbours do not ask for. Gradients of what is whole are added up as without FSDP2; gradients of
what is divided arrive added up and divided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from holdfast import ranks
from holdfast.config.schema import RunConfig
from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.methods.recipe import Recipe
from holdfast.models.loading import Loaded
from holdfast.speed.blocks import blocks_of
from holdfast.training.shards import Shards
from holdfast.values import Keywords


def check_sharded(config: RunConfig, recipe: Recipe, stored: Mapping[str, int]) -> None:
    """Refuse what does not go with weights that are divided, before anything is loaded.

    Args:
        config: Of the run.
        recipe: Made from it.
        stored: Bits a weight of components that the model on disk has packed.

    Raises:
        HoldfastError: With the setting, method or stabiliser.
    """
    recipe.check_sharded()
    if ranks.divided_by() == "DeepSpeed":
        return  # the weights are whole
    asked = ranks.asked_for()
    if config.load.bits is not None or stored:
        raise HoldfastError(
            "packed weights of four or eight bits are not divided among processes, and accelerate was asked for "
            f"{asked}",
            remedy="start plain processes (--processes), or use a model that is not packed",
            key="load.bits" if config.load.bits is not None else "model",
        )
    if config.speed.compile:
        raise HoldfastError(
            f"compiled blocks are not divided among processes, and accelerate was asked for {asked}",
            remedy="leave speed.compile out, or start plain processes (--processes)",
            key="speed.compile",
        )


@contextmanager
def sharded(
    loaded: Loaded,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    limit: float | None,
    examples: Sequence[Example],
) -> Iterator[Shards]:
    """Inside, what accelerate was asked to divide is divided: the llm's blocks (FSDP2), or gradients and what the
    optimizer keeps (:mod:`holdfast.training.zero`). Afterwards all is whole again.

    After an exception nothing is put together: another process may be gone.

    Args:
        loaded: With the recipe attached.
        recipe: What trains.
        optimizer: Of the trained tensors; what it keeps for them is divided, too.
        limit: Of the gradients' norm.
        examples: That a step may see.

    Raises:
        HoldfastError: The model's llm has no blocks.
    """
    if ranks.divided_by() == "DeepSpeed":
        from holdfast.training.zero import Zero

        zero = Zero(loaded, recipe, optimizer, limit, pictures=all(example.images for example in examples))
        with ranks.heard_inside():
            yield zero
        zero.end()
        return
    shards = Shards()
    if not ranks.sharded():
        yield shards
        return
    divided = _Divided(loaded, recipe, shards)
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            state[key] = shards.own(parameter, value) if isinstance(value, Tensor) else value
    with ranks.heard_inside():
        yield shards
    divided.reunite(recipe)


class _Divided:
    """The model with its blocks taken apart, and the way back."""

    def __init__(self, loaded: Loaded, recipe: Recipe, shards: Shards) -> None:
        from accelerate.utils import FullyShardedDataParallelPlugin
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

        self.shards, self.ranks = shards, shards.ranks
        blocks = blocks_of(loaded.model)
        base = set(map(id, loaded.anatomy.component("llm").parameters.values()))
        self.places = [
            (module, name, parameter)
            for block in blocks
            for module in block.modules()
            for name, parameter in module._parameters.items()
            if parameter is not None and id(parameter) in base
        ]
        if not self.places:
            raise HoldfastError(
                "the model's llm has no repeated blocks that FSDP could take apart", remedy="start plain processes"
            )
        inside = {parameter for _, _, parameter in self.places}
        trainable = recipe.named_trainable()
        shards.shapes = {parameter: parameter.shape for parameter in trainable.values()}
        self.before = {module: _Marks(module) for module in loaded.model.modules()}
        # reshard_after_forward is what the configuration file says of it, or accelerate's own default.
        how: Keywords = {
            "mesh": init_device_mesh(loaded.device.type, (self.ranks.world,)),
            "reshard_after_forward": FullyShardedDataParallelPlugin().reshard_after_forward,
            "ignored_params": {parameter for parameter in loaded.model.parameters() if parameter not in inside},
            "mp_policy": MixedPrecisionPolicy(reduce_dtype=torch.float32),
        }
        for block in blocks:
            fully_shard(block, **how)
        fully_shard(loaded.model, **how)
        for module in loaded.model.modules():
            if isinstance(module, FSDPModule):
                # The loss is divided by the tokens of all processes already; and gloo adds, and does nothing else.
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
                if any(isinstance(part, nn.ModuleList) for part in module.modules() if module is not loaded.model):
                    module.set_reduce_scatter_unused_params(True)  # experts that no token of one process went to
        self.hook = None
        if recipe.touches() - {"llm"}:
            # Beside a text without a picture others have pictures, whose gradient goes through all blocks.
            self.hook = blocks[0].register_forward_pre_hook(_reached, prepend=True, with_kwargs=True)
        rows: dict[nn.Parameter, range] = {}
        self.parts: dict[nn.Parameter, list[int]] = {}
        self.hooks = []
        found: list[tuple[Any, nn.Parameter]] = [(module._parameters[name], old) for module, name, old in self.places]
        counts = zip(*self.ranks.all([len(part.to_local()) for part, _ in found]), strict=True)
        for (part, parameter), sizes in zip(found, counts, strict=True):
            if parameter in self.parts:
                continue  # one tensor at two places of a block
            width = parameter.numel() // max(1, len(parameter))
            begin = sum(sizes[: self.ranks.rank]) * width
            rows[parameter] = range(begin, begin + sizes[self.ranks.rank] * width)
            self.parts[parameter] = list(sizes)
            if parameter.requires_grad:
                self.hooks.append(part.register_post_accumulate_grad_hook(_handed_over(parameter)))
            parameter.data = part.detach().to_local()
        self.divided = recipe.divide(rows)
        own = [len(parameter) for parameter in self.divided]
        for parameter, lengths_of in zip(self.divided, zip(*self.ranks.all(own), strict=True), strict=True):
            shards.sizes[parameter] = list(lengths_of)

    @torch.no_grad()
    def reunite(self, recipe: Recipe) -> None:
        """Put the model together as it was: the same parameters, classes and hooks, with the trained values."""
        for hook in [*self.hooks, *([self.hook] if self.hook is not None else [])]:
            hook.remove()
        trained = {p: self.shards.whole(p, p.detach()) for p in self.divided if p not in self.parts}
        for parameter, sizes in self.parts.items():
            parameter.data = self.ranks.joined(parameter.detach(), sizes)
            parameter.grad = None
        for parameter, values in trained.items():
            parameter.data = values
        for module, name, parameter in self.places:
            module._parameters[name] = parameter
        for module, marks in self.before.items():
            marks.restore(module)
        recipe.reunite()
        self.shards.sizes = {}


class _Marks:
    """What ``fully_shard`` changes of a module beside its parameters, for which torch has no way back."""

    def __init__(self, module: nn.Module) -> None:
        self.kind, self.names = type(module), set(vars(module))
        self.hooks = {name: set(held) for name, held in _hooks(module).items()}

    def restore(self, module: nn.Module) -> None:
        module.__class__ = self.kind
        for name in set(vars(module)) - self.names:
            if "fsdp" in name or name.startswith("__composable_api"):
                del vars(module)[name]
        for name, held in _hooks(module).items():
            for key in [key for key in held if key not in self.hooks[name] and _of_fsdp(held[key])]:
                del held[key]


def _hooks(module: nn.Module) -> dict[str, dict[int, Any]]:
    return {name: value for name, value in vars(module).items() if name.endswith(("_hooks", "_pre_hooks"))}


def _of_fsdp(hook: Any) -> bool:
    while hasattr(hook, "__wrapped__"):
        hook = hook.__wrapped__
    return "fsdp" in str(getattr(hook, "__module__", ""))


def _handed_over(parameter: nn.Parameter) -> Any:
    """A hook of what FSDP divides: the gradient goes to the parameter that optimizer and method know."""

    def hand_over(part: Any) -> None:
        gradient = part.grad.to_local()
        part.grad = None
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        # As autograd itself would: a sparse method gathers its entries and frees the rest before the next block's.
        for hook in (getattr(parameter, "_post_accumulate_grad_hooks", None) or {}).values():
            hook(parameter)

    return hand_over


def _reached(block: nn.Module, inputs: tuple[Any, ...], keywords: Keywords) -> None:
    hidden = inputs[0] if inputs else keywords.get("hidden_states")
    if torch.is_grad_enabled() and isinstance(hidden, Tensor) and not hidden.requires_grad:
        hidden.requires_grad_(True)
