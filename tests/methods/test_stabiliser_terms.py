"""Terms of the loss that look at answers, features or noisy pictures, each from its formula or in a plain loop."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context, Seen
from holdfast.methods.recipe import Recipe
from holdfast.methods.registry import STABILISERS, make_stabiliser
from holdfast.models.batch import Batch
from holdfast.speed.sharing.batcher import Batcher
from holdfast.tasks.drawn import Joined
from holdfast.training.batches import Stream
from holdfast.training.loss import answer_logits
from tests.support.methods import SOURCES, Trained, examples, fresh, run
from tests.support.questions import questions

from .test_options import another

Array = NDArray[np.float64]
LORA = {"llm": {"method": "lora", "r": 4, "dropout": 0.0, "lr": 1e-2}}
FULL = {"llm": {"method": "full", "modules": ["mlp"], "lr": 1e-2}, "connector": {"method": "full", "lr": 1e-2}}
PLAIN: dict[str, Any] = {"weight_decay": 0.0, "clip": None, "schedule": "constant", "warmup": 0.0}


class Case:
    """A short run, one batch of it, and what tuned model and base say of it."""

    def __init__(self, trained: Trained, name: str, **options: Any) -> None:
        self.recipe, self.model = trained.recipe, trained.loaded.model.eval()
        self.batch = Batch.of(trained.loaded.chat.encode(examples()[:4], with_answers=True))
        self.stabiliser = make_stabiliser(name, options)
        self.stabiliser.check(self.recipe.active)
        self.stabiliser.begin(self.recipe.active, Context(torch.Generator()))
        self.logits, self.targets = answer_logits(self.model, self.batch)
        with torch.no_grad():
            self.then = answer_logits(fresh_model(trained, self.recipe), self.batch)[0]

    def term(self) -> Tensor:
        def base() -> Tensor:
            with self.recipe.suspended(), torch.no_grad():
                return answer_logits(self.model, self.batch)[0]

        def again(other: Batch | None = None) -> Tensor:
            return answer_logits(self.model, other or self.batch)[0]

        logits, targets = answer_logits(self.model, self.batch)
        term = self.stabiliser.batch_penalty(Seen(self.batch, logits, targets, base, again))
        assert term is not None
        return term

    def arrays(self) -> tuple[Array, Array, NDArray[np.int64]]:
        """Probabilities of tuned model and base, and the answers."""
        p, q = (x.detach().double().softmax(-1).numpy() for x in (self.logits, self.then))
        return p, q, self.targets.numpy()


def fresh_model(trained: Trained, recipe: Recipe) -> Any:
    """The base as it was loaded."""
    return fresh(Path(trained.loaded.name)).model.eval()


@pytest.fixture(scope="module")
def trained(tiny_llava: Path) -> Iterator[Trained]:
    result = run(tiny_llava, LORA, steps=6)
    yield result
    result.recipe.detach()


def divergence(p: Array, q: Array) -> Array:
    return np.asarray((p * np.log(p / q)).sum(-1))


def test_mask_the_target_leaves_the_answer_out(trained: Trained) -> None:
    case = Case(trained, "mask_the_target", strength=0.7)
    now, then, targets = case.arrays()
    total = 0.0
    for p, q, y in zip(now, then, targets, strict=True):
        rest = [v for v in range(len(p)) if v != y]
        total += divergence(q[rest] / q[rest].sum(), p[rest] / p[rest].sum())
    assert case.term().item() == pytest.approx(0.7 * total, rel=1e-3) and total > 1e-3
    # Where the base is certain of the answer its other thoughts do not count.
    sure = sorted(float(q[y]) for q, y in zip(then, targets, strict=True))
    bound = (sure[-1] + sure[-2]) / 2
    few = Case(trained, "mask_the_target", strength=0.7, certain=bound)
    left = 0.0
    for p, q, y in zip(now, then, targets, strict=True):
        if q[y] <= bound:
            rest = [v for v in range(len(p)) if v != y]
            left += divergence(q[rest] / q[rest].sum(), p[rest] / p[rest].sum())
    assert few.term().item() == pytest.approx(0.7 * left, rel=1e-3) and left < total
    # Raising the answer alone does not raise the term.
    raised = case.logits.detach().scatter_add(1, case.targets[:, None], torch.full((len(targets), 1), 3.0))
    seen = Seen(case.batch, raised, case.targets, lambda: case.logits.detach(), lambda: case.logits)
    assert abs(float(case.stabiliser.batch_penalty(seen))) < 1e-4  # type: ignore[arg-type]


def test_asft_weighs_and_anchors(trained: Trained) -> None:
    for strength in (0.0, 0.4):
        case = Case(trained, "asft", strength=strength)
        now, then, targets = case.arrays()
        right = now[np.arange(len(targets)), targets]
        wanted = -(right * np.log(right)).sum() + strength * divergence(then, now).sum()
        whole = cross_entropy(case.logits, case.targets, reduction="sum") + case.term()
        assert whole.item() == pytest.approx(wanted, rel=1e-4)
    # The factor has no gradient: that of p log p would hold one more p.
    logits = case.logits.detach().requires_grad_()
    seen = Seen(case.batch, logits, case.targets, lambda: case.then, lambda: case.then)
    term = make_stabiliser("asft", {"strength": 0.0}).batch_penalty(seen)
    assert term is not None
    (cross_entropy(logits, case.targets, reduction="sum") + term).backward()
    assert logits.grad is not None
    wanted_gradient = right[:, None] * (now - np.eye(now.shape[1])[targets])
    np.testing.assert_allclose(logits.grad.numpy(), wanted_gradient, rtol=1e-3, atol=1e-6)


def test_token_masking_drops_what_surprises_the_base(trained: Trained) -> None:
    now, then, targets = Case(trained, "token_masking").arrays()
    surprise = 1 / then[np.arange(len(targets)), targets]
    middle = float(np.median(surprise))
    case = Case(trained, "token_masking", threshold=middle)
    losses = -np.log(now[np.arange(len(targets)), targets])
    whole = cross_entropy(case.logits, case.targets, reduction="sum") + case.term()
    assert whole.item() == pytest.approx(losses[surprise <= middle].mean() * len(targets), rel=1e-4)
    nothing = Case(trained, "token_masking", threshold=1.0)
    assert abs((cross_entropy(case.logits, case.targets, reduction="sum") + nothing.term()).item()) < 1e-3


def loop(tiny: Path, steps: int, loss: Callable[[Any, Batch, Any], Tensor]) -> tuple[list[float], dict[str, Tensor]]:
    """Plain AdamW on the same tensors and batches as ``FULL``; ``loss`` gets the model, a batch and the base."""
    loaded, base = fresh(tiny), fresh(tiny).model.eval()
    loaded.model.requires_grad_(False)
    mlp = [p for n, p in loaded.anatomy.llm.parameters.items() if ".mlp." in n]
    trained = [*loaded.anatomy.connector.parameters.values(), *mlp]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer, stream, losses = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.0), Stream(examples(), 4, 1, 0), []
    for step in range(steps):
        batch = Batch.of(loaded.chat.encode(next(stream.step(step)), with_answers=True))
        optimizer.zero_grad()
        value = loss(loaded.model.train(), batch, base)
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    return losses, {n: p.detach().clone() for n, p in loaded.anatomy.names().items()}


def same_weights(result: Trained, wanted: dict[str, Tensor]) -> None:
    for name, parameter in result.loaded.anatomy.names().items():
        torch.testing.assert_close(parameter.detach(), wanted[name], rtol=1e-3, atol=3e-5)


def test_training_with_masked_tokens_is_training_with_masked_labels(tiny_llava: Path) -> None:
    threshold = 300.0

    def masked(model: Any, batch: Batch, base: Any) -> Tensor:
        with torch.no_grad():
            then, targets = answer_logits(base, batch)
        targets = targets.clone()
        targets[cross_entropy(then, targets, reduction="none").exp() > threshold] = -100
        assert 0 < int((targets == -100).sum()) < len(targets)
        return cross_entropy(answer_logits(model, batch)[0], targets)

    keep = [{"stabiliser": "token_masking", "threshold": threshold}]
    same_weights(run(tiny_llava, FULL, keep=keep, steps=3, **PLAIN), loop(tiny_llava, 3, masked)[1])


def test_psft_clips_against_the_model_of_some_steps_ago(tiny_llava: Path) -> None:
    import copy

    old: list[Any] = []
    clipped: list[float] = []

    def proximal(model: Any, batch: Batch, base: Any) -> Tensor:
        if len(clipped) % 2 == 0:
            old[:] = [copy.deepcopy(model).eval()]
        logits, targets = answer_logits(model, batch)
        with torch.no_grad():
            before = answer_logits(old[0], batch)[0].log_softmax(-1).gather(1, targets[:, None])
        ratio = (logits.log_softmax(-1).gather(1, targets[:, None]) - before).exp()
        clipped.append(float((ratio > 1.01).float().mean()))
        return -torch.minimum(ratio, ratio.clamp(0.8, 1.01)).mean()

    keep = [{"stabiliser": "psft", "every": 2, "high": 0.01}]
    result = run(tiny_llava, FULL, keep=keep, steps=4, **PLAIN)
    same_weights(result, loop(tiny_llava, 4, proximal)[1])
    assert max(clipped) > 0, "something has to be clipped"
    state = result.recipe.state()
    assert {name for name in state if name.startswith("keep.0/old.")}
    result.recipe.load(result.recipe.named_trainable(), state)


def hidden_states(model: Any, batch: Batch) -> list[Tensor]:
    """What each block gives where answers are predicted, and the last one after its norm, by transformers itself."""
    with torch.no_grad():
        states = model(**batch.inputs(model), output_hidden_states=True).hidden_states
    return [state[batch.answer_places].double() for state in states[1:]]


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def test_features_are_anchored(trained: Trained, tiny_llava: Path) -> None:
    base = fresh(tiny_llava).model.eval()
    ldifs = Case(trained, "ldifs", strength=3.0, blocks=(0, 1))
    now, then = (hidden_states(model, ldifs.batch) for model in (ldifs.model, base))
    width = now[0].shape[-1]
    wanted = sum(float((unit(now[i]) - unit(then[i])).square().sum()) / width for i in (0, 1)) / 2
    assert ldifs.term().item() == pytest.approx(3.0 * wanted, rel=1e-3) and wanted > 1e-6
    ldifs.stabiliser.end()
    kgcoop = Case(trained, "kgcoop", strength=2.0)
    cosine = (unit(now[-1]) * unit(then[-1])).sum(-1)
    assert kgcoop.term().item() == pytest.approx(2.0 * float((1 - cosine).sum()), rel=1e-3)
    kgcoop.stabiliser.end()
    promptsrc = Case(trained, "promptsrc", features=5.0, logits=0.5)
    p, q, _ = promptsrc.arrays()
    features = float((unit(now[-1]) - unit(then[-1])).abs().sum()) / width
    assert promptsrc.term().item() == pytest.approx(5.0 * features + 0.5 * divergence(q, p).sum(), rel=1e-3)
    term = promptsrc.term()
    assert term.requires_grad
    promptsrc.stabiliser.end()
    with pytest.raises(HoldfastError, match="look at block 7, and the llm has 3"):
        Case(trained, "ldifs", blocks=(7,))


@pytest.mark.parametrize("name", ["ldifs", "kgcoop", "promptsrc"])
def test_an_anchor_holds_and_leaves_no_hook(name: str, tiny_llava: Path) -> None:
    strong = {"ldifs": {"strength": 1e4}, "kgcoop": {"strength": 1e3}, "promptsrc": {"features": 1e4}}[name]
    batch = None
    drift = []
    for keep in ([], [{"stabiliser": name, **strong}]):
        result = run(tiny_llava, FULL, keep=keep, steps=8)
        batch = batch or Batch.of(result.loaded.chat.encode(examples(), with_answers=True))
        result.loaded.model.eval()
        now = hidden_states(result.loaded.model, batch)[-1]
        drift.append(float((unit(now) - unit(hidden_states(fresh(tiny_llava).model.eval(), batch)[-1])).square().sum()))
        before = sum(len(module._forward_hooks) for module in result.loaded.model.modules())
        result.recipe.detach()
        after = sum(len(module._forward_hooks) for module in result.loaded.model.modules())
        assert after == before - (0 if not keep else 3 if name == "ldifs" else 1)
    assert drift[1] < 0.5 * drift[0]


def test_nrca_compares_confidence_in_front_of_noise(trained: Trained, tiny_llava: Path) -> None:
    case = Case(trained, "nrca", strength=1.5)
    torch.manual_seed(11)
    term = case.term()
    torch.manual_seed(11)
    pixels = case.batch.images["pixel_values"]
    values = pixels.double().numpy()
    noise = torch.randn_like(pixels).double().numpy() * values.std(ddof=1) + values.mean()
    noisy = Batch(
        case.batch.text, {"pixel_values": torch.from_numpy((values + noise) / 2).float()}, None, case.batch.labels
    )
    with torch.no_grad():
        other = answer_logits(case.model, noisy)[0].double().softmax(-1).numpy()
    now, _, targets = case.arrays()
    owners = case.batch.answer_owners.numpy()
    ratios = []
    for example in range(4):
        mine = np.flatnonzero(owners == example)
        assert len(mine) >= 3
        sure, less = (x[mine, targets[mine]].mean() for x in (now, other))
        ratios.append(abs(sure - less) / sure)
    losses = -np.log(now[np.arange(len(targets)), targets]).sum()
    assert term.item() == pytest.approx(1.5 * losses * np.mean(ratios), rel=1e-3) and term.requires_grad
    assert np.mean(ratios) > 1e-4
    config = {"stabiliser": "nrca"}
    result = run(tiny_llava, LORA, keep=[config], steps=2)
    assert result.recipe.wants_pixels == "nrca" and result.losses[0] == run(tiny_llava, LORA, steps=1).losses[0]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mask_the_target", {}),
        ("token_masking", {"threshold": 300.0}),
        ("asft", {}),
        ("ldifs", {}),
        ("kgcoop", {}),
        ("promptsrc", {}),
        ("psft", {"high": 0.01}),
    ],
)
def test_terms_are_the_same_where_questions_share_a_row(trained: Trained, name: str, options: dict[str, Any]) -> None:
    asked, terms = questions(pictures=2), []
    for layout in ("shared", "separate"):
        case = Case(trained, name, **options)
        case.batch = Batcher(trained.loaded, layout=layout)(asked)  # type: ignore[arg-type]
        with torch.no_grad():  # PSFT's centre is where the run stands now: go a little further
            for tensor in case.recipe.named_trainable().values():
                tensor.mul_(1.02)
        terms.append(case.term().item())
        case.stabiliser.end()
        with torch.no_grad():
            for tensor in case.recipe.named_trainable().values():
                tensor.div_(1.02)
    assert terms[0] == pytest.approx(terms[1], rel=1e-3) and terms[0] != 0


def test_replay_by_weights() -> None:
    parts = Joined((SOURCES[:6], SOURCES[6:], ()))
    mixed = make_stabiliser("replay", {"ratio": 0.5, "weights": (1, 3, 0)}).mix(examples(8), parts, 0)
    own = [[e.id for e in mixed[8:]].count(s.id) for s in SOURCES]
    assert len(mixed) == 16 and sum(own[:6]) == 2 and sum(own[6:]) == 6 and max(own[:6]) == 1
    plain = make_stabiliser("replay", {"ratio": 0.5}).mix(examples(8), parts, 0)
    assert [e.id for e in plain[8:]] != [e.id for e in mixed[8:]]
    for weights, words in (((1, 2), "weights \\[1.0, 2.0\\] for 3 sources"), ((1, 1, 1), "source 3 has a weight")):
        with pytest.raises(HoldfastError, match=words):
            make_stabiliser("replay", {"weights": weights}).mix(examples(8), parts, 0)


SMALL: dict[str, dict[str, Any]] = {
    "ewc": {"strength": 1e5, "samples": 4},
    "psft": {"every": 2, "high": 0.01},
    "token_masking": {"threshold": 300.0},
    "replay": {"ratio": 0.5},
    "ldifs": {"strength": 1e4},
    "null_space": {"threshold": 0.05, "samples": 4},
    "orthogonality": {"strength": 100.0, "form": "directions", "directions": 4},
}
ELSEWHERE = {"replay", "promptkd"}
"""One acts before training, on the data; one needs a teacher's run, and its options are tried beside its formula."""

