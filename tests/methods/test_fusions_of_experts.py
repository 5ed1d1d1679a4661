"""Fusions of what several experts share, each against its formula in NumPy; the learned graft against a dense loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import holdfast.methods.fusion.base as contract
from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Context
from holdfast.methods.experts import choose, written
from holdfast.methods.fusion.base import InMemory, pieces
from holdfast.methods.fusion.threshold import order_statistics
from holdfast.methods.recipe import Recipe
from holdfast.methods.registry import FUSIONS, make_fusion

from .test_fusions import BASE, EXPERTS, Arrays, changes, close, flat, run
from .test_options import another


def divided(vector: NDArray[np.float64]) -> Arrays:
    """A flat vector as arrays of the base's shapes."""
    result, begin = {}, 0
    for name, value in BASE.items():
        result[name] = vector[begin : begin + value.size].reshape(value.shape)
        begin += value.size
    return result


def clamped(rows: NDArray[np.float64], low: int, high: int) -> NDArray[np.float64]:
    """Each row cut at its own order statistics."""
    ordered = np.sort(rows, axis=1)
    return np.clip(rows, ordered[:, [low]], ordered[:, [high]])


def over_range(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = rows.min(1, keepdims=True), rows.max(1, keepdims=True)
    return np.asarray((rows - low) / (high - low))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("keep", [0.1, 0.6])
def test_pcb_lets_changes_compete(count: int, keep: float) -> None:
    stacked = np.stack([flat(changes(expert)) for expert in EXPERTS[:count]])
    size = stacked.shape[1]
    sizes = clamped(np.abs(stacked), int(size * 1e-4), int(size * (1 - 1e-4) - 1))
    score = np.exp(count * over_range(sizes) ** 2) * np.tanh(stacked * stacked.sum(0))
    scale = over_range(clamped(score, int(size * (1 - keep)), size - 1))
    merged = (np.sign(stacked) * sizes * scale).sum(0) / np.maximum(scale.sum(0), 1e-12)
    change = divided(merged)
    close(run("pcb", EXPERTS[:count], keep=keep, strength=0.9), {n: BASE[n] + 0.9 * change[n] for n in BASE})
    assert 0 < (merged != 0).mean() <= min(1.0, 1.1 * count * keep)


def low_rank(matrix: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray((left[:, :k] * values[:k]) @ right[:k])


@pytest.mark.parametrize("count", [1, 3])
def test_cart_truncates_around_the_average(count: int) -> None:
    wanted = {}
    for name in BASE:
        several = np.stack([expert[name] for expert in EXPERTS[:count]])
        centre = several.mean(0) if count > 1 else BASE[name]
        wanted[name] = several.mean(0)
        if BASE[name].ndim == 2:  # 8 x 5 at a rank of 0.5: two triplets
            wanted[name] = centre + 0.7 * sum(low_rank(expert[name] - centre, 2) for expert in EXPERTS[:count])
    close(run("cart", EXPERTS[:count], rank=0.5, strength=0.7), wanted)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_emr_elects_masks_and_rescales(count: int) -> None:
    for place in range(count):
        shared, own, masked = {}, 0.0, 0.0
        for name in BASE:
            deltas = [changes(expert)[name] for expert in EXPERTS[:count]]
            result, sums = np.zeros(BASE[name].size), np.sum(deltas, axis=0).ravel()
            for i in range(BASE[name].size):
                values = [delta.ravel()[i] for delta in deltas]
                sign = 1 if sums[i] > 0 else -1
                if values[place] * sign > 0:
                    result[i] = sign * max(abs(v) for v in values if v * sign > 0)
            shared[name] = result.reshape(BASE[name].shape)
            own, masked = own + np.abs(deltas[place]).mean(), masked + np.abs(result).mean()
        wanted = {n: BASE[n] + own / masked * shared[n] for n in BASE}
        close(run("emr", EXPERTS[:count], expert=place + 1), wanted)
    if count == 1:
        close(run("emr", EXPERTS[:1]), EXPERTS[0])
    with pytest.raises(HoldfastError, match=f"asked for expert {count + 1} of {count}"):
        run("emr", EXPERTS[:count], expert=count + 1)


@pytest.mark.parametrize("thin", ["svd", "magnitude"])
def test_twin_merging_adds_thinned_exclusive_vectors(thin: str) -> None:
    weights, wanted = (0.2, 0.0, 0.8), {}
    for name in BASE:
        shared = BASE[name] + 0.3 * sum(changes(expert)[name] for expert in EXPERTS)
        wanted[name] = shared
        for weight, expert in zip(weights, EXPERTS, strict=True):
            vector = expert[name] - shared
            if vector.ndim > 1 and thin == "svd":  # 8 x 5 keeps 2 of 5 triplets, 3 x 8 keeps 1 of 3
                matrix = vector.reshape(len(vector), -1)
                vector = low_rank(matrix, int(0.4 * min(matrix.shape))).reshape(vector.shape)
            elif vector.ndim > 1:
                least = np.sort(np.abs(vector).ravel())[::-1][int(0.4 * vector.size) - 1]
                vector = np.where(np.abs(vector) >= least, vector, 0)
            wanted[name] = wanted[name] + weight * vector
    close(run("twin_merging", EXPERTS, scaling=0.3, drop=0.6, thin=thin, weights=weights), wanted)


def test_twin_merging_draws_and_rescales() -> None:
    base, tuned = {"w": torch.zeros(100, 200)}, {"w": torch.ones(100, 200)}
    options = {"thin": "bernoulli", "drop": 0.75, "scaling": 0.0}
    fused = make_fusion("twin_merging", options).fuse(base, tuned, torch.Generator().manual_seed(1))["w"]
    values, counts = fused.unique(return_counts=True)
    assert values.tolist() == [0, 4] and abs(int(counts[1]) / 20_000 - 0.25) < 5 * np.sqrt(0.1875 / 20_000)
    whole = make_fusion("twin_merging", {"drop": 0.0}).fuse(base, tuned, torch.Generator())["w"]
    torch.testing.assert_close(whole, tuned["w"])
    with pytest.raises(HoldfastError, match="2 weights for 1 tuned models"):
        make_fusion("twin_merging", {"weights": (0.5, 0.5)}).fuse(base, tuned, torch.Generator())


FORMS: list[tuple[str, dict[str, Any]]] = [("emr", {}), ("twin_merging", {"drop": 0.6})]


def kept_apart(name: str, options: dict[str, Any], dtype: torch.dtype) -> tuple[Artifact, dict[str, torch.Tensor]]:
    """What three experts share and have of their own as an artifact, and their base."""
    base, *tuned = ({n: torch.tensor(v).to(dtype) for n, v in each.items()} for each in (BASE, *EXPERTS))
    fusion = make_fusion(name, options)
    tensors = fusion.divide(base, tuned)
    facts = {"names": ["a", "b", "c"], "weights": list(fusion.weights), "scales": list(fusion.scales)}
    return Artifact("llm", "full", {}, tensors, {"experts": facts}), base


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_one_artifact_gives_the_weights_of_any_expert(name: str, options: dict[str, Any]) -> None:
    """Bit for bit those of a fusion that was asked for that expert."""
    artifact, base = kept_apart(name, options, torch.float32)
    tuned = [{n: torch.tensor(v).float() for n, v in expert.items()} for expert in EXPERTS]
    for place in range(3):
        one = {"expert": place + 1} if name == "emr" else {"weights": tuple(float(place == i) for i in range(3))}
        wanted = make_fusion(name, {**options, **one}).fuse(base, tuned, torch.Generator())
        (chosen,) = choose([artifact], place + 1)
        found = written(chosen, base)
        assert found.keys() == wanted.keys() and all(torch.equal(found[n], wanted[n]) for n in wanted)
    default = make_fusion(name, options).fuse(base, tuned, torch.Generator())
    assert all(torch.equal(tensor, default[n]) for n, tensor in written(artifact, base).items())
    with pytest.raises(HoldfastError, match=r"no expert 4.*1 \(a\), 2 \(b\), 3 \(c\)"):
        choose([artifact], 4)
    with pytest.raises(HoldfastError, match="one set of weights"):
        choose([Artifact("llm", "full", {}, dict(base))], 1)
    with pytest.raises(HoldfastError, match="which this model does not have"):
        written(artifact, {n: torch.zeros(2) for n in base})


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_half_precision_stays_half(name: str, options: dict[str, Any]) -> None:
    artifact, base = kept_apart(name, options, torch.bfloat16)
    tuned = [{n: torch.tensor(v).bfloat16() for n, v in expert.items()} for expert in EXPERTS]
    wanted = make_fusion(name, options).fuse(base, tuned, torch.Generator())
    for n, tensor in written(artifact, base).items():
        assert tensor.dtype == artifact.tensors[f"{n}:shared"].dtype == torch.bfloat16
        assert float((tensor.float() - wanted[n].float()).abs().max()) <= 2**-7 * float(wanted[n].abs().max())


def test_what_does_not_go_with_the_number_of_experts_is_refused_before_step_one() -> None:
    for fusion, words in (
        ({"method": "emr", "expert": 3}, "expert 3 of 2"),
        ({"method": "twin_merging", "weights": [1]}, "1 weights"),
    ):
        with pytest.raises(HoldfastError, match=words):
            Recipe(load_config({"tune": {"llm": "full"}, "fuse": {**fusion, "experts": ["runs/other"]}}))


def test_masks_take_a_bit_a_weight() -> None:
    base = {"w": torch.zeros(64, 64)}
    tuned = [{"w": torch.randn(64, 64, generator=torch.Generator().manual_seed(seed))} for seed in range(8)]
    stored = make_fusion("emr", {}).divide(base, tuned)
    assert sum(t.numel() * t.element_size() for t in stored.values()) == 64 * 64 * (4 + 1)


def test_order_statistics_of_signed_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "PIECE", 64)
    random = torch.Generator().manual_seed(0)
    values = torch.cat([torch.randn(300, generator=random), torch.zeros(20), -torch.zeros(5), torch.full((40,), -0.25)])
    sources = InMemory({"w": torch.zeros_like(values)}), [InMemory({"w": values}), InMemory({"w": -values})]
    ranks = [lambda n: 0, lambda n: n - 1, lambda n: n // 2, lambda n: int(0.37 * n)]
    found = order_statistics(lambda: pieces(*sources), lambda piece: piece.changes, ranks)
    for row, sign in zip(found, (1, -1), strict=True):
        ordered = (sign * values).sort().values
        assert row == [float(ordered[rank(len(values))]) for rank in ranks]


@pytest.mark.parametrize("name", ["pcb", "emr"])
def test_pieces_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(name, EXPERTS)
    monkeypatch.setattr(contract, "PIECE", 6)
    assert all(torch.allclose(tensor, whole[n], rtol=1e-6, atol=0) for n, tensor in run(name, EXPERTS).items())


@pytest.mark.parametrize("name", ["pcb", "cart", "emr", "twin_merging"])
def test_what_no_expert_changed_stays(name: str) -> None:
    base = {"a": torch.full((3, 3), 0.1), "b": torch.full((3, 3), 0.1)}
    noise = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0))
    tuned = [{"a": base["a"] + own, "b": base["b"].clone()} for own in noise]
    fused = make_fusion(name, {}).fuse(base, tuned, torch.Generator())
    assert torch.equal(fused["b"], base["b"]) and not torch.equal(fused["a"], base["a"])


