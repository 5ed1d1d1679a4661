"""What the survey of arXiv 2406.05130's field lists and Holdfast does not have, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Absent:
    """A method of the literature that is not here."""

    name: str
    family: str
    reason: str


_CLASSES = "scores images against text embeddings of a closed list of classes, which an answer in words has not"
_ADAPTER, _PROMPT = "adapter", "prompt"

ABSENT = (
    Absent("Tip-Adapter", _ADAPTER, f"a cache of few-shot features by class: it {_CLASSES}"),
    Absent("Meta-Adapter", _ADAPTER, f"a learned Tip-Adapter: it {_CLASSES}"),
    Absent("APE", _ADAPTER, f"prunes the channels of class prototypes: it {_CLASSES}"),
    Absent("CPR", _ADAPTER, f"refines class prototypes: it {_CLASSES}"),
    Absent("GraphAdapter", _ADAPTER, f"a graph over class prototypes: it {_CLASSES}"),
    Absent("FDT", _ADAPTER, "a dictionary of tokens for contrastive pre-training from nothing, no way to tune"),
    Absent("SAN", _ADAPTER, "a side network that proposes segmentation masks, which a generative model does not give"),
    Absent("PLOT", _PROMPT, f"optimal transport between local features and class prompts: it {_CLASSES}"),
    Absent("DualCoOp", _PROMPT, f"a positive and a negative prompt a class: it {_CLASSES}"),
    Absent("KAPT", _PROMPT, f"class descriptions from an encyclopedia as prompts: it {_CLASSES}"),
    Absent("ArGue", _PROMPT, f"attributes of classes as prompts: it {_CLASSES}"),
    Absent("ProText", _PROMPT, "learns text prompts by mapping class names to descriptions in CLIP's text encoder"),
    Absent("DAPT", _PROMPT, f"spreads and gathers the embeddings of classes: it {_CLASSES}"),
    Absent("DAMP", _PROMPT, f"aligns class prompts between domains: it {_CLASSES}"),
    Absent(
        "DePT", _PROMPT, "decouples base classes from new ones in CLIP's feature channels, by a classification head"
    ),
)
"""The 15 of the survey's list that make no sense for a model that answers in words."""
