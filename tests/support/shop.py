"""Models and questions for the tests of asking: tiny families, two pictures, questions of every length."""

from __future__ import annotations

import copy
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from holdfast.data.examples import Example, Turn
from holdfast.models import chat
from holdfast.models.anatomy import resolve_anatomy
from holdfast.models.loading import Loaded, load_model
from holdfast.tasks.task import Task
from tests.support.processors import save
from tests.support.tiny import BARE

FIRST = BARE
"""A template that shows images first, so that questions about one image begin alike."""

_LOADED: dict[str, Loaded] = {}


def family(name: str, place: Path) -> Loaded:
    """A fresh copy of a tiny model whose answers end at different steps."""
    if name not in _LOADED:
        _LOADED[name] = load_model(str(save(place / name, name, FIRST)), device="cpu")
    kept = _LOADED[name]
    model = copy.deepcopy(kept.model)
    return Loaded(name, model, kept.chat, resolve_anatomy(model))


def picture(seed: int, height: int = 20, width: int = 30) -> Any:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


ONE, TWO, THREE = picture(1), picture(2, 30, 20), picture(3, 16, 16)


def count_opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each image that a processor is given from now on."""
    seen: list[int] = []
    real = chat.open_image

    def counted(source: Any) -> Any:
        seen.append(1)
        return real(source)

    monkeypatch.setattr(chat, "open_image", counted)
    return seen


def question(name: str, text: str, images: tuple[Any, ...], key: str, **more: Any) -> Example:
    return Example(name, images, (Turn(text, (more.pop("answer", "red"),)),), key, **more)


MIXED = (
    question("a1", "what ?", (ONE,), "one"),
    question("b1", "is there a cat on the mat ?", (TWO,), "two"),
    question("t1", "what is red ?", (), ""),
    question("a2", "what colour is the large thing ?", (ONE,), "one"),
    question("p1", "same ?", (ONE, THREE), "one three"),
    question("a3", "who ?", (ONE,), "one"),
    question("c1", "how many ?", (THREE,), "three"),
    question("p2", "which of the two is larger ?", (ONE, THREE), "one three"),
    question("b2", "why ?", (TWO,), "two"),
    question("t2", "say yes", (), ""),
)
"""One and two images, text alone, in no order."""


def task(examples: tuple[Example, ...] = MIXED, **more: Any) -> Task:
    return Task(more.pop("name", "mixed"), (), (), examples, **more)


def ending(loaded: Loaded, examples: tuple[Example, ...], steps: int = 6) -> list[list[int]]:
    """Choose end tokens such that answers end at as many different steps as can be, and some not at all.

    A random model never says its end token by itself; two tokens that it says now and then become end tokens too.

    Returns:
        What ``generate`` then answers to each question alone.
    """
    whole = [alone(loaded, example, steps) for example in examples]
    said = sorted({token for tokens in whole for token in tokens})

    def until(ends: tuple[int, ...]) -> list[list[int]]:
        stops = [next((n for n, token in enumerate(tokens) if token in ends), steps - 1) for tokens in whole]
        return [tokens[: stop + 1] for tokens, stop in zip(whole, stops, strict=True)]

    def kinds(ends: tuple[int, ...]) -> int:
        answers = until(ends)
        return len({len(tokens) for tokens in answers}) + (answers != whole)

    best = max(combinations(said, 2), key=kinds)
    loaded.model.generation_config.eos_token_id = [2, *best]  # type: ignore[union-attr]
    return until(best)


@torch.no_grad()
def alone(loaded: Loaded, example: Example, limit: int) -> list[int]:
    """The tokens of ``generate`` for one question, up to and including the end token."""
    batch = loaded.chat.encode([example], with_answers=False)
    own = loaded.model.generation_config.eos_token_id  # type: ignore[union-attr]
    ends = sorted({2, *(own if isinstance(own, list) else [own])})  # type: ignore[misc]
    made = loaded.model.generate(  # type: ignore[operator]
        **batch, max_new_tokens=limit, do_sample=False, eos_token_id=ends, pad_token_id=0
    )
    tokens: list[int] = made[0, batch["input_ids"].shape[1] :].tolist()
    stop = next((place for place, token in enumerate(tokens) if token in ends), len(tokens) - 1)
    return tokens[: stop + 1]
