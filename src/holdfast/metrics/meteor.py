"""METEOR 1.5 by its own Java program: an optional extra, run only where Java and the jar are present."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from math import fsum
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, check_items
from holdfast.metrics.captions import tokens
from holdfast.predictions.record import ItemScore, Prediction, Score

JAR_VARIABLE = "HOLDFAST_METEOR_JAR"


def find_jar() -> Path | None:
    """The jar named by ``HOLDFAST_METEOR_JAR``, or the one inside an installed pycocoevalcap."""
    named = os.environ.get(JAR_VARIABLE)
    spec = None if named else find_spec("pycocoevalcap")
    folders = spec.submodule_search_locations if spec else None
    places = [Path(named)] if named else [Path(folder, "meteor", "meteor-1.5.jar") for folder in folders or ()]
    return next((place.resolve() for place in places if place.is_file()), None)


class METEOR(ItemMetric):
    """METEOR in points (``-l en -norm``), over the tokens the other caption metrics use.

    Slow: about 24 s a thousand captions.

    Raises:
        HoldfastError: Where Java or the jar is missing.
    """

    name = "meteor"
    variants = ("1.5",)
    graded = True

    def judge(self, item: Prediction, text: str) -> ItemScore:
        """One caption by itself."""
        return self.score([item]).items[0]

    def score(self, items: Sequence[Prediction], *, task: str = "") -> Score:
        check_items(items, task or self.name)
        java, jar = shutil.which("java"), find_jar()
        if java is None or jar is None:
            absent = "Java" if java is None else "meteor-1.5.jar"
            raise HoldfastError(
                f"METEOR is an optional extra that runs its authors' Java program, and {absent} is not here",
                remedy=f"install Java and pycocoevalcap, or name the jar in {JAR_VARIABLE}; or take cider or bleu",
            )
        ordered = sorted(items, key=lambda item: item.id)
        said, references = tokens(ordered)
        scores, corpus = _run(java, jar, said, references)
        verdicts = []
        for item, score, caption in zip(ordered, scores, said, strict=True):
            if item.prediction is None or not item.prediction.strip():
                verdicts.append(self.blank(item))
            else:
                status = "truncated" if item.truncated else "ok"
                verdicts.append(ItemScore(item.id, score, " ".join(caption), status))  # type: ignore[arg-type]
        details = {"METEOR": corpus, "mean_of_captions": fsum(scores) / len(scores)}
        return self.assembled(task, verdicts, 100.0 * corpus, details)


def _run(
    java: str, jar: Path, said: Sequence[list[str]], references: Sequence[list[list[str]]]
) -> tuple[list[float], float]:
    """Scores of the captions and of the corpus by one run of the program's line protocol."""
    command = [java, "-Xmx2G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
    with subprocess.Popen(
        command,
        cwd=jar.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    ) as program:
        assert program.stdin is not None and program.stdout is not None
        try:
            statistics = []
            for caption, group in zip(said, references, strict=True):
                parts = [" ".join(words).replace("|||", "") for words in (*group, caption)]
                program.stdin.write(" ||| ".join(("SCORE", *parts)) + "\n")
                program.stdin.flush()
                statistics.append(program.stdout.readline().strip())
            program.stdin.write(" ||| ".join(("EVAL", *statistics)) + "\n")
            program.stdin.flush()
            scores = [float(program.stdout.readline()) for _ in said]
            return scores, float(program.stdout.readline())
        except (ValueError, BrokenPipeError) as error:
            raise HoldfastError("the METEOR program stopped or answered with something that is no number") from error
        finally:
            program.kill()
