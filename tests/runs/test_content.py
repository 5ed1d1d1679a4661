"""Identity is content: what changed under kept names, sizes and times is noticed and named; damage is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from holdfast import api
from holdfast.config.schema import RunConfig, TaskSpec
from holdfast.errors import HoldfastError
from holdfast.events import Predicted
from holdfast.models.loading import load_model
from holdfast.runs.artifacts import load_artifacts
from holdfast.runs.fingerprint import _digest_by_size
from holdfast.runs.reading import read_tasks
from holdfast.tasks.resolve import resolve_task
from tests.support.desk import Desk, picture
from tests.support.stopping import Stop, stop_after


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, tiny_llava: Path) -> Path:
    """A desk with a model of its own, one finished run (``done``) and one killed after a checkpoint (``killed``)."""
    folder = tmp_path_factory.mktemp("begun")
    shutil.copytree(tiny_llava, folder / "model")
    desk = Desk(folder, "model", None)  # type: ignore[arg-type]
    train = {"steps": 4, "batch_size": 2, "trackers": [], "checkpoint_every": 2}
    config = desk.config(train=train)
    api.tune(config, folder / "runs" / "done")
    with pytest.raises(Stop):
        api.tune(config, folder / "runs" / "killed", listen=stop_after(3))
    return folder


@pytest.fixture
def place(begun: Path, tmp_path: Path) -> Path:
    """A copy to change; paths of the configuration start beside it."""
    shutil.copytree(begun, tmp_path / "desk", copy_function=shutil.copy2)
    for file in (tmp_path / "desk" / "runs").rglob("config.yaml"):
        file.write_text(file.read_text("utf-8").replace(str(begun), str(tmp_path / "desk")), encoding="utf-8")
    return tmp_path / "desk"


def go_on(place: Path, run: str) -> list[str]:
    """Give the command of the run again; who was asked."""
    asked: list[str] = []

    def listen(event: Any) -> None:
        if isinstance(event, Predicted):
            asked.append(event.who)

    api.tune(place / "recipe.yaml", place / "runs" / run, listen=listen)
    return asked


def refused(place: Path, *words: str, run: str = "killed") -> None:
    with pytest.raises(HoldfastError) as caught:
        go_on(place, run)
    for word in words:
        assert word.lower() in str(caught.value).lower()


def edit(file: Path, change: Callable[[str], str]) -> None:
    before = file.read_text("utf-8")
    assert change(before) != before
    file.write_text(change(before), encoding="utf-8")


def other_pixels(file: Path) -> None:
    """New pixels under the same name, size and modification time."""
    status = file.stat()
    picture(file, 77)
    size = file.stat().st_size
    with file.open("ab") as stream:
        assert size <= status.st_size + 64
        stream.write(b"\0" * max(0, status.st_size - size))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_nothing_changed(place: Path) -> None:
    assert go_on(place, "done") == []
    assert "tuned" in go_on(place, "killed")
    record = json.loads((place / "runs/killed/begun.json").read_text("utf-8"))
    assert record["format"] == 2 and set(record["tasks"]["data"]) == {
        "pictures",
        "questions or answers",
        "scoring rules",
    }


def test_other_pixels_under_a_kept_name_size_and_time(place: Path) -> None:
    other_pixels(place / "3.png")
    refused(place, "the pictures of 'data' have changed since the run began", "choose another --out")


CHANGES: dict[str, tuple[str, Callable[[str], str]]] = {
    "the processor settings of the model have changed": (
        "processor_config.json",
        lambda text: json.dumps(_with_another_mean(json.loads(text))),
    ),
    "the chat template of the model has changed": ("chat_template.jinja", lambda text: text + "{# - #}"),
    "the tokenizer of the model has changed": (
        "tokenizer.json",
        lambda text: json.dumps(_with_another_word(json.loads(text))),
    ),
    "the generation settings of the model have changed": (
        "generation_config.json",
        lambda text: json.dumps(json.loads(text) | {"repetition_penalty": 1.5}),
    ),
}


def _with_another_mean(settings: dict[str, Any]) -> dict[str, Any]:
    settings["image_processor"]["image_mean"] = [0.25, 0.5, 0.5]
    return settings


def _with_another_word(tokenizer: dict[str, Any]) -> dict[str, Any]:
    vocabulary = tokenizer["model"]["vocab"]
    first, second = [word for word in vocabulary if word.isalpha()][:2]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    return tokenizer


@pytest.mark.parametrize("what", CHANGES)
def test_what_belongs_to_the_model(place: Path, what: str) -> None:
    name, change = CHANGES[what]
    file = place / "model" / name
    if file.is_file():
        edit(file, change)
    else:
        file.write_text(change("{}"), encoding="utf-8")
    refused(place, what)


def test_base_answers_are_not_taken_for_those_of_other_pixels_or_another_template(place: Path) -> None:
    """Runs beside each other share the base's answers; only where everything they depend on is equal."""
    assert set(go_on(place, "second")) == {"tuned"}
    edit(place / "model" / "chat_template.jinja", lambda text: text + "{# - #}")
    assert set(go_on(place, "third")) == {"base", "tuned"}
    tests = json.loads((place / "runs/third/predictions/data.jsonl").read_text("utf-8").splitlines()[0])
    other_pixels(place / f"{tests['id'].removeprefix('q')}.png")
    assert set(go_on(place, "fourth")) == {"base", "tuned"}


