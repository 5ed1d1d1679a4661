"""What the contract tests share: a tiny model, eight examples, and short runs of one method."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.config.loading import load_config
from holdfast.data.examples import Example, Turn
from holdfast.events import Event, GradientsChecked
from holdfast.methods.contract import Artifact
from holdfast.methods.recipe import Recipe
from holdfast.methods.registry import METHODS as REGISTRY
from holdfast.models.anatomy import resolve_anatomy
from holdfast.models.loading import Loaded, load_model
from holdfast.training.loop import Trainer
from holdfast.training.pools import Pools

SMALL: dict[str, dict[str, Any]] = {
    "adapter": {"bottleneck": 8},
    "prefix": {"tokens": 5},
    "prompt_tuning": {"tokens": 3},
    "p_tuning": {"tokens": 3},
    "vpt": {"tokens": 2},
    "autoprompt": {"tokens": 3, "candidates": 4, "batches": 1},
    "lpaqa": {"wordings": ["red or blue ?", "say it", "a colour"], "batches": 1},
    "ladder": {"reduction": 4},
    "maple": {"depth": 2},
    "houlsby": {"bottleneck": 8, "deviation": 0.02},
    "pfeiffer": {"bottleneck": 8},
    "parallel_adapter": {"bottleneck": 8},
    "loreft": {"positions": "f2+l2"},
    "mores": {"positions": "f1+l1", "dropout": 0.0},
    "lora": {"r": 4, "alpha": 8},
    "dora": {"r": 4, "alpha": 8},
    "rslora": {"r": 4},
    "loha": {"r": 4},
    "lokr": {"r": 4},
    "hra": {"r": 4},
    "delora": {"r": 4},
    "oft": {"block": 8},
    "pissa": {"r": 4},
    "milora": {"r": 4},
    "olora": {"r": 4},
    "lora_plus": {"r": 4, "ratio": 2.0},
    "moslora": {"r": 4},
    "sharelora": {"r": 4},
    "vera": {"r": 16},
    "fourierft": {"n": 40, "init": "zero", "scale": 20.0},
    "hira": {"r": 4},
    "oplora": {"r": 4, "keep": 4},
    "lorasculpt": {"r": 4, "warmup": 2},
    "corda": {"r": 4, "samples": 4},
    "melora": {"dropout": 0.0},
    "adalora": {"r": 4, "target": 2},
    "prolora": {"r": 4, "unshared": 1},
    "clora": {"r": 4, "k": 8},
    "o_lora": {"r": 4},
    "flora": {"r": 8, "kappa": 3},
    "hiddenkey": {"r": 4},
    "eva": {"r": 4, "samples": 4},
    "teamlora": {"r": 4},
    "adamss": {"r": 8, "subspaces": 2},
    "gralora": {"r": 4},
    "miss": {"r": 8},
    "deft": {"r": 4},
    "glora": {"r": 4},
    "peanut": {"r": 8},
    "osf": {"r": 8},
    "randlora": {"r": 4, "alpha": 16},
    "pvera": {"r": 16},
    "vblora": {"r": 2, "vectors": 16, "length": 16},
    "unilora": {"r": 2},
    "tinylora": {"values": 8},
    "road": {"group": 8},
    "psoft": {"r": 8},
    "shira": {"r": 4},
    "supertuning": {"sparsity": 0.9},
    "waveft": {"n": 40},
    "c3a": {"block": 16},
    "layers": {"layers": "last:1"},
    "fish_mask": {"ratio": 0.05},
    "fish_dip": {"every": 2, "ratio": 0.1},
    "lt_sft": {"first_steps": 5, "ratio": 0.05},
    "model_dowser": {"samples": 4, "batch_size": 2, "length": 6},
    "spu": {"batches": 2},
    "losparse": {"every": 1, "keep": 0.5},
    "pst": {"r": 4, "sparsity": 0.3},
    "alphaedit": {"samples": 4, "protect": 0.5},
}
"""Options that fit a model of width 32; every other method runs with its defaults."""

METHODS = sorted(set(REGISTRY.names()) - {"frozen"})


def component_for(method: str) -> str:
    """The component a method is tried on: that of its example; a llama-type llm has no biases."""
    return "vision" if method == "bitfit" else REGISTRY.find(method).card.at


def tune_section(method: str, lr: float = 1e-2) -> dict[str, Any]:
    return {component_for(method): {"method": method, "lr": lr, **SMALL.get(method, {})}}


def examples(count: int = 8) -> tuple[Example, ...]:
    """Two colours, two answers."""
    made = []
    for index in range(count):
        random = np.random.default_rng(index)
        colour = [(220, 40, 40), (40, 40, 220)][index % 2]
        pixels = (np.array(colour) + random.integers(-20, 20, (16, 16, 3))).clip(0, 255).astype(np.uint8)
        answer = "red" if index % 2 == 0 else "dark blue"
        made.append(Example(f"e{index}", (pixels,), (Turn("what colour ?", (answer,)),), f"i{index}"))
    return tuple(made)


SOURCES = tuple(
    replace(example, id=f"s{example.id}", turns=(Turn("is it red ?", ("yes" if index % 2 == 0 else "no",)),))
    for index, example in enumerate(examples())
)
"""What must be kept: another question about the same pictures."""


@dataclass
class Trained:
    """A short run, before detaching."""

    loaded: Loaded
    recipe: Recipe
    losses: list[float]
    missing: list[str]
    logits: Tensor


_MODELS: dict[Path, Loaded] = {}


def fresh(folder: Path) -> Loaded:
    """The model of ``folder`` as it was loaded; loading is the dearest part of a short run."""
    if folder not in _MODELS:
        _MODELS[folder] = load_model(str(folder))
        _remember(_MODELS[folder].chat)
    kept = _MODELS[folder]
    model = copy.deepcopy(kept.model)
    return Loaded(kept.name, model, kept.chat, resolve_anatomy(model))


def _remember(chat: Any) -> None:
    """Encode each batch once; a third of a short run is tokenizing the same eight questions."""
    seen: dict[Any, dict[str, Tensor]] = {}
    encode = chat.encode

    def remembered(batch: Any, **options: Any) -> dict[str, Tensor]:
        key = (tuple((example.id, example.turns) for example in batch), *sorted(options.items()))
        if key not in seen:
            seen[key] = encode(batch, **options)
        return dict(seen[key])

    chat.encode = remembered


def logits(loaded: Loaded, *, half: bool = False) -> Tensor:
    """Logits of four examples in evaluation mode; ``half`` under autocast, as weights of two precisions need."""
    batch = loaded.chat.encode(examples()[:4], with_answers=True)
    batch.pop("labels")
    loaded.model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        result: Tensor = loaded.model(**batch).logits
    return result


def run(
    folder: Path, tune: dict[str, Any], *, loaded: Loaded | None = None, seed: int = 0, keep: Any = (), **train: Any
) -> Trained:
    """Attach and train for a few steps."""
    settings = {"steps": 4, "batch_size": 4, "weight_decay": 0.1, **train}
    config = load_config({"tune": tune, "keep": list(keep), "train": settings, "seed": seed})
    loaded = loaded or fresh(folder)
    recipe = Recipe(config)
    data = examples()
    pools = Pools(loaded, config.train, seed, data, data[:4], SOURCES)
    recipe.attach(loaded, seed, pools, pools.loss)
    missing: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, GradientsChecked):
            missing.extend(event.missing)

    outcome = Trainer(loaded, recipe, config.train, data, data[:4], seed=seed, listen=listen).fit()
    return Trained(loaded, recipe, outcome.losses, missing, logits(loaded, half=config.train.precision == "bf16"))


def artifacts_equal(first: list[Artifact], second: list[Artifact]) -> bool:
    """Bit for bit."""
    if len(first) != len(second):
        return False
    for one, other in zip(first, second, strict=True):
        if one.tensors.keys() != other.tensors.keys():
            return False
        if not all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors):
            return False
    return True
