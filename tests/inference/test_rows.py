"""What rows of questions need to be right in any company."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from holdfast.models.loading import Loaded
from holdfast.speed.sharing.batcher import Batcher
from tests.support.shop import MIXED, ONE, count_opened, family, question


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return family("qwen2_vl", tmp_path_factory.mktemp("models"))


def by_id(*names: str) -> list[Any]:
    return [next(example for example in MIXED if example.id == name) for name in names]


def test_a_text_encoded_alone_joins_rows_with_token_types(loaded: Loaded) -> None:
    """Qwen's processor marks image tokens; a text without images beside it comes from the tokenizer, without marks."""
    batcher = Batcher(loaded, ends="question", layout="shared")
    batcher.rows(by_id("t1"))
    late = batcher.pack(by_id("t1", "a1", "a2"))
    fresh = Batcher(loaded, ends="question", layout="shared").pack(by_id("t1", "a1", "a2"))
    assert late is not None and fresh is not None
    assert late.text.keys() == fresh.text.keys() and late.images.keys() == fresh.images.keys()
    assert all(torch.equal(late.text[name], fresh.text[name]) for name in fresh.text)
    assert all(torch.equal(late.images[name], fresh.images[name]) for name in fresh.images)
    assert torch.equal(late.owners, fresh.owners)


def test_a_row_beyond_the_window_is_not_packed(loaded: Loaded) -> None:
    """The block mask stands for the mask of every row of the batch, and it knows no window."""
    batcher = Batcher(loaded, layout="shared")
    long = question("long", "what ? " * 40, (ONE,), "another")
    batcher.longest = max(row.length for row in batcher.rows(by_id("a1", "a2")))
    assert batcher.pack(by_id("a1", "a2")) is not None
    assert batcher.pack([*by_id("a1", "a2"), long]) is None


def test_images_are_prepared_once_a_batch(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count_opened(monkeypatch)
    Batcher(loaded, ends="question", layout="shared").pack(MIXED)  # compares rows without images, as is done once
    seen.clear()
    batcher = Batcher(loaded, ends="question", layout="shared")
    batch = batcher.pack(MIXED)
    assert batch is not None and len(seen) == 5, "once for each set of images, and none again for the pixels"
    seen.clear()
    again = batcher.pack([MIXED[3], MIXED[0], MIXED[1]])
    assert again is not None and len(seen) == 2, "other leaders need their own pixels"
    with torch.no_grad():
        loaded.model(**batch.inputs(loaded.model))
        loaded.model(**again.inputs(loaded.model))
