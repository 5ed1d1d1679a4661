"""The plugin of pytest that runs the contract suite: ``pytest --holdfast-contract my_package``.

It is loaded wherever Holdfast is installed, so it imports nothing heavy until it is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from holdfast.testing.bench import Tried
    from holdfast.values import Keywords

SUITE = Path(__file__).with_name("suite.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("holdfast")
    group.addoption(
        "--holdfast-contract",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="run the contract suite of Holdfast on the methods that PACKAGE registers; may be given several times",
    )
    group.addoption(
        "--holdfast-set",
        action="append",
        default=[],
        metavar="METHOD.OPTION=VALUE",
        help="an option that a method is tried with",
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--holdfast-contract"):
        return
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []  # the suite alone, unless files are named beside it
    config.args.append(str(SUITE))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tried" not in metafunc.fixturenames or Path(str(metafunc.module.__file__)) != SUITE:
        return
    chosen = tried_methods(
        metafunc.config.getoption("--holdfast-contract"), metafunc.config.getoption("--holdfast-set")
    )
    metafunc.parametrize("tried", chosen, ids=[one.method for one in chosen])


def tried_methods(packages: list[str], settings: list[str]) -> list[Tried]:
    """The methods of some packages, with the options they are tried with.

    Raises:
        pytest.UsageError: A package registers no method, or a setting names none of them.
    """
    from holdfast.errors import HoldfastError
    from holdfast.methods.registry import METHODS
    from holdfast.registry import offers
    from holdfast.testing.bench import Tried

    options = _options(settings)
    found: list[Tried] = []
    for package in packages:
        names = [o.name for o in offers(METHODS.group) if package in (o.provider.package, o.value.partition(".")[0])]
        if not names:
            known = sorted({offer.provider.package for offer in offers(METHODS.group)})
            raise pytest.UsageError(
                f"--holdfast-contract: the package '{package}' registers no method under [project.entry-points."
                f'"{METHODS.group}"]; installed packages that do: {", ".join(known) or "none"}'
            )
        for name in names:
            try:
                kind = METHODS.find(name)
            except HoldfastError as error:
                raise pytest.UsageError(str(error)) from error
            found.append(Tried(name, kind.card.at, options.pop(name, {})))
    if options:
        raise pytest.UsageError(f"--holdfast-set: '{min(options)}' is no method of {', '.join(packages)}")
    return found


def _options(settings: list[str]) -> dict[str, Keywords]:
    import yaml

    found: dict[str, Keywords] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        method, point, option = key.partition(".")
        if not (equals and point and method and option):
            raise pytest.UsageError(f"--holdfast-set: '{setting}' is not METHOD.OPTION=VALUE")
        found.setdefault(method, {})[option] = yaml.safe_load(value)
    return found
