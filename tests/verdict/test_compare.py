import json
import random
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from holdfast.errors import HoldfastError
from holdfast.verdict.compare import compare, compare_runs

GENERATOR = np.random.default_rng(4)
BEFORE = (GENERATOR.random(200) < 0.8).astype(float)
AFTER = np.where(GENERATOR.random(200) < 0.2, 1 - BEFORE, BEFORE)
TARGET_BEFORE = (GENERATOR.random(150) < 0.3).astype(float)
TARGET_AFTER = np.maximum(TARGET_BEFORE, GENERATOR.random(150) < 0.6)


@pytest.fixture
def folders(write, rows):
    write("run/base/predictions/pope.jsonl", rows("pope", BEFORE.tolist()))
    write("run/base/predictions/digits.jsonl", rows("digits", TARGET_BEFORE.tolist()))
    write("run/predictions/digits.jsonl", rows("digits", TARGET_AFTER.tolist()))
    run = write("run/predictions/pope.jsonl", rows("pope", AFTER.tolist())).parents[1]
    (run / "scores.json").write_text('{"recipes": {"full": {"target": {"digits": {}}}}}', encoding="utf-8")
    return run / "base", run


def test_numbers_of_a_task(folders) -> None:
    comparison = compare(*folders)
    task = comparison.to_json()["tasks"]["pope"]
    learned, forgot = int(((BEFORE == 0) & (AFTER == 1)).sum()), int(((BEFORE == 1) & (AFTER == 0)).sum())
    assert (task["n"], task["learned"], task["forgot"]) == (200, learned, forgot)
    assert task["kept"] + task["never"] + learned + forgot == 200
    assert task["before"] == pytest.approx(100 * BEFORE.mean())
    assert task["difference"] == pytest.approx(100 * (AFTER - BEFORE).mean())
    assert task["interval"][0] < task["difference"] < task["interval"][1]
    assert task["p_value"] == pytest.approx(stats.binomtest(forgot, forgot + learned).pvalue)
    assert task["relative_negative_flip_rate"] == pytest.approx(forgot / BEFORE.sum())
    assert task["churn"] == pytest.approx((forgot + learned) / 200)
    assert task["retention"]["value"] == pytest.approx(AFTER.mean() / BEFORE.mean())


def test_summary_follows_its_definitions(folders) -> None:
    data = compare(*folders).to_json()
    E = 100 * (TARGET_AFTER - TARGET_BEFORE).mean()
    F = 100 * (AFTER - BEFORE).mean()
    T, S = 100 * TARGET_AFTER.mean(), 100 * AFTER.mean()
    assert data["targets"] == ["digits"]
    assert [data[name] for name in "EFOH"] == pytest.approx([E, F, E + F, 2 * T * S / (T + S)])
    ratios = data["ratios"]
    rT, rS = TARGET_AFTER.mean() / TARGET_BEFORE.mean(), AFTER.mean() / BEFORE.mean()
    assert [ratios[name]["value"] for name in "EFOH"] == pytest.approx(
        [rT - 1, rS - 1, rT + rS - 2, 2 * rT * rS / (rT + rS)]
    )
    for name in "EFOH":
        low, high = data["intervals"][name]
        assert low < data[name] < high
        assert ratios[name]["interval"][0] < ratios[name]["value"] < ratios[name]["interval"][1]
    se = np.std(AFTER - BEFORE, ddof=1) / np.sqrt(200)
    low, high = data["intervals"]["F"]
    assert (high - low) / 2 == pytest.approx(100 * 1.96 * se, rel=0.1)


def test_a_recipe_that_changes_nothing_scores_exactly_zero(folders) -> None:
    data = compare(folders[1], folders[1]).to_json()
    assert data["E"] == data["F"] == data["O"] == 0
    for task in data["tasks"].values():
        assert task["learned"] == task["forgot"] == task["difference"] == 0
        assert task["p_value"] == task["p_holm"] == 1
        assert task["interval"][0] < 0 < task["interval"][1]  # unseen items may still differ
    assert data["sentences"][0].startswith("Nothing changed")


def test_without_a_target_everything_is_source(folders, tmp_path) -> None:
    (folders[1] / "scores.json").unlink()
    data = compare(*folders).to_json()
    assert data["E"] is None and data["O"] is None and data["H"] is None
    both = [(AFTER - BEFORE).mean(), (TARGET_AFTER - TARGET_BEFORE).mean()]
    assert data["F"] == pytest.approx(100 * np.mean(both))
    assert compare(*folders, target="pope").targets == ("pope",)
    with pytest.raises(HoldfastError, match="Did you mean 'pope'"):
        compare(*folders, target="popes")


def test_order_of_lines_does_not_matter(write, rows) -> None:
    base, tuned = rows("t", BEFORE.tolist(), image=lambda i: f"i{i // 3}"), rows("t", AFTER.tolist())
    first = compare(write("a.jsonl", base), write("b.jsonl", tuned)).to_json()
    random.Random(1).shuffle(base)
    random.Random(2).shuffle(tuned)
    second = compare(write("a.jsonl", base), write("b.jsonl", tuned)).to_json()
    assert first == second


def test_questions_on_one_image_widen_the_interval(write, rows) -> None:
    lines = lambda scores, **f: rows("t", np.repeat(scores, 4).tolist(), **f)  # noqa: E731
    shared = {"image": lambda i: f"picture {i // 4}"}
    alone = compare(write("a.jsonl", lines(BEFORE)), write("b.jsonl", lines(AFTER))).tasks["t"]
    clustered = compare(write("c.jsonl", lines(BEFORE, **shared)), write("d.jsonl", lines(AFTER, **shared))).tasks["t"]
    width = lambda task: task.interval[1] - task.interval[0]  # noqa: E731
    assert width(clustered) == pytest.approx(2 * width(alone), rel=0.05)
    assert clustered.p_value > alone.p_value
    assert (clustered.clusters, clustered.n) == (200, 800)
    assert clustered.p_value == pytest.approx(alone_of(write, rows).p_value)


