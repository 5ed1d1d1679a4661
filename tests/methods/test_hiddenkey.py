"""HiddenKey: columns of minus infinity, dropped values, two passes that agree, and LoRA where nothing is dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context, Seen
from holdfast.methods.registry import make_method
from holdfast.methods.reparameterization.hiddenkey import HiddenKey
from tests.support.methods import fresh, logits, run


def attached(folder: Path, **options: Any) -> tuple[Any, HiddenKey]:
    loaded, method = fresh(folder), make_method("hiddenkey", {"r": 4, **options})
    assert isinstance(method, HiddenKey)
    method.attach(loaded.anatomy.llm, Context(torch.Generator().manual_seed(0)))
    return loaded, method


def test_a_dropped_key_is_a_column_of_minus_infinity_and_so_are_its_gradients(tiny_llava: Path) -> None:
    loaded, method = attached(tiny_llava, drop_keys=0.4)
    loaded.model.train()
    random = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(2, 3, 9, 8, generator=random, requires_grad=True) for _ in range(3))
    causal = torch.ones(9, 9, dtype=torch.bool).tril()
    torch.manual_seed(5)
    joined = method.join(0, key, value)
    mixed = functional.scaled_dot_product_attention(query, *joined, is_causal=True).transpose(1, 2)
    ours = method.beside(0, query, mixed, 8**-0.5).transpose(1, 2)
    torch.manual_seed(5)
    kept = torch.rand(2, 3, 9) >= 0.4
    scores = (query @ key.transpose(-1, -2)) * 8**-0.5
    scores = scores.masked_fill(~(causal & kept[:, :, None, :]), float("-inf"))
    blind = torch.isneginf(scores).all(-1, keepdim=True)
    theirs = scores.masked_fill(blind, 0.0).softmax(-1).masked_fill(blind, 0.0) @ value
    assert 0 < int(blind.sum()) < blind.numel()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    weight = torch.randn(ours.shape, generator=random)
    mine = torch.autograd.grad((ours * weight).sum(), (query, key, value))
    for one, other in zip(mine, torch.autograd.grad((theirs * weight).sum(), (query, key, value)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    loaded.model.eval()
    assert method.join(0, key, value)[1] is value and method.beside(0, query, mixed, 1.0) is mixed


def test_what_an_mlp_gives_is_dropped_and_scaled_while_it_trains(tiny_llava: Path) -> None:
    loaded, method = attached(tiny_llava, drop_hidden=0.25)
    layer = next(layer for name, layer in loaded.anatomy.llm.linears(("mlp",)).items() if name.endswith("down_proj"))
    x = torch.randn(50, 48, generator=torch.Generator().manual_seed(0))
    plain = x @ layer.weight.T
    loaded.model.train()
    dropped = layer(x)
    zero = dropped == 0
    assert 0.2 < float(zero.float().mean()) < 0.3
    torch.testing.assert_close(dropped[~zero], plain[~zero] / 0.75)
    with method.suspended():
        torch.testing.assert_close(layer(x), plain)
    loaded.model.eval()
    torch.testing.assert_close(layer(x), plain)
    method.detach()
    assert torch.equal(logits(loaded), logits(fresh(tiny_llava)))


def test_two_passes_are_drawn_together_both_ways(tiny_llava: Path) -> None:
    _, method = attached(tiny_llava, agreement=0.6)
    random = torch.Generator().manual_seed(0)
    first, second = torch.randn(4, 7, generator=random), torch.randn(4, 7, generator=random)
    seen = Seen(None, first, torch.zeros(4), lambda: first, lambda: second)  # type: ignore[arg-type]
    p, q = first.softmax(-1), second.softmax(-1)
    wanted = 0.3 * ((p * (p / q).log()).sum() + (q * (q / p).log()).sum())
    torch.testing.assert_close(method.batch_penalty(seen), wanted)
    assert attached(tiny_llava, agreement=0.0)[1].batch_penalty(seen) is None


def test_where_nothing_is_dropped_it_is_lora_and_every_option_acts(tiny_llava: Path) -> None:
    shared = {"r": 4, "alpha": 8, "lr": 1e-2}
    lora = {"llm": {"method": "lora_plus", "ratio": 1.0, "modules": ["k_proj", "v_proj"], **shared}}
    still = {"drop_keys": 0.0, "drop_hidden": 0.0, "agreement": 0.0}

    def losses(**options: Any) -> list[float]:
        return run(tiny_llava, {"llm": {"method": "hiddenkey", **shared, **still, **options}}, steps=3).losses

    plain = losses()
    assert plain == run(tiny_llava, lora, steps=3).losses
    assert losses(agreement=0.5) == plain, "two passes without dropout are one"
    keys, hidden = losses(drop_keys=0.3), losses(drop_hidden=0.3)
    assert len({tuple(found) for found in (plain, keys, hidden)}) == 3
    assert losses(drop_keys=0.3, agreement=5.0) != keys


def test_it_is_for_the_llm_and_not_for_flash_attention(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    with pytest.raises(HoldfastError, match="works on the llm only, not on 'connector'"):
        make_method("hiddenkey", {}).attach(loaded.anatomy.connector, Context(torch.Generator()))
    loaded.model.config.get_text_config()._attn_implementation = "flash_attention_2"
    with pytest.raises(HoldfastError, match="flash attention has no kernel for"):
        make_method("hiddenkey", {"r": 4}).attach(loaded.anatomy.llm, Context(torch.Generator()))
    assert not any("holdfast" in name for name, _ in loaded.model.named_modules())
