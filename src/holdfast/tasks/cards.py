"""Task cards: what a benchmark asks, how it is scored, where its files come from. One YAML a task under ``cards/``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from holdfast.config.documents import read_mapping
from holdfast.config.schema import Section
from holdfast.errors import HoldfastError, nearest
from holdfast.tasks.prompts import check_template

FOLDER = Path(__file__).parent
PARTS = ("train", "validation", "test")


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else () if value is None else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Splits(Section):
    """Which official splits make each part; a part without one is empty."""

    train: Names = ()
    validation: Names = ()
    test: Names = ()


class Origin(Section):
    """Where the official files come from and how they lie in the folder given to ``holdfast data prepare --from``."""

    site: str
    homepage: str
    licence: str
    tree: tuple[str, ...] = Field(min_length=1, description="expected files, one an entry")


class Role(Section):
    """What a study used the task for."""

    role: Literal["target", "source", "absent"]
    note: str = ""


class Roles(Section):
    """The task in the two studies that Holdfast reproduces."""

    peft_mllm: Role = Field(description="arXiv 2406.05130")
    keeping_yourself: Role = Field(description="arXiv 2503.04543")


class KnownScore(Section):
    """A published figure to check against, on the metric's own scale."""

    score: float
    model: str
    setting: str
    provenance: str


class Card(Section):
    """One task.

    Attributes:
        name: Its name in recipes; also the file's.
        version: Raised whenever prompt, splits or scoring change, for scores of two versions are not comparable.
        title: The task in words.
        layout: Module of ``tasks/prepare`` that reads the official files.
        options: What that reader needs to know beside.
        prompt: The text asked (see :mod:`holdfast.tasks.prompts`); of several, each item has its own by its id.
        splits: Official splits behind train, validation and test.
        metric, variant: Names in the registry of metrics.
        max_new_tokens: Longest answer.
        origin: The official files.
        roles: In the two studies.
        scores: Published figures.
        notes: What a reader of a score has to know.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    version: int = Field(ge=1)
    title: str
    layout: str
    options: dict[str, str] = Field(default={})
    prompt: Names = Field(min_length=1)
    splits: Splits
    metric: str
    variant: str
    max_new_tokens: int = Field(gt=0)
    origin: Origin
    roles: Roles
    scores: tuple[KnownScore, ...] = ()
    notes: str = ""

    @field_validator("prompt")
    @classmethod
    def _fields_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for template in value:
            check_template(template)
        return value

    def shares_files_with(self, other: Card) -> bool:
        """Whether examples prepared for one serve the other: a variant asks or scores the same items differently."""
        mine, theirs = (self.layout, self.splits, self.options), (other.layout, other.splits, other.options)
        return mine == theirs


@cache
def _files() -> dict[str, Path]:
    return {file.stem: file for file in FOLDER.glob("*/*.yaml")}


@cache
def card_names() -> tuple[str, ...]:
    """Names of the shipped cards, sorted."""
    return tuple(sorted(_files()))


@cache
def find_card(name: str) -> Card:
    """The shipped card of that name.

    Raises:
        HoldfastError: There is none; the message names the nearest.
    """
    if name not in card_names():
        raise HoldfastError(f"there is no task card '{name}'", remedy=nearest(name, card_names()))
    return read_card(card_file(name))


def card_file(name: str) -> Path:
    """Where a shipped card stands."""
    return _files()[name]


def all_cards() -> Iterator[Card]:
    """Every shipped card, by name."""
    return (find_card(name) for name in card_names())


def read_card(file: Path) -> Card:
    """A card from a file: a shipped one, or one of your own in the same form.

    Raises:
        HoldfastError: Bad YAML, an unknown or missing key, or a value out of range.
    """
    raw = read_mapping(file)
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        mistakes = error.errors()
        # A misspelt key is the cause where another key is missing for it.
        first = next((mistake for mistake in mistakes if mistake["type"] == "extra_forbidden"), mistakes[0])
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            fields = Card.model_fields
            raise HoldfastError(f"unknown key '{place}'", file=file, remedy=nearest(place, fields)) from error
        if first["type"] == "missing":
            raise HoldfastError(f"'{place}' is missing", file=file, remedy="add it") from error
        message = str(first["msg"]).removeprefix("Value error, ")
        raise HoldfastError(f"'{place}': {message}", file=file, remedy="change the value") from error