def alone_of(write, rows):
    """Four identical questions a picture carry what one question does."""
    return compare(write("e.jsonl", rows("t", BEFORE.tolist())), write("f.jsonl", rows("t", AFTER.tolist()))).tasks["t"]


def test_graded_scores(write, rows) -> None:
    levels = np.array([0.0, 0.3, 0.6, 0.9, 1.0])
    before, after = GENERATOR.choice(levels, 120), GENERATOR.choice(levels, 120)
    task = compare(
        write("a.jsonl", rows("vqa", before.tolist(), metric="vqa_accuracy")),
        write("b.jsonl", rows("vqa", after.tolist(), metric="vqa_accuracy")),
    ).tasks["vqa"]
    assert not task.binary
    assert task.p_method == "paired permutation over items, exact"
    assert task.improved == (after > before).sum() and task.worsened == (after < before).sum()
    assert task.learned == ((before < 0.5) & (after >= 0.5)).sum()
    # On many items the score interval is Student's, on few it leans where Student's cannot.
    low, high = stats.ttest_rel(after, before).confidence_interval()
    assert task.interval == pytest.approx((low, high), abs=0.1 * (high - low))


def test_noninferiority_is_one_sided(folders) -> None:
    strict = compare(*folders, margin=0.0).tasks["pope"].noninferiority
    wide = compare(*folders, margin=40.0).tasks["pope"].noninferiority
    assert wide.holds and strict.lower_bound == wide.lower_bound
    assert strict.holds == (strict.lower_bound > 0)
    assert compare(*folders).tasks["pope"].interval[0] < strict.lower_bound < (AFTER - BEFORE).mean()


def test_format_loss_is_told_from_ability_loss(write, rows) -> None:
    base = rows("t", [1.0] * 100)
    tuned = rows("t", [0.0] * 30 + [1.0] * 70)
    for line in tuned[:10]:
        line["lenient"] = 1.0
    comparison = compare(write("a.jsonl", base), write("b.jsonl", tuned))
    split = comparison.tasks["t"].format_split
    assert split is not None
    assert split.format_change == pytest.approx(-0.10)
    assert split.ability_change == pytest.approx(-0.20)
    assert split.format_share == pytest.approx(1 / 3)
    assert "about a third of it answer format" in comparison.sentences()[0]
    assert comparison.sentences()[0].startswith("Lost 30.0 points on t (95% CI ")


def test_holm_over_the_tasks(write, rows, tmp_path) -> None:
    for index, flips in enumerate((12, 6, 0)):
        write(f"base/t{index}.jsonl", rows(f"t{index}", [1.0] * 60))
        write(f"tuned/t{index}.jsonl", rows(f"t{index}", [0.0] * flips + [1.0] * (60 - flips)))
    tasks = compare(tmp_path / "base", tmp_path / "tuned").tasks
    assert tasks["t0"].p_holm == pytest.approx(3 * tasks["t0"].p_value)
    assert tasks["t1"].p_holm == pytest.approx(2 * tasks["t1"].p_value)
    assert tasks["t2"].p_holm == 1


def test_a_sequence_of_stages(write, rows) -> None:
    scores = {"base": (20, 30, 10), "s1": (80, 35, 10), "s2": (60, 90, 20), "s3": (50, 70, 95)}
    for stage, values in scores.items():
        for task, right in zip("abc", values, strict=True):
            path = write(f"{stage}/{task}.jsonl", rows(task, [1.0] * right + [0.0] * (100 - right)))
    root = path.parents[1]
    runs = compare_runs(root / "base", [root / s for s in ("s1", "s2", "s3")], sequence=["a", "b", "c"])
    data = runs.to_json()
    measures = data["sequence"]
    assert measures["average_accuracy"] == pytest.approx((50 + 70 + 95) / 3)
    assert measures["BWT"] == {"value": pytest.approx(((50 - 80) + (70 - 90)) / 2), "divisor": 2, "divisor_is": "T-1"}
    assert measures["BWT_by_T"]["value"] == pytest.approx(-50 / 3)
    assert measures["forgetting"]["value"] == pytest.approx(((80 - 50) + (90 - 70)) / 2)
    assert measures["FWT"]["value"] == pytest.approx(((35 - 30) + (20 - 10)) / 2)
    assert measures["mean_average_accuracy"] == pytest.approx((80 + 75 + 215 / 3) / 3)
    assert list(data["runs"]) == ["s1", "s2", "s3"] and data["tasks"]["a"]["after"] == pytest.approx(50)
    assert any("T-1 = 2" in sentence for sentence in runs.sentences())
    with pytest.raises(HoldfastError, match="3 stages but 2 tasks"):
        compare_runs(root / "base", [root / s for s in ("s1", "s2", "s3")], sequence=["a", "b"])


def test_nothing_heavy_is_imported(folders) -> None:
    program = (
        "import sys; from holdfast.cli.main import run; code = run(['compare', *sys.argv[1:], '--json']);"
        "heavy = {'torch', 'transformers', 'pandas', 'scipy.stats', 'matplotlib', 'sklearn'} & set(sys.modules);"
        "print(sorted(heavy), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, folders)], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert set(json.loads(done.stdout)) >= {"tasks", "E", "F", "O", "H"}
