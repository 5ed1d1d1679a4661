"""In which dtype a run's base is loaded: wherever it is opened, the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast import api
from holdfast.config.loading import load_config
from holdfast.models import loading
from holdfast.runs import opening, shelf
from holdfast.runs.shelf import KeepingShelf, Shelf


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", None), ("auto", None)])
def test_float32_is_asked_for_by_name(precision: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a GPU's base is in bfloat16, and what trains in float32 without autocast cannot be multiplied with it."""
    asked: list[Any] = []
    monkeypatch.setattr(shelf, "load_model", lambda name, **how: asked.append(how["dtype"]))
    Shelf().model(load_config({"train": {"precision": precision}}))
    assert asked == [dtype]


def test_a_kept_model_is_of_the_precision_asked_for() -> None:
    kept, dtypes = KeepingShelf(), []
    for precision in ("bf16", "fp32", "bf16"):
        config = load_config({"model": "pocket", "train": {"precision": precision}})
        dtypes.append(next(kept.model(config).model.parameters()).dtype)
    assert dtypes == [torch.float32] * 3, "on a processor they are all one"
    assert kept._model is not None and kept._model[0][1] is None


def test_a_run_in_float32_opens_where_the_default_is_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: without a dtype the base would be another one than the run's, and refused."""
    original = loading.load_model

    def halved(name: str, *, dtype: torch.dtype | None = None, **how: Any) -> Any:
        return original(name, dtype=torch.bfloat16 if dtype is None else dtype, **how)

    for room in (shelf, opening):
        monkeypatch.setattr(room, "load_model", halved)
    settings = {
        "model": "pocket", "tune": {"llm": {"method": "full", "lr": 1e-4}}, "evaluate": {"max_new_tokens": 4},
        "target": {"data": "pocket:digits", "limit": 16, "test_limit": 4},
        "train": {"steps": 2, "batch_size": 4, "trackers": []},
    }  # fmt: skip
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        out = tmp_path / precision
        settings["train"]["precision"] = precision  # type: ignore[index]
        api.tune(settings, out)
        assert next(opening.open_run(out).base.model.parameters()).dtype == dtype
