"""Each speed-up can be switched off, says whether it engaged, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from holdfast.config.loading import load_config
from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.events import Event
from holdfast.methods.recipe import Recipe
from holdfast.models.loading import Loaded, load_model
from holdfast.speed.blocks import blocks_of
from holdfast.speed.decision import Decision, Engaged
from holdfast.speed.frozen import without_graph
from holdfast.training import loss as loss_module
from holdfast.training.loop import Trainer
from holdfast.training.loss import answer_loss
from tests.support.methods import examples, fresh
from tests.support.questions import questions

LORA = {"llm": {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.0, "lr": 1e-2}}


def fit(
    folder: Path,
    speed: dict[str, Any],
    *,
    data: list[Example] | None = None,
    tune: Any = None,
    keep: Any = (),
    **train: Any,
) -> tuple[list[float], dict[str, torch.Tensor], dict[str, Any], Trainer]:
    """Losses, trained values and the report of a short run."""
    settings = {"steps": 3, "batch_size": 6, **train}
    config = load_config({"tune": tune or LORA, "keep": list(keep), "train": settings, "speed": speed})
    loaded = fresh(folder)
    recipe = Recipe(config)
    recipe.attach(loaded, 0)
    chosen = tuple(data or questions(each=3))
    report: dict[str, Any] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Engaged):
            report.update(event.report)

    trainer = Trainer(loaded, recipe, config.train, chosen, chosen, seed=0, listen=listen, speed=config.speed)
    losses = trainer.fit().losses
    return losses, {n: p.detach().clone() for n, p in recipe.named_trainable().items()}, report, trainer


def same(one: Any, other: Any, tolerance: float = 1e-4) -> None:
    assert one[0] == pytest.approx(other[0], rel=tolerance)
    assert one[1].keys() == other[1].keys()
    for name, values in one[1].items():
        torch.testing.assert_close(values, other[1][name], rtol=10 * tolerance, atol=tolerance)


def test_sharing_images_engages_and_trains_to_the_same_values(tiny_llava: Path) -> None:
    shared, plain = (fit(tiny_llava, {"share_images": wanted}) for wanted in ("auto", "off"))
    assert shared[2]["share_images"].on and "compared" in shared[2]["share_images"].why
    assert plain[2]["share_images"] == Decision(False, "switched off")
    same(shared, plain)


@pytest.mark.parametrize("each", [1, 3], ids=["separate", "shared"])
def test_rows_behind_each_other_train_to_the_same_values(tiny_llava: Path, each: int) -> None:
    data = questions(pictures=4, each=each)
    keep = [{"stabiliser": "distillation", "strength": 5.0}]
    filled, plain = (fit(tiny_llava, {"packing": wanted}, data=data, keep=keep) for wanted in ("on", "off"))
    assert filled[2]["packing"].on and "compared" in filled[2]["packing"].why
    assert plain[2]["packing"] == Decision(False, "switched off")
    assert filled[2]["share_images"].on == (each > 1)
    same(filled, plain)
    assert "too short" in fit(tiny_llava, {}, data=data)[2]["packing"].why


def test_distillation_sees_the_same_tokens_in_shared_rows(tiny_llava: Path) -> None:
    keep = [{"stabiliser": "distillation", "strength": 5.0}]
    shared, plain = (fit(tiny_llava, {"share_images": wanted}, keep=keep) for wanted in ("on", "off"))
    same(shared, plain)
    assert plain[0][-1] != pytest.approx(fit(tiny_llava, {"share_images": "off"})[0][-1], rel=1e-4)


def test_sharing_says_why_it_does_not_engage(tiny_llava: Path) -> None:
    alone = list(examples(6))
    assert "one question" in fit(tiny_llava, {}, data=alone)[2]["share_images"].why
    assert "order is random" in fit(tiny_llava, {}, order="random")[2]["share_images"].why
    assert "shorter than comparing" in fit(tiny_llava, {}, steps=1, batch_size=3)[2]["share_images"].why
    assert fit(tiny_llava, {"share_images": "on"}, steps=1, batch_size=3)[2]["share_images"].on
    assert "batch of one" in fit(tiny_llava, {}, batch_size=1)[2]["share_images"].why
    with pytest.raises(HoldfastError, match="share_images is on, and every image has one question"):
        fit(tiny_llava, {"share_images": True}, data=alone)


def test_a_model_that_fails_the_comparison_keeps_its_rows_apart(tiny_llava: Path, monkeypatch: Any) -> None:
    from holdfast.speed.sharing import batcher

    monkeypatch.setattr(
        batcher, "block_mask", lambda query, key, offset=0: torch.ones(*query.shape, key.shape[1])[:, None].bool()
    )
    shared, plain = (fit(tiny_llava, {"share_images": wanted}) for wanted in ("auto", "off"))
    assert not shared[2]["share_images"].on and "other logits" in shared[2]["share_images"].why
    assert shared[0] == plain[0]


@pytest.mark.parametrize("share", ["on", "off"])
def test_validation_is_the_same_in_shared_rows(tiny_llava: Path, share: str) -> None:
    trainer = fit(tiny_llava, {"share_images": share})[3]
    loss, exact = trainer.validate()
    loaded, chosen = trainer.loaded, trainer.validation
    with torch.no_grad():
        rows = [answer_loss(loaded.model.eval(), loaded.chat.encode([e], with_answers=True)) for e in chosen]
    assert loss == pytest.approx(sum(float(r.total) for r in rows) / sum(r.tokens for r in rows), rel=1e-4)
    assert exact == pytest.approx(100 * sum(bool(r.exact.all()) for r in rows) / len(chosen))


@pytest.mark.parametrize("head", ["answers", "chunked", "full"])
def test_every_way_to_apply_the_head_trains_to_the_same_values(tiny_llava: Path, head: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(loss_module, "CHUNK", 900)  # three tokens of a vocabulary of 300
    tune = {"llm": {"method": "full", "lr": 1e-3}}  # the head itself trains too
    found, plain = (fit(tiny_llava, {"head": how}, tune=tune) for how in (head, "full"))
    assert found[2]["head"] == head
    same(found, plain)


def test_large_logits_go_in_chunks_by_themselves_unless_someone_needs_them(tiny_llava: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(loss_module, "LARGE", 100)
    assert fit(tiny_llava, {})[2]["head"] == "chunked"
    assert fit(tiny_llava, {}, keep=["distillation"])[2]["head"] == "answers"


def test_chunks_hold_a_part_of_the_logits_at_a_time(tiny_llava: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(loss_module, "CHUNK", 900)
    loaded = fresh(tiny_llava)
    seen: list[int] = []
    head = loaded.model.get_output_embeddings()  # type: ignore[operator]
    head.register_forward_hook(lambda module, args, output: seen.append(output.numel() // output.shape[-1]))
    batch = loaded.chat.encode(examples(5), with_answers=True)
    loaded.model.requires_grad_(True)
    answer_loss(loaded.model, batch, head="chunked").total.backward()
    assert max(seen) == 3 and sum(seen) > 2 * int((batch["labels"] != -100).sum())


def test_a_head_that_does_more_than_we_know_is_not_cut_into_pieces(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    batch = loaded.chat.encode(examples(4), with_answers=True)
    model: Any = loaded.model
    plain = float(answer_loss(model, batch, head="answers").total)
    forward = model.forward

    def doubled(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits = output.logits * 2
        return output

    model.forward = doubled
    result = answer_loss(model, batch, head="chunked")
    assert result.head == "answers" and float(result.total) != pytest.approx(plain)
    assert float(result.total) == pytest.approx(float(answer_loss(model, batch, head="full").total), rel=1e-6)


def test_liger_without_a_gpu_is_refused_before_the_first_step(tiny_llava: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(HoldfastError, match="liger needs a CUDA GPU"):
        fit(tiny_llava, {"head": "liger"})


@contextmanager
def saved_for_backward() -> Iterator[list[torch.Tensor]]:
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_frozen_tower_leaves_nothing_for_the_backward_pass(tiny_llava: Path, checkpointing: bool) -> None:
    loaded = load_model(str(tiny_llava))
    model: Any = loaded.model
    model.requires_grad_(False)
    for parameter in loaded.anatomy.llm.parameters.values():
        parameter.requires_grad_(True)
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    model.train()
    batch = loaded.chat.encode(examples(4), with_answers=True)
    in_tower: list[bool] = []
    for layer in model.model.vision_tower.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda m, a, output: in_tower.append(output.requires_grad))
    counts, losses = [], []
    for guarded in (False, True):
        in_tower.clear()
        with without_graph(model, loaded.anatomy, {"vision", "connector"} if guarded else set()) as names:
            assert bool(names) == guarded
            with saved_for_backward() as kept:
                loss = answer_loss(model, batch).total
            losses.append(float(loss.detach()))
        counts.append(len(kept))
        assert any(in_tower) == (not guarded)
    assert counts[1] < counts[0] and losses[0] == losses[1]
    assert "forward" not in vars(model.model.vision_tower), "the model's own forward is back"


def test_a_trained_tower_keeps_its_graph_through_a_frozen_connector(tiny_llava: Path) -> None:
    loaded = load_model(str(tiny_llava))
    loaded.model.requires_grad_(False)
    for parameter in loaded.anatomy.vision.parameters.values():
        parameter.requires_grad_(True)
    with without_graph(loaded.model, loaded.anatomy, {"connector"}):
        answer_loss(loaded.model, loaded.chat.encode(examples(2), with_answers=True)).total.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in loaded.anatomy.vision.parameters.values())


class Scarce:
    """Memory for so many examples and no more."""

    def __init__(self, loaded: Loaded, room: int, error: type[BaseException], monkeypatch: Any) -> None:
        self.sizes: list[int] = []
        forward = loaded.model.forward

        def limited(*args: Any, **kwargs: Any) -> Any:
            if loaded.model.training:
                self.sizes.append(kwargs["input_ids"].shape[0])
                if self.sizes[-1] > room:
                    raise error("CUDA out of memory. Tried to allocate 2 GiB")
            return forward(*args, **kwargs)

        monkeypatch.setattr(loaded.model, "forward", limited)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
@pytest.mark.parametrize(
    "tune", [LORA, {"llm": {"method": "random_mask", "ratio": 0.2, "lr": 1e-2}}], ids=["lora", "sparse"]
)
def test_out_of_memory_loses_no_step(tiny_llava: Path, error: Any, tune: Any, monkeypatch: Any) -> None:
    data = list(examples(8))
    whole = fit(tiny_llava, {}, data=data, batch_size=8, tune=tune)
    made: list[Scarce] = []
    attach = Recipe.attach

    def then_scarce(self: Recipe, loaded: Loaded, *args: Any, **kwargs: Any) -> None:
        attach(self, loaded, *args, **kwargs)
        made.append(Scarce(loaded, 3, error, monkeypatch))

    monkeypatch.setattr(Recipe, "attach", then_scarce)
    split = fit(tiny_llava, {}, data=data, batch_size=8, tune=tune)
    assert made[0].sizes == [8, 4, 2, 2, 2, 2, *[2] * 8], "two tries fail, then every step is four parts"
    assert split[2]["split_on_oom"] == Decision(True, "from step 1 on 2 examples a pass")
    same(split, whole)
    with pytest.raises(error, match="out of memory"):
        fit(tiny_llava, {"split_on_oom": False}, data=data, batch_size=8, tune=tune)


def test_one_example_that_does_not_fit_is_said(tiny_llava: Path, monkeypatch: Any) -> None:
    attach = Recipe.attach

    def then_none(self: Recipe, loaded: Loaded, *args: Any, **kwargs: Any) -> None:
        attach(self, loaded, *args, **kwargs)
        Scarce(loaded, 0, torch.OutOfMemoryError, monkeypatch)

    monkeypatch.setattr(Recipe, "attach", then_none)
    with pytest.raises(HoldfastError, match="one example alone does not fit into memory at step 1"):
        fit(tiny_llava, {})


def test_compiled_blocks_train_to_the_same_values_and_come_back(tiny_llava: Path, monkeypatch: Any) -> None:
    calls: list[int] = []

    def compile_with_marks(self: nn.Module) -> None:
        forward = torch.compile(self._call_impl, backend="eager", dynamic=True)

        def counted(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            return forward(*args, **kwargs)

        self._compiled_call_impl = counted

    monkeypatch.setattr(nn.Module, "compile", compile_with_marks)
    compiled, plain = (fit(tiny_llava, {"compile": wanted}) for wanted in (True, False))
    assert calls and compiled[2]["compile"].on and not plain[2]["compile"].on
    same(compiled, plain)
    blocks = blocks_of(compiled[3].loaded.model)
    assert len(blocks) == 3 and all(block._compiled_call_impl is None for block in blocks)


def test_attention_by_name_gives_the_same_loss(tiny_llava: Path) -> None:
    losses = []
    for attention in ("sdpa", "eager"):
        loaded = load_model(str(tiny_llava), attention=attention)
        config = load_config({"tune": LORA, "train": {"steps": 2, "batch_size": 6}})
        recipe = Recipe(config)
        recipe.attach(loaded, 0)
        trainer = Trainer(loaded, recipe, config.train, tuple(questions()), (), seed=0)
        losses.append(trainer.fit().losses)
        report: dict[str, Any] = dict(trainer.report)
        assert report["attention"] == attention and report["share_images"].on
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
