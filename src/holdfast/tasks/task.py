"""A task as the rest of the house sees it."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from holdfast.data import contents
from holdfast.data.examples import Example, ImageSource, Turn
from holdfast.data.stored import StoredImage


@dataclass(frozen=True)
class Task:
    """Examples in three parts that share no image, and how answers are scored.

    ``weight`` is how often a training example is taken where several data sets are mixed.
    """

    name: str
    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    metric: str = "exact_match"
    variant: str | None = None
    max_new_tokens: int | None = None
    weight: float = 1.0

    def key(self) -> str:
        """Sixteen digits that stand for the test items and their scoring; predictions are cached under it."""
        digest = hashlib.sha256(f"{self.metric}:{self.variant}".encode())
        for example, pictures in zip(self.test, contents_of(self.test), strict=True):
            digest.update(repr((example.id, example.turns, example.choices, sorted(example.extra.items()))).encode())
            digest.update(example.system.encode() + b"".join(pictures))
        return digest.hexdigest()[:16]

    def key_by_time(self) -> str:
        """The key that older evaluations wrote down, which took size and time for content."""
        digest = hashlib.sha256(f"{self.metric}:{self.variant}".encode())
        for example in self.test:
            digest.update(repr((example.id, example.turns, example.choices, sorted(example.extra.items()))).encode())
            digest.update(example.system.encode())
            for image in example.images:
                if isinstance(image, Path):
                    status = image.stat()
                    digest.update(f"{image}:{status.st_size}:{status.st_mtime_ns}".encode())
                else:
                    digest.update(image.tobytes())
        return digest.hexdigest()[:16]

    def asked(self, max_new_tokens: int, options: str) -> dict[str, str]:
        """What the test items are, what they show, what is asked and how, apart: answers to one list of items can be
        compared if the rest is the same.

        Args:
            max_new_tokens: Longest answer, where the task itself says nothing.
            options: How a choice is made among given options.
        """
        ids, seen, said = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        for example, pictures in zip(self.test, contents_of(self.test), strict=True):
            ids.update(repr(example.id).encode())
            seen.update(b"".join(pictures) + b"|")
            *earlier, last = example.turns
            said.update(repr((example.system, earlier, last.question)).encode())
        return {
            "items": ids.hexdigest()[:16],
            "pictures": seen.hexdigest()[:16],
            "questions": said.hexdigest()[:16],
            "settings": f"{options}, at most {self.max_new_tokens or max_new_tokens} tokens",
        }


def contents_of(examples: Sequence[Example]) -> list[list[bytes]]:
    """A digest of the content of every image of every example; files of all are read side by side."""
    files = contents.digests(image for example in examples for image in example.images if isinstance(image, Path))
    drawn: dict[int, bytes] = {}  # questions share pixels

    def of(image: ImageSource) -> bytes:
        if isinstance(image, Path):
            return files[image]
        if id(image) not in drawn:
            facts = b"" if isinstance(image, StoredImage) else f"{image.shape} {image.dtype}".encode()
            drawn[id(image)] = hashlib.blake2b(facts + image.tobytes(), digest_size=32).digest()
        return drawn[id(image)]

    return [[of(image) for image in example.images] for example in examples]


def split_by_image(
    examples: Sequence[Example], validation: float, test: float, *, root: Path | None = None
) -> tuple[tuple[Example, ...], tuple[Example, ...], tuple[Example, ...]]:
    """Train, validation and test parts; all questions about one picture fall into the same part.

    Each picture's place depends on its own key only, so adding examples moves no old one between the parts, and on
    its path below ``root``, so that a moved folder is divided as before. A part with a share above zero gets at least
    one picture where there are three or more (only then can an addition move one).
    """
    folder = None if root is None else root.resolve()
    inside = f"{folder}{os.sep}"

    @cache  # questions share images
    def below(image: Path) -> str:
        plain = str(image).startswith(inside) and ".." not in image.parts
        return str(image)[len(inside) :] if plain else os.path.relpath(image, folder)

    def key_of(example: Example) -> str:
        files = [image for image in example.images if isinstance(image, Path)]
        if folder is None or not files or len(files) < len(example.images):
            return example.image_key or example.id
        return "|".join([below(file) for file in files])

    shown = [key_of(example) for example in examples]
    keys = sorted(set(shown))
    place = {key: int(hashlib.sha256(key.encode()).hexdigest()[:12], 16) / 16**12 for key in keys}
    part = {key: 2 if place[key] < test else 1 if place[key] < test + validation else 0 for key in keys}
    order = sorted(keys, key=place.__getitem__)
    if len(keys) >= 3:
        for wanted, share in ((2, test), (1, validation), (0, 1.0)):
            if share > 0 and wanted not in part.values():
                counts = Counter(part.values())
                largest = max(counts, key=counts.__getitem__)  # holds two or more, so nothing is emptied
                part[next(key for key in order if part[key] == largest)] = wanted
    parts: tuple[list[Example], list[Example], list[Example]] = ([], [], [])
    for example, key in zip(examples, shown, strict=True):
        parts[part[key]].append(example)
    return tuple(parts[0]), tuple(parts[1]), tuple(parts[2])


def with_prompt(example: Example, prompt: str) -> Example:
    """The example with its last question written into ``prompt`` (``{question}``, ``{choices}``)."""
    last = example.turns[-1]
    words = {"{question}": last.question, "{choices}": ", ".join(example.choices)}
    # In one pass: a question that happens to hold "{choices}" is left as it is.
    text = re.sub(r"\{question\}|\{choices\}", lambda found: words[found.group(0)], prompt)
    return replace(example, turns=(*example.turns[:-1], Turn(text, last.answers)))


def subsample(examples: Sequence[Example], limit: int | None, seed: int) -> Sequence[Example]:
    """At most ``limit`` examples, drawn with ``seed`` and left in their order; ``examples`` where all may stay."""
    if limit is None or limit >= len(examples):
        return examples
    chosen = np.random.default_rng((seed, 11)).permutation(len(examples))[:limit]
    return tuple(examples[int(index)] for index in np.sort(chosen))
