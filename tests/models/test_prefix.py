"""Prefix tuning: equal to attention written by hand, and the same in ``generate`` as in ``forward``."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context
from holdfast.methods.registry import make_method
from holdfast.models.anatomy import resolve_anatomy
from tests.models.test_families import NO_PREFIX
from tests.support.closeness import assert_near
from tests.support.families import FAMILIES, IMAGE, batch, build

TOKENS = 5


def attached(name: str, **options: Any) -> tuple[Any, Any]:
    """A model with a loud prefix, and the method."""
    model = build(name)
    model.requires_grad_(False)
    method: Any = make_method("prefix", {"tokens": TOKENS, **options})
    method.attach(resolve_anatomy(model).llm, Context(torch.Generator().manual_seed(0)))
    with torch.no_grad():
        method.prefix.table.normal_(0, 1.0, generator=torch.Generator().manual_seed(1))
    return model, method


def longer(name: str, inputs: dict[str, Tensor], ids: Tensor) -> dict[str, Tensor]:
    """The same images with another text."""
    made = inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    for key in ("mm_token_type_ids", "image_embeds_position_mask"):
        if key in made:
            made[key] = (ids == IMAGE).long()
    if "token_type_ids" in made:
        made["token_type_ids"] = (ids == IMAGE).long()
        if name == "paligemma":  # what is generated is causal
            made["token_type_ids"] = (torch.arange(ids.shape[1]) >= inputs["input_ids"].shape[1]).long().expand_as(ids)
    for key in ("cross_attention_mask", "image_attention_mask"):
        if key in made:
            made[key] = torch.ones(2, ids.shape[1], *inputs[key].shape[2:], dtype=inputs[key].dtype)
    return made


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in NO_PREFIX])
def test_generate_takes_the_most_likely_token_of_a_forward_over_the_whole(name: str) -> None:
    model, _ = attached(name)
    inputs = batch(name, model, padded=False)
    if name == "paligemma":
        inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
    start = inputs["input_ids"].shape[1]
    model.generation_config.eos_token_id = None
    # Long enough for Gemma3's window of 16 tokens to slide; a random model may say "image" in an answer.
    ids = model.generate(**inputs, max_new_tokens=10, do_sample=False, suppress_tokens=[IMAGE])
    ids = ids if ids.shape[1] > 10 else torch.cat([inputs["input_ids"], ids], dim=1)
    with torch.no_grad():
        logits = model(**longer(name, inputs, ids)).logits[:, start - 1 : -1]
    logits[..., IMAGE] = float("-inf")
    best, chosen = logits.max(dim=-1).values, logits.gather(2, ids[:, start:, None])[..., 0]
    assert_near(chosen, best)


def test_equal_to_llama_attention_by_hand() -> None:
    """One layer's output: softmax over prefix and causal text, text rotated from position TOKENS on."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    model, method = attached("llava")
    decoder = model.model.language_model
    layer = decoder.layers[0].self_attn
    hidden = torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(3))
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    try:
        inputs: list[Tensor] = []
        before = layer.register_forward_pre_hook(
            lambda module, args, kwargs: inputs.append(kwargs["hidden_states"]), with_kwargs=True
        )
        with torch.no_grad():
            decoder(inputs_embeds=hidden)
        before.remove()
    finally:
        handle.remove()
    x = inputs[0]
    with torch.no_grad():
        q, k, v = (part(x).view(1, 7, -1, 8).transpose(1, 2) for part in (layer.q_proj, layer.k_proj, layer.v_proj))
        cos, sin = decoder.rotary_emb(x, torch.arange(TOKENS, TOKENS + 7)[None])
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        table = method.prefix.table.view(TOKENS, 2, 2, 2, 8)  # token, layer, key or value, head, width
        k = torch.cat([table[:, 0, 0].transpose(0, 1)[None], k], dim=2).repeat_interleave(2, dim=1)
        v = torch.cat([table[:, 0, 1].transpose(0, 1)[None], v], dim=2).repeat_interleave(2, dim=1)
        scores = q @ k.transpose(2, 3) / 8**0.5
        allowed = torch.cat([torch.ones(7, TOKENS), torch.tril(torch.ones(7, 7))], dim=1).bool()
        weights = scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1)
        expected = layer.o_proj((weights @ v).transpose(1, 2).reshape(1, 7, 32))
    assert_near(seen[0], expected)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gemma3"])
