"""Every fusion against its formula in NumPy, in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import holdfast.methods.fusion.base as contract
from holdfast.errors import HoldfastError
from holdfast.methods.fusion.base import InMemory, pieces
from holdfast.methods.fusion.fisher import FisherAveraging, diagonal_fisher
from holdfast.methods.fusion.model_tailor import Patch, tailor
from holdfast.methods.fusion.threshold import thresholds
from holdfast.methods.registry import FUSIONS, make_fusion

Arrays = dict[str, NDArray[np.float64]]


def make(seed: int, like: Arrays | None = None) -> Arrays:
    random = np.random.default_rng(seed)
    shapes = {"b": (7,), "a": (8, 5), "c": (3, 2, 4)}
    own = {name: random.normal(size=shape).astype(np.float32).astype(np.float64) for name, shape in shapes.items()}
    return own if like is None else {name: (like[name] + own[name]).astype(np.float32) * 1.0 for name in own}


BASE = make(0)
EXPERTS = [make(seed, BASE) for seed in (1, 2, 3)]


def tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.asarray(value)).float() for name, value in arrays.items()}


def run(name: str, experts: list[Arrays], seed: int = 0, **options: object) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return make_fusion(name, options).fuse(tensors(BASE), [tensors(e) for e in experts], generator)


def changes(expert: Arrays) -> Arrays:
    return {name: expert[name] - BASE[name] for name in BASE}


def close(found: dict[str, torch.Tensor], wanted: Arrays) -> None:
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(found[name].numpy(), wanted[name], rtol=1e-5, atol=1e-6)


def largest(values: NDArray[np.float64], share: float) -> float:
    """Brute force: the smallest of the ``share`` of largest sizes."""
    return float(np.sort(np.abs(values))[::-1][max(1, round(share * values.size)) - 1])


def flat(arrays: Arrays) -> NDArray[np.float64]:
    return np.concatenate([value.ravel() for value in arrays.values()])


def test_wise_ft_and_task_arithmetic() -> None:
    close(run("wise_ft", EXPERTS[:1], alpha=0.3), {n: 0.7 * BASE[n] + 0.3 * EXPERTS[0][n] for n in BASE})
    wanted = {n: BASE[n] + 0.4 * sum(changes(expert)[n] for expert in EXPERTS) for n in BASE}
    close(run("task_arithmetic", EXPERTS, strength=0.4), wanted)


def test_magnitude_drops_the_smallest_of_every_tensor() -> None:
    for rescale in (False, True):
        wanted = {}
        for name, change in changes(EXPERTS[0]).items():
            kept = np.where(np.abs(change) >= largest(change.ravel(), 0.3) - 1e-7, change, 0)
            wanted[name] = BASE[name] + kept / (0.3 if rescale else 1)
        close(run("magnitude", EXPERTS[:1], drop=0.7, rescale=rescale), wanted)


def test_dare_keeps_its_share_rescaled_and_the_mean() -> None:
    base = {"w": torch.zeros(200_000)}
    tuned = {"w": torch.full((200_000,), 0.001)}
    fused = make_fusion("dare", {"drop": 0.9}).fuse(base, tuned, torch.Generator().manual_seed(5))["w"]
    values, counts = fused.unique(return_counts=True)
    np.testing.assert_allclose(values, [0, 0.01], rtol=1e-5)
    assert abs(counts[1].item() / 200_000 - 0.1) < 5 * np.sqrt(0.09 / 200_000)
    one, other = (run("dare", EXPERTS[:1], seed=seed, drop=0.5) for seed in (1, 2))
    assert any(not torch.equal(one[n], other[n]) for n in one)
    again = run("dare", EXPERTS[:1], seed=1, drop=0.5)
    assert all(torch.equal(one[n], again[n]) for n in one)
    whole = run("dare", EXPERTS, drop=0.0)
    close(whole, {n: BASE[n] + sum(changes(e)[n] for e in EXPERTS) for n in BASE})


def ties(experts: list[Arrays], keep: float, strength: float) -> Arrays:
    """Trim, elect, disjoint mean on the flat vectors, as the paper writes it."""
    deltas = []
    for expert in experts:
        delta = flat(changes(expert))
        deltas.append(np.where(np.abs(delta) >= largest(delta, keep) - 1e-9, delta, 0))
    stacked = np.stack(deltas)
    signs = np.sign(stacked.sum(axis=0))
    signs[signs == 0] = np.sign(signs.sum())
    merged = np.zeros(stacked.shape[1])
    for column in range(stacked.shape[1]):
        agreeing = [v for v in stacked[:, column] if v != 0 and np.sign(v) == signs[column]]
        merged[column] = np.mean(agreeing) if agreeing else 0
    result, begin = {}, 0
    for name, value in BASE.items():
        result[name] = value + strength * merged[begin : begin + value.size].reshape(value.shape)
        begin += value.size
    return result


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("keep", [0.05, 0.2, 0.6, 1.0])
def test_ties_trims_elects_and_averages(count: int, keep: float) -> None:
    close(run("ties", EXPERTS[:count], keep=keep, strength=0.7), ties(EXPERTS[:count], keep, 0.7))


def test_ties_can_trim_every_tensor_on_its_own() -> None:
    found = run("ties", EXPERTS[:1], keep=0.3, per_tensor=True)
    kept = {}
    for name, delta in changes(EXPERTS[0]).items():
        kept[name] = BASE[name] + np.where(np.abs(delta) >= largest(delta.ravel(), 0.3) - 1e-9, delta, 0)
    close(found, kept)
    together = run("ties", EXPERTS[:1], keep=0.3)
    assert any(not torch.equal(found[name], together[name]) for name in found)


def test_ties_gives_cancelling_changes_to_the_sign_of_the_majority() -> None:
    base = {"w": torch.zeros(4)}
    tuned = [{"w": torch.tensor([1.0, 2, 3, 4])}, {"w": torch.tensor([-1.0, 2, 3, -1])}]
    fused = make_fusion("ties", {"keep": 1.0}).fuse(base, tuned, torch.Generator())["w"]
    assert fused.tolist() == [1, 2, 3, 4]
    tuned = [{"w": torch.tensor([1.0, -2, -3, 4])}, {"w": torch.tensor([-1.0, -2, -3, -9])}]
    fused = make_fusion("ties", {"keep": 1.0}).fuse(base, tuned, torch.Generator())["w"]
    assert fused.tolist() == [-1, -2, -3, -9]


def test_fisher_weighs_each_model_by_its_information() -> None:
    random = np.random.default_rng(9)
    information = [{n: random.exponential(size=v.shape) for n, v in BASE.items()} for _ in range(3)]
    information[1]["b"][:] = 0
    information[0]["b"][:] = 0
    for normalise in (False, True):
        fusion = make_fusion("fisher", {"weight": 0.8, "floor": 1e-6, "normalise": normalise})
        assert isinstance(fusion, FisherAveraging)
        fusion.inform(tensors(information[0]), [tensors(i) for i in information[1:]])
        found = fusion.fuse(tensors(BASE), [tensors(e) for e in EXPERTS[:2]], torch.Generator())
        scale = [1 / np.sqrt((flat(i) ** 2).sum()) if normalise else 1.0 for i in information]
        wanted = {}
        for name in BASE:
            rows = [scale[0] * information[0][name]]
            rows += [0.8 * np.maximum(scale[k] * information[k][name], 1e-6) for k in (1, 2)]
            models = [BASE[name], EXPERTS[0][name], EXPERTS[1][name]]
            wanted[name] = sum(r * m for r, m in zip(rows, models, strict=True)) / sum(rows)
        close(found, wanted)


def test_a_fisher_of_a_linear_model_is_the_mean_squared_gradient() -> None:
    layer = torch.nn.Linear(3, 1, bias=False)
    inputs = [torch.randn(1, 3, generator=torch.Generator().manual_seed(k)) for k in range(4)]

    def loss(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return layer(batch["x"]).square().sum() / 2

    found = diagonal_fisher({"w": layer.weight}, [{"x": x} for x in inputs], loss)["w"]
    weight = layer.weight.detach().numpy().ravel()
    rows = [x.numpy().ravel() * (x.numpy().ravel() @ weight) for x in inputs]
    np.testing.assert_allclose(found.numpy().ravel(), np.mean(np.square(rows), axis=0), rtol=1e-5)


def tailor_by_columns(base, tuned, hessian, sparsity, block, mix, sign):  # type: ignore[no-untyped-def]
    """The recipe with an explicit inverse and plain loops over single weights; the change is looked at once."""
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    weights, change = tuned.copy(), np.abs(tuned - base)
    rows, columns = weights.shape
    for begin in range(0, columns, block):
        end = min(begin + block, columns)
        w = weights[:, begin:end]
        diagonal = np.diag(upper)[begin:end]

        def z(values):  # type: ignore[no-untyped-def]
            return (values - values.mean(1, keepdims=True)) / values.std(1, ddof=1, keepdims=True)

        score = mix * z(change[:, begin:end]) + (1 - mix) * z(w**2 / diagonal**2)
        order = np.sort(score.ravel())
        limit = order[round(sparsity * score.size) - 1]
        dropped = score <= limit
        for column in range(begin, end):
            for row in range(rows):
                value = base[row, column] if dropped[row, column - begin] else weights[row, column]
                error = (weights[row, column] - value) / upper[column, column]
                weights[row, column] = value
                for later in range(column + 1, columns):
                    weights[row, later] += sign * error * upper[column, later]
    return weights


@pytest.mark.parametrize(("compensate", "sign"), [("release", 1.0), ("surgeon", -1.0), ("none", 0.0)])
def test_model_tailor_is_its_recipe(compensate: str, sign: float) -> None:
    random = np.random.default_rng(4)
    inputs = random.normal(size=(40, 15))
    hessian = 2 / 5 * inputs.T @ inputs
    hessian += 0.01 * np.diag(hessian).mean() * np.eye(15)
    base = random.normal(size=(6, 15))
    tuned = base + 0.1 * random.normal(size=(6, 15))
    options = Patch(sparsity=0.75, block=5, salience=0.4, compensate=compensate)  # type: ignore[arg-type]
    found = tailor(*(torch.from_numpy(array) for array in (base, tuned, hessian)), options)
    wanted = tailor_by_columns(base, tuned, hessian, 0.75, 5, 0.4, sign)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-8, atol=1e-10)
    if compensate == "none":
        # Each block of 5 columns by 6 rows keeps what its sparsity leaves.
        assert (found.numpy() != base).sum() == 3 * (30 - round(0.75 * 30))


def test_the_surgeons_compensation_serves_the_layers_output() -> None:
    """With the sign of optimal brain surgery the patched layer's output is nearer to the tuned layer's."""
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 32, generator=random) @ torch.randn(32, 32, generator=random)
    base = torch.randn(16, 32, generator=random)
    tuned = base + 0.2 * torch.randn(16, 32, generator=random)
    hessian = 2 * inputs.T @ inputs
    hessian += 0.01 * hessian.diagonal().mean() * torch.eye(32)
    off = {}
    for compensate in ("none", "surgeon"):
        new = tailor(base, tuned, hessian, Patch(sparsity=0.3, compensate=compensate))
        off[compensate] = float((inputs @ (new - tuned).T).square().mean())
    assert off["surgeon"] < 0.7 * off["none"]


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.97, 1.0])
def test_the_streamed_threshold_is_the_exact_order_statistic(share: float) -> None:
    random = torch.Generator().manual_seed(3)
    base = {"x": torch.zeros(500), "y": torch.zeros(4, 100), "same": torch.zeros(50)}
    tuned = {"x": torch.randn(500, generator=random) * 1e-3, "y": torch.randn(4, 100, generator=random),
             "same": torch.zeros(50)}  # fmt: skip
    tuned["y"][0, :30] = 0.25  # equal values
    names = (InMemory(base), [InMemory(tuned)])
    whole = thresholds(lambda: pieces(*names), share, per_tensor=False)
    everything = np.concatenate([tuned["x"].numpy().ravel(), tuned["y"].numpy().ravel()])
    assert whole("x", 0) == pytest.approx(largest(everything, share), abs=0)
    by_tensor = thresholds(lambda: pieces(*names), share, per_tensor=True)
    for name in ("x", "y"):
        assert by_tensor(name, 0) == largest(tuned[name].numpy().ravel(), share)


@pytest.mark.parametrize("name", sorted(n for n, k in FUSIONS.all().items() if not k.needs_data and n != "fisher"))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_changed_means_nothing_fused_and_dtypes_stay(name: str, dtype: torch.dtype) -> None:
    base = {n: t.to(dtype) for n, t in tensors(BASE).items()}
    fused = make_fusion(name, {}).fuse(base, {n: t.clone() for n, t in base.items()}, torch.Generator())
    for n in base:
        assert fused[n].dtype == dtype and torch.equal(fused[n], base[n])


def test_the_size_of_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {name: run(name, EXPERTS[:1]) for name in ("wise_ft", "dare", "ties", "magnitude", "task_arithmetic")}
    several = run("ties", EXPERTS)
    monkeypatch.setattr(contract, "PIECE", 6)
    for name, fused in whole.items():
        again = run(name, EXPERTS[:1])
        assert all(torch.equal(fused[n], again[n]) for n in fused), name
    again = run("ties", EXPERTS)
    assert all(torch.equal(several[n], again[n]) for n in several)


def test_every_fusion_has_a_card() -> None:
    assert {"wise_ft", "dare", "ties", "magnitude", "task_arithmetic", "fisher", "model_tailor"} <= set(FUSIONS.names())
    for name, kind in FUSIONS.all().items():
        card = kind.card
        assert card.name == name and card.paper.startswith("arXiv ") and card.official_code and (card.year or 0) > 2020
        assert (kind.__doc__ or "").strip()


def test_mistakes_are_one_sentence() -> None:
    with pytest.raises(HoldfastError, match=r"takes 1 tuned model, and 2 were given.*ties"):
        run("wise_ft", EXPERTS[:2])
    with pytest.raises(HoldfastError, match="Fisher information"):
        run("fisher", EXPERTS[:1])
    with pytest.raises(HoldfastError, match="looks at training examples"):
        run("model_tailor", EXPERTS[:1])
    with pytest.raises(HoldfastError, match="Did you mean 'ties'"):
        make_fusion("tie", {})
    broken = {n: t.clone() for n, t in tensors(EXPERTS[0]).items()}
    broken["b"][3] = float("nan")
    with pytest.raises(HoldfastError, match="'b' of a tuned model holds values that are not finite"):
        make_fusion("ties", {}).fuse(tensors(BASE), broken, torch.Generator())
    with pytest.raises(HoldfastError, match="'a' is not the same tensor"):
        make_fusion("wise_ft", {}).fuse(tensors(BASE), {"a": torch.zeros(2, 2)}, torch.Generator())
