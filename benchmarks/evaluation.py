"""Questions a second of a POPE-like task: Holdfast's ``predict`` against loops over ``model.generate``.

    python benchmarks/evaluation.py                       # six questions a picture, a LLaVA of random weights
    python benchmarks/evaluation.py --model pocket --images 20
    python benchmarks/evaluation.py --likelihood          # and scoring "yes" and "no" instead of generating

Six yes/no questions on each picture, greedy, at most ``--max-new-tokens`` tokens. Random weights seldom say the end
token, so every arm goes to that limit; a tuned model ends after one or two tokens, as with ``--max-new-tokens 2``.

Arms: ``one`` (the published POPE scripts' way: one question at a time); ``batch`` (the questions of one picture
together, left-padded); ``big`` (``--big`` questions together); ``ours`` (``predict`` with every speed-up, batches of
``--big``); ``ours_off`` (``predict`` with every switch off). With ``--likelihood``: ``options_loop`` (both options of
a question as two rows of one forward) and ``options_ours`` (``predict(..., options="likelihood")``).

Timed: from the list of questions to the list of answers, so reading and decoding pictures and tokenizing are inside;
for ours also writing the prediction file. Not timed: imports, building the model, and the same on one other picture.
The answers of all generating arms must be equal, and those of both scoring arms. Each arm runs in a fresh process
once a round, interleaved; ratios are medians over rounds of the ratio within a round.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
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
from setting import Shape, as_text, shape_arguments, shape_of

GENERATING = ("one", "batch", "big", "ours", "ours_off")
SCORING = ("options_loop", "options_ours")
CHOICES = ("yes", "no")
BASES = ("one", "batch", "big", "options_loop")


def main() -> None:
    parser = script_parser(__doc__)
    shape_arguments(parser)
    parser.add_argument("--images", type=int, default=4, help="pictures (default 4)")
    parser.add_argument("--questions", type=int, default=6, help="questions a picture (default 6)")
    parser.add_argument("--max-new-tokens", type=int, default=8, help="longest answer (default 8)")
    parser.add_argument("--big", type=int, default=24, help="questions of a large batch (default 24)")
    parser.add_argument("--likelihood", action="store_true", help="the scoring arms, too")
    parser.add_argument("--arms", type=split_names, help="comma-separated; default: all")
    run_script(parser, run_arm, measure, to_text)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds and what they come to."""
    arms = tuple(options.arms or ()) or GENERATING + (SCORING if options.likelihood else ())
    task = {name: getattr(options, name) for name in ("images", "questions", "max_new_tokens", "big", "threads")}
    task["shape"] = vars(shape_of(options))
    rounds = play(
        options.rounds, arms, lambda arm: spawn(__file__, {**task, "arm": arm}, threads=options.threads), progress
    )
    check(rounds)
    for one in rounds:
        for found in one.values():
            found["answers"] = len(found["answers"])
    return {
        **circumstances(options, task),
        "arms": summarise(rounds),
        "rounds": rounds,
    }


def run_arm(task: dict[str, Any]) -> dict[str, Any]:
    """One arm in this process: once on another picture, then timed."""
    import torch
    from setting import build, make_examples

    torch.set_num_threads(task["threads"])
    shape = Shape(**task["shape"])
    with workshop("evaluation") as folder:
        loaded = build(shape)
        made = {
            name: make_examples(
                shape, folder, images=count, questions=task["questions"], question=(6, 10), choices=CHOICES, name=name
            )
            for name, count in (("warm", 1), ("test", task["images"]))
        }
        answer(loaded, task, made["warm"], folder / "warm.jsonl")
        begun = time.perf_counter()
        answers = answer(loaded, task, made["test"], folder / "test.jsonl")
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "per_second": len(answers) / seconds, "answers": answers}


def answer(loaded: Any, task: dict[str, Any], examples: Sequence[Any], file: Path) -> dict[str, str]:
    """What the arm says to each question, by id."""
    arm, limit = task["arm"], task["max_new_tokens"]
    if arm.startswith("ours") or arm == "options_ours":
        return by_predict(loaded, arm, examples, file, limit, task["big"])
    if arm == "options_loop":
        return by_rows(examples, 1, lambda rows: [by_options(loaded, rows[0])])
    size = {"one": 1, "batch": task["questions"], "big": task["big"]}[arm]
    return by_rows(examples, size, lambda rows: generate(loaded, rows, limit))


def by_rows(examples: Sequence[Any], size: int, say: Callable[[Sequence[Any]], list[str]]) -> dict[str, str]:
    """Batch after batch in the order of the task."""
    found = {}
    for begin in range(0, len(examples), size):
        rows = examples[begin : begin + size]
        found |= dict(zip((example.id for example in rows), say(rows), strict=True))
    return found


