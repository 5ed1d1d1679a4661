"""The method contract: how the weights of one component change, in a few hooks.

A new method is one file that subclasses :class:`Method`, gives a card and registers itself; it then runs on every
architecture, in every study and under the contract tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import torch
from pydantic import AliasChoices, BaseModel, ConfigDict, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.errors import HoldfastError
from holdfast.models.anatomy import Component
from holdfast.models.batch import Batch as Batch
from holdfast.registry import Provider, ours
from holdfast.values import JSON, Keywords

Paradigm = Literal["selective", "additive", "reparameterization", "baseline", "any"]
Pool = Literal["train", "validation", "sources"]

ParameterGroup = dict[str, Any]
"""What ``torch.optim`` calls a parameter group: ``params``, and the settings that hold for them alone."""

_POOLS: dict[Pool, tuple[str, str]] = {
    "train": ("needs training examples of the target, and none were given", "give a target"),
    "validation": (
        "needs validation examples of the target, and none were given",
        "set target.validation to a share or a file",
    ),
    "sources": ("needs training examples of the sources, and none were given", "list sources that have training data"),
}


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the registry knows of a method, a stabiliser or a fusion.

    Attributes:
        name: As recipes write it.
        paradigm: ``any`` for stabilisers, which go with every method.
        family: Within its paradigm.
        summary: A clause, or the formula.
        paper: Where it comes from.
        year: Of the paper.
        mergeable: Whether it can be folded into the plain weights.
        provided_by: The library that does the work.
        official_code: ``owner/repository`` of the paper's authors.
        extra_inference_cost: In words.
        checked_against: What an independent check compared it with.
        default_lr: Peak learning rate where a recipe gives none.
        at: The component of its example.
    """

    name: str
    paradigm: Paradigm
    family: str
    summary: str
    paper: str
    year: int | None
    mergeable: bool = True
    provided_by: str = "holdfast"
    official_code: str | None = None
    extra_inference_cost: str = "none"
    checked_against: str = ""
    default_lr: float = 2e-4
    at: Literal["vision", "connector", "llm"] = "llm"


