"""What `tune` does before step 1 on large data, beside decoding its pictures once.

    python benchmarks/start.py
    python benchmarks/start.py --items 20000 --images 4000

N items on M distinct JPEGs are made in a temporary folder and deleted afterwards. Arms, each in a fresh process, in
this order: ``decode`` (all pictures decoded once by Pillow, a process a core: the least that a first look can take);
``first`` (``tune`` of the pocket model on them, from the call to the ledger, the last thing before step 1: items read,
pictures decoded and digested, the model loaded, sizes tried on its processor, fingerprint and leaks); ``second`` (the
same command again, into a run folder of its own, with what the first start remembered).

Seconds count from the call, when everything is imported and a pocket model was loaded once; ``process`` counts these,
too. ``decode`` counts from the start of its pool, and makes every pixel; ``first`` makes those of a JPEG at an eighth
of its sides (``holdfast.data.images.decode`` says why that finds the same damage). ``cpu`` is what process and workers
computed in that time. The garbage collector is asked what the command line asks it (``importing.py``). All arms find
the files in the page cache, where they come from being written. Memory is the sum of the high-water marks (VmHWM) of
the process and the workers that live with it, the largest seen; pages that they share count more than once. Asked for:
``first`` within 1.3 x ``decode``, the process of ``second`` under 15 s, memory under 700 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import circumstances, heading, median, progress, ratio, run_script, script_parser, spread, table, workshop
from PIL import Image

from holdfast.data.contents import GAP, cores

ARMS = ("decode", "first", "second")
RECIPE = {
    "model": "pocket",
    "tune": {"vision": "frozen", "connector": "frozen", "llm": {"method": "lora", "r": 8, "lr": 1e-3}},
    "target": "items.jsonl",
    "train": {"steps": 1, "batch_size": 16},
}
COLOURS = ("red", "green", "blue")


class _ReadyError(Exception):
    """Step 1 would be next."""


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--items", type=int, default=100_000, help="lines of the data file (default 100000)")
    parser.add_argument("--images", type=int, default=20_000, help="distinct pictures (default 20000)")
    parser.add_argument("--side", type=int, default=336, help="of a picture, in pixels (default 336)")
    run_script(parser, run_arm, measure, as_text, rounds=1)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds and what they come to."""
    task = {"items": options.items, "images": options.images, "side": options.side}
    about = circumstances(options, task)
    rounds = []
    with workshop("start") as folder:
        megabytes = make(folder, **task) / 1e6
        time.sleep(GAP / 1e9 + 1)  # files that were just written are not remembered
        for number in range(options.rounds):
            shutil.rmtree(folder / "cache", ignore_errors=True)
            found = {}
            for arm in ARMS:
                found[arm] = watched(arm, folder, options.threads)
                progress(f"round {number + 1}/{options.rounds}, {arm}: {found[arm]['process']:.0f} s")
            rounds.append(found)
    columns = ("seconds", "cpu", "process", "mb")
    arms: dict[str, dict[str, Any]] = {arm: {name: median(rounds, arm, name) for name in columns} for arm in ARMS}
    for arm in ARMS[1:]:
        arms[arm] |= {
            "times": ratio(rounds, arm, "decode", "seconds"),
            "range": spread(rounds, arm, "decode", "seconds"),
            "steps": {
                name: statistics.median(one[arm]["steps"][name] for one in rounds) for name in rounds[0][arm]["steps"]
            },
        }
    return {**about, "megabytes": megabytes, "arms": arms, "rounds": rounds}


def make(folder: Path, *, items: int, images: int, side: int) -> int:
    """Write pictures, items and recipe; the bytes of all pictures."""
    (folder / "pictures").mkdir()
    with ProcessPoolExecutor(cores()) as pool:
        size = sum(pool.map(partial(draw, folder / "pictures", side), range(images), chunksize=64))
    with (folder / "items.jsonl").open("w", encoding="utf-8") as stream:
        for item in range(items):
            picture = item % images
            row = {
                "id": f"q{item}",
                "image": f"pictures/{picture}.jpg",
                "question": f"what colour is thing {item} ?",
                "answer": COLOURS[item % 3],
            }
            stream.write(json.dumps(row) + "\n")
    (folder / "recipe.json").write_text(json.dumps(RECIPE), encoding="utf-8")  # JSON is YAML
    return size


def draw(folder: Path, side: int, number: int) -> int:
    """A picture of soft shapes and some grain, which takes as many bytes as a photograph; its bytes on disk."""
    random = np.random.default_rng(number)
    soft = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    grain = random.integers(-12, 13, (side, side, 1), dtype=np.int16)
    pixels = np.clip(np.asarray(soft, dtype=np.int16) + grain, 0, 255).astype(np.uint8)
    file = folder / f"{number}.jpg"
    Image.fromarray(pixels).save(file, quality=85)
    return file.stat().st_size


