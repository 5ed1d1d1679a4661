"""The files: several processes, kills, damage, the cap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from holdfast.models.loading import Loaded
from holdfast.speed.features import eviction, files
from holdfast.speed.features.cache import FeatureCache
from holdfast.speed.features.eviction import LEFT_FREE
from holdfast.speed.features.folder import SUFFIX, clear, groups, stored
from tests.support.features import BOTH, CAP, ONE, TALL, TWO, example, folder_of, load, pixels

ROOT = Path(__file__).resolve().parents[3]
MANY = [example(f"m{index}", pixels(100 + index)) for index in range(12)]

PROGRAM = """
import os, signal, sys
from pathlib import Path
from holdfast.speed.features.cache import FeatureCache
from holdfast.models.loading import load_model
from tests.speed.features.test_disk import MANY
loaded = load_model(sys.argv[1], device="cpu")
cache = FeatureCache.open(loaded, ("vision", "connector"), folder=Path(sys.argv[2]), cap=10**9)
limit, done = int(sys.argv[3]), 0
def advance(count):
    global done
    done += count
    if done == limit:
        os.kill(os.getpid(), signal.SIGKILL)
print("ready", flush=True)
sys.stdin.readline()
cache.fill(MANY, advance=advance)
print(done, len(cache.missing(MANY)))
"""


@pytest.fixture
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load("llava", tmp_path_factory)


def opened(loaded: Loaded, folder: Path, cap: int = CAP) -> FeatureCache:
    return FeatureCache.open(loaded, BOTH, folder=folder, cap=cap)


def start(model: Path, folder: Path, limit: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(model), str(folder), str(limit)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip


def test_two_processes_fill_at_once(loaded: Loaded, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = folder_of("llava", tmp_path_factory)
    both = [start(model, tmp_path, -1) for _ in range(2)]
    for process in both:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[0].split() for process in both] == [["12", "0"]] * 2
    assert len(stored(tmp_path)) == 12 and list(tmp_path.rglob("*.partial")) == []
    cached = opened(loaded, tmp_path).batch(MANY)
    assert cached is not None and len(cached.records) == 12


def test_a_kill_leaves_what_was_done_and_nothing_broken(
    loaded: Loaded, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    process = start(folder_of("llava", tmp_path_factory), tmp_path, 5)
    process.communicate("\n")
    assert process.returncode == -signal.SIGKILL
    cache = opened(loaded, tmp_path)
    assert cache.missing(MANY) == MANY[5:]
    part = next(tmp_path.glob("*/")) / ".x@host-1-0.partial"
    part.write_bytes(b"half")
    cache.fill(MANY)
    assert cache.missing(MANY) == [] and part.exists(), "it may be another process's"
    os.utime(part, (time.time() - 7200,) * 2)
    opened(loaded, tmp_path).fill(MANY)
    assert not part.exists()


def test_an_interruption_while_writing_leaves_no_file(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = opened(loaded, tmp_path)
    original = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if target.name.endswith(SUFFIX):
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.fill([ONE])
    monkeypatch.undo()
    assert cache.missing([ONE]) == [ONE] and cache.batch([ONE]) is None
    cache.fill([ONE])
    assert cache.missing([ONE]) == []


@pytest.mark.parametrize("damage", ["empty", "truncated", "garbage", "flipped"])
def test_a_damaged_file_is_a_miss_and_is_written_again(loaded: Loaded, tmp_path: Path, damage: str) -> None:
    opened(loaded, tmp_path).fill([ONE, TALL])
    cache = opened(loaded, tmp_path)
    good = cache.batch([ONE])
    assert good is not None
    expected = good.records[0].tensors[0].clone()
    path = cache._path(ONE)
    content = path.read_bytes()
    spoilt = {
        "empty": b"",
        "truncated": content[:-10],
        "garbage": b"\xff" * len(content),
        "flipped": content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
    }[damage]
    part = path.with_suffix(".spoilt")
    part.write_bytes(spoilt)
    part.replace(path)
    again = opened(loaded, tmp_path)
    if damage != "flipped":  # a changed value is noticed when it is read
        assert again.missing([ONE, TALL]) == [ONE]
    assert again.batch([ONE, TALL]) is None and again.batch([TALL]) is not None
    again.fill([ONE, TALL])
    mended = again.batch([ONE])
    assert mended is not None and torch.equal(mended.records[0].tensors[0], expected)


def test_files_are_mapped_and_outlive_their_removal(loaded: Loaded, tmp_path: Path) -> None:
    cache = opened(loaded, tmp_path)
    cache.fill([ONE])
    cached = cache.batch([ONE])
    assert cached is not None
    before = cached.records[0].tensors[0].clone()
    clear(tmp_path)
    assert torch.equal(cached.records[0].tensors[0], before)
    assert cache.batch([ONE]) is None
    cache.fill([ONE])
    assert cache.batch([ONE]) is not None


def test_the_cap_lets_the_least_recently_used_go(loaded: Loaded, tmp_path: Path) -> None:
    first = opened(loaded, tmp_path)
    first.fill(MANY[:4])
    sizes = [file.size for file in stored(tmp_path)]
    for age, row in zip((400, 100, 300, 200), MANY[:4], strict=True):
        os.utime(first._path(row), (time.time() - age,) * 2)
    second = opened(loaded, tmp_path, cap=sum(sizes) + 10)
    second.fill(MANY[4:6])
    assert second.note is None
    assert sum(file.size for file in stored(tmp_path)) <= sum(sizes) + 10
    assert [row.id for row in second.missing(MANY[:6])] == ["m0", "m2"]


def test_a_small_cap_stops_the_filling_and_says_so(loaded: Loaded, tmp_path: Path) -> None:
    probe = opened(loaded, tmp_path / "probe")
    probe.fill(MANY[:1])
    size = stored(tmp_path / "probe")[0].size
    cache = opened(loaded, tmp_path / "small", cap=3 * size + size // 2)
    done: list[int] = []
    cache.fill(MANY, advance=done.append)
    assert sum(done) == len(MANY)
    assert len(stored(tmp_path / "small")) == 3
    assert cache.note is not None and "is full" in cache.note and "computed at every use" in cache.note
    assert cache.missing(MANY) == MANY[3:]
    assert cache.batch(MANY[:3]) is not None and cache.batch(MANY[:4]) is None
    before = [file.path for file in stored(tmp_path / "small")]
    opened(loaded, tmp_path / "small", cap=3 * size + size // 2).fill(MANY)
    assert sorted(before) == sorted(file.path for file in stored(tmp_path / "small")), "nothing is swapped in circles"
    opened(loaded, tmp_path / "none", cap=0).check([ONE, TWO])
    assert stored(tmp_path / "none") == []


def test_the_disk_is_left_some_room_for_the_run(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(loaded, tmp_path / "probe").fill(MANY[:1])
    size = stored(tmp_path / "probe")[0].size

    def left(folder: Path) -> SimpleNamespace:
        """A disk of half a gigabyte and of three and a half files."""
        return SimpleNamespace(free=LEFT_FREE + 3 * size + size // 2 - sum(file.size for file in stored(folder)))

    monkeypatch.setattr(eviction.shutil, "disk_usage", left)
    cache = opened(loaded, tmp_path / "near", cap=CAP)
    cache.fill(MANY)
    assert len(stored(tmp_path / "near")) == 3
    assert cache.note is not None and "has less than 0.5 GB left" in cache.note
    assert cache.missing(MANY) == MANY[3:]


def test_a_folder_that_cannot_be_written_is_no_error(loaded: Loaded, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    cache = opened(loaded, tmp_path / "file" / "cache")
    cache.check([ONE])
    cache.fill([ONE, TALL])
    assert cache.note is not None and "cannot be written" in cache.note
    assert cache.batch([ONE]) is None


def test_nothing_is_pickled_and_classes_are_those_of_transformers(tmp_path: Path) -> None:
    from holdfast.speed.features.tree import unpack

    path = tmp_path / f"x{SUFFIX}"
    spec = {"is": "output", "class": "subprocess:Popen", "fields": {"args": {"is": "tensor", "index": 0}}}
    files.write(path, files.encode(spec, [torch.ones(2)]))
    record = files.read(path)
    assert record is not None
    with pytest.raises(ValueError, match="subprocess"):
        unpack(record.spec, record.tensors, torch.device("cpu"))


def test_the_card_names_the_group(loaded: Loaded, tmp_path: Path) -> None:
    opened(loaded, tmp_path).fill([ONE])
    FeatureCache.open(loaded, ("vision",), folder=tmp_path, cap=CAP).fill([ONE, TALL])
    found = sorted(groups(tmp_path), key=lambda group: group.card.stage)
    assert [(g.card.stage, g.card.dtype, len(g.files)) for g in found] == [
        ("connector", "float32", 1),
        ("tower", "float32", 2),
    ]
    assert {group.card.model for group in found} == {loaded.name}
    assert {group.card.kind for group in found} == {"LlavaForConditionalGeneration"}
