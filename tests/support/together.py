"""Recipes trained by several processes: run in each of them, it writes the losses that the first one sees.

``python -m tests.support.together MODEL OUT`` trains every recipe below on a tiny model.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast import ranks
from holdfast.config.loading import load_config
from holdfast.data.examples import Example, Turn
from holdfast.methods.recipe import Recipe
from holdfast.models.loading import load_model
from holdfast.training.loop import Trainer
from tests.support.methods import SOURCES, Pools, examples

LORA = {"llm": {"method": "lora", "r": 4, "alpha": 8, "lr": 1e-2, "dropout": 0.0}}
FULL = {"llm": {"method": "full", "lr": 1e-3}}

RECIPES: dict[str, dict[str, Any]] = {
    "full": {"tune": FULL},
    "lora": {"tune": LORA},
    "adapter": {"tune": {"llm": {"method": "adapter", "bottleneck": 8, "lr": 1e-2, "dropout": 0.0}}},
    "prefix": {"tune": {"llm": {"method": "prefix", "tokens": 4, "lr": 1e-2}}},
    "sparse": {"tune": {"llm": {"method": "gradient_mask", "ratio": 0.1, "lr": 1e-3}}},
    "reselecting": {"tune": {"llm": {"method": "fish_dip", "every": 4, "ratio": 0.1, "lr": 1e-3}}},
    "spider": {"tune": {"llm": {"method": "spider", "lr": 1e-3}}},
    "vision": {"tune": {"vision": {"method": "full", "lr": 1e-3}, "connector": {"method": "full", "lr": 1e-3}}},
    "distillation": {"tune": FULL, "keep": ["distillation"]},
    "distance": {"tune": FULL, "keep": [{"stabiliser": "l2_sp", "strength": 0.1}]},
    "prograd": {"tune": FULL, "keep": ["prograd"]},
    "replay": {"tune": LORA, "keep": [{"stabiliser": "replay", "ratio": 0.3}]},
    "ahead": {"tune": LORA, "speed": {"workers": 2}},
    "accumulated": {"tune": LORA, "train": {"accumulate": 3, "batch_size": 3}},
}
"""What is to give the same curve whatever the number of processes."""

TRAIN = {"steps": 20, "batch_size": 6, "warmup": 0.1, "weight_decay": 0.01, "trackers": [], "precision": "fp32"}


def shown() -> tuple[Example, ...]:
    """Answers of very different lengths, several questions about some pictures, and text alone."""
    made = []
    for index, example in enumerate(examples(12)):
        picture = examples(12)[index - index % 3]
        answers = ("yes", "a rather long answer about the colour of it", "blue", "dark blue")
        turns = (Turn("what colour ?" + " and why ?" * (index % 4), (answers[index % 4],)),)
        images, key = ((), None) if index == 7 else (picture.images, picture.image_key)
        made.append(replace(example, images=images, image_key=key, turns=turns))
    return tuple(made)


def losses(model: Path, recipe: dict[str, Any]) -> list[float]:
    """The curve of one recipe, by the processes that are there."""
    config = load_config({**recipe, "train": {**TRAIN, **recipe.get("train", {})}})
    loaded, made, chosen = load_model(str(model), device="cpu"), Recipe(config), shown()
    pools = Pools(loaded, config.train, 0, chosen, chosen, SOURCES)
    mixed = [*chosen]
    for stabiliser in made.stabilisers:
        mixed = stabiliser.mix(mixed, SOURCES, 0)
    made.attach(loaded, 0, pools, pools.loss)
    return Trainer(loaded, made, config.train, tuple(mixed), (), seed=0, speed=config.speed).fit().losses


if __name__ == "__main__":
    ranks.join()
    curves = {name: losses(Path(sys.argv[1]), recipe) for name, recipe in RECIPES.items()}
    if ranks.here().first:
        Path(sys.argv[2]).write_text(json.dumps(curves), encoding="utf-8")
    ranks.leave()
