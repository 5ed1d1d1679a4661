"""A small sample of ``benchmarks/fuzz.py``, what it once found, and that it would find a fault at all."""

from __future__ import annotations

import importlib
import json
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.config.schema import RunConfig, TaskSpec
from holdfast.data.readers import read_examples
from holdfast.errors import HoldfastError
from holdfast.files.places import LONGEST_NAME, cache_folder, path_of
from holdfast.metrics.text.options import letter
from holdfast.scoring.score import score_reading
from holdfast.tasks.resolve import resolve_task
from tests.scoring.test_same_number import captions, chair, draw, iconqa_numbers, scienceqa_result
from tests.support.desk import picture
from tests.support.tiny import save_llava

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(FOLDER))
    path = list(sys.path)
    yield importlib.import_module("fuzz")
    sys.path[:] = path


@pytest.mark.parametrize("kind", ["configurations", "data", "downloads", "prepared", "predictions"])
def test_a_sample_is_read_or_refused_in_a_sentence(kind: str, fuzz: Any, tmp_path: Path) -> None:
    sample = fuzz.Fuzz(tmp_path, seed=2)
    sample.run(kind, range(60))
    assert sample.faults == {}
    assert sample.counts[kind].total() == 60 and sample.counts[kind]["refused"] > 5 and sample.counts[kind]["taken"] > 5


def test_the_same_seed_is_the_same_damage(fuzz: Any) -> None:
    whole = b'{"a": [1, 2, {"b": "text"}]}\n' * 3
    made = [
        [fuzz.damaged("x.jsonl", whole, fuzz.random.Random(f"{seed} x {at}")) for at in range(20)] for seed in (1, 1, 2)
    ]
    assert made[0] == made[1] != made[2]


def test_every_kind_of_fault_is_seen(fuzz: Any, tmp_path: Path) -> None:
    def raises(error: Exception) -> Any:
        def call(folder: Path) -> None:
            raise error

        return call

    def loops(folder: Path) -> None:
        while True:
            pass

    class UnwritableError(HoldfastError):
        def __str__(self) -> str:
            return "\ud800"

    assert fuzz.outcome(lambda folder: None, tmp_path, 5) == "taken"
    assert fuzz.outcome(raises(HoldfastError("this")), tmp_path, 5) == "refused"
    assert fuzz.outcome(raises(KeyError("x")), tmp_path, 5).place.startswith("KeyError in ")
    assert fuzz.outcome(raises(UnwritableError("x")), tmp_path, 5).place.startswith("message that cannot be written")
    assert fuzz.outcome(loops, tmp_path, 0.05).place.startswith("more than 0.05 s in ")


def test_a_fault_is_reduced_to_what_makes_it(fuzz: Any) -> None:
    assert fuzz.reduced(b"a" * 100 + b"!" + b"b" * 200, lambda content: b"!" in content) == b"!"


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    for name in ("x" * (LONGEST_NAME + 1), "a/\ud800", "a\x00b", "~nobody-of-this-name/x"):
        with pytest.raises(HoldfastError, match=r"no file can have the name|home folder that is not known"):
            resolve_task(TaskSpec(data=name), base=tmp_path, seed=0)
        with pytest.raises(HoldfastError):
            path_of(name)
    assert path_of("x" * LONGEST_NAME) == Path("x" * LONGEST_NAME)


def test_a_role_that_is_a_list(tmp_path: Path) -> None:
    row = {"messages": [{"role": ["user"], "content": "what?"}, {"role": "assistant", "content": "that"}]}
    (tmp_path / "d.json").write_text(json.dumps([row]), encoding="utf-8")
    (problem,) = read_examples(tmp_path / "d.json").problems
    assert "is from '['user']'" in str(problem)


