"""Axes become points: their product, what moves together, what is left out; every mistake has its line."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.config.loading import load_config
from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError
from holdfast.events import silence
from holdfast.runs.run import Runner
from holdfast.studies.agenda import Planner, rated
from holdfast.studies.axes import SECTIONS
from holdfast.studies.estimate import estimate
from holdfast.studies.merging import merged
from holdfast.studies.studyfile import read_study_file
from tests.support.studying import write


def combinations(file: Path) -> list[tuple[str, ...]]:
    return [tuple(cell.levels.values()) for cell in read_study_file(file).cells]


def test_the_sections_are_those_of_the_configuration() -> None:
    assert set(SECTIONS) == set(RunConfig.model_fields)


def test_a_product_in_the_order_of_its_axes(tmp_path: Path) -> None:
    found = combinations(write(tmp_path / "s.yaml"))
    assert found == list(product(("lora", "ia3", "soft", "softer"), "123"))


def test_axes_that_move_together(tmp_path: Path) -> None:
    axes = {"train.steps": [1, 2], "seed": [7, 8], "train.batch_size": [4, 8]}
    file = write(tmp_path / "s.yaml", axes=axes, select=None, zip=[["train.steps", "train.batch_size"]])
    assert combinations(file) == [("1", "7", "4"), ("1", "8", "4"), ("2", "7", "8"), ("2", "8", "8")]


def test_exclusions_and_points_of_their_own(tmp_path: Path) -> None:
    file = write(
        tmp_path / "s.yaml",
        exclude=[{"method": ["soft", "softer"]}, {"method": "ia3", "seed": [2, 3]}],
        points=[{"method": "soft", "seed": 2}, {"method": "long", "seed": 1, "set": {"train": {"steps": 9}}}],
    )
    found = combinations(file)
    assert found == [("lora", "1"), ("lora", "2"), ("lora", "3"), ("ia3", "1"), ("soft", "2"), ("long", "1")]
    study = read_study_file(file)
    assert study.settings(study.cells[-1])["train"]["steps"] == 9


def test_several_methods_are_a_level_and_their_options_axes(tmp_path: Path) -> None:
    axes = {
        "method": {
            "both": {"tune": {"llm": ["lora", {"method": "norms", "lr": 1e-4}]}},
            "lora": {"tune": {"llm": [{"method": "lora"}]}},
        },
        "tune.llm.0.r": [2, 4],
    }
    study = read_study_file(write(tmp_path / "s.yaml", axes=axes, select=None))
    found = [load_config(study.settings(cell)).tune.llm for cell in study.cells]
    assert [[(part.method, part.lr, part.options) for part in llm.all] for llm in found] == [
        [("lora", None, {"r": 2}), ("norms", 1e-4, {})],
        [("lora", None, {"r": 4}), ("norms", 1e-4, {})],
        [("lora", None, {"r": 2})],
        [("lora", None, {"r": 4})],
    ]


def test_a_chosen_rate_goes_to_every_method_that_names_none() -> None:
    llm = ["lora", {"method": "norms", "lr": 1e-4}, {"method": "prefix", "tokens": 2}]
    assert rated(llm, 1e-2, unread=None) == [
        {"method": "lora", "lr": 1e-2},
        {"method": "norms", "lr": 1e-4},
        {"method": "prefix", "tokens": 2, "lr": 1e-2},
    ]
    assert rated("frozen", 1e-2, unread=None) == "frozen" and rated(
        {"method": "lora", "lr": 1.0}, 1e-2, unread=None
    ) == {
        "method": "lora",
        "lr": 1.0,
    }
    assert rated({"method": "lora", "then": ["norms"]}, 1e-2, unread=None) == {
        "method": "lora",
        "lr": 1e-2,
        "then": [{"method": "norms", "lr": 1e-2}],
    }
    assert rated(["lora", "autoprompt"], 1e-2, unread=1e-4) == [
        {"method": "lora", "lr": 1e-2},
        {"method": "autoprompt", "lr": 1e-4},
    ]


def test_patches_join_by_section_and_a_method_replaces() -> None:
    below: dict[str, Any] = {
        "tune": {"llm": {"method": "lora", "r": 8}},
        "target": "pocket:digits",
        "train": {"steps": 1},
    }
    above = {"tune": {"llm": {"method": "ia3"}, "connector": "full"}, "target": {"limit": 5}, "train": {"epochs": 2}}
    assert merged(below, above) == {
        "tune": {"llm": {"method": "ia3"}, "connector": {"method": "full"}},
        "target": {"data": "pocket:digits", "limit": 5},
        "train": {"steps": 1, "epochs": 2},
    }
    assert merged(below, {"tune": {"llm": {"lr": 1.0}}})["tune"]["llm"] == {"method": "lora", "r": 8, "lr": 1.0}
    assert merged({"target": {"limit": 5}}, {"target": "pocket:digits"})["target"] == {
        "data": "pocket:digits",
        "limit": 5,
    }


def test_an_option_survives_the_axis_that_names_its_method(tmp_path: Path) -> None:
    axes = {"tune.llm.r": [2, 4], "method": {"lora": {"tune": {"llm": {"method": "lora"}}}}}
    study = read_study_file(write(tmp_path / "s.yaml", axes=axes, select=None))
    assert [study.settings(cell)["tune"]["llm"] for cell in study.cells] == [
        {"method": "lora", "r": 2},
        {"method": "lora", "r": 4},
    ]


def test_keys_are_of_the_content(tmp_path: Path) -> None:
    def keys(file: Path) -> dict[tuple[str, ...], str]:
        agenda = Planner(read_study_file(file)).agenda(lambda key: None)
        return {tuple(point.levels.values()): point.key for point in agenda.points}

    axes = {"seed": [1, 2], "train.steps": [3]}
    one = keys(write(tmp_path / "one.yaml", axes=axes, select=None, title="One"))
    more = {"train.steps": {"short": 3, "long": 4}, "seed": {"first": 1, "third": 3}}
    other = keys(write(tmp_path / "other.yaml", axes=more, select=None, title="Other"))
    assert other["short", "first"] == one["1", "3"]
    assert len({*one.values(), *other.values()}) == 5


def test_a_model_folder_starts_at_the_study_file_as_data_do(
    tmp_path: Path, tiny_llava: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    shutil.copytree(tiny_llava, place / "models" / "mine")
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    common = {"model": "models/mine", "target": "pocket:digits", "train": {"steps": 1}}
    axes = {"method": {"lora": {"tune": {"llm": {"method": "lora", "r": 2}}}}}
    study = read_study_file(write(place / "s.yaml", common=common, axes=axes, select=None))
    found = estimate(study)
    assert not found.problems and found.trainable[0] > 0  # planned on the folder beside the study
    (job,) = Planner(study).agenda(lambda key: None).jobs.values()
    assert job.config["model"] == "models/mine"  # the key stays the same wherever the study stands
    assert Runner(load_config(job.config), tmp_path / "run", base=Path(job.base), listen=silence).config.model == str(
        (place / "models" / "mine").resolve()
    )
    shutil.copytree(tiny_llava, elsewhere / "models" / "mine")
    with pytest.raises(HoldfastError, match="may be") as refused:
        Planner(study).agenda(lambda key: None)
    said = str(refused.value)
    assert str(place / "models" / "mine") in said and str(elsewhere / "models" / "mine") in said and "s.yaml" in said
    monkeypatch.chdir(place)  # both are one folder
    Planner(study).agenda(lambda key: None)


def test_a_data_file_counts_by_its_content(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    file = write(tmp_path / "s.yaml", common={"target": "data.jsonl"}, axes={"seed": [1]}, select=None)

    def key() -> str:
        return Planner(read_study_file(file)).agenda(lambda key: None).points[0].key

    data.write_text("{}\n", encoding="utf-8")
    before = key()
    data.write_text("{ }\n", encoding="utf-8")
    assert key() != before
    data.write_text("{}\n", encoding="utf-8")
    assert key() == before


def test_a_scale_replaces_what_it_names(tmp_path: Path) -> None:
    scales = {"small": {}, "large": {"common": {"train": {"steps": 99}}, "axes": {"seed": [5], "method": None}}}
    file = write(tmp_path / "s.yaml", scales=scales, select=None, common={"target": "pocket:digits"})
    assert len(read_study_file(file).cells) == 12
    large = read_study_file(file, scale="large")
    assert [cell.levels for cell in large.cells] == [{"seed": "5"}]
    assert large.settings(large.cells[0])["train"] == {"steps": 99}
    with pytest.raises(HoldfastError, match=r"no scale 'lage'\. Did you mean 'large'"):
        read_study_file(file, scale="lage")


def test_overrides(tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", select=None)
    study = read_study_file(file, overrides=["train.steps=7", "axes.seed=[9]", "axes.method=[ia3, lora]"])
    assert [tuple(cell.levels.values()) for cell in study.cells] == [("ia3", "9"), ("lora", "9")]
    assert study.settings(study.cells[0])["train"]["steps"] == 7
    for override, words in {
        "seed=3": "would be undone by axis 'seed'",
        "tune.llm.method=full": "would be undone by axis 'method'",
        "trian.steps=3": "unknown key 'trian'. Did you mean 'train'",
        "axes.sed=[1]": "there is no axis 'sed'. Did you mean 'seed'",
        "axes.method=[lara]": "axis 'method' has no level 'lara'. Did you mean 'lora'",
        "axes.seed=": "axis 'seed' needs a level",
    }.items():
        with pytest.raises(HoldfastError, match=words.replace("(", r"\(")):
            read_study_file(file, overrides=[override])


def test_fewer_levels_take_their_exclusions_and_single_points_along(tmp_path: Path) -> None:
    """The main study asked for two of its methods: what it says of the others concerns nobody."""
    axes = {"method": {"lora": {}, "none": {}}, "connector": {"frozen": {}, "tuned": {}}, "seed": [1, 2]}
    exclude = [{"method": "none", "connector": "frozen"}]
    none, more = {"method": "none", "connector": "frozen", "seed": 2}, {"train": {"steps": 9}}
    longer = {"method": "lora", "connector": "long", "seed": 1, "set": more}
    points = [none | {"set": more}, longer]
    file = write(tmp_path / "s.yaml", select=None, axes=axes, exclude=exclude, points=points)

    def cells(*overrides: str) -> list[tuple[str, ...]]:
        return [tuple(cell.levels.values()) for cell in read_study_file(file, overrides=overrides).cells]

    assert len(cells()) == 6 + 2
    lora = [("lora", connector, seed) for connector in ("frozen", "tuned") for seed in "12"]
    assert cells("axes.method=[lora]") == [*lora, ("lora", "long", "1")]
    assert cells("axes.seed=[2]") == [*(c for c in cells()[:6] if c[2] == "2"), ("none", "frozen", "2")]
    with pytest.raises(HoldfastError, match="leaves nothing out"):
        cells_of = write(tmp_path / "t.yaml", select=None, axes=axes, exclude=[*exclude, *exclude])
        read_study_file(cells_of)


def test_groups_name_levels_and_survive_fewer_of_them(tmp_path: Path) -> None:
    groups = {"seed": {"odd": [1, 3], "even": [2]}}
    file = write(tmp_path / "s.yaml", select=None, axes={"seed": [1, 2, 3]}, groups=groups, claims=["h1"])
    study = read_study_file(file)
    assert study.groups == {"seed": {"odd": ["1", "3"], "even": ["2"]}} and study.claims == ["h1"]
    assert read_study_file(file, overrides=["axes.seed=[1]"]).groups == study.groups


MISTAKES: list[tuple[str, str, int | None]] = [
    ("titel: t\n", "unknown key 'titel'", 1),
    ("title: t\n", "the study varies nothing", None),
    ("axes: {seed: []}\n", "axis 'seed' has no levels", 1),
    ("axes:\n  seed: [1]\n  seed: [2]\n", "key 'seed' stands twice", 3),
    ("axes:\n  seed: [1, 1]\n", "axis 'seed' has the level '1' twice", 2),
    ("axes:\n  method: [lora]\n", "axis 'method' is the path of no setting", 2),
    ("axes:\n  method:\n    lora: {tuen: {}}\n", "unknown key 'tuen' in level 'lora'", 3),
    ("axes:\n  target: [{data: x}]\n", "a level of axis 'target' has no name", 2),
    ("axes: {seed: [1], train.steps: [1, 2]}\nzip: [[seed, train.steps]]\n", "as many levels each", 2),
    ("axes: {seed: [1]}\nexclude: [{seed: 1}]\n", "the study has no points", 2),
    ("axes: {seed: [1]}\nexclude:\n- {seed: 2}\n", "axis 'seed' has no level '2'", 3),
    ("axes: {seed: [1, 2]}\nexclude:\n- {seed: 1}\n- {seed: 1}\n", "this exclusion leaves nothing out", 4),
    ("axes: {seed: [1]}\npoints:\n- {seed: 1}\n", "the point seed 1 is there already", 3),
    ("axes: {seed: [1]}\npoints:\n- {sed: 1}\n", "there is no axis 'sed'", 3),
    ("axes: {seed: [1]}\nzip: [seed]\n", "'zip' is not such a list", 2),
    (
        "axes:\n  a: {x: {train: {steps: 1}}}\n  train.steps: [1]\n",
        "axes 'a' and 'train.steps' both set train.steps",
        3,
    ),
    (
        "axes:\n  size: {s: {tune: {llm: {r: 1}}}}\n  method: {l: {tune: {llm: {method: lora}}}}\n",
        "axis 'method' replaces tune.llm, of which axis 'size' sets 'r'",
        2,
    ),
    ("axes: {seed: [1]}\nselect:\n  lr: {levels: [1], per: [method]}\n", "there is no axis 'method'", 3),
    ("axes: {seed: [1]}\nselect:\n  lr: {levels: [1], rule: luck}\n", "unknown rule 'luck'", 3),
    ("axes: {seed: [1]}\nselect:\n  lr: {levels: [1, 2], start: 3}\n", "'3' is none of the levels", 3),
    ("axes: {seed: [1]}\nselect:\n  lr: {levels: [1, 2], set: 3}\n", "'set' is not a mapping", 3),
    ("axes: {seed: [1]}\nselect:\n  lr: {levels: []}\n", "axis 'lr' has no levels", 3),
    ("axes: {seed: [1]}\nselect:\n  seed: {levels: [1]}\n", "'seed' is an axis of the study and is to be chosen", 3),
    ("axes: {seed: [1]}\nselect:\n  lr: {levels: [1], per: [seed], with: {seed: 1}}\n", "stands in per and in with", 3),
    ("common: 3\naxes: {seed: [1]}\n", "'common' is not a mapping", 1),
    ("axes: {seed: [1]}\nclaims: [h99]\n", "there is no claim 'h99'", 2),
    ("axes: {seed: [1]}\ngroups: {sed: {a: [1]}}\n", "there is no axis 'sed'", 2),
    ("axes: {seed: [1]}\ngroups:\n  seed: {a: [2]}\n", "axis 'seed' has no level '2'", 3),
    ("axes: {seed: [1]}\ngroups:\n  seed: {a: 1}\n", "the groups are not lists of levels", 3),
    ("scales: [a]\n", "'scales' is not a mapping of scales", 1),
]


@pytest.mark.parametrize(("text", "words", "line"), MISTAKES)
def test_mistakes_of_the_file(tmp_path: Path, text: str, words: str, line: int | None) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(HoldfastError) as caught:
        read_study_file(file)
    assert words in caught.value.problem
    assert caught.value.line == line and caught.value.file == str(file)


@pytest.mark.parametrize(
    ("change", "line"),
    [("common", "steps: -1"), ("axes", "setps"), ("seed", "- -3"), ("select", "batch_size: 0")],
)
def test_a_mistake_of_a_point_has_the_line_that_set_it(tmp_path: Path, change: str, line: str) -> None:
    sections: dict[str, Any] = {
        "common": {"target": "pocket:digits", "train": {"steps": -1 if change == "common" else 1}},
        "axes": {
            "long": {"no": {}, "yes": {"train": {"setps" if change == "axes" else "epochs": 9}}},
            "seed": [1, -3 if change == "seed" else 3],
        },
        "select": {"lr": {"levels": [1, 2], "set": {"train": {"batch_size": 0 if change == "select" else 1}}}},
    }
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")
    with pytest.raises(HoldfastError) as caught:
        Planner(read_study_file(file)).agenda(lambda key: None)
    shown = file.read_text("utf-8").splitlines()[(caught.value.line or 0) - 1]
    assert line in shown or (change == "seed" and "seed" in shown)
