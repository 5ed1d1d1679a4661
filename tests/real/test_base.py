"""The real base of ``studies/real``, where it has been made: what it can do, and that methods leave it as it was.

``HOLDFAST_REAL_MODEL`` names its folder; else it is looked for where ``studies/real/make.py`` writes it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from holdfast.data.examples import Example, Turn
from holdfast.methods.ledger import check_moved, fingerprint
from holdfast.methods.recipe import restore
from holdfast.runs.artifacts import load_artifacts, save_artifacts
from tests.support.methods import fresh, logits, run, tune_section

STUDY = Path(__file__).resolve().parents[2] / "studies" / "real"
BASE = Path(os.environ.get("HOLDFAST_REAL_MODEL", STUDY / "work" / "base"))
TASKS = BASE.parent / "tasks"

pytestmark = pytest.mark.skipif(not (BASE / "composed.json").is_file(), reason="the real base is not made here")


def answers(examples: list[Example], tokens: int) -> list[str]:
    """Greedy answers of the base in plain ``generate``."""
    loaded = fresh(BASE)
    batch = loaded.chat.encode(examples, with_answers=False)
    with torch.no_grad():
        said = loaded.model.generate(**batch, max_new_tokens=tokens, do_sample=False)  # type: ignore[operator]
    return [loaded.chat.decode(row[batch["input_ids"].shape[1] :]) for row in said]


def test_it_is_made_of_the_parts_that_its_connector_was_taught_on() -> None:
    record = json.loads((BASE / "composed.json").read_text(encoding="utf-8"))
    with safe_open(STUDY / "projector.safetensors", "pt") as taught:
        facts = taught.metadata()
        values = {name: taught.get_tensor(name) for name in taught.keys()}  # noqa: SIM118
    assert (record["vision_identity"], record["llm_identity"]) == (facts["vision"], facts["llm"])
    assert (record["token"], record["image_tokens"], str(record["layer"])) == ("<repo_name>", 36, facts["layer"])
    projector = fresh(BASE).model.get_submodule("model.multi_modal_projector")
    assert all(torch.equal(projector.get_parameter(name), value) for name, value in values.items())


def test_it_knows_what_its_llm_knew() -> None:
    asked = [
        Example(country, (), (Turn(f"What is the capital of {country}? Answer with one word.", (city,)),))
        for country, city in (("France", "Paris"), ("Japan", "Tokyo"), ("Egypt", "Cairo"))
    ]
    said = answers(asked, 12)
    assert all(city.answers[0] in text for city, text in zip(asked, said, strict=True)), said


def test_it_sees_shapes() -> None:
    file = TASKS / "easy_shape.jsonl"
    if not file.is_file():
        pytest.skip("the tasks are not made here")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()][:12]
    asked = [Example(row["id"], (TASKS / row["image"],), (Turn(row["question"], (row["answer"],)),)) for row in rows]
    right = [text == row["answer"] for text, row in zip(answers(asked, 4), rows, strict=True)]
    assert sum(right) >= 9, "three kinds of shape, and the connector was taught on 1,600 pictures of them"


ENGINES = {
    "PEFT": ("lora", "ia3"),
    "low-rank changes": ("loramoe", "fourierft"),
    "modules put in": ("adapter", "vpt", "loreft"),
    "keys and values in front": ("prefix",),
    "rows in front": ("prompt_tuning",),
    "sparse entries": ("spider", "fish_mask"),
    "whole tensors": ("hft", "bitfit"),
    "projected gradients": ("alphaedit",),
}
"""Some methods of every engine."""


@pytest.mark.parametrize("method", [method for methods in ENGINES.values() for method in methods])
def test_a_method_moves_what_its_ledger_says_and_nothing_else(method: str, tmp_path: Path) -> None:
    """The contract of ``tests/methods`` in short, on weights that were trained."""
    loaded, section = fresh(BASE), tune_section(method, lr=1e-3)
    before, plain = fingerprint(loaded.anatomy), logits(loaded)
    trained: Any = run(BASE, section, loaded=loaded, steps=2, batch_size=2)
    check_moved(before, trained.recipe, loaded.anatomy)
    assert not torch.equal(trained.logits, plain)
    artifacts = trained.recipe.detach()
    assert fingerprint(loaded.anatomy) == before
    assert torch.equal(logits(loaded), plain)
    save_artifacts(tmp_path / "artifact", artifacts, model="real", identity=loaded.identity, ledger={})
    restore(loaded, load_artifacts(tmp_path / "artifact")[0])
    assert torch.equal(logits(loaded), trained.logits)
