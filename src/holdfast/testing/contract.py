"""The contract that every method keeps, as checks that say what is wrong."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact
from holdfast.methods.guard import GPU_TOLERANCE, modules
from holdfast.methods.ledger import check_moved, fingerprint, write_ledger
from holdfast.methods.recipe import restore
from holdfast.methods.registry import METHODS, make_method
from holdfast.runs.artifacts import load_artifacts, save_artifacts
from holdfast.speed.decision import Decision
from holdfast.testing.bench import Bench, Trained, Tried, logits, train

SPEEDS = ({"share_images": "auto"}, {"feature_cache": "on"}, {"share_images": "auto", "feature_cache": "on"})
"""What is compared with separate rows and pixels."""


def check_life(bench: Bench, tried: Tried) -> None:
    """Attach, train, switch off and on, take off: only what was announced moves, and the base comes back bit for bit.

    Raises:
        AssertionError: With what is wrong.
    """
    loaded = bench.fresh()
    before, plain, built = fingerprint(loaded.anatomy), logits(bench, loaded), modules(loaded.model)
    trained = train(bench, tried, loaded=loaded)
    try:
        check_moved(before, trained.recipe, loaded.anatomy)
    except HoldfastError as error:
        raise AssertionError(error.problem) from error
    assert not torch.equal(trained.logits, plain), "training changed nothing"
    with trained.recipe.suspended():
        assert torch.equal(logits(bench, loaded), plain), "switched off, the model answers otherwise than the base"
    assert torch.equal(logits(bench, loaded), trained.logits), "switched on again, the model answers otherwise"
    ledger = write_ledger(trained.recipe, loaded.anatomy)
    count = sum(tensor.numel() for tensor in trained.recipe.named_trainable().values())
    assert ledger.trainable == count > 0, f"the ledger says {ledger.trainable} values train, and {count} do"
    trained.recipe.detach()
    assert modules(loaded.model) == built, "detach left modules or hooks behind"
    assert fingerprint(loaded.anatomy) == before, "detach did not restore the base's values"
    assert torch.equal(logits(bench, loaded), plain), "after detach the model answers otherwise than the base"
    assert not any(p.requires_grad or p.grad is not None for p in loaded.model.parameters()), "gradients were left"


def check_learning(bench: Bench, tried: Tried) -> None:
    """The loss falls, and every trainable tensor has a gradient in the first step, but where the model has none either.

    Raises:
        AssertionError: With what is wrong.
    """
    trained = train(bench, tried, steps=10)
    assert min(trained.losses[-3:]) < trained.losses[0], f"the loss did not fall in ten steps: {trained.losses}"
    missing = [name for name in trained.missing if not any(f"{own}." in name for own in bench.unreached)]
    assert not missing, f"no gradient reaches {', '.join(missing)}"


def check_artifact(bench: Bench, tried: Tried) -> None:
    """What was saved gives the same answers on a fresh base, bit for bit, and merged to rounding; twice the same bits.

    Raises:
        AssertionError: With what is wrong.
    """
    first, second = train(bench, tried), train(bench, tried)
    tuned, artifacts, again = first.logits, first.recipe.detach(), second.recipe.detach()
    assert _equal(artifacts, again), "a second run of the same seed gives another artifact"
    base = bench.fresh()
    with tempfile.TemporaryDirectory() as place:
        save_artifacts(Path(place) / "a", artifacts, model="m", identity=base.identity, ledger={})
        loaded, _ = load_artifacts(Path(place) / "a")
    methods = restore(base, loaded)
    assert torch.equal(logits(bench, base), tuned), "the saved artifact on a fresh base answers otherwise"
    if METHODS.find(tried.method).card.mergeable:
        for method in methods:
            method.merge()
        apart = _apart(logits(bench, base), tuned)
        assert apart < GPU_TOLERANCE, f"merged, logits differ by {apart:.2g} of the largest"
        assert dict(base.model.named_parameters()).keys() == base.anatomy.names().keys(), "merging left modules behind"


def check_accumulation(bench: Bench, tried: Tried) -> None:
    """Two batches are one of both.

    Raises:
        AssertionError: With what is wrong.
    """
    options = make_method(tried.method, tried.options).options
    if getattr(options, "dropout", 0.0):
        tried = replace(tried, options={**tried.options, "dropout": 0.0})  # it draws once a batch
    tried = replace(tried, lr=1e-3)
    whole = train(bench, tried, steps=1, batch_size=2 * bench.batch)
    parts = train(bench, tried, steps=1, accumulate=2)
    apart = _apart(parts.logits, whole.logits)
    # A method that selects entries may choose another of two that are all but equal.
    assert apart < 1e-2, f"accumulating two batches differs from one large batch by {apart:.2g} of the largest logit"


def check_speed(bench: Bench, tried: Tried) -> dict[str, Decision]:
    """Shared rows and stored features train to what separate rows and pixels do, or are declined with a reason.

    Returns:
        The decisions, by what was asked for.

    Raises:
        AssertionError: With what is wrong.
    """
    options = make_method(tried.method, tried.options).options
    if getattr(options, "dropout", 0.0):
        tried = replace(tried, options={**tried.options, "dropout": 0.0})  # its draw depends on the rows
    plain = train(bench, tried, steps=2)
    draws = _draws(bench, plain)
    found: dict[str, Decision] = {}
    for speed in SPEEDS:
        try:
            fast = train(bench, tried, steps=2, speed=speed)
        except HoldfastError as error:
            assert "feature_cache" in speed and "feature_cache" in str(error), str(error)
            found.setdefault("feature_cache", Decision(False, error.problem))
            continue
        for key in speed:
            decision = fast.report[key]
            assert isinstance(decision, Decision) and decision.why, f"{key} is {decision}, without a reason"
            found[key] = decision
        if draws:  # as PVeRA does by itself: what it draws depends on the rows, and no two runs are to be compared
            continue
        apart = _loss_apart(plain, fast)
        assert apart < GPU_TOLERANCE, f"with {speed} the losses differ by {apart:.2g}: {fast.losses}, {plain.losses}"
    return found


def check_options(bench: Bench, tried: Tried) -> None:
    """An option that there is not is refused by name.

    Raises:
        AssertionError: It is taken.
    """
    try:
        make_method(tried.method, {**tried.options, "no_such_option": 1})
    except HoldfastError as error:
        assert "no_such_option" in str(error)
        return
    raise AssertionError("an option that there is not is taken in silence")


def _draws(bench: Bench, trained: Trained) -> bool:
    """Whether a pass in training draws random numbers, also without dropout."""
    batch = trained.loaded.chat.encode(bench.examples[:1], with_answers=True)
    batch.pop("labels")
    before = torch.get_rng_state()
    trained.loaded.model.train()
    with torch.no_grad():
        trained.loaded.model(**batch)
    trained.loaded.model.eval()
    return not torch.equal(torch.get_rng_state(), before)


def _apart(one: Tensor, other: Tensor) -> float:
    """The largest difference, over the largest value."""
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-6))


def _loss_apart(one: Trained, other: Trained) -> float:
    return max(abs(a - b) / max(abs(b), 1e-6) for a, b in zip(one.losses, other.losses, strict=True))


def _equal(first: list[Artifact], second: list[Artifact]) -> bool:
    return len(first) == len(second) and all(
        one.tensors.keys() == other.tensors.keys()
        and all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
        for one, other in zip(first, second, strict=True)
    )
