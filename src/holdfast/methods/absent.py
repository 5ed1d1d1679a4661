"""What the literature lists and Holdfast does not have, each with its reason."""

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

_STRUCTURE, _CALIBRATION, _ITERATIVE, _POSTERIOR = "structure", "calibration", "iterative", "posterior"
_UNSURE = "no released code, and a formula that could not be verified"

NOT_BUILT = (
    Absent("AsymLoRA", _STRUCTURE, "one B a task beside a shared A: neither training nor a question names its task"),
    Absent("MTLoRA", _STRUCTURE, "one LoRA a task in some stages: neither training nor a question names its task"),
    Absent(
        "MixLoRA",
        _STRUCTURE,
        "its router picks factors by the mean over a whole padded row, answer included, and what is picked carries no "
        "weight, so that the router never learns",
    ),
    Absent("LoraHub", _STRUCTURE, "sums the factors of a library of adapters, and a fusion sees their products"),
    Absent("LoRA.rar", _STRUCTURE, "needs a hypernetwork trained on pairs of adapters of diffusion models"),
    Absent("REMEDY", _STRUCTURE, "no released code; its allocator, trained on few shots, was known from descriptions"),
    Absent(
        "BiLoRA",
        _CALIBRATION,
        "a second level trains the scales on other data through an unrolled step of the first, for which one optimizer "
        "has no place",
    ),
    Absent(
        "Laplace-LoRA",
        _CALIBRATION,
        "a distribution around a finished LoRA for the confidence of its answers; weights and greedy answers stay",
    ),
    Absent("AdaDARE-gamma", _POSTERIOR, "no released code; known from a reproduction alone, which collapsed"),
    Absent("Neuron-Fusion", _POSTERIOR, _UNSURE),
    Absent(
        "Twin-Merging's router",
        _POSTERIOR,
        "merges anew for every input, where a shared row, a cache and an export hold one set of weights; twin_merging "
        "keeps every expert, and --expert or weights chooses",
    ),
)
"""What would make sense and is not here."""


_PEFT = "peft"
_WHOLE_MODEL = "PEFT wraps the whole model and shifts its logits, which no other component's method can stand beside"

OUR_OWN = {
    "VERA": "vera",
    "LN_TUNING": "norms",
    "PREFIX_TUNING": "prefix",
    "PROMPT_TUNING": "prompt_tuning",
    "P_TUNING": "p_tuning",
    "ADAPTION_PROMPT": "llama_adapter",
    "C3A": "c3a",
    "ADALORA": "adalora",
}
"""Types of PEFT's, by its names, that are methods here without PEFT."""

PEFT_ABSENT = (
    Absent("LILY", _PEFT, "its router averages over all tokens of a batch, so an answer depends on its neighbours"),
    Absent("POLY", _PEFT, "chooses among its skills by a task id, which examples do not carry"),
    Absent("XLORA", _PEFT, "mixes adapters that were trained before, which a recipe does not have"),
    Absent("SHADOW", _PEFT, "a copy of the model beside itself, for which PEFT has no way to attach to a part"),
    Absent("TRAINABLE_TOKENS", _PEFT, "trains the rows of new tokens, and a recipe adds none"),
    Absent("MULTITASK_PROMPT_TUNING", _PEFT, f"{_WHOLE_MODEL}; it also wants task ids"),
    Absent("CPT", _PEFT, _WHOLE_MODEL),
    Absent("CARTRIDGE", _PEFT, f"{_WHOLE_MODEL}; it distils a text into a cache"),
)
"""Types of PEFT 0.21.2 that are not offered."""
