"""Configurations: defaults, round trip, overrides, and mistakes with their line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.config.loading import dump_config, load_config, plain_config
from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError

DESIGN = """\
model: llava-hf/llava-1.5-7b-hf
tune:
  vision: frozen
  connector: {method: full, lr: 2e-5}
  llm: {method: lora, r: 128, alpha: 256, modules: [attention, mlp], lr: 2e-4}
keep:
  - {stabiliser: replay, ratio: 0.1}
fuse: {method: wise_ft, alpha: 0.7}
target: my-data.jsonl
sources: [okvqa, textvqa, pope]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(DESIGN, encoding="utf-8")
    return tmp_path / "recipe.yaml"


def test_the_recipe_of_the_design(file: Path) -> None:
    config = load_config(file)
    assert config.tune.vision.method == "frozen"
    assert config.tune.connector.lr == 2e-5
    assert config.tune.llm.options == {"r": 128, "alpha": 256, "modules": ["attention", "mlp"]}
    assert config.keep[0].options == {"ratio": 0.1}
    assert config.fuse is not None
    assert config.fuse.options == {"alpha": 0.7}
    assert config.target is not None
    assert config.target.data == "my-data.jsonl"
    assert [task.data for task in config.sources] == ["okvqa", "textvqa", "pope"]


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# nothing\n", encoding="utf-8")
    config = load_config(tmp_path / "a.yaml")
    assert config == RunConfig()
    assert config.model == "pocket"
    assert {config.tune.vision.method, config.tune.connector.method, config.tune.llm.method} == {"frozen"}
    assert config.trust_remote_code is False
    assert config.target is None


def test_bare_words() -> None:
    config = load_config({"tune": {"llm": "lora"}, "keep": ["replay"], "fuse": "wise_ft", "target": "a.jsonl"})
    assert config.tune.llm.method == "lora"
    assert config.keep[0].stabiliser == "replay"
    assert config.fuse is not None
    assert config.fuse.method == "wise_ft"


@pytest.mark.parametrize(
    "source", [DESIGN, "{}", r'{name: "\u00e4\u2028\U0001f600", target: {data: a, test: b.jsonl}}']
)
def test_round_trip(source: str, tmp_path: Path) -> None:
    config = load_config(yaml.safe_load(source))
    (tmp_path / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "config.yaml") == config


def test_an_infinite_option_is_kept() -> None:
    config = load_config({"tune": {"llm": {"method": "full", "alpha": float("inf")}}})
    assert load_config(yaml.safe_load(dump_config(config))) == config


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@settings(deadline=None)
@given(
    name=NAMES | st.none(), lr=st.floats(1e-12, 1e3), clip=st.none() | st.floats(1e-6, 1e6), seed=st.integers(0, 2**40),
    data=NAMES, options=st.dictionaries(st.sampled_from(["alpha", "beta"]), st.floats(allow_nan=False) | st.booleans()),
    share=st.floats(0, 0.9), steps=st.none() | st.integers(0, 10**9),
)  # fmt: skip
def test_whatever_the_values_the_dump_reads_back(
    name: str | None, lr: float, clip: float | None, seed: int, data: str, options: dict[str, Any], share: float,
    steps: int | None, tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    config = load_config({
        "name": name, "tune": {"llm": {"method": "full", "lr": lr, **options}}, "seed": seed,
        "target": {"data": data, "test": share}, "train": {"clip": clip, "steps": steps},
    })  # fmt: skip
    file = tmp_path_factory.getbasetemp() / "config.yaml"
    file.write_text(dump_config(config), encoding="utf-8")
    assert load_config(file) == config


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("tune.llm.lr=2e-4", ("tune", "llm", "lr"), 2e-4),
        ("tune.llm.lr=0.1", ("tune", "llm", "lr"), 0.1),
        ("tune.vision=bitfit", ("tune", "vision", "method"), "bitfit"),
        ("tune.vision.lr=1E-3", ("tune", "vision", "lr"), 1e-3),
        ("train.steps=20", ("train", "steps"), 20),
        ("train.clip=null", ("train", "clip"), None),
        ("train.betas=[0.5, 0.6]", ("train", "betas"), (0.5, 0.6)),
        ("train.trackers=[]", ("train", "trackers"), ()),
        ("skip_bad=true", ("skip_bad",), True),
        ("target.limit=3", ("target", "limit"), 3),
        ("target.data=b.jsonl", ("target", "data"), "b.jsonl"),
        ("name=nan", ("name",), "nan"),
        ("name=a=b", ("name",), "a=b"),
        (" seed =4", ("seed",), 4),
    ],
)
def test_overrides(file: Path, override: str, place: tuple[str, ...], value: Any) -> None:
    found: Any = load_config(file, [override])
    for part in place:
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_an_override_of_an_option_is_a_number_too(file: Path) -> None:
    config = load_config(file, ["tune.llm.dropout=1e-2", "tune.llm.r=8"])
    assert config.tune.llm.options["dropout"] == 0.01
    assert config.tune.llm.options["r"] == 8
    assert config.tune.llm.options["alpha"] == 256


