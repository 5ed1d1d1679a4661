"""Training on cached features gives the values of training on pixels, with and without shared rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.events import CachingFeatures, Event
from holdfast.methods.recipe import Recipe
from holdfast.models.loading import Loaded
from holdfast.speed.decision import Engaged
from holdfast.training.loop import Trainer
from tests.support.questions import questions

LORA = {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.0, "lr": 1e-2}
FULL = {"method": "full", "lr": 1e-2}


def fit(loaded: Loaded, tune: dict[str, Any], speed: dict[str, Any], **more: Any) -> Any:
    config = load_config({"tune": tune, "train": {"steps": 3, "batch_size": 7, **more}, "speed": speed})
    recipe = Recipe(config)
    recipe.attach(loaded, 0)
    events: list[Event] = []
    data = tuple(questions())
    trainer = Trainer(
        loaded, recipe, config.train, data, data[:3], seed=0, speed=config.speed,
        listen=events.append,
    )  # fmt: skip
    losses = trainer.fit().losses
    report = next(event.report for event in events if isinstance(event, Engaged))
    return losses, {n: p.detach().clone() for n, p in recipe.named_trainable().items()}, report, events


@pytest.mark.parametrize("share", ["on", "off"])
@pytest.mark.parametrize("connector", ["frozen", "trained"])
@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_5_vl", "qwen3_vl", "idefics3", "internvl"])
def test_features_train_to_the_same_values(
    family: str,
    connector: str,
    share: str,
    kit: Callable[[str], Loaded],
    tmp_path: Path,
) -> None:
    tune = {"llm": LORA} | ({"connector": FULL} if connector == "trained" else {})
    speed = {"cache_dir": str(tmp_path), "share_images": share}
    inside = connector == "trained" and family.startswith("qwen")
    if inside:
        with pytest.raises(HoldfastError, match="feature_cache is on, and its connector trains and stands inside"):
            fit(kit(family), tune, speed | {"feature_cache": "on"})
        return
    cached = fit(kit(family), tune, speed | {"feature_cache": "on"})
    plain = fit(kit(family), tune, speed | {"feature_cache": "off"})
    assert cached[2]["feature_cache"].on and not plain[2]["feature_cache"].on
    stage = "tower" if connector == "trained" else "connector"
    assert stage in cached[2]["feature_cache"].why
    assert cached[0] == pytest.approx(plain[0], rel=1e-4)
    for name, values in cached[1].items():
        torch.testing.assert_close(values, plain[1][name], rtol=1e-3, atol=1e-4)


def test_a_second_run_computes_nothing_and_runs_no_tower(kit: Callable[[str], Loaded], tmp_path: Path) -> None:
    speed = {"cache_dir": str(tmp_path), "feature_cache": "on"}
    first = fit(kit("llava"), {"llm": LORA}, speed)
    counts = []
    for steps in (3, 6):
        loaded = kit("llava")
        ran: list[int] = []
        loaded.anatomy.vision.model.get_submodule("model.vision_tower").register_forward_hook(
            lambda *args, ran=ran: ran.append(1)
        )
        second = fit(loaded, {"llm": LORA}, speed, steps=steps)
        assert not any(isinstance(event, CachingFeatures) for event in second[3])
        assert steps != 3 or second[0] == first[0]
        counts.append(len(ran))
    assert counts[0] == counts[1], "only the comparisons before the first step look at pixels"


def test_auto_says_why_it_leaves_features_alone(kit: Callable[[str], Loaded]) -> None:
    small = fit(kit("llava"), {"llm": LORA}, {})[2]["feature_cache"]
    assert not small.on and "of encoding and cost" in small.why
    once = fit(kit("llava"), {"llm": LORA}, {}, steps=1)[2]["feature_cache"]
    assert "seen once" in once.why
    trained = fit(kit("llava"), {"vision": FULL}, {})[2]["feature_cache"]
    assert "vision encoder trains" in trained.why


def test_a_full_cache_is_said_and_the_rest_is_computed(kit: Callable[[str], Loaded], tmp_path: Path) -> None:
    speed = {"cache_dir": str(tmp_path), "feature_cache": "on", "cache_gb": 1e-9}
    full = fit(kit("llava"), {"llm": LORA}, speed)
    plain = fit(kit("llava"), {"llm": LORA}, {"feature_cache": "off"})
    assert "cache is full" in full[2]["feature_cache"].why
    assert full[0] == pytest.approx(plain[0], rel=1e-5)
