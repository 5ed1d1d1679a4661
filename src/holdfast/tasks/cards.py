"""Task cards: what a benchmark asks, how it is scored, where its files come from. One YAML a task, in its folder.

A card that is ``like`` another of its folder says only what differs; see :data:`ALONE` for what it does not take over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator

from holdfast.config.documents import read_mapping
from holdfast.config.schema import ConfigSection
from holdfast.errors import HoldfastError, nearest
from holdfast.registry import Broken, Offer, Provider, offers, ours
from holdfast.tasks.prompts import check_template
from holdfast.values import JSON

FOLDER = Path(__file__).parent
PARTS = ("train", "validation", "test")
ALONE = ("options", "roles", "scores", "notes")
"""What is true of one card alone, and not of those that are like it."""


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else () if value is None else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Splits(ConfigSection):
    """Which official splits make each part; a part without one is empty."""

    train: Names = ()
    validation: Names = ()
    test: Names = ()


class Origin(ConfigSection):
    """Where the official files come from and how they lie in the folder given to ``holdfast data prepare --from``."""

    site: str
    homepage: str
    licence: str
    tree: tuple[str, ...] = Field(min_length=1, description="expected files, one an entry")


class Role(ConfigSection):
    """What a study used the task for."""

    role: Literal["target", "source", "absent"] = "absent"
    note: str = ""


class Roles(ConfigSection):
    """The task in the two studies that Holdfast reproduces."""

    peft_mllm: Role = Field(default=Role(), description="arXiv 2406.05130")
    keeping_yourself: Role = Field(default=Role(), description="arXiv 2503.04543")


class KnownScore(ConfigSection):
    """A published figure to check against, on the metric's own scale."""

    score: float
    model: str
    setting: str
    provenance: str


class TaskCard(ConfigSection):
    """One task.

    Attributes:
        name: Its name in recipes; also the file's.
        version: Raised whenever prompt, splits or scoring change, for scores of two versions are not comparable.
        title: The task in words.
        layout: The folder below ``tasks`` whose ``download`` reads the official files (``own``: the card's), and after
            a colon the function.
        options: What that reader needs to know beside.
        prompt: The text asked (see :mod:`holdfast.tasks.prompts`); of several, each item has its own by its id.
        splits: Official splits behind train, validation and test.
        metric, variant: Names in the registry of metrics.
        max_new_tokens: Longest answer.
        origin: The official files.
        roles: In the two studies; absent where it does not say.
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
    roles: Roles = Roles()
    scores: tuple[KnownScore, ...] = ()
    notes: str = ""

    @field_validator("prompt")
    @classmethod
    def _fields_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for template in value:
            check_template(template)
        return value

    def shares_files_with(self, other: TaskCard) -> bool:
        """Whether examples prepared for one serve the other: a variant asks or scores the same items differently."""
        mine, theirs = (self.layout, self.splits, self.options), (other.layout, other.splits, other.options)
        return mine == theirs


@dataclass(frozen=True)
class Home:
    """Where a task lives: its card, the package beside it (``download``, ``results``, ``metric``), who provides it."""

    card: Path
    package: str
    provider: Provider


def _ours() -> dict[str, Home]:
    return {
        file.stem: Home(file, f"holdfast.tasks.{file.parent.name}", ours()) for file in sorted(FOLDER.glob("*/*.yaml"))
    }


def _of(offer: Offer) -> Home:
    """The home of a task of somebody's package: the folder of the package that the entry point names."""

    def fault(reason: str) -> HoldfastError:
        return HoldfastError(
            f"task '{offer.name}' of the package {offer.provider} cannot be used: {reason}",
            remedy=f"mend or uninstall {offer.provider.package}",
        )

    try:
        spec = find_spec(offer.value)
    except Exception as error:  # somebody else's package may raise anything
        raise fault(f"importing {offer.value} fails with {type(error).__name__}: {error}") from error
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for folder in folders:
        for name in (f"{offer.name}.yaml", "card.yaml"):
            if Path(folder, name).is_file():
                return Home(Path(folder, name), offer.value, offer.provider)
    raise fault(f"{offer.value} is no package with a {offer.name}.yaml or card.yaml")


@cache
def home_of(name: str) -> Home:
    """Where the task of that name lives.

    Raises:
        HoldfastError: Nobody provides it, two do, or the package that does is broken.
    """
    own = _ours().get(name)
    theirs = [offer for offer in offers("holdfast.tasks") if offer.name == name]
    providers = [str(home.provider) for home in [own, *theirs] if home is not None]
    if len(providers) > 1:
        raise HoldfastError(
            f"task '{name}' is provided by {providers[0]} and by {providers[1]}", remedy="uninstall one of the two"
        )
    if own is not None:
        return own
    if not theirs:
        raise HoldfastError(f"there is no task card '{name}'", remedy=nearest(name, card_names()))
    return _of(theirs[0])


