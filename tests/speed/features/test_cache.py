"""The cache over real processors: batches of mixed image counts, gradients, generation, precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from holdfast.models.loading import Loaded
from holdfast.speed.decision import NotPossible
from holdfast.speed.features.cache import FeatureCache
from holdfast.speed.features.tap import without_pixels
from tests.support.closeness import assert_near
from tests.support.features import AGAIN, BOTH, CAP, ONE, ROWS, TEXT, TWO, load, logits
from tests.support.processors import DIFFERING

CUT = [name for name in DIFFERING if not name.startswith("qwen")]
"""Families whose connector can be trained beside cached towers."""


def opened(loaded: Loaded, folder: Path, frozen: tuple[str, ...] = BOTH) -> FeatureCache:
    return FeatureCache.open(loaded, frozen, folder=folder, cap=CAP)


@pytest.mark.parametrize(("family", "frozen"), [(n, BOTH) for n in DIFFERING] + [(n, ("vision",)) for n in CUT])
def test_a_mixed_batch_has_the_plain_logits(
    family: str, frozen: tuple[str, ...], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    loaded = load(family, tmp_path_factory)
    cache = opened(loaded, tmp_path, frozen)
    rows = ROWS
    assert cache.stage == ("connector" if frozen == BOTH else "tower")
    assert [row.id for row in cache.missing(rows)] == [row.id for row in rows if row.images and row is not AGAIN]
    done: list[int] = []
    cache.check(rows)
    cache.fill(rows, advance=done.append)
    assert done == [1], "of three image sets two were stored by the check"
    assert cache.missing(rows) == [] and cache.note is None

    again = opened(loaded, tmp_path, frozen)  # nothing is computed any more
    for part in (rows, rows[::-1], rows[:1], (ONE, AGAIN)):
        cached = again.batch(part)
        assert cached is not None
        batch = loaded.chat.encode(part, with_answers=True)
        plain = logits(loaded.model, batch)
        given = logits(loaded.model, without_pixels(batch) | cached.to("cpu").inputs(loaded.model))
        kept = batch["attention_mask"].bool()
        assert_near(given[kept], plain[kept])
    assert again.batch([TEXT]) is None and again.batch([]) is None

    asked = loaded.chat.encode(rows[:1], with_answers=False)
    cached = again.batch(rows[:1])
    assert cached is not None
    expected = loaded.model.generate(**asked, max_new_tokens=3, do_sample=False)  # type: ignore[operator]
    produced = loaded.model.generate(  # type: ignore[operator]
        **without_pixels(asked), **cached.inputs(loaded.model), max_new_tokens=3, do_sample=False
    )
    assert torch.equal(produced, expected)


@pytest.mark.parametrize("family", CUT)
def test_a_trained_connector_has_the_plain_gradients(
    family: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    loaded = load(family, tmp_path_factory)
    parameters = loaded.anatomy.connector.parameters
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    rows = ROWS
    cache = opened(loaded, tmp_path, ("vision",))
    cache.fill(rows)
    assert all(parameter.grad is None for parameter in parameters.values())
    batch = loaded.chat.encode(rows, with_answers=True)
    loaded.model.train()
    loaded.model(**batch).loss.backward()
    expected = {name: parameter.grad for name, parameter in parameters.items()}
    assert any(gradient is not None and bool(gradient.any()) for gradient in expected.values())
    loaded.model.zero_grad(set_to_none=True)
    cached = cache.batch(rows)
    assert cached is not None
    loaded.model(**without_pixels(batch), **cached.inputs(loaded.model)).loss.backward()
    for name, parameter in parameters.items():
        if expected[name] is None:
            assert parameter.grad is None
        else:
            assert_near(parameter.grad, expected[name])


def test_a_changed_connector_is_seen_at_once(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    loaded = load("llava", tmp_path_factory)
    cache = opened(loaded, tmp_path, ("vision",))
    cache.fill([ONE])
    batch = loaded.chat.encode([ONE], with_answers=True)
    with torch.no_grad():
        for parameter in loaded.anatomy.connector.parameters.values():
            parameter.add_(0.1)
    cached = opened(loaded, tmp_path, ("vision",)).batch([ONE])
    assert cached is not None, "the tower has not changed"
    given = logits(loaded.model, without_pixels(batch) | cached.inputs(loaded.model))
    assert_near(given, logits(loaded.model, batch))


@pytest.mark.parametrize("family", ["llava", "qwen3_vl", "idefics3"])
def test_bfloat16_stays_what_it_is(family: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    loaded = load(family, tmp_path_factory, torch.bfloat16)
    cache = opened(loaded, tmp_path)
    cache.check(ROWS)
    cached = cache.batch([ONE])
    assert cached is not None
    assert {tensor.dtype for tensor in cached.records[0].tensors} == {torch.bfloat16}


def test_features_made_inside_autocast_are_kept_apart(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    loaded = load("llava", tmp_path_factory)
    opened(loaded, tmp_path).fill([ONE])
    with torch.autocast("cpu", torch.bfloat16):
        cache = opened(loaded, tmp_path)
        assert cache.missing([ONE]) == [ONE]
    cache.fill([ONE])  # outside: features are made as the cache was opened
    cached = cache.batch([ONE])
    assert cached is not None and cached.records[0].tensors[0].dtype == torch.bfloat16


def test_the_model_is_left_as_it_was(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    loaded = load("llava", tmp_path_factory)
    loaded.model.train()
    loaded.anatomy.vision.model.get_submodule("model.vision_tower").eval()
    before = [module.training for module in loaded.model.modules()]
    state = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    for frozen in (BOTH, ("vision",)):
        cache = opened(loaded, tmp_path, frozen)
        cache.check(ROWS)
        cache.fill(ROWS)
    assert [module.training for module in loaded.model.modules()] == before
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_what_cannot_be_cached_says_why(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    loaded = load("qwen2_vl", tmp_path_factory)
    with pytest.raises(NotPossible, match="the vision encoder trains") as caught:
        opened(loaded, tmp_path, ("connector",))
    assert caught.value.reason.startswith("the vision encoder trains")
    with pytest.raises(NotPossible, match="connector trains and stands inside the vision encoder"):
        opened(loaded, tmp_path, ("vision",))
    assert list(tmp_path.iterdir()) == []


def test_a_check_on_text_alone_has_nothing_to_say(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = opened(load("llava", tmp_path_factory), tmp_path)
    cache.check([TEXT])
    cache.check([])
    assert cache.missing([TEXT]) == []
    cache.check([TWO])
    assert cache.missing([TWO, ONE]) == [ONE]


@pytest.mark.parametrize("frozen", [BOTH, ("vision",)])
def test_the_tower_is_not_run_again(
    frozen: tuple[str, ...], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    loaded = load("llava", tmp_path_factory)
    cache = opened(loaded, tmp_path, frozen)
    cache.fill(ROWS)
    batch = without_pixels(loaded.chat.encode(ROWS, with_answers=True))
    called: list[str] = []
    for name in ("embeddings.patch_embedding", "encoder.layers.0"):
        tower = loaded.model.get_submodule(f"model.vision_tower.{name}")
        tower.register_forward_hook(lambda *_, name=name: called.append(name))
    cached = cache.batch(ROWS)
    assert cached is not None
    logits(loaded.model, batch | cached.inputs(loaded.model))
    assert called == []
    loaded.model(**loaded.chat.encode([ONE], with_answers=True))
    assert len(called) == 2, "the hooks do hear the plain path"


def test_under_the_wrapping_of_mixed_precision(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """accelerate replaces the model's forward on the object and runs it inside autocast."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    loaded = load("llava_next", tmp_path_factory)
    accelerator = Accelerator(mixed_precision="bf16", cpu=True)
    model = accelerator.prepare_model(loaded.model)
    try:
        for frozen in (BOTH, ("vision",)):
            with accelerator.autocast():
                cache = opened(loaded, tmp_path, frozen)
            cache.check(ROWS)
            cache.fill(ROWS)
            batch = loaded.chat.encode(ROWS, with_answers=True)
            cached = cache.batch(ROWS)
            assert cached is not None
            with accelerator.autocast():
                plain, given = logits(model, batch), logits(model, without_pixels(batch) | cached.inputs(model))
            kept = batch["attention_mask"].bool()
            assert torch.allclose(given[kept], plain[kept], atol=0.03 * float(plain.abs().max()))
    finally:
        accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        AcceleratorState._reset_state()


