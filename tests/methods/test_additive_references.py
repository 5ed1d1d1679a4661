"""Adapters and steering against their formulas, over several steps: the model is wired by hand and trained by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from holdfast.methods.contract import Context
from holdfast.methods.registry import make_method
from holdfast.models.loading import Loaded
from tests.support.closeness import assert_near
from tests.support.methods import examples, fresh, logits
from tests.support.reference import by_hand, by_steps, plain_run, start_of

LAYER = "model.language_model.layers"


def blocks(loaded: Loaded) -> Any:
    model: Any = loaded.model
    return model.get_decoder().layers


def bottleneck(own: dict[str, Tensor], site: str, act: Callable[[Tensor], Tensor], x: Tensor, scale: float) -> Tensor:
    """``s (U act(D x + b) + c)``."""
    inner = act(x @ own[f"{site}.down.weight"].T + own[f"{site}.down.bias"])
    return scale * (inner @ own[f"{site}.up.weight"].T + own[f"{site}.up.bias"])


def behind(module: Any, change: Callable[[Tensor], Tensor]) -> None:
    plain = module.forward
    module.forward = lambda x: change(plain(x))


def houlsby(loaded: Loaded, own: dict[str, Tensor]) -> None:
    for index, block in enumerate(blocks(loaded)):
        for part, last in ((block.self_attn, "o_proj"), (block.mlp, "down_proj")):
            kind = "self_attn" if part is block.self_attn else "mlp"
            site = f"{LAYER}.{index}.{kind}.{last}"
            behind(getattr(part, last), lambda h, s=site: h + bottleneck(own, s, functional.gelu, h, 1.0))


def pfeiffer(loaded: Loaded, own: dict[str, Tensor]) -> None:
    for index, block in enumerate(blocks(loaded)):
        behind(block.mlp, lambda h, i=index: h + bottleneck(own, f"{LAYER}.{i}.mlp.down_proj", torch.relu, h, 1.0))


def parallel(loaded: Loaded, own: dict[str, Tensor]) -> None:
    for index, block in enumerate(blocks(loaded)):
        plain = block.mlp.forward
        block.mlp.forward = lambda x, p=plain, i=index: p(x) + bottleneck(own, f"{LAYER}.{i}.mlp", torch.relu, x, 4.0)


@pytest.mark.parametrize(
    ("name", "options", "wire"),
    [
        ("houlsby", {"bottleneck": 6, "deviation": 0.05}, houlsby),
        ("pfeiffer", {"bottleneck": 6}, pfeiffer),
        ("parallel_adapter", {"bottleneck": 6}, parallel),
    ],
)
def test_an_adapter_trains_as_its_formula(name: str, options: dict[str, Any], wire: Any, tiny_llava: Path) -> None:
    tune = {"llm": {"method": name, "lr": 1e-2, **options}}
    expected, _ = by_hand(tiny_llava, start_of(tiny_llava, tune), wire)
    assert_near(plain_run(tiny_llava, tune).logits, expected)


def test_the_parallel_adapter_starts_at_the_base_with_loras_start(tiny_llava: Path) -> None:
    start = start_of(tiny_llava, {"llm": {"method": "parallel_adapter", "bottleneck": 6}})
    first = start[f"{LAYER}.0.mlp.down.weight"]
    assert float(first.abs().max()) <= 32**-0.5 < 1.1 * float(first.abs().max())
    assert not any(tensor.any() for name, tensor in start.items() if "down.weight" not in name)


def projector(loaded: Loaded) -> tuple[str, Any]:
    model: Any = loaded.model
    return "model.multi_modal_projector", model.model.multi_modal_projector


@pytest.mark.parametrize("last", [True, False])
def test_clip_adapter_blends_each_visual_token_with_its_bottleneck(last: bool, tiny_llava: Path) -> None:
    tune = {"connector": {"method": "clip_adapter", "lr": 1e-2, "ratio": 0.3, "last_relu": last}}

    def wire(loaded: Loaded, own: dict[str, Tensor]) -> None:
        name, module = projector(loaded)

        def blend(v: Tensor) -> Tensor:
            new = torch.relu(v @ own[f"{name}.down.weight"].T) @ own[f"{name}.up.weight"].T
            return 0.3 * (torch.relu(new) if last else new) + 0.7 * v

        behind(module, blend)

    start = start_of(tiny_llava, tune)
    assert sorted(tuple(tensor.shape) for tensor in start.values()) == [(8, 32), (32, 8)]
    expected, _ = by_hand(tiny_llava, start, wire)
    assert_near(plain_run(tiny_llava, tune).logits, expected)


def test_taskres_adds_one_vector_to_every_visual_token(tiny_llava: Path) -> None:
    tune = {"connector": {"method": "taskres", "lr": 1e-2, "alpha": 0.7}}

    def wire(loaded: Loaded, own: dict[str, Tensor]) -> None:
        name, module = projector(loaded)
        behind(module, lambda v: v + 0.7 * own[f"{name}.residual"])

    expected, trained = by_hand(tiny_llava, start_of(tiny_llava, tune), wire)
    assert_near(plain_run(tiny_llava, tune).logits, expected)
    assert all(bool(tensor.any()) for tensor in trained.values())


def gram_schmidt(matrix: Tensor) -> Tensor:
    """Orthonormal columns spanning those of ``matrix``, one after the other."""
    done: list[Tensor] = []
    for column in matrix.T:
        rest = column - sum((other * (other @ column) for other in done), torch.zeros_like(column))
        done.append(rest / rest.norm())
    return torch.stack(done, dim=1)


def steered(loaded: Loaded, own: dict[str, Tensor], places: Callable[[Tensor, Tensor], Tensor]) -> None:
    """``h + Rᵀ (W h + b - R h)`` behind every block, token by token."""
    model: Any = loaded.model
    seen: dict[str, Tensor] = {}
    model.register_forward_pre_hook(
        lambda m, args, kwargs: seen.update(ids=kwargs["input_ids"], kept=kwargs["attention_mask"]), with_kwargs=True
    )
    for index, block in enumerate(blocks(loaded)):

        def edit(module: Any, args: Any, output: Tensor, index: int = index) -> Tensor:
            site = f"{LAYER}.{index}"
            R = gram_schmidt(own[f"{site}.rotate"]).T
            W, b = own[f"{site}.source.weight"], own[f"{site}.source.bias"]
            moved = output + (output @ W.T + b - output @ R.T) @ R
            return torch.where(places(seen["ids"], seen["kept"])[..., None], moved, output)

        block.register_forward_hook(edit)


def by_rank(candidates: Tensor, first: int, last: int) -> Tensor:
    """Of each row's candidates the first and the last few, one by one."""
    chosen = torch.zeros_like(candidates)
    for row, line in enumerate(candidates):
        where = torch.nonzero(line)[:, 0].tolist()
        for place in {*where[:first], *(where[-last:] if last else [])}:
            chosen[row, place] = True
    return chosen


