"""Find each demo recipe's learning rate on the target's validation part, and print where it came from.

    python benchmarks/demo_rates.py [--recipes full,lora] [--steps 150] [--seed 1] [--out rates.json]

For every recipe a grid half a decade apart is trained with a seed the demo does not use, each until the target's
validation loss no longer falls, as in the demo. The largest rate wins whose sum of target accuracy and mean source
accuracy, both on validation parts, is within a point of the best: so few items tell no less apart, and it trains
shortest. WiSE-FT's alpha has the best sum. ``full_low`` is full tuning at that rate; the recipe
``full`` stands for tuning at a rate that nobody looked for: half a decade above. Test parts are never looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from holdfast.config.schema import RunConfig
from holdfast.methods.recipe import Recipe, fuse, restore
from holdfast.methods.registry import make_fusion
from holdfast.models.loading import load_model
from holdfast.runs.reading import Tasks, read_tasks
from holdfast.studies.demo import demo_study
from holdfast.training.loop import Trainer
from holdfast.training.loss import answer_loss
from holdfast.training.pools import Pools

GRIDS = {
    "full": (3e-5, 1e-4, 3e-4, 1e-3),
    "replay": (1e-4, 3e-4, 1e-3, 3e-3),
    "connector": (3e-4, 1e-3, 3e-3, 1e-2),
    "half": (1e-4, 3e-4, 1e-3, 3e-3),
    "magnitude": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "spider": (1e-4, 3e-4, 1e-3, 3e-3),
    "lora": (1e-4, 3e-4, 1e-3, 3e-3),
    "adapter": (3e-4, 1e-3, 3e-3),
    "prefix": (3e-3, 1e-2, 3e-2),
    "ia3": (3e-3, 1e-2, 3e-2),
}
ALPHAS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def with_rate(config: RunConfig, lr: float, seed: int, steps: int | None) -> RunConfig:
    """The same recipe with one learning rate on every tuned component."""
    tune = config.tune.model_dump()
    for part in tune.values():
        if part["method"] != "frozen":
            part["lr"] = lr
    train = config.train.model_dump() | ({"steps": steps} if steps else {})
    return RunConfig.model_validate(config.model_dump() | {"tune": tune, "seed": seed, "train": train})


def trained(config: RunConfig, tasks: Tasks) -> tuple[float, Recipe, Any]:
    """Validation accuracy on the target after training; the recipe is still attached."""
    assert tasks.target is not None
    loaded = load_model(config.model)
    recipe = Recipe(config)
    examples: Any = tasks.target.train
    for stabiliser in recipe.stabilisers:
        examples = stabiliser.mix(examples, [e for task in tasks.sources for e in task.train], config.seed)
    pools = Pools(loaded, config.train, config.seed, examples, tasks.target.validation)
    recipe.attach(loaded, config.seed, pools, pools.loss)
    trainer = Trainer(loaded, recipe, config.train, tuple(examples), tasks.target.validation, seed=config.seed)
    trainer.fit()
    return trainer.validate()[1], recipe, loaded


def source_accuracy(loaded: Any, tasks: Tasks, config: RunConfig) -> float:
    """Mean over the sources' validation parts, in points."""
    scores = [accuracy(loaded, task.validation, config) for task in tasks.sources]
    return sum(scores) / len(scores)


@torch.no_grad()
def accuracy(loaded: Any, examples: Any, config: RunConfig) -> float:
    """Share answered exactly, in points, by teacher forcing."""
    loaded.model.eval()
    right = 0
    for begin in range(0, len(examples), 100):
        batch = loaded.chat.encode(examples[begin : begin + 100], with_answers=True)
        right += int(answer_loss(loaded.model, batch).exact.sum())
    return 100 * right / len(examples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    study = demo_study(seed=options.seed)
    wanted = options.recipes.split(",") if options.recipes else [r.name for r in study.recipes if r.name in GRIDS]
    tasks = read_tasks(study.recipes[0].config, Path.cwd())
    found: dict[str, Any] = {}
    for recipe in study.recipes:
        if recipe.name not in wanted or recipe.name not in GRIDS:
            continue
        scores = {}
        for lr in GRIDS[recipe.name]:
            config = with_rate(recipe.config, lr, options.seed, options.steps)
            target, _, loaded = trained(config, tasks)
            scores[lr] = (target, source_accuracy(loaded, tasks, config))
            print(f"{recipe.name:<10} lr {lr:<7g} target {target:5.1f} sources {scores[lr][1]:5.1f}", flush=True)
        most = max(map(sum, scores.values()))
        best = max(lr for lr in scores if sum(scores[lr]) >= most - 1)
        if recipe.name == "full":
            found["full_low"] = {"lr": best}
            best = min(lr for lr in scores if lr > best) if best < max(scores) else best
        found[recipe.name] = {"lr": best, "scores": {f"{lr:g}": score for lr, score in scores.items()}}
        print(f"{recipe.name:<10} best {best:g}", flush=True)
    if "full" in found:
        found["wise_ft"] = sweep(study, found["full"]["lr"], tasks, options)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def sweep(study: Any, lr: float, tasks: Tasks, options: argparse.Namespace) -> dict[str, Any]:
    """Alpha of WiSE-FT on validation parts of target and sources."""
    assert tasks.target is not None
    full = next(recipe for recipe in study.recipes if recipe.name == "full")
    config = with_rate(full.config, lr, options.seed, options.steps)
    _, recipe, _ = trained(config, tasks)
    artifacts = recipe.detach()
    scores = {}
    for alpha in ALPHAS:
        loaded = load_model(config.model)
        restore(loaded, fuse(loaded, artifacts, make_fusion("wise_ft", {"alpha": alpha}), 0))
        target = accuracy(loaded, tasks.target.validation, config)
        scores[alpha] = (target, source_accuracy(loaded, tasks, config))
        print(f"wise_ft    alpha {alpha:g} target {target:5.1f} sources {scores[alpha][1]:5.1f}", flush=True)
    best = max(scores, key=lambda alpha: sum(scores[alpha]))
    return {"alpha": best, "scores": {f"{alpha:g}": score for alpha, score in scores.items()}}


if __name__ == "__main__":
    sys.exit(main())
