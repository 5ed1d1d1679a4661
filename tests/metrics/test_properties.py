"""What holds for every metric: gold is best, silence is never right, order and surroundings change nothing."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.metrics.registry import get_metric, metric_names
from holdfast.predictions.record import Prediction, Score
from holdfast.tasks.pope.metric import confusion

TEXTS = st.text(alphabet="abc XYZ.,'019?-é", min_size=1, max_size=12).filter(lambda t: t.strip(" .,'?-"))
RATES = ("exact_match", "vqa_accuracy", "stvqa_accuracy", "anls", "relaxed_accuracy", "gqa", "pathvqa", "iconqa")
BINARY = ("pope", "mme")
CHOICE = (
    *("multiple_choice", "scienceqa", "mmbench"),
    *("ai2d", "mmmu", "mmstar", "mmtbench", "realworldqa", "seedbench"),
)
CAPTION = ("bleu", "cider", "rouge_l")
JUDGED = ("mmhal", "chair", "vizwiz_unanswerability")
VARIANTS = [
    (name, variant)
    for name in metric_names()
    if name not in ("meteor", "spice")
    for variant in get_metric(name).variants
]
LIST_OF_TEXTS = st.lists(TEXTS, min_size=4, max_size=8)


def items_for(metric: str, golds: list[str], said: list[str | None]) -> list[Prediction]:
    """Well-formed items of that metric, where ``said[k] == golds[k]`` is the right answer."""
    made = []
    choices = ("cat", "dog", "cow")
    for k, (gold, text) in enumerate(zip(golds, said, strict=True)):
        key = f"{k:03}"
        extra: dict[str, Any] = {"category": f"c{k % 2}"}
        references: tuple[str, ...] = (gold,)
        options: tuple[str, ...] = ()
        if metric == "vqa_accuracy":
            references = (gold,) * 10
        elif metric in BINARY:
            label = "yes" if k % 2 == 0 else "no"
            text = label if text == gold else text
            references, extra = (label,), {"category": f"c{k // 2 % 2}", "subtask": "count", "pair": f"p{k // 2}"}
        elif metric in CHOICE:
            index = k % 3
            text, references, options = ("ABC"[index] if text == gold else text), ("ABC"[index],), choices
            extra["recorded"] = index if text == "ABC"[index] else -1
            key = str(k)
        elif metric == "mathvista":
            text, references, options = (choices[k % 3] if text == gold else text), (choices[k % 3],), choices
        elif metric == "hallusionbench":
            label = "Yes" if k % 2 == 0 else "No"
            text, references = (label if text == gold else text), (label,)
            extra = {"category": "VD", "subcategory": "s", "set_id": k // 4, "figure_id": k // 2, "question_id": k % 2}
        elif metric == "mmvet":
            extra = {"grades": float(text == gold), "capability": "rec,ocr"}
        elif metric == "vizwiz_unanswerability":
            label = "unanswerable" if k % 2 else "red"
            text, extra = (label if text == gold else text), {"answerable": 1 - k % 2}
        elif metric == "mmhal":
            extra = {"rating": 6 if text == gold else 0}
        elif metric == "chair":
            extra = {"hallucinated": [] if text == gold else ["x"], "mentioned": ["x"]}
        made.append(Prediction(key, text, references=references, image=key, choices=options, extra=extra))
    return made[: len(made) - len(made) % 2]


def best(name: str, variant: str) -> float:
    """The highest score there is."""
    if name == "mme":
        return 0.0 if variant == "cognition" else 200.0
    return {"mmhal": 6.0, "ocrbench": 1000.0}.get(name, 100.0)


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
@settings(max_examples=25, deadline=None)
@given(golds=LIST_OF_TEXTS)
def test_gold_as_prediction_is_the_maximum(name: str, variant: str, golds: list[str]) -> None:
    if name == "gqa" and variant == "llava":
        golds = [text.lower().rstrip(".") or "x" for text in golds]  # GQA's answers are lower case without a stop
    if (name, variant) in (("vqa_accuracy", "legacy"), ("vqa_accuracy", "vizwiz")):
        golds = ["dog", "red car", "2", "yes"]  # raw answers are compared, so gold must be tidy, as VizWiz's is not
    if name == "relaxed_accuracy":
        golds = [text for text in golds] + ["0", "12%"]
    result = get_metric(name, variant).score(items_for(name, golds, list(golds)))
    if name in CAPTION:
        empty = get_metric(name, variant).score(items_for(name, golds, ["zzz"] * len(golds)))
        assert result.score >= empty.score - 1e-9
        return
    assert result.score == pytest.approx(best(name, variant))
    assert result.missing == result.unparsed == 0


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
@pytest.mark.parametrize("nothing", [None, "", "   ", "\n"])
def test_silence_is_never_right(name: str, variant: str, nothing: str | None) -> None:
    golds = ["a", "the", "dog", "yes", "no", "0"]
    result = get_metric(name, variant).score(items_for(name, golds, [nothing] * len(golds)))
    assert all(item.score == 0.0 for item in result.items)
    assert result.score == pytest.approx(0.0, abs=1e-3) or name == "vizwiz_unanswerability"
    assert (result.missing if nothing is None else result.unparsed) == result.n
    assert all(item.parsed is None for item in result.items)


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
@settings(max_examples=15, deadline=None)
@given(golds=LIST_OF_TEXTS, said=LIST_OF_TEXTS, seed=st.integers(0, 99))
def test_order_changes_nothing(name: str, variant: str, golds: list[str], said: list[str], seed: int) -> None:
    n = min(len(golds), len(said))
    mixed = [golds[k] if (seed >> k % 6) % 2 else said[k] for k in range(n)]
    items = items_for(name, golds[:n], mixed)
    shuffled = items.copy()
    random.Random(seed).shuffle(shuffled)
    metric = get_metric(name, variant)
    assert metric.score(items) == metric.score(shuffled)


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
@settings(max_examples=15, deadline=None)
@given(golds=LIST_OF_TEXTS, said=LIST_OF_TEXTS)
def test_item_scores_add_up_to_the_total(name: str, variant: str, golds: list[str], said: list[str]) -> None:
    n = min(len(golds), len(said))
    items = items_for(name, golds[:n], [golds[k] if k % 3 else said[k] for k in range(n)])
    result = get_metric(name, variant).score(items)
    assert result.n == len(result.items)
    assert all(0 <= item.score <= (10 if name == "cider" else 1) for item in result.items)
    assert all(item.lenient is None or item.lenient > item.score for item in result.items)
    mean = 100 * sum(item.score for item in result.items) / result.n
    assert rebuilt(name, result, items, mean) == pytest.approx(result.score, abs=1e-9)


def rebuilt(name: str, result: Score, items: list[Prediction], mean: float) -> float:
    """The total from the items' scores alone (and, for counts and corpora, from what the items are)."""
    score = {item.id: item.score for item in result.items}
    if name == "mmhal":
        return mean * 6 / 100
    if name == "ocrbench":
        return mean * 10
    if name == "pope":
        flip = {"yes": "no", "no": "yes"}
        splits: dict[str, list[Any]] = {}
        for item in items:
            label = item.references[0]
            splits.setdefault(item.extra["category"], []).append((label, label if score[item.id] else flip[label]))
        return 100 * sum(confusion(pairs)["f1"] for pairs in splits.values()) / len(splits)
    if name == "mme":
        pairs: dict[str, list[float]] = {}
        for item in items:
            pairs.setdefault(item.extra["pair"], []).append(score[item.id])
        plus = 100 * sum(all(p) for p in pairs.values()) / len(pairs)
        return 0.0 if result.variant == "cognition" else mean + plus
    if name in ("bleu", "vizwiz_unanswerability"):
        return result.score  # a corpus ratio and a ranking: not functions of item scores
    return mean


