"""Values made in worker processes: the same values in the same order, whatever goes wrong, and no process left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.errors import HoldfastError
from holdfast.speed import ahead
from holdfast.speed.ahead import Ahead
from holdfast.speed.decision import Decision
from holdfast.speed.parcel import Parcel, size_of

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are forked on Linux only")


def value(number: int) -> dict[str, Any]:
    """A function of the number, with what it was made by beside it."""
    tensor = torch.arange(5) * number
    return {"values": tensor, "again": tensor, "by": os.getpid(), "name": f"n{number}"}


def test_a_parcel_gives_back_what_was_put_in() -> None:
    pixels = torch.rand(2, 3, 4, 5, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    shared = torch.rand(7).to(torch.bfloat16)
    held = {
        "pixels": pixels,
        "ids": torch.arange(11)[::2],
        "mask": torch.ones(3, 1, 2, dtype=torch.bool).expand(3, 4, 2),
        "none": torch.zeros(0, 3),
        "one": torch.tensor(3.5, dtype=torch.float64),
        "pair": (shared, shared),
        "plain": ["text", 3],
    }
    parcel = Parcel.of(held)
    found = parcel.open()
    assert parcel.content.is_shared() and parcel.content.numel() == size_of(held)
    for name in ("pixels", "ids", "mask", "none", "one"):
        assert found[name].dtype == held[name].dtype and torch.equal(found[name], held[name])
        assert found[name].data_ptr() % 64 == 0
    assert found["pixels"].stride() == pixels.stride()
    assert torch.equal(found["pair"][0], shared) and found["pair"][0].data_ptr() == found["pair"][1].data_ptr()
    assert found["plain"] == ["text", 3]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_same_values_in_the_same_order_whoever_makes_them(workers: int) -> None:
    before = torch.get_rng_state()
    with Ahead(value, end=9, workers=workers) as coming:
        taken = [coming.take(number) for number in range(2, 9)]
        assert coming.decision.on == bool(workers)
    assert [one["name"] for one in taken] == [f"n{number}" for number in range(2, 9)]
    for number, one in enumerate(taken, 2):
        assert torch.equal(one["values"], torch.arange(5) * number) and torch.equal(one["again"], one["values"])
    makers = {one["by"] for one in taken[1:]}
    assert len(makers) == max(workers, 1) and (os.getpid() in makers) == (workers == 0)
    assert torch.equal(torch.get_rng_state(), before), "dropout would draw other numbers"
    assert not multiprocessing.active_children()


def test_one_value_needs_no_other_process() -> None:
    with Ahead(value, end=1, workers=2) as coming:
        assert coming.take(0)["by"] == os.getpid()
        assert coming.decision == Decision(False, "there is one batch only, which this process prepares")


def test_another_number_begins_anew_with_what_is_known_by_then() -> None:
    known = {"largest": 8}
    with Ahead(lambda number: (number, known["largest"], os.getpid()), end=9, workers=2) as coming:
        assert [coming.take(number)[:2] for number in (0, 1)] == [(0, 8), (1, 8)]
        known["largest"] = 4
        assert [coming.take(number)[:2] for number in (1, 2, 3)] == [(1, 4), (2, 4), (3, 4)]
        assert coming.take(4)[2] != os.getpid()


def test_a_mistake_keeps_its_item_and_ends_the_workers() -> None:
    def make(number: int) -> int:
        if number == 3:
            raise HoldfastError("the picture is torn", item="q17", remedy="replace it", key="target")
        return number

    with pytest.raises(HoldfastError) as caught, Ahead(make, end=9, workers=2) as coming:
        for number in range(9):
            coming.take(number)
    assert str(caught.value) == "item q17: the picture is torn. Replace it."
    assert caught.value.key == ("target",) and number == 3
    assert not multiprocessing.active_children()


def test_a_fault_of_our_own_keeps_its_type_and_where_it_happened() -> None:
    def make(number: int) -> int:
        return 1 // (2 - number)

    with pytest.raises(ZeroDivisionError, match="1 // \\(2 - number\\)"), Ahead(make, end=9, workers=1) as coming:
        for number in range(9):
            coming.take(number)


def test_a_worker_that_is_killed_is_told_in_a_sentence() -> None:
    def make(number: int) -> int:
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    said = "prepares coming batches was ended by SIGKILL"
    with pytest.raises(HoldfastError, match=said), Ahead(make, end=9, workers=1) as coming:
        for number in range(9):
            coming.take(number)
            time.sleep(0.05)
    assert not multiprocessing.active_children()


def test_workers_leave_signals_to_the_first_process_and_have_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")

    def make(number: int) -> tuple[Any, ...]:
        ignored = [signal.getsignal(kind) == signal.SIG_IGN for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
        return ignored, torch.get_num_threads(), os.environ["TOKENIZERS_PARALLELISM"]

    with Ahead(make, end=3, workers=1) as coming:
        coming.take(0)
        assert coming.take(1) == ([True] * 3, 1, "false")
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


def test_no_more_is_made_ahead_than_memory_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(number: int) -> torch.Tensor:
        return torch.zeros(1000, dtype=torch.uint8)

    def begun(room: int, workers: int | Any = 8) -> tuple[Ahead[torch.Tensor], int, int]:
        monkeypatch.setattr(ahead, "_shared_memory", lambda: 2 * room)
        with Ahead(make, end=99, workers=workers) as coming:
            coming.take(0)
            running: Any = coming._coming
            return coming, running._num_workers, running._prefetch_factor

    assert begun(100_000)[1:] == (8, 2)
    assert begun(8 * 1024)[1:] == (8, 1)
    assert begun(3 * 1024)[1:] == (3, 1)
    with pytest.raises(HoldfastError, match=r"0 MB to spare for batches of 0 MB\. Give the container more") as caught:
        begun(500)
    assert caught.value.key == ("speed", "workers")
    monkeypatch.setattr(ahead, "_shared_memory", lambda: 1000)
    with Ahead(make, end=99, workers=8, strict=False) as coming:
        assert [coming.take(number).numel() for number in range(3)] == [1000] * 3
        assert not coming.decision and "to spare" in coming.decision.why


def test_auto_has_none_on_a_cpu_and_a_share_of_the_cores_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(device: str) -> tuple[int, Decision]:
        one = Ahead(value, end=1, workers="auto", device=device)
        return one.workers, one.decision

    assert found("cpu") == (0, Decision(False, "on a CPU the step itself takes the cores"))
    monkeypatch.setattr(ahead, "cores", lambda: 6)
    assert found("cuda")[0] == 5
    monkeypatch.setattr(ahead, "cores", lambda: 64)
    assert found("cuda")[0] == 8
    monkeypatch.setattr(ahead, "beside", lambda: 16)
    assert found("cuda")[0] == 3
    monkeypatch.setattr(ahead, "beside", lambda: 64)
    assert found("cuda") == (0, Decision(False, "this process has one core"))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not found("cuda")[1]
    with pytest.raises(HoldfastError, match=r"speed\.workers is 4, and workers need a system that can copy"):
        Ahead(value, end=1, workers=4)


KILLED = """
    import multiprocessing, os, time
    from holdfast.speed.ahead import Ahead

    with Ahead(lambda number: time.sleep(0.01), end=10**6, workers=2) as coming:
        coming.take(0)
        coming.take(1)
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(60)
"""


def test_workers_end_with_a_process_that_is_killed() -> None:
    started = subprocess.Popen([sys.executable, "-c", textwrap.dedent(KILLED)], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    workers = [int(word) for word in started.stdout.readline().split()]
    assert len(workers) == 2
    started.kill()
    started.wait()
    until = time.monotonic() + 30
    while any(_alive(worker) for worker in workers):
        assert time.monotonic() < until, "a worker has outlived the process that began it"
        time.sleep(0.01)


@pytest.mark.parametrize(("parent", "ended"), [("os.getppid()", 0), ("os.getppid() + 1", 1)])
def test_a_worker_whose_parent_has_ended_before_it_looked_ends(parent: str, ended: int) -> None:
    """A worker may begin after the process that began it was killed; another process is its parent by then."""
    code = f"import os; from holdfast.speed.ahead import _end_with; _end_with({parent})"
    assert subprocess.run([sys.executable, "-c", code]).returncode == ended


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_the_end_of_a_first_process_is_no_traceback_of_a_worker(capsys: pytest.CaptureFixture[str]) -> None:
    def hear(error: BaseException) -> str:
        ahead._hear(type(error), error, None)
        return capsys.readouterr().err

    def in_a_thread(error: BaseException) -> str:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(hear, error).result()

    assert in_a_thread(ConnectionResetError(104, "reset")) == in_a_thread(EOFError()) == ""
    assert "ValueError" in in_a_thread(ValueError("ours")) and "reset" in hear(ConnectionResetError(104, "reset"))
