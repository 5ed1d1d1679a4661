"""biggest chooses what its formula says, computed in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tests.support.methods import fresh

from holdfast.methods.contract import Context
from holdfast.methods.registry import make_method


def test_biggest_chooses_the_largest_weights(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    loaded.model.requires_grad_(False)
    method = make_method("biggest", {"ratio": 0.1})
    method.attach(loaded.anatomy.llm, Context(torch.Generator()))
    for name, entry in method.selected.items():  # type: ignore[attr-defined]
        sizes = np.abs(loaded.anatomy.llm.parameters[name].detach().numpy().ravel())
        chosen = entry.index.numpy()
        assert len(chosen) == round(0.1 * sizes.size), name
        assert sizes[chosen].min() >= np.delete(sizes, chosen).max(), name
