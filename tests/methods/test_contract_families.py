"""The contract, shortened, for every method on families that are built differently from LLaVA.

Qwen2.5-VL has its connector inside the tower and biases in the llm, Idefics3 folds patches, Gemma3 ties its head and
mixes window and full attention.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context, Method
from holdfast.methods.ledger import content
from holdfast.methods.registry import METHODS as METHOD_KINDS
from holdfast.methods.registry import make_method
from holdfast.models.anatomy import Anatomy, resolve_anatomy
from holdfast.models.batch import Batch
from holdfast.training.loss import answer_loss
from tests.support.families import batch, build
from tests.support.methods import METHODS, SMALL

FAMILIES = ("qwen2_5_vl", "idefics3", "gemma3")
REFUSED = {("bitfit", "idefics3"), ("bitfit", "gemma3")}
"""Their llm has no biases."""


@cache
def kept(family: str) -> tuple[Any, dict[str, Tensor]]:
    model = build(family)
    model.requires_grad_(False)
    inputs = batch(family, model)
    labels = inputs["input_ids"].clone()
    labels[:, :-4] = -100
    labels[inputs["attention_mask"] == 0] = -100
    return model, inputs | {"labels": labels}


def logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    model.eval()
    with torch.no_grad():
        found: Tensor = model(**{name: value for name, value in inputs.items() if name != "labels"}).logits
    return found


def digests(anatomy: Anatomy) -> dict[str, bytes]:
    return {name: content(parameter) for name, parameter in anatomy.names().items()}


def letters(text: str, **_: Any) -> dict[str, list[int]]:
    """A tokenizer of a token a letter."""
    return {"input_ids": [60 + ord(letter) % 200 for letter in text]}


letters.decode = lambda ids: " ".join(map(str, ids))  # type: ignore[attr-defined]


def mean(model: Any) -> Callable[[Batch], Tensor]:
    """The mean answer loss of a batch, as a method may ask for it."""

    def loss(one: Batch) -> Tensor:
        result = answer_loss(model, one)
        return result.total / result.tokens

    return loss


def two_steps(method: Method, model: Any, inputs: dict[str, Tensor]) -> list[str]:
    """AdamW with decay; the names of trainable tensors without a gradient in the first step."""
    optimizer = torch.optim.AdamW(method.parameter_groups(1e-2, 0.1))
    method.steps = 2
    method.bind(optimizer)
    missing: list[str] = []
    for step in range(2):
        result = answer_loss(model, inputs)
        (result.total / result.tokens).backward()
        missing += [n for n, p in method.named_trainable().items() if p.grad is None and not step]
        method.before_step(step)
        optimizer.step()
        method.after_step(step)
        optimizer.zero_grad()
    return missing


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_it_attaches_moves_what_it_says_comes_off_and_goes_back_on(method: str, family: str) -> None:
    original, inputs = kept(family)
    model, other = copy.deepcopy(original), copy.deepcopy(original)
    anatomy = resolve_anatomy(model)
    before, plain = digests(anatomy), logits(model, inputs)

    made, at = make_method(method, SMALL.get(method, {})), METHOD_KINDS.find(method).card.at
    at = "llm" if method == "bitfit" else at
    seen = Batch.of(inputs)
    context = Context(
        torch.Generator().manual_seed(0), lambda count, **_: iter([seen] * min(count, 4)), mean(model), 1e-2, letters
    )
    try:
        made.attach(anatomy.component(at), context)
    except HoldfastError as error:
        assert (method, family) in REFUSED and "finds nothing to train" in str(error)
        return
    assert (method, family) not in REFUSED
    assert two_steps(made, model, inputs) == []
    tuned = logits(model, inputs)
    assert not torch.equal(tuned, plain)
    assert {name for name, digest in digests(anatomy).items() if digest != before[name]} <= made.moves()
    with made.suspended():
        assert torch.equal(logits(model, inputs), plain)
    assert torch.equal(logits(model, inputs), tuned)
    artifact = made.detach()
    assert digests(anatomy) == before and torch.equal(logits(model, inputs), plain)
    make_method(method, artifact.options).restore(resolve_anatomy(other).component(at), artifact)
    assert torch.equal(logits(other, inputs), tuned)
