"""Things are found where they stand, and an installed package adds to each kind, on the command line too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripts.lengths import lengths

from holdfast.errors import HoldfastError
from holdfast.methods.registry import FUSIONS, METHODS, STABILISERS, make_fusion, make_method, make_stabiliser
from holdfast.metrics.registry import METRICS
from holdfast.registry import Registry
from tests.support.desk import picture, records, write_lines

SRC = Path(__file__).resolve().parents[1] / "src"

CARD = """
        name: {name}
        version: 1
        title: Colours
        layout: own
        prompt: "{{question}}"
        splits: {{test: test}}
        metric: acme_length
        variant: default
        max_new_tokens: 4
        origin: {{site: none, homepage: none, licence: none, tree: [rows.json]}}
        roles: {{peft_mllm: {{role: absent}}, keeping_yourself: {{role: absent}}}}
"""

PACKAGE = {
    "acme/__init__.py": "",
    "acme/largest.py": """
        from holdfast.methods.contract import Card
        from holdfast.methods.selective.scores import share, top
        from holdfast.methods.selective.sparse import Sparse

        class Largest(Sparse):
            'Trains the largest weights.'
            card = Card(
                name="acme_largest", paradigm="selective", family="mask", summary="largest", paper="", year=None
            )

            def choose(self, component, context):
                found = self.matrices(component).items()
                return {name: top(p.detach().abs(), share(self.ratio, p.numel())) for name, p in found}
    """,
    "acme/pull.py": """
        from holdfast.methods.contract import Card
        from holdfast.methods.stabilisers.base import Stabiliser

        class Pull(Stabiliser):
            'Does nothing, loudly.'
            card = Card(name="acme_pull", paradigm="any", family="none", summary="nothing", paper="", year=None)

            def begin(self, methods, context):
                print("acme_pull has begun")
    """,
    "acme/back.py": """
        from holdfast.methods.contract import Card, Options
        from holdfast.methods.fusion.base import Fusion

        class Back(Fusion):
            'Goes back to the base.'
            card = Card(name="acme_back", paradigm="selective", family="none", summary="back", paper="", year=None)
            Settings = Options

            def combine(self, piece, generator):
                return piece.base
    """,
    "acme/length.py": """
        from holdfast.metrics.base import ItemMetric, verdict

        class Length(ItemMetric):
            name = "acme_length"

            def judge(self, item, text):
                return verdict(item, float(len(text) == len(item.references[0])), text)
    """,
    "acme/colours/__init__.py": "",
    "acme/colours/card.yaml": CARD.format(name="acme_colours"),
    "acme/colours/download.py": """
        import json
        from holdfast.tasks.preparing.draft import Draft

        def read(source, split):
            for row in json.loads((source.root / "rows.json").read_text()):
                yield Draft(id=row["id"], question=row["question"], answers=(row["answer"],), image=row["image"])
    """,
    "acme/torn/__init__.py": "",
    "acme/torn/card.yaml": CARD.format(name="acme_torn"),
    "acme/torn/results.py": "raise RuntimeError('no such luck')",
    "acme-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme\nVersion: 1.2\n",
    "acme-1.2.dist-info/entry_points.txt": """
        [holdfast.methods]
        acme_largest = acme.largest
        broken_one = acme.nowhere
        spider = acme.largest:Largest
        [holdfast.stabilisers]
        acme_pull = acme.pull:Pull
        [holdfast.fusions]
        acme_back = acme.back
        [holdfast.metrics]
        acme_length = acme.length
        [holdfast.tasks]
        acme_colours = acme.colours
        acme_torn = acme.torn
        scienceqa = acme.colours
    """,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as pip would leave it."""
    folder = tmp_path_factory.mktemp("site")
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        lines = text.split("\n")
        (folder / name).write_text("\n".join(line.removeprefix("        ") for line in lines).lstrip(), "utf-8")
    return folder