def test_a_list_that_breaks_behind_a_number_too_large(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text('[{"a": 1e999, "b"', encoding="utf-8")
    with pytest.raises(HoldfastError, match="ends in the middle of a value"):
        read_examples(tmp_path / "d.json")


@pytest.mark.parametrize(
    ("maker", "file", "old", "new", "words"),
    [
        (scienceqa_result, "problems.json", '"answer": 1', '"answer": -1', "answer|choices|index"),
        (scienceqa_result, "problems.json", '"answer": 1', '"answer": "B"', "answer|choices|index"),
        (scienceqa_result, "problems.json", '"answer": 1', '"answer": 7', "answer|choices|index"),
        (iconqa_numbers, "problems.json", '"choices": [', '"choices": 2.5, "x": [', "choices|options"),
        (captions, "captions_val.json", '{"image_id": 0, ', '"", {', "annotation 1 has no image_id"),
        (chair, "chair.json", '"mscoco_generated_words": [', '"mscoco_generated_words": 3, "x": [', "are not a list"),
    ],
)
def test_references_and_results_of_the_wrong_kind(
    maker: Any, file: str, old: str, new: str, words: str, tmp_path: Path
) -> None:
    made = maker(tmp_path, draw(0))
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(HoldfastError, match=words):
        score_reading(made.name, made.path, made.references)


def test_options_behind_the_alphabet_have_numbers() -> None:
    assert [letter(index) for index in (0, 25, 26, 10**30)] == ["A", "Z", "27", str(10**30 + 1)]


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("tokenizer.json", lambda content: content | {"added_tokens": ["</s>"]}),
        ("tokenizer.json", lambda content: content | {"model": content["model"] | {"vocab": {"a": {}}}}),
        ("tokenizer_config.json", lambda content: content | {"pad_token": 2**63}),
        ("processor_config.json", lambda content: _with_mean(content, [0.5, 0.5, {"path": 0.5}])),
        ("processor_config.json", lambda content: _with_mean(content, "\x00")),
        ("config.json", lambda content: content | {"text_config": 7}),
    ],
)
def test_damaged_model_folders(file: str, change: Any, tmp_path: Path) -> None:
    from holdfast import api

    save_llava(tmp_path / "model")
    picture(tmp_path / "0.png")
    row = {"id": "q", "image": "0.png", "question": "what?", "answer": "that"}
    (tmp_path / "d.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    place = tmp_path / "model" / file
    place.write_text(json.dumps(change(json.loads(place.read_text(encoding="utf-8")))), encoding="utf-8")
    with pytest.raises(HoldfastError):
        api.evaluate(str(tmp_path / "model"), [str(tmp_path / "d.jsonl")], tmp_path / "out", max_new_tokens=1)


def _with_mean(content: dict[str, Any], mean: Any) -> dict[str, Any]:
    return content | {"image_processor": content["image_processor"] | {"image_mean": mean}}


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user stands in no list: no variable, no entry."""

    def nobody(number: int) -> Any:
        raise KeyError(number)

    for name in ("HOME", "HOLDFAST_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.usefixtures("no_home")
def test_no_home_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    from holdfast.cli.main import run

    with pytest.raises(HoldfastError, match=r"no home folder.* Set HOLDFAST_CACHE"):
        cache_folder()
    assert run(["cache"]) == 2
    assert capsys.readouterr().err.startswith("holdfast: there is no home folder to keep a cache in")


@pytest.mark.usefixtures("no_home")
def test_a_run_goes_on_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast import api
    from holdfast.speed import policy
    from holdfast.speed.worth import CacheWork

    # The pocket model's encoder is otherwise too small for a cache.
    monkeypatch.setattr(policy, "cache_work", lambda *told: CacheWork(saved=1, begin=0, files=0))
    run = api.tune(_small("auto"), tmp_path / "run")
    said = (run.folder / "environment.json").read_text(encoding="utf-8")
    assert "there is no home folder to keep a cache in" in said
    with pytest.raises(HoldfastError, match=r"speed\.feature_cache.*no home folder"):
        api.tune(_small("on"), tmp_path / "other")


def test_a_run_goes_on_where_the_home_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast import api

    (tmp_path / "home").write_text("a file, where a folder should be", encoding="utf-8")
    for name in ("HOLDFAST_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert (api.tune(_small("auto"), tmp_path / "run").folder / "scores.json").exists()


def _small(cache: str) -> dict[str, Any]:
    settings = {
        "tune": {"llm": {"method": "lora", "r": 2}},
        "target": {"data": "pocket:digits", "limit": 4, "test_limit": 2},
        "train": {"steps": 8, "batch_size": 2, "trackers": []},
        "speed": {"feature_cache": cache},
    }
    return RunConfig.model_validate(settings).model_dump(mode="json")


def test_the_script_says_what_it_counted() -> None:
    words = ["--kinds", "data", "--rounds", "20", "--json"]
    done = subprocess.run([sys.executable, str(FOLDER / "fuzz.py"), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["counts"]["data"]["rounds"] == 20 and report["faults"] == {} and report["commit"]
