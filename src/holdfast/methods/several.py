"""Several methods on one component, as one: each works on ground of its own.

Two parts may not stand on the same ground (:meth:`holdfast.methods.contract.Method.ground` and ``moves``): base values
that one trains, reads when it starts or wraps, and places that one method alone can take. Then nothing that one of them
does is seen by what another has kept of the base, so that they attach, switch off, save and merge each as if alone.
Modules put in front of, behind or beside others have no base values for ground, and go with all that have.

What wraps layers is put on last and taken off first, whatever the order in the recipe; the others in that order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from itertools import combinations

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError, within
from holdfast.methods.contract import Artifact, Card, Context, Method, Options, ParameterGroup, Seen
from holdfast.methods.registry import METHODS
from holdfast.methods.stabilisers.base import total
from holdfast.models.anatomy import AsItStood, Component
from holdfast.registry import Provider
from holdfast.values import JSON

SEVERAL = "several"
"""What an artifact says in the place of a method's name."""


class SeveralOptions(Options):
    """The parts, each with its method, rate and options."""

    parts: tuple[JSON, ...]


class Several(Method):
    """Methods that share a component; to whoever trains, saves or counts, one.

    Args:
        methods: In the order of the recipe.
        rates: Peak learning rate of each.

    Raises:
        HoldfastError: One of them goes with no other.
    """

    def __init__(self, methods: Sequence[Method], rates: Sequence[float]) -> None:
        self.methods, self.rates = list(methods), list(rates)
        for place, method in enumerate(self.methods):
            if not method.goes_beside:
                raise HoldfastError(
                    f"method '{method.card.name}' is not known to go with another on one component",
                    remedy="let it stand alone there, or tune the others in a run of their own",
                    key=f"{place}.method",
                )
            method.place = place
        options = [method.options.model_dump(mode="json", exclude_defaults=True) for method in self.methods]
        rows = [
            {"method": method.card.name, "lr": rate, "options": own}
            for method, rate, own in zip(self.methods, self.rates, options, strict=True)
        ]
        super().__init__(SeveralOptions(parts=tuple(rows)))
        self.card = _card([method.card for method in self.methods])
        self.per_token = all(method.per_token for method in self.methods)
        self.reselects = any(method.reselects for method in self.methods)
        self.wants_logits = any(method.wants_logits for method in self.methods)
        self.reaches = frozenset[str]().union(*(method.reaches for method in self.methods))

    def parts(self) -> list[Method]:
        return list(self.methods)

    @property
    def default_lr(self) -> float:
        """The first part's; each trains at its own."""
        return self.rates[0]

    def packed_bits(self) -> tuple[int, ...]:
        common = set(self.methods[0].packed_bits()).intersection(*(method.packed_bits() for method in self.methods))
        return tuple(sorted(common))

    def attach(self, component: Component, context: Context) -> None:
        view = self._enter(component)
        on: list[int] = []
        try:
            for place in self._order():
                component.model.eval()  # whoever looks at losses now must not meet the dropout of what was just added
                with within(place):
                    self.methods[place].attach(view, replace(context, lr=self.rates[place]))
                on.append(place)
                self._check_apart(on)
                for parameter in self.named_trainable_of(on).values():
                    parameter.grad = None  # of passes in which another part looked at losses
        except BaseException:
            for place in reversed(on):
                self.methods[place].detach()
            raise

    def sketch(self, component: Component, generator: torch.Generator) -> None:
        view = self._enter(component)
        on: list[int] = []
        for place in self._order():
            with within(place):
                self.methods[place].sketch(view, generator)
            on.append(place)
            self._check_apart(on)

    def _enter(self, component: Component) -> AsItStood:
        """Look at the component before anything stands on it."""
        self.component = view = AsItStood(component)
        self._ground = []
        for place, method in enumerate(self.methods):
            with within(place):
                self._ground.append(method.ground(view))
        self._check_apart(())
        return view

    def _order(self) -> list[int]:
        """The places of the parts as they are put on."""
        return sorted(range(len(self.methods)), key=lambda place: self.methods[place].wraps)

    def _check_apart(self, on: Iterable[int]) -> None:
        """Refuse two parts on the same ground, as far as it is known yet.

        Raises:
            HoldfastError: With both, and what both would stand on.
        """
        moved = {place: self.methods[place].moves() for place in on}
        whole = [own | moved.get(place, set()) for place, own in enumerate(self._ground)]
        for first, second in combinations(range(len(whole)), 2):
            common = whole[first] & whole[second]
            if common:
                names = [self.methods[place].card.name for place in (first, second)]
                more = f" and {len(common) - 1} more" if len(common) > 1 else ""
                raise HoldfastError(
                    f"methods '{names[0]}' and '{names[1]}' would both stand on {min(common)}{more}, which each of "
                    "them trains, reads or wraps as if it were alone there",
                    remedy="give one of them other modules or layers, or leave it out",
                    key=str(second),
                )

    def named_trainable_of(self, places: Iterable[int]) -> dict[str, nn.Parameter]:
        """The trained tensors of some parts, by name."""
        return {
            f"{self.prefix(place)}{name}": parameter
            for place in places
            for name, parameter in self.methods[place].named_trainable().items()
        }

    def prefix(self, place: int) -> str:
        """What stands in front of every name of a part: ``0.lora/``."""
        return f"{place}.{self.methods[place].card.name}/"

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return self.named_trainable_of(range(len(self.methods)))

    def moves(self) -> set[str]:
        return set[str]().union(*(method.moves() for method in self.methods))

    def ground(self, component: Component) -> set[str]:
        return set[str]().union(*(method.ground(component) for method in self.methods))

    def parameter_groups(self, lr: float, weight_decay: float) -> list[ParameterGroup]:
        # Each at its own rate; ``lr`` is the component's, of which there is none.
        rated = zip(self.methods, self.rates, strict=True)
        return [group for method, rate in rated for group in method.parameter_groups(rate, weight_decay)]

    def added(self) -> int:
        return sum(method.added() for method in self.methods)

    def anchors(self) -> list[tuple[nn.Parameter, Tensor]]:
        return [pair for method in self.methods for pair in method.anchors()]

    def squares(self) -> list[Tensor]:
        return [square for method in self.methods for square in method.squares()]

    def input_rows(self) -> dict[str, nn.Parameter]:
        return {name: rows for method in self.methods for name, rows in method.input_rows().items()}

    def weight_changes(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {name: pair for method in self.methods for name, pair in method.weight_changes().items()}

    def changed_entries(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {name: pair for method in self.methods for name, pair in method.changed_entries().items()}

    def divide(self, rows: Mapping[nn.Parameter, range]) -> list[nn.Parameter]:
        return [parameter for method in self.methods for parameter in method.divide(rows)]

    def reunite(self) -> None:
        for method in self.methods:
            method.reunite()

    def touches(self) -> set[str]:
        return set[str]().union(*(method.touches() for method in self.methods))

    def penalty(self, step: int) -> Tensor | None:
        return total(method.penalty(step) for method in self.methods)

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        return total(method.batch_penalty(seen) for method in self.methods if method.wants_logits)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        with ExitStack() as stack:
            for place in reversed(self._order()):
                stack.enter_context(self.methods[place].suspended())
            yield

    def notes(self) -> JSON:
        rows = [
            {
                "method": method.card.name,
                "lr": rate,
                "trainable": sum(tensor.numel() for tensor in method.named_trainable().values()),
                **method.notes(),
            }
            for method, rate in zip(self.methods, self.rates, strict=True)
        ]
        return {"parts": rows}

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        for place, method in enumerate(self.methods):
            method.steps = self.steps
            with within(place):
                method.bind(optimizer)

    def before_step(self, step: int) -> None:
        for method in self.methods:
            method.before_step(step)

    def after_step(self, step: int) -> None:
        for method in self.methods:
            method.after_step(step)

    def state(self) -> dict[str, Tensor]:
        return {
            f"{self.prefix(place)}{name}": tensor
            for place, method in enumerate(self.methods)
            for name, tensor in method.state().items()
        }

    def load(self, trainable: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        for place, method in enumerate(self.methods):
            method.load(below(trainable, self.prefix(place)), below(state, self.prefix(place)))

    def detach(self) -> Artifact:
        own = {place: self.methods[place].detach() for place in reversed(self._order())}
        rows, tensors = [], dict[str, Tensor]()
        for place, rate in enumerate(self.rates):
            artifact = own[place]
            artifact.provider = METHODS.provider(artifact.method)
            row = {"method": artifact.method, "lr": rate, "options": dict(artifact.options)}
            rows.append(row | {"metadata": artifact.metadata, "provider": asdict(artifact.provider)})
            tensors |= {f"{self.prefix(place)}{name}": tensor for name, tensor in artifact.tensors.items()}
        return Artifact(self.component.name, SEVERAL, {"parts": rows}, tensors)

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.component = view = AsItStood(component)
        saved = parts_of(artifact)
        for place in self._order():
            self.methods[place].restore(view, saved[place])

    def merge(self) -> None:
        for place in reversed(self._order()):
            self.methods[place].merge()


def parts_of(artifact: Artifact) -> list[Artifact]:
    """What each of several methods on one component saved; of a method alone, its artifact."""
    if artifact.method != SEVERAL or "parts" not in artifact.options:
        return [artifact]
    return [
        Artifact(
            artifact.component,
            row["method"],
            row["options"],
            below(artifact.tensors, f"{place}.{row['method']}/"),
            row["metadata"],
            Provider(**row["provider"]),
        )
        for place, row in enumerate(artifact.options["parts"])
    ]


def rates_of(artifact: Artifact) -> list[float]:
    """The peak rates at which the parts of such an artifact trained."""
    return [float(row["lr"]) for row in artifact.options["parts"]]


def _card(cards: Sequence[Card]) -> Card:
    """What can be said of them together."""
    paradigms = {card.paradigm for card in cards}
    costs = dict.fromkeys(card.extra_inference_cost for card in cards if card.extra_inference_cost != "none")
    years = [card.year for card in cards if card.year is not None]
    return Card(
        name=" + ".join(card.name for card in cards),
        paradigm=paradigms.pop() if len(paradigms) == 1 else "any",
        family=SEVERAL,
        summary="; ".join(card.summary for card in cards),
        paper=", ".join(dict.fromkeys(card.paper for card in cards if card.paper)),
        year=max(years, default=None),
        mergeable=all(card.mergeable for card in cards),
        provided_by=" + ".join(dict.fromkeys(card.provided_by for card in cards)),
        extra_inference_cost=", ".join(costs) or "none",
    )


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
