"""Rows behind each other give the loss and gradients of padded ones, and are laid so where counting says it pays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.config.schema import Speed
from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context
from holdfast.methods.registry import make_method
from holdfast.models.loading import Loaded
from holdfast.speed.decision import Decision
from holdfast.speed.policy import packed_training
from holdfast.speed.sharing import batcher as batcher_module
from holdfast.speed.sharing.attention import _PIECES, Stretch, in_two_pieces, mark
from holdfast.speed.sharing.batcher import Batcher
from holdfast.speed.sharing.filling import CALL, Filling, divide, padding
from holdfast.speed.sharing.packing import PADDING, PREFIX
from holdfast.training.loss import answer_loss
from tests.support.questions import questions

ALWAYS = Filling(token=math.inf, layers=1, padded=0.0)
FAMILIES = ("llava", "llava_onevision", "qwen2_5_vl", "qwen3_vl", "idefics3", "internvl")


def gradients(loaded: Loaded, batcher: Batcher, examples: list[Example]) -> tuple[Any, dict[str, Tensor]]:
    loaded.model.zero_grad()
    with in_two_pieces(loaded.model):
        result = answer_loss(loaded.model, batcher(examples))
        result.total.backward()
    return result, {n: p.grad.clone() for n, p in loaded.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("each", [1, 3], ids=["separate", "shared"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_padded_rows(family: str, each: int, kit: Callable[[str], Loaded]) -> None:
    loaded = kit(family)
    loaded.model.requires_grad_(True)
    examples = questions(pictures=3, each=each)
    filled = Batcher(loaded, layout="shared" if each > 1 else "separate")
    filled.filling = ALWAYS
    prepared = filled.prepare(examples)
    plain = Batcher(loaded).separate(examples)
    assert prepared.text["input_ids"].shape[0] == 1 < plain.text["input_ids"].shape[0]
    assert prepared.piece is not None
    assert int(prepared.piece.max()) == 3, "three pictures and a question about none"
    assert prepared.text["input_ids"].numel() < plain.text["input_ids"].numel()
    (one, first), (other, second) = gradients(loaded, filled, examples), gradients(loaded, Batcher(loaded), examples)
    assert one.tokens == other.tokens
    assert torch.equal(one.exact, other.exact)
    assert float(one.total) == pytest.approx(float(other.total), rel=1e-5)
    assert first.keys() == second.keys()
    largest = max(float(gradient.abs().max()) for gradient in second.values())
    for name, gradient in first.items():
        assert float((gradient - second[name]).abs().max()) <= 2e-5 * largest, name


def test_several_filled_rows_with_padding_behind_them(kit: Callable[[str], Loaded], monkeypatch: Any) -> None:
    loaded = kit("llava")
    loaded.model.requires_grad_(True)
    examples = questions(pictures=2, each=3)
    filled = Batcher(loaded)
    rows = filled.rows(examples)
    monkeypatch.setattr("holdfast.speed.sharing.filling.MOST", 4 * max(row.length for row in rows))
    filled.filling = ALWAYS
    prepared = filled.prepare(examples)
    assert 1 < prepared.text["input_ids"].shape[0] < len(examples)
    assert bool((prepared.owners == PADDING).any())
    (one, first), (other, second) = gradients(loaded, filled, examples), gradients(loaded, Batcher(loaded), examples)
    assert float(one.total) == pytest.approx(float(other.total), rel=1e-5)
    largest = max(float(gradient.abs().max()) for gradient in second.values())
    assert all(float((gradient - second[name]).abs().max()) <= 2e-5 * largest for name, gradient in first.items())


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl"])
def test_a_prefix_in_front_goes_through_the_mask(family: str, kit: Callable[[str], Loaded]) -> None:
    loaded = kit(family)
    loaded.model.requires_grad_(False)
    made = make_method("prefix", {"tokens": 3})
    made.attach(loaded.anatomy.llm, Context(torch.Generator().manual_seed(0)))
    examples = questions(pictures=3, each=1)
    filled = Batcher(loaded)
    filled.filling = ALWAYS
    with torch.no_grad():
        for values in made.named_trainable().values():
            values.add_(torch.randn(values.shape, generator=torch.Generator().manual_seed(1)), alpha=0.05)
        losses = [float(answer_loss(loaded.model, batcher(examples)).total) for batcher in (filled, Batcher(loaded))]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_no_attention_call_sees_two_pieces(kit: Callable[[str], Loaded], monkeypatch: Any) -> None:
    loaded, examples = kit("llava"), questions(pictures=3, each=1)
    filled = Batcher(loaded)
    filled.filling = ALWAYS
    lengths = sorted(row.length for row in filled.rows(examples))
    seen: list[tuple[int, int, bool]] = []
    plain = torch.nn.functional.scaled_dot_product_attention

    def noted(query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        seen.append((query.shape[2], key.shape[2], kwargs.get("attn_mask") is not None))
        return plain(query, key, *args, **kwargs)

    batch = filled(examples)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noted)
    with in_two_pieces(loaded.model), torch.no_grad():
        answer_loss(loaded.model, batch)
    llm = [call for call in seen if call[0] in lengths]
    layers = loaded.model.config.get_text_config().num_hidden_layers  # type: ignore[union-attr, operator]
    assert sorted(llm) == sorted((length, length, False) for length in lengths for _ in range(layers))


def test_pieces_are_read_off_the_row() -> None:
    owner = torch.tensor([[PREFIX, PREFIX, 0, 1, 2, 2, PADDING, PADDING]])
    piece = torch.tensor([[0, 0, 0, 0, 1, 1, PADDING, PADDING]])
    mask = mark(torch.ones(1, 1, 8, 8, dtype=torch.bool), owner, piece)
    assert getattr(mask, _PIECES) == [[Stretch(0, 2, 4), Stretch(4, 6, 6), Stretch(6, 8, 8)]]


def test_rows_are_divided_evenly_and_hold_what_they_may() -> None:
    assert divide([5, 5, 5, 5], 20) == [[0, 1, 2, 3]]
    assert divide([9, 1, 5, 5], 10) == [[0, 1], [2, 3]]
    for lengths in ([7, 3, 3, 3, 2], [4] * 7, [1, 2, 3, 4, 5, 6]):
        rows = divide(lengths, 8)
        assert sorted(piece for row in rows for piece in row) == list(range(len(lengths)))
        assert max(sum(lengths[piece] for piece in row) for row in rows) <= 8


def test_what_is_saved_is_counted_against_calls() -> None:
    lengths = [100, 20, 20, 20]
    assert padding(lengths) == pytest.approx(1 - 160 / 400)
    even = 4 * 2 * CALL / (400 - 160)  # seconds a token at which saved tokens cost what calls do
    assert Filling(token=1.01 * even, layers=2).lay(lengths) == [[0, 1, 2, 3]]
    assert Filling(token=0.99 * even, layers=2).lay(lengths) is None
    assert Filling(token=1.0, layers=2).lay([100, 95, 90, 92]) is None, "a twentieth of it is padding"
    assert Filling(token=1.0, layers=2, padded=0.0).lay([100, 95, 90, 92]) == [[0, 1, 2, 3]]
    assert ALWAYS.lay([7, 7]) is None


def decided(loaded: Loaded, speed: str, examples: list[Example], *, steps: int = 40) -> tuple[Filling | None, Decision]:
    batcher = Batcher(loaded)
    with in_two_pieces(loaded.model):
        return packed_training(batcher, Speed(packing=speed), lambda step: [examples], steps=steps)  # type: ignore[arg-type]


def test_it_says_why_it_does_not_engage(kit: Callable[[str], Loaded], monkeypatch: Any) -> None:
    long_tailed, loaded = questions(pictures=3, each=1), kit("llava")
    assert decided(loaded, "off", long_tailed) == (None, Decision(False, "switched off"))
    filling, why = decided(loaded, "on", long_tailed)
    assert filling is not None
    assert "padding; compared" in why.why
    assert "too short" in decided(loaded, "auto", long_tailed, steps=3)[1].why
    assert "costs less than more calls" in decided(loaded, "auto", long_tailed)[1].why, "a model of a few weights"
    monkeypatch.setattr("holdfast.speed.policy.train_token", lambda loaded: 1.0)
    assert decided(loaded, "auto", long_tailed)[0] == Filling(token=1.0, layers=filling.layers)
    alike = [example for example in questions(pictures=1, each=1) if example.images] * 2
    assert "equally long" in decided(loaded, "auto", alike)[1].why
    with pytest.raises(HoldfastError, match=r"packing is on, and .*see what stands behind them"):
        decided(kit("gemma3"), "on", long_tailed)


def test_a_model_that_computes_something_else_is_noticed(kit: Callable[[str], Loaded], monkeypatch: Any) -> None:
    monkeypatch.setattr(batcher_module, "mark", lambda mask, owner, piece=None: mask.fill_(True).tril_())
    with pytest.raises(HoldfastError, match=r"packing is on, and .*other logits in filled rows"):
        decided(kit("llava"), "on", questions(pictures=3, each=1))
