"""Which column means what, for every row-shaped format that is known by name, and for plain tables."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.errors import HoldfastError

FIELDS = ("id", "prediction", "score", "lenient", "task", "image", "question", "references", "choices", "truncated")
REQUIRED = ("id", "prediction")


@dataclass(frozen=True)
class Layout:
    """A row-shaped format.

    Attributes:
        name: What the format is called in messages.
        needs: Columns that must all be there for it to be recognised.
        any_of: Columns of which at least one must be there; empty: no such demand.
        columns: Field of a prediction -> column.
        lone_rows: Whether rows carry no id and are told apart by image and question.
    """

    name: str
    needs: frozenset[str]
    any_of: frozenset[str] = frozenset()
    columns: Mapping[str, str] = field(default_factory=dict)
    lone_rows: bool = False

    def fits(self, keys: Set[str]) -> bool:
        """Whether a row with these columns is of this format."""
        return self.needs <= keys and (not self.any_of or bool(self.any_of & keys))


def _layout(name: str, needs: str, any_of: str = "", /, **columns: str) -> Layout:
    return Layout(name, frozenset(needs.split()), frozenset(any_of.split()), columns, lone_rows="id" not in columns)


LAYOUTS = (
    _layout(
        "Holdfast predictions",
        "id prediction",
        "task references metric",
        **{name: name for name in (*FIELDS, "metric", "status")},
    ),
    _layout(
        "LLaVA answer file",
        "question_id text",
        "answer_id model_id prompt",
        id="question_id",
        prediction="text",
        question="prompt",
    ),
    _layout("COCO caption results", "image_id caption", id="image_id", prediction="caption", image="image_id"),
    _layout("DocVQA results", "questionId answer", id="questionId", prediction="answer"),
    _layout("POPE answers", "question answer image", prediction="answer", question="question", image="image"),
    _layout("VizWiz results", "image answer", id="image", prediction="answer", image="image"),
    _layout("GQA results", "questionId prediction", id="questionId", prediction="prediction"),
)
"""Tried in this order; the first that fits is taken. VQA results and POPE answers without an image need a closer look
(:func:`recognise_layout`), lmms-eval and VLMEvalKit files have readers of their own."""

VQA_RESULTS = _layout("VQA results", "question_id answer", id="question_id", prediction="answer")
POPE_BARE = _layout("POPE answers", "question answer", prediction="answer", question="question")

ALIASES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "question_id", "questionId", "qid", "item_id", "sample_id", "pid", "index", "doc_id", "image_id"),
    "prediction": (
        *("prediction", "pred", "predicted_answer", "response", "output", "model_output", "generated_text"),
        *("generation", "model_answer", "completion", "caption", "text"),
    ),
    "score": ("score", "correct", "is_correct", "hit", "acc", "accuracy", "exact_match"),
    "lenient": ("lenient", "lenient_score"),
    "task": ("task", "dataset", "benchmark"),
    "image": ("image", "image_id", "image_path", "img", "imageId"),
    "question": ("question", "prompt", "query", "input", "instruction"),
    "references": (
        *("references", "reference", "answers", "ground_truth", "gt", "gt_answer", "gold", "target", "label", "answer"),
    ),
    "choices": ("choices", "options"),
    "truncated": ("truncated",),
}
"""Names under which plain tables keep the fields, the likeliest first."""


def recognise_layout(keys: Set[str], columns: Mapping[str, str], path: Path) -> Layout:
    """The layout of rows with these columns.

    Args:
        keys: Columns of the first row.
        columns: Field -> column as the user named them; these win over everything.
        path: For messages.

    Raises:
        HoldfastError: A named column does not exist, or no id or prediction can be found.
    """
    for name, column in columns.items():
        if name not in FIELDS:
            raise HoldfastError(f"'{name}' is no field of a prediction", remedy="fields: " + ", ".join(FIELDS))
        if column not in keys:
            raise HoldfastError(
                f"there is no column '{column}' for '{name}'", file=path, remedy="columns: " + ", ".join(sorted(keys))
            )
    if not columns:
        for layout in LAYOUTS:
            if layout.fits(keys):
                return layout
        if VQA_RESULTS.fits(keys) and not keys & {*ALIASES["prediction"], "answers"}:
            return VQA_RESULTS
        if keys == {"question", "answer"}:
            return POPE_BARE
    found = dict(columns)
    for name, aliases in ALIASES.items():
        alias = next((alias for alias in aliases if alias in keys and alias not in found.values()), None)
        if name not in found and alias is not None:
            found[name] = alias
    for name in REQUIRED:
        if name not in found:
            raise HoldfastError(
                f"no column looks like the {name}; the columns are {', '.join(sorted(keys)[:12])}",
                file=path,
                remedy=f"name it: --column {name}=COLUMN",
            )
    shown = ", ".join(f"{name} = {found[name]}" for name in FIELDS if name in found)
    return Layout(f"plain table ({shown})", frozenset(), columns=found)
