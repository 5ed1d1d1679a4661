"""Prompts against what they stand for: a longer row of the plain model, its attention written out, and plain PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.models.loading import Loaded, load_model
from tests.support.closeness import assert_near
from tests.support.methods import SMALL, examples, fresh, logits
from tests.support.reference import by_hand, plain_run, start_of


def longer(loaded: Loaded, prompts: Any) -> None:
    """The llm reads ``prompts()`` ``[depth, tokens, width]`` before everything else, and says nothing about them."""
    model: Any = loaded.model
    decoder = model.get_decoder()
    plain = decoder.forward

    def forward(**given: Any) -> Any:
        deep = prompts()
        rows, count = given["inputs_embeds"].shape[0], deep.shape[1]
        given["inputs_embeds"] = torch.cat([deep[0].expand(rows, -1, -1), given["inputs_embeds"]], dim=1)
        ones = torch.ones(rows, count, dtype=given["attention_mask"].dtype)
        given["attention_mask"] = torch.cat([ones, given["attention_mask"]], dim=1)
        given["position_ids"] = torch.arange(given["inputs_embeds"].shape[1])[None]
        output = plain(**given)
        output.last_hidden_state = output.last_hidden_state[:, count:]
        return output

    decoder.forward = forward
    for level, block in enumerate(decoder.layers):
        inner = block.forward

        def read(hidden: Tensor, level: int = level, inner: Any = inner, **given: Any) -> Any:
            deep = prompts()
            if 0 < level < len(deep):
                own = deep[level].expand(len(hidden), -1, -1)
                hidden = torch.cat([own, hidden[:, own.shape[1] :]], dim=1)
            return inner(hidden, **given)

        block.forward = read


@pytest.mark.parametrize("depth", [1, 2])
def test_a_prompt_is_a_longer_row(depth: int, tiny_llava: Path) -> None:
    tune = {"llm": {"method": "prompt_tuning", "lr": 1e-2, "tokens": 3, "depth": depth}}
    start = start_of(tiny_llava, tune)
    assert start["table"].shape == (depth, 3, 32)
    expected, own = by_hand(tiny_llava, start, lambda loaded, own: longer(loaded, lambda: own["table"]))
    trained = plain_run(tiny_llava, tune)
    assert_near(trained.logits, expected)
    table = trained.recipe.methods["llm"].named_trainable()["table"]
    torch.testing.assert_close(table.detach(), own["table"].detach(), rtol=1e-3, atol=1e-5)
    assert_near(logits(trained.loaded), expected)


def test_a_prompt_starts_from_words(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    rows = loaded.model.get_input_embeddings().weight.detach()  # type: ignore[operator]
    start = start_of(tiny_llava, {"llm": {"method": "prompt_tuning", "tokens": 5, "text": "red"}})["table"][0]
    ids = loaded.chat.tokenizer("red", add_special_tokens=False)["input_ids"]
    assert torch.equal(start, rows[(ids * 2)[:5]])
    drawn = start_of(tiny_llava, {"llm": {"method": "prompt_tuning", "tokens": 5}})["table"][0]
    assert all((rows == row).all(dim=1).any() for row in drawn)


@pytest.mark.parametrize("encoder", ["mlp", "lstm"])
def test_p_tuning_writes_its_prompt_by_a_network(encoder: str, tiny_llava: Path) -> None:
    tune = {"llm": {"method": "p_tuning", "lr": 1e-2, "tokens": 3, "encoder": encoder, "hidden": 6}}

    def written(own: dict[str, Tensor]) -> Tensor:
        table = own["embedding"]
        if encoder == "lstm":
            table = lstm(table, own)
        numbers = sorted({int(name.split(".")[1]) for name in own if name.startswith("mlp.")})
        for number in numbers:
            table = table @ own[f"mlp.{number}.weight"].T + own[f"mlp.{number}.bias"]
            table = table if number == numbers[-1] else torch.relu(table)
        return table[None]

    start = start_of(tiny_llava, tune)
    expected, own = by_hand(tiny_llava, start, lambda loaded, own: longer(loaded, lambda: written(own)))
    trained = plain_run(tiny_llava, tune)
    assert_near(trained.logits, expected)
    (artifact,) = trained.recipe.detach()
    assert artifact.tensors.keys() == {"table"}, "the network stays behind"
    torch.testing.assert_close(artifact.tensors["table"], written(own).detach(), rtol=1e-3, atol=1e-5)


def lstm(table: Tensor, own: dict[str, Tensor]) -> Tensor:
    """Two bidirectional layers, gate by gate."""
    for layer in range(2):
        sides = []
        for side in ("", "_reverse"):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            wi, wh, bi, bh = (own[f"lstm.{name}_l{layer}{side}"] for name in names)
            hidden = state = torch.zeros(wh.shape[1])
            outputs = []
            for x in table if not side else table.flip(0):
                i, f, g, o = (wi @ x + bi + wh @ hidden + bh).chunk(4)
                state = f.sigmoid() * state + i.sigmoid() * g.tanh()
                hidden = o.sigmoid() * state.tanh()
                outputs.append(hidden)
            one = torch.stack(outputs)
            sides.append(one if not side else one.flip(0))
        table = torch.cat(sides, dim=1)
    return table


def test_llama_adapter_attends_to_its_prompt_through_a_gate(tiny_llava: Path) -> None:
    tune = {"llm": {"method": "llama_adapter", "lr": 5e-2, "tokens": 3, "layers": [0, 2]}}
    start = start_of(tiny_llava, tune)
    assert {name.split(".")[0] for name in start} == {"0", "2"} and not start["0.gate"].any()

    def wire(loaded: Loaded, own: dict[str, Tensor]) -> None:
        model: Any = loaded.model
        for number in (0, 2):
            layer = model.get_decoder().layers[number].self_attn

            def attend(layer: Any = layer, number: int = number, plain: Any = layer.forward, **given: Any) -> Any:
                output, weights = plain(**given)
                x, (cos, sin) = given["hidden_states"], given["position_embeddings"]
                q = (x @ layer.q_proj.weight.T).view(*x.shape[:2], 4, 8)
                cos, sin = cos[:, :, None], sin[:, :, None]
                q = q * cos + torch.cat([-q[..., 4:], q[..., :4]], -1) * sin
                k = (own[f"{number}.prompt"] @ layer.k_proj.weight.T).view(3, 2, 8)
                v = (own[f"{number}.prompt"] @ layer.v_proj.weight.T).view(3, 2, 8)
                heads = []
                for head in range(4):
                    share = (q[:, :, head] @ k[:, head // 2].T / 8**0.5).softmax(-1)
                    heads.append(own[f"{number}.gate"][head].tanh() * share @ v[:, head // 2])
                return output + torch.cat(heads, -1) @ layer.o_proj.weight.T, weights

            layer.forward = attend

    expected, own = by_hand(tiny_llava, start, wire, lr=5e-2)
    assert own["0.gate"].any()
    assert_near(plain_run(tiny_llava, tune).logits, expected)
    upper = start_of(tiny_llava, {"llm": {"method": "llama_adapter", "tokens": 3}})
    assert {name.split(".")[0] for name in upper} == {"2"}, "all but the lowest two"


@pytest.mark.parametrize("method", ["prompt_tuning", "p_tuning", "llama_adapter", "cocoop", "ladder"])
def test_generation_with_left_padding_equals_each_question_alone(method: str, tiny_llava: Path) -> None:
    from dataclasses import replace

    from holdfast.data.examples import Turn

    loaded = plain_run(tiny_llava, {"llm": {"method": method, "lr": 0.1, **SMALL.get(method, {})}}).loaded
    model: Any = loaded.model
    asked = [*examples()[:2], replace(examples()[2], turns=(Turn("and which colour may this one be ?", ("red",)),))]
    with torch.no_grad():
        batch = loaded.chat.encode(asked, with_answers=False)
        together = model.generate(**batch, max_new_tokens=5, do_sample=False, eos_token_id=None)
        for row, example in enumerate(asked):
            one = loaded.chat.encode([example], with_answers=False)
            alone = model.generate(**one, max_new_tokens=5, do_sample=False, eos_token_id=None)
            assert torch.equal(together[row, -5:], alone[0, -5:])
            kept = one["attention_mask"].shape[1]
            whole = model(**{**one, "input_ids": alone, "attention_mask": torch.ones_like(alone)}).logits
            assert torch.equal(whole[0, kept - 1 : -1].argmax(-1), alone[0, kept:])


@pytest.mark.parametrize("method", ["prompt_tuning", "p_tuning", "prefix"])
def test_plain_peft_reads_the_exported_prompt(method: str, tiny_llava: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    from holdfast.runs.export import write_prompt

    tune = {"llm": {"method": method, "lr": 0.1, **SMALL.get(method, {})}}
    trained = plain_run(tiny_llava, tune)
    (artifact,) = trained.recipe.detach()
    write_prompt(artifact, str(tiny_llava), tmp_path)
    plain = load_model(str(tiny_llava))
    peft: Any = PeftModel.from_pretrained(plain.model, str(tmp_path))
    peft.eval()
    batch = plain.chat.encode(examples()[:1], with_answers=True)
    batch.pop("labels")
    with torch.no_grad():
        said = peft(**batch).logits
    batch = fresh(tiny_llava).chat.encode(examples()[:1], with_answers=True)
    length = batch["input_ids"].shape[1]
    assert_near(said[:, -length:], trained.logits[:1, :length])


def siglip(loaded: Loaded) -> Any:
    model: Any = loaded.model
    return next(module for module in model.modules() if type(module).__name__ == "SiglipEncoder")


def beside(loaded: Loaded, prompts: Any) -> None:
    """Every block of the tower computes a longer row; ``prompts(level)`` is what it has more, None: as it came out."""
    left: dict[int, Tensor] = {}
    for level, block in enumerate(siglip(loaded).layers):

        def forward(hidden: Tensor, *rest: Any, level: int = level, plain: Any = block.forward, **given: Any) -> Tensor:
            own = prompts(level)
            own = left[level] if own is None else own.expand(len(hidden), -1, -1)
            whole: Tensor = plain(torch.cat([own, hidden], dim=1), *rest, **given)
            left[level + 1] = whole[:, : own.shape[1]]
            return whole[:, own.shape[1] :]

        block.forward = forward


@pytest.mark.parametrize("deep", [True, False])
def test_visual_prompts_are_a_longer_row_through_the_tower(deep: bool, tiny_llava: Path) -> None:
    tune = {"vision": {"method": "vpt", "lr": 1e-2, "tokens": 3, "deep": deep}}
    start = start_of(tiny_llava, tune)
    assert start["prompts"].shape == (2 if deep else 1, 3, 16)
    assert 0.9 * (6 / (3 * 64 + 16)) ** 0.5 < float(start["prompts"].abs().max()) <= (6 / (3 * 64 + 16)) ** 0.5

    def wire(loaded: Loaded, own: dict[str, Tensor]) -> None:
        beside(loaded, lambda level: own["prompts"][level] if level < len(own["prompts"]) else None)

    expected, own = by_hand(tiny_llava, start, wire)
    assert_near(plain_run(tiny_llava, tune).logits, expected)
    assert not torch.equal(own["prompts"], start["prompts"])


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("family", ["qwen2_vl", "internvl", "mllama"])
def test_an_image_sees_its_own_visual_prompts_only(family: str, deep: bool) -> None:
    """Two images together, packed into one row or not, give what each gives alone."""
    from holdfast.methods.contract import Context
    from holdfast.methods.registry import make_method
    from holdfast.models.anatomy import resolve_anatomy
    from tests.support.families import batch, build
    from tests.support.features import one_row

    model = build(family)
    inputs = batch(family, model, padded=False)
    with torch.no_grad():
        plain = model(**inputs).logits
        method = make_method("vpt", {"tokens": 3, "deep": deep})
        method.attach(resolve_anatomy(model).vision, Context(torch.Generator().manual_seed(0)))
        together = model(**inputs).logits
        assert not torch.allclose(together, plain, atol=1e-4)
        if family != "mllama":  # whose pictures do not divide by rows in this helper
            for row in range(2):
                assert_near(model(**one_row(inputs, row)).logits[0], together[row])
        method.detach()
        assert torch.equal(model(**inputs).logits, plain)


def test_cocoop_shifts_the_prompt_by_the_image(tiny_llava: Path) -> None:
    tune = {"llm": {"method": "cocoop", "lr": 1e-2, "tokens": 3, "reduction": 4}}

    def wire(loaded: Loaded, own: dict[str, Tensor]) -> None:
        model: Any = loaded.model
        seen: dict[str, Tensor] = {}
        model.register_forward_pre_hook(lambda m, args, kwargs: seen.update(ids=kwargs["input_ids"]), with_kwargs=True)
        decoder = model.get_decoder()
        plain = decoder.forward

        def forward(**given: Any) -> Any:
            rows = []
            for ids, hidden in zip(seen["ids"], given["inputs_embeds"], strict=True):
                mean = hidden[ids == 4].mean(0)
                inner = torch.relu(own["narrow.weight"] @ mean + own["narrow.bias"])
                rows.append(own["table"] + own["widen.weight"] @ inner + own["widen.bias"])
            given["inputs_embeds"] = torch.cat([torch.stack(rows), given["inputs_embeds"]], dim=1)
            ones = torch.ones(len(rows), 3, dtype=given["attention_mask"].dtype)
            given["attention_mask"] = torch.cat([ones, given["attention_mask"]], dim=1)
            given["position_ids"] = torch.arange(given["inputs_embeds"].shape[1])[None]
            output = plain(**given)
            output.last_hidden_state = output.last_hidden_state[:, 3:]
            return output

        decoder.forward = forward

    start = start_of(tiny_llava, tune)
    assert start["narrow.weight"].shape == (8, 32)
    expected, _ = by_hand(tiny_llava, start, wire)
    assert_near(plain_run(tiny_llava, tune).logits, expected)


def test_maple_couples_the_prompts_of_both_sides(tiny_llava: Path) -> None:
    tune = {"llm": {"method": "maple", "lr": 1e-2, "tokens": 2, "depth": 2}}

    def wire(loaded: Loaded, own: dict[str, Tensor]) -> None:
        longer(loaded, lambda: own["table"])

        def visual(level: int) -> Tensor:
            return own["table"][level] @ own[f"project.{level}.weight"].T + own[f"project.{level}.bias"]

        beside(loaded, visual)

    start = start_of(tiny_llava, tune)
    expected, _ = by_hand(tiny_llava, start, wire)
    trained = plain_run(tiny_llava, tune)
    assert_near(trained.logits, expected)
    assert trained.recipe.touches() == {"vision", "llm"}


def test_maple_flows_behind_its_depth(tiny_llava: Path) -> None:
    tune = {"llm": {"method": "maple", "lr": 1e-2, "tokens": 2, "depth": 1}}

    def wire(loaded: Loaded, own: dict[str, Tensor]) -> None:
        longer(loaded, lambda: own["table"])
        first = lambda: own["table"][0] @ own["project.0.weight"].T + own["project.0.bias"]  # noqa: E731
        beside(loaded, lambda level: None if level else first())

    expected, _ = by_hand(tiny_llava, start_of(tiny_llava, tune), wire)
    assert_near(plain_run(tiny_llava, tune).logits, expected)