def broken_tasks() -> list[Broken]:
    """Tasks that installed packages announce and that cannot be used, with the reason."""
    faults = []
    for offer in offers("holdfast.tasks"):
        try:
            find_card(offer.name)
        except HoldfastError as error:
            faults.append(Broken("task", offer.name, offer.provider, error.problem))
    return faults


@cache
def card_names() -> tuple[str, ...]:
    """Names of the cards that are there, shipped or of installed packages, sorted."""
    return tuple(sorted(_ours().keys() | {offer.name for offer in offers("holdfast.tasks")}))


@cache
def find_card(name: str) -> TaskCard:
    """The card of that name.

    Raises:
        HoldfastError: There is none, and the message names the nearest; or the package that has it is broken.
    """
    card = read_card(card_file(name))
    if card.name != name:
        raise HoldfastError(f"the card is called '{card.name}' and not '{name}'", file=card_file(name))
    return card


def card_file(name: str) -> Path:
    """Where the card of that name stands; raises as :func:`find_card` does."""
    return home_of(name).card


def card_text(name: str) -> str:
    """The card of that name as YAML that needs no other card beside it; raises as :func:`find_card` does."""
    file = card_file(name)
    if "like" not in read_mapping(file):
        return file.read_text(encoding="utf-8")
    return yaml.safe_dump(_whole(file), sort_keys=False, allow_unicode=True, width=120)


def download_of(card: TaskCard) -> Callable[..., Any]:
    """What reads the official files: ``read`` or a function of that name in a ``download`` module.

    Raises:
        HoldfastError: The card names a reader that is not there.
    """
    folder, _, function = card.layout.partition(":")
    place = f"{home_of(card.name).package if folder == 'own' else f'holdfast.tasks.{folder}'}.download"
    try:
        found: Callable[..., Any] = getattr(import_module(place), function or "read")
    except (ImportError, AttributeError) as error:
        raise HoldfastError(
            f"the layout '{card.layout}' of task '{card.name}' names no reader ({error})",
            remedy="write a download.py with read(source, split) beside the card, and layout: own",
        ) from error
    return found


def all_cards(*, shipped: bool = False) -> Iterator[TaskCard]:
    """Every card by name, or ours alone; what is broken in somebody's package is left out, see :func:`broken_tasks`."""
    broken = {fault.name for fault in broken_tasks()}
    names = tuple(sorted(_ours())) if shipped else card_names()
    return (find_card(name) for name in names if name not in broken)


def read_card(file: Path) -> TaskCard:
    """A card from a file: a shipped one, or one of your own in the same form.

    Raises:
        HoldfastError: Bad YAML, an unknown or missing key, or a value out of range.
    """
    raw = _whole(file)
    try:
        return TaskCard.model_validate(raw)
    except ValidationError as error:
        mistakes = error.errors()
        # A misspelt key is the cause where another key is missing for it.
        first = next((mistake for mistake in mistakes if mistake["type"] == "extra_forbidden"), mistakes[0])
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            fields = TaskCard.model_fields
            raise HoldfastError(f"unknown key '{place}'", file=file, remedy=nearest(place, fields)) from error
        if first["type"] == "missing":
            raise HoldfastError(f"'{place}' is missing", file=file, remedy="add it") from error
        message = str(first["msg"]).removeprefix("Value error, ")
        raise HoldfastError(f"'{place}': {message}", file=file, remedy="change the value") from error


def _whole(file: Path) -> JSON:
    """What a card says, and what the card that it is like says in its stead; of ``origin`` key by key."""
    own = read_mapping(file)
    if "like" not in own:
        return own
    name = own.pop("like")
    beside = file.parent / f"{name}.yaml"
    if beside.parent != file.parent or not beside.is_file():
        raise HoldfastError(f"there is no card {name}.yaml to be like", file=file, remedy="name one of its folder")
    other = read_mapping(beside)
    if "like" in other:
        raise HoldfastError(f"{name}.yaml is like another card itself", file=file, remedy="name that one")
    shared = {key: value for key, value in other.items() if key not in ALONE}
    mine, theirs = own.get("origin"), other.get("origin")
    if isinstance(mine, dict) and isinstance(theirs, dict):
        own["origin"] = theirs | mine
    return shared | own