def calls(*words: list[str], cwd: Path, site: Path | None) -> list[dict[str, Any]]:
    """What several command lines come to in one process of their own, with or without the package."""
    code = """
import contextlib, io, json, sys
from holdfast.cli.main import run
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        rc = run(words)
    print(json.dumps({"rc": rc, "out": out.getvalue(), "err": err.getvalue()}))
"""
    path = os.pathsep.join(str(place) for place in (SRC, site) if place is not None)
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(words)], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_installed_package_adds_one_of_each(site: Path, tiny_llava: Path, tmp_path: Path) -> None:
    for index in range(12):
        picture(tmp_path / f"{index}.png", index)
    write_lines(tmp_path / "data.jsonl", records())
    (tmp_path / "in").mkdir()
    for index in range(3):
        picture(tmp_path / "in" / f"{index}.png", index)
    (tmp_path / "in" / "rows.json").write_text(json.dumps(records(3)), "utf-8")
    write_lines(tmp_path / "p.jsonl", [{"id": "a", "prediction": "xyz", "references": ["abc"]}])
    recipe = {
        "model": str(tiny_llava),
        "tune": {"llm": {"method": "acme_largest", "ratio": 0.1}},
        "keep": ["acme_pull"],
        "fuse": "acme_back",
        "target": {"data": "data.jsonl", "test": 0.3},
        "train": {"steps": 1, "batch_size": 2, "trackers": []},
        "evaluate": {"max_new_tokens": 2},
    }
    (tmp_path / "fused.yaml").write_text(json.dumps(recipe), "utf-8")
    del recipe["fuse"]
    (tmp_path / "plain.yaml").write_text(json.dumps(recipe), "utf-8")
    listed, one, broken, twice, fused, tuned, again, score, tasks, prepared, doctor = calls(
        ["methods", "--json"],
        ["methods", "acme_largest"],
        ["methods", "broken_one"],
        ["methods", "spider"],
        ["tune", "fused.yaml", "--out", "fused"],
        ["tune", "plain.yaml", "--out", "plain"],
        ["eval", "plain", "--tasks", "data.jsonl", "--out", "again"],
        ["score", "acme_length", "p.jsonl"],
        ["data", "tasks", "acme_colours"],
        ["data", "prepare", "acme_colours", "--from", "in", "--out", "out"],
        ["doctor"],
        cwd=tmp_path,
        site=site,
    )
    assert listed["rc"] == 0, listed["err"]
    rows = {row["name"]: row for row in json.loads(listed["out"])["methods"]}
    assert rows["acme_largest"]["package"] == {"package": "acme", "version": "1.2"}
    assert {"acme_pull", "acme_back", "lora"} <= rows.keys() and "broken_one" not in rows
    assert any("broken_one" in fault for fault in json.loads(listed["out"])["broken"])
    assert one["rc"] == 0 and "acme 1.2" in one["out"]
    assert broken["rc"] == 2 and "acme 1.2" in broken["err"] and "acme.nowhere" in broken["err"]
    assert twice["rc"] == 2 and "provided by holdfast" in twice["err"] and "and by acme 1.2" in twice["err"]
    for said in (fused, tuned, again, tasks, prepared, doctor):
        assert said["rc"] == 0, said["err"]
    assert "acme_pull has begun" in tuned["out"]
    entry = json.loads((tmp_path / "fused/scores.json").read_text())["recipes"]["fused"]
    assert entry["E"] == 0 and entry["target"]["data"]["forgot"] == 0, "the fusion put the base back"
    part = json.loads((tmp_path / "plain/artifact/artifact.json").read_text())["parts"][0]
    assert part["provider"] == {"package": "acme", "version": "1.2"}
    assert score["rc"] == 0 and "100" in score["out"], score
    assert len((tmp_path / "out/test.jsonl").read_text().splitlines()) == 3
    assert "broken_one" in doctor["out"]
    (gone,) = calls(["eval", "plain", "--tasks", "data.jsonl", "--out", "later"], cwd=tmp_path, site=None)
    assert gone["rc"] == 2 and "comes from the package acme 1.2" in gone["err"] and "acme==1.2" in gone["err"]


