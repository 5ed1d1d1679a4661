"""Metrics of short answers on small items whose scores are worked out by hand."""

from __future__ import annotations

import random

import pytest

from holdfast.errors import HoldfastError
from holdfast.metrics.relaxed import relaxed_match
from holdfast.metrics.rouge import common_subsequence
from holdfast.metrics.text.edit_distance import edit_distance
from holdfast.metrics.text.options import infer
from holdfast.predictions.record import Prediction
from holdfast.tasks.vizwiz.metric import average_precision
from holdfast.tasks.vqa.metric import soft_score
from tests.support.judging import ask, one

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
    result = ask(
        "exact_match",
        Prediction("a", "The answer is: cat", ("cat",)),
        Prediction("b", "yesterday", ("yes",)),
    )
    assert [(i.score, i.lenient) for i in result.items] == [(0.0, 1.0), (0.0, None)]
    assert (result.score, result.details["lenient"]) == (0.0, 50.0)


def test_of_yes_and_no_only_the_first_one_said_counts() -> None:
    result = ask(
        "exact_match",
        Prediction("a", "no, not yes", ("yes",)),
        Prediction("b", "Yes, there is no doubt", ("yes",)),
    )
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
    from holdfast.metrics.text.vqa import drop_punctuation

    assert drop_punctuation("a" + "." * 40) == "a" + "." * 8


def test_vqa_refuses_nine_answers() -> None:
    with pytest.raises(HoldfastError, match="10 answers expected and 9 found") as caught:
        one("vqa_accuracy", "yes", *["yes"] * 9)
    assert caught.value.item == "q"


def test_vqa_breakdowns() -> None:
    def item(key: str, said: str, kind: str) -> Prediction:
        return Prediction(key, said, ("yes",) * 10, extra={"answer_type": kind, "question_type": "is"})

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
    def item(key: str, said: str, answerable: int, **extra: float) -> Prediction:
        return Prediction(key, said, ("x",) * 10, extra={"answerable": answerable, **extra})

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
    result = ask("scienceqa", Prediction("q", text, ("B",), choices=("cat", "dog", "cow")))
    assert result.items[0].parsed == parsed
    assert result.items[0].score == float(parsed == "B")
    assert result.unparsed == (parsed is None)


def test_scienceqa_subsets() -> None:
    items = [
        Prediction(
            "1",
            "A",
            references=("A",),
            choices=("x", "y"),
            extra={"image": True, "context": ["TXT", "IMG"], "subject": "NAT"},
        ),
        Prediction("2", "B", ("A",), choices=("x", "y"), extra={"image": False, "context": ["NO"], "subject": "NAT"}),
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
    item = Prediction("q", "A thing on a mat", ("A",), choices=("cat", "dog"))
    assert ask("multiple_choice", item).score == 100.0
    assert ask("multiple_choice", item, variant="article").score == 0.0


def test_verbose_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    item = Prediction("q", "A thing on a mat", ("A",), choices=("cat", "dog"))
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
    assert ask("pope", Prediction("q", text, ("yes",))).items[0].parsed == said


def test_pope_counts_by_hand() -> None:
    rows = [("a", "yes", "yes"), ("b", "Yes", "no"), ("c", "No", "no"), ("d", "no", "yes"), ("e", "yes", "yes")]
    items = [Prediction(k, said, (label,), extra={"category": "random"}) for k, said, label in rows]
    items.append(Prediction("f", "yes", ("yes",), extra={"category": "popular"}))
    result = ask("pope", *items)
    table = result.details["random"]
    assert (table["TP"], table["FP"], table["TN"], table["FN"]) == (2, 1, 1, 1)
    assert table["f1"] == pytest.approx(2 / 3)
    assert table["yes_ratio"] == 3 / 5 and table["label_yes_ratio"] == 3 / 5
    assert result.score == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert result.details["pooled"]["f1"] == pytest.approx(0.75)


def test_pope_strict_leaves_nothing_unparsed_uncounted() -> None:
    items = [
        Prediction("a", "A dog", ("yes",)),
        Prediction("b", "A dog", ("no",)),
        Prediction("c", "Yes.", ("yes",)),
    ]
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


def test_anls_of_endless_texts_is_known_or_refused() -> None:
    assert one("anls", "word " * 200_000, "word") == 0.0  # the lengths alone say so
    with pytest.raises(HoldfastError, match="too long to be compared"):
        one("anls", "word " * 200_000, "drow " * 200_000)


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
        Prediction("a", "1,000", ("1000",), extra={"split": "human"}),
        Prediction("b", "7", ("7",), extra={"split": "augmented"}),
    ]
    result = ask("relaxed_accuracy", *items)
    assert result.details["by_split"]["human"]["score"] == 0.0
    assert (result.score, result.details["mean_of_splits"], result.details["lenient"]) == (50.0, 50.0, 100.0)