def test_a_proof_is_made_once_for_a_model_and_grows_with_its_batch(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    loaded = load("llava", tmp_path_factory)
    ran: list[int] = []
    handle = loaded.model.register_forward_hook(lambda *args: ran.append(1))
    try:
        opened(loaded, tmp_path).check([ONE])
        alone = len(ran)
        opened(loaded, tmp_path).check([ONE])
        assert len(ran) == alone > 0
        opened(loaded, tmp_path).check([ONE, TWO])
        both = len(ran)
        assert both > alone, "one row says nothing of how rows are joined"
        opened(loaded, tmp_path).check([TWO, ONE])
        assert len(ran) == both
        next(tmp_path.glob("*/proof.json")).write_text("{")
        opened(loaded, tmp_path).check([ONE, TWO])
        assert len(ran) > both
    finally:
        handle.remove()


def test_a_proof_on_features_that_others_stored_leaves_what_is_read_to_be_found_out(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    loaded = load("llava", tmp_path_factory)
    one, other = opened(loaded, tmp_path), opened(loaded, tmp_path)  # two processes that begin together
    one.fill([ONE, TWO])
    other.check([ONE, TWO])  # takes no features itself, so it does not learn which fields are read
    late = opened(loaded, tmp_path)
    late.fill(ROWS)
    for cache in (one, other, late):
        cached = cache.batch(ROWS)
        assert cached is not None
        batch = loaded.chat.encode(ROWS, with_answers=True)
        given = logits(loaded.model, without_pixels(batch) | cached.to("cpu").inputs(loaded.model))
        kept = batch["attention_mask"].bool()
        assert_near(given[kept], logits(loaded.model, batch)[kept])


def test_features_without_values_which_earlier_versions_stored_are_taken_anew(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    loaded = load("llava", tmp_path_factory)
    opened(loaded, tmp_path).check([ONE])
    proof = next(tmp_path.glob("*/proof.json"))
    proof.write_text('{"rows": 2, "fields": []}')
    empty = opened(loaded, tmp_path)
    empty._extractor.read = ()
    empty.fill([ONE, TWO])
    after = opened(loaded, tmp_path)
    assert [row.id for row in after.missing([ONE, TWO])] == [TWO.id]
    after.fill([ONE, TWO])
    assert after.batch([ONE, TWO]) is not None
