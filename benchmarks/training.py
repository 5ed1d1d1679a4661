"""Supervised tokens per second of training: Holdfast against TRL's SFTTrainer and transformers' Trainer with PEFT.

    python benchmarks/training.py                              # 5 questions a picture, two epochs
    python benchmarks/training.py --epochs 10 --arms trl,ours  # ten epochs, every one of them run
    python benchmarks/training.py --questions 1                # nothing to share; ours with everything off, too
    python benchmarks/training.py --only share                 # one switch alone against everything off
    python benchmarks/training.py --only cache --tower vit-l   # the later epochs' column is the one to read
    python benchmarks/training.py --model pocket --images 8

LoRA (rank 16, attention and MLP of the llm, no dropout) on a LLaVA with random weights: a CLIP ViT-B/14 at 336 pixels
(576 image tokens) before a Llama of 8 layers of width 512 with the 128,256 words of Llama 3.2. float32, frozen encoder,
AdamW, no gradient checkpointing, batches of whole pictures. TRL's own default for checkpointing is on; here it is off
in every arm, as is all logging.

Arms: ``trl``; ``trainer`` (transformers' Trainer, ``get_peft_model``, a collator by hand); ``ours`` (every speed-up by
itself); ``ours_plain`` (no sharing, no cache; the head where labels are, the frozen encoder outside the graph);
``ours_off`` (every switch off, the head at every position); ``share`` and ``cache`` (that switch alone on).

Timed: the whole call of ``fit()`` or ``train()``, so reading and decoding pictures, tokenizing, the digest of the
encoder's weights, filling the feature cache with every picture, comparing shared with separate rows, every step. Also
timed for ours: making the Trainer. Not timed: imports, building the model, attaching LoRA, making the peers' trainer
objects, and a warm-up step on pictures that are not in the timed part (with the cache some more, in which it proves
itself, as it does once a model). It also checks that the arms do the same: its loss must agree to 1e-4 and the numbers
of supervised tokens must be equal. Each arm runs in a fresh process once a round, interleaved; ratios are medians over
rounds of the ratio within a round. Nothing is extrapolated: ``--epochs 10`` runs ten.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from common import (
    Rounds,
    circumstances,
    heading,
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
from setting import Shape, shape_arguments, shape_of

TOLERANCE = 1e-4
BASES = ("trl", "trainer", "ours_off")
CACHING = ("ours", "cache")
"""Arms with the feature cache."""


def main() -> None:
    parser = script_parser(__doc__)
    shape_arguments(parser)
    parser.add_argument("--questions", type=int, default=5, help="questions a picture (default 5)")
    parser.add_argument("--images", type=int, default=4, help="pictures of the timed part (default 4)")
    parser.add_argument("--images-per-batch", type=int, default=1, help="pictures a step; all their questions with it")
    parser.add_argument("--epochs", type=int, default=2, help="passes, all of them run (default 2)")
    parser.add_argument("--only", choices=("share", "cache"), help="this switch alone against everything off")
    parser.add_argument("--arms", type=split_names, help="comma-separated; default: by the other flags")
    run_script(parser, run_arm, measure, as_text)


def arms_of(options: argparse.Namespace) -> tuple[str, ...]:
    """What is compared, the base last where there is one."""
    if options.arms:
        return tuple(options.arms)
    if options.only:
        return (options.only, "ours_off")
    if options.questions == 1:
        return ("trl", "trainer", "ours_plain", "ours_off")
    return ("trl", "trainer", "ours", "ours_off")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds and what they come to."""
    if options.only == "cache" and "--questions" not in sys.argv:
        options.questions = 1
    if options.images % options.images_per_batch:
        raise SystemExit("--images must be a multiple of --images-per-batch, so that every step is whole pictures")
    arms = arms_of(options)
    task = {name: getattr(options, name) for name in ("questions", "images", "images_per_batch", "epochs", "threads")}
    task["shape"] = vars(shape_of(options))
    rounds = play(
        options.rounds, arms, lambda arm: spawn(__file__, {**task, "arm": arm}, threads=options.threads), progress
    )
    check(rounds)
    return {
        **circumstances(options, task),
        "arms": summarise(rounds),
        "rounds": rounds,
    }


