"""N steps equal k steps, a new process' worth of forgetting, and N - k steps; bit for bit on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.config.loading import load_config
from holdfast.events import Event, StepDone
from holdfast.methods.recipe import Recipe
from holdfast.models.loading import load_model
from holdfast.training.loop import Trainer
from holdfast.training.pools import Pools
from tests.support.methods import SOURCES, artifacts_equal, examples


def _fit(folder: Path, tune: dict[str, Any], run: Path | None, stop_at: int | None) -> Any:
    """Train 6 steps; with ``stop_at`` interrupt after that step, as Ctrl-C would."""
    train = {"steps": 6, "batch_size": 2, "accumulate": 2, "weight_decay": 0.1, "checkpoint_every": 2, "warmup": 0.3}
    tune = dict(tune)
    config = load_config({"keep": tune.pop("keep", []), "tune": tune, "train": train})
    loaded = load_model(str(folder))
    recipe = Recipe(config)
    data = examples()
    pools = Pools(loaded, config.train, 5, data, data[:4], SOURCES)
    recipe.attach(loaded, 0, pools, pools.loss)

    def listen(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == stop_at:
            raise KeyboardInterrupt

    trainer = Trainer(loaded, recipe, config.train, data, (), seed=5, run=run, listen=listen)
    trainer.fit()
    return recipe.detach()


RECIPES: dict[str, dict[str, Any]] = {
    "full": {"connector": {"method": "full", "lr": 1e-2}, "llm": {"method": "full", "lr": 1e-2}},
    "lora with dropout": {"llm": {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.3, "lr": 1e-2}},
    "adapter with dropout": {"llm": {"method": "adapter", "bottleneck": 8, "dropout": 0.3, "lr": 1e-2}},
    "sparse": {"llm": {"method": "gradient_mask", "ratio": 0.2, "lr": 1e-2}},
    "sparse that selects anew": {"llm": {"method": "fish_dip", "ratio": 0.1, "every": 2, "lr": 1e-2}},
    "sparse with an automatic ratio": {"llm": {"method": "random_mask", "ratio": "auto", "trial_steps": 2, "lr": 1e-2}},
    "random children": {"llm": {"method": "child_tuning_f", "lr": 1e-2}},
    "momentum filter": {"llm": {"method": "mofo", "lr": 1e-2}},
    "stabilised": {
        "llm": {"method": "full", "layers": "last:1", "lr": 1e-2},
        "keep": ["ewc", "distillation", "a_gem", "l1_sp"],
    },
    "spider": {"llm": {"method": "spider", "lr": 1e-2}},
    "masks that hold": {"llm": {"method": "prune_retrain", "first_steps": 2, "every": 2, "rounds": 2, "lr": 1e-2}},
    "masks of factors": {"llm": {"method": "lorasculpt", "r": 4, "warmup": 2, "lr": 1e-2}},
    "several on one component": {
        "llm": [
            {"method": "lora", "r": 4, "dropout": 0.3, "lr": 1e-2},
            {"method": "norms", "lr": 3e-3},
            {"method": "prefix", "tokens": 3, "lr": 1e-2},
        ]
    },
    "several that keep a state": {
        "llm": [
            {"method": "fish_dip", "ratio": 0.1, "every": 2, "layers": "first:1", "lr": 1e-2},
            {"method": "spider", "layers": "last:1", "lr": 1e-2},
        ]
    },
    "prefix": {"llm": {"method": "prefix", "tokens": 3, "reparameterize": True, "lr": 1e-2}},
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    name: str, stop_at: int, tiny_llava: Path, tmp_path: Path
) -> None:
    whole = _fit(tiny_llava, RECIPES[name], None, None)
    with pytest.raises(KeyboardInterrupt):
        _fit(tiny_llava, RECIPES[name], tmp_path / "run", stop_at)
    torch.manual_seed(12345)
    resumed = _fit(tiny_llava, RECIPES[name], tmp_path / "run", None)
    assert artifacts_equal(whole, resumed)


def test_a_kill_between_the_two_renames_of_a_checkpoint_loses_nothing(tiny_llava: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        _fit(tiny_llava, RECIPES["full"], run, 3)
    (run / "checkpoint").rename(run / "checkpoint.old")
    assert artifacts_equal(_fit(tiny_llava, RECIPES["full"], run, None), _fit(tiny_llava, RECIPES["full"], None, None))
    assert not (run / "checkpoint.old").exists()