def test_mores_steers_the_first_and_last_visual_tokens(tiny_llava: Path) -> None:
    tune = {"llm": {"method": "mores", "lr": 1e-2, "r": 3, "positions": "f1+l2", "dropout": 0.0}}
    start = start_of(tiny_llava, tune)
    wire = partial(steered, places=lambda ids, kept: by_rank(ids == 4, 1, 2))
    expected, _ = by_hand(tiny_llava, start, wire)
    assert_near(plain_run(tiny_llava, tune).logits, expected)


def test_loreft_steers_the_ends_of_the_prompt(tiny_llava: Path) -> None:
    """The prompt ends in front of the answer: in these rows behind the last ``: `` of ``ASSISTANT: ``."""
    tune = {"llm": {"method": "loreft", "lr": 1e-2, "r": 3, "positions": "f2+l3"}}
    space = fresh(tiny_llava).chat.tokenizer.convert_tokens_to_ids("Ġ")
    colon = fresh(tiny_llava).chat.tokenizer.convert_tokens_to_ids(":")

    def places(ids: Tensor, kept: Tensor) -> Tensor:
        prompt = torch.zeros_like(ids, dtype=torch.bool)
        for row, line in enumerate(ids.tolist()):
            ends = [i for i in range(1, len(line)) if line[i - 1] == colon and line[i] == space]
            prompt[row, : ends[-1] + 1] = kept[row, : ends[-1] + 1].bool()
        return by_rank(prompt, 2, 3)

    start = start_of(tiny_llava, tune)
    expected, _ = by_hand(tiny_llava, start, partial(steered, places=places))
    trained = plain_run(tiny_llava, tune)
    # The rows of these logits hold their answers, and no labels beside them: the last tokens are those of the answer.
    assert not torch.allclose(logits(trained.loaded), logits(fresh(tiny_llava)))
    method = trained.recipe.methods["llm"]
    _, own = by_hand(tiny_llava, start, partial(steered, places=places))
    for name, tensor in method.named_trainable().items():
        torch.testing.assert_close(tensor.detach(), own[name].detach(), rtol=1e-3, atol=2e-5)
    assert expected.shape == trained.logits.shape


