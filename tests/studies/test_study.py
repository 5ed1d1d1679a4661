"""A study is a folder of runs whose index can be made again; its mistakes are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.events import Event, RecipeDone, StepDone, silence
from holdfast.results.points import read_results
from holdfast.runs.run import Runner
from holdfast.studies.engine import Engine
from holdfast.studies.study import read_study, run_study
from holdfast.studies.studyfile import read_study_file
from tests.support.desk import Desk, picture, write_lines
from tests.support.studying import Alone

COMMON: dict[str, Any] = {
    "target": "data.jsonl",
    "train": {"steps": 1, "batch_size": 2, "trackers": []},
    "evaluate": {"max_new_tokens": 2},
}


def study_file(folder: Path, **recipes: Any) -> Path:
    """A study with these recipes."""
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({"title": "t", "common": COMMON, "recipes": recipes}, sort_keys=False), "utf-8")
    return file


def test_the_index_is_made_again_from_the_runs(tmp_path: Path, tiny_llava: Path, capsys: Any) -> None:
    desk = Desk(tmp_path, tiny_llava, capsys)
    file = study_file(tmp_path, still={"train": {"steps": 0}}, norms={"tune": {"llm": "norms"}})
    study = read_study(file, {"model": str(desk.model)})
    heard: list[Event] = []
    entries = run_study(study, tmp_path / "out", base=tmp_path, listen=heard.append)
    assert [event.entry["name"] for event in heard if isinstance(event, RecipeDone)] == ["still", "norms"]
    still, norms = entries
    assert still["E"] == 0 and still["learned"] == still["forgot"] == 0 and norms["trainable"] > 0
    index = tmp_path / "out" / "scores.json"
    before = index.read_bytes()
    index.unlink()
    run_study(study, tmp_path / "out", base=tmp_path, listen=lambda _: None)
    assert index.read_bytes() == before


def test_settings_of_a_recipe_go_before_common_ones(tmp_path: Path) -> None:
    file = study_file(tmp_path, one={"train": {"steps": 7}}, two={"of": "one", "origin": "a table"})
    study = read_study(file, {"train": {"batch_size": 5}, "seed": 3})
    one, two = study.recipes
    assert (one.config.train.steps, one.config.train.batch_size, one.config.seed) == (7, 5, 3)
    assert (two.config.train.steps, two.of, two.origin, two.config.name) == (1, "one", "a table", "two")


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="'two' builds on 'one', which does not come before it"):
        read_study(study_file(tmp_path, two={"of": "one"}, one={}))
    with pytest.raises(HoldfastError, match="unknown key 'tuen'"):
        read_study(study_file(tmp_path, one={"tuen": {}}))
    (tmp_path / "study.yaml").write_text("title: nothing\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match="the study varies nothing"):
        read_study(tmp_path / "study.yaml")


def test_a_point_of_a_study_is_what_tune_makes(tmp_path: Path, tiny_llava: Path, capsys: Any) -> None:
    """Points share the loaded base, the tasks and the base's answers; none of that changes a figure or a weight."""
    desk = Desk(tmp_path, tiny_llava, capsys)
    axes = {"tune": {"norms": {"tune": {"llm": {"method": "norms", "lr": 0.1}}}, "still": {"train": {"steps": 0}}}}
    axes["seed"] = [1, 2]  # type: ignore[assignment]
    written = {"title": "t", "common": COMMON | {"model": str(desk.model)}, "axes": axes}
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
    folder = tmp_path / "grid"
    work = Engine(read_study_file(file), folder)
    work.run(Alone(folder, silence))
    results = read_results(folder)
    assert [point.state for point in results.points] == ["finished"] * 4
    for point in results.points[:2]:
        alone = tmp_path / f"alone-{point.key}"
        Runner(load_config(point.folder / "config.yaml"), alone, base=tmp_path, listen=silence).execute()
        for name in ("artifact/llm.safetensors", "predictions/data.jsonl", "base/predictions/data.jsonl"):
            assert (alone / name).read_bytes() == (point.folder / name).read_bytes(), name
    assert results.points[0].scores["E"] is not None and results.points[2].scores["E"] == 0


