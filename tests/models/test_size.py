"""What cannot fit is refused from its numbers, before anything is built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoConfig

from holdfast.errors import HoldfastError
from holdfast.models.loading import POCKET, load_model
from holdfast.models.size import check_size, least_values


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("num_hidden_layers", 1_000_000, "has 1,000,000 layers"),
        ("vocab_size", 10**12, "needs at least"),
        ("hidden_size", 10**8, "needs at least"),
    ],
)
def test_absurd_numbers(tiny_llava: Path, tmp_path: Path, key: str, value: int, said: str) -> None:
    shutil.copytree(tiny_llava, tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    config = json.loads(file.read_text("utf-8"))
    config["text_config"][key] = value
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(HoldfastError, match=said) as caught:
        load_model(str(tmp_path / "model"))
    assert "or check config.json" in str(caught.value)


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
