"""Shared rows give the logits, the loss and the gradients of separate rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.data.examples import Example
from holdfast.methods.contract import Context
from holdfast.methods.registry import make_method
from holdfast.models.batch import Batch
from holdfast.models.loading import Loaded
from holdfast.speed.sharing.batcher import Batcher
from holdfast.training.loss import answer_loss
from tests.support.questions import questions

FAMILIES = ("llava", "llava_next", "llava_onevision", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics3", "internvl")
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("llm", {"r": 4, "alpha": 8, "dropout": 0.0}),
    "adapter": ("llm", {"bottleneck": 8}),
    "random_mask": ("llm", {"ratio": 0.2}),
    "full": ("llm", {}),
    "prefix": ("llm", {"tokens": 3}),
}
RELATIVE = 1e-5
"""Of the largest value of a tensor; float32."""


def close(one: Tensor, other: Tensor, tolerance: float = RELATIVE) -> None:
    assert one.shape == other.shape
    worst = float((one - other).abs().max()) / max(float(other.abs().max()), 1e-12)
    assert worst <= tolerance, worst


def batches(loaded: Loaded, examples: list[Example], *, left: bool) -> tuple[Batch, Batch]:
    """The same examples shared, and each in a row of its own."""
    shared = Batcher(loaded, layout="shared", side="left" if left else "right")(examples)
    plain = Batcher(loaded, layout="separate", side="left" if left else "right")(examples)
    assert shared.text["attention_mask"].ndim == 4 and plain.text["attention_mask"].ndim == 2
    return shared, plain


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_token_of_a_branch_has_the_logits_of_its_own_row(
    family: str, images: int, left: bool, kit: Callable[[str], Loaded]
) -> None:
    loaded = kit(family)
    examples = questions(images)
    shared, plain = batches(loaded, examples, left=left)
    assert shared.text["input_ids"].shape[0] == 3, "two pictures and a question about none"
    assert shared.text["input_ids"].numel() < plain.text["input_ids"].numel()
    pixels = [name for name in plain.images if "pixel" in name and "mask" not in name]
    assert shared.images[pixels[0]].numel() < plain.images[pixels[0]].numel(), "each picture is encoded once"
    with torch.no_grad():
        together = loaded.model(**shared.inputs(loaded.model)).logits
        alone = loaded.model(**plain.inputs(loaded.model)).logits
    for index, example in enumerate(examples):
        branch = together[shared.owners == index]
        row = alone[index][plain.text["attention_mask"][index].bool()]
        assert branch.shape[0] >= 2, example.id
        close(branch, row[-branch.shape[0] :])


@pytest.mark.parametrize(("images", "left"), [(1, False), (2, False), (2, True)])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "qwen3_vl", "idefics3", "internvl"])
def test_loss_and_gradients_are_those_of_separate_rows(
    family: str, method: str, images: int, left: bool, kit: Callable[[str], Loaded]
) -> None:
    loaded = kit(family)
    loaded.model.requires_grad_(False)
    component, options = METHODS[method]
    made = make_method(method, options)
    made.attach(loaded.anatomy.component(component), Context(torch.Generator().manual_seed(0)))
    with torch.no_grad():
        for values in made.named_trainable().values():  # what begins at zero would hide half of the gradients
            values.add_(torch.randn(values.shape, generator=torch.Generator().manual_seed(1)), alpha=0.05)
    made.after_step(0)
    loaded.model.eval()  # dropout draws per token, and there are fewer of them
    found = []
    for batch in batches(loaded, questions(images), left=left):
        result = answer_loss(loaded.model, batch)
        result.total.backward()
        grads = {n: p.grad.clone() for n, p in made.named_trainable().items() if p.grad is not None}
        for values in made.named_trainable().values():
            values.grad = None
        found.append((result, grads))
    (shared, first), (plain, second) = found
    assert shared.tokens == plain.tokens
    assert torch.equal(shared.exact, plain.exact)
    close(shared.total.detach()[None], plain.total.detach()[None])
    assert first.keys() == second.keys() and first
    largest = max(float(gradient.abs().max()) for gradient in second.values())
    for name, gradient in first.items():
        assert float((gradient - second[name]).abs().max()) <= RELATIVE * largest, name


def test_trained_encoders_get_the_gradient_of_all_questions(kit: Callable[[str], Loaded]) -> None:
    loaded = kit("llava")
    found = []
    for batch in batches(loaded, questions(), left=False):
        loaded.model.requires_grad_(True)
        loaded.model.zero_grad()
        answer_loss(loaded.model, batch).total.backward()
        found.append({n: p.grad.clone() for n, p in loaded.model.named_parameters() if p.grad is not None})
    for part in ("vision_tower", "multi_modal_projector"):
        names = [name for name in found[0] if part in name]
        largest = max(float(found[1][name].abs().max()) for name in names)
        assert largest > 0
        for name in names:
            assert float((found[0][name] - found[1][name]).abs().max()) <= 2 * RELATIVE * largest


def test_which_rows_are_right_is_told_by_example(kit: Callable[[str], Loaded]) -> None:
    loaded = kit("llava")
    examples = questions(each=4)
    for batch in batches(loaded, examples, left=False):
        with torch.no_grad():
            logits = loaded.model(**batch.inputs(loaded.model)).logits
        best = logits.argmax(dim=-1)
        assert batch.labels is not None
        wanted = batch.labels != -100
        following = torch.nn.functional.pad(wanted[:, 1:], (0, 1))
        labels = batch.labels.clone()
        labels[wanted] = best[following]  # now everything is right ...
        owner = batch.owners
        for index in range(len(examples)):
            wrong = labels.clone()
            place = torch.nonzero(wanted & (owner == index))[-1]
            wrong[tuple(place)] = (wrong[tuple(place)] + 1) % 200  # ... but for one token
            exact = answer_loss(loaded.model, replace(batch, labels=wrong)).exact
            assert exact.tolist() == [other != index for other in range(len(examples))]
