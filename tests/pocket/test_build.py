"""The whole build runs, resumes, repeats itself and refuses to mix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from holdfast.errors import HoldfastError
from holdfast.pocket.making.build import build
from holdfast.pocket.making.card import read_card, table_lines


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pocket")
    build(out, quick=True)
    return out


def test_the_folder_loads_with_plain_transformers(made: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

    model = AutoModelForImageTextToText.from_pretrained(made)
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert AutoTokenizer.from_pretrained(made).image_token == "<image>"
    assert AutoProcessor.from_pretrained(made).patch_size == 8
    card = read_card(made)
    assert card["seed"] == 0 and len(card["table"]) == len(table_lines(card)) - 3
    assert not list(made.glob("*.partial")) and not (made / ".partial").exists()


def test_an_interrupted_build_resumes_to_the_same_weights(made: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def interrupt(stage: str, step: int, steps: int, text: str) -> None:
        if stage == "language-1" and step == steps:
            raise StopError

    with pytest.raises(StopError):
        build(tmp_path, quick=True, report=interrupt)
    assert not (tmp_path / "card.json").exists()
    seen: list[tuple[str, str]] = []
    build(tmp_path, quick=True, report=lambda stage, step, steps, text: seen.append((stage, text)))
    assert ("eye", "found finished") in seen and ("language-1", "found finished") not in seen
    first, second = load_file(made / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(bool((first[name] == second[name]).all()) for name in first)
    assert (
        json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))["weights_sha256"]
        == read_card(made)["weights_sha256"]
    )


def test_stages_of_another_seed_are_refused(made: Path) -> None:
    with pytest.raises(HoldfastError, match="another seed or plan"):
        build(made, quick=True, seed=1)