def grid(file: Path, folder: Path, **common: Any) -> list[Event]:
    """Three recipes, one of which looks at the sources and one of which fuses; what was heard when the study ran."""
    norms = {"tune": {"llm": {"method": "norms", "lr": 0.1}}}
    recipes = {
        "norms": norms,
        "fused": norms | {"fuse": {"method": "wise_ft", "alpha": 0.5}},
        "replay": norms | {"keep": [{"stabiliser": "replay", "ratio": 0.5}]},
    }
    written = {"title": "t", "common": COMMON | common, "axes": {"recipe": recipes}}
    file.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
    heard: list[Event] = []
    Engine(read_study_file(file), folder).run(Alone(folder, heard.append))
    return heard


def test_a_source_that_is_added_is_asked_of_what_was_trained(tmp_path: Path, tiny_llava: Path, capsys: Any) -> None:
    """The same bits as if it had stood there from the beginning; what looks at sources is trained anew."""
    desk = Desk(tmp_path, tiny_llava, capsys)
    for name in "ab":
        rows = [{"id": i, "image": f"{name}{i}.png", "question": "which letter ?", "answer": name} for i in range(10)]
        for row in rows:
            picture(tmp_path / str(row["image"]), seed=ord(name) + int(str(row["id"])))
        write_lines(tmp_path / f"{name}.jsonl", rows)
    file, folder, anew = tmp_path / "s.yaml", tmp_path / "out", tmp_path / "anew"
    first = grid(file, folder, model=str(desk.model), sources=["a.jsonl"])
    assert sum(isinstance(event, StepDone) for event in first) == 2  # norms for two points, and replay
    second = grid(file, folder, model=str(desk.model), sources=["a.jsonl", "b.jsonl"])
    assert sum(isinstance(event, StepDone) for event in second) == 1
    grid(file, anew, model=str(desk.model), sources=["a.jsonl", "b.jsonl"])
    points = {point.levels["recipe"]: point for point in read_results(folder).points}
    for wanted in read_results(anew).points:
        found = points[wanted.levels["recipe"]]
        names = sorted(str(one.relative_to(anew)) for one in wanted.folder.rglob("*.jsonl"))
        names += [f"points/{found.key}/artifact/{name}" for name in ("artifact.json", "llm.safetensors")]
        assert f"points/{found.key}/predictions/b.jsonl" in names
        for name in (name for name in names if not name.endswith("train.jsonl")):
            assert (folder / name).read_bytes() == (anew / name).read_bytes(), name
        measured = {"seconds", "peak_memory"}
        assert len(wanted.scores.keys() - measured) > 20
        assert all(found.scores[key] == value for key, value in wanted.scores.items() if key not in measured)
    # A target that was edited under the same name: nothing is taken over.
    desk.data.write_text(desk.data.read_text("utf-8").replace("what colour", "which colour"), "utf-8")
    third = grid(file, folder, model=str(desk.model), sources=["a.jsonl"])
    assert sum(isinstance(event, StepDone) for event in third) == 2


def test_answers_that_were_cut_shorter_are_not_taken_over(tmp_path: Path) -> None:
    """Of drawn examples it is not recorded how long their answers could be; the trainings are the same all the same."""
    common: dict[str, Any] = {
        "model": "pocket",
        "target": {"data": "pocket:digits", "limit": 8, "test_limit": 3},
        "sources": [{"data": "pocket:caption", "test_limit": 3}],
        "tune": {"llm": {"method": "norms", "lr": 0.1}},
    }

    def answers(folder: Path, longest: int) -> tuple[int, bytes]:
        written = {"title": "t", "common": COMMON | common, "axes": {"seed": [1]}}
        written["common"]["evaluate"] = {"max_new_tokens": longest}  # type: ignore[index]
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
        heard: list[Event] = []
        Engine(read_study_file(tmp_path / "s.yaml"), folder).run(Alone(folder, heard.append))
        (point,) = read_results(folder).points
        said = (point.folder / "predictions" / "caption.jsonl").read_bytes()
        return sum(isinstance(event, StepDone) for event in heard), said

    assert answers(tmp_path / "out", 2)[0] == 1
    trained, said = answers(tmp_path / "out", 6)
    assert trained == 0 and said == answers(tmp_path / "anew", 6)[1]
