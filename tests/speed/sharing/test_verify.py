"""The comparison before shared rows are relied on: what it notices, and when it is made again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from holdfast.data.examples import Example, Turn
from holdfast.methods.contract import Context
from holdfast.methods.registry import make_method
from holdfast.models.anatomy import output_head
from holdfast.models.loading import Loaded
from holdfast.speed.sharing import batcher as batcher_module
from holdfast.speed.sharing.batcher import Batcher
from holdfast.speed.sharing.verify import AT_ONCE, some, verify_sharing
from tests.support.questions import questions


def test_it_is_made_once_for_a_model_as_it_is_built(kit: Callable[[str], Loaded]) -> None:
    loaded = kit("llava")
    ran: list[int] = []
    loaded.model.register_forward_hook(lambda *args: ran.append(1))
    batcher = Batcher(loaded, layout="shared")
    assert verify_sharing(batcher, questions()) and len(ran) == 2
    assert verify_sharing(Batcher(loaded, layout="shared"), questions(seed=1)) and len(ran) == 2
    make_method("adapter", {"bottleneck": 8}).attach(loaded.anatomy.llm, Context(torch.Generator().manual_seed(0)))
    assert verify_sharing(batcher, questions()) and len(ran) == 4, "something was added to the model"
    assert verify_sharing(Batcher(kit("llava"), layout="shared"), questions())


def test_a_mask_that_is_not_obeyed_is_noticed_every_time(kit: Callable[[str], Loaded], monkeypatch: Any) -> None:
    def everything(query: torch.Tensor, key: torch.Tensor, offset: int = 0) -> torch.Tensor:
        return torch.ones(query.shape[0], 1, query.shape[1], key.shape[1], dtype=torch.bool).tril()

    monkeypatch.setattr(batcher_module, "block_mask", everything)
    loaded = kit("llava")
    for _ in range(2):
        found = verify_sharing(Batcher(loaded, layout="shared"), questions())
        assert not found and "gives other logits in shared rows" in found.why


def test_positions_that_run_on_are_noticed(kit: Callable[[str], Loaded], monkeypatch: Any) -> None:
    pack = batcher_module.pack

    def running_on(*args: Any, **kwargs: Any) -> Any:
        batch = pack(*args, **kwargs)
        ids = batch.text["input_ids"]
        batch.text["position_ids"] = torch.arange(ids.shape[1]).expand_as(ids)
        return batch

    monkeypatch.setattr(batcher_module, "pack", running_on)
    found = verify_sharing(Batcher(kit("llava"), layout="shared"), questions())
    assert not found and "other logits" in found.why


def test_questions_that_do_not_begin_alike_have_nothing_to_compare(kit: Callable[[str], Loaded]) -> None:
    found = verify_sharing(Batcher(kit("llava"), layout="shared"), questions(each=1))
    assert not found and "no two examples" in found.why


def in_detail() -> list[Example]:
    """Questions with an answer of eighty words each."""
    return [replace(one, turns=(Turn(one.question, ("red one " * 40,)),)) for one in questions() if one.images]


def test_long_answers_are_compared_whole_and_a_few_tokens_at_a_time(kit: Callable[[str], Loaded]) -> None:
    loaded, long = kit("llava"), in_detail()
    batcher = Batcher(loaded, layout="shared")
    packed = batcher.pack(some(long))
    assert packed is not None
    behind = int((packed.owners >= 0).sum())
    head = output_head(loaded.model)
    assert head is not None
    seen: list[int] = []
    head.register_forward_hook(lambda module, given, result: seen.append(result.shape[:-1].numel()))
    assert verify_sharing(batcher, long)
    forward = [1, 1]  # one token's logits of each of the two forwards
    assert sum(seen) == sum(forward) + 2 * behind and max(seen) == AT_ONCE < behind // 2


@pytest.mark.parametrize("place", [-1, -60])
def test_a_mistake_within_a_long_answer_is_noticed(
    place: int, kit: Callable[[str], Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = batcher_module.pack

    def late(*args: Any, **kwargs: Any) -> Any:
        batch = pack(*args, **kwargs)
        batch.text["position_ids"][..., place] += 3
        return batch

    monkeypatch.setattr(batcher_module, "pack", late)
    found = verify_sharing(Batcher(kit("llava"), layout="shared"), in_detail())
    assert not found and "other logits" in found.why


def test_a_logit_that_is_no_number_is_no_match(kit: Callable[[str], Loaded]) -> None:
    loaded = kit("llava")
    head = output_head(loaded.model)
    assert head is not None
    calls: list[int] = []

    def spoil(module: Any, given: Any, result: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return result if len(calls) < 6 else result * float("nan")

    head.register_forward_hook(spoil)
    found = verify_sharing(Batcher(loaded, layout="shared"), in_detail())
    assert not found and "other logits" in found.why and len(calls) > 6
