"""Finding what can be named: methods, stabilisers, fusions, metrics, readers and tasks, ours and those of others.

A thing is found because its file stands in the right folder; there is no list to edit. An installed package adds to
each kind by an entry point of the same name as the thing. Asking for one name imports as little as it can: the file
that is called so, otherwise the files that write the name in quotes; only listing imports everything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Generic, TypeVar

from holdfast.errors import HoldfastError, nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

_ROOT = Path(__file__).parent


@dataclass(frozen=True)
class Provider:
    """Who brings a thing: an installed package and its version; none where it was entered by hand."""

    package: str
    version: str | None = None

    def __str__(self) -> str:
        return self.package if self.version is None else f"{self.package} {self.version}"


@dataclass(frozen=True)
class Broken:
    """A thing that a package announces and that cannot be used."""

    kind: str
    name: str
    provider: Provider
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}' of {self.provider}: {self.reason}"


@dataclass(frozen=True)
class Offer:
    """An entry point of somebody's package."""

    name: str
    value: str
    provider: Provider
    load: Callable[[], object]


class Registry(Generic[T]):
    """All things of one kind by name."""

    def __init__(self, kind: str, *, places: tuple[str, ...], name_of: Callable[[object], str | None]) -> None:
        """Args:
        kind: The word for one thing, such as ``method``; its plural is the group of entry points.
        places: Where our own stand, as patterns of files below the package, such as ``methods/selective/*.py``.
        name_of: The name of a value of a module if it is such a thing, otherwise None.
        """
        self.kind = kind
        self.group = f"holdfast.{kind}s"
        self._places, self._name_of = places, name_of
        self._entered: dict[str, T] = {}
        self._found: dict[str, tuple[T, Provider]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._entered or self._own(name) is not None or any(o.name == name for o in offers(self.group))

    def find(self, name: str, *, where: str = "") -> T:
        """The thing of that name.

        Args:
            name: What it is called.
            where: In front of the message, such as ``tune.llm: ``.

        Raises:
            HoldfastError: Nobody provides it, two do, or the package that does is broken.
        """
        return self._get(name, where)[0]

    def provider(self, name: str) -> Provider:
        """Who provides the thing of that name; raises as :meth:`find` does."""
        return self._get(name, "")[1]

    def enter(self, thing: T) -> T:
        """Add a thing that stands in no file, as in a notebook; usable as a decorator.

        Raises:
            HoldfastError: It is no such thing, or the name is taken.
        """
        name = self._name_of(thing)
        if name is None:
            raise HoldfastError(f"{thing!r} is no {self.kind}", remedy="give the class its own card or name")
        if name in self:
            raise HoldfastError(f"there is a {self.kind} '{name}' already", remedy="choose another name")
        self._entered[name] = thing
        return thing

    def leave(self, name: str) -> None:
        """Take out again what :meth:`enter` added."""
        self._entered.pop(name, None)

    def names(self) -> tuple[str, ...]:
        """Every name, sorted; those of broken packages are not among them."""
        return tuple(self.all())

    def all(self) -> dict[str, T]:
        """Every thing by name, sorted; imports all of them. What is broken is left out, see :meth:`broken`."""
        found = dict(self._everything())
        return {name: found[name] for name in sorted(found)}

    def broken(self) -> list[Broken]:
        """What installed packages announce and cannot be used, with the reason."""
        faults = []
        for offer in offers(self.group):
            try:
                self._get(offer.name, "")
            except HoldfastError as error:
                faults.append(Broken(self.kind, offer.name, offer.provider, error.problem))
        return faults

    def _everything(self) -> Iterator[tuple[str, T]]:
        offered = offers(self.group)
        contested = {offer.name for offer in offered}  # what two provide is refused when it is asked for
        for file in self._files():
            for name, thing in self._inside(_module_of(file)):
                self._found.setdefault(name, (thing, ours()))
                if name not in contested:
                    yield name, thing
        for offer in offered:
            try:
                yield offer.name, self._get(offer.name, "")[0]
            except HoldfastError:
                continue  # :meth:`broken` names it
        yield from self._entered.items()

    def _get(self, name: str, where: str) -> tuple[T, Provider]:
        if name in self._entered:
            return self._entered[name], Provider(getattr(self._entered[name], "__module__", "?"))
        own = self._own(name)
        theirs = [offer for offer in offers(self.group) if offer.name == name]
        providers = ([] if own is None else [str(ours())]) + [str(offer.provider) for offer in theirs]
        if len(providers) > 1:
            raise HoldfastError(
                f"{where}{self.kind} '{name}' is provided by {providers[0]} and by {providers[1]}",
                remedy="uninstall one of the two",
            )
        if own is not None:
            return own, ours()
        if theirs:
            return self._loaded(theirs[0], where), theirs[0].provider
        raise HoldfastError(f"{where}unknown {self.kind} '{name}'", remedy=nearest(name, self.names()))

    def _own(self, name: str) -> T | None:
        """Ours of that name: looked for in the file called so, in those that write it in quotes, in all others."""
        if name in self._found:
            return self._found[name][0]
        named, quoted = [], []
        for file in self._files():
            if name in (file.stem, file.parent.name):
                named.append(file)
            elif f'"{name}"' in file.read_text(encoding="utf-8"):
                quoted.append(file)
        for file in [*named, *quoted]:
            for own, thing in self._inside(_module_of(file)):
                self._found.setdefault(own, (thing, ours()))
            if name in self._found:
                return self._found[name][0]
        return None

    def _files(self) -> list[Path]:
        return [file for place in self._places for file in sorted(_ROOT.glob(place)) if file.stem != "__init__"]

    def _inside(self, module: ModuleType) -> Iterator[tuple[str, T]]:
        """The things that a module defines itself."""
        for value in list(vars(module).values()):
            if getattr(value, "__module__", module.__name__) == module.__name__:
                name = self._name_of(value)
                if name is not None:
                    yield name, value

    def _loaded(self, offer: Offer, where: str) -> T:
        def fault(reason: str) -> HoldfastError:
            return HoldfastError(
                f"{where}{self.kind} '{offer.name}' of the package {offer.provider} cannot be used: {reason}",
                remedy=f"mend or uninstall {offer.provider.package}",
            )

        try:
            value = offer.load()
        except Exception as error:  # somebody else's code may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise fault(f"importing {offer.value} fails with {reason}") from error
        inside = dict(self._inside(value)) if isinstance(value, ModuleType) else {}
        thing = inside.get(offer.name, None if isinstance(value, ModuleType) else value)
        if thing is None or self._name_of(thing) != offer.name:
            raise fault(f"{offer.value} holds no {self.kind} of that name")
        return thing  # type: ignore[return-value]


@cache
def offers(group: str) -> tuple[Offer, ...]:
    """The entry points of a group, such as ``holdfast.methods``; nothing of theirs is imported.

    ``importlib.metadata`` takes longer to arrive than a small command takes, and hardly anybody has such a package; so
    the files are looked at first.
    """
    if not _somebody_offers():
        return ()
    from importlib.metadata import entry_points

    return tuple(Offer(point.name, point.value, _provider(point), point.load) for point in entry_points(group=group))


@cache
def _somebody_offers() -> bool:
    for place in dict.fromkeys(sys.path):
        try:
            folders = [
                entry.path for entry in os.scandir(place or ".") if entry.name.endswith((".dist-info", ".egg-info"))
            ]
        except OSError:
            continue
        for folder in folders:
            try:
                if b"[holdfast." in Path(folder, "entry_points.txt").read_bytes():
                    return True
            except OSError:
                continue
    return False


def _provider(point: EntryPoint) -> Provider:
    dist = point.dist
    return Provider(point.value.partition(".")[0]) if dist is None else Provider(dist.name, dist.version)


@cache
def ours() -> Provider:
    """Holdfast itself."""
    from holdfast import __version__

    return Provider("holdfast", __version__)


def _module_of(file: Path) -> ModuleType:
    return import_module(".".join(("holdfast", *file.relative_to(_ROOT).with_suffix("").parts)))