def run_arm(task: dict[str, Any]) -> dict[str, Any]:
    """One arm in this process: warm-up on other pictures, then the timed run."""
    import torch
    from arms import Job, run
    from setting import build, make_examples

    torch.set_num_threads(task["threads"])
    shape, each = Shape(**task["shape"]), task["images_per_batch"]
    batch = task["questions"] * each
    with workshop("training") as folder:
        loaded = build(shape)
        made = {
            name: tuple(make_examples(shape, folder, images=count, questions=task["questions"], name=name))
            for name, count in (("warm", each), ("prove", each), ("train", task["images"]))
        }
        cache = str(folder / "cache")
        warm = run(task["arm"], loaded, Job(made["warm"], batch), cache=cache, log=True)
        if task["arm"] in CACHING:  # the cache engages from two passes on, and proves itself on two pictures
            run(task["arm"], loaded, Job(made["warm"] + made["prove"], batch, epochs=2), cache=cache)
        job = Job(made["train"], batch, epochs=task["epochs"])
        timed = run(task["arm"], loaded, job, cache=cache)
    if len(timed.marks) != job.steps:
        raise SystemExit(f"{task['arm']} made {len(timed.marks)} steps instead of {job.steps}")
    return {"loss": warm.losses[0], "warm_supervised": warm.supervised, **timed.facts(task["epochs"])}


def check(rounds: Rounds) -> None:
    """The arms did the same.

    Raises:
        SystemExit: Another loss at the first step, or another number of supervised tokens.
    """
    for one in rounds:
        first = next(iter(one.values()))
        for arm, found in one.items():
            if abs(found["loss"] - first["loss"]) > TOLERANCE:
                raise SystemExit(f"{arm}: the loss of step 1 is {found['loss']}, elsewhere {first['loss']}")
            for name in ("supervised", "warm_supervised"):
                if found[name] != first[name]:
                    raise SystemExit(f"{arm}: {found[name]} supervised tokens, elsewhere {first[name]}")


def summarise(rounds: Rounds) -> dict[str, dict[str, Any]]:
    """Seconds of each arm and how many times as fast it is as each base that was run."""
    found = {}
    for arm in rounds[0]:
        row: dict[str, Any] = {
            "loss_of_step_1": round(median(rounds, arm, "loss"), 6),
            "supervised_per_second": median(rounds, arm, "per_second"),
            "seconds_per_step": median(rounds, arm, "step"),
            "total_seconds": median(rounds, arm, "seconds"),
            "first_epoch": median(rounds, arm, "first_epoch"),
            "later_epoch": None,
            "engaged": rounds[0][arm]["engaged"],
        }
        later = rounds[0][arm]["later_epoch"] is not None
        if later:
            row["later_epoch"] = median(rounds, arm, "later_epoch")
        for base in (base for base in BASES if base in rounds[0]):
            row[f"times_{base}"] = ratio(rounds, base, arm, "seconds")
            row[f"times_{base}_range"] = spread(rounds, base, arm, "seconds")
            row[f"times_{base}_later"] = ratio(rounds, base, arm, "later_epoch") if later else None
        found[arm] = row
    return found


def as_text(report: dict[str, Any]) -> str:
    """Tables for reading."""
    arms = report["arms"]
    bases = [base for base in BASES if base in arms]
    first = [
        "loss_of_step_1",
        "supervised_per_second",
        "seconds_per_step",
        "total_seconds",
        "first_epoch",
        "later_epoch",
    ]
    lines = [*heading(report), ""]
    header = ["arm", "loss 1", "superv. tok/s", "s/step", "total s", "1st epoch s", "later epoch s"]
    lines += table(header, [[arm, *(row[name] for name in first)] for arm, row in arms.items()])
    lines += ["", "times as fast as the base (median of ratios within a round; range over rounds; later epochs alone)"]
    header = ["arm"] + [text for base in bases for text in (f"/ {base}", "range", "later")]
    keys = [name for base in bases for name in (f"times_{base}", f"times_{base}_range", f"times_{base}_later")]
    lines += table(header, [[arm, *(row[key] for key in keys)] for arm, row in arms.items()])
    lines.append("")
    for arm, row in arms.items():
        if row["engaged"]:
            lines.append(f"{arm}: " + "; ".join(f"{name}: {text}" for name, text in row["engaged"].items()))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
