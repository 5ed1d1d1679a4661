"""Two at once and killed at any moment: is anything lost, double, damaged, or said wrongly?

Overlaps: several processes are started together, round after round, in three ways: on run folders below one parent,
which share the base's answers; on one run folder, where one may work and the others must name it; and on one feature
cache. Kills: a run is killed at a random moment (one in four by SIGTERM), the same command is given again until it
ends, and what it leaves is compared byte for byte with a run that nobody disturbed. Studies: one with two workers, a
choice on validation data and fusions of one training is killed again and again, its workers with it or they alone, and
every point, every choice and the record are compared with those of a study that nobody disturbed. Full disks: a run on
a disk too small for it (a tmpfs, which only root may mount) must stop in a sentence, and the same command must end in
the same bytes once the disk has grown.

    python benchmarks/faults.py                  # 50 rounds of each overlap, 1,000 kills: about half an hour of a core
    python benchmarks/faults.py --rounds 0 --kills 0 --studies 30      # studies alone
    python benchmarks/faults.py --rounds 0 --kills 0 --studies 0 --disks 50
    python benchmarks/faults.py --rounds 2 --kills 5     # a look
    python benchmarks/faults.py --rounds 5 --kills 25 --cold            # each process imports its libraries itself

Processes are forked from one that has done such a run, so that nearly all of their time is work that can be disturbed;
with ``--cold`` the signals reach imports too, at ten times the cost. What they leave is compared with runs of the
command itself. Everything is drawn from ``--seed``; when the system runs which process is not, and need not be.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from common import commit, machine, progress, table

RECIPE = """\
model: pocket
tune: {{llm: {{method: lora, r: 2}}}}
target: {{data: "pocket:digits", limit: 40, test_limit: 10}}
sources: ["pocket:count"]
train: {{steps: {steps}, batch_size: 2, trackers: [], checkpoint_every: 2, log_every: 1}}
evaluate: {{source_limit: 10, batch_size: 4}}
speed: {{feature_cache: "{cache}"}}
"""
STUDY = """\
title: Faults
common:
  model: pocket
  target: {{data: "pocket:digits", limit: 40, test_limit: 10}}
  sources: ["pocket:count"]
  train: {{steps: {steps}, batch_size: 2, trackers: [], checkpoint_every: 2, log_every: 1, validation_limit: 20}}
  evaluate: {{source_limit: 10, batch_size: 4}}
axes:
  method:
    lora: {{tune: {{llm: {{method: lora, r: 2}}}}}}
    soft: {{tune: {{llm: {{method: norms}}}}, fuse: {{method: wise_ft, alpha: 0.5}}}}
    softer: {{tune: {{llm: {{method: norms}}}}, fuse: {{method: wise_ft, alpha: 0.2}}}}
  seed: [1, 2]
select:
  lr: {{levels: [1.0e-3, 1.0e-2], per: [method], with: {{seed: 1}}}}
"""
KINDS = ("folders", "folder", "cache")
CACHES = ("off", "on")
FULL = "the disk is full"
PAGE = 4096
"""A tmpfs is that coarse."""


def start(words: list[str], said: Path) -> int:
    """The number of a new process that runs the command line, its output in ``said``."""
    process = os.fork()
    if process:
        return process
    try:
        sink = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        from holdfast import stopping
        from holdfast.cli.main import run

        stopping.raise_when_asked()
        code = run(words)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def ended(process: int) -> int:
    """Its exit code, once it has ended; negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def left(run: Path) -> dict[str, str]:
    """What must be the same however often a run was disturbed: digests of files, and the log without its clock."""
    found = {}
    for file in sorted(run.rglob("*")):
        name = str(file.relative_to(run))
        if file.is_file() and name.startswith(("artifact/", "base/", "predictions/")):
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    rows = [json.loads(line) for line in (run / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    found["log"] = json.dumps([{key: value for key, value in row.items() if key != "seconds"} for row in rows])
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))["recipes"]
    found["scores"] = json.dumps(
        [{k: v for k, v in s.items() if k not in ("seconds", "name")} for s in scores.values()]
    )
    return found


def left_of_study(folder: Path) -> dict[str, Any]:
    """What must be the same of a study: its record, its choices, and every point of it."""
    record = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    index = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    points = {run.name: left(run) for run in sorted((folder / "points").iterdir()) if (run / "scores.json").exists()}
    chosen = {
        str(file.relative_to(folder)): file.read_text(encoding="utf-8") for file in folder.rglob("validation.json")
    }
    keys = sorted({json.loads(line)["key"] for line in index})
    return {"record": record, "points": points, "chosen": chosen, "index": keys}


