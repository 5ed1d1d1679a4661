"""Studies whose truth is known: every item of every training is drawn, nothing is trained.

An item of a task changes with a latent value that adds the recipe's true effect, the ease of the item and of its image
(the same for every training), what this training does to every item (its seed's effect), what it does to this item
alone, and nothing else. One threshold before and one after make 0/1 scores of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from holdfast.results.items import ItemChanges, item_changes
from holdfast.results.points import Point, Results

NORMAL = NormalDist()


@dataclass(frozen=True)
class World:
    """What is true.

    Attributes:
        effects: Recipe -> task -> share of right answers after.
        before: Share of right answers of the base on each source; targets begin at 0.
        factors: Factor axes; a recipe is its levels joined by ``/``.
        targets: Levels of the target axis.
        sources: Source tasks.
        seeds: Trainings of each recipe and target.
        items: Of each task.
        questions: Items an image.
        seed_spread: Standard deviation of a training's effect on the latent scale; a recipe may have its own.
        own: Standard deviation of what a training does to one item alone.
        alike: Share of the latent item variance that its image carries.
    """

    effects: Mapping[str, Mapping[str, float]]
    factors: tuple[str, ...] = ("method",)
    targets: tuple[str, ...] = ("digits",)
    sources: tuple[str, ...] = ("color", "count")
    before: float = 0.9
    seeds: int = 3
    items: int = 100
    questions: int = 1
    seed_spread: float | Mapping[str, float] = 0.3
    own: float = 0.7
    alike: float = 0.3
    extra: Mapping[str, Any] = field(default_factory=dict)

    def spread(self, recipe: str) -> float:
        """Of one recipe's seeds."""
        return self.seed_spread if isinstance(self.seed_spread, float) else self.seed_spread[recipe]

    def truth(self, recipe: str, measure: str) -> float:
        """The mean over all seeds and items, in points."""
        after = self.effects[recipe]
        gain = 100 * float(np.mean([after[task] for task in self.targets]))
        loss = 100 * float(np.mean([after[task] - self.before for task in self.sources]))
        return {"E": gain, "F": loss, "O": gain + loss}[measure]


def simulate(
    world: World, generator: np.random.Generator, folder: Path = Path("none")
) -> tuple[Results, dict[str, Any]]:
    """Draw a study; returns its results and the changes of its items by point."""
    images = -(-world.items // world.questions)
    owner = np.arange(world.items) // world.questions

    def ease() -> np.ndarray:
        shared = generator.standard_normal(images)[owner] * np.sqrt(world.alike)
        return shared + generator.standard_normal(world.items) * np.sqrt(1 - world.alike)

    eases = {task: ease() for task in (*world.targets, *world.sources)}
    ids = [f"q{number}" for number in range(world.items)]
    pictures = {i: f"p{image}" for i, image in zip(ids, owner, strict=True)}
    bases = {
        task: (eases[task] < NORMAL.inv_cdf(world.before)) if task in world.sources else np.zeros(world.items, bool)
        for task in eases
    }
    points: list[Point] = []
    changes: dict[str, dict[str, ItemChanges]] = {}
    for recipe, after in world.effects.items():
        for target in world.targets:
            for seed in range(1, world.seeds + 1):
                shift = generator.standard_normal() * world.spread(recipe)
                rows: dict[str, Any] = {"target": {}, "sources": {}}
                found = {}
                for task in (target, *world.sources):
                    spread = np.sqrt(1 + world.spread(recipe) ** 2 + world.own**2)
                    latent = eases[task] + shift + generator.standard_normal(world.items) * world.own
                    right = latent < NORMAL.inv_cdf(after[task]) * spread
                    change = right.astype(float) - bases[task]
                    found[task] = item_changes(dict(zip(ids, change.tolist(), strict=True)), pictures)
                    part = "target" if task == target else "sources"
                    rows[part][task] = {
                        "before": 100 * float(bases[task].mean()),
                        "after": 100 * float(right.mean()),
                        "n": world.items,
                    }
                key = f"{len(points):016x}"
                changes[key] = found
                named = dict(zip(world.factors, recipe.split("/"), strict=True))
                points.append(_point(key, named | {"target": target, "seed": str(seed)}, rows, folder, world.extra))
    axes = {
        factor: tuple(dict.fromkeys(recipe.split("/")[number] for recipe in world.effects))
        for number, factor in enumerate(world.factors)
    }
    axes |= {"target": world.targets, "seed": tuple(str(seed) for seed in range(1, world.seeds + 1))}
    return Results("A simulated study", "", axes, tuple(points), (), {}, folder), changes


def _point(key: str, levels: Mapping[str, str], rows: dict[str, Any], folder: Path, extra: Mapping[str, Any]) -> Point:
    gain = mean_change(list(rows["target"].values()))
    loss = mean_change(list(rows["sources"].values()))
    target, source = (float(np.mean([task["after"] for task in rows[part].values()])) for part in ("target", "sources"))
    scores = rows | {
        "name": key,
        "method": levels.get("method", ""),
        "paradigm": "selective",
        "E": gain,
        "F": loss,
        "O": gain + loss,
        "H": 2 * target * source / (target + source) if target + source else 0.0,
        "left_out": {"E": [], "F": []},
        "trainable": 1000,
        "trainable_percent": 1.0,
        "seconds": 10.0,
        "learned": 0,
        "forgot": 0,
        **extra,
    }
    return Point(key, levels, "finished", None, scores, folder / "points" / key)


def mean_change(tasks: Sequence[Mapping[str, float]]) -> float:
    """In points."""
    return float(np.mean([task["after"] - task["before"] for task in tasks]))
