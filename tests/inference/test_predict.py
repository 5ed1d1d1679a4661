"""A prediction file depends on the model and the task alone, and an interrupted one is continued."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
import torch

from holdfast.config.schema import Speed
from holdfast.errors import HoldfastError
from holdfast.inference.predict import batches, in_order, in_parts, predict
from holdfast.models.loading import Loaded
from holdfast.predictions.file import read_predictions
from holdfast.speed.decision import Decision
from tests.support.shop import MIXED, ending, family, task

LIMIT = 6
OFF = Speed(share_images="off")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    made = family("qwen2_5_vl", tmp_path_factory.mktemp("models"))
    ending(made, MIXED, LIMIT)
    return made


def written(loaded: Loaded, folder: Path, name: str, examples: Any = MIXED, **settings: Any) -> tuple[bytes, Any]:
    report = predict(loaded, task(tuple(examples)), folder / name, max_new_tokens=LIMIT, **settings)
    return (folder / name).read_bytes(), report


def test_the_file_is_the_same_for_every_batch_order_and_speed(loaded: Loaded, tmp_path: Path) -> None:
    expected, report = written(loaded, tmp_path, "library", batch_size=1, speed=OFF)
    assert report["share_images"] == Decision(False, "switched off")
    for size in (1, 3, 32):
        found, report = written(loaded, tmp_path, f"auto{size}", batch_size=size)
        assert found == expected, size
        assert report["share_images"].on == (size > 1), report
        assert report["early_stop"].on
    assert written(loaded, tmp_path, "plain", batch_size=3, speed=OFF)[0] == expected
    for seed in range(2):
        shuffled = random.Random(seed).sample(MIXED, len(MIXED))
        assert written(loaded, tmp_path, f"shuffled{seed}", shuffled, batch_size=3)[0] == expected
    predictions = read_predictions(tmp_path / "library")
    assert {p.truncated for p in predictions} == {True, False}
    assert len(predictions) == len(MIXED)


def test_one_question_an_image(loaded: Loaded, tmp_path: Path) -> None:
    single = [example for example in MIXED if example.id in ("a1", "b1", "c1", "t1", "p1")]
    expected, _ = written(loaded, tmp_path, "library", single, speed=OFF)
    found, report = written(loaded, tmp_path, "ours", single, speed=Speed(share_images="on"))
    assert found == expected
    assert report["share_images"] == Decision(False, "every image has one question")
    assert report["early_stop"].on


def test_an_interrupted_file_is_continued_in_the_middle_of_an_image(loaded: Loaded, tmp_path: Path) -> None:
    whole, _ = written(loaded, tmp_path, "whole", batch_size=3)
    lines = whole.splitlines(keepends=True)
    order = [example for group in in_order(MIXED) for example in group]
    middle = [example.id for example in order].index("a1") + 1
    assert order[middle].image_key == "one", "the image has questions left"
    (tmp_path / "rest").write_bytes(b"".join(lines[:middle]) + lines[middle][:20])
    counts: list[int] = []
    found, report = written(loaded, tmp_path, "rest", batch_size=4, advance=counts.append)
    assert sorted(found.splitlines()) == sorted(whole.splitlines())
    assert found.startswith(b"".join(lines[:middle]))
    assert counts[0] == middle and sum(counts) == len(MIXED)
    assert report["share_images"].on
    assert written(loaded, tmp_path, "rest") == (found, {}), "nothing is left to ask"


def test_an_interruption_loses_one_batch(loaded: Loaded, tmp_path: Path) -> None:
    def stop(count: int) -> None:
        raise KeyboardInterrupt

    training = loaded.model.training
    with pytest.raises(KeyboardInterrupt):
        written(loaded, tmp_path, "cut", batch_size=4, advance=stop)
    assert loaded.model.training == training
    first = len(next(batches(in_order(MIXED), 4)))
    assert len(read_predictions(tmp_path / "cut")) == first
    expected, _ = written(loaded, tmp_path, "whole")
    assert sorted(written(loaded, tmp_path, "cut")[0].splitlines()) == sorted(expected.splitlines())


def test_batches_keep_images_whole_and_small() -> None:
    groups = in_order(MIXED)
    for size in (1, 2, 3, 5, 32):
        made = list(batches(groups, size))
        assert [e for batch in made for e in batch] == [e for group in groups for e in group]
        assert all(0 < len(batch) <= size for batch in made)
    assert all(len({e.image_key for e in batch} & {e.image_key for e in more}) == 0
               for batch, more in zip(list(batches(groups, 3)), list(batches(groups, 3))[1:], strict=False)
               if batch[0].images)  # fmt: skip


def test_on_refuses_where_the_model_cannot(loaded: Loaded, tmp_path: Path) -> None:
    other = family("paligemma", tmp_path)
    with pytest.raises(HoldfastError, match="share_images is on, and in PaliGemma"):
        predict(other, task(MIXED[:2]), tmp_path / "no", speed=Speed(share_images="on"))


def test_rows_that_differ_are_not_relied_on(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask that lets questions see each other is noticed before the first answer."""
    import holdfast.speed.sharing.batcher as place
    from holdfast.speed import verified

    def everything(query: Any, key: Any, offset: int = 0) -> Any:
        return (key[:, None] >= -1).expand(-1, query.shape[1], -1)[:, None].clone().tril(offset)

    expected, _ = written(loaded, tmp_path, "right")
    monkeypatch.setattr(place, "block_mask", everything)
    monkeypatch.setattr(verified, "_VERIFIED", WeakKeyDictionary())  # a proof of the code that was replaced
    found, report = written(loaded, tmp_path, "noticed")
    assert found == expected
    assert not report["share_images"].on and "other logits" in report["share_images"].why
    with pytest.raises(HoldfastError, match="other logits"):
        written(loaded, tmp_path, "refused", speed=Speed(share_images="on"))


def test_a_batch_that_does_not_fit_is_asked_in_parts() -> None:
    asked: list[int] = []

    def answer(room: int, part: Any) -> Any:
        asked.append(len(part))
        if len(part) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return iter([example.id for example in part])

    found = list(in_parts(MIXED, lambda part: answer(2, part), Speed()))
    assert [item for _, made in found for item in made] == [example.id for example in MIXED]
    assert asked[0] == len(MIXED) and max(len(part) for part, _ in found) == 2
    with pytest.raises(torch.OutOfMemoryError):
        list(in_parts(MIXED, lambda part: answer(2, part), Speed(split_on_oom=False)))
    with pytest.raises(HoldfastError, match="one question alone does not fit into memory"):
        list(in_parts(MIXED, lambda part: answer(0, part), Speed()))
