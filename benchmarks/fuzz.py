"""Damaged input of every kind: is each one read, or refused in one sentence?

Whole files are made, one of them is damaged (``mutations.py``), and the functions behind the command line are called on
it. What may come of it: it is taken, or a HoldfastError of one line and at most 2,000 letters. Anything else is a
fault: another exception, a longer message, no answer in time. A fault is reduced by leaving halves out of the file for
as long as it stays the same fault, and told once for each place in the code.

    python benchmarks/fuzz.py                                  # 1,600 of each cheap kind, 200 runs, 200 model folders
    python benchmarks/fuzz.py --kinds data --rounds 300 --seed 7
    python benchmarks/fuzz.py --kinds models --model-rounds 10

Model folders are damaged in processes of their own, forked once the libraries are there; of a finished run a copy is
asked each time: its verdict, its artifact on the base, or the command that made it, with the report. What is damaged,
and how, is drawn from ``--seed`` alone; a fault names its round, and ``--only ROUND`` repeats it.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # the tests know how each layout is written

from common import commit, machine, progress, table, workshop  # noqa: E402
from mutations import damaged  # noqa: E402

from holdfast.errors import LONGEST, HoldfastError  # noqa: E402

KINDS = ("configurations", "plans", "data", "downloads", "prepared", "predictions", "runs", "models")
SECONDS = {"models": 60.0, "runs": 60.0}
PATIENCE = 10.0
"""Seconds that a call may take, if its kind says nothing else."""
TRIES = 60
"""Calls that the reduction of one fault may take."""

Call = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """Whole files in a folder, which of them may be damaged, and what is called on them."""

    name: str
    folder: Path
    files: tuple[str, ...]
    call: Call


@dataclass(frozen=True)
class Fault:
    """What a call came to that it may not come to; two with one ``place`` are the same."""

    place: str
    text: str


class TooSlow(BaseException):
    """Raised into a call that takes too long; no ``except Exception`` holds it."""


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """End what takes longer."""

    def ring(number: int, frame: Any) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def said_well(error: HoldfastError) -> Fault | None:
    """A fault where the message is none that a person may be shown."""
    text = str(error)
    if len(text) > LONGEST or len(text.splitlines()) != 1:
        return Fault(f"message of {len(text)} letters: {text[:40]!r}", text[:400])
    try:
        text.encode()
    except UnicodeEncodeError:
        return Fault(f"message that cannot be written: {error.problem[:40]!r}", ascii(text))
    return None


def deepest(error: BaseException) -> str:
    """Where in the package an exception came from: file and function of the last frame that is ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}holdfast{os.sep}" in frame.filename] or frames
    return f"{ours[-1].filename.rpartition('holdfast' + os.sep)[2]}:{ours[-1].name}"


def outcome(call: Call, folder: Path, seconds: float) -> str | Fault:
    """``taken`` or ``refused``, or the fault."""
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            with patience(seconds):
                call(folder)
    except HoldfastError as error:
        return said_well(error) or "refused"
    except KeyboardInterrupt:
        raise
    except TooSlow as error:
        return Fault(f"more than {seconds:g} s in {deepest(error)}", "")
    except BaseException as error:
        name = type(error).__name__
        return Fault(f"{name} in {deepest(error)}", traceback.format_exc(limit=-4)[-1500:])
    return "taken"


def reduced(content: bytes, same: Callable[[bytes], bool], tries: int = TRIES) -> bytes:
    """A shorter content that is still the same fault, by leaving out halves, quarters, eighths."""
    size = len(content) // 2
    while size and tries > 0:
        at = 0
        while at < len(content) and tries > 0:
            shorter = content[:at] + content[at + size :]
            tries -= 1
            if same(shorter):
                content = shorter
            else:
                at += size
        size //= 2
    return content


