"""Every metric on small items whose scores are worked out by hand."""

from __future__ import annotations

import random
from math import exp, log, sqrt
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.evaluation.items import Item, Score
from holdfast.evaluation.metrics.bleu import bleu, statistics
from holdfast.evaluation.metrics.cider import cider
from holdfast.evaluation.metrics.mme import COGNITION, PERCEPTION
from holdfast.evaluation.metrics.pathvqa import token_f1, word_precision
from holdfast.evaluation.metrics.registry import get_metric, metric_names
from holdfast.evaluation.metrics.relaxed import relaxed_match
from holdfast.evaluation.metrics.rouge import common_subsequence, rouge_l
from holdfast.evaluation.metrics.unanswerable import average_precision
from holdfast.evaluation.metrics.vqa import soft_score
from holdfast.evaluation.text.edit_distance import edit_distance
from holdfast.evaluation.text.options import infer


def ask(metric: str, *items: Item, variant: str | None = None) -> Score:
    return get_metric(metric, variant).score(items)


def one(metric: str, prediction: str | None, *references: str, variant: str | None = None, **more: Any) -> float:
    return ask(metric, Item("q", prediction, references, **more), variant=variant).items[0].score


# exact match


@pytest.mark.parametrize(
    ("prediction", "gold", "right"),
    [
        ("Cat.", "cat", {"normalised"}),
        ("cat", "cat", {"normalised", "strict", "stripped", "lower"}),
        (" cat ", "cat", {"normalised", "strict", "stripped"}),
        ("CAT", "cat", {"normalised", "stripped", "lower"}),
        ("a cat", "cat", set()),
    ],
)
def test_exact_match_variants(prediction: str, gold: str, right: set[str]) -> None:
    for variant in ("normalised", "strict", "stripped", "lower"):
        assert one("exact_match", prediction, gold, variant=variant) == float(variant in right), variant


def test_lenient_tells_format_from_ability() -> None:
    result = ask("exact_match", Item("a", "The answer is: cat", ("cat",)), Item("b", "yesterday", ("yes",)))
    assert [(i.score, i.lenient) for i in result.items] == [(0.0, 1.0), (0.0, None)]
    assert (result.score, result.details["lenient"]) == (0.0, 50.0)


def test_of_yes_and_no_only_the_first_one_said_counts() -> None:
    result = ask("exact_match", Item("a", "no, not yes", ("yes",)), Item("b", "Yes, there is no doubt", ("yes",)))
    assert [i.lenient for i in result.items] == [None, 1.0]


# VQA soft accuracy


def by_loop(matches: int) -> float:
    """The official loop over annotators left out."""
    annotators = [True] * matches + [False] * (10 - matches)
    left_out = [sum(annotators) - out for out in annotators]
    return sum(min(1.0, others / 3) for others in left_out) / 10


@pytest.mark.parametrize("matches", range(11))
def test_the_table_is_the_official_loop(matches: int) -> None:
    assert soft_score(matches) == pytest.approx(by_loop(matches), abs=1e-12)


def test_vqa_is_not_the_popular_shortcut() -> None:
    answers = ["red"] * 2 + ["blue"] * 8
    assert one("vqa_accuracy", "red", *answers) == 0.6  # the shortcut would say 0.667


@pytest.mark.parametrize(
    ("prediction", "answers", "scores"),
    [
        # identical answers: the official code then compares raw text
        ("Yes.", ["yes"] * 10, {"evalai": 1, "official": 0, "legacy": 1, "vizwiz": 1}),
        ("yes", ["yes"] * 10, {"evalai": 1, "official": 1, "legacy": 1, "vizwiz": 1}),
        # differing answers with capitals: only evalai and official lower them
        ("dog", ["Dog"] * 9 + ["cat"], {"evalai": 1, "official": 1, "legacy": 0, "vizwiz": 0}),
        ("the dog!", ["dog"] * 9 + ["cat"], {"evalai": 1, "official": 1, "legacy": 1, "vizwiz": 1}),
        ("two", ["2"] * 9 + ["3"], {"evalai": 1, "official": 1, "legacy": 1, "vizwiz": 1}),
        ("dont know", ["don't know"] * 9 + ["x"], {"evalai": 1, "official": 1, "legacy": 1, "vizwiz": 1}),
        # 's stands apart under evalai on both sides
        ("man's hat", ["man's hat"] * 9 + ["x"], {"evalai": 1, "official": 1, "legacy": 1, "vizwiz": 1}),
        # punctuation of the answers stays under vizwiz
        ("3:30", ["3:30"] * 9 + ["x"], {"evalai": 1, "official": 1, "legacy": 1, "vizwiz": 1}),
        ("a/b", ["a/b"] * 9 + ["x"], {"evalai": 1, "official": 1, "legacy": 0, "vizwiz": 0}),
        # the mistyped lookbehind: a closing period goes even after a digit
        ("3.", ["3"] * 9 + ["x"], {"evalai": 1, "official": 1, "legacy": 1, "vizwiz": 1}),
        (".5", [".5"] * 9 + ["x"], {"evalai": 1, "official": 1, "legacy": 1, "vizwiz": 1}),
    ],
)  # fmt: skip
def test_vqa_variants(prediction: str, answers: list[str], scores: dict[str, float]) -> None:
    found = {v: one("vqa_accuracy", prediction, *answers, variant=v) for v in scores}
    assert found == scores


