"""``pytest --holdfast-contract``: the walk of docs/new-method.md as it stands there, and what goes wrong on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact
from holdfast.methods.registry import METHODS
from holdfast.testing import contract
from holdfast.testing.bench import Tried, pocket_bench
from holdfast.testing.plugin import tried_methods

ROOT = Path(__file__).resolve().parents[2]
WALK = (ROOT / "docs" / "new-method.md").read_text(encoding="utf-8").split("## Inside Holdfast")[0]


def files() -> dict[str, str]:
    """What the walk has a reader write, by path."""
    found = re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', WALK, flags=re.MULTILINE | re.DOTALL)
    return {name: text for name, text in found}


def commands() -> list[str]:
    """What the walk has a reader type, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", WALK, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def typed(command: str, place: Path) -> subprocess.CompletedProcess[str]:
    """One command as the reader's shell would run it, with the reader's folder installed."""
    program, *rest = command.split()
    module = {"holdfast": ["holdfast"], "pytest": ["pytest", "-p", "no:cacheprovider", "-n", "0"]}[program]
    if program == "pytest" and not any(point.name == "holdfast" for point in entry_points(group="pytest11")):
        module += ["-p", "holdfast.testing.plugin"]  # this environment was installed before there was a plugin
    path = os.pathsep.join((str(place), str(ROOT / "src")))
    return subprocess.run(
        [sys.executable, "-m", *module, *rest],
        cwd=place,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder after ``pip install -e .``, of which all that matters here is the list of entry points."""
    place = tmp_path_factory.mktemp("reader")
    for name, text in files().items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    said = tomllib.loads(files()["pyproject.toml"])["project"]
    info = place / f"my_package-{said['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {said['name']}\nVersion: {said['version']}\n")
    lines = [f"[{group}]\n{n} = {v}\n" for group, named in said["entry-points"].items() for n, v in named.items()]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return place


def test_the_walk_is_short() -> None:
    code = [line for line in files()["my_package/gain.py"].splitlines() if line.strip()]
    assert len(code) <= 40
    assert commands()[0] == "pip install -e ."


@pytest.mark.slow
def test_the_walk_as_it_stands(package: Path) -> None:
    for command in commands()[1:]:
        ran = typed(command, package)
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
        if "contract" in command:
            assert re.search(r"\b6 passed", ran.stdout), ran.stdout
        if "methods" in command:
            assert "bound" in ran.stdout and "my-package 0.1" in ran.stdout
    assert (package / "runs" / "gain" / "scores.json").exists()


@pytest.mark.slow
def test_a_method_that_breaks_the_contract_is_told_so(package: Path) -> None:
    """One that leaves its hooks behind, and one whose sites have no gradient."""
    broken = files()["my_package/gain.py"].replace(
        "    def build(", "    def take_off(self):\n        self.places = {}\n\n    def build("
    )
    (package / "my_package" / "gain.py").write_text(broken, encoding="utf-8")
    try:
        ran = typed("pytest --holdfast-contract my_package -k moves", package)
    finally:
        (package / "my_package" / "gain.py").write_text(files()["my_package/gain.py"], encoding="utf-8")
    assert ran.returncode == 1 and "detach left modules or hooks behind" in ran.stdout, ran.stdout


def test_a_package_without_methods_is_a_sentence() -> None:
    with pytest.raises(pytest.UsageError, match="'nobodys_package' registers no method"):
        tried_methods(["nobodys_package"], [])
    with pytest.raises(pytest.UsageError, match=r"is not METHOD\.OPTION=VALUE"):
        tried_methods([], ["gain"])
    with pytest.raises(pytest.UsageError, match="'gain' is no method of"):
        tried_methods([], ["gain.bound=1"])
    with pytest.raises(pytest.UsageError, match="'gain' is no method of holdfast"):
        tried_methods(["holdfast"], [], only=["hft", "gain"])


def test_our_own_methods_can_be_tried_at_the_rates_of_their_cards() -> None:
    half, bias = sorted(
        tried_methods(["holdfast"], ["hft.ratio=0.25"], only=["hft", "bitfit"], own_rates=True), key=str
    )[::-1]
    assert (half.method, half.component, half.options) == ("hft", "llm", {"ratio": 0.25})
    assert (half.lr, bias.lr) == (METHODS.find("hft").card.default_lr, METHODS.find("bitfit").card.default_lr)
    everything = {tried.method for tried in tried_methods(["holdfast"], [])}
    assert {"lora", "spider", "vpt"} <= everything and "frozen" not in everything


def test_a_model_of_ones_own_is_asked_for_in_one_word(tmp_path: Path) -> None:
    asked = "pytest --holdfast-contract holdfast --holdfast-method bitfit -k unknown_option"
    ran = typed(f"{asked} --holdfast-model {tmp_path}", tmp_path)
    assert ran.returncode == 4 and "--holdfast-model=FOLDER" in ran.stderr
    assert not list(tmp_path.iterdir())
    ran = typed(f"{asked} --holdfast-model={tmp_path / 'nothing'}", tmp_path)
    assert ran.returncode != 0 and "--holdfast-model: " in ran.stdout


def test_where_a_model_has_no_gradient_no_method_is_blamed() -> None:
    """The pocket's tower is read before its closing norm."""
    assert [name.rpartition(".")[2] for name in pocket_bench().unreached] == ["post_layernorm"]


def test_the_checks_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that saves something else than it trained, and one that takes any option."""
    from holdfast.methods.additive.features import TaskRes

    bench, tried = pocket_bench(), Tried("taskres", "connector")
    contract.check_artifact(bench, tried)
    plain = TaskRes.detach

    def otherwise(self: TaskRes) -> Artifact:
        artifact = plain(self)
        artifact.tensors = {name: tensor + 1 for name, tensor in artifact.tensors.items()}
        return artifact

    monkeypatch.setattr(TaskRes, "detach", otherwise)
    with pytest.raises(AssertionError, match="on a fresh base answers otherwise"):
        contract.check_artifact(bench, tried)
    monkeypatch.undo()
    contract.check_options(bench, tried)
    monkeypatch.setattr(contract, "make_method", lambda *_: None)
    with pytest.raises(AssertionError, match="taken in silence"):
        contract.check_options(bench, tried)
    assert issubclass(HoldfastError, Exception)
