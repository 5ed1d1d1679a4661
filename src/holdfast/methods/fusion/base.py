"""The fusion contract: edit ``tuned - base`` after training, piece by piece.

A fusion sees flat float32 pieces of at most :data:`PIECE` values, in memory or from disk, and knows no other way to
work: so a model fused on disk, a piece at a time, equals bit for bit the same model fused in memory. What needs to know
all weights at once (a threshold over the whole model) looks at the pieces in passes before the first is combined; what
decomposes matrices sees every tensor as one piece.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Card, Context, Options, Paradigm
from holdfast.methods.experts import packed
from holdfast.models.anatomy import COMPONENTS

Tensors = Mapping[str, Tensor]

PIECE = 1 << 18
"""Values worked on at a time: 1 MB a tensor in float32. Larger pieces cost memory and were no faster."""


class Weights(Protocol):
    """Where weights are read from: memory or disk."""

    def names(self) -> list[str]:
        """Every tensor, in reading order."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Of the tensor."""
        ...

    def read(self, name: str, begin: int, end: int) -> Tensor:
        """The values ``[begin, end)`` of the flat tensor, in its own dtype."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Tensors as :class:`Weights`."""

    tensors: Tensors

    def names(self) -> list[str]:
        return sorted(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)

    def read(self, name: str, begin: int, end: int) -> Tensor:
        return self.tensors[name].detach().reshape(-1)[begin:end].cpu()


@dataclass(frozen=True)
class Piece:
    """Some values of one tensor: of the base, and of every tuned model; float32, flat. ``shape`` is the tensor's."""

    name: str
    begin: int
    base: Tensor
    tuned: tuple[Tensor, ...]
    shape: tuple[int, ...] = ()

    @property
    def changes(self) -> list[Tensor]:
        """``tuned - base`` of every tuned model."""
        return [tensor - self.base for tensor in self.tuned]


@dataclass(frozen=True, kw_only=True)
class FusionCard(Card):
    """A fusion chooses among the changes of weights."""

    paradigm: Paradigm = "selective"


Passes = Callable[[], Iterator[Piece]]


