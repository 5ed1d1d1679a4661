"""A LLaVA-1.5 of 7B's shape on one CUDA GPU: tokens a second, share of the card's matrix rate, peak memory.

    python benchmarks/gpu.py                       # about 40 GB of GPU memory; LoRA, a 5 % mask, the last two layers
    python benchmarks/gpu.py --methods lora --images-per-batch 4 --images 32
    python benchmarks/gpu.py --tiny --device cpu   # the same code on a toy, to see that it runs

Random weights in bfloat16, made on the device: no download. Five questions a picture, whole pictures a batch, bfloat16
autocast, frozen encoder, AdamW, no gradient checkpointing in any arm. Methods: ``lora`` (rank 16, attention and MLP of
the llm), ``random_mask`` (5 % of the same matrices; TRL has no such thing, so it stands beside TRL's LoRA), ``layers``
(everything in the last two blocks). Arms: ``ours`` (every speed-up), ``ours_plain`` (no sharing, no cache), ``trl``.

Timed and not timed: as in ``training.py``; the device is waited for at the end of each step. Tokens are those that a
plain loop processes (every question a row with the picture in it, padding left out), in every arm, whatever the arm
spares itself. ``share`` is the work that cannot be done without (``floors.py``: picture once, answers only, encoder
once an epoch) over the time and over the rate of a bfloat16 product of 8192 x 8192 measured in the same process: the
same numerator in every arm of a method. Peak memory is ``torch.cuda.max_memory_allocated`` of the timed part, weights
included. The first step's losses must agree within ``--tolerance`` (bfloat16 rounds differently in each arm).
"""

from __future__ import annotations

import argparse
import gc
import sys
from dataclasses import replace
from typing import Any

from common import (
    Rounds,
    circumstances,
    heading,
    matrix_rate,
    median,
    play,
    progress,
    ratio,
    run_script,
    script_parser,
    spawn,
    split_names,
    spread,
    table,
    workshop,
)
from setting import Shape

SEVEN_B = Shape(
    tower="vit-l", image=336, layers=32, width=4096, inner=11008, heads=32, vocabulary=32064, dtype="bfloat16",
    device="cuda",
)  # fmt: skip
TINY = replace(SEVEN_B, tower="tiny", image=56, layers=3, width=64, inner=128, heads=4, vocabulary=500)
METHODS: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "lora": ({"r": 16, "alpha": 32, "dropout": 0.0}, "lora", ("trl", "ours_plain", "ours")),
    "random_mask": ({"ratio": 0.05, "modules": ["attention", "mlp"]}, "all", ("ours_plain", "ours")),
    "layers": ({"layers": "last:2"}, "last2", ("trl", "ours_plain", "ours")),
}
"""Options, what the floor counts as trained, and arms."""

RATES = {"lora": 1e-4, "random_mask": 2e-5, "layers": 2e-5}
BASE = "lora:trl"


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--methods", type=split_names, default=tuple(METHODS), help=f"default: {','.join(METHODS)}")
    parser.add_argument("--questions", type=int, default=5, help="questions a picture (default 5)")
    parser.add_argument("--images", type=int, default=16, help="pictures of the timed part (default 16)")
    parser.add_argument("--images-per-batch", type=int, default=2, help="default 2, so ten rows a step")
    parser.add_argument("--epochs", type=int, default=2, help="default 2")
    parser.add_argument("--layers", type=int, default=0, help="of the llm, for a smaller card; default: 7B's 32")
    parser.add_argument("--tolerance", type=float, default=0.05, help="of the first step's losses (default 0.05)")
    parser.add_argument("--device", default="cuda", help="default cuda")
    parser.add_argument("--tiny", action="store_true", help="a toy instead of 7B")
    run_script(parser, run_arm, measure, as_text)


def require(device: str, tiny: bool) -> None:
    """Leave with one sentence and exit code 2 where this cannot run."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        sentence = "this benchmark needs a CUDA GPU, and torch sees none; --tiny --device cpu runs the code on a toy"
    elif not device.startswith("cuda") and not tiny:
        sentence = f"a 7B model on '{device}' would take hours a step; give --tiny with --device {device}"
    else:
        return
    print(f"gpu.py: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds and what they come to."""
    require(options.device, options.tiny)
    unknown = [name for name in options.methods if name not in METHODS]
    if unknown:
        raise SystemExit(f"there is no method '{unknown[0]}' here; known: {', '.join(METHODS)}")
    if options.images % options.images_per_batch:
        raise SystemExit("--images must be a multiple of --images-per-batch, so that every step is whole pictures")
    shape = replace(TINY if options.tiny else SEVEN_B, device=options.device)
    if options.layers:
        shape = replace(shape, layers=options.layers)
    arms = [f"{method}:{arm}" for method in options.methods for arm in METHODS[method][2]]
    task = {name: getattr(options, name) for name in ("questions", "images", "images_per_batch", "epochs", "threads")}
    task |= {"shape": vars(shape), "matrix": 256 if options.tiny else 8192}
    rounds = play(
        options.rounds, arms, lambda arm: spawn(__file__, {**task, "arm": arm}, threads=options.threads), progress
    )
    check(rounds, options.tolerance)
    about = circumstances(options, task)
    about["machine"] |= card(options.device)
    return {**about, "arms": summarise(rounds), "rounds": rounds}


