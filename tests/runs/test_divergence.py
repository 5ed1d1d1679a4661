"""Divergences from the base on the new task, against sums over plain probabilities and against closed forms."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from holdfast import api
from holdfast.config.loading import load_config
from holdfast.events import silence
from holdfast.methods.recipe import restore
from holdfast.models.loading import Loaded
from holdfast.runs.divergence import base_logits, divergences
from holdfast.runs.opening import open_run
from holdfast.runs.reading import read_tasks
from holdfast.tasks.task import Task
from tests.support.desk import Desk

NAMES = ("kl_to_base", "kl_reverse", "kl_without_target")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_llava: Path) -> Path:
    """A run that learned enough to differ from its base, with divergences asked for."""
    desk = Desk(tmp_path_factory.mktemp("desk"), tiny_llava, None)  # type: ignore[arg-type]
    tune = {"llm": {"method": "lora", "r": 2, "lr": 0.05}}
    recipe = desk.config(tune=tune, evaluate={"max_new_tokens": 2, "batch_size": 2, "kl": True})
    api.tune(recipe, desk.folder / "run")
    return desk.folder / "run"


def by_hand(base: Loaded, tuned: Loaded, task: Task) -> np.ndarray:
    """The three means, example by example and token by token, in double precision."""
    sums, count = np.zeros(3), 0
    for example in task.test:
        encoded = base.chat.encode([example], with_answers=True, max_length=None)
        labels = encoded.pop("labels")[0]
        with torch.no_grad():
            logits = [one.model(**encoded).logits[0].double().numpy() for one in (base, tuned)]
        for place in range(len(labels) - 1):
            right = int(labels[place + 1])
            if right < 0:
                continue
            p, q = (np.exp(row[place]) / np.exp(row[place]).sum() for row in logits)
            sums[0] += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
            sums[1] += sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
            p, q = np.delete(p, right) / (1 - p[right]), np.delete(q, right) / (1 - q[right])
            sums[2] += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
            count += 1
    return sums / count


def test_a_run_writes_what_a_sum_over_all_tokens_gives(run: Path) -> None:
    (entry,) = json.loads((run / "scores.json").read_text())["recipes"].values()
    before, after = open_run(run), open_run(run)
    restore(after.base, after.artifacts)
    task = read_tasks(load_config(run / "config.yaml"), run.parent, silence).target
    assert task is not None and len(task.test) > 0
    for loaded in (before.base, after.base):
        loaded.model.eval()
    expected = by_hand(before.base, after.base, task)
    assert expected.min() > 1e-3  # the run has moved
    np.testing.assert_allclose([entry[name] for name in NAMES], expected, rtol=1e-3)


def test_a_model_that_did_not_change_diverges_by_nothing(run: Path) -> None:
    opened = open_run(run)
    task = read_tasks(opened.config, run.parent, silence).target
    assert task is not None
    task = replace(task, test=(*task.train, *task.test))
    says = base_logits(opened.base, task, opened.config, most=1)  # one batch at least
    found = says.against(opened.base)
    assert found["n"] == 2 and found["tokens"] > 2
    assert [found[name] for name in NAMES] == pytest.approx([0, 0, 0], abs=1e-6)


def test_it_is_not_measured_unless_asked(tmp_path: Path, tiny_llava: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.tune(Desk(tmp_path, tiny_llava, capsys).config(), tmp_path / "run")
    (entry,) = json.loads((tmp_path / "run" / "scores.json").read_text())["recipes"].values()
    assert not set(NAMES) & entry.keys() and not (tmp_path / "run" / "divergence.json").exists()


def test_closed_form_of_two_and_three_tokens() -> None:
    half = torch.log(torch.tensor([[0.5, 0.25, 0.25]]))
    sure = torch.log(torch.tensor([[0.8, 0.15, 0.05]]))
    right = torch.tensor([0])
    forward = 0.5 * math.log(0.5 / 0.8) + 0.25 * math.log(0.25 / 0.15) + 0.25 * math.log(0.25 / 0.05)
    reverse = 0.8 * math.log(0.8 / 0.5) + 0.15 * math.log(0.15 / 0.25) + 0.05 * math.log(0.05 / 0.25)
    without = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert divergences(half, sure, right).tolist() == pytest.approx([forward, reverse, without], rel=1e-5)


def test_tokens_that_a_model_never_says_count_nothing() -> None:
    base = torch.tensor([[1.0, 0.0, -math.inf]])
    tuned = torch.tensor([[1.0, 0.5, -math.inf]])
    found = divergences(base, tuned, torch.tensor([0]))
    assert torch.isfinite(found).all() and float(found[0]) > 0 and float(found[2]) == pytest.approx(0.0, abs=1e-7)