def test_only_32_periods_are_dropped() -> None:
    from holdfast.evaluation.text.vqa import drop_punctuation

    assert drop_punctuation("a" + "." * 40) == "a" + "." * 8


def test_vqa_refuses_nine_answers() -> None:
    with pytest.raises(HoldfastError, match="10 answers expected and 9 found") as caught:
        one("vqa_accuracy", "yes", *["yes"] * 9)
    assert caught.value.item == "q"


def test_vqa_breakdowns() -> None:
    def item(key: str, said: str, kind: str) -> Item:
        return Item(key, said, ("yes",) * 10, extra={"answer_type": kind, "question_type": "is"})

    result = ask("vqa_accuracy", item("a", "yes", "yes/no"), item("b", "no", "yes/no"), item("c", "yes", "other"))
    assert result.details["by_answer_type"]["yes/no"] == {"score": 50.0, "n": 2}
    assert result.details["by_answer_type"]["other"] == {"score": 100.0, "n": 1}


# VizWiz unanswerability


def test_average_precision_by_hand_and_with_ties() -> None:
    assert average_precision([True, False, True], [0.9, 0.8, 0.7]) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([True, False], [0.5, 0.5]) == pytest.approx(0.5)
    assert average_precision([False], [0.5]) == 0.0


def test_average_precision_is_that_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = random.Random(0)
    for _ in range(200):
        n = draw.randrange(2, 12)
        labels = [True] + [draw.random() < 0.5 for _ in range(n - 1)]
        scores = [draw.choice((0.0, 0.25, 0.5, 1.0)) for _ in labels]
        assert average_precision(labels, scores) == pytest.approx(sklearn.average_precision_score(labels, scores))


def test_unanswerability_reads_confidence_or_the_answer() -> None:
    def item(key: str, said: str, answerable: int, **extra: float) -> Item:
        return Item(key, said, ("x",) * 10, extra={"answerable": answerable, **extra})

    said = [item("a", "unanswerable", 0), item("b", "red", 1), item("c", "blue", 0), item("d", "Unanswerable.", 1)]
    result = ask("vizwiz_unanswerability", *said)
    assert (result.details["f1"], result.details["said_unanswerable"]) == (50.0, 2)
    sure = [item(k, "x", a, predicted_answerable=p) for k, a, p in (("a", 0, 0.1), ("b", 1, 0.9), ("c", 0, 0.4))]
    assert ask("vizwiz_unanswerability", *sure).score == 100.0


# ScienceQA, options


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("B", "B"),
        ("B. dog", "B"),
        ("The answer is B.", "B"),
        ("The answer is B", None),  # the closing dot is any character, and there is none
        ("The answer is B, clearly", "B"),
        ("The answer is B. The answer is B.", None),  # twice
        ("b", None),
        ("F", None),
        ("(B)", None),
        ("B.", None),  # shorter than three characters
        (" B", None),  # not stripped
        ("The answer is E.", None),  # beyond the choices
    ],
)
def test_scienceqa_parser(text: str, parsed: str | None) -> None:
    result = ask("scienceqa", Item("q", text, ("B",), choices=("cat", "dog", "cow")))
    assert result.items[0].parsed == parsed
    assert result.items[0].score == float(parsed == "B")
    assert result.unparsed == (parsed is None)


def test_scienceqa_subsets() -> None:
    items = [
        Item("1", "A", ("A",), choices=("x", "y"), extra={"image": True, "context": ["TXT", "IMG"], "subject": "NAT"}),
        Item("2", "B", ("A",), choices=("x", "y"), extra={"image": False, "context": ["NO"], "subject": "NAT"}),
    ]
    result = ask("scienceqa", *items)
    assert (result.score, result.details["image"]["score"], result.details["text_only"]["score"]) == (50, 100, 0)
    assert result.details["by_context"] == {
        "IMG": {"score": 100.0, "n": 1},
        "NO": {"score": 0.0, "n": 1},
        "TXT": {"score": 100.0, "n": 1},
    }


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        ("B", 1),
        ("(B)", 1),
        ("B: the dog", 1),
        ("A or B", None),  # two letters, and no option's text
        ("a big dog", 1),  # the text of one option
        ("cat and dog", None),
        ("I think the answer is C because of x y z and many more words than all the options have", 2),
        ("nothing here", None),
    ],
)
def test_option_inference(answer: str, index: int | None) -> None:
    assert infer(answer, ("cat", "dog", "cow")) == index