def card(device: str) -> dict[str, Any]:
    """The GPU in words."""
    import torch

    if not device.startswith("cuda"):
        return {}
    facts = torch.cuda.get_device_properties(device)
    return {"gpu": facts.name, "gpu_gib": round(facts.total_memory / 2**30, 1), "cuda": torch.version.cuda}


def run_arm(task: dict[str, Any]) -> dict[str, Any]:
    """One arm in this process: warm-up on other pictures, then the timed run."""
    import torch
    from arms import Job, run
    from floors import count, lengths
    from setting import build, make_examples

    torch.set_num_threads(task["threads"])
    method, arm = task["arm"].split(":")
    options, trained, _ = METHODS[method]
    shape, k = Shape(**task["shape"]), task["questions"]
    with workshop("gpu") as folder:
        loaded = build(shape)
        caches = [folder / "cache-warm", folder / "cache"]
        for cache in caches:
            cache.mkdir()
        warm = make_examples(shape, folder, images=task["images_per_batch"], questions=k, name="warm")
        made = make_examples(shape, folder, images=task["images"], questions=k)
        job = Job(tuple(warm), k * task["images_per_batch"], 1, method, options, RATES[method], "bf16")
        first = run(arm, loaded, job, cache=str(caches[0]), log=True)
        rate = matrix_rate(task["matrix"], device=shape.device, dtype=shape.dtype)
        _forget_peak(shape.device)
        job = replace(job, examples=tuple(made), epochs=task["epochs"])
        timed = run(arm, loaded, job, cache=str(caches[1]))
        peak = _peak(shape.device)
        operations, tokens = 0.0, 0
        for begin in range(0, len(made), k):
            prefix, branches, supervised = lengths(loaded, made[begin : begin + k], shape)
            operations += count(shape, branches, supervised, prefix=prefix, trained=trained)["total"]
            tokens += sum(prefix + length for length in branches)
    operations, tokens = operations * task["epochs"], tokens * task["epochs"]
    return {
        "loss": first.losses[0],
        "tokens_per_second": tokens / timed.seconds,
        "share": operations / timed.seconds / rate,
        "rate": rate,
        "peak": peak,
        **timed.facts(task["epochs"]),
    }


def _forget_peak(device: str) -> None:
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> float | None:
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.max_memory_allocated() / 2**30


def check(rounds: Rounds, tolerance: float) -> None:
    """The arms did the same: before the first step every method is the base model.

    Raises:
        SystemExit: Another loss at the first step, or another number of supervised tokens.
    """
    for one in rounds:
        first = next(iter(one.values()))
        for arm, found in one.items():
            if abs(found["loss"] - first["loss"]) > tolerance:
                raise SystemExit(f"{arm}: the loss of step 1 is {found['loss']}, elsewhere {first['loss']}")
            if found["supervised"] != first["supervised"]:
                raise SystemExit(f"{arm}: {found['supervised']} supervised tokens, elsewhere {first['supervised']}")


def summarise(rounds: Rounds) -> dict[str, dict[str, Any]]:
    """Rates of each arm and how many times as fast it is as TRL with the same method, or TRL's LoRA."""
    found = {}
    for arm in rounds[0]:
        own = arm.split(":")[0] + ":trl"
        base = own if own in rounds[0] else BASE if BASE in rounds[0] else None
        peaks = rounds[0][arm]["peak"] is not None
        found[arm] = {
            "loss_of_step_1": round(median(rounds, arm, "loss"), 4),
            "seconds_per_step": median(rounds, arm, "step"),
            "tokens_per_second": median(rounds, arm, "tokens_per_second"),
            "supervised_per_second": median(rounds, arm, "per_second"),
            "share_of_rate": median(rounds, arm, "share"),
            "peak_gib": median(rounds, arm, "peak") if peaks else None,
            "base": base,
            "times_base": ratio(rounds, base, arm, "seconds") if base else None,
            "times_base_range": spread(rounds, base, arm, "seconds") if base else None,
            "peak_over_base": ratio(rounds, arm, base, "peak") if base and peaks else None,
            "rate_tflops": median(rounds, arm, "rate") / 1e12,
        }
    return found


def as_text(report: dict[str, Any]) -> str:
    """A table for reading."""
    arms = report["arms"]
    header = [
        "arm",
        "loss 1",
        "s/step",
        "tok/s",
        "superv. tok/s",
        "share",
        "peak GiB",
        "base",
        "/ base",
        "range",
        "peak /",
    ]
    keys = ["loss_of_step_1", "seconds_per_step", "tokens_per_second", "supervised_per_second", "share_of_rate"]
    keys += ["peak_gib", "base", "times_base", "times_base_range", "peak_over_base"]
    rate = max(row["rate_tflops"] for row in arms.values())
    lines = [*heading(report), f"measured bfloat16 matrix rate: {rate:.2f} TFLOP/s", ""]
    return "\n".join([*lines, *table(header, [[arm, *(row[key] for key in keys)] for arm, row in arms.items()])])


if __name__ == "__main__":
    main()
