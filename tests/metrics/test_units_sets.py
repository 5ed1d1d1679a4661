"""Metrics that put items together (sub-tasks, rotations, corpora, judgements), by hand; and the registry."""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.metrics.bleu import bleu, statistics
from holdfast.metrics.cider import cider
from holdfast.metrics.registry import get_metric, metric_names
from holdfast.metrics.rouge import rouge_l
from holdfast.predictions.record import Prediction
from holdfast.tasks.mme.metric import COGNITION, PERCEPTION
from holdfast.tasks.pathvqa.metric import token_f1, word_precision
from tests.support.judging import ask, one

# GQA, PathVQA


def test_gqa_conversions() -> None:
    assert [one("gqa", "Dog.", "dog", variant=v) for v in ("llava", "strict", "lmms_eval")] == [1, 0, 1]
    assert [one("gqa", "t-shirt!", "t-shirt", variant=v) for v in ("llava", "strict", "lmms_eval")] == [0, 0, 1]


def test_gqa_parts() -> None:
    def item(key: str, said: str, gold: str, structural: str, **extra: Any) -> Prediction:
        return Prediction(key, said, (gold,), extra={"structural": structural, "group": "g", **extra})

    items = [
        item("1", "yes", "yes", "verify", entailed=("1", "2", "3")),
        item("2", "no", "yes", "query", balanced=False),
        item("3", "red", "red", "query"),
    ]
    result = ask("gqa", *items)
    assert result.n == 2
    assert (result.details["binary"], result.details["open"]) == ({"score": 100.0, "n": 1}, {"score": 100.0, "n": 1})
    assert result.details["consistency"] == 50.0
    assert result.details["distribution"] == 0.0


def test_gqa_distribution_by_hand() -> None:
    said = ["a", "a", "a", "b"]
    gold = ["a", "a", "b", "b"]
    items = [Prediction(str(k), s, (g,), extra={"group": "x"}) for k, (s, g) in enumerate(zip(said, gold, strict=True))]
    # a: (3-2)^2/2, b: (1-2)^2/2, one group
    assert ask("gqa", *items).details["distribution"] == pytest.approx(1.0 / 100)


def test_pathvqa_formulae() -> None:
    assert word_precision("the liver is big", "liver big") == 0.5
    # shared: liver twice; said 3 words, 'big' missed once: precision 2/3, recall 2/3
    assert token_f1("liver liver x", "liver big") == pytest.approx(2 / 3)
    assert token_f1("", "liver") == 0.0


def test_pathvqa_reports_yes_no_and_open_apart() -> None:
    items = [
        Prediction("a", "Yes.", ("yes",)),
        Prediction("b", "no", ("yes",)),
        Prediction("c", "big liver", ("liver",)),
    ]
    result = ask("pathvqa", *items)
    assert result.details["yes_no"] == {"score": 50.0, "n": 2}
    assert result.details["open"]["exact"] == 0.0 and result.details["open"]["f1"] == pytest.approx(200 / 3)
    assert get_metric("pathvqa", "f1").graded and not get_metric("pathvqa").graded
    assert ask("pathvqa", *items, variant="f1").score == pytest.approx((100 + 200 / 3) / 3)


# MME, MMBench


def mme(subtask: str, image: str, first: str, second: str) -> list[Prediction]:
    extra = {"subtask": subtask}
    return [
        Prediction(f"{subtask}/{image}/1", first, ("Yes",), image=f"{subtask}/{image}", extra=extra),
        Prediction(f"{subtask}/{image}/2", second, ("No",), image=f"{subtask}/{image}", extra=extra),
    ]


def test_mme_acc_and_acc_plus() -> None:
    items = [*mme("count", "a", "Yes", "no"), *mme("count", "b", "yes", "Yes, it is"), *mme("OCR", "c", "x", "know")]
    result = ask("mme", *items)
    table = result.details["subtasks"]
    assert (table["count"]["acc"], table["count"]["acc_plus"], table["count"]["score"]) == (75.0, 50.0, 125.0)
    assert (table["OCR"]["score"], table["OCR"]["other"]) == (50.0, 1)  # 'know' holds 'no' in its first four letters
    assert result.score == result.details["perception"] == 175.0
    assert result.unparsed == 1 and "landmark" in result.details["subtasks_absent"]


def test_mme_full_marks() -> None:
    items = [item for name in PERCEPTION + COGNITION for item in mme(name, "a", "yes", "no")]
    result = ask("mme", *items)
    assert (result.score, result.details["perception"], result.details["cognition"]) == (2800, 2000, 800)
    assert ask("mme", *items, variant="perception").score == 2000


def test_mme_needs_two_questions_an_image() -> None:
    with pytest.raises(HoldfastError, match="1 question"):
        ask("mme", *mme("count", "a", "yes", "no")[:1])


def test_mmbench_counts_a_question_only_if_all_rotations_are_right() -> None:
    choices = ("cat", "dog")

    def item(index: int, said: str, gold: str) -> Prediction:
        return Prediction(str(index), said, (gold,), choices=choices, extra={"category": "c", "l2-category": "l"})

    items = [item(7, "A", "A"), item(1000007, "B", "B"), item(8, "A", "A"), item(1000008, "A", "B"), item(9, "?", "A")]
    result = ask("mmbench", *items)
    assert {i.id: i.score for i in result.items} == {"7": 1.0, "8": 0.0, "9": 0.0}
    assert (result.n, result.unparsed) == (3, 1)
    assert result.score == pytest.approx(100 / 3) and result.details["vanilla"] == pytest.approx(200 / 3)
    assert ask("mmbench", *items, variant="vanilla").score == pytest.approx(200 / 3)


# captions


