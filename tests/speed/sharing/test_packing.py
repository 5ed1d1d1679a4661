"""The mask, the positions and the common beginning against a definition written out token by token."""

from __future__ import annotations

import pytest
import torch

from holdfast.speed.sharing.packing import PADDING, PREFIX, as_additive, block_mask, pack, shared_length
from holdfast.speed.sharing.rows import TokenRow

IMAGE = 4


def row(ids: list[int], labels_from: int | None = None) -> TokenRow:
    tokens = {"input_ids": torch.tensor(ids)}
    if labels_from is not None:
        tokens["labels"] = torch.tensor([-100] * labels_from + ids[labels_from:])
    return TokenRow(tokens, torch.arange(len(ids)))


def test_the_common_beginning_ends_before_the_first_label_can_be_asked() -> None:
    assert shared_length([row([1, 4, 4, 7, 8]), row([1, 4, 4, 7, 9])], {IMAGE}) == 4
    assert shared_length([row([1, 4, 4, 7, 8, 9], 5), row([1, 4, 4, 7, 8, 6], 5)], {IMAGE}) == 4
    assert shared_length([row([1, 4, 4, 7, 8, 9], 4), row([1, 4, 4, 7, 8, 6], 4)], {IMAGE}) == 3
    assert shared_length([row([1, 4, 4, 5]), row([1, 4, 4])], {IMAGE}) == 0, "a branch would be empty"
    assert shared_length([row([1, 4, 4, 5, 6]), row([1, 4, 4, 5, 6])], {IMAGE}) == 4, "twins keep a token each"


def test_nothing_is_shared_unless_all_image_tokens_are() -> None:
    assert shared_length([row([7, 4, 4, 5]), row([8, 4, 4, 5])], {IMAGE}) == 0
    assert shared_length([row([7, 4, 9, 4, 5]), row([7, 4, 8, 4, 5])], {IMAGE}) == 0
    assert shared_length([row([7, 8, 9]), row([7, 8, 5])], {IMAGE}) == 0, "no image at all"


@pytest.mark.parametrize("left", [False, True])
def test_mask_and_positions_token_by_token(left: bool) -> None:
    rows = [row([1, 4, 4, 7, 8, 9]), row([1, 4, 4, 5]), row([1, 2, 3]), row([1, 4, 4, 7, 6])]
    batch = pack([[0, 1, 3], [2]], rows, {IMAGE}, 0, side="left" if left else "right")
    assert batch.text["input_ids"].shape == (2, 3 + 3 + 1 + 2)
    mask = block_mask(batch.owners, batch.owners)
    for line in range(2):
        owner = batch.owners[line].tolist()
        seen = [index for index, whose in enumerate(owner) if whose != PADDING]
        for query in seen:
            expected = [key for key in seen if key <= query and (owner[key] == PREFIX or owner[key] == owner[query])]
            assert torch.nonzero(mask[line, 0, query]).flatten().tolist() == expected
            # What a token sees is its own row up to itself, in the row's order, at the row's positions.
            index = owner[query] if owner[query] != PREFIX else 0
            ids = batch.text["input_ids"][line, expected].tolist()
            assert ids == rows[index].tokens["input_ids"][: len(ids)].tolist()
            assert batch.text["position_ids"][line, expected].tolist() == list(range(len(ids)))
        assert bool(mask[line, 0].any(dim=-1).all()), "a token that sees nothing would be not a number"


def test_the_mask_of_a_later_query_looks_back_over_all_keys() -> None:
    key = torch.tensor([[PREFIX, PREFIX, 0, 1, 0, PADDING, 1]])
    whole = block_mask(key, key)
    assert torch.equal(block_mask(key[:, 4:], key, offset=4), whole[:, :, 4:])


def test_the_additive_mask_says_the_same() -> None:
    mask = torch.tensor([[[[True, False]]]])
    assert as_additive(mask, torch.float32).tolist() == [[[[0.0, torch.finfo(torch.float32).min]]]]


def test_positions_in_three_dimensions_stand_beside_plain_ones() -> None:
    image = TokenRow({"input_ids": torch.tensor([1, 4, 5])}, torch.tensor([[0, 1, 2], [0, 1, 3], [0, 2, 2]]))
    batch = pack([[0], [1]], [image, row([1, 2])], {IMAGE}, 0)
    assert batch.text["position_ids"].shape == (3, 2, 3)
    assert batch.text["position_ids"][:, 1].tolist() == [[0, 1, 0]] * 3