def test_a_lone_a_is_an_article_only_where_asked() -> None:
    item = Item("q", "A thing on a mat", ("A",), choices=("cat", "dog"))
    assert ask("multiple_choice", item).score == 100.0
    assert ask("multiple_choice", item, variant="article").score == 0.0


def test_verbose_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    item = Item("q", "A thing on a mat", ("A",), choices=("cat", "dog"))
    monkeypatch.setenv("VERBOSE", "1")
    assert ask("multiple_choice", item).score == 100.0


# POPE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("No", "no"),
        ("no, there is", "no"),
        ("It is not. Yes", "no"),
        ("Yes. no", "yes"),
        ("NO", "yes"),
        ("isn't", "yes"),
        ("No\n", "yes"),
        ("maybe", "yes"),
    ],
)
def test_pope_official_rule(text: str, said: str) -> None:
    assert ask("pope", Item("q", text, ("yes",))).items[0].parsed == said


def test_pope_counts_by_hand() -> None:
    rows = [("a", "yes", "yes"), ("b", "Yes", "no"), ("c", "No", "no"), ("d", "no", "yes"), ("e", "yes", "yes")]
    items = [Item(k, said, (label,), extra={"category": "random"}) for k, said, label in rows]
    items.append(Item("f", "yes", ("yes",), extra={"category": "popular"}))
    result = ask("pope", *items)
    table = result.details["random"]
    assert (table["TP"], table["FP"], table["TN"], table["FN"]) == (2, 1, 1, 1)
    assert table["f1"] == pytest.approx(2 / 3)
    assert table["yes_ratio"] == 3 / 5 and table["label_yes_ratio"] == 3 / 5
    assert result.score == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert result.details["pooled"]["f1"] == pytest.approx(0.75)


def test_pope_strict_leaves_nothing_unparsed_uncounted() -> None:
    items = [Item("a", "A dog", ("yes",)), Item("b", "A dog", ("no",)), Item("c", "Yes.", ("yes",))]
    result = ask("pope", *items, variant="strict")
    assert result.unparsed == 2
    assert (result.details["all"]["FN"], result.details["all"]["FP"], result.details["all"]["TP"]) == (1, 1, 1)


# IconQA


def test_iconqa_reads_index_letter_or_text() -> None:
    for said, score in (("1", 1.0), ("B", 1.0), ("Dog", 1.0), ("0", 0.0), ("cow", 0.0)):
        assert one("iconqa", said, "1", choices=("cat", "dog"), extra={"answer_index": 1}) == score
    assert one("iconqa", "3", "3") == 1.0
    assert one("iconqa", "3.", "3") == 0.0


def test_an_official_index_is_not_the_text_of_another_choice() -> None:
    extra = {"answer_index": 0, "predicted_index": 0}
    assert one("iconqa", "0", "0", choices=("1", "0"), extra=extra) == 1.0


# ANLS, relaxed accuracy, ST-VQA


def test_anls_boundary_by_name() -> None:
    scores = {v: one("anls", "ab", "abcd", variant=v) for v in ("challenge", "paper", "m4c", "pix2struct")}
    assert scores == {"challenge": 0.5, "paper": 0.0, "m4c": 0.5, "pix2struct": 0.0}


def test_anls_raw_length_divides_by_uncollapsed_text() -> None:
    assert one("anls", "a  b", "a c") == pytest.approx(2 / 3)
    assert one("anls", "a  b", "a c", variant="raw_length") == pytest.approx(3 / 4)