def generate(loaded: Any, examples: Sequence[Any], limit: int) -> list[str]:
    """What a person writes by hand: processor, left padding, ``generate``, decode."""
    import torch
    from PIL import Image

    chat = loaded.chat
    texts = [chat.render(example, with_answer=False).text for example in examples]
    images = [[Image.open(path).convert("RGB") for path in example.images] for example in examples]
    batch = chat.processor(
        text=texts, images=images, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt"
    ).to(loaded.device)
    with torch.no_grad():
        ids = loaded.model.generate(
            **batch, max_new_tokens=limit, do_sample=False, num_beams=1, pad_token_id=chat.tokenizer.pad_token_id
        )
    new = ids[:, batch["input_ids"].shape[1] :]
    return [text.strip() for text in chat.tokenizer.batch_decode(new, skip_special_tokens=True)]


def by_options(loaded: Any, example: Any) -> str:
    """The likelier of the options, each scored as a row of its own: the sum over its tokens and the end token."""
    import torch
    from PIL import Image

    chat = loaded.chat
    prompt = as_text(loaded, example)[0]
    texts = [prompt + choice + chat.tokenizer.eos_token for choice in example.choices]
    images = [[Image.open(path).convert("RGB") for path in example.images] for _ in texts]
    batch = chat.processor(
        text=texts, images=images, padding=True, padding_side="right", add_special_tokens=False, return_tensors="pt"
    ).to(loaded.device)
    counts = [
        len(chat.tokenizer(choice + chat.tokenizer.eos_token, add_special_tokens=False)["input_ids"])
        for choice in example.choices
    ]
    with torch.no_grad():
        logits = loaded.model(**batch).logits.float().log_softmax(dim=-1)
    scores = []
    for row, (count, kept) in enumerate(zip(counts, batch["attention_mask"].sum(dim=1).tolist(), strict=True)):
        places = torch.arange(kept - count, kept, device=logits.device)
        scores.append(float(logits[row, places - 1, batch["input_ids"][row, places]].sum()))
    return str(example.choices[scores.index(max(scores))])


def by_predict(
    loaded: Any, arm: str, examples: Sequence[Any], file: Path, limit: int, batch_size: int
) -> dict[str, str]:
    """Holdfast's own evaluation, prediction file included."""
    from arms import OFF

    from holdfast.config.schema import Speed
    from holdfast.inference.predict import predict
    from holdfast.tasks.task import Task

    switched: dict[str, dict[str, Any]] = {"ours_off": OFF, "ours_alone": {"workers": 0}}
    speed = Speed.model_validate(switched.get(arm, {}))
    more: dict[str, Any] = {"options": "likelihood"} if arm == "options_ours" else {}
    task = Task("pope-like", (), (), tuple(examples))
    predict(loaded, task, file, batch_size=batch_size, max_new_tokens=limit, speed=speed, **more)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
    return {row["id"]: row["prediction"] for row in rows if "prediction" in row}


def check(rounds: Rounds) -> None:
    """The generating arms answered alike, and so did the scoring arms.

    Raises:
        SystemExit: They did not; with the first question that tells them apart.
    """
    for one in rounds:
        for group in (GENERATING, SCORING):
            arms = [arm for arm in group if arm in one]
            for arm in arms[1:]:
                wanted, found = one[arms[0]]["answers"], one[arm]["answers"]
                apart = [key for key in wanted if wanted[key] != found.get(key)]
                if apart or len(wanted) != len(found):
                    key = apart[0] if apart else "?"
                    raise SystemExit(
                        f"{arm} answers {len(apart)} of {len(wanted)} questions unlike {arms[0]}, first {key}: "
                        f"{found.get(key)!r} instead of {wanted.get(key)!r}"
                    )


def summarise(rounds: Rounds) -> dict[str, dict[str, Any]]:
    """Seconds of each arm and how many times as fast it is as each loop."""
    found = {}
    for arm in rounds[0]:
        row: dict[str, Any] = {
            "seconds": median(rounds, arm, "seconds"),
            "questions_per_second": median(rounds, arm, "per_second"),
        }
        for base in (base for base in BASES if base in rounds[0]):
            row[f"times_{base}"] = ratio(rounds, base, arm, "seconds")
            row[f"times_{base}_range"] = spread(rounds, base, arm, "seconds")
        found[arm] = row
    return found


def to_text(report: dict[str, Any]) -> str:
    """A table for reading."""
    arms = report["arms"]
    bases = [base for base in BASES if base in arms]
    header = ["arm", "s", "questions/s"] + [text for base in bases for text in (f"/ {base}", "range")]
    keys = ["seconds", "questions_per_second"]
    keys += [name for base in bases for name in (f"times_{base}", f"times_{base}_range")]
    rows = [[arm, *(row[key] for key in keys)] for arm, row in arms.items()]
    return "\n".join([*heading(report), "", *table(header, rows), "answers agreed in every round"])


if __name__ == "__main__":
    main()
