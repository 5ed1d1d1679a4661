"""What a speed-up costs before it saves anything, and what it saves, counted and never measured.

A decision that hung on a clock would differ between a run and its resumption. Operations and bytes are counted from
shapes; seconds follow by the rates that stand here, which are those of a common machine. They decide between ways that
lie far apart, and where two lie close together either is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.data.examples import Example
from holdfast.models.loading import Loaded
from holdfast.speed.decision import Decision
from holdfast.speed.sharing.rows import by_images

RATES = {"cpu": 1e11}
"""Operations a second by kind of device; two cores reach about that."""

FAST = 1e14
"""Of every other device; no GPU has been measured here."""

DIGEST = 1e9
"""Bytes of weights that are digested in a second."""

STORE, READ = 2e8, 2e9
"""Bytes of features a second: made into a file with its checksum and written; read again."""

FILE = 4e-3
"""Seconds to write a file of features under its lock; to open one again takes a tenth."""

PATCHES = 1024
"""Of an image where the model takes any size: 448 x 448 pixels in patches of 14."""

TEXT = 64
"""Tokens of a question and its answer beside the image."""

COMPARED = 2
"""Repeated questions that comparing shared rows with separate ones costs as much as: the comparison computes an image
three times forward and questions four times; a question that shares its image saves the image forward and backward.
"""


def repeats(examples: Sequence[Example], seen: float) -> float:
    """How many times, among ``seen`` examples drawn from these, a question's image stands in the batch already."""
    return seen * (1 - len(by_images(examples)) / len(examples))


def sharing_pays(examples: Sequence[Example], seen: float) -> Decision:
    """Whether a run that looks at ``seen`` examples is long enough to compare shared rows with separate ones first."""
    if repeats(examples, seen) <= COMPARED:
        return Decision(False, "the run is shorter than comparing shared rows with separate ones would be")
    return Decision(True, "the run is long enough to compare shared rows with separate ones first")


@dataclass(frozen=True)
class CacheWork:
    """The feature cache of one run, in seconds as counted.

    Attributes:
        saved: The encoder's forward passes that features stand in for.
        begin: Digest of the weights, and the comparison of features with pixels.
        files: Writing the features of every image, and reading them in every pass.
    """

    saved: float
    begin: float
    files: float

    @property
    def decision(self) -> Decision:
        """Whether it pays."""
        spent = self.begin + self.files
        clause = f"features would save {self.saved:.2g} s of encoding and cost {spent:.2g} s, as counted"
        return Decision(self.saved > spent, clause)


def cache_work(loaded: Loaded, examples: Sequence[Example], passes: float) -> CacheWork:
    """What the feature cache would save and cost in a run; nothing is encoded.

    Args:
        loaded: The model.
        examples: Whose images will be looked at.
        passes: How often.
    """
    images = sum(len(examples[group[0]].images) for group in by_images(examples))
    rate = RATES.get(loaded.device.type, FAST)
    vision, connector, llm = (loaded.anatomy.component(name).count() for name in ("vision", "connector", "llm"))
    weight = next(iter(loaded.anatomy.vision.parameters.values()))
    patches = _patches(loaded.model)
    encode = 2 * vision * patches / rate
    # Two rows at most: each encoded by itself and in the plain pass, and three passes of the llm over both.
    compare = 4 * encode + 6 * 2 * llm * (patches + TEXT) / rate
    size = patches * _width(loaded.model) * weight.element_size()
    return CacheWork(
        saved=(passes - 1) * images * encode,
        begin=(vision + connector) * weight.element_size() / DIGEST + compare,
        files=images * (FILE + size / STORE + passes * (FILE / 10 + size / READ)),
    )


def train_token(loaded: Loaded) -> float:
    """Seconds that a token of a row takes in a training step: forward and backward through the llm, at the least."""
    return 4 * loaded.anatomy.llm.count() / RATES.get(loaded.device.type, FAST)


def _patches(model: Any) -> int:
    """Patches of an image (of one tile, where images are tiled) in the vision encoder."""
    vision = getattr(model.config, "vision_config", None)
    size, patch = (_first(getattr(vision, name, None)) for name in ("image_size", "patch_size"))
    return (size // patch) ** 2 if size and patch else PATCHES


def _width(model: Any) -> int:
    return int(getattr(model.config.get_text_config(), "hidden_size", 0) or 0)


def _first(value: Any) -> int:
    if isinstance(value, list | tuple):
        value = value[0] if value else 0
    return value if isinstance(value, int) and value > 0 else 0
