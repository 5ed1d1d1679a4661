"""Families of models as benches for the contract: a tiny model with its real processor, two questions a picture."""

from __future__ import annotations

import copy
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from holdfast.data.examples import Example, Turn
from holdfast.methods.registry import METHODS
from holdfast.models.anatomy import resolve_anatomy
from holdfast.models.loading import Loaded, load_model
from holdfast.testing.bench import Bench, Tried
from tests.support.methods import SMALL, component_for
from tests.support.processors import save
from tests.support.tiny import BARE

FAMILIES = ("llava", "qwen2_vl", "qwen3_vl", "idefics3", "gemma3", "internvl")


def _asked(prefix: str, questions: tuple[str, str], answers: tuple[str, str]) -> tuple[Example, ...]:
    made = []
    for index in range(4):
        random = np.random.default_rng(index)
        colour = np.array([(220, 40, 40), (40, 40, 220)][index % 2])
        pixels = (colour + random.integers(-20, 20, (16, 16, 3))).clip(0, 255).astype(np.uint8)
        for turn, question in enumerate(questions):
            name = f"{prefix}{index}-{turn}"
            made.append(Example(name, (pixels,), (Turn(question, (answers[index % 2],)),), f"i{index}"))
    return tuple(made)


EXAMPLES = _asked("e", ("what colour ?", "and which colour is this ?"), ("red", "dark blue"))
SOURCES = _asked("s", ("is it red ?", "red ?"), ("yes", "no"))


@cache
def _loaded(family: str) -> Loaded:
    place = Path(tempfile.mkdtemp(prefix=f"holdfast-{family}-"))
    loaded = load_model(str(save(place, family, BARE)), device="cpu")
    loaded.model.requires_grad_(False)
    return loaded


@cache
def bench(family: str) -> Bench:
    """The family's."""

    def fresh() -> Loaded:
        kept = _loaded(family)
        model = copy.deepcopy(kept.model)
        return Loaded(kept.name, model, kept.chat, resolve_anatomy(model))

    return Bench(family, fresh, EXAMPLES, SOURCES)


def tried(method: str) -> Tried:
    """A method with options that fit a small model."""
    return Tried(method, component_for(method), SMALL.get(method, {}))


def methods() -> list[str]:
    """All but the one that does nothing."""
    return sorted(set(METHODS.names()) - {"frozen"})
