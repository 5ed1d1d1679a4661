"""No sentence says more than the data."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from holdfast.metrics.registry import get_metric
from holdfast.predictions.record import Prediction
from holdfast.reports.verdict import print_comparison
from holdfast.verdict.compare import compare
from holdfast.verdict.floors import blind_floor
from holdfast.verdict.records import Comparison, NonInferiority
from holdfast.verdict.rule import agreeing, decide


def side(task: str, right: list[int], answers: list[str], *, wrong: str = "?", **fields) -> list[Prediction]:
    """Items whose references are ``answers``, answered right where ``right`` says so."""
    return [
        Prediction(
            f"{task}-{i}",
            gold if ok else wrong,
            (gold,),
            task=task,
            score=float(ok),
            metric="exact_match",
            **{name: value(i) for name, value in fields.items()},
        )
        for i, (ok, gold) in enumerate(zip(right, answers, strict=True))
    ]


def varied(n: int) -> list[str]:
    return [f"answer {i % 7}" for i in range(n)]


def compared(target: str | None = "digits", **tasks: tuple[list[int], list[int]]) -> Comparison:
    base = {name: side(name, before, varied(len(before))) for name, (before, _) in tasks.items()}
    tuned = {name: side(name, after, varied(len(after)), wrong="!") for name, (_, after) in tasks.items()}
    return compare(base, tuned, target=target if target in tasks else None)


def ones(right: int, wrong: int) -> list[int]:
    return [1] * right + [0] * wrong


def test_the_summary_and_its_only_task_say_the_same() -> None:
    """Eight of fifteen learned among ten tasks: clear alone, and not after counting what else was looked at."""
    tasks = {f"s{i}": (ones(30, 10), ones(30, 10)) for i in range(9)}
    for tasks["digits"] in ((ones(0, 15), ones(5, 10)), (ones(0, 15), ones(8, 7)), (ones(0, 15), ones(14, 1))):
        comparison = compared(**tasks)
        task, E = comparison.tasks["digits"], comparison.summary.E
        assert E.claim is not None and E.claim.verdict == task.verdict
        assert (E.interval, E.claim.p_holm) == (task.interval, task.p_holm)
        whole, one = comparison.sentences()[:2]
        assert whole.startswith("Gained") == one.startswith("Gained") == (task.verdict == "gained")
        assert ("no clear change on the target" in whole.lower()) == one.startswith("No clear change")


def test_items_too_few_for_any_change_are_named() -> None:
    """All of five one way have p = 2 / 2**5 = 0.0625, all of six 0.031."""
    five, six = (compared(digits=(ones(0, n), ones(n, 0))) for n in (5, 6))
    assert "Too few: 5 items can show no change, it takes at least 6." in five.sentences()[0]
    assert five.tasks["digits"].verdict == "no clear change" and six.tasks["digits"].verdict == "gained"
    assert "Too few" not in six.sentences()[0]
    strict = compare({"a": side("a", ones(0, 6), varied(6))}, {"a": side("a", ones(6, 0), varied(6))}, confidence=0.99)
    assert "at least 8" in strict.sentences()[0]


def test_what_has_no_base_to_be_a_share_of_is_a_dash() -> None:
    """The target scored 0 before, so E is no percentage of it."""
    console = Console(file=io.StringIO(), width=80)
    print_comparison(console, compared(digits=(ones(0, 40), ones(30, 10)), a=(ones(60, 0), ones(50, 10))))
    lines = console.file.getvalue().splitlines()
    (E,) = [line.split() for line in lines if line.startswith("E  ")]
    assert "-%" not in E and "-" in E


def test_holm_runs_over_every_claim_of_the_page() -> None:
    comparison = compared(
        digits=(ones(0, 40), ones(30, 10)), a=(ones(60, 0), ones(50, 10)), b=(ones(60, 0), ones(58, 2))
    )
    assert comparison.summary.claims == 4  # three tasks and the mean of two sources
    assert "4 claims" in comparison.rule and comparison.to_json()["rule"] == comparison.rule
    p_values = {name: task.p_value for name, task in comparison.tasks.items()}
    F = comparison.summary.F.claim
    assert F is not None
    ordered = sorted([*p_values.values(), F.p_value])
    assert comparison.tasks["b"].p_holm == pytest.approx(ordered[-1])
    assert F.p_holm == pytest.approx(max(p * (4 - i) for i, p in enumerate(ordered) if p <= F.p_value))


def test_the_mean_of_several_tasks_has_the_test_of_all_their_items() -> None:
    comparison = compared(None, a=(ones(40, 0), ones(36, 4)), b=(ones(40, 0), ones(35, 5)))
    claim = comparison.summary.F.claim
    assert claim is not None and claim.p_value == pytest.approx(2 * 0.5**9)  # nine flips, all one way
    low, high = comparison.summary.F.interval
    assert low < comparison.summary.F.value < high < 0 and claim.verdict == "lost"


def test_an_interval_never_excludes_zero_where_its_test_does_not() -> None:
    task = compared(digits=(ones(0, 40), ones(5, 35))).tasks["digits"]
    assert task.p_value == pytest.approx(0.0625) and task.interval[0] == 0.0 < task.interval[1]
    assert agreeing((0.01, 0.2), 0.06, 0.05) == (0.0, 0.2) and agreeing((-0.2, -0.01), 0.01, 0.05) == (-0.2, -0.01)
    assert decide(0.1, (0.0, 0.2), 0.01, level=0.05, unchanged=False) == "no clear change"
    assert decide(-0.1, (-0.2, -0.1), 0.01, level=0.05, unchanged=False) == "lost"
    assert decide(-0.1, (-0.2, -0.1), 0.051, level=0.05, unchanged=False) == "no clear change"


@pytest.mark.parametrize(
    ("after", "answer", "word"), [(400, "within", "yes"), (300, "beyond", "no"), (396, "not shown", "not shown")]
)
def test_a_margin_has_three_answers(after: int, answer: str, word: str) -> None:
    comparison = compared(t=(ones(400, 0), ones(after, 400 - after)))
    assert comparison.tasks["t"].noninferiority.answer == answer
    assert comparison.to_json()["tasks"]["t"]["noninferiority"]["answer"] == answer
    assert word in printed(comparison)


def test_a_bound_on_the_margin_is_neither() -> None:
    assert NonInferiority(0.01, -0.01, -0.01).answer == "not shown"


def printed(comparison: Comparison) -> str:
    stream = io.StringIO()
    print_comparison(Console(file=stream, width=80, highlight=False), comparison)
    assert max(map(len, stream.getvalue().splitlines())) <= 80
    return " ".join(stream.getvalue().split())


def test_nothing_changed_is_said_of_equal_predictions_only() -> None:
    same = compared(t=(ones(10, 4), ones(10, 4)))
    assert not same.tasks["t"].unchanged  # the wrong answers are other wrong answers
    assert same.sentences() == ["No score changed on t (14 items), though 4 answers did."]
    base = {"t": side("t", ones(10, 4), varied(14))}
    assert compare(base, base).sentences()[0].startswith("Nothing changed: all 14 items")
    assert compare(base, base).tasks["t"].verdict == "nothing changed"


def test_a_source_at_the_bottom_of_its_scale_is_left_out_of_f_by_name() -> None:
    comparison = compared(
        digits=(ones(0, 30), ones(25, 5)), a=(ones(50, 0), ones(40, 10)), zero=(ones(0, 14), ones(0, 14))
    )
    assert comparison.summary.F.value == comparison.tasks["a"].difference
    assert comparison.summary.left_out == {"E": (), "F": ("zero",)}
    text = " ".join(comparison.sentences())
    assert "It cannot show forgetting: it scored 0 before, the bottom of its scale; F is without it." in text
    assert "0.0 to 0.0" not in text and "0.0 to 0.0" not in printed(comparison)
    assert "lost 20.0 points on the source a" in text and "change on sources (1 of 2)" in printed(comparison)


def test_f_is_undefined_where_no_source_can_show_forgetting() -> None:
    comparison = compared(digits=(ones(0, 30), ones(25, 5)), zero=(ones(0, 14), ones(0, 14)))
    data = comparison.to_json()
    assert data["F"] is data["O"] is None and data["E"] is not None
    assert "F is undefined: no source could show forgetting." in comparison.sentences()[0]


def test_a_target_at_the_top_of_its_scale_is_left_out_of_e() -> None:
    comparison = compared(digits=(ones(30, 0), ones(29, 1)), a=(ones(40, 10), ones(38, 12)))
    assert comparison.summary.E.value is None and comparison.summary.left_out["E"] == ("digits",)
    assert "E is undefined: no target could show a gain." in comparison.sentences()[0]
    assert "It cannot show a gain: it had the top of its scale before; E is without it." in comparison.sentences()[1]


def test_a_source_no_better_than_blind_is_left_out_of_f() -> None:
    answers = ["yes"] * 60 + ["no"] * 40
    base, tuned = ({"p": side("p", right, answers, wrong="?")} for right in (ones(58, 42), ones(40, 60)))
    comparison = compare(base, tuned)
    assert comparison.tasks["p"].floor is not None and comparison.tasks["p"].floor.score == pytest.approx(0.6)
    assert comparison.to_json()["tasks"]["p"]["blind_floor"]["score"] == pytest.approx(60)
    assert "no more than always answering 'yes' (60.0); F is without it." in comparison.sentences()[0]
    assert comparison.summary.F.value is None


def test_a_recipe_that_changes_nothing_scores_zero_even_at_the_bottom() -> None:
    base = {"digits": side("digits", ones(0, 30), varied(30)), "zero": side("zero", ones(0, 14), varied(14))}
    data = compare(base, base, target="digits").to_json()
    assert data["E"] == data["F"] == data["O"] == 0 and data["left_out"] == {"E": [], "F": []}


def test_the_blind_floor_is_the_best_of_three_blind_answers() -> None:
    def floor(answers, **fields):
        return blind_floor(side("t", [1] * len(answers), answers, **fields))

    assert floor(["a"] * 7 + ["b"] * 3).score == pytest.approx(0.7)
    assert floor(["a"] * 10) is None  # no image is needed to tell one answer from another
    assert blind_floor([Prediction("1", "a"), Prediction("2", "b")]) is None
    options = floor(["a", "b", "c", "d"], choices=lambda i: ("a", "b"))
    assert (options.score, options.how) == (0.5, "a guess among the options")
    colour = floor(
        ["red", "two"] * 50, question=lambda i: ("which colour?", "how many?")[i % 2], image=lambda i: f"{i}"
    )
    assert (colour.score, colour.how) == (1.0, "the commonest answer to each question text")


def test_a_question_asked_once_is_not_answered_by_itself() -> None:
    answers = [f"answer {i % 5}" for i in range(100)]
    found = blind_floor(side("t", [1] * 100, answers, question=lambda i: f"question {i}?", image=lambda i: f"{i}"))
    assert found is not None and found.score == pytest.approx(0.2)
    twice = blind_floor(side("t", [1] * 100, answers, question=lambda i: f"question {i // 2}?", image=lambda i: f"{i}"))
    assert twice is not None and twice.score < 0.4


def test_ten_annotators_give_a_floor_on_their_own_scale() -> None:
    references = (*["yes"] * 2, *["no"] * 8)
    items = [Prediction(f"{i}", "no", references if i % 2 else tuple(["yes"] * 10), score=1.0) for i in range(10)]
    floor = blind_floor(items)
    assert floor is not None and floor.score == pytest.approx((1.0 + 0.6) / 2)


def test_intervals_stay_inside_the_scale() -> None:
    generator = np.random.default_rng(0)
    for n in (4, 9, 20):
        before, after = (generator.random(n) < 0.1).astype(int), (generator.random(n) < 0.95).astype(int)
        comparison = compared(digits=(before.tolist(), after.tolist()), a=(after.tolist(), before.tolist()))
        for task in comparison.tasks.values():
            assert -1 <= task.interval[0] < task.interval[1] <= 1
        for name in "EF":
            interval = getattr(comparison.summary, name).interval
            assert interval is None or -1 <= interval[0] < interval[1] <= 1
        H = comparison.summary.H.interval
        assert H is None or 0 <= H[0] <= H[1] <= 1


def test_intersected_sets_of_different_size_are_not_set_beside_each_other_without_a_word() -> None:
    base, tuned = {"t": side("t", ones(30, 10), varied(40))}, {"t": side("t", ones(25, 5), varied(30))}
    comparison = compare(base, tuned, intersect=True)
    assert any("40 in base, 30 in tuned; do not set the two beside each other" in note for note in comparison.notes)
    assert comparison.tasks["t"].n == 30


def test_the_floor_of_vqa_is_what_its_metric_gives_to_that_answer(gold: Path) -> None:
    """On 8,977 questions of VQA v2 the official evaluator gives 20.85 to a file that says yes to all of them."""
    with gzip.open(gold / "vqav2_subset" / "annotations_valid.json.gz", "rt", encoding="utf-8") as stream:
        annotations = json.load(stream)["annotations"]
    items = [
        Prediction(str(row["question_id"]), "no", tuple(answer["answer"] for answer in row["answers"]))
        for row in annotations
    ]
    floor = blind_floor(items)
    assert floor is not None and floor.how == "always answering 'no'"
    official = get_metric("vqa_accuracy", "evalai").score(items).score
    assert 100 * floor.score == pytest.approx(official, abs=0.005) and official > 20.85
