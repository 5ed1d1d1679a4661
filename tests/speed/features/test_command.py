"""``holdfast cache`` and where the folder is."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from holdfast.data import contents
from holdfast.speed.features.folder import DEFAULT_CAP, GroupCard, default_folder
from tests.cli.conftest import desk as desk
from tests.cli.test_start import HEAVY, imported
from tests.support.desk import Desk


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of two groups: one file of yesterday, two of a month ago."""
    folder = tmp_path / "features"
    monkeypatch.setenv("HOLDFAST_CACHE", str(folder))
    for name, model, ages in (("a", "pocket", [1]), ("b", "some/" + "long" * 10, [30, 31])):
        GroupCard(model, "Llava", "tower", "bfloat16", "5.23.0").write(folder / name)
        for index, age in enumerate(ages):
            file = folder / name / f"{index}.safetensors"
            file.write_bytes(b"x" * 1500)
            os.utime(file, (time.time() - age * 86400 - 60,) * 2)
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.safetensors").write_text("not ours", encoding="utf-8")
    return folder


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_CACHE", "/somewhere")
    assert default_folder() == Path("/somewhere")
    monkeypatch.delenv("HOLDFAST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_folder() == Path("/xdg/holdfast/features")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_folder() == Path("/home/someone/.cache/holdfast/features")


def test_it_starts_without_torch(kept: Path) -> None:
    code, modules, text = imported("cache")
    assert code == 0 and "3 image sets" in text
    assert modules & (HEAVY - {"pydantic"}) == set()


def test_the_table(desk: Desk, kept: Path) -> None:
    said = desk.run("cache")
    assert said.code == 0
    assert f"{kept}: 3 image sets, 4.5 kB of 20 GB." in said.out.replace("\n", " ")
    lines = said.out.strip().split("\n")
    assert lines[-2].split() == ["pocket", "tower", "bfloat16", "1", "1.5", "kB", "1", "day", "ago"]
    assert lines[-1].startswith("...") and lines[-1].endswith("30 days ago")
    assert max(len(line) for line in lines[1:]) <= 80
    facts = json.loads(desk.run("cache", "--json").out)
    assert facts["bytes"] == 4500 and facts["cap"] == DEFAULT_CAP
    assert [(group["entries"], group["stage"]) for group in facts["groups"]] == [(1, "tower"), (2, "tower")]


def test_the_memory_of_contents_is_listed_and_cleared(desk: Desk, kept: Path, tmp_path: Path) -> None:
    assert json.loads(desk.run("cache", "--json").out)["contents"] is None
    picture = tmp_path / "old.png"
    picture.write_bytes(b"a picture")
    os.utime(picture, (time.time() - 60,) * 2)
    settled = contents.Stamp.of(picture)._replace(changed=0)
    contents.remember([(picture, (settled, b"d" * 32))])
    file = kept / "contents.sqlite"
    assert f"{file}: digests of 1 file, " in desk.run("cache").out
    listed = json.loads(desk.run("cache", "--json").out)["contents"]
    assert listed == {"file": str(file), "bytes": file.stat().st_size, "files": 1}
    desk.run("cache", "clear").refused("the digests of 1 file in", "--yes")
    assert "digests" not in desk.run("cache", "clear", "--older-than", "7", "--yes").out and file.exists()
    assert "Deleted the digests of 1 file, " in desk.run("cache", "clear", "--yes").out and not file.exists()
    assert contents.known([picture]) == ({}, [picture])


def test_clearing(desk: Desk, kept: Path) -> None:
    desk.run("cache", "clear").refused("3 image sets", "--yes")
    assert len(list(kept.rglob("*.safetensors"))) == 4
    said = desk.run("cache", "clear", "--older-than", "7", "--yes")
    assert said.code == 0 and "Deleted 2 image sets, 3 kB" in said.out
    assert (kept / "a" / "0.safetensors").exists() and not (kept / "b").exists()
    assert "Deleted 1 image set," in desk.run("cache", "clear", "--yes").out
    assert [path.name for path in kept.rglob("*.*")] == ["thesis.safetensors"]
    assert "0 image sets" in desk.run("cache").out