def test_a_task_of_a_package_is_scored_tuned_and_evaluated_as_a_shipped_one(
    site: Path, tiny_llava: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for index in range(12):
        picture(tmp_path / "in" / f"{index}.png", index)
        picture(tmp_path / f"{index}.png", index)
    write_lines(tmp_path / "data.jsonl", records())
    (tmp_path / "in" / "rows.json").write_text(json.dumps(records(3)), "utf-8")
    answers = {"q0": "its", "q1": "blue", "q2": "grey"}  # lengths of red and blue, and not of green
    write_lines(tmp_path / "p.jsonl", [{"id": key, "prediction": text} for key, text in answers.items()])
    recipe = {
        "model": str(tiny_llava),
        "tune": {"llm": {"method": "lora", "r": 2}},
        "target": {"data": "data.jsonl", "test": 0.3},
        "sources": ["out", {"data": "acme_colours", "root": "out", "name": "again"}],
        "train": {"steps": 1, "batch_size": 2, "trackers": []},
        "evaluate": {"max_new_tokens": 2},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe), "utf-8")
    gold = ["--references", "out/test.jsonl"]
    prepared, scored, compared, torn, contested, other, tuned, asked = calls(
        ["data", "prepare", "acme_colours", "--from", "in", "--out", "out"],
        ["score", "acme_colours", "p.jsonl", *gold, "--json"],
        ["compare", "p.jsonl", "p.jsonl", "--task", "acme_colours", *gold, "--json"],
        ["score", "acme_torn", "p.jsonl", *gold],
        ["score", "scienceqa", "p.jsonl", *gold],
        ["score", "exact_match", "p.jsonl", *gold, "--json"],
        ["tune", "recipe.yaml", "--out", "run"],
        ["eval", "run", "--tasks", "acme_colours", "--root", "out", "--out", "asked", "--json"],
        cwd=tmp_path,
        site=site,
    )
    for said in (prepared, scored, compared, other, tuned, asked):
        assert said["rc"] == 0, said["err"]
    score = json.loads(scored["out"])
    assert (score["task"], score["metric"], score["variant"]) == ("acme_colours", "acme_length", "default")
    assert score["score"] == pytest.approx(200 / 3) and score["n"] == 3
    assert json.loads(compared["out"])["tasks"]["acme_colours"]["before"] == pytest.approx(200 / 3)
    assert json.loads(other["out"])["score"] == pytest.approx(100 / 3), "what is broken in a package hinders no other"
    assert torn["rc"] == 2 and "acme_torn" in torn["err"] and "no such luck" in torn["err"]
    assert contested["rc"] == 2 and "provided by holdfast" in contested["err"] and "acme 1.2" in contested["err"]
    sources = json.loads((tmp_path / "run/scores.json").read_text())["recipes"]["run"]["sources"]
    assert sources.keys() == {"acme_colours", "again"}
    for place in ("run/predictions/acme_colours.jsonl", "run/predictions/again.jsonl"):
        lines = [json.loads(line) for line in (tmp_path / place).read_text().splitlines()]
        assert {line["metric"] for line in lines} == {"acme_length:default"} and len(lines) == 3
    assert json.loads(asked["out"])["tasks"]["acme_colours"]["metric"] == "acme_length"


@pytest.mark.parametrize("registry", [METHODS, STABILISERS, FUSIONS, METRICS], ids=lambda r: str(r.kind))
def test_every_name_is_found_without_listing(registry: Registry[Any]) -> None:
    for name, thing in registry.all().items():
        alone: Registry[Any] = Registry(registry.kind, places=registry._places, name_of=registry._name_of)
        assert alone.find(name) is thing, "its file does not write the name in quotes"


def test_no_two_files_provide_one_name() -> None:
    for registry in (METHODS, STABILISERS, FUSIONS, METRICS):
        names = [name for name, _ in registry._everything()]  # type: ignore[attr-defined]
        assert len(names) == len(set(names))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(HoldfastError, match=r"tune\.llm: unknown method 'lorra'\. Did you mean 'lora'\?"):
        METHODS.find("lorra", where="tune.llm: ")
    with pytest.raises(HoldfastError, match=r"Did you mean 'lora'\?"):  # and not 'road', which is as near by letters
        METHODS.find("lroa")


def test_a_name_of_another_kind_or_of_none_is_answered_with_where_or_why() -> None:
    with pytest.raises(HoldfastError, match=r"tune\.llm: 'replay' is a stabiliser\. Write it under keep: in a recipe"):
        make_method("replay", {}, where="tune.llm: ")
    with pytest.raises(HoldfastError, match=r"'ties' is a fusion\. Write it under fuse: in a recipe"):
        make_stabiliser("ties", {})
    with pytest.raises(HoldfastError, match=r"MixLoRA is not offered: its router picks factors"):
        make_method("mix_lora", {})
    with pytest.raises(HoldfastError, match="Did you mean 'ties'"):
        make_fusion("tiez", {})


def test_a_metric_is_imported_alone() -> None:
    code = "import sys; from holdfast.metrics.registry import get_metric; get_metric('anls'); print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = said.stdout.split()
    assert "holdfast.metrics.anls" in loaded
    assert not {"holdfast.metrics.captions", "holdfast.tasks.mme.metric", "torch", "pydantic"} & set(loaded)


def test_what_is_said_to_be_absent_is_absent() -> None:
    from holdfast.methods.absent import ABSENT, NOT_BUILT
    from holdfast.methods.registry import FUSIONS, METHODS, STABILISERS

    def plain(name: str) -> str:
        return "".join(letter for letter in name.lower() if letter.isalnum())

    present = {plain(name) for registry in (METHODS, STABILISERS, FUSIONS) for name in registry.names()}
    assert [method.name for method in (*ABSENT, *NOT_BUILT) if plain(method.name) in present] == []
    assert len({method.name for method in (*ABSENT, *NOT_BUILT)}) == len((*ABSENT, *NOT_BUILT))


def test_a_method_is_its_rule() -> None:
    """What several have in common belongs to an engine: half of them need no more than 60 lines."""
    assert lengths().share <= 60, "the median share of a file; python scripts/lengths.py lists them"