class Fuzz:
    """One kind after the other; counts, and the faults by their place."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.counts: dict[str, Counter[str]] = {}
        self.faults: dict[str, dict[str, Any]] = {}

    def run(self, kind: str, rounds: Sequence[int]) -> None:
        """Some rounds of one kind."""
        made = {
            **{"configurations": recipes, "plans": recipes, "data": data, "downloads": downloads, "prepared": prepared},
            **{"predictions": predictions, "runs": runs, "models": models},
        }
        place = self.folder / kind
        place.mkdir()
        cases = made[kind](place, kind)
        for case in cases:  # this imports what they need, too, before the clock runs and before processes part
            whole = outcome(case.call, case.folder, 300)
            if whole != "taken":
                raise SystemExit(f"{kind}: {case.name} is not even taken undamaged: {whole}")
        count = self.counts.setdefault(kind, Counter())
        for number in rounds:
            dice = random.Random(f"{self.seed} {kind} {number}")
            case = dice.choice(cases)
            name = dice.choice(case.files)
            file = case.folder / name
            whole = file.read_bytes()
            content = damaged(name, whole, dice)
            found = self.tried(kind, case, file, content)
            if isinstance(found, Fault):
                count["faults"] += 1
                self.note(kind, number, case, file, content, found)
            else:
                count[found] += 1
            file.write_bytes(whole)

    def tried(self, kind: str, case: Case, file: Path, content: bytes) -> str | Fault:
        """What comes of the case with this content."""
        file.unlink()  # a new file: nothing that was remembered of the old one holds
        file.write_bytes(content)
        seconds = SECONDS.get(kind, PATIENCE)
        return apart(case, seconds) if kind == "models" else outcome(case.call, case.folder, seconds)

    def note(self, kind: str, number: int, case: Case, file: Path, content: bytes, found: Fault) -> None:
        """Keep a fault once for each place, reduced."""
        known = self.faults.setdefault(f"{kind}: {found.place}", {"times": 0})
        known["times"] += 1
        if known["times"] > 1:
            return

        def same(shorter: bytes) -> bool:
            again = self.tried(kind, case, file, shorter)
            return isinstance(again, Fault) and again.place == found.place

        short = content if kind == "models" or "more than" in found.place else reduced(content, same)
        known |= {
            "round": number,
            "case": case.name,
            "file": file.name,
            "content": repr(short[:600]),
            "text": found.text,
        }


def apart(case: Case, seconds: float) -> str | Fault:
    """The outcome in a process of its own, which may be killed."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.close(reading)
        found = outcome(case.call, case.folder, seconds)
        answer = {"found": found} if isinstance(found, str) else {"place": found.place, "text": found.text}
        os.write(writing, json.dumps(answer).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        end = time.monotonic() + seconds + 5
        while os.waitpid(process, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                return Fault(f"more than {seconds:g} s without hearing a signal", "")
            time.sleep(0.02)
        answer = json.loads(stream.read() or b'{"place": "the process died", "text": ""}')
    return str(answer["found"]) if "found" in answer else Fault(answer["place"], answer["text"])


def recipes(folder: Path, kind: str) -> list[Case]:
    """Configurations; ``plans`` also builds the model without values and attaches the methods."""
    from tests.support.desk import picture, records, write_lines

    from holdfast.config.loading import dump_config, load_config, locate
    from holdfast.tasks.resolve import expand, resolve_task

    for index in range(12):
        picture(folder / f"{index}.png", index)
    write_lines(folder / "data.jsonl", records())

    def call(name: str) -> Call:
        def read(folder: Path) -> None:
            file = folder / name
            config = load_config(file)
            again = folder / "again.yaml"
            again.write_text(dump_config(config), encoding="utf-8")
            assert load_config(again) == config, "what was written reads otherwise"
            try:
                if kind == "plans":
                    from holdfast.planning.plan import make_plan

                    make_plan(config)
                    return
                for spec in expand([*([config.target] if config.target else []), *config.sources]):
                    if not spec.data.startswith("pocket:"):  # those are drawn, not read
                        resolve_task(spec, base=folder, seed=config.seed, skip_bad=config.skip_bad)
            except HoldfastError as error:
                locate(error, file)
                raise

        return read

    cases = []
    for name, text in RECIPES.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        cases.append(Case(name, folder, (f"{name}.yaml",), call(f"{name}.yaml")))
    return cases


RECIPES = {
    "plain": "model: pocket\ntune: {llm: {method: lora, r: 2, alpha: 4}}\ntarget: data.jsonl\nseed: 3\n",
    "parts": """\
model: pocket
tune:
  vision: {method: bitfit, lr: 0.001}
  connector: full
  llm: {method: dora, r: 4, alpha: 8, dropout: 0.1}
keep: [{stabiliser: replay, ratio: 0.2}, ewc]
fuse: [{method: dare, drop: 0.5, components: [llm]}, wise_ft]
target:
  data: data.jsonl
  name: mine
  columns: {question: question, answer: answer}
  prompt: "{question} In one word."
  metric: exact_match
  validation: 0.2
  test: 0.2
sources: [{data: data.jsonl, name: other, limit: 3}, "pocket:count"]
""",
    "numbers": """\
# every number of the loop
model: pocket
tune: {llm: {method: full, lr: 1.0e-4}}
target: {data: data.jsonl, limit: 8, test_limit: 2, max_new_tokens: 4}
train: {epochs: 1, steps: 5, batch_size: 2, accumulate: 2, warmup: 0.1, schedule: linear, final_lr: 0.1,
        weight_decay: 0.01, betas: [0.9, 0.99], clip: 1, max_length: 64, precision: fp32, evaluate_every: 2,
        validation_limit: 3, patience: 2, checkpoint_every: 2, log_every: 1, trackers: []}
evaluate: {batch_size: 2, max_new_tokens: 2, options: likelihood, source_limit: 4}
speed: {share_images: off, feature_cache: "on", cache_dir: cache, cache_gb: 1, head: chunked, attention: eager}
""",
}
"""Small whole configurations; between them they hold every section and every kind of value."""


def data(folder: Path, kind: str) -> list[Case]:
    """Example files in every form, as every kind of file."""
    from tests.data.test_forms import SAME
    from tests.scoring.test_same_number import delimited, xlsx
    from tests.support.desk import picture, records

    from holdfast.data.readers import read_examples

    for index in range(3):
        picture(folder / f"{index}.png", index)

    def call(name: str) -> Call:
        def read(folder: Path) -> None:
            faults = [fault for problem in read_examples(folder / name).problems if (fault := said_well(problem))]
            if faults:
                raise AssertionError(faults[0].place)

        return read

    many = [{"id": f"r{index}", **row} for index, row in enumerate(SAME.values())]
    few = records(3)
    files: dict[str, bytes] = {
        "simple.jsonl": "".join(json.dumps(row) + "\n" for row in few).encode(),
        "forms.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in many).encode(),
        "forms.json": json.dumps(many, indent=1).encode(),
        "one.json": json.dumps([many[4]]).encode(),
        "choices.jsonl": "".join(
            json.dumps({**row, "choices": ["red", "blue"], "answers": [row.pop("answer"), "x"]}) + "\n"
            for row in records(3)
        ).encode(),
    }
    files["forms.jsonl.gz"] = gzip.compress(files["forms.jsonl"], mtime=0)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    delimited(folder / "cells.csv", few)
    delimited(folder / "cells.tsv", [{**row, "answers": json.dumps([row.pop("answer")])} for row in records(3)])
    xlsx(folder / "book.xlsx", few)
    names = [*files, "cells.csv", "cells.tsv", "book.xlsx"]
    return [Case(name, folder, (name,), call(name)) for name in (*names, "0.png")[:-1]] + [
        Case("a picture", folder, ("0.png",), call("simple.jsonl"))
    ]


def predictions(folder: Path, kind: str) -> list[Case]:
    """Prediction files in every layout, with the references beside them where the layout has none."""
    from tests.scoring.test_same_number import MAKERS, draw

    from holdfast.scoring.benchmarks import find_benchmark
    from holdfast.scoring.score import score_reading
    from holdfast.verdict.compare import compare

    cases = []
    for maker in MAKERS:
        place = folder / maker.__name__
        place.mkdir()
        made = maker(place, draw(1))

        def call(folder: Path, made: Any = made) -> None:
            score_reading(made.name, made.path, made.references)
            task = made.name if find_benchmark(made.name) else None
            metric = made.name if task is None else None
            compare(made.path, made.path, task=task, metric=metric, references=made.references)

        files = tuple(str(file.relative_to(place)) for file in sorted(place.rglob("*")) if file.is_file())
        cases.append(Case(maker.__name__, place, files, call))
    return cases


def downloads(folder: Path, kind: str) -> list[Case]:
    """The official download of every benchmark in miniature, made into a prepared folder."""
    from tests.support.miniatures import MAKERS

    from holdfast.tasks.cards import find_card
    from holdfast.tasks.preparing.write import prepare

    cases = []
    for name, make in MAKERS.items():
        root = folder / name
        make(root)

        def call(root: Path, name: str = name) -> None:
            out = root.parent / f"{name}-out"
            try:
                prepare(find_card(name), root, out)
            except HoldfastError:
                assert not out.exists(), "something half written is left"
                raise
            finally:
                shutil.rmtree(out, ignore_errors=True)

        cases.append(Case(name, root, within(root), call))
    return cases


def prepared(folder: Path, kind: str) -> list[Case]:
    """Prepared folders of every benchmark, read as a source."""
    from tests.support.miniatures import MAKERS

    from holdfast.config.schema import TaskSpec
    from holdfast.tasks.cards import find_card
    from holdfast.tasks.preparing.write import prepare
    from holdfast.tasks.resolve import resolve_task

    cases = []
    for name, make in MAKERS.items():
        make(folder / "downloads" / name)
        root = prepare(find_card(name), folder / "downloads" / name, folder / name).folder

        def call(root: Path) -> None:
            resolve_task(TaskSpec(data=str(root)), base=root.parent, seed=0, skip_bad=False)

        cases.append(Case(name, root, within(root), call))
    return cases


def within(root: Path) -> tuple[str, ...]:
    """The files below a folder that are no pictures: those have a case of their own, in ``data``."""
    found = (file for file in sorted(root.rglob("*")) if file.is_file() and not file.is_symlink())
    return tuple(str(file.relative_to(root)) for file in found if file.suffix not in {".png", ".jpg"})


def runs(folder: Path, kind: str) -> list[Case]:
    """A finished run: its verdict, its artifact on its base, and its own command once more, with its report."""
    from tests.support.desk import picture, records, write_lines
    from tests.support.tiny import save_llava

    from holdfast import api
    from holdfast.reports.run_report import write_run_report
    from holdfast.verdict.compare import compare

    save_llava(folder / "model")
    for index in range(12):
        picture(folder / f"{index}.png", index)
    write_lines(folder / "data.jsonl", records())
    recipe = {
        "model": str(folder / "model"),
        "tune": {"llm": {"method": "lora", "r": 2, "alpha": 4}, "connector": "full"},
        "keep": [{"stabiliser": "replay", "ratio": 0.5}],
        "target": {"data": str(folder / "data.jsonl"), "validation": 0.2, "test": 0.2},
        "sources": [{"data": str(folder / "data.jsonl"), "name": "other", "limit": 3}],
        "train": {"steps": 3, "batch_size": 2, "checkpoint_every": 1, "evaluate_every": 2, "trackers": []},
        "evaluate": {"max_new_tokens": 2},
    }
    api.tune(recipe, folder / "run")

    def each(ask: Callable[[Path], object]) -> Call:
        def call(run: Path) -> None:
            copy = run.parent / f"copy-{os.getpid()}"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(run, copy)
            try:
                ask(copy)
            finally:
                shutil.rmtree(copy, ignore_errors=True)

        return call

    asked: dict[str, Callable[[Path], object]] = {
        "verdict": lambda run: compare(run / "base", run),
        "artifact": api.load,
        "command": lambda run: write_run_report(run, [api.tune(recipe, run).scores]),
    }
    return [Case(name, folder / "run", within(folder / "run"), each(ask)) for name, ask in asked.items()]


def models(folder: Path, kind: str) -> list[Case]:
    """A model folder; two answers are asked of it."""
    from tests.support.desk import picture, records, write_lines
    from tests.support.tiny import save_llava

    from holdfast import api

    save_llava(folder / "model")
    for index in range(2):
        picture(folder / f"{index}.png", index)
    write_lines(folder / "data.jsonl", records(2))

    def call(folder: Path) -> None:
        out = folder / f"out-{os.getpid()}"
        try:
            api.evaluate(str(folder / "model"), [str(folder / "data.jsonl")], out, max_new_tokens=2)
        finally:
            shutil.rmtree(out, ignore_errors=True)

    files = sorted(str(file.relative_to(folder)) for file in (folder / "model").iterdir())
    return [Case(name, folder, (name,), call) for name in files]


def main() -> None:
    """Run what is asked for; exit code 1 where there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1600, help="of each cheap kind (default 1,600)")
    parser.add_argument("--model-rounds", type=int, default=200, help="of runs and of model folders (default 200)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this round of each kind")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args()
    kinds = [kind for kind in given.kinds.split(",") if kind]
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"unknown kinds {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    begun = time.monotonic()
    with workshop("fuzz") as folder:
        os.environ["HOLDFAST_CACHE"] = str(folder / "cache")
        fuzz = Fuzz(folder, given.seed)
        for kind in kinds:
            rounds = range(given.model_rounds if kind in SECONDS else given.rounds)
            fuzz.run(kind, [given.only] if given.only is not None else rounds)
            progress(f"{kind}: {time.monotonic() - begun:.0f} s, {len(fuzz.faults)} places with faults")
    report = {
        "seed": given.seed,
        "commit": commit(),
        "seconds": round(time.monotonic() - begun, 1),
        "counts": {kind: {"rounds": count.total(), **count} for kind, count in fuzz.counts.items()},
        "faults": fuzz.faults,
        "machine": machine(1),
    }
    if given.json:
        print(json.dumps(report, indent=1))
    else:
        show(report)
    sys.exit(bool(fuzz.faults))


def show(report: Mapping[str, Any]) -> None:
    """The counts as a table, then every fault."""
    columns = ("rounds", "taken", "refused", "faults")
    rows = [[kind, *(count.get(name, 0) for name in columns)] for kind, count in report["counts"].items()]
    print("\n".join(table(["kind", *columns], rows)))
    print(f"seed {report['seed']}, commit {report['commit']}, {report['seconds']} s")
    for place, fault in report["faults"].items():
        print(f"\n{place}, {fault['times']} times; round {fault['round']}, {fault['case']}, {fault['file']}")
        print(f"  {fault['content']}\n  " + fault["text"].strip().replace("\n", "\n  "))


if __name__ == "__main__":
    main()
