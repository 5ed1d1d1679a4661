"""The search for a recipe, against a landscape whose best recipe is known; stopped anywhere, it ends the same way."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from holdfast.config.loading import dump_config, load_config
from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError
from holdfast.results.advice import read_wish
from holdfast.studies import auto
from holdfast.studies.auto import METHODS, RecipeSearch

pytest.importorskip("optuna")
CONFIG = load_config(
    {
        "tune": {"llm": {"method": "lora", "r": 4}},
        "target": "pocket:digits",
        "sources": ["pocket:color", "pocket:count"],
        "train": {"steps": 90},
    }
)
USUAL = {"lora": 30.0, "full": 60.0, "adapter": 20.0, "ia3": 10.0, "spider": 50.0, "hft": 40.0}
LOST = {"lora": 5.0, "full": 20.0, "adapter": 8.0, "ia3": 1.0, "spider": 1.5, "hft": 10.0}


class Landscape:
    """Spider gains most of what loses little; the usual rate is best; replay takes half of the loss."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.seen: list[tuple[str, int | None]] = []
        self.stop_after = stop_after

    def __call__(self, config: RunConfig, folder: Path) -> Mapping[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        if len(self.seen) >= self.stop_after:
            raise KeyboardInterrupt
        method, steps = config.tune.llm.method, config.train.steps
        self.seen.append((folder.name, steps))
        if steps == 0:
            return {"exact": 10.0, "sources": {"color": 90.0, "count": 80.0}}
        if method == "adapter":
            raise HoldfastError("adapter bottleneck 256 exceeds the width 128")
        share = (steps or 0) / 90
        from holdfast.methods.registry import METHODS as KNOWN

        usual = KNOWN.find(method).card.default_lr
        off = abs(math.log10((config.tune.llm.lr or usual) / usual))
        gain = USUAL[method] * share * (1 - 0.3 * off)
        loss = LOST[method] * share * (0.5 if config.keep else 1.0)
        return {"exact": 10 + gain, "sources": {"color": 90 - loss, "count": 80 - loss}}


def search(out: Path, measure: Landscape, *, keep: str = "F >= -2", trials: int = 30) -> RecipeSearch:
    return RecipeSearch(CONFIG, read_wish(keep), out, measure=measure, trials=trials)


def test_the_best_recipe_under_the_bound_is_found_on_few_full_trainings(tmp_path: Path) -> None:
    measure = Landscape()
    found = search(tmp_path, measure).run()
    assert found.best is not None and found.best.config.tune.llm.method == "spider"
    assert found.best.change >= -2 and found.best.gain > 40 and found.trials == 30
    assert found.best.config.train.steps == 90
    steps = [steps for _, steps in measure.seen]
    assert steps.count(0) == 1 and 0 < steps.count(90) < steps.count(30) < steps.count(10)
    assert found.failed > 0 and found.reasons == ("adapter bottleneck 256 exceeds the width 128",)
    said = " ".join(found.sentences(read_wish("F >= -2")))
    assert said.startswith("Take spider at a rate of ") and "could not be tried: adapter bottleneck" in said


def test_without_any_that_keeps_to_the_bound_the_nearest_is_named(tmp_path: Path) -> None:
    found = search(tmp_path, Landscape(), keep="F >= 1", trials=12).run()
    assert found.best is None and found.nearest is not None
    assert (
        found.sentences(read_wish("F >= 1"))[0]
        == "None of 12 recipes gains and keeps to F >= 1 on the validation parts."
    )


@pytest.mark.parametrize("stops", [(1, 2, 5), (3, 3, 3, 3)])
def test_an_interrupted_search_loses_no_trial(tmp_path: Path, stops: tuple[int, ...]) -> None:
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path, Landscape(stop), trials=12).run()
    work = search(tmp_path, Landscape(), trials=12)
    found = work.run()
    assert found.trials == 12
    again = Landscape()
    assert search(tmp_path, again, trials=12).run() == found
    assert [steps for _, steps in again.seen] == [0]  # nothing but the base is looked at
    more = search(tmp_path, Landscape(), trials=15).run()
    assert more.trials == 15


@pytest.mark.parametrize("keep", ["F >= -2", "F >= -3"])
def test_a_search_that_older_code_named_goes_on_in_its_own_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    """Older code named by a digest of every setting that it knew: a digest of today's settings is another."""

    class Keeping(Landscape):
        def __call__(self, config: RunConfig, folder: Path) -> Mapping[str, Any]:
            found = super().__call__(config, folder)
            (folder / "config.yaml").write_text(dump_config(config), encoding="utf-8")
            return found

    with monkeypatch.context() as older:
        older.setattr(auto, "_digest", lambda text: hashlib.md5(text.encode()).hexdigest()[:16])
        search(tmp_path, Keeping(), trials=6).run()
    names = {folder.name for folder in (tmp_path / "trials").iterdir()}
    again = Keeping()
    if keep == "F >= -3":  # the values in its journal are not those of this bound
        with pytest.raises(HoldfastError, match="another recipe or bound"):
            search(tmp_path, again, keep=keep, trials=6).run()
        return
    assert search(tmp_path, again, keep=keep, trials=6).run().trials == 6
    assert [name in names for name, _ in again.seen] == [True] and len(names) == len(
        list((tmp_path / "trials").iterdir())
    )


def test_a_trial_is_named_by_what_differs_from_the_defaults(tmp_path: Path) -> None:
    measure = Landscape()
    search(tmp_path, measure, trials=1).run()
    plain = {"tune": {"llm": {"method": "lora", "r": 1}}, "target": {"data": "pocket:digits"}, "train": {"steps": 0}}
    plain["sources"] = [{"data": "pocket:color"}, {"data": "pocket:count"}]  # type: ignore[assignment]
    assert measure.seen[0][0] == hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def test_the_own_recipe_is_tried_first_with_its_options(tmp_path: Path) -> None:
    work = search(tmp_path, Landscape(), trials=1)
    found = work.run()
    assert found.best is None and found.nearest is not None  # lora loses five points
    config = work.recipe("lora", 1.0, "none")
    assert config.tune.llm.model_extra == {"r": 4} and config.keep == ()
    assert work.recipe("full", 2.0, "replay", 1 / 9).train.steps == 10
    assert work.recipe("full", 2.0, "replay").keep[0].stabiliser == "replay"


def test_what_cannot_be_searched_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="no bound on the loss"):
        search(tmp_path, Landscape(), keep="E >= 2")
    with pytest.raises(HoldfastError, match="names no sources"):
        RecipeSearch(CONFIG.model_copy(update={"sources": ()}), read_wish("F >= -2"), tmp_path, measure=Landscape())
    search(tmp_path, Landscape(), trials=1).run()
    with pytest.raises(HoldfastError, match="another recipe or bound"):
        search(tmp_path, Landscape(), keep="F >= -3", trials=1).run()
    assert set(METHODS) == set(USUAL)