class Regression:
    """A linear model of two layers wider than one block, and three batches of a target."""

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(3)
        self.model = nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 2))
        self.base = {n: torch.randn(p.shape, generator=random) * 0.3 for n, p in self.model.named_parameters()}
        self.tuned = {n: t + 0.2 * torch.randn(t.shape, generator=random) for n, t in self.base.items()}
        self.data = [torch.randn(6, 12, generator=random) for _ in range(3)]
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.tuned[name]).requires_grad_(False)

    def context(self) -> Context:
        def batches(count: int, *, of: str = "train", size: int | None = None) -> Iterator[Any]:
            yield from self.data[:count]

        return Context(torch.Generator().manual_seed(5), batches, self.loss)

    def loss(self, batch: Any) -> torch.Tensor:
        return self.loss_of(dict(self.model.named_parameters()), batch)

    def loss_of(self, weights: dict[str, torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
        target = torch.tanh(batch[:, :2] + batch[:, 2:4])
        return (torch.func.functional_call(self.model, weights, batch) - target).square().mean()


def test_grafting_learns_its_mask() -> None:
    problem, options = Regression(), {"keep": 0.1, "steps": 4, "batches": 3, "lr": 400.0, "bias": 2.0}
    deltas = {n: problem.tuned[n] - problem.base[n] for n in problem.base}
    least = torch.cat([d.abs().view(-1) for d in deltas.values()]).sort(descending=True).values
    least = least[round(0.1 * len(least)) - 1]
    first = {n: (d.abs() >= least).float() for n, d in deltas.items()}
    random = torch.Generator().manual_seed(5)
    logits = {n: torch.rand(d.shape, generator=random).requires_grad_() for n, d in deltas.items()}
    losses: list[float] = []
    masks: list[dict[str, torch.Tensor]] = []
    for _ in range(5):
        soft = {n: m + (1 - 2 * m) * torch.sigmoid(logits[n] - 2.0) for n, m in first.items()}
        masks.append({n: m.detach().round() for n, m in soft.items()})
        rounded = {n: problem.base[n] + masks[-1][n] * deltas[n] for n in deltas}
        losses.append(float(sum(problem.loss_of(rounded, x) for x in problem.data) / 3))
        grafted = {n: problem.base[n] + soft[n] * deltas[n] for n in deltas}
        loss = torch.stack([problem.loss_of(grafted, x) for x in problem.data]).mean()
        gradients = torch.autograd.grad(loss, list(logits.values()))
        for (n, logit), gradient in zip(list(logits.items()), gradients, strict=True):
            logits[n] = (logit.detach() - 400.0 * gradient).requires_grad_()
    best = masks[int(np.argmin(losses))]
    assert losses[-1] != losses[0] and any(not torch.equal(best[n], first[n]) for n in first)
    fusion = make_fusion("grafting", options)
    fusion.observe_tuned(problem.model, problem.base, list(problem.base), problem.context())
    found = fusion.fuse(problem.base, problem.tuned, torch.Generator())
    for name in best:
        torch.testing.assert_close(found[name], problem.base[name] + best[name] * deltas[name])
    problem, plain = Regression(), make_fusion("grafting", options | {"steps": 0})
    plain.observe_tuned(problem.model, problem.base, list(problem.base), problem.context())
    kept = plain.fuse(problem.base, problem.tuned, torch.Generator())
    assert all(torch.allclose(kept[n], problem.base[n] + first[n] * deltas[n]) for n in first)


def test_grafting_says_what_it_lacks(tmp_path: Path) -> None:
    problem = Regression()
    fusion = make_fusion("grafting", {})
    with pytest.raises(HoldfastError, match="needs target examples"):
        fusion.observe_tuned(problem.model, problem.base, list(problem.base), None)
    with pytest.raises(HoldfastError, match="two folders of weights do not have"):
        fusion.fuse(problem.base, problem.tuned, torch.Generator())


FUSED = {name: kind for name, kind in FUSIONS.all().items() if not kind.needs_data and name != "fisher"}
VALUES: dict[tuple[str, str], Any] = {("twin_merging", "weights"): (1.0, 0.0, 0.0), ("cart", "rank"): 0.9}


@pytest.mark.parametrize(("name", "option"), [(n, o) for n, kind in FUSED.items() for o in kind.Settings.model_fields])
def test_every_option_of_a_fusion_acts(name: str, option: str) -> None:
    experts = EXPERTS if FUSED[name].experts is None else EXPERTS[:1]
    field = FUSED[name].Settings.model_fields[option]
    value = VALUES.get((name, option), another(field, field.default))
    value = field.default / 2 if isinstance(value, float) and value >= 1 else value
    before, after = run(name, experts), run(name, experts, **{option: value})
    assert any(not torch.equal(before[n], after[n]) for n in before)
