"""The answer loss against transformers' own, and the stream of batches against its definition."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from holdfast.models.loading import load_model
from holdfast.training.batches import Stream
from holdfast.training.loss import answer_loss
from tests.support.methods import examples


def test_logits_at_answers_only_change_no_number(tiny_llava: Path) -> None:
    loaded = load_model(str(tiny_llava))
    batch = loaded.chat.encode(examples(5), with_answers=True)
    loaded.model.requires_grad_(True)
    gradients = []
    for head in ("answers", "full"):
        loaded.model.zero_grad()
        result = answer_loss(loaded.model, batch, head=head)
        result.total.backward()
        gradients.append({n: p.grad.clone() for n, p in loaded.model.named_parameters() if p.grad is not None})
        theirs = loaded.model(**batch).loss
        assert float(result.total.detach()) / result.tokens == pytest.approx(float(theirs.detach()), rel=1e-5)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-6)


def test_exact_by_teacher_forcing_is_exact_by_generation(tiny_llava: Path) -> None:
    loaded = load_model(str(tiny_llava))
    asked = examples(4)
    batch = loaded.chat.encode(asked, with_answers=False)
    prompt = batch["input_ids"].shape[1]
    whole = loaded.model.generate(**batch, max_new_tokens=3, do_sample=False, eos_token_id=None)  # type: ignore[operator]
    labels = whole.clone()
    labels[:, :prompt] = -100
    encoded = {"input_ids": whole, "attention_mask": torch.ones_like(whole), "pixel_values": batch["pixel_values"]}
    assert answer_loss(loaded.model, encoded | {"labels": labels}).exact.tolist() == [True] * 4
    for row in range(4):  # one wrong token in one row makes that row wrong and no other
        wrong = labels.clone()
        wrong[row, prompt + row % 3] += 1
        exact = answer_loss(loaded.model, encoded | {"labels": wrong}).exact.tolist()
        assert exact == [other != row for other in range(4)]


def test_every_pass_sees_every_example_once_and_accumulation_sees_the_same_stream() -> None:
    data = examples(8)
    single, double = Stream(data, 4, 1, 0), Stream(data, 2, 2, 0)
    first = [example.id for step in range(2) for batch in single.step(step) for example in batch]
    again = [example.id for step in range(2) for batch in double.step(step) for example in batch]
    assert first == again
    assert Counter(first) == {f"e{i}": 1 for i in range(8)}
    other = [example.id for step in range(2) for batch in Stream(data, 4, 1, 1).step(step) for example in batch]
    assert other != first
