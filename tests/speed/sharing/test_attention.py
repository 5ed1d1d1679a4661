"""Attention in two pieces gives what attention in one piece gives, and engages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from holdfast.models.loading import Loaded
from holdfast.speed.sharing.attention import _SPLIT, in_two_pieces, mark
from holdfast.speed.sharing.batcher import Batcher
from holdfast.speed.sharing.packing import PADDING, PREFIX
from holdfast.training.loss import answer_loss
from tests.support.questions import questions


def test_the_first_piece_ends_with_the_shortest_beginning() -> None:
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    owner = torch.tensor([[PREFIX, PREFIX, PREFIX, 0, 1], [2, 2, 2, 2, PADDING]])
    assert getattr(mark(mask, owner), _SPLIT) == 3
    assert getattr(mark(mask, torch.tensor([[0, 0, 0, 0, 0], [1, 1, PADDING, PADDING, PADDING]])), _SPLIT) == 2
    assert getattr(mark(mask, torch.tensor([[PADDING, PREFIX, 0, 0, 1], [2, 2, 2, 2, 2]])), _SPLIT) == 0


@pytest.mark.parametrize("family", ["llava", "llava_onevision", "qwen2_5_vl", "qwen3_vl", "idefics3", "internvl"])
def test_loss_and_gradients_in_two_pieces(family: str, kit: Callable[[str], Loaded], monkeypatch: Any) -> None:
    loaded = kit(family)
    loaded.model.requires_grad_(True)
    batch = Batcher(loaded, layout="shared")([e for e in questions(each=4) if e.images])
    sizes: list[int] = []
    plain = torch.nn.functional.scaled_dot_product_attention

    def counted(query: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        sizes.append(query.shape[2])
        return plain(query, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    found = []
    for pieces in (False, True):
        sizes.clear()
        loaded.model.zero_grad()
        if pieces:
            with in_two_pieces(loaded.model):
                loss = answer_loss(loaded.model, batch).total
        else:
            loss = answer_loss(loaded.model, batch).total
        loss.backward()
        found.append(
            (loss.detach(), {n: p.grad.clone() for n, p in loaded.model.named_parameters() if p.grad is not None})
        )
        length, split = batch.text["input_ids"].shape[1], getattr(batch.text["attention_mask"], _SPLIT)
        layers = loaded.model.config.get_text_config().num_hidden_layers  # type: ignore[union-attr, operator]
        assert sizes.count(split) == sizes.count(length - split) == (layers if pieces else 0)
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=0)
    largest = max(float(g.abs().max()) for g in found[0][1].values())
    for name, gradient in found[0][1].items():
        assert float((gradient - found[1][1][name]).abs().max()) <= 1e-5 * largest
    assert loaded.model.config.get_text_config()._attn_implementation == "sdpa"  # type: ignore[union-attr, operator]


def test_rows_that_share_nothing_need_no_mask_at_all(kit: Callable[[str], Loaded]) -> None:
    loaded = kit("llava")
    batcher = Batcher(loaded, ends="question")
    chosen = [example for example in questions(each=1) if example.images][:1]
    batch = batcher.packed(chosen, batcher.rows(chosen), [[0]])
    found = []
    for pieces in (False, True):
        if pieces:
            mark(batch.text["attention_mask"], batch.owners)
            assert getattr(batch.text["attention_mask"], _SPLIT) == batch.text["input_ids"].shape[1]
        with in_two_pieces(loaded.model), torch.no_grad():
            found.append(loaded.model(**batch.inputs(loaded.model)).logits)
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)
