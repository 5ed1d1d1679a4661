"""Rows of questions about an image that is prepared already are what the processor makes when it looks again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.data.examples import Example, Turn
from holdfast.errors import HoldfastError
from holdfast.models.loading import Loaded, load_model
from holdfast.speed.sharing import expansion_cache
from holdfast.speed.sharing.expansion_cache import Rows
from holdfast.speed.sharing.rows import TokenRow, rows_of
from tests.support.processors import KITS, save
from tests.support.shop import MIXED, count_opened, family, picture
from tests.support.tiny import ROLES

UNTOLD = {"paligemma", "idefics2"}
"""Written out by hand, see ``ChatProcessor._expand``, or by processors that do not say what they write."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each image that was opened."""
    return count_opened(monkeypatch)


def alone(loaded: Loaded, example: Example, answers: bool) -> TokenRow:
    return rows_of(loaded.model, loaded.chat.encode([example], with_answers=answers))[0]


def assert_equal(one: TokenRow, other: TokenRow) -> None:
    assert torch.equal(one.positions, other.positions)
    for name in one.tokens.keys() | other.tokens.keys():
        assert torch.equal(one.entries(name), other.entries(name)), name


@pytest.mark.parametrize("answers", [True, False], ids=["training", "asking"])
@pytest.mark.parametrize("name", [name for name in KITS if name != "mllama"])  # images by cross-attention: no rows
def test_rows_are_those_of_the_processor(name: str, answers: bool, tmp_path: Path, opened: list[int]) -> None:
    loaded = family(name, tmp_path)
    expansion_cache._RIGHT.pop(loaded.chat, None)
    rows = Rows(loaded.model, loaded.chat, answers=answers)
    made = rows(MIXED)
    count = len(opened)
    later = [Example("later", e.images, (Turn(f"and {e.id} ?", ("blue é",)),), e.image_key) for e in MIXED]
    more = rows(later)
    images = sum(len(example.images) for example in MIXED)
    if name in UNTOLD:
        assert len(opened) > images
    else:
        assert count == 5 + 1, "every set of images once, and the first follower once for the comparison"
        assert len(opened) == count, "none again for other questions"
    for row, example in zip([*made, *more], [*MIXED, *later], strict=True):
        assert_equal(row, alone(loaded, example, answers))


def test_a_processor_that_reads_more_from_images_is_asked_again(tmp_path: Path, opened: list[int]) -> None:
    """It fails without them, or writes something else: both show on the first follower, and rows stay right."""
    loaded = family("llava", tmp_path)
    kind = type(loaded.chat.processor)
    for broken in ("fails", "differs"):

        class Broken(kind):  # type: ignore[misc, valid-type]
            def __call__(self, *args: Any, how: str = broken, **kwargs: Any) -> Any:
                data = super().__call__(*args, **kwargs)
                if not len(data.get("pixel_values", [1])):
                    if how == "fails":
                        raise KeyError("pixel_values")
                    data["input_ids"] = data["input_ids"] + 1
                return data

        loaded.chat.processor.__class__ = Broken
        try:
            expansion_cache._RIGHT.pop(loaded.chat, None)
            opened.clear()
            made = Rows(loaded.model, loaded.chat, answers=False)(MIXED)
            assert expansion_cache._RIGHT[loaded.chat] == {False: False}
            assert len(opened) > 6
            for row, example in zip(made, MIXED, strict=True):
                assert_equal(row, alone(loaded, example, False))
        finally:
            loaded.chat.processor.__class__ = kind
            expansion_cache._RIGHT.pop(loaded.chat, None)


def test_positions_in_three_dimensions_need_the_same_beginning(tmp_path: Path, opened: list[int]) -> None:
    """Where other text stands before the image, later positions are not those of the first row: it is opened again."""
    loaded = load_model(str(save(tmp_path / "qwen", "qwen2_5_vl", ROLES)), device="cpu")  # images where the text says
    image = picture(4, 40, 24)
    asked = [
        Example("a", (image,), (Turn("<image> what is it ?", ("red",)),), "one"),
        Example("b", (image,), (Turn("<image> what is that ?", ("red",)),), "one"),
        Example("c", (image,), (Turn("look here , what is <image> ?", ("red",)),), "one"),
    ]
    made = Rows(loaded.model, loaded.chat, answers=True)(asked)
    assert len(opened) == 3, "for a, for the comparison of b, and for c"
    assert made[2].tokens["input_ids"].tolist() != made[0].tokens["input_ids"].tolist()
    for row, example in zip(made, asked, strict=True):
        assert row.positions.shape == (3, row.length)
        assert_equal(row, alone(loaded, example, True))


def test_beyond_the_limit_rows_are_still_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[int]
) -> None:
    monkeypatch.setattr(expansion_cache, "LIMIT", 0)
    loaded = family("llava", tmp_path)
    rows = Rows(loaded.model, loaded.chat, answers=True)
    rows(MIXED)
    opened.clear()
    made = rows(MIXED)
    assert len(opened) == 5, "nothing is remembered from call to call; within a call an image is prepared once"
    for row, example in zip(made, MIXED, strict=True):
        assert_equal(row, alone(loaded, example, True))


def test_what_is_too_long_is_refused_by_name(tmp_path: Path) -> None:
    loaded = family("llava", tmp_path)
    first = alone(loaded, MIXED[0], True)
    rows = Rows(loaded.model, loaded.chat, answers=True, max_length=first.length + 1)
    long = Example("long", MIXED[0].images, (Turn("what ? " * 40, ("red",)),), "one")
    rows([MIXED[0]])
    with pytest.raises(HoldfastError, match="would cut its whole answer") as error:
        rows([long])
    assert error.value.item == "long"
