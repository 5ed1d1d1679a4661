"""The figures that studies of LLaVA-1.5 printed, from exact counts on the meta device."""

from __future__ import annotations

import pytest
import torch

from holdfast.config.loading import load_config
from holdfast.models.shapes import read_shape, shape_names
from holdfast.planning.meta import sketch_model
from holdfast.planning.plan import make_plan

RECIPES = {
    "lora": {"method": "lora", "r": 128, "modules": ["attention", "mlp"]},
    "adapter": {"method": "adapter", "bottleneck": 256, "placement": "mlp"},
    "prefix": {"method": "prefix", "tokens": 20},
    "ia3": {"method": "ia3"},
}

LAYERS = {"7b": (4096, 11008, 32), "13b": (5120, 13824, 40)}

BASE = {"7b": 7_062_902_784, "13b": 13_350_839_296}


def added(method: str, size: str) -> int:
    """The studies' formulae: width d, MLP width ff, L layers."""
    d, ff, layers = LAYERS[size]
    return {
        "lora": layers * 128 * (4 * 2 * d + 3 * (d + ff)),
        "adapter": layers * 3 * 2 * d * 256,
        "prefix": 20 * 2 * layers * d,
        "ia3": layers * (2 * d + ff),
    }[method]


@pytest.mark.parametrize(
    ("size", "method", "connector", "percent"),
    [
        ("7b", "lora", "frozen", "4.332"),
        ("13b", "lora", "frozen", "3.615"),
        ("13b", "lora", "full", "3.842"),
        ("7b", "adapter", "frozen", "2.771"),
        ("13b", "adapter", "frozen", "2.302"),  # printed as 2.301; this is the exact count
        ("7b", "adapter", "full", "3.060"),
        ("13b", "adapter", "full", "2.532"),
        ("7b", "prefix", "frozen", "0.074"),
        ("13b", "prefix", "frozen", "0.061"),
        ("7b", "prefix", "full", "0.371"),
        ("13b", "prefix", "full", "0.297"),
        ("7b", "ia3", "full", "0.306"),
        ("13b", "ia3", "full", "0.243"),
    ],
)
def test_the_printed_percentages(size: str, method: str, connector: str, percent: str) -> None:
    tune = {"vision": "frozen", "connector": connector, "llm": RECIPES[method]}
    plan = make_plan(load_config({"model": f"llava-1.5-{size}", "tune": tune}))
    assert plan.ledger.base == BASE[size]
    assert plan.ledger.added == added(method, size)
    d = LAYERS[size][0]
    projector = 1024 * d + d + d * d + d
    assert plan.ledger.trainable == added(method, size) + (projector if connector == "full" else 0)
    assert f"{plan.ledger.percent:.3f}" == percent
    # Saved adapters are float32: four bytes a value.
    assert plan.to_json()["checkpoint_bytes"] == 4 * plan.ledger.trainable


@pytest.mark.parametrize(("tokens", "size", "trained"), [(20, "7b", 1_090_867_200), (20, "13b", 2_123_883_520)])
def test_a_reparametrised_prefix_trains_its_network_and_adds_its_table(tokens: int, size: str, trained: int) -> None:
    tune = {"llm": {"method": "prefix", "tokens": tokens, "reparameterize": True}}
    plan = make_plan(load_config({"model": f"llava-1.5-{size}", "tune": tune}))
    assert plan.ledger.trainable == trained and plan.ledger.added == added("prefix", size)


PUBLISHED = {
    "llava-1.5-7b": 7_062_902_784,
    "llava-1.5-13b": 13_350_839_296,
    "qwen2-vl-2b": 2_208_985_600,
    "qwen2-vl-7b": 8_291_375_616,
    "qwen2.5-vl-3b": 3_754_622_976,
    "qwen2.5-vl-7b": 8_292_166_656,
    "qwen2.5-vl-32b": 33_452_718_336,
    "paligemma-3b": 2_923_466_480,
    "smolvlm-256m": 256_484_928,
}
"""Counts that the models' pages, loaders' logs or the studies print."""


@pytest.mark.parametrize("name", shape_names())
def test_every_shape_has_the_size_it_says(name: str) -> None:
    sketch = sketch_model(name, torch.bfloat16)
    parameters = {id(p): p for p in sketch.model.parameters()}.values()
    count = sum(p.numel() for p in parameters)
    assert all(p.device.type == "meta" for p in parameters)
    assert count == read_shape(name)["parameters"] == PUBLISHED.get(name, count)
    assert sum(component.count() for component in sketch.anatomy) == count
    assert all(component.count() for component in sketch.anatomy)


def test_a_hub_id_of_a_shape_needs_no_network_and_has_the_hubs_vocabulary() -> None:
    sketch = sketch_model("llava-hf/llava-1.5-7b-hf", torch.bfloat16)
    assert sum(p.numel() for p in sketch.model.parameters()) == BASE["7b"] + 2 * 64 * 4096
