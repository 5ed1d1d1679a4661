"""Every family either computes the same in shared rows or is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from holdfast.models.chat import per_token
from holdfast.speed.sharing.packing import block_mask, pack
from holdfast.speed.sharing.rows import rows_of
from holdfast.speed.sharing.supports import longest, supports
from tests.support.families import FAMILIES, IMAGE, batch
from tests.support.models import model as shared_model

BOTH_WAYS, RUNNING, CROSS, ALONE = "see what stands behind", "running state", "cross-attention", "positions by itself"
REFUSED = {
    "paligemma": BOTH_WAYS, "gemma3": BOTH_WAYS, "qwen3_5": RUNNING, "qwen3_5_moe": RUNNING, "lfm2_vl": RUNNING,
    "lfm3_vl": RUNNING, "mllama": CROSS, "idefics": CROSS, "kosmos-2": CROSS, "kosmos-2.5": CROSS, "blip-2": ALONE,
    "instructblip": ALONE, "blip": ALONE,
}  # fmt: skip


def test_the_list_names_families() -> None:
    assert set(REFUSED) < set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_rows_or_a_reason(family: str) -> None:
    model = shared_model(family)
    decision = supports(model)
    if family in REFUSED:
        assert not decision and REFUSED[family] in decision.why
        return
    assert decision
    inputs = batch(family, model)
    marks = {int(IMAGE), *(int(i) for i in _marks(model))}
    pixels = {name: value for name, value in inputs.items() if not per_token(name)}
    tokens = {name: value for name, value in inputs.items() if per_token(name)}
    other = {name: value.clone() for name, value in tokens.items()}
    last = torch.nonzero(tokens["attention_mask"][0])[-1, 0]
    other["input_ids"][0, last - 2 : last] = torch.tensor([41, 42])
    first, second = rows_of(model, tokens | pixels), rows_of(model, other | pixels)
    bound = longest(model)
    assert bound is None or max(row.length for row in first) <= bound
    made = pack([[0, 1], [2]], [first[0], second[0], first[1]], marks, 0)
    owner = made.owners
    packed: dict[str, Any] = {**made.text, "attention_mask": block_mask(owner, owner)}
    with torch.no_grad():
        logits = model(**packed, **pixels).logits
        rows = [(model(**tokens, **pixels).logits, 0), (model(**other, **pixels).logits, 0)]
        rows.append((rows[0][0], 1))
    assert int((owner == 0).sum()) < first[0].length, "something is shared"
    for index, (alone, line) in enumerate(rows):
        branch = logits[owner == index]
        row = alone[line][tokens["attention_mask"][line].bool()][-branch.shape[0] :]
        assert float((branch - row).abs().max()) <= 1e-5 * float(row.abs().max())


def _marks(model: Any) -> list[int]:
    found = [getattr(model.config, name, None) for name in ("image_token_id", "image_token_index")]
    return [value for value in found if value is not None]
