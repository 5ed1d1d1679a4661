"""Run methods, shared rows, packing, features and export on a tiny model of each family; write the table of it.

``python -m scripts.family_runs [FAMILY ...]`` from the project root, about 15 seconds of one processor a family; the
records stand in ``family-runs.jsonl`` of the folder that ``--records`` names, and ``docs/models.md`` gets the table of
all of them.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scripts.families import DOCUMENT, between
from tests.support.closeness import FLOAT32, deviation
from tests.support.processors import DIFFERING, KITS, save
from tests.support.tiny import ROLES

from holdfast.config.loading import dump_config, load_config
from holdfast.data.examples import Example, Turn
from holdfast.errors import HoldfastError
from holdfast.methods.ledger import write_ledger
from holdfast.methods.recipe import Recipe
from holdfast.models.anatomy import resolve_anatomy
from holdfast.models.loading import Loaded, load_model
from holdfast.runs.artifacts import save_artifacts
from holdfast.runs.export import export_adapter, export_model
from holdfast.runs.folder import RunFolder
from holdfast.training.loop import Trainer
from holdfast.training.pools import Pools

BEGIN, END = "<!-- family runs -->", "<!-- end of family runs -->"
FIRST = [family for family in KITS if family not in DIFFERING]
"""The families whose processors resemble others; the tests run all this on those that differ most."""

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"llm": {"method": "lora", "r": 2, "alpha": 4, "dropout": 0.0, "lr": 1e-2}},
    "ia3": {"llm": {"method": "ia3", "lr": 1e-2}},
    "houlsby": {"llm": {"method": "houlsby", "bottleneck": 4, "lr": 1e-2}},
    "prefix": {"llm": {"method": "prefix", "tokens": 3, "lr": 1e-2}},
    "prompt_tuning": {"llm": {"method": "prompt_tuning", "tokens": 3, "lr": 1e-2}},
    "magnitude_mask": {"llm": {"method": "magnitude_mask", "ratio": 0.3, "lr": 1e-2}},
    "spider": {"llm": {"method": "spider", "lr": 1e-2}},
    "layers": {"llm": {"method": "layers", "layers": "last:1", "lr": 1e-2}},
    "full": {"llm": {"method": "full", "lr": 1e-3}, "connector": {"method": "full", "lr": 1e-3}},
}
SPEED = {
    "shared": {"share_images": "on"},
    "packed": {"packing": "on"},
    "features": {"feature_cache": "on"},
}
OFF = {"share_images": "off", "packing": "off", "feature_cache": "off", "workers": 0}
WITH_SPEED = {
    "shared": ("lora", "prefix", "prompt_tuning", "full"),
    "packed": ("lora", "prefix"),
    "features": ("lora", "full"),
}
AS_ADAPTER = ("lora", "ia3", "prefix", "prompt_tuning")
ADDED = ("houlsby", "prefix", "prompt_tuning")
"""What stands beside the weights and cannot be folded into them."""

COLUMNS = ("methods", "text beside", "shared", "packed", "features", "merged", "PEFT")
YES = "yes"


def _pixels(seed: int, height: int = 20, width: int = 30) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


PICTURES = (_pixels(1), _pixels(2, 40, 18), _pixels(3))
ASKED = (("what is it ?", "red"), ("and where does it stand, left or right ?", "left of it"), ("which one", "no"))
DATA = tuple(
    Example(f"e{i}{j}", (pixels,), (Turn(question + " of them" * i, (answer,)),), f"i{i}")
    for i, pixels in enumerate(PICTURES)
    for j, (question, answer) in enumerate(ASKED)
)
BESIDE = (
    Example("text", (), (Turn("what is red ?", ("a colour",)),)),
    DATA[0],
    Example("two", PICTURES[:2], (Turn("see <image> and <image> ?", ("yes",)),)),
    DATA[4],
)
"""A row without a picture, one with two."""


@dataclass
class _Run:
    """One short run, still attached."""

    loaded: Loaded
    recipe: Recipe
    config: Any
    losses: list[float]
    ledger: Any


def _train(base: Loaded, tune: Any, speed: Any, data: tuple[Example, ...] = DATA) -> _Run:
    model = copy.deepcopy(base.model)
    loaded = Loaded(base.name, model, base.chat, resolve_anatomy(model))
    train = {"steps": 2, "batch_size": 6, "trackers": []}
    config = load_config({"model": base.name, "target": "x.jsonl", "tune": tune, "train": train, "speed": OFF | speed})
    recipe, pools = Recipe(config), Pools(loaded, config.train, 0, data, data[:3], data)
    recipe.attach(loaded, 0, pools, pools.loss)
    ledger = write_ledger(recipe, loaded.anatomy)
    outcome = Trainer(loaded, recipe, config.train, data, data[:3], seed=0, speed=config.speed).fit()
    assert np.isfinite(outcome.losses).all()
    return _Run(loaded, recipe, config, outcome.losses, ledger.to_json())


@torch.no_grad()
def _logits(model: Any, batch: Any) -> Any:
    return model.eval()(**batch).logits


def _tried(what: Callable[[], None]) -> str:
    """What came of it: yes, the sentence of a refusal, or a fault."""
    try:
        what()
    except HoldfastError as error:
        return f"no: {error.problem}"
    except Exception as error:  # a fault of ours, or of a library; the table is to show it
        return f"FAULT: {type(error).__name__} {error}"[:300]
    return YES


def _method(base: Loaded, name: str, room: Path) -> dict[str, str]:
    """What came of one method, by column."""
    tune, runs = METHODS[name], list[_Run]()
    batch = base.chat.encode(DATA[:3], with_answers=False)

    def plain() -> None:
        runs.append(_train(base, tune, {}))

    found = {"methods": _tried(plain)}
    if (
        not runs
        and "modules: [attention]" in _remedy(lambda: _train(base, tune, {}))
        and name
        in (
            "lora",
            "magnitude_mask",
        )
    ):
        tune = {"llm": tune["llm"] | {"modules": ["attention"]}}
        found["methods"] = _tried(plain).replace(YES, "yes, modules: [attention]")
    if not runs:
        return found
    run = runs[0]
    tuned = _logits(run.loaded.model, batch)
    for column, names in WITH_SPEED.items():
        if name in names:

            def alike(column: str = column) -> None:
                speed = SPEED[column] | {"cache_dir": str(room / "cache")}
                for mine, other in zip(_train(base, tune, speed).losses, run.losses, strict=True):
                    assert abs(mine - other) <= 2e-5 * abs(other), f"loss {mine} for {other}"

            found[column] = _tried(alike)
    artifacts = run.recipe.detach()
    state, before = run.loaded.model.state_dict(), base.model.state_dict()
    assert state.keys() == before.keys() and all(torch.equal(state[key], before[key]) for key in before)
    assert torch.equal(_logits(run.loaded.model, batch), _logits(base.model, batch))

    folder = RunFolder(room / name)
    folder.path.mkdir()
    folder.config.write_text(dump_config(run.config), encoding="utf-8")
    save_artifacts(folder.artifact, artifacts, model=base.name, identity=base.identity, ledger=run.ledger)
    if name not in ADDED:
        found["merged"] = _tried(lambda: _merged(folder.path, batch, tuned))
    if name in AS_ADAPTER:
        found["PEFT"] = _tried(lambda: _adapter(folder.path, base.name, batch, tuned))
    return found


def _remedy(what: Callable[[], Any]) -> str:
    try:
        what()
    except HoldfastError as error:
        return str(error)
    return ""


def _merged(run: Path, batch: Any, tuned: Any) -> None:
    from transformers import AutoModelForImageTextToText

    out = run / "merged"
    export_model(run, out)
    model, report = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32, output_loading_info=True)
    assert not any(report.values()), report
    assert deviation(_logits(model, batch), tuned) <= FLOAT32
    again = load_model(str(out), device="cpu").chat.encode(DATA[:3], with_answers=False)
    assert all(torch.equal(again[key], batch[key]) for key in batch)


def _adapter(run: Path, base: str, batch: Any, tuned: Any) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    export_adapter(run, run / "adapter")
    fresh = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    plain = PeftModel.from_pretrained(fresh, str(run / "adapter"))
    assert deviation(_logits(plain, batch)[:, -tuned.shape[1] :], tuned) <= FLOAT32


def family(name: str) -> dict[str, dict[str, str]]:
    """What came of every method on a tiny model of the family, by method and column."""
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        base = load_model(str(save(room / "model", name, ROLES)), device="cpu")
        base.model.requires_grad_(False)
        found = {method: _method(base, method, room) for method in METHODS}
        found["layers"]["text beside"] = _tried(lambda: _train(base, METHODS["layers"], {}, BESIDE) and None)
    return found


def table(records: dict[str, dict[str, dict[str, str]]]) -> str:
    """A row a family: yes, or which methods were refused."""
    rows = [f"| family | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, found in records.items():
        cells = [_cell({method: row[column] for method, row in found.items() if column in row}) for column in COLUMNS]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([BEGIN, *rows, END])


def _cell(said: dict[str, str]) -> str:
    faults = [method for method, what in said.items() if what.startswith("FAULT")]
    if faults:
        return f"**fault**: {', '.join(faults)}"
    refused = [method for method, what in said.items() if what.startswith("no")]
    narrowed = [method for method, what in said.items() if "modules" in what and method not in refused]
    if len(refused) == len(said):
        return "no"
    notes = ([f"not {', '.join(refused)}"] if refused else []) + (
        [f"{', '.join(narrowed)} on attention"] if narrowed else []
    )
    return "; ".join([YES, *notes])


def main(words: Sequence[str] | None = None) -> None:
    """Run the families, keep the records and write the page."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=FIRST)
    parser.add_argument("--records", type=Path, required=True, help="folder of the records")
    asked = parser.parse_args(words)
    file = asked.records / "family-runs.jsonl"
    kept = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    records = {entry["family"]: entry["found"] for entry in kept}
    for name in asked.families:
        records[name] = family(name)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"family": name, "found": records[name]}) + "\n")
        print(
            name,
            {
                column: _cell({m: row[column] for m, row in records[name].items() if column in row})
                for column in COLUMNS
            },
            flush=True,
        )
    text = DOCUMENT.read_text(encoding="utf-8")
    in_order = {name: records[name] for name in KITS if name in records}
    DOCUMENT.write_text(between(text, BEGIN, END, table(in_order)), encoding="utf-8")


if __name__ == "__main__":
    main()
