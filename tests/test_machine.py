"""Same bits: what the house asks MKL for, when it is too late to ask, and that the answer is said where it counts."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from holdfast.machine import SETTING, WANTED, bits, processor
from holdfast.runs.environment import environment, warn_of_other_bits

ROOT = Path(__file__).resolve().parents[1]

with_mkl = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkl.is_available(),
    reason="MKL on x86-64 only",
)


def said(code: str, **settings: str) -> list[str]:
    """What a process of its own prints; ``MKL_CBWR`` is unset unless given."""
    environment = {key: value for key, value in os.environ.items() if key != SETTING}
    environment |= {"PYTHONPATH": str(ROOT / "src")} | settings
    words = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout.splitlines()


def test_importing_the_package_asks_before_torch_is_there() -> None:
    code = "import holdfast, os, sys; print(os.environ['MKL_CBWR'], 'torch' in sys.modules)"
    assert said(code) == [f"{WANTED} False"]
    assert said(code, MKL_CBWR="COMPATIBLE") == ["COMPATIBLE False"]


@with_mkl
def test_it_is_said_when_it_came_too_late() -> None:
    late = """
import torch
torch.randn(64, 64) @ torch.randn(64, 64)
import holdfast
from holdfast.machine import bits
print(*bits())
"""
    (line,) = said(late)
    assert line.startswith("False ") and "import holdfast first" in line
    (line,) = said("import holdfast; from holdfast.machine import bits; print(*bits())", MKL_CBWR="AUTO")
    assert line.startswith("False MKL_CBWR=AUTO ") and WANTED in line
    code = (
        "import torch, holdfast; torch.ones(4, 4) @ torch.ones(4, 4); from holdfast.machine import bits; print(*bits())"
    )
    assert said(code)[0].startswith("True ")  # torch was there, but nothing had been multiplied yet


@with_mkl
def test_it_holds_here_and_every_run_says_so() -> None:
    found = bits()
    assert found.same and "thread" in found.why
    assert environment()["bits"] == {"same": found.same, "why": found.why} or torch.cuda.is_available()
    assert environment()["processor"] == processor()
    assert torch.backends.cpu.get_cpu_capability() in processor()
    warn_of_other_bits(torch.device("cpu"))  # warnings of ours would be printed; there is none to print


def test_a_run_that_may_end_in_other_bits_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not bits().same
    with pytest.warns(UserWarning, match="riscv64"):
        warn_of_other_bits(torch.device("cpu"))
    assert not bits("cuda").same
    warn_of_other_bits(torch.device("cuda"))  # nobody expects otherwise


def test_a_product_does_not_depend_on_where_memory_begins() -> None:
    """The smallest form of what failed on Intel processors: the same operands, 0 to 63 bytes further on."""
    generator = torch.Generator().manual_seed(0)

    def moved(values: torch.Tensor, places: int) -> torch.Tensor:
        room = torch.empty(values.numel() + 16)
        there = room[places : places + values.numel()].view(values.shape)
        return there.copy_(values)

    for rows, inner, columns in ((1, 48, 96), (7, 333, 65), (64, 128, 129), (333, 64, 257)):
        x, w = torch.randn(rows, inner, generator=generator), torch.randn(columns, inner, generator=generator)
        wanted = torch.nn.functional.linear(x, w)
        for places in range(16):
            assert torch.equal(torch.nn.functional.linear(moved(x, places), moved(w, 15 - places)), wanted)


def test_doctor_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    from holdfast.cli.main import run

    assert run(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert facts["same bits twice"].startswith("yes, " if bits().same and not torch.cuda.is_available() else "no: ")
    assert facts["processor"] == processor()


CHOSEN = (
    "tests/methods/test_contract.py::test_an_artifact_on_a_fresh_base_gives_the_same_logits[lora]",
    "tests/methods/test_contract.py::test_an_artifact_on_a_fresh_base_gives_the_same_logits[magnitude_mask]",
    "tests/training/test_resume.py::test_a_killed_run_goes_on_as_if_nothing_had_happened[3-full]",
    "tests/training/test_resume.py::test_a_killed_run_goes_on_as_if_nothing_had_happened[3-sparse that selects anew]",
)


@pytest.mark.slow
def test_a_part_of_the_bit_for_bit_tests_on_a_stand_in_for_another_processor() -> None:
    """``scripts/portability`` runs all of them on four."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("the stand-ins are x86-64")
    words = ["sh", str(ROOT / "scripts" / "portability"), "default", *CHOSEN]
    process = subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHON": sys.executable, "WORKERS": "0"}
    )
    assert process.returncode == 0, process.stdout[-3000:]
    assert "ATEN_CPU_CAPABILITY=default" in process.stdout and " passed" in process.stdout