class Fusion:
    """Edits ``tuned - base`` after training.

    Beside its card it says how many tuned models it takes (``experts``: a number, or ``None`` for any), and what it
    sees at a time (``unit``: a piece of a tensor, or all of it). ``needs_data`` fusions look at examples, which only a
    recipe has.
    """

    card: ClassVar[Card]
    experts: ClassVar[int | None] = 1
    unit: ClassVar[Literal["piece", "matrix"]] = "piece"
    needs_data: ClassVar[bool] = False
    Settings: ClassVar[type[Options]]
    components: Sequence[str] = COMPONENTS
    """In a recipe: those whose changes it edits."""
    experts_from: Sequence[str] = ()
    """In a recipe: the folders of other runs whose changes are fused with this one's."""
    others: Sequence[Sequence[Artifact]] = ()
    """In a recipe: what those runs changed."""
    weights: Sequence[float] = ()
    scales: Sequence[float] = ()
    """Of the experts, from :meth:`begin` on, where the fusion :attr:`shares`; see :mod:`holdfast.methods.experts`."""

    def __init__(self, options: Options) -> None:
        self.options: Any = options

    @property
    def needs_sources(self) -> bool:
        """Whether, with these options, it looks at training examples of the sources; any other is shown none."""
        return False

    def check(self, count: int) -> None:
        """Refuse options that do not go with so many tuned models, before step 1.

        Raises:
            HoldfastError: With what does.
        """

    def require(self, context: Context) -> None:
        """In a recipe, before step 1: refuse data that will be missing after training.

        Raises:
            HoldfastError: The fusion needs examples that were not given.
        """

    def begin(self, passes: Passes) -> None:
        """Look at all weights, as often as needed, before the first piece is combined."""

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        """The new values of one piece, float32 and flat. ``generator`` belongs to the piece's tensor."""
        raise NotImplementedError

    @property
    def shares(self) -> bool:
        """Whether several experts can be kept as what they share and what is each one's own."""
        return False

    def share(self, piece: Piece) -> Tensors:
        """That of one piece, flat; :func:`holdfast.methods.experts.combined` makes what :meth:`combine` does of it."""
        raise NotImplementedError

    def observe_tuned(self, model: nn.Module, base: Tensors, names: Sequence[str], context: Context | None) -> None:
        """In a recipe: look at the tuned model, whose changed parameters are ``names``, before it is undone.

        Raises:
            HoldfastError: The fusion needs data that were not given.
        """

    def observe_base(self, model: nn.Module, names: Sequence[str], context: Context | None) -> None:
        """In a recipe: look at the untouched base.

        Raises:
            HoldfastError: The fusion needs data that were not given.
        """

    def fuse(self, base: Tensors, tuned: Tensors | Sequence[Tensors], generator: torch.Generator) -> dict[str, Tensor]:
        """New weights, in the base's dtypes, for every tensor of the tuned models.

        Args:
            base: The base's tensors; more of them than the tuned models have is allowed.
            tuned: One tuned model's tensors, or those of several, with the same names and shapes as the base's.
            generator: Its seed is the seed of every random choice.

        Raises:
            HoldfastError: Too many tuned models for this fusion, or values that are not finite.
        """
        several = [tuned] if isinstance(tuned, Mapping) else list(tuned)
        names, look = self._opened(base, several)
        seed = generator.initial_seed()
        fused = {name: torch.empty_like(base[name], device="cpu").reshape(-1) for name in names}
        generators = {name: generator_of(seed, name) for name in names}
        for piece in look():
            values = self.combine(piece, generators[piece.name])
            fused[piece.name][piece.begin : piece.begin + len(values)] = values.to(base[piece.name].dtype)
        return {name: fused[name].view(base[name].shape) for name in names}

    def divide(self, base: Tensors, tuned: Sequence[Tensors]) -> dict[str, Tensor]:
        """What :meth:`share` finds, as :mod:`holdfast.methods.experts` stores it. Arguments and mistakes are those of
        :meth:`fuse`.
        """
        _, look = self._opened(base, list(tuned))
        stored: dict[str, Tensor] = {}
        for name, group in groupby(look(), key=lambda piece: piece.name):
            found = [self.share(piece) for piece in group]
            whole = {part: torch.cat([one[part] for one in found], dim=-1) for part in found[0]}
            stored |= {f"{name}:{part}": tensor for part, tensor in packed(whole, base[name]).items()}
        return stored

    def _opened(self, base: Tensors, several: list[Tensors]) -> tuple[list[str], Passes]:
        """Begin; the names of what is fused, and its pieces."""
        check_experts(self, len(several))
        sources = [InMemory(tensors) for tensors in several]
        names = sources[0].names()
        for tensors in several:
            for name in names:
                if name not in tensors or name not in base or tensors[name].shape != base[name].shape:
                    raise HoldfastError(
                        f"'{name}' is not the same tensor in base and tuned model", remedy="fuse models of one base"
                    )
        own = InMemory({name: base[name] for name in names})

        def look() -> Iterator[Piece]:
            return pieces(own, sources, whole=self.unit == "matrix")

        self.begin(look)
        return names, look


def pieces(base: Weights, tuned: Sequence[Weights], *, whole: bool = False) -> Iterator[Piece]:
    """Every tensor of ``base`` in pieces, or ``whole`` in one, beside the same values of the tuned models.

    Raises:
        HoldfastError: A tuned model holds a value that is not finite.
    """
    for name in base.names():
        shape = base.shape(name)
        size = math.prod(shape)
        for begin in range(0, size, max(size, 1) if whole else PIECE):
            end = size if whole else min(begin + PIECE, size)
            others = tuple(_finite(t, name, begin, end) for t in tuned)
            yield Piece(name, begin, base.read(name, begin, end).float(), others, shape)


def _finite(weights: Weights, name: str, begin: int, end: int) -> Tensor:
    values = weights.read(name, begin, end).float()
    if not bool(torch.isfinite(values).all()):
        raise HoldfastError(
            f"'{name}' of a tuned model holds values that are not finite", remedy="train it again with a lower lr"
        )
    return values


def generator_of(seed: int, name: str) -> torch.Generator:
    """Randomness of one tensor, whatever the order in which tensors are read."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def check_experts(fusion: Fusion, count: int) -> None:
    """Refuse more tuned models than a fusion takes, and options that do not go with so many.

    Raises:
        HoldfastError: With a fusion that takes several, or what the options should be.
    """
    if fusion.experts is not None and count > fusion.experts:
        raise HoldfastError(
            f"fusion '{fusion.card.name}' takes {fusion.experts} tuned model, and {count} were given",
            remedy="use one that takes several, such as ties, dare, task_arithmetic or fisher",
        )
    fusion.check(count)