def by_table(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def test_edit_distance_and_subsequence_by_brute_force() -> None:
    draw = random.Random(1)
    for _ in range(3000):
        a = "".join(draw.choice("abc") for _ in range(draw.randrange(12)))
        b = "".join(draw.choice("abc") for _ in range(draw.randrange(12)))
        assert edit_distance(a, b) == by_table(a, b)
        longest = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                longest[i + 1][j + 1] = longest[i][j] + 1 if x == y else max(longest[i][j + 1], longest[i + 1][j])
        assert common_subsequence(list(a), list(b)) == longest[-1][-1]


def test_edit_distance_has_no_length_limit() -> None:
    assert edit_distance("a" * 500, "a" * 300 + "b" * 200) == 200


@pytest.mark.parametrize(
    ("said", "target", "right"),
    [
        ("105", "100", True),
        ("105.01", "100", False),
        ("95", "100", True),
        ("-95", "-100", True),
        ("0.0", "0", False),  # a target of zero is compared as text
        ("0", "0", True),
        ("50%", "50", False),
        ("50%", "0.5", True),
        ("1,000", "1000", False),
        ("Red", "red", True),
        ("nan", "nan", True),
    ],
)
def test_relaxed_match(said: str, target: str, right: bool) -> None:
    assert relaxed_match(said, target) is right


def test_relaxed_halves_and_lenient() -> None:
    items = [
        Item("a", "1,000", ("1000",), extra={"split": "human"}),
        Item("b", "7", ("7",), extra={"split": "augmented"}),
    ]
    result = ask("relaxed_accuracy", *items)
    assert result.details["by_split"]["human"]["score"] == 0.0
    assert (result.score, result.details["mean_of_splits"], result.details["lenient"]) == (50.0, 50.0, 100.0)


# GQA, PathVQA


def test_gqa_conversions() -> None:
    assert [one("gqa", "Dog.", "dog", variant=v) for v in ("llava", "strict", "lmms_eval")] == [1, 0, 1]
    assert [one("gqa", "t-shirt!", "t-shirt", variant=v) for v in ("llava", "strict", "lmms_eval")] == [0, 0, 1]


def test_gqa_parts() -> None:
    def item(key: str, said: str, gold: str, structural: str, **extra: Any) -> Item:
        return Item(key, said, (gold,), extra={"structural": structural, "group": "g", **extra})

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
    items = [Item(str(k), s, (g,), extra={"group": "x"}) for k, (s, g) in enumerate(zip(said, gold, strict=True))]
    # a: (3-2)^2/2, b: (1-2)^2/2, one group
    assert ask("gqa", *items).details["distribution"] == pytest.approx(1.0 / 100)


def test_pathvqa_formulae() -> None:
    assert word_precision("the liver is big", "liver big") == 0.5
    # shared: liver twice; said 3 words, 'big' missed once: precision 2/3, recall 2/3
    assert token_f1("liver liver x", "liver big") == pytest.approx(2 / 3)
    assert token_f1("", "liver") == 0.0


def test_pathvqa_reports_yes_no_and_open_apart() -> None:
    items = [Item("a", "Yes.", ("yes",)), Item("b", "no", ("yes",)), Item("c", "big liver", ("liver",))]
    result = ask("pathvqa", *items)
    assert result.details["yes_no"] == {"score": 50.0, "n": 2}
    assert result.details["open"]["exact"] == 0.0 and result.details["open"]["f1"] == pytest.approx(200 / 3)
    assert get_metric("pathvqa", "f1").graded and not get_metric("pathvqa").graded
    assert ask("pathvqa", *items, variant="f1").score == pytest.approx((100 + 200 / 3) / 3)


# MME, MMBench


def mme(subtask: str, image: str, first: str, second: str) -> list[Item]:
    extra = {"subtask": subtask}
    return [
        Item(f"{subtask}/{image}/1", first, ("Yes",), image=f"{subtask}/{image}", extra=extra),
        Item(f"{subtask}/{image}/2", second, ("No",), image=f"{subtask}/{image}", extra=extra),
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

    def item(index: int, said: str, gold: str) -> Item:
        return Item(str(index), said, (gold,), choices=choices, extra={"category": "c", "l2-category": "l"})

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
    result = ask("cider", Item("1", " ".join(long), ("a b",)), Item("2", "x", ("x",)))
    assert "length penalty" in result.details["warning"]


def test_meteor_and_spice_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_METEOR_JAR", "/no/such/meteor-1.5.jar")
    with pytest.raises(HoldfastError, match=r"optional extra .* is not here"):
        one("meteor", "a", "a")
    with pytest.raises(HoldfastError, match="SPICE is not part of Holdfast"):
        get_metric("spice")


# judged files


def test_mmhal_ratings() -> None:
    def item(key: str, **extra: Any) -> Item:
        return Item(key, "x", (), extra={"question_type": "counting", "judge": "j", **extra})

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
        Item("1", "a", (), extra={"hallucinated": [["cats", "cat"]], "mentioned": [["cats", "cat"], ["dog", "dog"]]}),
        Item("2", "b", (), extra={"hallucinated": [], "mentioned": [["dog", "dog"]]}),
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
        Item("a", None, ("x",)),
        Item("b", "", ("x",)),
        Item("c", "x", ("x",), truncated=True),
        Item("d", "x", ("x",)),
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