def test_the_last_override_wins_and_the_file_stays(file: Path) -> None:
    assert load_config(file, ["seed=1", "seed=2"]).seed == 2
    assert file.read_text("utf-8") == DESIGN


@pytest.mark.parametrize(
    ("line", "text", "problem", "remedy"),
    [
        (11, "modle: x", "unknown key 'modle'", "did you mean 'model'?"),
        (3, "  visoin: frozen", "unknown key 'tune.visoin'", "did you mean 'vision'?"),
        (9, "target: {data: a, metrc: x}", "unknown key 'target.metrc'", "did you mean 'metric'?"),
        (10, "sources: [a, {data: b, limt: 3}]", "unknown key 'sources.1.limt'", "did you mean 'limit'?"),
        (11, "train: {stpes: 3}", "unknown key 'train.stpes'", "did you mean 'steps'?"),
        (11, "evaluate:\n  btach_size: 3", "unknown key 'evaluate.btach_size'", "did you mean 'batch_size'?"),
        (7, "  - {ratio: 0.1}", "'keep.0.stabiliser' is missing", "add it"),
        (5, "  llm: {method: lora, lr: no}", "'tune.llm.lr' is False", ""),
        (11, "train: {schedule: cosin}", "'train.schedule' is 'cosin'", ""),
        (11, "model: again", "key 'model' stands twice", ""),
        (8, "fuse: {method: [", "bad YAML", ""),
    ],
)
def test_mistakes_carry_their_line(file: Path, line: int, text: str, problem: str, remedy: str) -> None:
    lines = DESIGN.split("\n")
    lines[line - 1 : line] = text.split("\n")
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(HoldfastError) as caught:
        load_config(file)
    assert problem in caught.value.problem
    expected = {"evaluate:\n  btach_size: 3": 12, "fuse: {method: [": 10}.get(text, line)
    assert caught.value.line == expected
    assert remedy in (caught.value.remedy or "")
    assert caught.value.file == str(file)


def test_the_line_is_that_of_the_key_meant_not_of_its_namesake(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("tune:\n  llm: {method: full, lr: 1}\n  vision:\n    method: full\n    lr: -1\n", encoding="utf-8")
    with pytest.raises(HoldfastError) as caught:
        load_config(file)
    assert (caught.value.line, caught.value.problem.split("'")[1]) == (5, "tune.vision.lr")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*RunConfig.model_fields, "llm", "method", "data"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_mapping_is_a_configuration_or_one_sentence(raw: dict[str, Any]) -> None:
    try:
        load_config(raw)
    except HoldfastError as error:
        assert error.problem
        assert error.remedy


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from(list("tune: llm\n-{}[],&*a!|>'\"#%@`?\t0")), max_size=40))
def test_any_text_is_a_configuration_or_one_sentence(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            load_config(file)
        except HoldfastError as error:
            assert "\n" not in str(error)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from(list("tune.lm=0123e-[]{}:,'\"!&* x")), max_size=20))
def test_any_override_is_taken_or_one_sentence(override: str) -> None:
    try:
        load_config({}, [override])
    except HoldfastError as error:
        assert error.problem


def test_several_methods_of_one_component() -> None:
    config = load_config({"tune": {"llm": [{"method": "lora", "r": 2}, "norms", {"method": "prefix", "lr": 1e-3}]}})
    assert [(part.method, part.lr, part.options) for part in config.tune.llm.all] == [
        ("lora", None, {"r": 2}),
        ("norms", None, {}),
        ("prefix", 1e-3, {}),
    ]
    assert load_config(yaml.safe_load(dump_config(config))) == config
    assert load_config(plain_config(config)) == config


def test_a_method_alone_is_written_as_before() -> None:
    config = load_config({"tune": {"llm": ["lora"], "vision": {"method": "lora"}}})
    assert config.tune.llm == config.tune.vision
    for written in (config.model_dump(), yaml.safe_load(dump_config(config)), json.loads(config.model_dump_json())):
        assert written["tune"]["llm"] == {"method": "lora", "lr": None}


def test_frozen_stands_alone() -> None:
    with pytest.raises(HoldfastError, match="frozen stands alone"):
        load_config({"tune": {"llm": ["lora", "frozen"]}})


def test_a_mistake_in_a_list_is_found_by_its_place_and_line(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("tune:\n  llm:\n    - {method: lora}\n    - method: norms\n      lr: -1\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match=r"'tune.llm.1.lr'") as found:
        load_config(file)
    assert found.value.line == 5 and found.value.key == ("tune", "llm", "1", "lr")


def test_an_override_reaches_into_a_list() -> None:
    written = {"tune": {"llm": ["lora", {"method": "norms"}]}}
    config = load_config(written, ["tune.llm.0.r=4", "tune.llm.1.lr=1e-4"])
    assert [(part.lr, part.options) for part in config.tune.llm.all] == [(None, {"r": 4}), (1e-4, {})]
    assert written == {"tune": {"llm": ["lora", {"method": "norms"}]}}
    with pytest.raises(HoldfastError, match=r"'2' is no place in this list\. Write a place from 0 to 1"):
        load_config(written, ["tune.llm.2.lr=1"])
    with pytest.raises(HoldfastError, match="'r' is no place in this list"):
        load_config(written, ["tune.llm.r=4"])
