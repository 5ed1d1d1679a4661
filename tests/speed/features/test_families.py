"""Every family of the zoo: cached logits equal plain ones and heed the features, or a reason why not."""

from __future__ import annotations

import pytest
import torch

from holdfast.models.anatomy import resolve_anatomy
from holdfast.speed.decision import NotPossible
from holdfast.speed.features.extract import Extractor, Stage
from holdfast.speed.features.images import CachedImages
from holdfast.speed.features.tap import check_forward, without_pixels
from holdfast.speed.features.towers import inside
from holdfast.speed.features.verify import verify
from tests.support.closeness import assert_near
from tests.support.families import FAMILIES, build
from tests.support.features import family_batch, logits, one_row

NO_SEAM = ("mllama", "kosmos-2", "kosmos-2.5", "blip", "idefics")
REFUSED = {
    **dict.fromkeys(NO_SEAM, "takes no features in place of pixels"),
    **dict.fromkeys(("blip-2", "instructblip"), "insists on pixels"),
}
INSIDE = (
    "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "granite_docling", "glm4v",
    "glm4v_moe", "glm46v", "glm_ocr", "exaone4_5", "hyperclovax_vision_v2", "cosmos3_omni", "llama4", "step3p7",
)  # fmt: skip
"""Families whose connector stands inside the tower: cached after both, or not at all."""


@pytest.mark.parametrize("stage", ["connector", "tower"])
@pytest.mark.parametrize("name", FAMILIES)
def test_cached_logits_are_the_plain_ones_or_the_reason_is_said(name: str, stage: Stage) -> None:
    model = build(name)
    model.requires_grad_(False)
    anatomy = resolve_anatomy(model)
    inputs = family_batch(name, model)
    if name in REFUSED:
        with pytest.raises(NotPossible, match=REFUSED[name]):
            check_forward(model)
        return
    check_forward(model)
    assert inside(model, anatomy) == (name in INSIDE)
    if stage == "tower" and name in INSIDE:
        return
    extractor = Extractor(model, anatomy, stage)
    records = tuple(extractor.extract(one_row(inputs, row)) for row in range(2))
    cached = CachedImages(stage, records, torch.device("cpu"))
    verify(model, inputs, cached)
    plain = logits(model, inputs)
    kept = inputs["attention_mask"].bool()
    words = without_pixels(inputs)
    given = logits(model, words | cached.inputs(model))
    assert_near(given[kept], plain[kept])
    swapped = CachedImages(stage, records[::-1], cached.device)
    assert float((logits(model, words | swapped.inputs(model)) - plain)[kept].abs().max()) > 1e-3
    assert not any("get_image_features" in vars(m) or "forward" in vars(m) for m in model.modules())


@pytest.mark.parametrize("name", ["llava", "llava_next", "gemma3", "qwen3_vl"])
def test_files_hold_no_more_than_is_read(name: str) -> None:
    """One tensor after the connector (three with deep-stack), one hidden state after the tower."""
    model = build(name)
    inputs = one_row(family_batch(name, model), 0)
    anatomy = resolve_anatomy(model)
    count = {"qwen3_vl": 2}.get(name, 1)
    assert len(Extractor(model, anatomy, "connector").extract(inputs).tensors) == count
    if name not in INSIDE:
        record = Extractor(model, anatomy, "tower").extract(inputs)
        assert [tensor.shape[-1] for tensor in record.tensors if tensor.is_floating_point()] == [16]


@pytest.mark.parametrize("stage", ["connector", "tower"])
def test_features_that_heed_the_question_are_refused(stage: Stage) -> None:
    model = build("instructblip")
    with pytest.raises(NotPossible, match="depend on the question"):
        Extractor(model, resolve_anatomy(model), stage).extract(one_row(family_batch("instructblip", model), 0))


def test_features_that_use_the_llm_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llava")
    inputs = one_row(family_batch("llava", model), 0)
    kind = type(model.model)
    original = kind.get_image_features

    def with_words(self: object, *args: object, **kwargs: object) -> object:
        features = original(self, *args, **kwargs)
        extra = model.get_input_embeddings().weight[5]
        features.pooler_output = [feature + extra for feature in features.pooler_output]
        return features

    monkeypatch.setattr(kind, "get_image_features", with_words)
    before = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(NotPossible, match="depend on weights of the llm"):
        Extractor(model, resolve_anatomy(model), "connector").extract(inputs)
    assert [parameter.requires_grad for parameter in model.parameters()] == before


def test_a_family_that_ignores_features_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old ``image_hidden_states`` is swallowed in silence; a forward that did the same with ours must not pass."""
    model = build("llava")
    inputs = family_batch("llava", model)
    extractor = Extractor(model, resolve_anatomy(model), "connector")
    cached = CachedImages(
        "connector", tuple(extractor.extract(one_row(inputs, row)) for row in range(2)), torch.device("cpu")
    )
    kind = type(model)
    original = kind.forward

    def deaf(self: object, *args: object, **kwargs: object) -> object:
        kwargs.pop("mm_encoder_outputs", None)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(kind, "forward", deaf)
    with pytest.raises(NotPossible, match="does not look at stored features"):
        verify(model, inputs, cached)
    monkeypatch.undo()
    swapped = CachedImages("connector", cached.records[::-1], cached.device)
    with pytest.raises(NotPossible, match="change its logits by"):
        verify(model, inputs, swapped)