OPTIONS = [
    (name, option)
    for name, kind in STABILISERS.all().items()
    for option in kind.Settings.model_fields
    if name not in ELSEWHERE
    and (name, option) != ("a_gem", "batches")  # test_a_gem_projects... looks at the second batch
]
OTHER: dict[tuple[str, str], Any] = {
    ("ldifs", "blocks"): [0],
    ("mask_the_target", "certain"): 1e-6,
    ("token_masking", "threshold"): 310.0,
    ("prograd", "strength"): 0.25,
    ("l1_sp", "strength"): 10.0,
    ("null_space", "threshold"): 0.01,
    ("null_space", "protect"): 0.5,
}
"""Values that matter on so small a model, where the generated one would not."""

_DONE: dict[str, list[float]] = {}


def outcome(folder: Path, name: str, options: dict[str, Any]) -> list[float]:
    key = f"{name} {sorted(options.items())}"
    if key not in _DONE:
        tune = FULL if name in ("l1_sp", "l2_sp", "ewc", "null_space", "orthogonality") else LORA
        result = run(folder, tune, keep=[{"stabiliser": name, **options}], steps=4)
        _DONE[key] = result.logits.double().view(-1)[::7].tolist()
    return _DONE[key]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_of_a_stabiliser_acts(name: str, option: str, tiny_llava: Path) -> None:
    small, field = SMALL.get(name, {}), STABILISERS.find(name).Settings.model_fields[option]
    if (
        typing.get_origin(field.annotation) is not None
        and (name, option) not in OTHER
        and not isinstance(field.default, str)
    ):
        raise AssertionError(f"give {name}.{option} a value in OTHER")
    value = OTHER.get((name, option), another(field, small.get(option, field.default)))
    assert outcome(tiny_llava, name, small | {option: value}) != outcome(tiny_llava, name, small)
