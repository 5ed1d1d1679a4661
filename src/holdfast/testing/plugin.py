"""The plugin of pytest that runs the contract suite: ``pytest --holdfast-contract my_package``.

It is loaded wherever Holdfast is installed, so it imports nothing heavy until it is asked for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from holdfast.testing.bench import Bench, Tried
    from holdfast.values import Keywords

SUITE = Path(__file__).with_name("suite.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("holdfast")
    group.addoption(
        "--holdfast-contract",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="run the contract suite of Holdfast on the methods that PACKAGE registers (holdfast: on its own); may be "
        "given several times",
    )
    group.addoption(
        "--holdfast-method",
        action="append",
        default=[],
        metavar="NAME",
        help="of these methods only this one; may be given several times",
    )
    group.addoption(
        "--holdfast-model",
        metavar="FOLDER",
        help="--holdfast-model=FOLDER: a model to try them on, at the rates of their cards; default: the pocket model, "
        "at 0.01",
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
    if "--holdfast-model" in config.invocation_params.args:  # pytest would take the folder for one of tests
        raise pytest.UsageError("--holdfast-model and its folder are one word: --holdfast-model=FOLDER")
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []  # the suite alone, unless files are named beside it
    config.args.append(str(SUITE))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tried" not in metafunc.fixturenames or Path(str(metafunc.module.__file__)) != SUITE:
        return
    asked = metafunc.config.getoption
    chosen = tried_methods(
        asked("--holdfast-contract"),
        asked("--holdfast-set"),
        only=asked("--holdfast-method"),
        own_rates=asked("--holdfast-model") is not None,
    )
    metafunc.parametrize("tried", chosen, ids=[one.method for one in chosen])


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Bench:
    """What ``--holdfast-model`` names, or the pocket model."""
    from holdfast.errors import HoldfastError
    from holdfast.testing.bench import bench_of

    try:
        return bench_of(request.config.getoption("--holdfast-model") or "pocket")
    except HoldfastError as error:
        raise pytest.UsageError(f"--holdfast-model: {error}") from error


def tried_methods(
    packages: list[str], settings: list[str], *, only: list[str] | None = None, own_rates: bool = False
) -> list[Tried]:
    """The methods of some packages, with the options they are tried with.

    Args:
        packages: By their names; ``holdfast`` for our own.
        settings: As ``METHOD.OPTION=VALUE``.
        only: Leave out all others.
        own_rates: Try each at the rate of its card, which is meant for models of a usual size.

    Raises:
        pytest.UsageError: A package registers no method, or a setting or ``only`` names none of them.
    """
    from holdfast.errors import HoldfastError
    from holdfast.methods.registry import METHODS
    from holdfast.testing.bench import Tried

    options = _options(settings)
    left = list(only or [])
    found: list[Tried] = []
    for package in packages:
        names = [name for name in _registered(package) if not only or name in only]
        left = [name for name in left if name not in names]
        for name in names:
            try:
                card = METHODS.find(name).card
            except HoldfastError as error:
                raise pytest.UsageError(str(error)) from error
            tried = Tried(name, card.at, options.pop(name, {}))
            found.append(replace(tried, lr=card.default_lr) if own_rates else tried)
    if left:
        raise pytest.UsageError(f"--holdfast-method: '{left[0]}' is no method of {', '.join(packages)}")
    if options:
        raise pytest.UsageError(f"--holdfast-set: '{min(options)}' is no method of {', '.join(packages)}")
    return found


def _registered(package: str) -> list[str]:
    """The names of a package's methods.

    Raises:
        pytest.UsageError: There are none.
    """
    from holdfast.methods.registry import METHODS
    from holdfast.registry import offers, ours

    if package == ours().package:
        return [name for name in METHODS.names() if METHODS.provider(name) == ours() and name != "frozen"]
    names = [o.name for o in offers(METHODS.group) if package in (o.provider.package, o.value.partition(".")[0])]
    if not names:
        known = sorted({offer.provider.package for offer in offers(METHODS.group)})
        raise pytest.UsageError(
            f"--holdfast-contract: the package '{package}' registers no method under [project.entry-points."
            f'"{METHODS.group}"]; installed packages that do: {", ".join(known) or "none"}'
        )
    return names


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