def test_padding_on_either_side_changes_nothing(name: str) -> None:
    model, _ = attached(name)
    inputs = batch(name, model, padded=False)
    width = inputs["input_ids"].shape[1]
    with torch.no_grad():
        plain = model(**inputs).logits
        for side in ("left", "right"):
            pads = (3, 0) if side == "left" else (0, 3)
            padded = {
                key: torch.nn.functional.pad(value, pads) if value.shape == (2, width) else value
                for key, value in inputs.items()
            }
            if side == "left" and name != "qwen2_5_vl":
                padded["position_ids"] = (padded["attention_mask"].cumsum(1) - 1).clamp_min(0)
            logits = model(**padded).logits
            kept = logits[:, 3:] if side == "left" else logits[:, :-3]
            assert_near(kept, plain)


def test_reparametrised_prefix_is_folded_into_the_same_table() -> None:
    model, method = attached("llava", reparameterize=True)
    inputs = batch("llava", model)
    with torch.no_grad():
        before = model(**inputs).logits
    artifact = method.detach()
    assert set(artifact.tensors) == {"table"}
    again = make_method("prefix", artifact.options)
    again.restore(resolve_anatomy(model).llm, artifact)
    with torch.no_grad():
        assert_near(model(**inputs).logits, before)


def test_eager_attention_and_gradient_checkpointing_give_the_same_gradient() -> None:
    gradients = []
    for setting in ("sdpa", "eager", "checkpointing"):
        model = build("llava")
        model.requires_grad_(False)
        model.set_attn_implementation("eager" if setting == "eager" else "sdpa")
        method: Any = make_method("prefix", {"tokens": TOKENS})
        method.attach(resolve_anatomy(model).llm, Context(torch.Generator().manual_seed(0)))
        if setting == "checkpointing":
            model.activation_checkpointing_enable({"use_reentrant": False})
            model.train()
        model(**batch("llava", model)).logits[:, -1].square().sum().backward()
        gradients.append(method.prefix.table.grad.clone())
    assert float(gradients[0].abs().max()) > 1e-4
    assert_near(gradients[1], gradients[0])
    assert_near(gradients[2], gradients[0])


def test_a_block_mask_combines_with_it() -> None:
    """Two questions in one row, each blind to the other, are answered as in rows of their own."""
    model, _ = attached("llava")
    generator = torch.Generator().manual_seed(5)
    shared, one, two = (torch.randint(40, 290, (1, length), generator=generator) for length in (4, 3, 2))
    places = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 4, 5]])
    allowed = torch.ones(9, 9).tril().bool()
    allowed[7:, 4:7] = False
    with torch.no_grad():
        packed = model(
            input_ids=torch.cat([shared, one, two], dim=1), attention_mask=allowed[None, None], position_ids=places
        ).logits
        first = model(input_ids=torch.cat([shared, one], dim=1)).logits
        second = model(input_ids=torch.cat([shared, two], dim=1)).logits
    assert_near(packed[:, :7], first)
    assert_near(packed[:, 7:], second[:, 4:])


def test_two_models_at_once_do_not_share_a_prefix() -> None:
    (first, one), second = attached("llava"), build("llava")
    inputs = batch("llava", second)
    with torch.no_grad():
        plain = second(**inputs).logits
        assert not torch.allclose(first(**inputs).logits, plain, atol=1e-2)
        one.detach()
        assert torch.equal(first(**inputs).logits, plain)


@pytest.mark.parametrize(("name", "reason"), NO_PREFIX.items())
def test_families_without_a_place_for_it_refuse_with_a_reason(name: str, reason: str) -> None:
    model = build(name)
    before = copy.copy(model.config.to_dict())
    with pytest.raises(HoldfastError, match=reason):
        make_method("prefix", {"tokens": 2}).attach(resolve_anatomy(model).llm, Context(torch.Generator()))
    assert model.config.to_dict() == before


def test_other_components_and_other_models_tables_are_refused() -> None:
    model, method = attached("llava")
    artifact = method.detach()
    with pytest.raises(HoldfastError, match="works on the llm only, not on 'vision'"):
        make_method("prefix", {}).attach(resolve_anatomy(model).vision, Context(torch.Generator()))
    other = build("qwen3_5")  # one attention layer, the other is linear attention
    with pytest.raises(HoldfastError, match=r"a prefix of .* no place for"):
        make_method("prefix", artifact.options).restore(resolve_anatomy(other).llm, artifact)
    with torch.no_grad():
        other(**batch("qwen3_5", other))
