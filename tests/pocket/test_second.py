"""The second pocket network: its packed rows are what Idefics3 computes, its eye is the first one's, its build runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from holdfast.errors import HoldfastError
from holdfast.models.loading import POCKET, load_model
from holdfast.pocket.making.build import build
from holdfast.pocket.making.card import read_card
from holdfast.pocket.making.designs import find_design
from holdfast.pocket.making.language import hidden_states, pixel_values, tower_features
from holdfast.pocket.making.packing import pack
from holdfast.pocket.making.parts import IDEFICS_PREFIX, parts_of
from holdfast.pocket.making.second import make_second_model, make_second_processor, take_over_eye
from holdfast.pocket.tasks import draw


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


def test_stages_of_one_model_are_not_taken_for_another(built: Path) -> None:
    with pytest.raises(HoldfastError, match="or of another model"):
        build(built, quick=True)
    with pytest.raises(HoldfastError, match="there is no pocket model 'pocket-3'"):
        find_design("pocket-3")
