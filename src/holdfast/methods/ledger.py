"""The ledger: what will train, said before step 1 and checked after step 1 and at the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.methods.recipe import Recipe
from holdfast.models.anatomy import Anatomy
from holdfast.models.identity import tensor_digest


@dataclass(frozen=True)
class Row:
    """One component's line. ``total`` counts base and added values; ``checkpoint_bytes`` is what the artifact takes."""

    component: str
    method: str
    options: dict[str, Any]
    trainable: int
    total: int
    lr: float | None
    checkpoint_bytes: int


@dataclass(frozen=True)
class Ledger:
    """All rows and their sums; ``percent`` is trainable / (base + added) * 100."""

    rows: tuple[Row, ...]
    base: int
    added: int

    @property
    def trainable(self) -> int:
        """Values the optimizer moves."""
        return sum(row.trainable for row in self.rows)

    @property
    def percent(self) -> float:
        """Trained values among base and added ones, in percent."""
        return 100 * self.trainable / (self.base + self.added)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``ledger.json``."""
        return {
            "components": {
                row.component: {k: v for k, v in asdict(row).items() if k != "component"} for row in self.rows
            },
            "base": self.base,
            "added": self.added,
            "trainable": self.trainable,
            "trainable_percent": self.percent,
        }


def write_ledger(recipe: Recipe, anatomy: Anatomy) -> Ledger:
    """Count what an attached recipe trains."""
    rows = []
    added_total = 0
    for component, method in recipe.methods.items():
        part = anatomy.component(component)
        active = component in recipe.active
        trainable = list(method.named_trainable().values()) if active else []
        count = sum(tensor.numel() for tensor in trainable)
        added = method.added() if active else 0
        added_total += added
        # A sparse delta stores an index of four bytes beside each value.
        index = 4 if hasattr(method, "selected") else 0
        rows.append(
            Row(
                component=component,
                method=method.card.name,
                options=method.options.model_dump(mode="json", exclude_defaults=True),
                trainable=count,
                total=part.count() + added,
                lr=recipe.learning_rates[component] if active else None,
                checkpoint_bytes=sum(t.numel() * (t.element_size() + index) for t in trainable),
            )
        )
    base = sum(parameter.numel() for parameter in {id(p): p for p in anatomy.names().values()}.values())
    return Ledger(tuple(rows), base, added_total)


def without_gradient(recipe: Recipe) -> list[str]:
    """Trainable tensors that the first backward did not reach."""
    return [name for name, parameter in recipe.named_trainable().items() if parameter.grad is None]


def fingerprint(anatomy: Anatomy) -> dict[str, bytes]:
    """A digest of every base parameter, to be compared with :func:`check_moved`."""
    return {name: tensor_digest(parameter) for name, parameter in anatomy.names().items()}


def check_moved(before: dict[str, bytes], recipe: Recipe, anatomy: Anatomy) -> None:
    """Stop if a base parameter moved that the ledger does not name.

    Raises:
        HoldfastError: With the names.
    """
    allowed = {name for method in recipe.active.values() for name in method.moves()}
    strays = [
        name
        for name, parameter in anatomy.names().items()
        if name not in allowed and tensor_digest(parameter) != before[name]
    ]
    if strays:
        raise HoldfastError(
            f"{len(strays)} parameters moved that the ledger does not name: {', '.join(strays[:5])}",
            remedy="this is a fault of the method; please report it with the configuration",
        )
