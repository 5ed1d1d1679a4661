"""Peak memory of one LoRA step with a vocabulary of 151,936: transformers' own loss against Holdfast's.

    python benchmarks/memory.py                       # short answers: 1 to 4 words
    python benchmarks/memory.py --answer-tokens 256   # long answers, where the head in pieces matters

A LLaVA with a small encoder and a narrow llm, so that the logits are most of what a step holds: five questions on one
picture as five rows. Arms: ``plain`` (``get_peft_model``, ``model(**batch).loss``, AdamW: logits at every position, and
once more in float32); ``head`` (Holdfast with ``head: auto`` and every other switch off); ``chunked`` (the same with
``head: chunked``); ``ours`` (Holdfast with every speed-up).

One process an arm. Memory is the highest resident size during two steps (the moments are made in the first and live
through the second's backward pass) less the resident size with the model loaded and the libraries warm: ``VmHWM`` after
``clear_refs``, with an allocator that gives freed memory back at once. That makes it slower, so time is not reported.
Peak memory hardly differs between runs; ``--rounds`` repeats it all the same and ratios are medians within a round.
"""

from __future__ import annotations

import argparse
import gc
from typing import Any

from common import (
    MIB,
    Rounds,
    circumstances,
    forget_highest,
    heading,
    highest,
    median,
    play,
    progress,
    ratio,
    resident,
    run_script,
    script_parser,
    spawn,
    table,
    workshop,
)
from setting import Shape, shape_arguments, shape_of

ARMS = ("plain", "head", "chunked", "ours")
TOLERANCE = 1e-4


def main() -> None:
    parser = script_parser(__doc__)
    shape_arguments(parser, tower="tiny", image=112, layers=4, width=256, vocabulary=151_936)
    parser.add_argument("--questions", type=int, default=5, help="questions a picture, rows of the step (default 5)")
    parser.add_argument("--answer-tokens", type=int, default=0, help="words of each answer; default: 1 to 4")
    run_script(parser, run_arm, measure, as_text, rounds=3)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds and what they come to."""
    task = {name: getattr(options, name) for name in ("questions", "answer_tokens", "threads")}
    task["shape"] = vars(shape_of(options))

    def run(arm: str) -> dict[str, Any]:
        return spawn(__file__, {**task, "arm": arm}, threads=options.threads, tight=True)

    rounds = play(options.rounds, ARMS, run, progress)
    check(rounds)
    arms = {
        arm: {
            "peak_mib": round(median(rounds, arm, "peak") / MIB, 1),
            "over_plain": ratio(rounds, arm, "plain", "peak"),
        }
        for arm in ARMS
    }
    return {
        **circumstances(options, task),
        "tokens": {name: rounds[0]["plain"][name] for name in ("rows", "positions", "supervised")},
        "arms": arms,
        "rounds": rounds,
    }


def check(rounds: Rounds) -> None:
    """Every arm computed the same loss.

    Raises:
        SystemExit: It did not.
    """
    for one in rounds:
        for arm, found in one.items():
            if abs(found["loss"] - one["plain"]["loss"]) > TOLERANCE:
                raise SystemExit(f"{arm}: the loss of step 1 is {found['loss']}, elsewhere {one['plain']['loss']}")


def run_arm(task: dict[str, Any]) -> dict[str, Any]:
    """One arm in this process: the rise of resident memory over two steps, in bytes."""
    import torch
    from arms import OFF, Job, ours
    from setting import build, make_examples

    torch.set_num_threads(task["threads"])
    shape = Shape(**task["shape"])
    words = (task["answer_tokens"], task["answer_tokens"]) if task["answer_tokens"] else (1, 4)
    speeds = {"head": OFF | {"head": "auto"}, "chunked": OFF | {"head": "chunked"}, "ours": {}}
    with workshop("memory") as folder:
        loaded = build(shape)
        made = make_examples(shape, folder, images=1, questions=task["questions"], answer=words)
        small = Shape(tower="tiny", image=28, layers=1, width=64, vocabulary=100)
        warm(small, task["arm"], speeds, folder)
        job = Job(tuple(made), len(made), epochs=2)
        cache = folder / "cache"
        cache.mkdir()
        gc.collect()
        before = resident()
        forget_highest()
        if task["arm"] == "plain":
            losses = plain(loaded, job)
        else:
            losses = ours(loaded, job, speeds[task["arm"]], cache=str(cache)).losses
        peak = highest() - before
        batch = loaded.chat.encode(made, with_answers=True)
    return {
        "peak": peak,
        "loss": losses[0],
        "rows": len(made),
        "positions": int(batch["attention_mask"].sum()),
        "supervised": int((batch["labels"][:, 1:] != -100).sum()),
    }


def warm(shape: Shape, arm: str, speeds: dict[str, Any], folder: Any) -> None:
    """The same on a toy, so that what libraries load at their first use counts for no arm."""
    from arms import Job, ours
    from setting import build, make_examples

    loaded = build(shape)
    made = make_examples(shape, folder, images=1, questions=2, name="warm")
    job = Job(tuple(made), 2, options={"r": 4, "alpha": 8, "dropout": 0.0})
    if arm == "plain":
        plain(loaded, job)
    else:
        cache = folder / "cache-warm"
        cache.mkdir()
        ours(loaded, job, speeds[arm], cache=str(cache))


def plain(loaded: Any, job: Any) -> list[float]:
    """The loop that a person writes by hand around transformers' own loss."""
    import torch
    from arms import lora, plain_collator
    from peft import get_peft_model

    model = get_peft_model(loaded.model, lora(loaded, job)).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=job.lr)
    batch = plain_collator(loaded)(job.examples)
    losses = []
    for _ in range(job.steps):
        loss = model(**batch).loss
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        del loss
    model.unload()
    return losses


def as_text(report: dict[str, Any]) -> str:
    """A table for reading."""
    tokens = report["tokens"]
    lines = [
        *heading(report),
        f"batch: {tokens['rows']} rows, {tokens['positions']:,} positions, {tokens['supervised']:,} supervised",
        "",
    ]
    rows = [[arm, row["peak_mib"], row["over_plain"]] for arm, row in report["arms"].items()]
    return "\n".join([*lines, *table(["arm", "peak MiB", "/ plain"], rows)])


if __name__ == "__main__":
    main()
