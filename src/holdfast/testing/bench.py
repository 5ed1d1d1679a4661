"""What a method is tried on: a small model, a few examples, and short runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
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
        batch: Examples a step.
    """

    name: str
    fresh: Callable[[], Loaded]
    examples: tuple[Example, ...]
    sources: tuple[Example, ...]
    batch: int = 4

    @cached_property
    def unreached(self) -> tuple[str, ...]:
        """Names of modules whose values no gradient of an answer reaches in the model itself, such as the norm behind
        the layer at which a tower is read.
        """
        loaded = self.fresh()
        loaded.model.requires_grad_(True)
        batch = loaded.chat.encode(self.examples[:2], with_answers=True)
        loaded.model(**batch).loss.backward()
        names = [name for name, values in loaded.anatomy.names().items() if values.grad is None]
        return tuple(dict.fromkeys(name.rpartition(".")[0] for name in names))


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
    train = {"steps": 4, "batch_size": bench.batch, "weight_decay": 0.1, **settings}
    config = load_config(
        {"tune": tried.section, "keep": list(keep), "train": train, "speed": {**off, **(speed or {})}, "seed": 0}
    )
    loaded = loaded or bench.fresh()
    recipe = Recipe(config)
    data = bench.examples
    pools = Pools(loaded, config.train, 0, data, data[:4], bench.sources if recipe.needs_sources else ())
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
def _kept(model: str) -> Loaded:
    return load_model(model, device="cpu")


def _copy(model: str) -> Loaded:
    kept = _kept(model)
    copied = copy.deepcopy(kept.model)
    return Loaded(kept.name, copied, kept.chat, resolve_anatomy(copied))


def pocket_bench() -> Bench:
    """The model that comes with Holdfast, on scanned digits and coloured things."""
    return bench_of("pocket")


@cache
def bench_of(model: str) -> Bench:
    """A model by its folder or name, in float32 on the CPU, on scanned digits and coloured things.

    Raises:
        HoldfastError: It cannot be loaded.
    """
    _kept(model)  # what cannot be loaded is said before the first test
    digits, colours = draw("digits", "train", 4), draw("color", "train", 4)
    asked = [
        Example(f"{sample.id}-{turn}", (sample.image,), (Turn(question, (sample.answer,)),), sample.image_id)
        for sample in digits
        for turn, question in enumerate((sample.question, f"{sample.question} say it"))
    ]
    kept = [Example(s.id, (s.image,), (Turn(s.question, (s.answer,)),), s.image_id) for s in colours]
    if model == "pocket":
        return Bench("the pocket model", partial(_copy, model), tuple(asked), tuple(kept))
    return Bench(model, partial(_copy, model), tuple(asked), tuple(kept), batch=2)
