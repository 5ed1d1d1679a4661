"""Decisions of ``auto`` by counts: a run that is too short for a speed-up's preparation goes on without it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from holdfast.models.loading import Loaded
from holdfast.speed.worth import CacheWork, cache_work, repeats, sharing_pays
from tests.support.questions import questions


def large(vision: int, llm: int, kind: str = "cpu") -> Any:
    """A model by its sizes; 576 patches, features of width 4,096 in half precision."""
    sizes = {"vision": vision, "connector": 20_000_000, "llm": llm}
    parts = {
        name: SimpleNamespace(count=lambda size=size: size, parameters={"w": torch.zeros(1, dtype=torch.bfloat16)})
        for name, size in sizes.items()
    }
    config = SimpleNamespace(
        vision_config=SimpleNamespace(image_size=336, patch_size=14),
        get_text_config=lambda: SimpleNamespace(hidden_size=4096),
    )
    anatomy = SimpleNamespace(component=parts.__getitem__, vision=parts["vision"])
    return SimpleNamespace(device=torch.device(kind), model=SimpleNamespace(config=config), anatomy=anatomy)


def test_repeats_are_questions_whose_image_stands_there_already() -> None:
    data = questions(pictures=2, each=3)  # seven examples, one without an image: two of three repeat, twice
    assert repeats(data, 7) == pytest.approx(4)
    assert repeats(data, 70) == pytest.approx(40)
    assert repeats(questions(pictures=3, each=1), 100) == 0


def test_sharing_waits_for_a_run_that_is_longer_than_its_comparison() -> None:
    data = [example for example in questions(pictures=2, each=2) if example.images]
    assert not sharing_pays(data, 4)
    assert "shorter than comparing" in sharing_pays(data, 4).why
    assert sharing_pays(data, 6)


def test_the_cache_is_counted_in_operations_and_bytes(kit: Callable[[str], Loaded]) -> None:
    loaded, data = kit("llava"), questions(pictures=3, each=2)
    work = cache_work(loaded, data, passes=5)
    vision = loaded.model.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    assert work.saved == pytest.approx(4 * 3 * 2 * loaded.anatomy.vision.count() * patches / 1e11)
    assert cache_work(loaded, data, passes=9).saved == pytest.approx(2 * work.saved)
    assert cache_work(loaded, data, passes=9).begin == work.begin
    assert not work.decision, "an encoder of a few thousand weights is faster than a file"


def test_a_large_encoder_pays_from_as_many_images_as_its_comparison_costs() -> None:
    loaded = large(303_000_000, 1_000_000_000)

    def pays(images: int, passes: float) -> bool:
        return bool(cache_work(loaded, questions(pictures=images, each=1), passes).decision)

    assert not pays(4, 2)
    assert pays(4, 50)
    assert pays(200, 2)
    assert cache_work(loaded, questions(pictures=4, each=1), 1).saved == 0


def test_on_a_device_that_encodes_faster_than_a_disk_writes_few_passes_do_not_pay() -> None:
    loaded, data = large(303_000_000, 7_000_000_000, "cuda"), questions(pictures=300, each=1)
    assert not cache_work(loaded, data, 2).decision
    assert cache_work(loaded, data, 50).decision


def test_the_reason_names_both_sides() -> None:
    assert CacheWork(saved=3.0, begin=1.0, files=1.5).decision
    said = CacheWork(saved=3.0, begin=2.0, files=1.5).decision
    assert not said
    assert "save 3 s" in said.why
    assert "cost 3.5 s" in said.why
