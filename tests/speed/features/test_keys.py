"""Never stale: one weight, one pixel, one setting makes a miss; the same content is a hit wherever it lies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from holdfast.models.loading import Loaded, load_model
from holdfast.speed.features.cache import FeatureCache
from tests.support.features import AGAIN, BOTH, CAP, ONE, example, folder_of, load, pixels


def hit(loaded: Loaded, folder: Path, row: Any = ONE, frozen: tuple[str, ...] = BOTH) -> bool:
    return FeatureCache.open(loaded, frozen, folder=folder, cap=CAP).missing([row]) == []


@pytest.fixture
def filled(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A model whose features of ``ONE`` are stored at both stages in ``tmp_path``."""
    loaded = load("llava", tmp_path_factory)
    for frozen in (BOTH, ("vision",)):
        FeatureCache.open(loaded, frozen, folder=tmp_path, cap=CAP).fill([ONE])
    return loaded


def test_the_same_model_loaded_again_hits(
    filled: Loaded, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert hit(load("llava", tmp_path_factory), tmp_path)
    assert hit(filled, tmp_path, AGAIN), "another question on the same image"


def test_the_same_model_in_another_folder_hits(
    filled: Loaded, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    moved = shutil.copytree(folder_of("llava", tmp_path_factory), tmp_path / "moved")
    assert hit(load_model(str(moved), device="cpu"), tmp_path)


def test_the_processors_of_all_kits_have_a_lasting_key(tmp_path_factory: pytest.TempPathFactory) -> None:
    from holdfast.speed.features.digests import group
    from tests.support.processors import DIFFERING

    for family in DIFFERING:
        keys = {group(load(family, tmp_path_factory), "connector", BOTH, {}) for _ in range(2)}
        assert len(keys) == 1, family


@pytest.mark.parametrize("component", ["vision", "connector"])
def test_one_changed_bit_of_one_weight_misses(filled: Loaded, tmp_path: Path, component: str) -> None:
    for parameter in filled.anatomy.component(component).parameters.values():
        flat = parameter.data.view(-1).view(torch.int32)
        for place in (0, flat.numel() // 2, flat.numel() - 1):
            flat[place] ^= 1
            assert not hit(filled, tmp_path)
            assert hit(filled, tmp_path, frozen=("vision",)) == (component == "connector")
            flat[place] ^= 1
    assert hit(filled, tmp_path)


def test_a_changed_llm_still_hits(filled: Loaded, tmp_path: Path) -> None:
    with torch.no_grad():
        for parameter in filled.anatomy.llm.parameters.values():
            parameter.add_(1)
    assert hit(filled, tmp_path)


def test_buffers_of_the_tower_count(filled: Loaded, tmp_path: Path) -> None:
    filled.model.get_submodule("model.vision_tower").register_buffer("running_mean", torch.zeros(3))
    assert not hit(filled, tmp_path) and not hit(filled, tmp_path, frozen=("vision",))


def _options(loaded: Loaded) -> list[tuple[str, Callable[[], None]]]:
    images: Any = loaded.chat.processor.image_processor
    config: Any = loaded.model.config
    return [
        ("mean", lambda: setattr(images, "image_mean", [0.5, 0.5, 0.4])),
        ("resampling", lambda: setattr(images, "resample", 0)),
        ("convert", lambda: setattr(images, "do_normalize", False)),
        ("tokens", lambda: setattr(loaded.chat.processor, "patch_size", 4)),
        ("layer", lambda: setattr(config, "vision_feature_layer", -1)),
        ("attention", lambda: setattr(config.vision_config, "_attn_implementation", "eager")),
        ("dtype", lambda: loaded.model.to(torch.bfloat16) and None),
    ]


@pytest.mark.parametrize("number", range(7))
def test_one_changed_setting_misses(filled: Loaded, tmp_path: Path, number: int) -> None:
    name, change = _options(filled)[number]
    assert hit(filled, tmp_path)
    change()
    assert not hit(filled, tmp_path), name


def test_another_release_of_transformers_misses(
    filled: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.__version__", "5.99.0")
    assert not hit(filled, tmp_path)


def test_one_changed_pixel_and_the_order_of_images_miss(filled: Loaded, tmp_path: Path) -> None:
    picture = pixels(1)
    assert hit(filled, tmp_path, example("same", picture))
    picture[3, 4, 1] ^= 1
    assert not hit(filled, tmp_path, example("other", picture))
    cache = FeatureCache.open(filled, BOTH, folder=tmp_path, cap=CAP)
    one, two = pixels(1), pixels(2)
    cache.fill([example("pair", one, two)])
    assert cache.missing([example("again", one, two)]) == []
    assert (
        len(cache.missing([example("turned", two, one), example("half", two), example("thrice", one, two, two)])) == 3
    )
    flat = example("flat", pixels(1).reshape(30, 20, 3))
    assert cache.missing([flat]) == [flat], "the same bytes in another shape"


def test_a_file_counts_by_its_content(filled: Loaded, tmp_path: Path) -> None:
    cache = FeatureCache.open(filled, BOTH, folder=tmp_path / "cache", cap=CAP)
    first, second = tmp_path / "a.png", tmp_path / "deep" / "b.png"
    Image.fromarray(pixels(7)).save(first)
    second.parent.mkdir()
    shutil.copy(first, second)
    cache.fill([example("first", first)])
    assert cache.missing([example("second", second)]) == [], "the same picture under two paths"
    changed = pixels(7)
    changed[0, 0, 0] ^= 1
    Image.fromarray(changed).save(first)
    row = example("first", first)
    assert cache.missing([row]) == [row], "written to while the process runs"
    assert cache.batch([row]) is None
