"""Rows told by their beginnings: the mask's boundaries, and the loss and gradients that the mask gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.config.schema import Speed
from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.models import kernels
from holdfast.models.loading import Loaded, load_model
from holdfast.speed import policy
from holdfast.speed.decision import Decision
from holdfast.speed.policy import packed_training
from holdfast.speed.sharing import varlen
from holdfast.speed.sharing.attention import in_two_pieces
from holdfast.speed.sharing.batcher import Batcher
from holdfast.speed.sharing.filling import Filling
from holdfast.speed.sharing.packing import PADDING, block_mask, same_piece
from holdfast.speed.sharing.varlen import boundaries, go_through, tells_boundaries
from holdfast.training.loss import answer_loss
from tests.speed.sharing.test_filling import ALWAYS, FAMILIES
from tests.support.questions import questions

PLAIN = "varlen_in_plain_torch"
TOLD = Filling(token=1.0, layers=2, padded=0.0, by_boundaries=True)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    cu_seq_lens_q: Tensor | None = None,
    cu_seq_lens_k: Tensor | None = None,
    max_length_q: int | None = None,
    max_length_k: int | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """What flash-attn's varlen kernel computes; without boundaries what it does with a padding mask ``[rows, length]``.

    Tensors are ``[rows, heads, length, size]``; the kernel sees ``[rows * length, heads, size]``.
    """
    assert dropout == 0
    times = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(times, dim=1) for t in (key, value))
    rows, _, length, _ = query.shape
    if cu_seq_lens_q is not None:
        assert attention_mask is None and torch.equal(cu_seq_lens_q, cu_seq_lens_k)  # type: ignore[arg-type]
        assert cu_seq_lens_q.dtype == torch.int32 and int(cu_seq_lens_q[-1]) == rows * length
        assert max_length_q == max_length_k == int(cu_seq_lens_q.diff().max())
        flat = [t.transpose(1, 2).flatten(0, 1) for t in (query, key, value)]
        found = []
        for begin, end in zip(cu_seq_lens_q[:-1].tolist(), cu_seq_lens_q[1:].tolist(), strict=True):
            q, k, v = (t[begin:end].transpose(0, 1) for t in flat)
            scores = (q @ k.transpose(1, 2)) * scaling
            later = torch.ones(end - begin, end - begin, dtype=torch.bool).triu(1)
            found.append((scores.masked_fill(later, -torch.inf).softmax(-1) @ v).transpose(0, 1))
        return torch.cat(found).unflatten(0, (rows, length)), None
    scores = (query @ key.transpose(2, 3)) * scaling
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)[None, None]
    if attention_mask is not None:
        hidden = hidden | ~attention_mask.bool()[:, None, None]
    scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
    return (scores.softmax(-1) @ value).transpose(1, 2), None


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The function above in the place of flash-attn, which computes neither on a CPU nor in float32."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import flash_attention_mask

    AttentionInterface.register(PLAIN, attend)
    AttentionMaskInterface.register(PLAIN, flash_attention_mask)
    monkeypatch.setattr(policy, "FLASH", PLAIN)
    monkeypatch.setattr(policy, "tells_boundaries", lambda loaded: Decision(True, "in plain torch"))
    yield
    for interface in (AttentionInterface, AttentionMaskInterface):
        interface._global_mapping.pop(PLAIN)


def test_boundaries_are_those_of_the_mask() -> None:
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        rows, length = int(torch.randint(1, 4, (), generator=draw)), 24
        piece = torch.full((rows, length), PADDING)
        for row in range(rows):
            ends = torch.randperm(length - 1, generator=draw)[: int(torch.randint(1, 5, (), generator=draw))] + 1
            for number, (begin, end) in enumerate(zip([0, *ends.sort().values[:-1]], ends.sort().values, strict=True)):
                piece[row, int(begin) : int(end)] = number
        owner = torch.arange(rows)[:, None] * 10 + piece
        seen = block_mask(owner, owner) & same_piece(piece)
        told = boundaries(piece)
        places = told.places.tolist()
        allowed = torch.zeros(rows * length, rows * length, dtype=torch.bool)
        for begin, end in pairwise(places):
            allowed[begin:end, begin:end] = torch.ones(end - begin, end - begin, dtype=torch.bool).tril()
        assert torch.equal(allowed, torch.block_diag(*seen[:, 0].float()).bool())
        assert told.longest == max(end - begin for begin, end in pairwise(places))
        assert told.places.dtype == torch.int32 and places[0] == 0 and places[-1] == rows * length


def test_a_batch_is_one_row_without_a_mask(kit: Callable[[str], Loaded]) -> None:
    batcher = Batcher(kit("llava"))
    examples = questions(pictures=3, each=1)
    batcher.filling, batcher.by_boundaries = TOLD, True
    batch = batcher.prepare(examples)
    lengths = [row.length for row in batcher.rows(examples)]
    assert batch.boundaries is not None and "attention_mask" not in batch.text
    assert batch.boundaries.places.diff().tolist() == lengths
    assert batch.text["input_ids"].shape == (1, sum(lengths))
    told = batch.inputs(batcher.loaded.model)
    assert told["cu_seq_lens_q"] is told["cu_seq_lens_k"] and told["max_length_q"] == max(lengths)


@pytest.mark.usefixtures("at_hand")
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_the_mask(family: str, kit: Callable[[str], Loaded]) -> None:
    examples = questions(pictures=3, each=1)
    found = []
    for told in (True, False):
        loaded = kit(family)
        loaded.model.requires_grad_(True)
        batcher = Batcher(loaded)
        batcher.filling, batcher.by_boundaries = (TOLD, True) if told else (ALWAYS, False)
        with in_two_pieces(loaded.model):
            if told:
                go_through(loaded, PLAIN)
            batch = batcher(examples)
            assert (batch.boundaries is not None) == told and batch.text["input_ids"].shape[0] == 1
            result = answer_loss(loaded.model, batch, keep_logits=True)
            result.total.backward()
        grads = {name: p.grad for name, p in loaded.model.named_parameters() if p.grad is not None}
        found.append((result, grads))
    (one, first), (other, second) = found
    assert one.tokens == other.tokens and torch.equal(one.exact, other.exact)
    assert float(one.total) == pytest.approx(float(other.total), rel=1e-5)
    assert one.logits is not None and other.logits is not None
    assert float((one.logits - other.logits).abs().max()) <= 1e-5 * float(other.logits.abs().max())
    assert first.keys() == second.keys()
    largest = max(float(gradient.abs().max()) for gradient in second.values())
    for name, gradient in first.items():
        assert float((gradient - second[name]).abs().max()) <= 2e-5 * largest, name


def decided(loaded: Loaded, examples: list[Example], **speed: Any) -> tuple[Batcher, Filling | None, Decision]:
    batcher = Batcher(loaded, layout=speed.pop("layout", "separate"))
    filling, decision = packed_training(batcher, Speed(**speed), lambda step: [examples], steps=40)
    return batcher, filling, decision


@pytest.mark.usefixtures("at_hand")
def test_auto_takes_it_where_nothing_is_shared_and_sdpa_comes_back(kit: Callable[[str], Loaded]) -> None:
    loaded, examples = kit("llava"), questions(pictures=3, each=1)
    with in_two_pieces(loaded.model):
        batcher, filling, decision = decided(loaded, examples, packing="auto")
        assert filling is not None and filling.by_boundaries and batcher.by_boundaries
        assert "padding; compared" in decision.why and "told where each row begins" in decision.why
        assert varlen.attention_of(loaded) == PLAIN
    assert varlen.attention_of(loaded) == "sdpa"
    with in_two_pieces(loaded.model):
        for more in ({"compile": True}, {"layout": "shared"}):
            batcher, filling, _ = decided(loaded, examples, packing="on", **more)
            assert not batcher.by_boundaries and filling is not None and not filling.by_boundaries
            assert varlen.attention_of(loaded) == "sdpa_shared"


@pytest.mark.usefixtures("at_hand")
def test_a_family_that_does_not_hand_them_through_is_noticed(
    kit: Callable[[str], Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, examples = kit("llava"), questions(pictures=3, each=1)
    monkeypatch.setattr("holdfast.models.batch.Boundaries.inputs", lambda self: {})
    with in_two_pieces(loaded.model):
        batcher, filling, decision = decided(loaded, examples, packing="on")
        assert not batcher.by_boundaries and filling is not None and not filling.by_boundaries, "a mask does it"
        assert varlen.attention_of(loaded) == "sdpa_shared" and decision
    go_through(loaded, PLAIN)
    with pytest.raises(HoldfastError, match=r"packing is on, and .*other logits in rows told by their beginnings"):
        decided(loaded, examples, packing="on")


def test_what_is_asked_for_and_not_there_is_refused_in_a_sentence(
    kit: Callable[[str], Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HoldfastError, match=r"flash attention cannot be used: .* CUDA device, and this is 'cpu'") as no:
        load_model("pocket", device="cpu", attention=kernels.FLASH)
    assert no.value.key == ("speed", "attention")
    assert "flash-attn is not installed" in kernels.no_flash("cuda") or torch.cuda.is_available()
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda **settings: True)
    assert "this run in float32" in kernels.no_flash("cuda", torch.float32)
    assert kernels.no_flash("cuda", torch.bfloat16) == kernels.no_flash("cuda") == ""
    loaded = kit("llava")
    go_through(loaded, kernels.FLASH)
    with pytest.raises(HoldfastError, match=r"speed\.packing is on, and flash attention cannot be used: its kernels"):
        decided(loaded, questions(pictures=3, each=1), packing="on")
    assert tells_boundaries(kit("llava")) == Decision(False, "attention 'sdpa' takes a mask")
    monkeypatch.setattr(varlen, "no_flash", lambda device: "")
    assert tells_boundaries(loaded) == Decision(False, "flash attention computes in half precision only")
    loaded.model.to(torch.bfloat16)
    assert tells_boundaries(loaded)
    monkeypatch.setattr(loaded.model, "_supports_flash_attn", False)
    assert "has no flash attention" in tells_boundaries(loaded).why
