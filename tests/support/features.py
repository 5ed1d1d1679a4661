"""Models, examples and batches for the tests of the frozen-feature cache."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.data.examples import Example, Turn
from holdfast.models.loading import Loaded, load_model
from tests.support.families import FAMILIES, IMAGE, batch
from tests.support.processors import save
from tests.support.tiny import ROLES

BOTH = ("vision", "connector")
CAP = 10**9


def pixels(seed: int, height: int = 20, width: int = 30) -> Any:
    """A noisy picture ``[height, width, 3]``."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def example(name: str, *images: Any, question: str = "what is it ?") -> Example:
    """One question about ``images``."""
    return Example(name, images, (Turn(question, ("red",)),))


ONE = example("one", pixels(1))
TALL = example("tall", pixels(2, 40, 18), question="what colour is the thing ?")
TWO = example("two", pixels(3), pixels(4, 24, 24), question="see <image> and <image> now")
AGAIN = example("again", pixels(1), question="and where ?")
TEXT = example("text", question="what is red ?")
ROWS = (TWO, TEXT, ONE, AGAIN, TALL)
"""Two images, none, one, the same one again, and one of another shape."""

_FOLDERS: dict[str, Path] = {}


def folder_of(family: str, factory: Any) -> Path:
    """A model folder of the family with its processor, made once a session."""
    if family not in _FOLDERS:
        _FOLDERS[family] = save(factory.mktemp(family), family, ROLES)
    return _FOLDERS[family]


def load(family: str, factory: Any, dtype: torch.dtype = torch.float32) -> Loaded:
    """A fresh model of the family, frozen."""
    loaded = load_model(str(folder_of(family, factory)), device="cpu", dtype=dtype)
    loaded.model.requires_grad_(False)
    return loaded


def family_batch(name: str, model: Any) -> dict[str, Tensor]:
    """Two rows with an image each. Mistral 3 fails on a single image of one token, so that its images are larger."""
    if name != "mistral3":
        return batch(name, model)
    wide = dataclasses.replace(FAMILIES[name], tokens=2)
    ids = batch(name, model)["input_ids"]
    ids = torch.cat([ids[:, :1], torch.full((2, wide.tokens - 1), IMAGE), ids[:, 1:]], dim=1)
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "pixel_values": torch.randn(2, 3, 16, 32, generator=generator),
        "image_sizes": torch.tensor([[16, 32]] * 2),
    }


def one_row(inputs: dict[str, Tensor], row: int, rows: int = 2) -> dict[str, Tensor]:
    """A row of a batch of :func:`tests.support.families.batch` by itself, without its padding."""
    alone = {key: value.chunk(rows)[row] for key, value in inputs.items()}
    kept = alone["attention_mask"][0].bool()
    width = kept.shape[0]
    return {
        key: value[:, kept] if value.ndim == 2 and value.shape[1] == width else value for key, value in alone.items()
    }


def logits(model: Any, inputs: dict[str, Any]) -> Tensor:
    """Logits ``[rows, length, vocabulary]`` without a graph."""
    with torch.no_grad():
        found: Tensor = model(**{key: value for key, value in inputs.items() if key != "labels"}).logits
    return found
