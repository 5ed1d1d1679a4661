"""The sparse engine: selections that move, scores in groups, the automatic ratio, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context
from holdfast.methods.recipe import Recipe
from holdfast.methods.registry import make_method
from holdfast.methods.selective import auto, scores
from holdfast.methods.selective.selection import Selected, pack
from holdfast.training.pools import Pools
from tests.support.methods import SOURCES, examples, fresh, logits, run


def pools(loaded: Any, **train: Any) -> Pools:
    config = load_config({"train": {"batch_size": 4, **train}})
    return Pools(loaded, config.train, 0, examples(), examples()[:4], SOURCES)


def context(loaded: Any, seed: int = 0) -> Context:
    given = pools(loaded)
    return Context(torch.Generator().manual_seed(seed), given, given.loss, 1e-2)


@pytest.mark.parametrize(("longest", "kind"), [(255, torch.uint8), (256, torch.int16), (40000, torch.int32)])
def test_places_are_packed_without_loss(longest: int, kind: torch.dtype) -> None:
    index = torch.tensor([0, 3, 4, 4 + longest, 5 + longest])
    assert pack(index).dtype == kind
    entry = Selected(nn.Parameter(torch.randn(50000)), index)
    assert torch.equal(entry.index.long(), index) and entry.index.dtype == torch.int32


def test_a_selection_that_moves_keeps_what_stays_and_forgets_nothing() -> None:
    """Against a dictionary per place: value, base, first moment."""
    random = np.random.default_rng(0)
    parameter = nn.Parameter(torch.randn(5, 8))
    start = parameter.detach().clone().view(-1)
    entry = Selected(parameter, torch.tensor([1, 4, 9, 20]))
    values = {int(i): float(start[i]) for i in (1, 4, 9, 20)}
    moments = dict.fromkeys(values, 0.0)
    ever = set(values)
    state: dict[str, Any] = {"exp_avg": torch.zeros(4), "step": torch.tensor(3.0)}
    for _ in range(6):
        for place, index in enumerate(entry.index.tolist()):
            move, moment = random.normal(), random.normal()
            with torch.no_grad():
                entry.values[place] += move
            state["exp_avg"][place] = moment
            values[index] = float(entry.values[place])
            moments[index] = float(state["exp_avg"][place])
        entry.scatter()
        wanted = sorted(random.choice(40, size=int(random.integers(1, 7)), replace=False).tolist())
        entry.move(torch.tensor(wanted), state)
        moments = {index: moments.get(index, 0.0) for index in wanted}
        ever |= set(wanted)
        expected = start.clone()
        for index, value in values.items():
            expected[index] = value
        assert torch.equal(parameter.detach().view(-1), expected)
        assert entry.index.tolist() == wanted
        assert entry.values.tolist() == [values.get(i, float(start[i])) for i in wanted]
        assert state["exp_avg"].tolist() == [moments[i] for i in wanted] and state["step"] == 3
        places, base = entry.ever()
        assert set(places.tolist()) <= ever and torch.equal(base, start[places.long()])
        index, saved = entry.result()
        assert index.tolist() == sorted(index.tolist()) and torch.equal(saved, expected[index.long()])
        values = {i: float(expected[i]) for i in ever}
    entry.close()
    assert torch.equal(parameter.detach().view(-1), start)


def test_layers_without_such_matrices_are_named(tiny_llava: Path) -> None:
    """As by methods that train whole matrices, and not as a ratio that is too small."""
    loaded = fresh(tiny_llava)
    del loaded.model.model.language_model.layers[0].mlp.gate_proj
    options = {"modules": ["gate_proj"], "ratio": 0.5}
    method = make_method("random_mask", {**options, "layers": [1]})
    assert list(method.matrices(loaded.anatomy.llm)) == ["model.language_model.layers.1.mlp.gate_proj.weight"]  # type: ignore[attr-defined]
    with pytest.raises(HoldfastError, match="have no such linear layer"):
        make_method("random_mask", {**options, "layers": [0]}).attach(loaded.anatomy.llm, context(loaded))


def test_scores_in_groups_are_scores_at_once(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    loaded.model.requires_grad_(False)
    method = make_method("gradient_mask", {})
    matrices = method.matrices(loaded.anatomy.llm)  # type: ignore[attr-defined]
    given = context(loaded)

    def score(free: int) -> dict[str, Tensor]:
        seen = scores.scored(loaded.model, matrices, given, lambda: given.look("me", 2), torch.square,
                             ratio=0.01, free=free)  # fmt: skip
        return dict(seen)

    sizes = [sum(p.numel() for p in group.values()) for group in scores.groups(matrices, 3000)]
    assert len(sizes) > 3 and sum(sizes) == sum(p.numel() for p in matrices.values())
    at_once, in_groups = score(1 << 24), score(3000)
    for name in matrices:
        assert torch.equal(at_once[name], in_groups[name])
    assert not any(p.requires_grad or p.grad is not None for p in loaded.model.parameters())
    count = 500
    chosen = scores.top_overall(in_groups.items(), count)
    flat = torch.cat([total.view(-1) for total in at_once.values()])
    threshold = flat.topk(count).values[-1]
    assert sum(index.numel() for index in chosen.values()) == count
    for name, total in at_once.items():
        assert torch.equal(chosen[name], (total.view(-1) >= threshold).nonzero().squeeze(1))


def test_the_automatic_ratio_is_the_smallest_as_good_as_the_best(tiny_llava: Path) -> None:
    options = {"ratio": "auto", "candidates": [0.5, 0.01, 0.2], "trial_steps": 5, "trial_batches": 2}
    loaded = fresh(tiny_llava)
    plain = logits(loaded)
    method = make_method("random_mask", options)
    method.attach(loaded.anatomy.llm, context(loaded, 3))
    tried = method.notes()["auto_ratio"]
    assert list(tried["validation_losses"]) == ["0.01", "0.2", "0.5"] and tried["validation_batches"] == 1
    assert tried["chosen"] == float(min(tried["validation_losses"], key=tried["validation_losses"].get))

    # The losses are those of short runs with the ratio written out, by hand.
    for ratio, loss in tried["validation_losses"].items():
        other = fresh(tiny_llava)
        given = context(other, 3)
        fixed = make_method("random_mask", {"ratio": float(ratio)})
        fixed.attach(other.anatomy.llm, given)
        optimizer = torch.optim.AdamW(fixed.named_trainable().values(), lr=1e-2, weight_decay=0.0)
        for batch in given.look("me", 5):
            given.measure(batch).backward()
            optimizer.step()
            optimizer.zero_grad()
            fixed.after_step(0)
        [held_out] = given.look("me", 2, of="validation")
        with torch.no_grad():
            assert float(given.measure(held_out)) == loss

    # The choice is then the same as if the ratio had been written, and the trials have left no trace.
    same = make_method("random_mask", {"ratio": tried["chosen"]})
    untouched = fresh(tiny_llava)
    same.attach(untouched.anatomy.llm, context(untouched, 3))
    for name, entry in method.selected.items():  # type: ignore[attr-defined]
        assert torch.equal(entry.index, same.selected[name].index)  # type: ignore[attr-defined]
    artifact = method.detach()
    assert artifact.metadata["auto_ratio"] == tried
    assert torch.equal(logits(loaded), plain)


def test_a_tie_on_held_out_data_goes_to_the_smaller_ratio() -> None:
    best = [1.0, 2.0, 3.0]
    assert auto._as_good([1.2, 1.9, 3.1], best)  # mean difference 0.067, standard error 0.088
    assert not auto._as_good([1.1, 2.1, 3.1], best)  # always worse by the same
    assert auto._as_good(best, best)
    assert not auto._as_good([1.1], [1.0])


def test_the_ledger_says_which_ratio_was_chosen(tiny_llava: Path) -> None:
    from holdfast.methods.ledger import write_ledger

    section = {"llm": {"method": "magnitude_mask", "ratio": "auto", "trial_steps": 2, "candidates": [0.1, 0.3]}}
    trained = run(tiny_llava, section, steps=1)
    row = next(row for row in write_ledger(trained.recipe, trained.loaded.anatomy).rows if row.component == "llm")
    total = sum(p.numel() for p in trained.recipe.methods["llm"].matrices(trained.loaded.anatomy.llm).values())  # type: ignore[attr-defined]
    assert row.trainable == pytest.approx(row.notes["auto_ratio"]["chosen"] * total, rel=0.01)


@pytest.mark.parametrize("ratio", [0, -0.1, 1.5, True, "half", float("nan")])
def test_a_ratio_outside_its_bounds_is_refused(ratio: Any) -> None:
    bounds = "a number" if ratio is True else "a share above 0 and at most 1"
    with pytest.raises(HoldfastError, match=rf"option 'ratio' is .*: it should be {bounds}"):
        Recipe(load_config({"tune": {"llm": {"method": "random_mask", "ratio": ratio}}}))


@pytest.mark.parametrize("ratio", [0, 1.5])
@pytest.mark.parametrize("method", ["mofo", "child_tuning_f"])
def test_so_is_that_of_methods_on_whole_tensors(method: str, ratio: float) -> None:
    with pytest.raises(HoldfastError, match="option 'ratio'"):
        make_method(method, {"ratio": ratio})


@pytest.mark.parametrize("candidates", [[], [0.1], [0.1, 2], ["auto", 0.1], 0.1])
def test_candidates_are_checked_too(candidates: Any) -> None:
    with pytest.raises(HoldfastError, match="option 'candidates'"):
        make_method("random_mask", {"ratio": "auto", "candidates": candidates})


@pytest.mark.parametrize(
    "method", ["gradient_mask", "sift", "gps", "fish_mask", "fish_dip", "child_tuning_d", "lt_sft"]
)
def test_methods_that_look_at_data_say_when_there_is_none(method: str, tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    with pytest.raises(HoldfastError, match=f"method '{method}' needs training examples of the target"):
        make_method(method, {}).attach(loaded.anatomy.llm, Context(torch.Generator()))


def test_the_automatic_ratio_says_when_there_is_no_held_out_data(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    given = Pools(loaded, load_config({}).train, 0, examples())
    method = make_method("random_mask", {"ratio": "auto"})
    with pytest.raises(HoldfastError, match=r"ratio 'auto' needs validation examples.*Set target\.validation"):
        method.attach(loaded.anatomy.llm, Context(torch.Generator(), given, given.loss))


def test_kinds_and_layers_that_a_component_lacks_are_refused(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    with pytest.raises(HoldfastError, match="no linear layer of kind 'w9'"):
        make_method("random_mask", {"modules": ["w9"]}).attach(loaded.anatomy.llm, Context(torch.Generator()))
    with pytest.raises(HoldfastError, match="layers 'last:9' does not fit component 'llm' of 3 layers"):
        make_method("layers", {"layers": "last:9"}).attach(loaded.anatomy.llm, Context(torch.Generator()))
    with pytest.raises(HoldfastError, match="finds nothing to train in component 'llm'"):
        make_method("bitfit", {}).attach(loaded.anatomy.llm, Context(torch.Generator()))


def test_mask_ratio_is_another_word_for_ratio() -> None:
    from holdfast.methods.registry import make_method

    assert make_method("random_mask", {"mask_ratio": 0.25}).options.ratio == 0.25
    assert make_method("magnitude_mask", {"mask_ratio": "auto"}).options.ratio == "auto"