class Options(BaseModel):
    """A method's own settings; a key it does not know is refused.

    ``source`` says where the defaults of the options that a class adds come from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    source: ClassVar[str] = ""

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        kinds = {kind, *get_args(kind)}
        if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:
            raise ValueError("it should be a number")
        return value

    @classmethod
    def knows(cls, name: str) -> bool:
        """Whether an option is called so, here or in another spelling that is understood."""
        return any(name in cls.spellings(field) for field in cls.model_fields)

    @classmethod
    def spellings(cls, field: str) -> tuple[str, ...]:
        """A field's own name and what else is understood for it."""
        alias = cls.model_fields[field].validation_alias
        others = [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else []
        return tuple(dict.fromkeys((field, *others)))


@dataclass(frozen=True)
class Teacher:
    """A finished run that answers beside the model in training.

    Attributes:
        model: With what training changed on it.
        tokenizer: Its own.
        says: Gives its logits ``[tokens, vocabulary]`` where answer tokens of a batch are predicted.
    """

    model: nn.Module
    tokenizer: Any
    says: Callable[[Batch], Tensor]


def none_given(owner: str, of: Pool) -> HoldfastError:
    """What is said where examples are missing."""
    lacks, remedy = _POOLS[of]
    return HoldfastError(f"{owner} {lacks}", remedy=remedy)


@dataclass(frozen=True)
class Context:
    """What a method or stabiliser may ask for when it attaches.

    Attributes:
        generator: Seeded randomness of this run and component, on the CPU.
        batches: ``batches(count, of="train", size=None)`` yields up to ``count`` batches of ``size`` examples
            (default: the training batch size), the same ones at every call; nothing where a pool is empty, and none
            of the sources for a recipe in which nothing :attr:`~Method.needs_sources`.
        loss: The mean answer loss of one batch.
        lr: Peak learning rate of the component.
        tokenizer: The model's, for methods that begin with words or end in some.
        teacher: Opens a finished run by its folder.
    """

    generator: torch.Generator
    batches: Callable[..., Iterator[Batch]] | None = None
    loss: Callable[[Batch], Tensor] | None = None
    lr: float = 2e-4
    tokenizer: Any = None
    teacher: Callable[[str], Teacher] | None = None

    def look(self, owner: str, count: int, *, of: Pool = "train", size: int | None = None) -> Iterator[Batch]:
        """Up to ``count`` batches.

        Args:
            owner: Who asks, for the message.
            count: At most so many.
            of: Which examples.
            size: Examples per batch; default: the training batch size.

        Raises:
            HoldfastError: There are no such examples.
        """
        wanted: Keywords = {} if of == "train" else {"of": of}
        if size is not None:
            wanted["size"] = size
        found = False
        for batch in self.batches(count, **wanted) if self.batches is not None else ():
            found = True
            yield batch
        if not found:
            raise none_given(owner, of)

    def measure(self, batch: Batch) -> Tensor:
        """The mean answer loss of one batch that :meth:`look` gave."""
        assert self.loss is not None, "whoever gives batches gives their loss"
        return self.loss(batch)


@dataclass(frozen=True)
class Seen:
    """One batch in training, for terms of the loss that look at what the model says.

    Attributes:
        batch: The model's inputs.
        logits: ``[tokens, vocabulary]`` of the model in training, where an answer token is predicted.
        targets: ``[tokens]``, the answer tokens.
        base: Gives the untouched base's logits at the same places, for the price of a forward pass.
        again: Gives the logits of another pass of the model in training, with its own dropout and with gradients; of
            this batch, or of one that is given and has the same answers.
    """

    batch: Batch
    logits: Tensor
    targets: Tensor
    base: Callable[[], Tensor]
    again: Callable[..., Tensor]

    def losses(self, logits: Tensor) -> Tensor:
        """``-log p`` of every answer token, ``[tokens]``, in float32, by such logits at their places."""
        return cross_entropy(logits.float(), self.targets, reduction="none")


@dataclass
class Artifact:
    """What a method saves: exactly what changed, and what is needed to put it on a fresh base.

    ``metadata`` holds plain JSON values only; ``provider`` is the package that brought the method.
    """

    component: str
    method: str
    options: Mapping[str, Any]
    tensors: dict[str, Tensor]
    metadata: JSON = field(default_factory=dict)
    provider: Provider = field(default_factory=ours)

    def bytes(self) -> int:
        """Size of the tensors on disk."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())


def input_of(module: str) -> str:
    """The place in front of a module, as a :meth:`Method.ground`."""
    return f"the input of {module}"


def output_of(module: str) -> str:
    """The place behind a module, as a :meth:`Method.ground`."""
    return f"the output of {module}"


class Method:
    """One way in which the weights of one component change.

    The life of a method is ``attach``, training with the hooks, ``detach``; or ``restore`` alone, which puts a saved
    artifact on a fresh base. ``detach`` leaves the base bit for bit as ``attach`` found it.
    """

    card: Card
    Settings: ClassVar[type[Options]] = Options
    reselects: bool = False
    """Whether the values behind :meth:`anchors` change places while it trains."""
    per_token: bool = True
    """Whether a token's change depends on nothing but that token and what attention lets it see."""
    over_quantised: ClassVar[tuple[int, ...]] = ()
    """Bits of the packed weights it works beside; those can be neither written nor read as matrices."""
    over_shards: ClassVar[bool] = False
    """Whether it trains while weights are divided among processes; counts where a class says it for itself."""
    wants_logits: bool = False
    """Whether :meth:`batch_penalty` looks at what the model says."""
    reads_rate: ClassVar[bool] = True
    """Whether the learning rate sizes its steps; where it does not, a study that chooses a rate trains it once."""
    steps: int | None = None
    """How many optimizer steps training takes; told before :meth:`bind`."""
    reaches: frozenset[str] = frozenset()
    """Components beside its own whose outputs it changes."""
    goes_beside: ClassVar[bool] = False
    """Whether it may stand on a component beside other methods, as far as :meth:`ground` and :meth:`moves` let it."""
    wraps: ClassVar[bool] = False
    """Whether it takes the place of layers, so that beside others it is put on last and taken off first."""
    place: int | None = None
    """Which of several methods on its component it is; None where it is the only one."""

    def __init__(self, options: Options) -> None:
        self.options: Any = options
        self.component: Component

    @property
    def default_lr(self) -> float:
        """Peak learning rate where a recipe gives none."""
        return self.card.default_lr

    @property
    def needs_sources(self) -> bool:
        """Whether, with these options, it looks at training examples of the sources; any other is shown none."""
        return False

    def packed_bits(self) -> tuple[int, ...]:
        """:attr:`over_quantised`, as these options have it."""
        return self.over_quantised

    def beside_any_layer(self) -> bool:
        """Whether it goes beside layers whose packed weights only their own code reads (GPTQ, AWQ)."""
        return False

    def check_steps(self, steps: int) -> None:
        """Refuse options that do not go with so many optimizer steps, before the method attaches.

        Raises:
            HoldfastError: With what does.
        """

    def attach(self, component: Component, context: Context) -> None:
        """Freeze, add modules, choose weights.

        Args:
            component: The part of the model to work on, with its layers by full name.
            context: Randomness, batches and learning rate, for what depends on them.

        Raises:
            HoldfastError: The component has nothing that this method can work on.
        """
        raise NotImplementedError

    def named_trainable(self) -> dict[str, nn.Parameter]:
        """Every tensor the optimizer moves, by a name that is stable across runs."""
        raise NotImplementedError

    def moves(self) -> set[str]:
        """Names of the base parameters that training may change; all others stay bit-identical."""
        return set()

    def ground(self, component: Component) -> set[str]:
        """What no method beside it may stand on, as far as shapes tell: base parameters that it reads or whose layers
        it wraps, and places that one method alone can take. What it :meth:`moves` is its ground too.
        """
        return set()

    def parts(self) -> list[Method]:
        """The method itself; of several on one component each."""
        return [self]

    def parameter_groups(self, lr: float, weight_decay: float) -> list[ParameterGroup]:
        """Optimizer groups; weight decay acts on matrices only.

        Args:
            lr: Peak learning rate of the component.
            weight_decay: As the recipe has it.
        """
        trainable = self.named_trainable().values()
        matrices = [tensor for tensor in trainable if tensor.ndim >= 2]
        vectors = [tensor for tensor in trainable if tensor.ndim < 2]
        groups = [
            {"params": matrices, "lr": lr, "weight_decay": weight_decay},
            {"params": vectors, "lr": lr, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def added(self) -> int:
        """Number of values added to the model."""
        return 0

    def anchors(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Pairs (trained values, their base values), for stabilisers that pull towards the base."""
        return []

    def squares(self) -> list[Tensor]:
        """Squared norms of the changes of weights that :meth:`anchors` does not show, such as those of ``B A``."""
        return []

    def input_rows(self) -> dict[str, nn.Parameter]:
        """Trained matrices ``[..., in]`` by the full name of the linear layer whose weight they change, where the
        layer's change is theirs times something from the left, and nothing where they are at their start.
        """
        return {}

    def weight_changes(self) -> dict[str, tuple[Tensor, Tensor]]:
        """By the full name of a linear layer, its base weight and the change of it, ``[out, in]``, with its graph."""
        return {}

    def touches(self) -> set[str]:
        """The components whose outputs it changes; all others may be frozen, and their features kept."""
        return {self.component.name, *self.reaches}

    def sketch(self, component: Component, generator: torch.Generator) -> None:
        """Attach as far as shapes go, on a model without values, so that a plan can count what trains.

        Raises:
            HoldfastError: The method cannot work on this component, or needs values to say what it trains.
        """
        try:
            # Without a generator nothing is drawn on the CPU, and without values there is nothing to draw.
            with torch.device("meta"):
                self.attach(component, Context(None))  # type: ignore[arg-type]
        except (RuntimeError, NotImplementedError) as error:
            raise HoldfastError(
                f"method '{self.card.name}' reads weights when it attaches, so it cannot be planned from shapes",
                remedy="the ledger of holdfast tune counts it before step 1",
                kind="unplanned",
            ) from error

    def penalty(self, step: int) -> Tensor | None:
        """A term added to the loss of every optimizer step, a scalar with its graph, or nothing.

        Args:
            step: The optimizer step, from 0.
        """
        return None

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        """A term of one batch, summed over its answer tokens and scaled as the answer loss is, or nothing."""
        return None

    def changed_entries(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Of the tensors in :meth:`moves`, those that change in some entries only: flat indices and base values."""
        return {}

    def suspended(self) -> AbstractContextManager[None]:
        """Inside, the component computes what the untouched base computes, bit for bit; afterwards it is as before.

        Raises:
            HoldfastError: This method cannot be switched off.
        """
        raise HoldfastError(
            f"method '{self.card.name}' on '{self.component.name}' cannot be switched off while it trains",
            remedy="choose another method, or a stabiliser that needs no answers of the base",
        )

    def notes(self) -> JSON:
        """What the method decided when it attached, for the ledger; plain values."""
        return {}

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        """Told once which optimizer trains it, for methods whose rule reads or moves the optimizer's moments."""

    def divide(self, rows: Mapping[nn.Parameter, range]) -> list[nn.Parameter]:
        """Told that of some base parameters this process holds one range of their flat values and no more.

        Args:
            rows: Those parameters, and which values each holds from now on.

        Returns:
            The trained tensors of which this process, too, has a part only.
        """
        return [parameter for parameter in self.named_trainable().values() if parameter in rows]

    def reunite(self) -> None:
        """Told that every process holds every value again, trained ones included."""

    def before_step(self, step: int) -> None:
        """After the gradients are complete and clipped, before the optimizer; ``step`` counts from 0."""

    def after_step(self, step: int) -> None:
        """After the optimizer; ``step`` counts from 0."""

    def state(self) -> dict[str, Tensor]:
        """What an exact resume needs beside the trainable tensors."""
        return {}

    def load(self, trainable: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint's tensors after ``attach``."""
        with torch.no_grad():
            for name, parameter in self.named_trainable().items():
                parameter.copy_(trainable[name])

    def detach(self) -> Artifact:
        """Put the base back, bit for bit, and return what changed, on the CPU."""
        raise NotImplementedError

    def restore(self, component: Component, artifact: Artifact) -> None:
        """Put ``artifact`` on a fresh base."""
        raise NotImplementedError

    def merge(self) -> None:
        """After ``restore``: fold everything into the plain weights, leaving a model of the base's architecture."""

    def _artifact(self, tensors: Mapping[str, Tensor], **metadata: Any) -> Artifact:
        plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        options = self.options.model_dump(mode="json")
        return Artifact(self.component.name, self.card.name, options, plain, metadata)
