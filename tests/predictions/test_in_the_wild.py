"""What other tools' files look like in the wild, each read as its tool means it: silent misreadings of the past."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.predictions.reading import Ask
from holdfast.scoring.read import read
from holdfast.scoring.score import score, score_reading, write_scored
from holdfast.verdict.compare import compare


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    return path


def only(path: Path, **settings: Any):
    (task,) = compare(path, path, **settings).tasks.values()
    return task


# never guess between a gold and an answer


@pytest.mark.parametrize("said", ["pred", "response", "output", "model_answer", "generated_text", "predict"])
def test_answer_beside_the_models_text_is_the_gold(tmp_path: Path, said: str) -> None:
    file = lines(tmp_path / "p.jsonl", *({"id": i, "answer": "cat", said: "cat" if i < 1 else "dog"} for i in range(4)))
    assert score("exact_match", file).score == 25.0
    assert only(file, metric="exact_match").before == 0.25
    assert score("exact_match", file, file).score == 25.0


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"id": 1, "pred": "a", "response": "b", "answer": "a"}, ["'pred'", "'response'", "--column prediction="]),
        ({"id": 1, "pred": "a", "label": "b", "answer": "a"}, ["'label'", "'answer'", "--column references="]),
        ({"id": 1, "answer": "a", "label": "a"}, ["'answer'", "'label'", "--column prediction="]),
    ],
)
def test_two_columns_that_could_be_meant_are_both_named(tmp_path: Path, row: dict[str, Any], words: list[str]) -> None:
    file = lines(tmp_path / "p.jsonl", row)
    for call in (lambda: score("exact_match", file), lambda: compare(file, file, metric="exact_match")):
        with pytest.raises(HoldfastError) as caught:
            call()
        assert all(word in str(caught.value) for word in words)


def test_columns_in_capitals(tmp_path: Path) -> None:
    rows = ({"ID": i, "Question": "?", "Answer": "cat", "Prediction": "cat" if i < 1 else "dog"} for i in range(4))
    file = table(tmp_path / "p.csv", *rows)
    assert score("exact_match", file).score == 25.0
    assert only(file, metric="exact_match").before == 0.25
    both = lines(tmp_path / "q.jsonl", {"id": 1, "prediction": "a", "Answer": "a", "Label": "b"})
    with pytest.raises(HoldfastError, match="'Label' and 'Answer' could be the references"):
        score("exact_match", both)


def test_a_named_column_decides(tmp_path: Path) -> None:
    file = lines(tmp_path / "p.jsonl", {"id": 1, "pred": "a", "response": "b", "answer": "b"})
    assert score("exact_match", file, columns={"prediction": "response"}).score == 100.0
    assert only(file, metric="exact_match", columns={"prediction": "pred"}).before == 0.0


def test_two_golds_do_not_stop_recorded_scores(tmp_path: Path) -> None:
    file = lines(
        tmp_path / "p.jsonl", *({"id": i, "pred": "a", "label": "b", "answer": "a", "hit": i} for i in range(2))
    )
    assert only(file).before == 0.5
    twice = lines(tmp_path / "q.jsonl", {"id": 1, "pred": "a", "hit": 1, "correct": 0})
    with pytest.raises(HoldfastError, match=r"'correct' and 'hit' could be the score.*--column score="):
        read(twice)


# lists, words and cells


WRITTEN_LISTS = [
    *("['b', 'a']", '["b", "a"]', "['b', \"a\"]", " ['b', 'a'] ", "('b', 'a')", "{'b', 'a'}"),
    *("['b' 'a']", "['b'\n \"a\"]", "array(['b', 'a'], dtype=object)"),  # as NumPy writes them
]


@pytest.mark.parametrize("cell", WRITTEN_LISTS)
@pytest.mark.parametrize("name", ["p.tsv", "p.csv", "p.jsonl"])
def test_lists_written_as_text_are_several_references(tmp_path: Path, cell: str, name: str) -> None:
    row = {"id": "1", "prediction": "a", "references": cell}
    file = lines(tmp_path / name, row) if name.endswith("jsonl") else table(tmp_path / name, row)
    assert score("exact_match", file).score == 100.0
    assert only(file, metric="exact_match").pairs[0].before.references == ("b", "a")


def test_a_text_in_brackets_and_a_bomb_stay_text(tmp_path: Path) -> None:
    for text in ("[not a list", "[1 + 1]", "[" * 5000 + "]" * 5000, "[a, b]", "(1, 2)", "('a')", "()", "{1}"):
        file = lines(tmp_path / "p.jsonl", {"id": "1", "prediction": text, "reference": text})
        (row,) = next(iter(read(file).tasks.values()))
        assert row.references == (text,)


@pytest.mark.parametrize("cell", ["['a', nan]", '["a", NaN]'])
def test_a_list_with_nothing_in_it_is_refused(tmp_path: Path, cell: str) -> None:
    file = table(tmp_path / "p.csv", {"id": "1", "prediction": "a", "references": cell})
    with pytest.raises(HoldfastError, match="not a list of texts"):
        score("exact_match", file)


def test_answers_as_squad_keeps_them_and_lists_of_one(tmp_path: Path) -> None:
    gold = {"text": ["b", "a"], "answer_start": [0, 7]}
    file = lines(tmp_path / "p.jsonl", {"id": 1, "answers": gold, "prediction": ["a"]})
    assert score("exact_match", file).score == 100.0
    assert only(file, metric="exact_match").pairs[0].before.references == ("b", "a")


@pytest.mark.parametrize(
    ("cell", "cut"), [("False", 0), ("no", 0), ("0", 0), ("", 0), ("True", 1), ("yes", 1), ("1", 1)]
)
def test_words_for_booleans(tmp_path: Path, cell: str, cut: int) -> None:
    row = {"id": "1", "prediction": "a", "score": "1", "task": "t", "truncated": cell}
    assert only(table(tmp_path / "p.csv", row)).truncated == (cut, cut)


def test_another_word_for_a_boolean_is_refused(tmp_path: Path) -> None:
    file = table(tmp_path / "p.csv", {"id": "1", "prediction": "a", "score": "1", "truncated": "perhaps"})
    with pytest.raises(HoldfastError, match="line 2, item 1: 'truncated' is 'perhaps', neither true nor false"):
        read(file)


@pytest.mark.parametrize("more", [{"task": "t"}, {"references": "a"}, {"metric": "exact_match"}])
def test_a_csv_with_our_own_column_names(tmp_path: Path, more: dict[str, str]) -> None:
    rows = [{"id": str(i), "prediction": "a", "score": str(i % 2), **more} for i in range(4)]
    assert only(table(tmp_path / "p.csv", *rows)).before == 0.5


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_gzip_everywhere(tmp_path: Path, name: str) -> None:
    rows = [{"id": str(i), "prediction": "a", "references": "a" if i else "b", "score": 1} for i in range(4)]
    file = table(tmp_path / name, *rows) if name == "p.csv" else lines(tmp_path / name, *rows)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert score("exact_match", packed).score == 75.0 and only(packed).before == 1.0
    assert list(read(packed).tasks) == ["p"]


def test_one_key_twice_is_refused_by_both(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"id": "a", "prediction": "x", "references": ["x"], "score": 0, "score": 1}\n', encoding="utf-8")
    for call in (lambda: score("exact_match", file), lambda: compare(file, file)):
        with pytest.raises(HoldfastError, match=r"line 1.*'score' comes twice"):
            call()


def test_null_predictions_are_answers_not_given(tmp_path: Path) -> None:
    rows = [{"id": i, "prediction": None if i == 0 else "a", "references": ["a"]} for i in range(4)]
    file = lines(tmp_path / "p.jsonl", *rows)
    result = score("exact_match", file)
    assert (result.score, result.missing) == (75.0, 1)
    assert only(file, metric="exact_match").before == 0.75
    write_scored(tmp_path / "scored.jsonl", score_reading("exact_match", file))
    assert only(tmp_path / "scored.jsonl").before == 0.75


# VLMEvalKit


def question(index: int, said: str, gold: str = "A", **more: Any) -> dict[str, Any]:
    return {"index": index, "question": "q", "A": "x", "B": "y", "answer": gold, "prediction": said, **more}


def test_pope_counts_a_row_in_every_split_that_its_category_names(tmp_path: Path) -> None:
    rows = [
        {"index": i, "image_path": f"{i // 2}.jpg", "question": f"Is there a {i}?", "answer": ("Yes", "No")[i % 2],
         "category": ("adversarial,popular,random", "random")[i % 4 > 1], "prediction": "Yes" if i != 4 else "No"}
        for i in range(8)
    ]  # fmt: skip
    result = score("pope", table(tmp_path / "m_POPE.tsv", *rows))
    small, all_rows = [0, 1, 4, 5], range(8)

    def f1(kept: Any) -> float:
        right = sum(i % 2 == 0 and i != 4 for i in kept)
        false, missed = sum(i % 2 for i in kept), sum(i == 4 for i in kept)
        return 200 * right / (2 * right + false + missed)

    assert result.score == pytest.approx((f1(all_rows) + 2 * f1(small)) / 3)
    assert (result.n, result.details["random"]["n"], result.details["popular"]["n"]) == (16, 8, 4)
    task = only(tmp_path / "m_POPE.tsv", metric="pope")
    assert (task.n, task.clusters) == (16, 4)


def test_the_turns_of_an_mmbench_question_are_one_item(tmp_path: Path) -> None:
    rows = [question(i + turn * 1_000_000, "A" if turn or i else "B") for turn in range(2) for i in range(3)]
    file = table(tmp_path / "m_MMBench.tsv", *rows)
    assert score("mmbench", file).score == pytest.approx(200 / 3)
    assert (only(file, metric="mmbench").n, only(file, metric="mmbench").before) == (3, pytest.approx(2 / 3))
    # another metric judges every turn, and the turns of a question stay one cluster
    assert (only(file, metric="multiple_choice").n, only(file, metric="multiple_choice").clusters) == (6, 3)


def test_the_question_is_the_unit_of_recorded_scores_too(tmp_path: Path) -> None:
    rows = [
        {"id": str(i + turn * 1_000_000), "prediction": "A", "score": float(i > 0), "metric": "mmbench"}
        for turn in range(2)
        for i in range(3)
    ]
    assert (only(lines(tmp_path / "p.jsonl", *rows)).n, only(tmp_path / "p.jsonl").before) == (3, pytest.approx(2 / 3))


def test_one_odd_item_is_counted_and_said(tmp_path: Path) -> None:
    rows = [question(i, "A") for i in range(5)] + [question(9, "A", "D")]
    file = table(tmp_path / "m_RealWorldQA.tsv", *rows)
    result = score("multiple_choice", file)
    assert (result.n, result.details["unjudged"], result.score) == (6, 1, pytest.approx(500 / 6))
    comparison = compare(file, file, metric="multiple_choice")
    assert any("1 of 6 items of m_RealWorldQA.tsv cannot be judged" in note for note in comparison.notes)
    with pytest.raises(HoldfastError, match="option D of 2"):
        score("multiple_choice", table(tmp_path / "odd.tsv", question(1, "A", "D")))


def evalkit(folder: Path, model: str, right: int) -> Path:
    for data in ("RealWorldQA", "MMStar"):
        rows = [question(i, "A" if i < right else "B") for i in range(4)]
        table(folder / f"{model}_{data}.tsv", *rows)
        table(folder / f"{model}_{data}_openai_result.tsv", *({**r, "hit": int(r["prediction"] == "A")} for r in rows))
        table(folder / f"{model}_{data}_acc.csv", {"split": "none", "Overall": 0.5})
    return folder


def test_an_output_folder_of_raw_and_judged_files_named_after_the_model(tmp_path: Path) -> None:
    base, tuned = evalkit(tmp_path / "alpha_8b", "alpha_8b", 1), evalkit(tmp_path / "out", "beta_13b", 3)
    tasks = compare(base, tuned).tasks
    assert sorted(tasks) == ["MMStar", "RealWorldQA"]
    assert {(task.before, task.after) for task in tasks.values()} == {(0.25, 0.75)}
    scored = compare(base, tuned, metric="multiple_choice").tasks
    assert {(task.before, task.after) for task in scored.values()} == {(0.25, 0.75)}


def test_two_files_are_named_by_what_they_share(tmp_path: Path) -> None:
    rows = [{"id": i, "prediction": "a", "score": 1} for i in range(3)]
    one, two = lines(tmp_path / "alpha_8b_MMStar.jsonl", *rows), lines(tmp_path / "beta_MMStar.jsonl", *rows)
    assert list(compare(one, two).tasks) == ["MMStar"]
    base, tuned = lines(tmp_path / "base.jsonl", *rows), lines(tmp_path / "tuned.jsonl", *rows)
    assert list(compare(base, tuned).tasks) == ["items"]
    assert compare(base, tuned, target="mine").targets == ("mine",)


def test_files_called_after_their_folder(tmp_path: Path) -> None:
    rows = [{"id": i, "prediction": "a", "score": 1} for i in range(3)]
    for model, name in (("alpha", "alpha_{}"), ("beta", "{}_beta")):
        for data in ("vqa", "gqa"):
            lines(tmp_path / model / f"{name.format(data)}.jsonl", *rows)
    assert sorted(compare(tmp_path / "alpha", tmp_path / "beta").tasks) == ["gqa", "vqa"]


def test_a_first_variant_by_name_is_the_metric_itself(tmp_path: Path) -> None:
    rows = [{"id": i, "prediction": "a", "score": 1, "task": "t"} for i in range(3)]
    named = lines(tmp_path / "a.jsonl", *({**row, "metric": "exact_match:normalised"} for row in rows))
    bare = lines(tmp_path / "b.jsonl", *({**row, "metric": "exact_match"} for row in rows))
    assert compare(named, bare).tasks["t"].metric == "exact_match"
    other = lines(tmp_path / "c.jsonl", *({**row, "metric": "exact_match:strict"} for row in rows))
    with pytest.raises(HoldfastError, match=r"scored with 'exact_match' in .* and 'exact_match:strict'"):
        compare(named, other)


# lmms-eval


def sample(doc: int, **more: Any) -> dict[str, Any]:
    return {
        "doc_id": doc,
        "target": "yes",
        "filtered_resps": ["yes"],
        "doc": {"question": "q", "category": "random"},
        **more,
    }


def pope_metrics(hit: float) -> dict[str, Any]:
    names = ("pope_accuracy", "pope_precision", "pope_recall", "pope_f1_score", "pope_yes_ratio")
    return {name: {"question_id": 1, "score": hit if name == "pope_accuracy" else 1.0} for name in names}


def test_a_folder_whose_samples_log_several_metrics(tmp_path: Path) -> None:
    lines(tmp_path / "m" / "1_samples_pope.jsonl", *(sample(i, **pope_metrics(float(i > 0))) for i in range(4)))
    lines(tmp_path / "m" / "1_samples_gqa.jsonl", *(sample(i, exact_match=1.0) for i in range(4)))
    assert {name: task.before for name, task in compare(tmp_path / "m", tmp_path / "m").tasks.items()} == {
        "gqa": 1.0,
        "pope": 0.75,
    }
    named = compare(tmp_path / "m", tmp_path / "m", columns={"score": "pope_f1_score"}).tasks
    assert {name: (task.metric, task.before) for name, task in named.items()} == {
        "gqa": ("exact_match", 1.0),
        "pope": ("pope_f1_score", 1.0),
    }


def test_score_reads_samples_and_what_their_documents_group_by(tmp_path: Path) -> None:
    result = score("pope", lines(tmp_path / "1_samples_pope.jsonl", *(sample(i) for i in range(3))))
    assert result.details["random"]["n"] == 3


# official files


def test_an_empty_output_with_a_recorded_answer(tmp_path: Path) -> None:
    problems = {str(i): {"question": "q", "choices": ["x", "y"], "answer": 0} for i in range(4)}
    gold = tmp_path / "problems.json"
    gold.write_text(json.dumps(problems), encoding="utf-8")
    said = tmp_path / "r.json"
    outputs = {"0": "The answer is A.", "1": "", "2": "", "3": "no idea"}
    said.write_text(json.dumps({"acc": 1, "results": {"0": 0, "1": 0, "2": 1, "3": 0}, "outputs": outputs}), "utf-8")
    assert score("scienceqa", said, gold, variant="recorded").score == 75.0
    assert score("scienceqa", said, gold).score == 50.0
    assert only(said, task="scienceqa", references=gold, metric="scienceqa:recorded").before == 0.75


def mme(folder: Path, ending: str, wrong: bool = False) -> Path:
    folder.mkdir()
    rows = [
        (f"{i:04}.{ending}", f"Is it {gold}?", gold, "No" if wrong and i else gold)
        for i in range(3)
        for gold in ("Yes", "No")
    ]
    (folder / "existence.txt").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_mme_folders_compare_as_they_are_whatever_their_pictures_end_in(tmp_path: Path) -> None:
    (task,) = compare(mme(tmp_path / "a", "jpg"), mme(tmp_path / "b", "png", wrong=True)).tasks.values()
    assert (task.name, task.metric, task.n, task.before, task.forgot) == ("mme_existence", "mme", 6, 1.0, 2)
    assert score("mme", tmp_path / "a").score == 200.0


def test_llavas_raw_answers_to_mme_and_textvqa(tmp_path: Path) -> None:
    for image in ("0001", "0002"):
        text = "Is it a cat? Please answer yes or no.\tYes\nIs it a dog? Please answer yes or no.\tNo\n"
        (tmp_path / "MME" / "existence").mkdir(parents=True, exist_ok=True)
        (tmp_path / "MME" / "existence" / f"{image}.txt").write_text(text, encoding="utf-8")
    tail = " Please answer yes or no.\nAnswer the question using a single word or phrase."
    rows = [
        {"question_id": f"existence/{image}.png", "prompt": f"Is it a {thing}?{tail}", "text": "Yes", "answer_id": "x"}
        for image in ("0001", "0002") for thing in ("dog", "cat")
    ]  # fmt: skip
    result = score("mme", lines(tmp_path / "mme.jsonl", *rows), tmp_path / "MME")
    assert (result.details["accuracy"], result.score) == (50.0, 50.0)
    text = [
        {"question_id": "img", "prompt": f"what {w}?\nshort", "text": w, "model_id": "m"} for w in ("colour", "year")
    ]
    (row, _) = next(iter(read(lines(tmp_path / "textvqa.jsonl", *text)).tasks.values()))
    assert (row.id, row.image) == ("img | what colour?", "img")


@pytest.mark.parametrize("said", ["prediction", "text"])
def test_seed_bench_uploads(tmp_path: Path, said: str) -> None:
    rows = [{"question_id": str(i), said: "A"} for i in range(3)]
    gold = lines(tmp_path / "gold.jsonl", *({"question_id": str(i), "answer": "AB"[i % 2]} for i in range(3)))
    assert score("exact_match", lines(tmp_path / "up.jsonl", *rows), gold).score == pytest.approx(200 / 3)


def test_references_with_nan_are_refused_unless_a_layout_is_known_for_it(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"1": {"response": "a", "answer": NaN}}', encoding="utf-8")
    with pytest.raises(HoldfastError, match="NaN"):
        read(file)


def test_a_file_that_two_layouts_claim_is_refused_with_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    import holdfast.scoring.read as reading
    from holdfast.predictions.readers import llava

    twin = replace(llava.LAYOUTS[0], name="somebody's answer file")
    monkeypatch.setattr(reading, "_readers", lambda: (*llava.LAYOUTS, twin))
    file = lines(tmp_path / "p.jsonl", {"question_id": 1, "text": "a", "model_id": "m"})
    with pytest.raises(HoldfastError, match=r"could be LLaVA answer file or somebody's answer file.*--task"):
        read(file)


def test_an_unknown_metric_is_answered_with_the_list(tmp_path: Path) -> None:
    file = lines(tmp_path / "p.jsonl", {"id": 1, "prediction": "a", "references": ["a"]})
    with pytest.raises(HoldfastError, match=r"unknown metric 'accuracy'. Metrics: .*exact_match.*vqa_accuracy"):
        compare(file, file, metric="accuracy")


def test_a_score_beyond_the_scale_of_its_metric(tmp_path: Path) -> None:
    row = {"id": 1, "prediction": "a", "score": 7.5, "metric": "coco_CIDEr"}
    assert only(lines(tmp_path / "p.jsonl", row)).before == 7.5
    with pytest.raises(HoldfastError, match=r"line 1, item 1: 'score' is 7.5, outside 0 to 1.*--scale"):
        only(lines(tmp_path / "q.jsonl", {**row, "metric": "exact_match"}))
    assert only(tmp_path / "q.jsonl", scale=10).before == 0.75


def test_a_task_narrows_what_a_file_can_be(tmp_path: Path) -> None:
    rows = [{"question": f"Is it {i}?", "answer": "yes", "image": "1.jpg"} for i in range(2)]
    file = lines(tmp_path / "a.jsonl", *rows)
    assert read(file).recognised == read(file, Ask(task="pope")).recognised == "POPE answers"
    assert read(file, Ask(task="okvqa")).recognised.startswith("plain table")
    with pytest.raises(HoldfastError, match="the id stands twice"):
        read(file, Ask(task="okvqa", references=file))
