"""What a method is tried on: a small model, a few examples, and short runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from holdfast.config.loading import load_config
from holdfast.data.examples import Example, Turn
from holdfast.events import Event, GradientsChecked
from holdfast.methods.recipe import Recipe
from holdfast.models.anatomy import resolve_anatomy
from holdfast.models.loading import Loaded, load_model
from holdfast.pocket.tasks import draw
from holdfast.speed.decision import Engaged, Report
from holdfast.training.loop import Trainer
from holdfast.training.pools import Pools
from holdfast.values import Keywords


@dataclass(frozen=True)
class Bench:
    """A model and its examples.

    Attributes:
        name: For messages.
        fresh: Gives the untouched model, a copy of its own at every call.
        examples: Of the target; two about each image, so that rows may be shared.
        sources: What must be kept.
    """

    name: str
    fresh: Callable[[], Loaded]
    examples: tuple[Example, ...]
    sources: tuple[Example, ...]


@dataclass(frozen=True)
class Tried:
    """A method by name, with the options and the place that it is tried with."""

    method: str
    component: str
    options: Mapping[str, Any] = field(default_factory=dict)
    lr: float = 1e-2

    @property
    def section(self) -> dict[str, Keywords]:
        """As a recipe says it."""
        return {self.component: {"method": self.method, "lr": self.lr, **self.options}}


@dataclass
class Trained:
    """A short run, before anything is taken off."""

    loaded: Loaded
    recipe: Recipe
    losses: list[float]
    missing: list[str]
    logits: Tensor
    report: Report


def train(
    bench: Bench,
    tried: Tried,
    *,
    loaded: Loaded | None = None,
    speed: Mapping[str, Any] | None = None,
    keep: Sequence[str] = (),
    **settings: Any,
) -> Trained:
    """Attach a method and train it for a few steps.

    Raises:
        HoldfastError: The method refuses the model or its options.
    """
    off = {"share_images": "off", "feature_cache": "off"}
    train = {"steps": 4, "batch_size": 4, "weight_decay": 0.1, **settings}
    config = load_config(
        {"tune": tried.section, "keep": list(keep), "train": train, "speed": {**off, **(speed or {})}, "seed": 0}
    )
    loaded = loaded or bench.fresh()
    recipe = Recipe(config)
    data = bench.examples
    pools = Pools(loaded, config.train, 0, data, data[:4], bench.sources)
    recipe.attach(loaded, 0, pools, pools.loss)
    missing: list[str] = []
    report: Report = {}

    def listen(event: Event) -> None:
        if isinstance(event, GradientsChecked):
            missing.extend(event.missing)
        if isinstance(event, Engaged):
            report.update(event.report)

    trainer = Trainer(loaded, recipe, config.train, data, data[:4], seed=0, listen=listen, speed=config.speed)
    losses = trainer.fit().losses
    return Trained(loaded, recipe, losses, missing, logits(bench, loaded), report)


@torch.no_grad()
def logits(bench: Bench, loaded: Loaded) -> Tensor:
    """What the model says on four examples."""
    batch = loaded.chat.encode(bench.examples[:4], with_answers=True)
    batch.pop("labels")
    loaded.model.eval()
    found: Tensor = loaded.model(**batch).logits
    return found


@cache
def _pocket() -> Loaded:
    return load_model("pocket", device="cpu")


def _copy() -> Loaded:
    kept = _pocket()
    model = copy.deepcopy(kept.model)
    return Loaded(kept.name, model, kept.chat, resolve_anatomy(model))


@cache
def pocket_bench() -> Bench:
    """The model that comes with Holdfast, on scanned digits and coloured things."""
    digits, colours = draw("digits", "train", 4), draw("color", "train", 4)
    asked = [
        Example(f"{sample.id}-{turn}", (sample.image,), (Turn(question, (sample.answer,)),), sample.image_id)
        for sample in digits
        for turn, question in enumerate((sample.question, f"{sample.question} say it"))
    ]
    kept = [Example(s.id, (s.image,), (Turn(s.question, (s.answer,)),), s.image_id) for s in colours]
    return Bench("the pocket model", _copy, tuple(asked), tuple(kept))
