"""Each method against its formula, written here in plain torch or NumPy and not taken from the implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from holdfast.methods.additive.adapter import AdapterOptions
from holdfast.methods.additive.bottleneck import Bottleneck
from holdfast.methods.contract import Context
from holdfast.methods.registry import make_fusion, make_method
from holdfast.methods.selective.spider import importance, soft_mask
from holdfast.models.loading import load_model
from holdfast.training.loss import mean_loss
from tests.support.closeness import assert_near
from tests.support.methods import SMALL, examples, run


@pytest.mark.parametrize(
    "method",
    ["random_mask", "magnitude_mask", "gradient_mask", "fish_mask", "sift", "gps", "child_tuning_d", "lt_sft"],
)
def test_a_static_mask_equals_masked_dense_gradients_bit_for_bit(method: str, tiny_llava: Path) -> None:
    share = {"per_row": 5} if method == "gps" else {"ratio": 0.3}
    section = {"llm": {"method": method, "lr": 1e-2, **share}}
    sparse = run(tiny_llava, section, steps=5, weight_decay=0.0, clip=None, schedule="constant", warmup=0.0)
    index = {name: entry.index for name, entry in sparse.recipe.methods["llm"].selected.items()}  # type: ignore[attr-defined]
    result = {name: parameter.detach().clone() for name, parameter in sparse.loaded.anatomy.names().items()}

    loaded = load_model(str(tiny_llava))
    parameters = loaded.anatomy.names()
    loaded.model.requires_grad_(False)
    masks = {}
    for name, places in index.items():
        mask = torch.zeros(parameters[name].numel())
        mask[places] = 1
        masks[name] = mask.view_as(parameters[name])
        parameters[name].requires_grad_(True)
    optimizer = torch.optim.AdamW([parameters[name] for name in masks], lr=1e-2, weight_decay=0.0)
    from holdfast.training.batches import Stream

    stream = Stream(examples(), 4, 1, 0)
    loaded.model.train()
    for step in range(5):
        mean_loss(loaded.model, loaded.chat.encode(next(stream.step(step)), with_answers=True)).backward()
        for name, mask in masks.items():
            parameters[name].grad *= mask  # type: ignore[operator]
        optimizer.step()
        optimizer.zero_grad()
    for name, parameter in parameters.items():
        assert torch.equal(parameter, result[name]), name


def test_magnitude_takes_the_smallest_and_gradient_the_largest(tiny_llava: Path) -> None:
    loaded = load_model(str(tiny_llava))
    names = loaded.anatomy.names()
    method = make_method("magnitude_mask", {"ratio": 0.25})
    method.attach(loaded.anatomy.llm, Context(torch.Generator()))
    for name, entry in method.selected.items():  # type: ignore[attr-defined]
        sizes = np.abs(names[name].detach().numpy().ravel())
        chosen = np.zeros(sizes.size, bool)
        chosen[entry.index.numpy()] = True
        assert chosen.sum() == round(0.25 * sizes.size)
        assert sizes[chosen].max() <= sizes[~chosen].min()


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_spider_follows_the_release(kind: str, tiny_llava: Path) -> None:
    """NumPy: z-scores with the unbiased deviation, a signed gradient sum, the blend towards the base after AdamW."""
    section = {"connector": {"method": "spider", "mask": kind, "lr": 1e-2}}
    spider = run(tiny_llava, section, steps=3, weight_decay=0.0, clip=None, schedule="constant", warmup=0.0)
    result = {name: p.detach().numpy() for name, p in spider.loaded.anatomy.connector.parameters.items()}

    def sigmoid_z(values: np.ndarray) -> np.ndarray:
        size = np.abs(values)
        if not size.any():  # biases start at zero; the release gives them no importance
            return size
        return 1 / (1 + np.exp(-(size - size.mean()) / size.std(ddof=1)))

    loaded = load_model(str(tiny_llava))
    loaded.model.requires_grad_(False)
    parameters = loaded.anatomy.connector.parameters
    start = {name: p.detach().numpy().astype(np.float64) for name, p in parameters.items()}
    total = {name: np.zeros(p.shape) for name, p in parameters.items()}
    moments = {name: (np.zeros(p.shape), np.zeros(p.shape)) for name, p in parameters.items()}
    from holdfast.training.batches import Stream

    stream = Stream(examples(), 4, 1, 0)
    for p in parameters.values():
        p.requires_grad_(True)
    for step in range(3):
        mean_loss(loaded.model, loaded.chat.encode(next(stream.step(step)), with_answers=True)).backward()
        for name, p in parameters.items():
            assert p.grad is not None
            gradient = p.grad.numpy().astype(np.float64)
            total[name] += gradient
            first, second = moments[name]
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            moments[name] = (first, second)
            move = first / (1 - 0.9 ** (step + 1)) / (np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-8)
            stepped = p.detach().numpy().astype(np.float64) - 1e-2 * move
            general, wanted = sigmoid_z(start[name]), sigmoid_z(total[name])
            mask = np.where(wanted > general, wanted / (general + wanted), 0)
            mask = np.minimum(mask / (mask[mask > 0].mean() if mask.any() else 1), 1)
            mask = mask if kind == "soft" else (mask > 0).astype(float)
            with torch.no_grad():
                p.copy_(torch.from_numpy((1 - mask) * start[name] + mask * stepped))
            p.grad = None
    for name in parameters:
        np.testing.assert_allclose(result[name], parameters[name].detach().numpy(), rtol=1e-3, atol=2e-5)


def test_spider_importance_of_degenerate_tensors() -> None:
    assert torch.equal(importance(torch.zeros(5)), torch.zeros(5))
    assert torch.equal(importance(torch.ones(1)), torch.full((1,), 0.5))
    assert torch.equal(soft_mask(torch.ones(4), torch.zeros(4)), torch.zeros(4))


def test_half_fine_tuning_draws_halves_by_category(tiny_llava: Path) -> None:
    loaded = load_model(str(tiny_llava))
    method = make_method("hft", {})
    method.attach(loaded.anatomy.llm, Context(torch.Generator().manual_seed(3)))
    chosen = method.moves()
    for layer in range(3):
        inside = {name.split(f"layers.{layer}.")[1] for name in chosen if f"layers.{layer}." in name}
        assert sum(name.startswith("self_attn") for name in inside) == 2
        assert sum(name.startswith("mlp") for name in inside) == 2 - layer % 2
    norms = [name for name in chosen if "norm" in name]
    assert len(norms) == 3  # of six, two a layer; the norm after the last layer is in no layer
    assert {"lm_head.weight", "model.language_model.embed_tokens.weight"} <= chosen


@pytest.mark.parametrize("init", ["study", "identity"])
def test_the_adapter_is_its_equation(init: str) -> None:
    options = AdapterOptions(bottleneck=3, dropout=0.0, init=init)  # type: ignore[arg-type]
    block = Bottleneck(6, options, torch.Generator().manual_seed(0))
    z = torch.randn(4, 6)
    down, up = block.down.weight.detach().numpy(), block.up.weight.detach().numpy()
    expected = z.numpy() + np.tanh(z.numpy() @ down.T) @ up.T
    np.testing.assert_allclose(block(z).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert (init == "identity") == bool((block(z) == z).all())


@pytest.mark.parametrize(("placement", "sites"), [("mlp", 3), ("attention", 4), ("both", 7)])
def test_adapter_sites_and_sides(placement: str, sites: int, tiny_llava: Path) -> None:
    loaded = load_model(str(tiny_llava))
    method = make_method("adapter", {"bottleneck": 8, "placement": placement})
    method.attach(loaded.anatomy.llm, Context(torch.Generator()))
    # Width 32 on every site: in front of q, k, v, gate, up; behind o and down.
    assert method.added() == 3 * sites * 2 * 32 * 8


def test_the_prefix_is_extra_keys_and_values(tiny_llava: Path) -> None:
    """Brute force over the first layer: attention of rotated queries over prefix (unrotated) and real keys."""
    loaded = load_model(str(tiny_llava))
    decoder = loaded.model.get_decoder()  # type: ignore[operator]
    layer = decoder.layers[0].self_attn
    seen: dict[str, torch.Tensor] = {}
    layer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(hidden=kwargs["hidden_states"], cos=kwargs["position_embeddings"][0],
                                                 sin=kwargs["position_embeddings"][1]), with_kwargs=True,
    )  # fmt: skip
    layer.register_forward_hook(lambda module, args, output: seen.update(out=output[0]))
    method = make_method("prefix", {"tokens": 3})
    method.attach(loaded.anatomy.llm, Context(torch.Generator().manual_seed(0)))
    with torch.no_grad():
        method.prefix.table.mul_(50)  # type: ignore[attr-defined]
        embeds = torch.randn(1, 4, 32)
        decoder(inputs_embeds=embeds, attention_mask=torch.ones(1, 4, dtype=torch.long))
        hidden, cos, sin = seen["hidden"][0], seen["cos"][0], seen["sin"][0]
        assert torch.allclose(cos[0], torch.cos(3 / 10000 ** (torch.arange(0, 8, 2) / 8)).repeat(2), atol=1e-5)
        table = method.prefix.table.view(3, 3, 2, 2, 8)[:, 0]  # type: ignore[attr-defined] # [token, kv, head, width]

        def rotate(x: torch.Tensor) -> torch.Tensor:
            return x * cos[:, None] + torch.cat([-x[..., 4:], x[..., :4]], -1) * sin[:, None]

        q = rotate((hidden @ layer.q_proj.weight.T).view(4, 4, 8))
        k = rotate((hidden @ layer.k_proj.weight.T).view(4, 2, 8))
        v = (hidden @ layer.v_proj.weight.T).view(4, 2, 8)
        k, v = torch.cat([table[:, 0], k]), torch.cat([table[:, 1], v])
        heads = []
        for head in range(4):
            scores = q[:, head] @ k[:, head // 2].T / 8**0.5
            for row in range(4):
                scores[row, 3 + row + 1 :] = -torch.inf
            heads.append(scores.softmax(-1) @ v[:, head // 2])
        expected = torch.cat(heads, dim=-1) @ layer.o_proj.weight.T
    torch.testing.assert_close(seen["out"][0], expected, rtol=1e-4, atol=1e-5)


def test_prefix_generation_equals_whole_forward_passes(tiny_llava: Path) -> None:
    """Of each question alone: a forward pass that is told of padding by a mask alone counts it among the positions."""
    trained = run(tiny_llava, {"llm": {"method": "prefix", "lr": 0.1, "tokens": 5}}, steps=4)
    loaded = trained.loaded
    for example in examples()[:3]:
        batch = loaded.chat.encode([example], with_answers=False)
        with torch.no_grad():
            out = loaded.model.generate(**batch, max_new_tokens=5, do_sample=False, eos_token_id=None)  # type: ignore[operator]
            ids = batch["input_ids"]
            for _ in range(5):
                step = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": batch["pixel_values"]}
                ids = torch.cat([ids, loaded.model(**step).logits[:, -1:].argmax(-1)], dim=1)
        assert torch.equal(out, ids)


def test_lora_is_w_plus_scaled_b_a(tiny_llava: Path) -> None:
    trained = run(tiny_llava, {"llm": {"method": "lora", "lr": 1e-2, **SMALL["lora"]}})
    artifact = trained.recipe.detach()[0]
    base = load_model(str(tiny_llava)).anatomy.names()
    merged = load_model(str(tiny_llava))
    from holdfast.methods.recipe import restore

    for method in restore(merged, [artifact]):
        method.merge()
    layer = "model.language_model.layers.1.mlp.down_proj"
    a, b = artifact.tensors[f"{layer}.lora_A.weight"], artifact.tensors[f"{layer}.lora_B.weight"]
    expected = base[f"{layer}.weight"] + 8 / 4 * b @ a
    torch.testing.assert_close(merged.anatomy.names()[f"{layer}.weight"], expected, rtol=1e-5, atol=1e-7)


def test_ia3_scales_keys_values_and_the_inside_of_the_mlp(tiny_llava: Path) -> None:
    trained = run(tiny_llava, {"llm": {"method": "ia3", "lr": 0.1}})
    tensors = trained.recipe.detach()[0].tensors
    loaded = load_model(str(tiny_llava))
    names = loaded.anatomy.names()
    with torch.no_grad():
        for key, scale in tensors.items():
            layer = key.split(".ia3_l")[0]
            scaled = names[f"{layer}.weight"]
            # On k and v the output rows are scaled, on down the input columns.
            scaled.mul_(scale.view(1, -1) if layer.endswith("down_proj") else scale.view(-1, 1))
    from tests.support.methods import logits

    assert_near(logits(loaded), trained.logits)
    assert sum(t.numel() for t in tensors.values()) == 3 * (16 + 16 + 48)


def test_full_tuning_is_plain_adamw(tiny_llava: Path) -> None:
    section = {"connector": {"method": "full", "lr": 1e-2}}
    trained = run(tiny_llava, section, steps=3, weight_decay=0.0, clip=None, schedule="constant", warmup=0.0)
    loaded = load_model(str(tiny_llava))
    loaded.model.requires_grad_(False)
    parameters = list(loaded.anatomy.connector.parameters.values())
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
    from holdfast.training.batches import Stream

    stream = Stream(examples(), 4, 1, 0)
    for step in range(3):
        batch = loaded.chat.encode(next(stream.step(step)), with_answers=True)
        loaded.model(**batch).loss.backward()  # transformers' own loss
        optimizer.step()
        optimizer.zero_grad()
    mine = trained.loaded.anatomy.connector.parameters
    for name, parameter in loaded.anatomy.connector.parameters.items():
        torch.testing.assert_close(mine[name], parameter, rtol=1e-4, atol=1e-5)


def test_fusions_are_their_formulas() -> None:
    random = np.random.default_rng(0)
    base = {"a": random.normal(size=(8, 5)), "b": random.normal(size=7)}
    tuned = {name: value + random.normal(size=value.shape) for name, value in base.items()}
    tensors = [{name: torch.from_numpy(v).float() for name, v in x.items()} for x in (base, tuned)]

    wise = make_fusion("wise_ft", {"alpha": 0.3}).fuse(tensors[0], tensors[1], torch.Generator())
    for name in base:
        np.testing.assert_allclose(wise[name], 0.7 * base[name] + 0.3 * tuned[name], rtol=1e-4, atol=1e-6)

    dare = make_fusion("dare", {"drop": 0.6}).fuse(tensors[0], tensors[1], torch.Generator().manual_seed(1))
    for name in base:
        change = (dare[name].numpy() - base[name]) / (tuned[name] - base[name])
        kept = change > 1
        np.testing.assert_allclose(change[kept], 2.5, rtol=1e-3)
        np.testing.assert_allclose(change[~kept], 0, atol=1e-4)
    assert 0 < sum((dare[name].numpy() == tensors[0][name].numpy()).sum() for name in base) < 47

    ties = make_fusion("ties", {"keep": 0.2, "strength": 1.5}).fuse(tensors[0], tensors[1], torch.Generator())
    sizes = np.sort(np.concatenate([np.abs(tuned[n] - base[n]).ravel() for n in base]))[::-1]
    threshold = sizes[round(0.2 * sizes.size) - 1]
    for name in base:
        change = tuned[name] - base[name]
        expected = base[name] + 1.5 * change * (np.abs(change) >= threshold - 1e-7)
        np.testing.assert_allclose(ties[name], expected, rtol=1e-4, atol=1e-6)


def test_l2_sp_pulls_with_half_the_squared_distance(tiny_llava: Path) -> None:
    keep = [{"stabiliser": "l2_sp", "strength": 0.5}]
    trained = run(tiny_llava, {"connector": {"method": "full", "lr": 1e-2}}, keep=keep, steps=2)
    base = load_model(str(tiny_llava)).anatomy.connector.parameters
    now = trained.loaded.anatomy.connector.parameters
    expected = sum(0.25 * float(((now[name] - base[name]) ** 2).sum()) for name in base)
    penalty = trained.recipe.penalty(0)
    assert penalty is not None and float(penalty) == pytest.approx(expected, rel=1e-5)
    assert isinstance(next(iter(now.values())), nn.Parameter)
