"""What the scripts here share: fresh processes, paired rounds, medians of ratios, the machine in words, tables."""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MIB = 1 << 20
PACKAGES = ("holdfast", "torch", "transformers", "peft", "accelerate", "tokenizers", "trl", "datasets")
Rounds = list[dict[str, dict[str, Any]]]


def common_arguments(parser: argparse.ArgumentParser, *, rounds: int = 5, threads: int = 2) -> None:
    """``--rounds``, ``--threads`` and ``--json``."""
    parser.add_argument("--rounds", type=int, default=rounds, help=f"paired rounds of every arm (default {rounds})")
    parser.add_argument("--threads", type=int, default=threads, help=f"of the processor (default {threads})")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def script_parser(text: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the script's docstring."""
    return argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def run_script(
    parser: argparse.ArgumentParser,
    child: Callable[[dict[str, Any]], dict[str, Any]],
    measure: Callable[[argparse.Namespace], dict[str, Any]],
    as_text: Callable[[dict[str, Any]], str],
    *,
    rounds: int = 5,
    threads: int = 2,
) -> None:
    """What a script does: one task of :func:`spawn` where it is the child, else all, printed as text or as JSON.

    Args:
        parser: With the script's own arguments.
        child: Does a task and gives what it measured.
        measure: Spawns all of them.
        as_text: The report for people.
        rounds, threads: Defaults of :func:`common_arguments`.
    """
    common_arguments(parser, rounds=rounds, threads=threads)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(json.loads(options.child))))
        return
    report = measure(options)
    print(json.dumps(report, indent=1) if options.json else as_text(report))


def split_names(text: str) -> tuple[str, ...]:
    """``a,b`` as a tuple."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def split_numbers(text: str) -> tuple[int, ...]:
    """``1,2`` as a tuple of whole numbers."""
    return tuple(int(part) for part in split_names(text))


def spawn(
    script: str, task: Mapping[str, Any], *, threads: int, tight: bool = False, limit: float | None = None
) -> dict[str, Any]:
    """Run ``script --child TASK`` in a fresh process and take the JSON object it prints last.

    Args:
        script: The file to run.
        task: Given to the child as JSON.
        threads: OpenMP threads of the child.
        tight: Freed memory goes back to the system at once, so that resident memory is memory in use. Slower: only
            where memory is measured and time is not.
        limit: Seconds after which the child is ended.

    Raises:
        SystemExit: The child failed, or took too long; the message ends with what it wrote.
    """
    environment = os.environ | {
        "OMP_WAIT_POLICY": "passive",
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    if tight:
        environment |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, script, "--child", json.dumps(task)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise SystemExit(f"{task.get('arm', script)} was ended after {limit:.0f} s") from error
    if done.returncode:
        raise SystemExit(f"{task.get('arm', script)} failed:\n{done.stderr[-6000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def play(
    rounds: int, arms: Sequence[str], run: Callable[[str], dict[str, Any]], report: Callable[[str], None] | None = None
) -> Rounds:
    """Every arm once a round; each round begins with another arm, so that none always runs first."""
    played: Rounds = []
    for number in range(rounds):
        shift = number % len(arms)
        found = {}
        for arm in (*arms[shift:], *arms[:shift]):
            begun = time.perf_counter()
            found[arm] = run(arm)
            if report is not None:
                report(f"round {number + 1}/{rounds}, {arm}: {time.perf_counter() - begun:.0f} s with building")
        played.append({arm: found[arm] for arm in arms})
    return played


def progress(text: str) -> None:
    """A line on stderr, so that stdout holds the report only."""
    print(text, file=sys.stderr, flush=True)


def median(rounds: Rounds, arm: str, key: str) -> float:
    """The median over rounds."""
    return statistics.median(one[arm][key] for one in rounds)


def ratio(rounds: Rounds, arm: str, other: str, key: str) -> float:
    """The median over rounds of ``arm / other`` within a round."""
    return statistics.median(one[arm][key] / one[other][key] for one in rounds)


def spread(rounds: Rounds, arm: str, other: str, key: str) -> list[float]:
    """The smallest and the largest ratio of a round."""
    ratios = [one[arm][key] / one[other][key] for one in rounds]
    return [round(min(ratios), 3), round(max(ratios), 3)]


def machine(threads: int) -> dict[str, Any]:
    """Processor, cores, memory and load, for the head of a report."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text(encoding="utf-8").split("\n") if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "threads": threads,
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def commit() -> str:
    """What is tried, as git calls it; ``-dirty`` where files were edited since."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or "no commit"


def versions() -> dict[str, str]:
    """Of the packages that decide what is measured; absent ones are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def circumstances(options: argparse.Namespace, task: Mapping[str, Any]) -> dict[str, Any]:
    """What a report begins with: ``settings`` (what arms are told, the model's shape flat among it), machine, versions.

    Args:
        options: With the :func:`common_arguments`.
        task: What arms are told; ``shape``, where there is one, holds the model's.
    """
    shape = {name: value for name, value in task.get("shape", {}).items() if name not in ("inner", "heads")}
    told = {name: value for name, value in task.items() if name != "shape"}
    return {
        "settings": {**shape, **told, "threads": options.threads, "rounds": options.rounds},
        "machine": machine(options.threads),
        "versions": versions(),
    }


def heading(report: Mapping[str, Any]) -> list[str]:
    """Settings, machine and versions as three lines."""
    return [
        f"{name}: " + ", ".join(f"{key} {value}" for key, value in report[name].items())
        for name in ("settings", "machine", "versions")
        if name in report
    ]


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Columns as wide as what stands in them; the first one to the left."""
    cells = [[_cell(value) for value in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in cells)
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, list):
        return "-".join(_cell(part) for part in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


@contextmanager
def workshop(prefix: str) -> Iterator[Path]:
    """A temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix=f"holdfast-{prefix}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def resident() -> int:
    """Bytes of this process in memory."""
    ctypes.CDLL(None).malloc_trim(0)
    return _status("VmRSS")


def forget_highest() -> None:
    """Let :func:`highest` count from now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def highest() -> int:
    """The most bytes that were in memory since :func:`forget_highest`."""
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this benchmark reads /proc/self/status, which Linux has")


def matrix_rate(size: int = 2048, *, device: str = "cpu", dtype: str = "float32", seconds: float = 1.0) -> float:
    """Operations per second of the best of several ``size x size`` matrix products (an addition counts, too)."""
    import torch

    kind = getattr(torch, dtype)
    left = torch.randn(size, size, device=device).to(kind)
    right = torch.randn(size, size, device=device).to(kind)
    best = float("inf")
    end = time.perf_counter() + seconds
    count = 0
    while count < 4 or time.perf_counter() < end:
        synchronise(device)
        begun = time.perf_counter()
        left @ right
        synchronise(device)
        best = min(best, time.perf_counter() - begun)
        count += 1
    return 2 * size**3 / best


def synchronise(device: str) -> None:
    """Wait for a GPU; nothing elsewhere."""
    if str(device).startswith("cuda"):
        import torch

        torch.cuda.synchronize()
