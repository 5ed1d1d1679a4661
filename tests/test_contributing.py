"""The method that CONTRIBUTING shows really runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from holdfast.methods.contract import Card, Context
from holdfast.methods.registry import METHODS, make_method
from holdfast.methods.selective.scores import share, top
from holdfast.methods.selective.sparse import Sparse
from holdfast.models.anatomy import Component
from holdfast.models.loading import load_model


def test_the_example_method_runs(tiny_llava: Path) -> None:
    text = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[0]
    names: dict[str, Any] = {
        "Card": Card,
        "Component": Component,
        "Context": Context,
        "Sparse": Sparse,
        "Tensor": torch.Tensor,
    }
    try:
        space = {**names, "share": share, "top": top}
        exec(code, space)
        METHODS.enter(space["Largest"])
        method = make_method("largest", {"ratio": 0.1})
        loaded = load_model(str(tiny_llava))
        loaded.model.requires_grad_(False)
        method.attach(loaded.anatomy.llm, Context(torch.Generator()))
        trained = sum(p.numel() for p in method.named_trainable().values())
        total = sum(layer.weight.numel() for layer in loaded.anatomy.llm.linears(("attention", "mlp")).values())
        assert abs(trained - 0.1 * total) < len(method.named_trainable())
    finally:
        METHODS.leave("largest")
