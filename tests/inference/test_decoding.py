"""Shared rows answer what ``generate`` answers to one question at a time, token for token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.config.schema import Speed
from holdfast.inference.decoding import Decoder
from holdfast.inference.generate import make_generator
from holdfast.inference.library import end_ids, follows_settings
from holdfast.methods.contract import Context
from holdfast.methods.registry import make_method
from holdfast.models.loading import Loaded
from holdfast.speed.sharing.batcher import Batcher
from tests.support.shop import MIXED, alone, ending, family

FAMILIES = ["llava", "llava_next", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics3", "internvl"]
LIMIT = 6


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def attach(loaded: Loaded, name: str) -> Any:
    """A method with loud values, so that answers differ from the base's."""
    options = {"lora": {"r": 4}, "adapter": {"bottleneck": 8}, "prefix": {"tokens": 5}}[name]
    method: Any = make_method(name, options)
    method.attach(loaded.anatomy.llm, Context(torch.Generator().manual_seed(0)))
    with torch.no_grad():
        for number, parameter in enumerate(method.named_trainable().values()):
            parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(number))
    loaded.model.eval()
    return method


def decoded(loaded: Loaded, *, share: bool = True, penalty: float = 1.0) -> tuple[list[list[int]], Decoder]:
    decoder = Decoder(
        Batcher(loaded, ends="question", layout="shared" if share else "separate"), end_ids(loaded), penalty
    )
    with torch.no_grad():
        return decoder(MIXED, LIMIT), decoder


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_are_those_of_generate(name: str, place: Path) -> None:
    loaded = family(name, place)
    expected = ending(loaded, MIXED, LIMIT)
    assert len({len(tokens) for tokens in expected}) > 2, "answers are to end at different steps"
    for share in (True, False):
        assert decoded(loaded, share=share)[0] == expected


@pytest.mark.parametrize("method", ["lora", "adapter", "prefix"])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_with_a_method_attached(name: str, method: str, place: Path) -> None:
    loaded = family(name, place)
    base = alone(loaded, MIXED[1], LIMIT)
    attach(loaded, method)
    expected = ending(loaded, MIXED, LIMIT)
    assert alone(loaded, MIXED[1], LIMIT) != base
    assert decoded(loaded)[0] == expected


def test_eager_attention(place: Path) -> None:
    loaded = family("llava", place)
    loaded.model.set_attn_implementation("eager")  # type: ignore[operator]
    expected = ending(loaded, MIXED, LIMIT)
    assert decoded(loaded)[0] == expected


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_repetition_penalty(name: str, place: Path) -> None:
    loaded = family(name, place)
    plain = [alone(loaded, example, LIMIT) for example in MIXED[:3]]
    loaded.model.generation_config.repetition_penalty = 3.0  # type: ignore[union-attr]
    expected = [alone(loaded, example, LIMIT) for example in MIXED]
    assert expected[:3] != plain
    ask = make_generator(loaded, MIXED, LIMIT, speed=Speed(), batch_size=32)
    assert ask.decoder is not None and ask.report["share_images"].on, ask.report
    with torch.no_grad():
        assert ask.decoder(MIXED, LIMIT) == expected


def test_the_image_stands_in_the_cache_once(place: Path) -> None:
    loaded = family("llava", place)
    loaded.model.generation_config.eos_token_id = 299  # type: ignore[union-attr]
    about = [example for example in MIXED if example.image_key == "one"]
    batcher = Batcher(loaded, ends="question", layout="shared")
    decoder = Decoder(batcher, [-7])
    with torch.no_grad():
        decoder(about, 4)
    lengths = [row.length for row in batcher.rows(about)]
    batch = batcher.pack(about)
    assert batch is not None
    shared = int((batch.owners == -1).sum())
    assert shared >= 4, "the image's tokens at least"
    prompt = shared + sum(length - shared for length in lengths)
    assert decoder.columns == [prompt + len(about) * step for step in range(4)]
    assert decoder.columns[-1] < sum(lengths)


def test_answered_rows_leave_the_batch(place: Path) -> None:
    loaded = family("llava", place)
    expected = ending(loaded, MIXED, LIMIT)
    fed: list[int] = []
    decoder = Decoder(Batcher(loaded, ends="question"), end_ids(loaded))
    handle = loaded.model.get_output_embeddings().register_forward_hook(  # type: ignore[operator]
        lambda module, inputs, output: fed.append(output.shape[-2])
    )
    with torch.no_grad():
        decoder(MIXED, LIMIT)
    handle.remove()
    assert fed == [sum(len(tokens) > step for tokens in expected) for step in range(max(map(len, expected)))]


@pytest.mark.parametrize(("name", "words"), [("gemma3", "see what stands behind"), ("paligemma", "see what stands")])
def test_refused_families_fall_back_and_say_why(name: str, words: str, place: Path) -> None:
    loaded = family(name, place)
    ask = make_generator(loaded, MIXED, 3, speed=Speed(), batch_size=32)
    assert ask.decoder is None
    assert not ask.report["share_images"].on and words in ask.report["share_images"].why
    assert not ask.report["early_stop"].on
    one = [example for example in MIXED if len(example.images) == 1]
    expected = [loaded.chat.decode(torch.tensor(alone(loaded, example, 3))) for example in one]
    assert [text for text, _ in ask(one)] == expected


@pytest.mark.parametrize(
    ("setting", "value"),
    [("no_repeat_ngram_size", 2), ("suppress_tokens", [5]), ("min_new_tokens", 2), ("bad_words_ids", [[7]])],
)
def test_other_generation_settings_fall_back(setting: str, value: Any, place: Path) -> None:
    loaded = family("llava", place)
    assert follows_settings(loaded.model)
    setattr(loaded.model.generation_config, setting, value)
    ask = make_generator(loaded, MIXED, 3, speed=Speed(share_images="on"), batch_size=32)
    assert ask.decoder is None and setting in ask.report["early_stop"].why


def test_a_window_sends_long_questions_to_the_library(place: Path) -> None:
    loaded = family("llava", place)
    loaded.model.config.text_config.sliding_window = 60  # type: ignore[union-attr]
    ask = make_generator(loaded, MIXED, LIMIT, speed=Speed(), batch_size=32)
    assert ask.decoder is not None and ask.decoder.batcher.longest == 60
    lengths = [row.length + LIMIT for row in ask.decoder.batcher.rows(MIXED)]
    assert min(lengths) <= 60 < max(lengths)
    expected = [loaded.chat.decode(torch.tensor(alone(loaded, example, LIMIT))) for example in MIXED]
    with torch.no_grad():
        assert [text for text, _ in ask(MIXED)] == expected