def test_a_moved_desk_keeps_its_answers(place: Path) -> None:
    """Content counts, not the path."""
    assert set(go_on(place, "second")) == {"tuned"}


def test_runs_and_evaluations_of_older_versions_go_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = RunConfig.model_validate({"model": "model", "target": "data.jsonl"})
    tasks = read_tasks(config, place)
    old = {
        "base_identity": load_model(str(place / "model")).identity,
        "tasks": {task.name: _digest_by_size(task) for task in tasks.all},
    }
    (place / "runs/killed/begun.json").write_text(json.dumps(old), encoding="utf-8")
    for name in ("artifact/artifact.json", "checkpoint/progress.json"):
        for run in ("done", "killed"):
            file = place / "runs" / run / name
            if file.exists():
                record = json.loads(file.read_text("utf-8"))
                record.pop("sha256")
                record.pop("tensors", None)
                for part in record.get("parts", []):
                    part.pop("sha256")
                file.write_text(json.dumps(record), encoding="utf-8")
    go_on(place, "killed")
    assert load_artifacts(place / "runs/done/artifact")[0]
    assert json.loads((place / "runs/killed/begun.json").read_text("utf-8"))["format"] == 2
    out, data = place / "asked", [str(place / "data.jsonl")]
    api.evaluate(place / "model", data, out, max_new_tokens=2)
    file = place / "asked" / "evaluation.json"
    record = json.loads(file.read_text("utf-8"))
    spec = TaskSpec(data=data[0], validation=0.0, test=0.0)
    task = resolve_task(spec, base=place, seed=0).task
    record["tasks"] = {"data": f"{replace(task, train=(), test=task.train).key_by_time()}-2"}
    record.pop("setup")
    file.write_text(json.dumps(record), encoding="utf-8")
    api.evaluate(place / "model", data, out, max_new_tokens=2)
    assert "setup" in json.loads(file.read_text("utf-8"))


def test_an_evaluation_does_not_go_on_with_another_template_or_other_pixels(place: Path) -> None:
    out, data = place / "asked", [str(place / "data.jsonl")]
    api.evaluate(place / "model", data, out, max_new_tokens=2)
    shutil.copytree(out, place / "again")
    other_pixels(place / "5.png")
    with pytest.raises(HoldfastError, match="other items of 'data'"):
        api.evaluate(place / "model", data, out, max_new_tokens=2)
    edit(place / "model" / "chat_template.jinja", lambda text: text + "{# - #}")
    with pytest.raises(HoldfastError, match="another chat template"):
        api.evaluate(place / "model", data, place / "again", max_new_tokens=2)


def flip(file: Path) -> None:
    """One bit, near the end: a value of a tensor."""
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def without_a_tensor(file: Path) -> None:
    tensors = load_file(file)
    tensors.pop(sorted(tensors)[-1])
    save_file(tensors, file)


def without_the_optimizer(file: Path) -> None:
    save_file({key: value for key, value in load_file(file).items() if not key.startswith("optimizer:")}, file)


def without_a_part(file: Path) -> None:
    record = json.loads(file.read_text("utf-8"))
    record["parts"].pop()
    file.write_text(json.dumps(record), encoding="utf-8")


def at_step_999(file: Path) -> None:
    record = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(record | {"step": 999}), encoding="utf-8")


DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    ("done/artifact/llm.safetensors", flip, "llm.safetensors is not as it was written"),
    ("done/artifact/llm.safetensors", without_a_tensor, "llm.safetensors is not as it was written"),
    ("done/artifact/llm.safetensors", Path.unlink, "the values of llm are missing"),
    ("done/artifact/artifact.json", without_a_part, "artifact.json is not as it was written"),
    ("killed/checkpoint/tensors.safetensors", flip, "tensors.safetensors is not as it was written"),
    ("killed/checkpoint/tensors.safetensors", without_the_optimizer, "tensors.safetensors is not as it was written"),
    ("killed/checkpoint/progress.json", at_step_999, "progress.json is not as it was written"),
]


@pytest.mark.parametrize(("name", "damage", "what"), DAMAGE, ids=lambda value: getattr(value, "__name__", None))
def test_damage_is_refused(place: Path, name: str, damage: Callable[[Path], None], what: str) -> None:
    damage(place / "runs" / name)
    (place / "runs/done/scores.json").unlink()
    refused(place, "damaged", what, "delete this folder", run=name.split("/")[0])


OLD_DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    ("tensors.safetensors", without_the_optimizer, "the state of the optimizer is missing"),
    ("progress.json", at_step_999, "it stands at step 999 of 4"),
]


@pytest.mark.parametrize(("name", "damage", "what"), OLD_DAMAGE, ids=lambda value: getattr(value, "__name__", None))
def test_damage_of_a_checkpoint_without_digests(
    place: Path, name: str, damage: Callable[[Path], None], what: str
) -> None:
    file = place / "runs/killed/checkpoint/progress.json"
    record = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({k: v for k, v in record.items() if k not in ("sha256", "tensors")}), encoding="utf-8")
    damage(file.with_name(name))
    refused(place, "damaged", what, "delete this folder")
