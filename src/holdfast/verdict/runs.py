"""One base against several tuned models: other recipes, or the stages of a sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.values import JSON
from holdfast.verdict.records import Comparison
from holdfast.verdict.sequence import SequenceMeasures


@dataclass(frozen=True)
class RunsComparison:
    """Every run against the same base.

    Attributes:
        runs: Comparisons by name, in the order given.
        sequence: Measures over the stages, when the runs are stages.
    """

    runs: Mapping[str, Comparison]
    sequence: SequenceMeasures | None = None

    def sentences(self) -> list[str]:
        """The sequence first, then every run under its name."""
        lines = self.sequence.sentences() if self.sequence else []
        for name, comparison in self.runs.items():
            lines += [f"{name}: {sentence}" for sentence in comparison.sentences()[:1]]
        return lines

    def to_json(self) -> JSON:
        """``runs`` by name and ``sequence``; beside them the tasks and E, F, O, H of the last run."""
        *_, last = self.runs.values()
        return {
            **last.to_json(),
            "runs": {name: comparison.to_json() for name, comparison in self.runs.items()},
            "sequence": self.sequence.to_json() if self.sequence else None,
        }
