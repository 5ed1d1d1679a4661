"""What cannot fit is refused from its numbers, before anything is built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from holdfast.errors import HoldfastError
from holdfast.models.configuration import check_image_token
from holdfast.models.loading import POCKET, Loaded, load_model
from holdfast.models.shapes import model_config, read_shape, shape_names
from holdfast.models.size import check_size, least_values
from holdfast.planning.meta import sketch_model


def changed(folder: Path, place: Path, **changes: Any) -> str:
    """A copy of a model folder with other values in its config.json; ``text__x`` is ``x`` of ``text_config``."""
    shutil.copytree(folder, place)
    file = place / "config.json"
    config = json.loads(file.read_text("utf-8"))
    for key, value in changes.items():
        part, inside, name = key.rpartition("__")
        (config[f"{part}_config"] if inside else config)[name] = value
    file.write_text(json.dumps(config), encoding="utf-8")
    return str(place)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("text__num_hidden_layers", 10**9, "has num_hidden_layers 1,000,000,000, "),
        ("vision__num_hidden_layers", 10**6, "has num_hidden_layers 1,000,000, "),
        ("text__vocab_size", 10**9, "has vocab_size 1,000,000,000, .* needs at least"),
        ("text__hidden_size", 10**6, "has hidden_size 1,000,000, .* needs at least"),
        ("vision__hidden_size", 10**6, "has hidden_size 1,000,000, .* needs at least"),
        ("num_experts", 10**7, "has num_experts 10,000,000, .* needs at least"),
        ("vision__intermediate_size", 10**13, "needs at least"),
        ("vision__image_size", 10**8, "needs at least"),
        ("text__hidden_size", "wide", "'hidden_size' expected int, got str"),
        ("dtype", "float99", "unknown dtype 'float99'"),
        ("vision_feature_layer", -99, "is -99, and its vision encoder has 2 layers"),
        ("vision_feature_layer", [-1, 3], "is 3, and its vision encoder has 2 layers"),
    ],
)
def test_what_cannot_be_meant(tiny_llava: Path, tmp_path: Path, key: str, value: Any, said: str) -> None:
    name = changed(tiny_llava, tmp_path / "model", **{key: value})
    with pytest.raises(HoldfastError, match=said) as caught:
        load_model(name)
    assert caught.value.remedy
    with pytest.raises(HoldfastError, match=said):
        sketch_model(name, torch.float32)


def test_a_wide_one_is_compared_with_the_memory(tiny_llava: Path, tmp_path: Path) -> None:
    name = changed(tiny_llava, tmp_path / "model", text__hidden_size=500_000)
    with pytest.raises(HoldfastError, match=r"needs at least 1,001 GB for its weights; there are [\d,]+ GB"):
        load_model(name)


@pytest.mark.parametrize("layer", [-3, 2])
def test_every_layer_that_is_there_can_be_looked_at(tiny_llava: Path, tmp_path: Path, layer: int) -> None:
    load_model(changed(tiny_llava, tmp_path / "model", vision_feature_layer=layer))


def test_an_image_token_outside_the_table(tiny_llava: Path, tmp_path: Path) -> None:
    name = changed(tiny_llava, tmp_path / "model", image_token_index=300)
    with pytest.raises(HoldfastError, match=r"image token 300 .* outside its embedding table of 300 rows"):
        load_model(name)


def test_an_image_token_outside_the_table_where_it_is_never_looked_up(kit: Callable[[str], Loaded]) -> None:
    loaded = kit("gemma3")
    rows = loaded.model.get_input_embeddings().weight.shape[0]
    loaded.model.config.image_token_id = rows
    check_image_token(loaded.model, "gemma3", set())
    loaded.model.config.model_type = "llava"
    with pytest.raises(HoldfastError, match="outside its embedding table"):
        check_image_token(loaded.model, "gemma3", set())


@pytest.mark.parametrize("name", shape_names())
def test_the_bound_is_below_what_known_models_have(name: str) -> None:
    shape = read_shape(name)
    for config in (shape["config"], model_config(name)):
        assert 0.2 * shape["parameters"] < least_values(config) < shape["parameters"]


def test_the_bound_is_below_what_a_model_has_and_memory_decides(tiny_llava: Path) -> None:
    for place in (POCKET, tiny_llava):
        loaded = load_model(str(place))
        least, real = least_values(loaded.model.config), sum(p.numel() for p in loaded.model.parameters())
        assert 0 < least <= real
    config = AutoConfig.from_pretrained(tiny_llava)
    least = least_values(config)
    check_size(config, "tiny", width=4, memory=4 * least)
    check_size(config, "tiny", width=4, memory=None)
    with pytest.raises(HoldfastError, match="needs at least"):
        check_size(config, "tiny", width=4, memory=4 * least - 1)
