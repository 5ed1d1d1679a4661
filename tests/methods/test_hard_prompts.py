"""Searched words against the search written out by hand on a longer row of the plain model; the prefix's start."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context
from holdfast.methods.registry import make_method
from holdfast.training.batches import Stream
from holdfast.training.loss import mean_loss
from tests.support.methods import examples, fresh
from tests.support.reference import plain_run, start_of

from .test_prompt_references import longer

SEARCHED = 2
"""Batches on which words are compared."""


def batches(loaded: Any, count: int) -> list[dict[str, Tensor]]:
    """The first of a run."""
    stream = Stream(examples(), 4, 1, 0)
    return [loaded.chat.encode(next(stream.step(step)), with_answers=True) for step in range(count)]


def mean_over(loaded: Any, chosen: Sequence[dict[str, Tensor]]) -> float:
    loaded.model.eval()
    with torch.no_grad():
        return sum(float(mean_loss(loaded.model, batch)) for batch in chosen) / len(chosen)


def test_autoprompt_takes_the_best_of_the_words_that_the_gradient_names(tiny_llava: Path) -> None:
    tune = {"llm": {"method": "autoprompt", "tokens": 1, "candidates": 6, "batches": SEARCHED}}
    loaded = fresh(tiny_llava)
    rows = loaded.model.get_input_embeddings().weight.detach()  # type: ignore[operator]
    start = start_of(tiny_llava, tune)["table"]
    (word,) = torch.nonzero((rows == start[0]).all(dim=1))[0].tolist()
    prompt = rows[[word]][None].clone().requires_grad_(True)
    longer(loaded, lambda: prompt)
    compared, steps = batches(loaded, SEARCHED), batches(loaded, 3)
    special = set(loaded.chat.tokenizer.all_special_ids)
    for batch in steps:
        loaded.model.train()
        (gradient,) = torch.autograd.grad(mean_loss(loaded.model, batch), prompt)
        order = sorted(range(len(rows)), key=lambda one: float(rows[one] @ gradient[0, 0]))
        tried = [word, *[one for one in order if one not in special][:6]]
        losses = []
        for one in tried:
            with torch.no_grad():
                prompt[0, 0] = rows[one]
            losses.append(mean_over(loaded, compared))
        word = tried[losses.index(min(losses))]
        with torch.no_grad():
            prompt[0, 0] = rows[word]
    trained = plain_run(tiny_llava, tune)
    (artifact,) = trained.recipe.detach()
    assert artifact.metadata["ids"] == [word]
    assert artifact.metadata["text"] == loaded.chat.tokenizer.decode([word])
    assert torch.equal(artifact.tensors["table"], rows[[word]][None])


def test_autoprompt_changes_one_place_a_step(tiny_llava: Path) -> None:
    tune = {"llm": {"method": "autoprompt", "tokens": 4, "candidates": 20, "batches": 1}}
    found = [plain_run(tiny_llava, tune, steps=steps).recipe.detach()[0].metadata["ids"] for steps in (0, 1, 2, 3)]
    changes = [sum(a != b for a, b in zip(one, other, strict=True)) for one, other in pairwise(found)]
    assert max(changes) == 1 and sum(changes) > 1


def test_lpaqa_takes_the_likeliest_wording(tiny_llava: Path) -> None:
    wordings = ("is it ?", "which colour is it", "ASSISTANT: red", "zzz")
    losses = []
    for text in wordings:
        loaded = fresh(tiny_llava)
        ids = loaded.chat.tokenizer(text, add_special_tokens=False)["input_ids"]
        rows = loaded.model.get_input_embeddings().weight.detach()[ids][None]  # type: ignore[operator]
        longer(loaded, lambda rows=rows: rows)
        losses.append(mean_over(loaded, batches(loaded, SEARCHED)))
    best = wordings[losses.index(min(losses))]
    tune = {"llm": {"method": "lpaqa", "wordings": list(wordings), "batches": SEARCHED}}
    (artifact,) = plain_run(tiny_llava, tune, steps=4).recipe.detach()
    assert artifact.metadata["text"] == best
    assert losses[0] != min(losses), "the first would be no choice"


def test_a_search_goes_on_where_a_checkpoint_stood(tiny_llava: Path) -> None:
    trained = plain_run(tiny_llava, {"llm": {"method": "autoprompt", "tokens": 3, "candidates": 20, "batches": 1}})
    method = trained.recipe.methods["llm"]
    state = method.state()
    other = plain_run(tiny_llava, {"llm": {"method": "autoprompt", "tokens": 3, "batches": 1}}, steps=0)
    again = other.recipe.methods["llm"]
    again.load({}, state)
    assert torch.equal(again.named_trainable()["table"], method.named_trainable()["table"])
    assert torch.equal(again.state()["ids"], state["ids"])


def test_a_search_without_examples_is_refused(tiny_llava: Path) -> None:
    llm = fresh(tiny_llava).anatomy.llm
    with pytest.raises(HoldfastError, match="'autoprompt' needs training examples"):
        make_method("autoprompt", {}).attach(llm, Context(torch.Generator()))


def test_a_prefix_starts_as_the_words_that_it_was_drawn_from(tiny_llava: Path) -> None:
    """Before step 1 the answers are those behind a longer row of real words."""
    loaded = fresh(tiny_llava)
    rows = loaded.model.get_input_embeddings().weight.detach()  # type: ignore[operator]
    method = make_method("prefix", {"tokens": 3})
    method.attach(loaded.anatomy.llm, Context(torch.Generator().manual_seed(5)))
    batch = loaded.chat.encode(examples()[:2], with_answers=True)
    batch.pop("labels")
    loaded.model.eval()
    drawn = torch.randint(300, (3,), generator=torch.Generator().manual_seed(5).manual_seed(5))
    other = fresh(tiny_llava)
    other.model.eval()
    with torch.no_grad():
        said = loaded.model(**batch).logits
        # The table is drawn first, as for a normal start.
        generator = torch.Generator().manual_seed(5)
        torch.empty(3, method.prefix.table.shape[1]).normal_(generator=generator)  # type: ignore[attr-defined]
        drawn = torch.randint(300, (3,), generator=generator)
        longer(other, lambda: rows[drawn][None])
        torch.testing.assert_close(said, other.model(**batch).logits, rtol=1e-4, atol=1e-5)


def test_a_prefix_has_one_start(tiny_llava: Path) -> None:
    with pytest.raises(HoldfastError, match="start: words is for a table"):
        make_method("prefix", {"start": "words", "deviation": 0.5})
    normal = start_of(tiny_llava, {"llm": {"method": "prefix", "tokens": 3, "deviation": 0.02}})["table"]
    assert 0.015 < float(normal.std()) < 0.025