def test_bleu_by_hand() -> None:
    part = statistics(["the", "cat", "sat"], [["the", "cat", "sat", "down"], ["a", "cat"]])
    assert (part.guess, part.correct, part.reference_length) == ((3, 2, 1, 0), (3, 2, 1, 0), 2)
    # precisions 3/3, 2/2, 1/1 and, where there is no 4-gram at all, tiny over small
    assert bleu([part]) == pytest.approx((1.0, 1.0, 1.0, (1e-15 / 1e-9) ** 0.25), rel=1e-6)


def test_bleu_adds_up_counts_and_is_brief_at_a_price() -> None:
    parts = [statistics(["a"], [["a", "b"]]), statistics(["c", "d"], [["c", "x"]])]
    # two of three words match; three words against four
    assert bleu(parts)[0] == pytest.approx(2 / 3 * exp(1 - 4 / 3), rel=1e-6)


def test_bleu_closest_reference_prefers_the_shorter_in_a_tie() -> None:
    assert statistics(["a"] * 3, [["a"] * 2, ["a"] * 4]).reference_length == 2


def test_bleu_clips() -> None:
    assert statistics(["the"] * 3, [["the", "cat"], ["the", "the", "dog"]]).correct[0] == 2


def test_rouge_takes_precision_and_recall_from_different_references() -> None:
    # precision 1 from the long reference, recall 1 from the short one
    assert rouge_l(["a", "b"], [["a", "b", "c", "d"], ["a"]]) == pytest.approx(1.0)


def test_cider_by_hand() -> None:
    """Two images with one reference each; every n-gram has document frequency 1, so every weight is log 2."""
    said, references = [["a", "b", "c"], ["x"]], [[["a", "b", "d"]], [["x"]]]
    scores = cider(said, references)
    weight = log(2)
    # unigrams: two of three shared; bigrams: one of two; trigrams none; equal lengths
    expected = 10 / 4 * (2 * weight**2 / (sqrt(3) * weight) ** 2 + weight**2 / (sqrt(2) * weight) ** 2)
    assert scores[0] == pytest.approx(expected)
    assert scores[1] == pytest.approx(10 / 4)


def test_cider_of_a_single_image_is_zero() -> None:
    assert cider([["a", "b"]], [[["a", "b"]]]) == [0.0]


def test_cider_punishes_length() -> None:
    long = ["a", "b"] + [f"w{k}" for k in range(30)]
    short, padded = (cider([said, ["x"]], [[["a", "b"]], [["x"]]])[0] for said in (["a", "b"], long))
    assert padded < 0.01 * short
    result = ask("cider", Prediction("1", " ".join(long), ("a b",)), Prediction("2", "x", references=("x",)))
    assert "length penalty" in result.details["warning"]


def test_meteor_and_spice_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_METEOR_JAR", "/no/such/meteor-1.5.jar")
    with pytest.raises(HoldfastError, match=r"optional extra .* is not here"):
        one("meteor", "a", "a")
    with pytest.raises(HoldfastError, match="SPICE is not part of Holdfast"):
        get_metric("spice")


# judged files


def test_mmhal_ratings() -> None:
    def item(key: str, **extra: Any) -> Prediction:
        return Prediction(key, "x", (), extra={"question_type": "counting", "judge": "j", **extra})

    items = [item("a", judgement="... Rating: 6"), item("b", rating=2), item("c", judgement="rating: 1, rating: 2")]
    result = ask("mmhal", *items)
    assert result.score == pytest.approx(8 / 3)
    assert result.details["hallucination_rate"] == pytest.approx(200 / 3)
    assert (result.unparsed, result.details["judge"]) == (1, "j")


def test_mmhal_refuses_a_rating_out_of_range() -> None:
    with pytest.raises(HoldfastError, match="not a number from 0 to 6"):
        one("mmhal", "x", extra={"rating": float("nan")})


def test_chair() -> None:
    items = [
        Prediction(
            "1",
            "a",
            references=(),
            extra={"hallucinated": [["cats", "cat"]], "mentioned": [["cats", "cat"], ["dog", "dog"]]},
        ),
        Prediction("2", "b", (), extra={"hallucinated": [], "mentioned": [["dog", "dog"]]}),
    ]
    result = ask("chair", *items)
    assert (result.score, result.details["CHAIRs"]) == (50.0, 50.0)
    assert result.details["CHAIRi"] == pytest.approx(100 / 3)


# registry and counts


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(HoldfastError, match="Did you mean 'vqa_accuracy'"):
        get_metric("vqa_acuracy")
    with pytest.raises(HoldfastError, match="Did you mean 'official'"):
        get_metric("vqa_accuracy", "oficial")


def test_every_metric_loads_and_defaults_to_its_first_variant() -> None:
    for name in metric_names():
        if name == "spice":
            continue
        metric = get_metric(name)
        assert (metric.name, metric.variant) == (name, metric.variants[0])


def test_counts_and_duplicates() -> None:
    items = [
        Prediction("a", None, ("x",)),
        Prediction("b", "", ("x",)),
        Prediction("c", "x", ("x",), truncated=True),
        Prediction("d", "x", ("x",)),
    ]
    result = ask("exact_match", *items)
    assert (result.n, result.missing, result.unparsed, result.truncated) == (4, 1, 1, 1)
    assert result.score == 50.0
    assert set(result.to_json()) == {
        "task", "metric", "variant", "score", "n", "missing", "unparsed", "truncated", "details",
    }  # fmt: skip
    with pytest.raises(HoldfastError, match="comes twice"):
        ask("exact_match", items[0], items[0])
    with pytest.raises(HoldfastError, match="nothing to score"):
        ask("exact_match")
