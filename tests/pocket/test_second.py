"""The second pocket network: its packed rows are what Idefics3 computes, its eye is the first one's, its build runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from holdfast.errors import HoldfastError
from holdfast.inference.predict import predict
from holdfast.models.loading import POCKET, load_model
from holdfast.models.shipped import SHIPPED
from holdfast.pocket.making.build import build
from holdfast.pocket.making.card import read_card, table_lines
from holdfast.pocket.making.designs import find_design
from holdfast.pocket.making.language import hidden_states, pixel_values, tower_features
from holdfast.pocket.making.packing import pack
from holdfast.pocket.making.parts import IDEFICS_PREFIX, parts_of
from holdfast.pocket.making.second import make_second_model, make_second_processor, take_over_eye
from holdfast.pocket.tasks import SOURCES, TARGETS, draw
from holdfast.scoring.scorecard import score_file
from holdfast.tasks.drawn import PocketExamples
from holdfast.tasks.task import Task


@pytest.fixture(scope="module")
def model() -> Any:
    made = make_second_model(3)
    take_over_eye(made)
    return made.eval()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("second")
    build(out, model="pocket-2", quick=True)
    return out


@torch.no_grad()
def test_a_packed_row_is_what_the_processor_and_the_model_make_of_it(model: Any) -> None:
    (sample,) = draw("color", "test", 1)
    processor = make_second_processor()
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": sample.question}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(images=[Image.fromarray(sample.image)], text=text, return_tensors="pt")
    packed = pack([[(sample.question, "")]], parts_of(model).prefix)
    assert inputs["input_ids"][0].tolist() == packed.ids[0, :-1].tolist()  # the packed row has the end of the answer
    assert tuple(packed.ids[0, : len(IDEFICS_PREFIX)].tolist()) == IDEFICS_PREFIX
    assert torch.equal(inputs["pixel_values"][0], pixel_values(sample.image[None]))
    expected = model(**inputs).logits
    found = model.lm_head(hidden_states(model, tower_features(model, sample.image[None]), packed))[:, :-1]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_its_eye_sees_what_the_first_one_sees(model: Any) -> None:
    """Idefics3 gives its connector what LLaVA's tower says behind its last norm."""
    images = np.stack([sample.image for sample in draw("shape", "test", 4)])
    first = load_model("pocket", device="cpu").model
    pixels = pixel_values(images)
    expected = first.model.vision_tower(pixel_values=pixels).last_hidden_state  # type: ignore[union-attr, operator]
    torch.testing.assert_close(tower_features(model, images), expected, rtol=1e-4, atol=1e-5)


def test_its_folder_loads_and_fits_into_the_package(built: Path) -> None:
    loaded = load_model(str(built), device="cpu")
    assert type(loaded.model).__name__ == "Idefics3ForConditionalGeneration"
    parts = {name: loaded.anatomy.component(name).parameters for name in ("vision", "connector", "llm")}
    assert all(parts.values()) and sum(map(len, parts.values())) == len(list(loaded.model.named_parameters()))
    weights = built / "model.safetensors"
    assert weights.stat().st_size < 2_000_000
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float16}
    card = read_card(built)
    assert card["model"] == "holdfast pocket-2" and card["parameters"] == 651_552
    eye = load_file(POCKET / "model.safetensors")
    own = load_file(weights)["model.vision_model.embeddings.patch_embedding.weight"]
    (theirs,) = (tensor for name, tensor in eye.items() if name.endswith("embeddings.patch_embedding.weight"))
    assert torch.equal(own, theirs.half())


CARD = read_card(SHIPPED["pocket-2"])
ROWS = {row["task"]: row for row in CARD["table"]}


def test_the_shipped_one_is_the_cards() -> None:
    place = SHIPPED["pocket-2"]
    weights = (place / "model.safetensors").read_bytes()
    assert len(weights) == CARD["weights_bytes"] <= 2_000_000
    assert hashlib.sha256(weights).hexdigest() == CARD["weights_sha256"]
    assert CARD["plan"] == json.loads(json.dumps(asdict(find_design("pocket-2").plan(quick=False))))
    page = place.parents[3] / "docs" / "pocket.md"
    if page.is_file():  # it may be installed without its documentation
        assert "\n".join(table_lines(CARD)) in page.read_text(encoding="utf-8")


def test_it_has_learned_the_world_and_not_the_targets() -> None:
    assert set(ROWS) == {*SOURCES, *TARGETS} and CARD["source_mean"] >= 90
    for task in SOURCES:
        assert ROWS[task]["accuracy"] >= max(ROWS[task]["blind"], ROWS[task]["any_object"] or 0) + 20, task
    for task in TARGETS:
        assert ROWS[task]["accuracy"] <= ROWS[task]["blind"] + 5, task


@pytest.mark.parametrize("task", ["place", "caption", "read"])
def test_it_answers_as_its_card_says(task: str, tmp_path: Path) -> None:
    """By greedy decoding, on items that the card's table did not use: four standard errors of the difference."""
    loaded = load_model("pocket-2", device="cpu")
    stated, n = ROWS[task]["accuracy"] / 100, 100
    asked = Task(task, (), (), PocketExamples(task, "validation", n))
    predict(loaded, asked, tmp_path / "said.jsonl", batch_size=50, max_new_tokens=16)
    found = score_file(tmp_path / "said.jsonl", metric="exact_match").score / 100
    spread = max(stated * (1 - stated), 0.01) * (1 / n + 1 / ROWS[task]["n"])
    assert abs(found - stated) <= 4 * spread**0.5


def test_stages_of_one_model_are_not_taken_for_another(built: Path) -> None:
    with pytest.raises(HoldfastError, match="or of another model"):
        build(built, quick=True)
    with pytest.raises(HoldfastError, match="there is no pocket model 'pocket-3'"):
        find_design("pocket-3")