def watched(arm: str, folder: Path, threads: int) -> dict[str, Any]:
    """What an arm's own process says, its seconds from start to end, and the memory it and its workers took.

    Raises:
        SystemExit: The process failed; with the end of what it wrote.
    """
    environment = os.environ | {
        "OMP_WAIT_POLICY": "passive",
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "HOLDFAST_CACHE": str(folder / "cache"),
    }
    task = {"arm": arm, "folder": str(folder)}
    said, wrong = folder / f"{arm}.out", folder / f"{arm}.err"
    with said.open("wb") as out, wrong.open("wb") as err:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, __file__, "--child", json.dumps(task)], env=environment, stdout=out, stderr=err
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(high_water, family(process.pid))))
            time.sleep(0.1)
        seconds = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{arm} failed:\n{wrong.read_text(encoding='utf-8')[-3000:]}")
    found: dict[str, Any] = json.loads(said.read_text(encoding="utf-8").splitlines()[-1])
    return {**found, "process": seconds, "mb": peak / 1e6}


def family(process: int) -> Iterator[int]:
    """A process and all that descend from it and live."""
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            for child in children.read_text(encoding="ascii").split():
                yield from family(int(child))
        except OSError:  # ended meanwhile
            continue


def high_water(process: int) -> int:
    """The most bytes that a process has had in memory; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def run_arm(task: dict[str, Any]) -> dict[str, Any]:
    """One arm, in this process."""
    folder = Path(task["folder"])
    return decode_all(folder / "pictures") if task["arm"] == "decode" else start(folder, folder / task["arm"])


def decode_all(folder: Path) -> dict[str, Any]:
    """Seconds of decoding every picture once."""
    files = sorted(map(str, folder.iterdir()))
    begun, before = time.perf_counter(), computed()
    with ProcessPoolExecutor(cores()) as pool:
        pixels = sum(pool.map(decode, files, chunksize=64))
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "cpu": computed() - before, "pictures": len(files), "pixels": pixels}


def computed() -> float:
    """Seconds of processor that this process and its workers that have ended took."""
    return sum(os.times()[:4])


def decode(file: str) -> int:
    """Pixels of a picture that was decoded whole."""
    with Image.open(file) as image:
        image.load()
        return image.width * image.height


def start(folder: Path, out: Path) -> dict[str, Any]:
    """Seconds of what ``tune`` does before step 1, whole and up to its events; pictures that were told of."""
    import peft

    from holdfast import api, importing
    from holdfast.events import Event, LedgerWritten, LoadingModel, PicturesChecked
    from holdfast.models.loading import load_model
    from holdfast.runs import run

    importing.begin()
    assert peft and run and load_model("pocket")  # the clock begins behind all imports, of which many are a model's
    importing.begin()  # as where the command begins to read
    moments: dict[str, float] = {}
    told: list[int] = []

    def listen(event: Event) -> None:
        now = time.perf_counter()
        match event:
            case PicturesChecked(done=done):
                moments.setdefault("items read", now)
                moments["pictures checked"] = now
                told.append(done)
            case LoadingModel():
                moments["items divided"] = now
            case LedgerWritten():
                moments["model loaded, fingerprint, leaks"] = now
                raise _ReadyError
            case _:
                pass

    begun = last = time.perf_counter()
    before = computed()
    try:
        api.tune(folder / "recipe.json", out, listen=listen)
    except _ReadyError:
        seconds = time.perf_counter() - begun
    else:
        raise SystemExit("step 1 was to be next, and the run has ended")
    steps = {}
    for name, moment in moments.items():
        steps[name], last = moment - last, moment
    cpu = computed() - before
    return {"seconds": seconds, "cpu": cpu, "steps": steps, "remembered": told[0], "pictures": told[-1]}


def as_text(report: dict[str, Any]) -> str:
    """A table for reading."""
    rows = [
        [arm, row["seconds"], row["cpu"], row["process"], row["mb"], row.get("times"), row.get("range")]
        for arm, row in report["arms"].items()
    ]
    steps = [
        f"{arm}: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in report["arms"][arm]["steps"].items())
        for arm in ARMS[1:]
    ]
    header = ["arm", "s", "cpu s", "process s", "MB", "/ decode", "range"]
    size = f"pictures: {report['megabytes']:,.0f} MB"
    return "\n".join([*heading(report), size, "", *table(header, rows), "", *steps])


if __name__ == "__main__":
    main()
