"""Packed rows, cached features and the plain model agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from holdfast.pocket.making.architecture import make_model, parameter_count
from holdfast.pocket.making.language import exact_matches, hidden_states, packed_loss, pixel_values, tower_features
from holdfast.pocket.making.packing import pack, packed_mask
from holdfast.pocket.making.pool import draw_pool, stack_pixels
from holdfast.pocket.tasks import draw
from holdfast.pocket.tokens import make_processor, make_tokenizer


@pytest.fixture(scope="module")
def model() -> Any:
    made = make_model(3)
    # The tower's last norm must matter, or features from the wrong side of it would pass.
    torch.nn.init.normal_(made.model.vision_tower.post_layernorm.weight)
    return made.eval()


def test_size(model: Any) -> None:
    assert 900_000 <= parameter_count(model) <= 1_300_000


@torch.no_grad()
def test_packed_rows_equal_single_rows(model: Any) -> None:
    pictures = draw_pool(4, seed=0, stream=7)
    features = tower_features(model, stack_pixels(pictures))
    packed = pack([picture.pairs for picture in pictures])
    together = hidden_states(model, features, packed)
    for row, picture in enumerate(pictures):
        place = 17
        for pair in picture.pairs:
            alone = pack([[pair]])
            single = hidden_states(model, features[row : row + 1], alone)[0, 17:]
            assert torch.allclose(together[row, place : place + len(single)], single, atol=2e-5)
            place += len(single)


def test_the_mask_hides_other_questions_and_leaves_no_row_empty() -> None:
    packed = pack([[("is there a red circle?", "no"), ("where is the red circle?", "top left")], [("copy a", "a")]])
    mask = packed_mask(packed.segment)[:, 0]
    assert mask.any(dim=2).all()
    segment = packed.segment
    for row in range(2):
        seen = mask[row]
        for query in range(segment.shape[1]):
            for key in range(segment.shape[1]):
                allowed = key <= query and int(segment[row, key]) in (0, int(segment[row, query]))
                assert bool(seen[query, key]) == allowed


@torch.no_grad()
def test_cached_features_are_what_the_projector_is_given(model: Any) -> None:
    images = stack_pixels(draw_pool(3, seed=0, stream=7))
    cached = tower_features(model, images)
    given: list[torch.Tensor] = []
    hook = model.model.multi_modal_projector.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    model.model.get_image_features(pixel_values=pixel_values(images))
    hook.remove()
    assert torch.equal(cached, given[0])


@torch.no_grad()
def test_cached_loss_equals_the_plain_loss(model: Any) -> None:
    """The loss on cached features equals that of the model as transformers runs it, from text and PIL pictures."""
    from PIL import Image

    samples = [*draw("caption", "test", 3), *draw("color", "test", 3)]
    processor, tokenizer = make_processor(), make_tokenizer()
    messages = [
        [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": sample.question}]},
            {"role": "assistant", "content": sample.answer},
        ]
        for sample in samples
    ]
    texts = [tokenizer.apply_chat_template(one, tokenize=False) for one in messages]
    batch = processor(
        text=texts, images=[[Image.fromarray(sample.image)] for sample in samples], padding=True,
        add_special_tokens=False, return_tensors="pt",
    )  # fmt: skip
    logits = model(**batch).logits.log_softmax(-1)
    packed = pack([[(sample.question, sample.answer)] for sample in samples])
    assert torch.equal(packed.ids, batch["input_ids"])
    said = logits[:, :-1].gather(2, packed.ids[:, 1:, None])[..., 0]
    weight = packed.weight[:, 1:]
    plain = -(said * weight).sum() / weight.sum()
    features = tower_features(model, np.stack([sample.image for sample in samples]))
    assert float(packed_loss(model, features, packed)) == pytest.approx(float(plain), abs=1e-5)


@torch.no_grad()
def test_teacher_forcing_agrees_with_greedy_generation(model: Any) -> None:
    """On an answer that the model itself generates, and on one that differs from it in a token."""
    sample = draw("color", "test", 1)[0]
    features = tower_features(model, sample.image[None])
    prompt = pack([[(sample.question, "")]]).ids[:, :-1]
    pixels = pixel_values(sample.image[None])
    made = model.generate(input_ids=prompt, pixel_values=pixels, max_new_tokens=3, do_sample=False, eos_token_id=None)
    answer = made[0, prompt.shape[1] :]
    packed_ids = torch.cat([prompt[0], answer])
    logits = model(input_ids=packed_ids[None], pixel_values=pixels).logits[0]
    assert torch.equal(logits[prompt.shape[1] - 1 : -1].argmax(-1), answer)
    text = make_tokenizer().decode(answer[:1])
    right = exact_matches(model, features, [(sample.question, text)])
    ends = int(logits[prompt.shape[1]].argmax()) == 2
    assert bool(right[0]) == ends
