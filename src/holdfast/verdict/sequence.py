"""A model tuned on one task after another: average accuracy, backward and forward transfer, forgetting.

With R[i][j] the score on task j after stage i, r0[j] that of the untouched base, and T stages that learn T tasks:
A_T (Chaudhry 2018), BWT and FWT (Lopez-Paz and Ranzato 2017), MAA (CoIN). The forgetting measure is a loss and so is
positive when the model forgets, the opposite sign of F.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.errors import HoldfastError, nearest
from holdfast.values import JSON


@dataclass(frozen=True)
class SequenceMeasures:
    """Scores of a sequence of stages; all shares, points in the JSON.

    Attributes:
        tasks: The task learned at each stage.
        base: r0, [T].
        matrix: R, [T][T]: row = stage, column = task in the order learned.
        average: A_T, the mean of the last row.
        learning: Mean of the diagonal: how well each task was learned when it was its turn.
        mean_average: MAA: mean over stages of the mean over the tasks learned so far.
        backward: BWT with divisor T - 1, mean over all tasks but the last of R[T][j] - R[j][j].
        backward_by_T: The same sum over T, as the GEM code and CoIN divide.
        forgetting: Mean over all tasks but the last of max over i < T of R[i][j], minus R[T][j].
        forward: FWT with divisor T - 1, mean over all tasks but the first of R[j - 1][j] - r0[j].
    """

    tasks: tuple[str, ...]
    base: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    average: float
    learning: float
    mean_average: float
    backward: float
    backward_by_T: float  # noqa: N815 - T is the symbol of every paper
    forgetting: float
    forward: float

    def to_json(self) -> JSON:
        """All in points, with the divisors spelt out."""
        divisor = len(self.tasks) - 1
        return {
            "tasks": list(self.tasks),
            "base": [100 * score for score in self.base],
            "matrix": [[100 * score for score in row] for row in self.matrix],
            "average_accuracy": 100 * self.average,
            "learning_accuracy": 100 * self.learning,
            "mean_average_accuracy": 100 * self.mean_average,
            "BWT": {"value": 100 * self.backward, "divisor": divisor, "divisor_is": "T-1"},
            "BWT_by_T": {"value": 100 * self.backward_by_T, "divisor": divisor + 1, "divisor_is": "T"},
            "forgetting": {"value": 100 * self.forgetting, "divisor": divisor, "divisor_is": "T-1"},
            "FWT": {"value": 100 * self.forward, "divisor": divisor, "divisor_is": "T-1"},
        }

    def sentences(self) -> list[str]:
        """The sequence in words."""
        T = len(self.tasks)
        return [
            f"After {T} stages ({', '.join(self.tasks)}) the average over these tasks is {100 * self.average:.1f} "
            f"points; each stood at {100 * self.learning:.1f} on average when it was learned.",
            f"Backward transfer {100 * self.backward:+.1f} points (divided by T-1 = {T - 1}; by T = {T}: "
            f"{100 * self.backward_by_T:+.1f}), forgetting {100 * self.forgetting:.1f} (T-1), "
            f"forward transfer {100 * self.forward:+.1f} (T-1).",
        ]


def measure(tasks: Sequence[str], base: Mapping[str, float], stages: Sequence[Mapping[str, float]]) -> SequenceMeasures:
    """Compute the measures.

    Args:
        tasks: The task learned at each stage, all different, as many as stages and at least two.
        base: Scores of the untouched base by task, as shares.
        stages: Scores after each stage by task.

    Raises:
        HoldfastError: Too few stages, a count that does not match, a task twice or without a score.
    """
    T = len(stages)
    if T < 2:
        raise HoldfastError("a sequence needs at least two stages", remedy="give BASE STAGE1 STAGE2 ...")
    if len(tasks) != T:
        raise HoldfastError(
            f"{T} stages but {len(tasks)} tasks named", remedy="name the task learned at each stage, in order"
        )
    if len(set(tasks)) < T:
        raise HoldfastError(f"a task is learned twice in the sequence {', '.join(tasks)}")
    for scores in (base, *stages):
        for task in tasks:
            if task not in scores:
                raise HoldfastError(f"the sequence learns '{task}', which has no score", remedy=nearest(task, scores))
    r0 = tuple(base[task] for task in tasks)
    R = tuple(tuple(stage[task] for task in tasks) for stage in stages)
    last = R[-1]
    changes = [last[j] - R[j][j] for j in range(T - 1)]
    peaks = [max(R[i][j] for i in range(T - 1)) - last[j] for j in range(T - 1)]
    zero_shot = [R[j - 1][j] - r0[j] for j in range(1, T)]
    return SequenceMeasures(
        tasks=tuple(tasks),
        base=r0,
        matrix=R,
        average=sum(last) / T,
        learning=sum(R[j][j] for j in range(T)) / T,
        mean_average=sum(sum(R[i][: i + 1]) / (i + 1) for i in range(T)) / T,
        backward=sum(changes) / (T - 1),
        backward_by_T=sum(changes) / T,
        forgetting=sum(peaks) / (T - 1),
        forward=sum(zero_shot) / (T - 1),
    )
