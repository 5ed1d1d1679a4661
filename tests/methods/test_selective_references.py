"""What selective methods choose and how they step, each from its formula in plain torch or NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.methods.contract import Context
from holdfast.methods.registry import make_method
from holdfast.training.batches import Stream
from holdfast.training.loss import mean_loss
from holdfast.training.pools import Pools
from tests.support.methods import examples, fresh, run

from .test_sparse import context

PLAIN: dict[str, Any] = {"weight_decay": 0.0, "clip": None, "schedule": "constant", "warmup": 0.0}


def matrices(loaded: Any) -> dict[str, torch.nn.Parameter]:
    """Attention and MLP of the llm."""
    kinds = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    names = loaded.anatomy.llm.parameters
    return {name: p for name, p in names.items() if name.split(".")[-2] in kinds}


def gradients(loaded: Any, size: int, count: int) -> Iterator[dict[str, Tensor]]:
    """Dense gradients of the mean answer loss, batch after batch of the training stream."""
    parameters = matrices(loaded)
    loaded.model.requires_grad_(False)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    stream = Stream(examples(), size, 1, 0)
    for step in range(count):
        loaded.model.zero_grad()
        batch = loaded.chat.encode(next(stream.step(step)), with_answers=True)
        loaded.model(**batch).loss.backward()  # transformers' own loss: the mean over answer tokens
        yield {name: p.grad.clone() for name, p in parameters.items()}  # type: ignore[union-attr]
    loaded.model.zero_grad()
    loaded.model.requires_grad_(False)


def chosen(method: str, tiny: Path, **options: Any) -> dict[str, set[int]]:
    loaded = fresh(tiny)
    loaded.model.requires_grad_(False)
    made = make_method(method, options)
    made.attach(loaded.anatomy.llm, context(loaded))
    return {name: set(entry.index.tolist()) for name, entry in made.selected.items()}  # type: ignore[attr-defined]


def highest(score: Tensor, count: int) -> set[int]:
    return set(np.argsort(-score.double().numpy().ravel(), kind="stable")[:count].tolist())


def highest_overall(score: dict[str, Tensor], count: int) -> dict[str, set[int]]:
    owners = [(name, place) for name, total in score.items() for place in range(total.numel())]
    flat = torch.cat([total.reshape(-1) for total in score.values()])
    best: dict[str, set[int]] = {name: set() for name in score}
    for place in highest(flat, count):
        name, inside = owners[place]
        best[name].add(inside)
    return {name: places for name, places in best.items() if places}


def same(one: dict[str, set[int]], other: dict[str, set[int]]) -> bool:
    """Equal but for ties within rounding: at most one entry in five hundred."""
    assert one.keys() == other.keys()
    different = sum(len(one[name] ^ other[name]) for name in one)
    return different <= sum(len(places) for places in one.values()) / 250


def test_gradient_mask_ranks_the_summed_gradient(tiny_llava: Path) -> None:
    total: dict[str, Tensor] = {}
    for found in gradients(fresh(tiny_llava), 2, 4):
        total = {name: total.get(name, 0) + g for name, g in found.items()}
    expected = {name: highest(t.abs(), round(0.1 * t.numel())) for name, t in total.items()}
    assert same(chosen("gradient_mask", tiny_llava, ratio=0.1, batches=4, batch_size=2), expected)


def test_sift_ranks_the_first_gradient(tiny_llava: Path) -> None:
    [first] = gradients(fresh(tiny_llava), 8, 1)
    expected = {name: highest(g.abs(), int(0.1 * g.numel()) + 1) for name, g in first.items()}
    assert same(chosen("sift", tiny_llava, ratio=0.1, batch_size=8), expected)


def test_gps_takes_the_same_number_of_every_row(tiny_llava: Path) -> None:
    total: dict[str, Tensor] = {}
    for found in gradients(fresh(tiny_llava), 8, 1):
        total = {name: total.get(name, 0) + g for name, g in found.items()}
    expected = {
        name: {row * g.shape[1] + place for row in range(len(g)) for place in highest(g[row].abs(), 3)}
        for name, g in total.items()
    }
    assert same(chosen("gps", tiny_llava, per_row=3, batches=1, batch_size=8), expected)


def test_fish_squares_the_gradient_of_each_example(tiny_llava: Path) -> None:
    total: dict[str, Tensor] = {}
    for found in gradients(fresh(tiny_llava), 1, 8):
        total = {name: total.get(name, 0) + g**2 for name, g in found.items()}
    count = round(0.05 * sum(t.numel() for t in total.values()))
    assert same(chosen("fish_mask", tiny_llava, ratio=0.05, samples=8), highest_overall(total, count))
    # Squares of batch means, which are something else, would not pass for it.
    [mean] = gradients(fresh(tiny_llava), 8, 1)
    other = highest_overall({name: g**2 for name, g in mean.items()}, count)
    assert other.keys() != chosen("fish_mask", tiny_llava, ratio=0.05, samples=8).keys() or not same(
        chosen("fish_mask", tiny_llava, ratio=0.05, samples=8), other
    )


def test_child_tuning_d_squares_clipped_batch_gradients(tiny_llava: Path) -> None:
    total: dict[str, Tensor] = {}
    limit, clipped = 0.02, 0
    for found in gradients(fresh(tiny_llava), 4, 2):
        for name, g in found.items():
            norm = float(np.linalg.norm(g.double().numpy()))
            clipped += norm > limit
            total[name] = total.get(name, 0) + (g * min(1.0, limit / (norm + 1e-6))) ** 2 / 2
    assert 0 < clipped < 2 * len(total), "the clipping has to matter"
    count = round(0.3 * sum(t.numel() for t in total.values()))
    found_places = chosen("child_tuning_d", tiny_llava, batches=2, batch_size=4, clip=limit)
    assert same(found_places, highest_overall(total, count))


def test_lottery_ticket_rewinds_and_keeps_what_moved_most(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    base = {name: p.detach().clone() for name, p in matrices(loaded).items()}
    loaded.model.requires_grad_(False)
    for parameter in matrices(loaded).values():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(matrices(loaded).values(), lr=1e-2, weight_decay=0.0)
    stream = Stream(examples(), 4, 1, 0)
    for step in range(6):
        mean_loss(loaded.model, loaded.chat.encode(next(stream.step(step)), with_answers=True)).backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = {name: (p.detach() - base[name]).abs() for name, p in matrices(loaded).items()}
    count = round(0.02 * sum(t.numel() for t in moved.values()))
    other = fresh(tiny_llava)
    method = make_method("lt_sft", {"ratio": 0.02, "first_steps": 6})
    method.attach(other.anatomy.llm, context(other))
    places = {name: set(entry.index.tolist()) for name, entry in method.selected.items()}  # type: ignore[attr-defined]
    assert same(places, highest_overall(moved, count))
    for name, parameter in matrices(other).items():
        assert torch.equal(parameter, base[name]), "not rewound"


def adamw(weight: np.ndarray, gradient: np.ndarray, state: dict[str, Any], lr: float) -> np.ndarray:
    """The update that AdamW without decay subtracts."""
    state["t"] = state.get("t", 0) + 1
    state["m"] = 0.9 * state.get("m", np.zeros_like(weight)) + 0.1 * gradient
    state["v"] = 0.999 * state.get("v", np.zeros_like(weight)) + 0.001 * gradient**2
    unbiased = state["m"] / (1 - 0.9 ** state["t"])
    return lr * unbiased / (np.sqrt(state["v"] / (1 - 0.999 ** state["t"])) + 1e-8)


def test_momentum_filter(tiny_llava: Path) -> None:
    section = {"connector": {"method": "mofo", "ratio": 0.25, "lr": 1e-2}}
    result = run(tiny_llava, section, steps=4, **PLAIN).loaded.anatomy.connector.parameters
    loaded = fresh(tiny_llava)
    loaded.model.requires_grad_(False)
    parameters = loaded.anatomy.connector.parameters
    states: dict[str, dict[str, Any]] = {name: {} for name in parameters}
    stream = Stream(examples(), 4, 1, 0)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    for step in range(4):
        mean_loss(loaded.model, loaded.chat.encode(next(stream.step(step)), with_answers=True)).backward()
        for name, parameter in parameters.items():
            assert parameter.grad is not None
            weight = parameter.detach().double().numpy()
            update = adamw(weight, parameter.grad.double().numpy(), states[name], 1e-2)
            size = np.abs(states[name]["m"])
            allowed = size >= np.sort(size.ravel())[-round(0.25 * size.size)]
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(weight - update * allowed))
            parameter.grad = None
    for name, parameter in parameters.items():
        np.testing.assert_allclose(result[name].detach(), parameter.detach(), rtol=1e-3, atol=2e-5)


def test_a_random_child_at_every_step(tiny_llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.methods.selective.child_tuning import ChildTuningF

    steps: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
    original = ChildTuningF.before_step

    def spy(self: ChildTuningF, step: int) -> None:
        before = {name: p.grad.clone() for name, p in self.chosen.items()}  # type: ignore[union-attr]
        original(self, step)
        steps.append((before, {name: p.grad.clone() for name, p in self.chosen.items()}))  # type: ignore[union-attr]

    monkeypatch.setattr(ChildTuningF, "before_step", spy)
    section = {"connector": {"method": "child_tuning_f", "ratio": 0.3, "lr": 1e-2}}
    result = run(tiny_llava, section, steps=3, **PLAIN).loaded.anatomy.connector.parameters
    base = fresh(tiny_llava).anatomy.connector.parameters
    for name in base:
        weight, state, drawn = base[name].detach().double().numpy(), dict[str, Any](), []
        for before, after in steps:
            kept = after[name] != 0
            torch.testing.assert_close(after[name][kept], before[name][kept] / 0.3)
            drawn.append(kept)
            weight = weight - adamw(weight, after[name].double().numpy(), state, 1e-2)
        np.testing.assert_allclose(result[name].detach(), weight, rtol=1e-3, atol=2e-5)
        assert not torch.equal(drawn[0], drawn[1])
    kept_share = torch.cat([(after[name] != 0).view(-1).float() for _, after in steps for name in base]).mean()
    assert abs(float(kept_share) - 0.3) < 0.03


def test_the_whole_child_is_full_tuning(tiny_llava: Path) -> None:
    child = run(tiny_llava, {"connector": {"method": "child_tuning_f", "ratio": 1.0, "lr": 1e-2}})
    full = run(tiny_llava, {"connector": {"method": "full", "lr": 1e-2}})
    assert torch.equal(child.logits, full.logits)


def test_fish_dip_selects_anew_from_the_hardest_examples(tiny_llava: Path) -> None:
    """The loop once more with dense tensors: per entry moments that begin when it is selected."""
    options = {"ratio": 0.05, "every": 2, "pool": 8, "samples": 3}
    section = {"llm": {"method": "fish_dip", "lr": 1e-2, **options}}
    trained = run(tiny_llava, section, steps=5, **PLAIN)
    result = {name: p.detach() for name, p in matrices(trained.loaded).items()}

    loaded = fresh(tiny_llava)
    loaded.model.requires_grad_(False)
    names = matrices(loaded)
    for parameter in names.values():
        parameter.requires_grad_(True)
    count = round(0.05 * sum(p.numel() for p in names.values()))

    def encode(chosen_examples: Any) -> Any:
        return loaded.chat.encode(chosen_examples, with_answers=True)

    def select() -> dict[str, Tensor]:
        loaded.model.eval()
        pool = [next(Stream(examples(), 1, 1, 0).step(step)) for step in range(8)]
        with torch.no_grad():
            losses = [float(mean_loss(loaded.model, encode(one))) for one in pool]
        fisher = {name: torch.zeros_like(p) for name, p in names.items()}
        for place in np.argsort(losses)[::-1][:3]:
            mean_loss(loaded.model, encode(pool[place])).backward()
            for name, parameter in names.items():
                assert parameter.grad is not None
                fisher[name] += parameter.grad**2
                parameter.grad = None
        best = highest_overall(fisher, count)
        masks = {name: torch.zeros(p.numel(), dtype=torch.bool) for name, p in names.items()}
        for name, places in best.items():
            masks[name][list(places)] = True
        return {name: masks[name].view_as(names[name]) for name in names}

    masks = select()
    first = {name: torch.zeros_like(p) for name, p in names.items()}
    second = {name: torch.zeros_like(p) for name, p in names.items()}
    stream, changed = Stream(examples(), 4, 1, 0), 0
    for step in range(5):
        loaded.model.train()
        mean_loss(loaded.model, encode(next(stream.step(step)))).backward()
        with torch.no_grad():
            for name, parameter in names.items():
                assert parameter.grad is not None
                g = parameter.grad * masks[name]
                first[name].mul_(0.9).add_(g, alpha=0.1)
                second[name].mul_(0.999).addcmul_(g, g, value=0.001)
                unbiased = first[name] / (1 - 0.9 ** (step + 1))
                move = unbiased / ((second[name] / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
                parameter -= 1e-2 * move * masks[name]
                parameter.grad = None
        if (step + 1) % 2 == 0:
            fresh_masks = select()
            for name in names:
                changed += int((masks[name] & ~fresh_masks[name]).sum())
                keep = masks[name] & fresh_masks[name]
                first[name] *= keep
                second[name] *= keep
            masks = fresh_masks
    assert changed > 20, "the selection has to move"
    for name, parameter in names.items():
        torch.testing.assert_close(result[name], parameter.detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "scope"),
    [
        ("layers", {"layers": "last:2"}),
        ("layers", {"layers": [0]}),
        ("module_kinds", {"modules": ["attention"]}),
        ("module_kinds", {"modules": ["gate_proj", "up_proj"]}),
    ],
)
def test_scopes_are_full_tuning_of_their_tensors(method: str, scope: dict[str, Any], tiny_llava: Path) -> None:
    scoped = run(tiny_llava, {"llm": {"method": method, "lr": 1e-2, **scope}})
    full = run(tiny_llava, {"llm": {"method": "full", "lr": 1e-2, **scope}})
    assert torch.equal(scoped.logits, full.logits)
    names = scoped.recipe.methods["llm"].moves()
    if "layers" in scope:
        inside = (1, 2) if scope["layers"] == "last:2" else (0,)
        assert names == {n for n in fresh(tiny_llava).anatomy.names() if any(f"layers.{i}." in n for i in inside)
                         and "language_model" in n}  # fmt: skip
    else:
        kinds = ("self_attn",) if scope["modules"] == ["attention"] else ("gate_proj", "up_proj")
        assert names == {n for n in matrices(fresh(tiny_llava)) if any(kind in n for kind in kinds)}


def test_default_scopes(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    for method, count in (("layers", 2 * 9), ("module_kinds", 3 * 4)):
        made = make_method(method, {})
        made.attach(loaded.anatomy.llm, Context(torch.Generator()))
        assert len(made.moves()) == count
        made.detach()


def test_pools_give_the_same_batches_every_time(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    given = context(loaded)
    assert isinstance(given.batches, Pools)
    for of, size in (("train", None), ("train", 3), ("validation", 2), ("sources", 1)):
        one = list(given.look("me", 50 if size else 3, of=of, size=size))  # type: ignore[arg-type]
        two = list(given.look("me", 50 if size else 3, of=of, size=size))  # type: ignore[arg-type]
        assert len(one) == len(two) == {None: 3, 3: 3, 2: 2, 1: 8}[size]
        for first, second in zip(one, two, strict=True):
            assert first.text.keys() == second.text.keys()
            assert all(torch.equal(first.text[name], second.text[name]) for name in first.text)
            assert torch.equal(first.labels, second.labels)  # type: ignore[arg-type]