def test_truncated_items_are_counted_and_still_scored() -> None:
    for name in RATES + CHOICE[:2]:
        items = [replace(item, truncated=True) for item in items_for(name, ["dog", "cat"], ["dog", "cat"])]
        result = get_metric(name).score(items)
        assert (result.truncated, result.score) == (2, 100.0), name


PROBE = """
import json, sys
sys.path.insert(0, {tests!r})
from tests.metrics.test_properties import VARIANTS, items_for
from holdfast.metrics.registry import get_metric
golds = ["a dog", "Istanbul", "2", "yes", "\u00e9t\u00e9", "I'll go"]
said = ["the dog", "ISTANBUL", "two", "yes", "\u00e9t\u00e9.", "no idea"]
out = {{}}
for name, variant in VARIANTS:
    answers = [g if k % 2 else t for k, (g, t) in enumerate(zip(golds, said))]
    s = get_metric(name, variant).score(items_for(name, golds, answers))
    out[name + "/" + variant] = [repr(s.score), [repr(i) for i in s.items], json.dumps(s.to_json())]
print(json.dumps(out))
"""


def test_environment_and_locale_change_nothing() -> None:
    root = Path(__file__).resolve().parents[2]
    seen = []
    for extra in (
        {"PYTHONHASHSEED": "1", "LC_ALL": "C", "VERBOSE": "1", "WORLD_SIZE": "8"},
        {"PYTHONHASHSEED": "77", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "PYTHONUTF8": "1", "TZ": "Asia/Tokyo"},
    ):
        environment = {**os.environ, "PYTHONPATH": f"{root}/src{os.pathsep}{root}", **extra}
        done = subprocess.run(
            [sys.executable, "-c", PROBE.format(tests=str(root))],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        seen.append(json.loads(done.stdout))
    assert seen[0] == seen[1]
