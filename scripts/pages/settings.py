"""The page of every setting, made from the schema that checks them."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from holdfast.config.fields import bounds_in_words, type_in_words, value_in_words
from holdfast.config.schema import (
    ComponentRecipe,
    Evaluate,
    FusionSpec,
    Load,
    RunConfig,
    Speed,
    StabiliserSpec,
    TaskSpec,
    Train,
)

HEAD = """# Settings

Every key of a recipe. `holdfast tune recipe.yaml --set train.steps=100` overrides one from the command line; a key that
is not on this page is refused with the nearest one that is; `--set tune.llm.1.lr=1e-4` reaches into a list, whose first
place is 0. Options of methods, stabilisers and fusions stand beside their names: [methods](methods.md).

```yaml
model: pocket
tune:
  connector: full                                # a bare word is a method without options
  llm: {method: lora, r: 8, lr: 1e-3}            # or a list: [{method: lora, r: 8}, {method: norms, lr: 1e-4}]
keep:
  - {stabiliser: replay, ratio: 0.2}
target: mine/scans.jsonl                         # a bare path is a task without further settings
sources: ["pocket:color", {data: "pocket:count", test_limit: 100}]
train: {epochs: 3, batch_size: 16}
```
"""

SECTIONS: tuple[tuple[str, str, type[BaseModel], str], ...] = (
    ("The recipe", "", RunConfig, ""),
    ("load: how the base is kept", "load", Load, "load."),
    ("tune: how each component changes", "tune.vision, tune.connector, tune.llm", ComponentRecipe, ""),
    ("keep: stabilisers", "an entry of keep", StabiliserSpec, ""),
    ("fuse: a fusion", "fuse", FusionSpec, ""),
    ("target and sources: tasks", "target, an entry of sources", TaskSpec, ""),
    ("train: the loop", "train", Train, "train."),
    ("speed: same answers, sooner", "speed", Speed, "speed."),
    ("evaluate: prediction", "evaluate", Evaluate, "evaluate."),
)


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for title, where, section, prefix in SECTIONS:
        parts.append(f"## {title}\n")
        said = " ".join((section.__doc__ or "").split())
        parts.append((f"*{where}.* " if where else "") + said.replace("``", "`") + "\n")
        parts.append("\n".join(table(section, prefix)) + "\n")
    return "\n".join(parts)


def table(section: type[BaseModel], prefix: str) -> Iterator[str]:
    """One line a key: key, type, default, bounds, meaning."""
    yield "| key | takes | default | bounds | meaning |"
    yield "|---|---|---|---|---|"
    for name, field in section.model_fields.items():
        below = _section_of(field)
        if below is not None:
            meaning = next(title.split(":")[0] for title, _, kind, _ in SECTIONS if kind is below)
            yield f"| `{prefix}{name}` | keys below | | | see `{meaning}` |"
            continue
        default = "" if field.is_required() else value_in_words(field.default)
        cells = (
            f"`{prefix}{name}`",
            _type(field),
            f"`{default}`" if default else "required" if field.is_required() else "",
            bounds_in_words(field),
            (field.description or "").replace("{", "`{").replace("}", "}`"),
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    kinds = [kind for _, _, kind, _ in SECTIONS]
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return field.annotation if field.annotation in kinds else ComponentRecipe
    return None


def _type(field: FieldInfo) -> str:
    words = {StabiliserSpec: "stabiliser", FusionSpec: "fusion", TaskSpec: "task", ComponentRecipe: "method"}
    said = type_in_words(field.annotation)
    for kind, word in words.items():
        said = said.replace(str(kind), word)
    return said


def all_keys() -> set[str]:
    """Every key the page names, for the test that none is missing."""
    return {f"{prefix}{name}" for _, _, section, prefix in SECTIONS for name in section.model_fields}


def undocumented() -> list[str]:
    """Keys without a meaning."""
    return [
        f"{prefix}{name}"
        for _, _, section, prefix in SECTIONS
        for name, field in section.model_fields.items()
        if not field.description and _section_of(field) is None
    ]
