"""Run several recipes on the same model, target and sources, one after the other, and keep the index current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.config.documents import read_mapping
from holdfast.config.loading import load_config
from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError
from holdfast.events import Listener, RecipeBegun, RecipeDone
from holdfast.runs.folder import RunFolder
from holdfast.runs.run import Runner
from holdfast.values import JSON


@dataclass(frozen=True)
class StudyRecipe:
    """One row of a study.

    Attributes:
        name: Its folder and its line in the table.
        config: The whole configuration of the run.
        of: The recipe whose training this one takes over, for fusions that edit a finished run.
        origin: Where its learning rate and settings come from, in words.
    """

    name: str
    config: RunConfig
    of: str | None
    origin: str


@dataclass(frozen=True)
class Study:
    """Recipes in the order in which they run."""

    title: str
    recipes: tuple[StudyRecipe, ...]


def read_study(file: Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """Read a study: ``title``, ``common`` settings, and ``recipes`` by name (``tune``, ``keep``, ``fuse``, ``of``).

    Args:
        file: The YAML file.
        overrides: Settings that replace those of ``common``, section by section.

    Raises:
        HoldfastError: A mistake in a recipe, or ``of`` names a recipe that does not come before.
    """
    try:
        raw = read_mapping(file)
        common: JSON = dict(raw["common"])
        rows = dict(raw["recipes"])
    except (KeyError, TypeError, ValueError) as error:
        raise HoldfastError(f"the study cannot be read ({error})", file=file) from error
    for key, value in (overrides or {}).items():
        common[key] = {**common.get(key, {}), **value} if isinstance(value, Mapping) else value
    recipes: list[StudyRecipe] = []
    for name, row in rows.items():
        row = dict(row)
        of, origin = row.pop("of", None), str(row.pop("origin", ""))
        if of is not None and of not in {recipe.name for recipe in recipes}:
            raise HoldfastError(f"recipe '{name}' builds on '{of}', which does not come before it", file=file)
        train = {**common.get("train", {}), **row.pop("train", {})}
        recipes.append(StudyRecipe(name, load_config({**common, **row, "train": train, "name": name}), of, origin))
    return Study(str(raw.get("title", file.stem)), tuple(recipes))


def run_study(study: Study, out: Path, *, base: Path, listen: Listener) -> list[JSON]:
    """Run what is not finished yet; returns the entries of ``scores.json`` in the order of the study.

    Raises:
        HoldfastError: Another process works on the study, or a run fails.
    """
    with RunFolder(out).held():
        return _run_in_order(study, out, base=base, listen=listen)


def _run_in_order(study: Study, out: Path, *, base: Path, listen: Listener) -> list[JSON]:
    entries: list[JSON] = []
    for number, recipe in enumerate(study.recipes, start=1):
        listen(RecipeBegun(recipe.name, number, len(study.recipes)))
        parent = out / recipe.of if recipe.of else None
        run = Runner(recipe.config, out / recipe.name, base=base, listen=listen, parent=parent)
        entry = run.execute() | {"origin": recipe.origin}
        entries.append(entry)
        RunFolder(out).write_json("scores.json", {"title": study.title, "recipes": {e["name"]: e for e in entries}})
        listen(RecipeDone(entry))
    return entries
