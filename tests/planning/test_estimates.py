"""What a plan estimates, against what a small model does on this machine."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from holdfast.config.loading import load_config
from holdfast.methods.contract import Context
from holdfast.methods.recipe import Recipe
from holdfast.models.anatomy import resolve_anatomy
from holdfast.planning.plan import Plan, make_plan

BATCH, LENGTH, PATCHES = 2, 160, 64

RECIPES: dict[str, dict[str, Any]] = {
    "lora": {"llm": {"method": "lora", "r": 8, "dropout": 0.0}},
    "ia3": {"llm": "ia3"},
    "adapter": {"llm": {"method": "adapter", "bottleneck": 32, "dropout": 0.0}},
    "prefix": {"llm": {"method": "prefix", "tokens": 4}},
    "sparse": {"llm": "random_mask"},
    "norms": {"llm": "norms"},
    "llm": {"llm": "full"},
    "connector": {"connector": "full"},
    "vision": {"vision": "full"},
    "all": {"vision": "full", "connector": "full", "llm": "full"},
    "last": {"llm": {"method": "full", "layers": "last:1"}},
}


CHANGED = {name: {"llm": name} for name in (
    "lora", "dora", "hra", "melora", "waveft", "psoft", "fourierft", "vera", "hydralora", "loramoe",
    "prolora", "loha", "pst",
)}  # fmt: skip
"""Methods that change linear layers by dropout, norms, rotations, and matrices from factors and from entries."""


def config() -> Any:
    from transformers import LlamaConfig, LlavaConfig, SiglipVisionConfig

    return LlavaConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, image_size=64,
            patch_size=8, vision_use_head=False,
        ),
        text_config=LlamaConfig(
            vocab_size=500, hidden_size=256, intermediate_size=640, num_hidden_layers=6, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=False,
        ),
        image_token_index=4, vision_feature_layer=-1, vision_feature_select_strategy="full", image_seq_length=PATCHES,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shape")
    config().save_pretrained(home)
    return home


def plan_of(folder: Path, tune: dict[str, Any], precision: Any, head: str = "full", **train: Any) -> Plan:
    return make_plan(
        load_config({"model": str(folder), "tune": tune, "train": train, "speed": {"head": head}}),
        batch=BATCH, length=LENGTH, precision=precision,
    )  # fmt: skip


def step(tune: dict[str, Any], precision: str, attention: str, **checkpointing: Any) -> tuple[int, int, int]:
    """One forward and backward: bytes kept for the backward pass, operations, trained linear weights."""
    from transformers import LlavaForConditionalGeneration

    torch.manual_seed(0)
    model: Any = LlavaForConditionalGeneration._from_config(config(), attn_implementation=attention)
    model.to(torch.bfloat16 if precision == "bf16" else torch.float32).requires_grad_(False)
    recipe = Recipe(load_config({"tune": tune}))
    anatomy = resolve_anatomy(model)
    for component, method in recipe.methods.items():
        method.attach(anatomy.component(component), Context(torch.Generator()))
    model.train()
    known = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in known:
            kept[place] = tensor
        return tensor

    ids = torch.randint(10, 500, (BATCH, LENGTH))
    ids[:, 3 : 3 + PATCHES] = 4
    mask = torch.ones_like(ids)
    mask[0, -5:] = 0
    pixels = torch.randn(BATCH, 3, 64, 64, dtype=next(model.parameters()).dtype)
    with FlopCounterMode(display=False) as counter:
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            logits = model(input_ids=ids, attention_mask=mask, pixel_values=pixels).logits
        bytes_kept = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
        nn.functional.cross_entropy(logits.float().flatten(0, 1), ids.flatten()).backward()
    linears = [m for m in model.modules() if isinstance(m, nn.Linear) and m.weight.requires_grad]
    dense = [m for m in linears if m.weight.is_leaf and m.weight.dtype == torch.float32]
    return bytes_kept, counter.get_total_flops(), sum(m.weight.numel() for m in dense)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", sorted(RECIPES | CHANGED))
def test_activations_are_what_autograd_keeps(name: str, precision: str, folder: Path) -> None:
    tune = (CHANGED | RECIPES)[name]
    planned = plan_of(folder, tune, precision).memory.activations
    kept, _, trained = step(tune, precision, "sdpa")
    if precision == "bf16":
        planned += 2 * trained  # the plan counts autocast's copies of trained matrices with the weights
    assert planned == pytest.approx(kept, rel=0.075)


def test_layers_that_were_asked_are_freed(folder: Path) -> None:
    def held() -> int:
        """Bytes of tensors on the CPU that can be reached from somewhere."""
        gc.collect()
        tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]
        places = {
            t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors if t.device.type == "cpu"
        }
        return sum(places.values())

    plan_of(folder, CHANGED["lora"], "bf16")  # a graph that holds itself would keep a copy of every kind of layer
    before = held()
    plan_of(folder, CHANGED["lora"], "bf16")
    assert held() == before


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_operations_are_what_pytorch_counts(name: str, folder: Path) -> None:
    _, counted, _ = step(RECIPES[name], "fp32", "eager")
    # The first trained block passes no gradient to its own input, which a plan does not know; prefix lengthens keys.
    assert plan_of(folder, RECIPES[name], "fp32").flops.step == pytest.approx(counted, rel=0.09)


def test_checkpointing_trades_activations_for_operations(folder: Path) -> None:
    plain = plan_of(folder, RECIPES["llm"], "bf16")
    again = plan_of(folder, RECIPES["llm"], "bf16", gradient_checkpointing=True)
    assert again.memory.activations < 0.5 * plain.memory.activations
    assert plain.flops.forward == again.flops.forward
    assert plain.flops.backward < again.flops.backward < plain.flops.backward + plain.flops.forward


def test_the_parts_scale_as_their_formulas_say(folder: Path) -> None:
    base = config()
    full = plan_of(folder, RECIPES["llm"], "fp32")
    values = full.ledger.trainable
    assert full.memory.gradients == 4 * values and full.memory.optimizer == 8 * values
    assert full.memory.weights == 4 * full.ledger.base
    assert full.memory.logits == BATCH * LENGTH * base.text_config.vocab_size * 12
    frozen = plan_of(folder, {}, "bf16")
    assert frozen.memory.to_json() == {
        "weights": 2 * frozen.ledger.base, "gradients": 0, "optimizer": 0, "method": 0, "activations": 0, "logits": 0,
        "peak": 2 * frozen.ledger.base,
    }  # fmt: skip
    assert frozen.flops.backward == 0
    sparse = plan_of(folder, {"llm": {"method": "random_mask", "ratio": 0.1}}, "bf16")
    dense = plan_of(folder, {"llm": {"method": "full", "modules": ["attention", "mlp"]}}, "bf16")
    assert sparse.ledger.trainable == pytest.approx(0.1 * dense.ledger.trainable, rel=1e-3)
    assert sparse.memory.optimizer == pytest.approx(0.1 * dense.memory.optimizer, rel=1e-3)
    assert sparse.memory.peak < dense.memory.peak
    answers = plan_of(folder, RECIPES["llm"], "fp32", head="answers")
    assert answers.memory.logits == BATCH * BATCH * 8 * base.text_config.vocab_size * 12
    assert answers.flops.step < full.flops.step
