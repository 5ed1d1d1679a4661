"""CIDEr on 5,000 captions with four references: Holdfast against pycocoevalcap's Python part, in paired runs.

    pip install --target /some/folder --no-deps pycocoevalcap numpy
    PYTHONPATH=src:/some/folder python benchmarks/cider.py

Both start from the same tokenised strings, so the tokenizers (Java there) are left out; Holdfast's tokenizer is timed
beside it. Runs alternate, and the ratio is the median over pairs. Without pycocoevalcap only our side is timed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import accumulate, product

from holdfast.metrics.cider import cider
from holdfast.metrics.text.ptb import words


def corpus(images: int, references: int, seed: int = 0) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Captions of 7 to 14 words drawn by Zipf's law; references of an image share half their words with its caption."""
    draw = random.Random(seed)
    vocabulary = ["".join(letters) for letters in product("aeioubdgklmnprst", repeat=3)]
    weights = list(accumulate(1 / (k + 1) for k in range(len(vocabulary))))
    said: dict[str, list[str]] = {}
    wanted: dict[str, list[str]] = {}
    for image in range(images):
        base = draw.choices(vocabulary, cum_weights=weights, k=draw.randrange(7, 15))
        said[str(image)] = [" ".join(base)]
        wanted[str(image)] = [
            " ".join(w if draw.random() < 0.5 else draw.choices(vocabulary, cum_weights=weights)[0] for w in base)
            for _ in range(references)
        ]
    return said, wanted


def timed(run: Callable[[], float]) -> tuple[float, float]:
    """Seconds and result of one call."""
    start = time.perf_counter()
    value = run()
    return time.perf_counter() - start, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--references", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    said, wanted = corpus(options.images, options.references)

    def ours() -> float:
        captions = [said[key][0].split() for key in said]
        groups = [[reference.split() for reference in wanted[key]] for key in said]
        scores = cider(captions, groups)
        return sum(scores) / len(scores)

    own = [timed(ours)]
    if find_spec("pycocoevalcap") is None:
        print(f"holdfast {own[0][0]:.3f} s, CIDEr {own[0][1]:.6f}; pycocoevalcap is not installed")
        return
    from pycocoevalcap.cider.cider import Cider  # type: ignore[import-not-found]

    def theirs() -> float:
        return float(Cider().compute_score(wanted, said)[0])

    other = [timed(theirs)]
    for _ in range(options.pairs - 1):
        own.append(timed(ours))
        other.append(timed(theirs))
    difference = abs(own[0][1] - other[0][1])
    ratios = sorted(mine / other_time for (mine, _), (other_time, _) in zip(own, other, strict=True))
    tokenising = timed(lambda: float(len(words([r for group in wanted.values() for r in group]))))[0]
    print(f"{options.images:,} captions, {options.references} references, {options.pairs} paired runs")
    print(f"holdfast       {statistics.median(t for t, _ in own):.3f} s")
    print(f"pycocoevalcap  {statistics.median(t for t, _ in other):.3f} s")
    print(
        f"ratio          {statistics.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f}; below 1 is faster)"
    )
    print(f"scores differ by {difference:.1e}; our tokenizer on all references took {tokenising:.3f} s besides")


if __name__ == "__main__":
    main()