def litter(folder: Path) -> list[str]:
    """Unfinished files that nobody can still be writing."""
    return [str(file) for file in folder.rglob("*.partial")]


class Bench:
    """One folder, one recipe, and the counts."""

    def __init__(
        self,
        folder: Path,
        *,
        processes: int,
        steps: int,
        seed: int,
        times: int = 3,
        caches: Sequence[str] = CACHES,
        cold: bool = False,
    ) -> None:
        self.folder, self.processes, self.random = folder, processes, random.Random(seed)
        self.times, self.caches, self.cold = times, caches, cold
        self.counts: dict[str, Counter[str]] = {}
        self.wrong: list[str] = []
        for cache in CACHES:
            (folder / f"{cache}.yaml").write_text(RECIPE.format(steps=steps, cache=cache), encoding="utf-8")
        os.environ["HOLDFAST_CACHE"] = str(folder / "cache")
        (folder / "study.yaml").write_text(STUDY.format(steps=steps), encoding="utf-8")
        self.whole: dict[str, Any] | None = None
        self.study_seconds = 0.0
        self.seconds = 0.0
        self.references: dict[str, dict[str, str]] = {}

    def reference(self, cache: str) -> dict[str, str]:
        """What an undisturbed run leaves; made once."""
        if cache not in self.references:
            self.references[cache] = self.undisturbed(cache)
        return self.references[cache]

    def command(self, out: Path, cache: str = "off") -> list[str]:
        return ["tune", str(self.folder / f"{cache}.yaml"), "--out", str(out)]

    def undisturbed(self, cache: str) -> dict[str, str]:
        run = self.folder / f"reference-{cache}" / "run"
        words = [sys.executable, "-m", "holdfast", *self.command(run, cache)]
        made = subprocess.run(words, capture_output=True, text=True, check=False)
        if made.returncode:
            raise SystemExit(f"the undisturbed run ended with {made.returncode}: {made.stderr[-2000:]}")
        return left(run)

    def length(self) -> float:
        """Seconds of a run by which it is drawn when one is killed; before that, what its libraries need is loaded."""
        from holdfast.cli.main import run

        if not self.seconds:
            place, said = self.folder / "length", self.folder / "said"
            if not self.cold:
                with said.open("w") as sink, redirect_stdout(sink), redirect_stderr(sink):
                    run(self.command(place / "here" / "run", "on"))
            begun = time.monotonic()
            if ended(start(self.command(place / "there" / "run", "on"), said)):
                raise SystemExit(f"the first run did not end well: {said.read_text(encoding='utf-8')[-2000:]}")
            self.seconds = time.monotonic() - begun
        return self.seconds

    def fault(self, what: str, said: Path | None = None) -> None:
        text = "" if said is None else said.read_text(encoding="utf-8")
        place = text.find("Traceback")
        shown = text[-300:] if place < 0 else text[max(0, place - 300) : place + 2000]
        self.wrong.append(what + (f": {shown!r}" if shown else ""))
        progress(self.wrong[-1])

    def overlap(self, kind: str, number: int) -> None:
        """One round: all processes together, then a look at everything they left."""
        place = self.folder / f"{kind}-{number}"
        cache = "on" if kind == "cache" else "off"
        expected = self.reference(cache)
        self.length()
        if kind == "cache":
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        count = self.counts.setdefault(kind, Counter())
        runs, saids, running = [], [], []
        for index in range(self.processes):
            below = {"folders": f"run-{index}", "folder": "run", "cache": f"{index}/run"}[kind]
            runs.append(place / below)
            saids.append(self.folder / f"said-{index}")
            saids[-1].unlink(missing_ok=True)
            running.append(start(self.command(runs[-1], cache), saids[-1]))
        for process, said in zip(running, saids, strict=True):
            code, text = ended(process), ""
            text = said.read_text(encoding="utf-8") if said.exists() else ""
            refused = kind == "folder" and code == 2 and "is in use by process" in text and "\n" not in text.strip()
            count["finished" if code == 0 else "refused" if refused else "wrong"] += 1
            if (code and not refused) or "Traceback" in text:
                self.fault(f"{kind} round {number}: exit code {code}", said)
        if kind == "folder" and not (place / "run" / "scores.json").exists():
            self.fault(f"folder round {number}: nobody finished")
            return
        for run in dict.fromkeys(runs):
            if (run / "scores.json").exists() and left(run) != expected:
                self.fault(f"{kind} round {number}: {run.name} differs from an undisturbed run")
                count["different"] += 1
        count["left unfinished"] += len(litter(place)) + len(litter(self.folder / "cache"))
        shutil.rmtree(place)

    def kill(self, number: int) -> None:
        """One run, disturbed until it ends by itself."""
        cache = self.random.choice(self.caches)
        expected, seconds = self.reference(cache), self.length()
        place = self.folder / f"kill-{number}"
        said, run = self.folder / "said-kill", place / "run"
        said.unlink(missing_ok=True)
        if cache == "on":
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        count = self.counts.setdefault("kills", Counter())
        for attempt in range(self.times + 1):
            process = start(self.command(run, cache), said)
            if attempt < self.times:
                time.sleep(self.random.uniform(0, 1.2 * seconds))
                number_of = signal.SIGTERM if self.random.random() < 0.25 else signal.SIGKILL
                stage = "evaluating" if (run / "artifact").exists() else "training"
                stage = stage if (run / "checkpoint").exists() or stage == "evaluating" else "before a checkpoint"
                with suppress(ProcessLookupError):
                    os.kill(process, number_of)
            code = ended(process)
            if code == 0:
                break
            count[f"{signal.Signals(number_of).name} while {stage}"] += 1
            if code not in (-signal.SIGKILL, 143, -signal.SIGTERM):
                self.fault(f"run {number}: exit code {code}", said)
                count["wrong"] += 1
                break
        if not (run / "scores.json").exists():
            self.fault(f"run {number} was not finished", said)
        elif left(run) != expected:
            self.fault(f"run {number} differs from an undisturbed run")
            count["different"] += 1
        else:
            count["the same bytes"] += 1
        if "Traceback" in said.read_text(encoding="utf-8"):
            self.fault(f"run {number}: a traceback", said)
        shutil.rmtree(place)

    def study(self, number: int) -> None:
        """One study, killed until ``times`` kills have hit it; then it must end as one that nobody disturbed."""
        place = self.folder / f"study-{number}"
        if self.whole is None:
            begun = time.monotonic()
            if self.run_study(self.folder / "whole").wait() != 0:
                raise SystemExit("the undisturbed study did not end well")
            self.whole, self.study_seconds = left_of_study(self.folder / "whole"), time.monotonic() - begun
        count = self.counts.setdefault("studies", Counter())
        for _ in range(self.times):
            process = self.run_study(place)
            time.sleep(self.random.uniform(0, 1.1 * self.study_seconds))
            kind = self.random.choice(("study by SIGTERM", "study by SIGKILL", "workers by SIGKILL"))
            if process.poll() is None:
                count[kind] += 1
                if kind.startswith("workers"):
                    for worker in children(process.pid):
                        with suppress(ProcessLookupError):
                            os.kill(worker, signal.SIGKILL)
                else:
                    process.send_signal(signal.SIGTERM if "TERM" in kind else signal.SIGKILL)
            code = process.wait()
            if code not in (0, 1, 143, -signal.SIGKILL, -signal.SIGTERM):
                self.fault(f"study {number}: exit code {code}", self.folder / "said-study")
        code = self.run_study(place, "--retry-failed").wait()
        if code:
            self.fault(f"study {number}: exit code {code} at the end", self.folder / "said-study")
        elif left_of_study(place) != self.whole:
            self.fault(f"study {number} differs from an undisturbed one")
            count["different"] += 1
        else:
            count["the same bytes"] += 1
        shutil.rmtree(place, ignore_errors=True)

    def disk(self, number: int) -> None:
        """One run on a disk that is too small for it, and that grows each time the run has said so."""
        cache = self.random.choice(self.caches)
        expected, elsewhere = self.reference(cache), os.environ["HOLDFAST_CACHE"]
        whole = sum(file.stat().st_size for file in (self.folder / f"reference-{cache}").rglob("*") if file.is_file())
        place, said = self.folder / f"disk-{number}", self.folder / "said-disk"
        count = self.counts.setdefault("disks", Counter())
        said.unlink(missing_ok=True)
        place.mkdir()
        size = self.random.randint(1, max(2, whole // PAGE))
        if mount(place, size):
            count["not permitted to mount"] += 1
            return
        os.environ["HOLDFAST_CACHE"] = str(place / "cache")
        try:
            run = place / "run"
            while code := ended(start(self.command(run, cache), said)):
                text = said.read_text(encoding="utf-8")
                said.unlink()
                last = text.strip().rpartition("\n")[2]
                if code != 2 or "Traceback" in text or not last.startswith("holdfast: ") or FULL not in last:
                    self.fault(f"disk {number} of {size} pages: exit code {code}: {text[-300:]!r}")
                    count["wrong"] += 1
                    return
                count["refused in a sentence"] += 1
                size += self.random.randint(1, size + whole // PAGE)
                mount(place, size, again=True)
            if left(run) != expected:
                self.fault(f"disk {number} differs from an undisturbed run")
                count["different"] += 1
            else:
                count["the same bytes"] += 1
            count["left unfinished"] += len(litter(place))
        finally:
            os.environ["HOLDFAST_CACHE"] = elsewhere
            subprocess.run(["umount", str(place)], check=True)

    def run_study(self, out: Path, *more: str) -> subprocess.Popen[bytes]:
        """The command as a person gives it."""
        words = ["study", "run", str(self.folder / "study.yaml"), "--out", str(out), "--workers", "2", *more]
        with (self.folder / "said-study").open("ab") as sink:
            return subprocess.Popen([sys.executable, "-m", "holdfast", *words], stdout=sink, stderr=sink)


def mount(place: Path, pages: int, *, again: bool = False) -> int:
    """A disk of that size at ``place``, or the one there with another size; 0 where it was permitted."""
    options = f"{'remount,' if again else ''}size={pages * PAGE}"
    words = ["mount", *([] if again else ["-t", "tmpfs", "tmpfs"]), "-o", options, str(place)]
    return subprocess.run(words, stderr=subprocess.DEVNULL).returncode


def children(process: int) -> list[int]:
    """Its own processes, where the system tells."""
    file = Path(f"/proc/{process}/task/{process}/children")
    try:
        return [int(word) for word in file.read_text(encoding="utf-8").split()]
    except OSError:
        return []


def main() -> None:
    """Run what is asked for and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50, help="of each kind of overlap (default 50)")
    parser.add_argument("--processes", type=int, default=8, help="started together (default 8)")
    parser.add_argument("--kills", type=int, default=200, help="runs that are killed (default 200)")
    parser.add_argument("--cold", action="store_true", help="every process imports its libraries itself")
    parser.add_argument("--studies", type=int, default=10, help="studies that are killed (default 10)")
    parser.add_argument("--disks", type=int, default=0, help="runs on disks that are too small (default 0; root only)")
    parser.add_argument("--times", type=int, default=6, help="that such a run is killed at most (default 6)")
    parser.add_argument("--caches", default=",".join(CACHES), help="runs that are killed: feature cache off, on")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of overlaps")
    parser.add_argument("--steps", type=int, default=6, help="of a run (default 6)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="holdfast-faults-"))
    try:
        bench = Bench(
            folder,
            processes=given.processes,
            steps=given.steps,
            seed=given.seed,
            times=given.times,
            caches=given.caches.split(","),
            cold=given.cold,
        )
        work: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        for number in range(given.rounds):
            work += [(bench.overlap, (kind, number)) for kind in given.kinds.split(",") if kind]
        work += [(bench.kill, (number,)) for number in range(given.kills)]
        work += [(bench.study, (number,)) for number in range(given.studies)]
        work += [(bench.disk, (number,)) for number in range(given.disks)]
        for do, arguments in work:
            do(*arguments)
            if not given.json:
                progress(f"{do.__name__} {arguments}: {time.monotonic() - begun:.0f} s, {len(bench.wrong)} wrong")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = {
        "rounds": given.rounds,
        "processes": given.processes,
        "kills": given.kills,
        "studies": given.studies,
        "disks": given.disks,
        "cold": given.cold,
        "seed": given.seed,
        "commit": commit(),
        "seconds": round(time.monotonic() - begun, 1),
        "counts": {kind: dict(count) for kind, count in bench.counts.items()},
        "wrong": bench.wrong,
        "machine": machine(1),
    }
    if given.json:
        print(json.dumps(report, indent=1))
    else:
        rows = [[kind, what, str(n)] for kind, count in bench.counts.items() for what, n in sorted(count.items())]
        print("\n".join(table(["kind", "what", "times"], rows)))
        print(f"seed {given.seed}, commit {report['commit']}, {report['seconds']} s; {report['machine']}")
        for line in bench.wrong:
            print("wrong:", line)
    sys.exit(bool(bench.wrong))


if __name__ == "__main__":
    main()