def test_the_ladder_is_a_thin_llm_beside_the_llm(tiny_llava: Path) -> None:
    """Every thin block written out: norms, one head of attention with rotations, the gated MLP."""
    tune = {"llm": {"method": "ladder", "lr": 1e-2, "reduction": 4, "layers": [0, 2], "temperature": 0.5}}
    start = start_of(tiny_llava, tune)
    assert start["blocks.0.self_attn.q_proj.weight"].shape == (8, 8)
    assert start["blocks.1.mlp.gate_proj.weight"].shape == (12, 8) and not start["up.weight"].any()

    def norm(x: Tensor, gain: Tensor) -> Tensor:
        return gain * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    def wire(loaded: Loaded, own: dict[str, Tensor]) -> None:
        seen: dict[Any, Tensor] = {}
        layers = blocks(loaded)
        model: Any = loaded.model

        def kept(module: Any, args: Any, kwargs: Any) -> None:
            seen["first"] = args[0].detach()
            seen["cos"], seen["sin"] = kwargs["position_embeddings"]

        layers[0].register_forward_pre_hook(kept, with_kwargs=True)
        for index in (0, 2):
            layers[index].register_forward_hook(lambda m, a, out, i=index: seen.update({i: out.detach()}))

        def rotate(x: Tensor) -> Tensor:
            return x * seen["cos"] + torch.cat([-x[..., 4:], x[..., :4]], -1) * seen["sin"]

        def thin(s: Tensor, number: int) -> Tensor:
            def weight(name: str) -> Tensor:
                return own[f"blocks.{number}.{name}.weight"]

            x = norm(s, weight("input_layernorm"))
            q, k, v = (x @ weight(f"self_attn.{part}_proj").T for part in "qkv")
            scores = rotate(q) @ rotate(k).transpose(1, 2) / 8**0.5
            ahead = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            s = s + scores.masked_fill(ahead, -torch.inf).softmax(-1) @ v @ weight("self_attn.o_proj").T
            x = norm(s, weight("post_attention_layernorm"))
            inner = functional.silu(x @ weight("mlp.gate_proj").T) * (x @ weight("mlp.up_proj").T)
            return s + inner @ weight("mlp.down_proj").T

        def leave(module: Any, args: Any) -> Any:
            s = seen["first"] @ own["enter.weight"].T + own["enter.bias"]
            for number, index in enumerate((0, 2)):
                share = (own["gates"][number] / 0.5).sigmoid()
                below = seen[index] @ own[f"down.{number}.weight"].T + own[f"down.{number}.bias"]
                s = thin(share * s + (1 - share) * below, number)
            return args[0] + norm(s, own["norm.weight"]) @ own["up.weight"].T + own["up.bias"]

        model.get_decoder().norm.register_forward_pre_hook(leave)

    # From an open way up: from a closed one the first gradients below it are rounding, which Adam makes large.
    start["up.weight"] = torch.randn(32, 8, generator=torch.Generator().manual_seed(1)) * 0.1
    expected, trained = by_hand(tiny_llava, start, wire)
    assert not torch.equal(trained["gates"], start["gates"])
    loaded = fresh(tiny_llava)
    method = make_method("ladder", {"reduction": 4, "layers": [0, 2], "temperature": 0.5})
    loaded.model.requires_grad_(False)
    method.attach(loaded.anatomy.llm, Context(torch.Generator()))
    method.load(start, {})
    said = by_steps(loaded, method.named_trainable().values())
    for name, tensor in method.named_trainable().items():
        torch.testing.assert_close(tensor.detach(), trained[name].detach(), rtol=1e-3, atol=1e-5)
    kept = loaded.chat.encode(examples()[:4], with_answers=True)["attention_mask"].bool()
    assert_near(said[kept], expected[kept])  # what padding sees is nobody's concern, and not written out above


def test_loreft_looks_at_the_same_tokens_when_it_is_asked(tiny_llava: Path) -> None:
    """Left-padded questions, as ``generate`` gets them, against each question alone."""
    trained = plain_run(tiny_llava, {"llm": {"method": "loreft", "lr": 0.3, "positions": "f2+l3"}})
    model, chat = trained.loaded.model, trained.loaded.chat
    long = examples()[0]
    from dataclasses import replace

    from holdfast.data.examples import Turn

    asked = [long, replace(examples()[1], turns=(Turn("and what colour may this one be ?", ("red",)),))]
    with torch.no_grad():
        generate: Any = model.generate  # type: ignore[union-attr]
        whole = generate(**chat.encode(asked, with_answers=False), max_new_tokens=4, do_sample=False, eos_token_id=None)
        for row, example in enumerate(asked):
            one = chat.encode([example], with_answers=False)
            alone = generate(**one, max_new_tokens=4, do_sample=False, eos_token_id=None)
            assert torch.equal(whole[row, -4:], alone[0, -4:])
            # Teacher forcing over the answer with the prompt's end told, as in training.
            tokens, answer = one["input_ids"].shape[1], alone[:, -4:]
            batch = {**one, "input_ids": alone, "attention_mask": torch.ones_like(alone)}
            ends = torch.zeros_like(alone, dtype=torch.bool)
            ends[:, tokens - 1] = True
            said = model(**batch, holdfast_ends=ends).logits[:, tokens - 1 : -1].argmax(-1)
            assert torch.equal(said, answer)
