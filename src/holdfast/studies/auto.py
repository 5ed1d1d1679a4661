"""Search recipes for a person's own data: successive halving under a bound on what the sources may lose.

Every trial is a recipe: a method on the llm, a factor on its learning rate, and a stabiliser or none. It trains for a
ninth of the steps; the better third of those go on to a third, and of those the better third to all
(``optuna``'s ``SuccessiveHalvingPruner``, proposals by its ``TPESampler``). What is looked at are the validation parts
of target and sources only, so that the test parts still say something about the recipe that is taken in the end. The
journal of the search and every trial stand on disk: the same command goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from holdfast.config.loading import dump_config, load_config, plain_config
from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError
from holdfast.results.advice import Wish
from holdfast.values import JSON

if TYPE_CHECKING:
    from optuna.study import Study as Search
    from optuna.trial import Trial as Proposal

METHODS = ("lora", "full", "adapter", "ia3", "spider", "hft")
KEEP = ("none", "replay", "distillation")
RATES = (0.1, 10.0)
"""Factors on the learning rate that is usual for the method."""

RUNGS = ((1, 1 / 9), (3, 1 / 3), (9, 1.0))
"""What the pruner calls a rung, and the share of the training that it is."""

BELOW = -100.0
"""The value of a trial that misses the bound, less by how much: below that of any that keeps to it."""

JOURNAL = "auto.journal"

Measure = Callable[[RunConfig, Path], Mapping[str, Any]]
"""Trains a configuration in a folder and measures it on validation parts: ``exact`` and ``sources``."""


@dataclass(frozen=True)
class Finding:
    """A recipe that was trained in full.

    Attributes:
        config: It.
        gain: Change on the target's validation part, in points.
        change: Mean change on the sources' validation parts.
        words: What it is.
    """

    config: RunConfig
    gain: float
    change: float
    words: str


@dataclass(frozen=True)
class Outcomes:
    """What a search found.

    Attributes:
        best: The largest gain that keeps to the bound; ``None`` where none gains and does.
        nearest: The one that comes nearest to that.
        trials, failed: How many were tried, and how many could not be.
        reasons: Why those could not, each once.
    """

    best: Finding | None
    nearest: Finding | None
    trials: int
    failed: int
    reasons: tuple[str, ...]

    def sentences(self, wish: Wish) -> list[str]:
        """The search in words."""
        lines = []
        if self.best is not None:
            lines.append(
                f"Take {self.best.words}: on the validation parts it changes the target by {self.best.gain:+.1f} "
                f"points and the sources by {self.best.change:+.1f}, which keeps to {wish}."
            )
        elif self.nearest is not None:
            lines.append(f"None of {self.trials} recipes gains and keeps to {wish} on the validation parts.")
            lines.append(
                f"Nearest comes {self.nearest.words}: target {self.nearest.gain:+.1f} points, sources "
                f"{self.nearest.change:+.1f}."
            )
        else:
            lines.append(f"None of {self.trials} recipes was trained to its end.")
        if self.failed:
            lines.append(f"{self.failed} could not be tried: {'; '.join(self.reasons)}")
        return lines


class RecipeSearch:
    """One search in one folder.

    Args:
        config: The person's recipe: its model, data and training; what it tunes on the llm is the first trial.
        wish: The bound on F.
        out: Folder of the search.
        measure: Trains and measures.
        trials: How many recipes.
        told: Called with a line after each.
    """

    def __init__(
        self,
        config: RunConfig,
        wish: Wish,
        out: Path,
        *,
        measure: Measure,
        trials: int = 20,
        told: Callable[[str], None] = lambda line: None,
    ) -> None:
        if wish.measure != "F" or not wish.least:
            raise HoldfastError(f"'--keep {wish}' is no bound on the loss", remedy="write --keep 'F >= -2'")
        if not config.sources:
            raise HoldfastError(
                "the recipe names no sources, so what it loses is not known", key="sources", remedy="add sources: [...]"
            )
        if config.tune.llm.then:
            raise HoldfastError(
                "the search tries one method at a time on the llm, and the recipe has several there",
                key="tune.llm",
                remedy="leave one of them",
            )
        self.config, self.wish, self.out = config, wish, out
        self.measure, self.trials, self.told = measure, trials, told
        self.before: Mapping[str, Any] = {}
        self._folders: dict[str, Path] | None = None

    def run(self) -> Outcomes:
        """Go on until all trials are done.

        Raises:
            HoldfastError: optuna is missing; the base cannot be measured; another recipe's search stands there.
        """
        search = self._open()
        self.before = self._measured(self._base())
        if not self.before.get("sources"):
            raise HoldfastError(
                "no source has a validation part, and the search looks at nothing else",
                key="sources",
                remedy="set validation of a source to a share or a file",
            )
        self._take_up(search)
        while (left := self.trials - len(_done(search))) > 0:
            search.optimize(self._try, n_trials=1, catch=())
            self.told(f"{self.trials - left + 1}/{self.trials}  {_line(search)}")
        return self._outcome(search)

    def _open(self) -> Search:
        try:
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend
        except ImportError as error:
            raise HoldfastError("the search needs optuna", remedy="pip install 'holdfast[auto]'") from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.out.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(self.out / JOURNAL)))
        own = _digest(f"{_named(self.config)}{self.wish}")
        search = optuna.create_study(
            study_name="recipes",
            storage=storage,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        )
        if search.user_attrs.get("recipe", own) != own and not self._as_older_code_named(search):
            raise HoldfastError(
                "the search here is of another recipe or bound", file=self.out, remedy="choose another --out"
            )
        search.set_user_attr("recipe", own)
        # A sampler that begins anew after a stop would propose the same again.
        search.sampler = optuna.samplers.TPESampler(seed=self.config.seed + len(search.trials), n_startup_trials=8)
        return search

    def _as_older_code_named(self, search: Search) -> bool:
        """Whether it is this recipe's search under this bound, named by code that knew fewer settings.

        That code took a digest of every setting, defaults too, which says nothing once there are more of them.
        """
        if search.user_attrs["recipe"] == _digest(f"{dump_config(self.config)}{self.wish}"):
            return True
        whole = [trial for trial in _done(search) if trial.value is not None and "gain" in trial.user_attrs]
        values = [(trial.value, self._value(trial.user_attrs["gain"], trial.user_attrs["change"])) for trial in whole]
        started = _trial(self._base()) in self._known()
        return started and bool(whole) and all(abs(then - now) < 1e-9 for then, now in values)

    def _take_up(self, search: Search) -> None:
        """Put what was interrupted in front of the queue, and the person's own recipe first of all."""
        from optuna.trial import TrialState

        if not search.trials:
            method = self.config.tune.llm.method
            search.enqueue_trial({"method": method if method in METHODS else METHODS[0], "rate": 1.0, "keep": "none"})
        taken = set(search.user_attrs.get("taken_up", []))
        for trial in search.get_trials(states=(TrialState.RUNNING, TrialState.FAIL)):
            if trial.state == TrialState.RUNNING:
                search.tell(trial.number, state=TrialState.FAIL)
            if trial.number not in taken and trial.params:
                search.enqueue_trial(trial.params)
            taken.add(trial.number)
        search.set_user_attr("taken_up", sorted(taken))

    def _try(self, proposal: Proposal) -> float:
        from optuna import TrialPruned

        method = proposal.suggest_categorical("method", METHODS)
        rate = proposal.suggest_float("rate", *RATES, log=True)
        keep = proposal.suggest_categorical("keep", KEEP)
        try:
            for rung, share in RUNGS:
                config = self.recipe(method, rate, keep, share)
                gain, change = self._changes(self._measured(config))
                value = self._value(gain, change)
                proposal.report(value, rung)
                for name, figure in (("gain", gain), ("change", change), ("share", share)):
                    proposal.set_user_attr(name, figure)
                if rung < RUNGS[-1][0] and proposal.should_prune():
                    raise TrialPruned
        except HoldfastError as error:
            if error.kind == "full":
                raise
            proposal.set_user_attr("reason", error.problem)
            raise TrialPruned from error
        return value

    def _value(self, gain: float, change: float) -> float:
        """What the search looks at: the gain, or by how much the bound is missed."""
        short = self.wish.short(change)
        return gain if short == 0 else BELOW - short

    def recipe(self, method: str, rate: float, keep: str, share: float = 1.0) -> RunConfig:
        """The configuration of a trial that trains for a share of the whole.

        Raises:
            HoldfastError: The method has no such options.
        """
        from holdfast.methods.registry import METHODS as KNOWN

        raw = self._begun()
        own = self.config.tune.llm
        part: JSON = own.model_dump() if own.method == method else {"method": method}
        usual = part.get("lr") or KNOWN.find(method).card.default_lr
        part["lr"] = float(f"{usual * rate:.3g}")
        raw["tune"]["llm"] = part
        if keep != "none":
            known = [spec for spec in self.config.keep if spec.stabiliser != keep]
            raw["keep"] = [*(spec.model_dump() for spec in known), {"stabiliser": keep}]
        if self.config.train.steps is not None:
            raw["train"]["steps"] = max(1, round(self.config.train.steps * share))
        else:
            raw["train"]["epochs"] = self.config.train.epochs * share
        return load_config(raw)

    def _begun(self) -> JSON:
        """What every trial's configuration begins as: validation parts are asked at the end, and nothing else."""
        raw: JSON = self.config.model_dump()
        raw["evaluate"]["during"] = None
        return raw

    def _base(self) -> RunConfig:
        """The recipe without a step: what the untouched model scores."""
        raw = self._begun() | {"keep": [], "fuse": None}
        raw["tune"] = {"llm": {"method": "lora", "r": 1}}
        raw["train"]["steps"] = 0
        return load_config(raw)

    def _measured(self, config: RunConfig) -> Mapping[str, Any]:
        name = _trial(config)
        folder = self._known().get(name) or self.out / "trials" / _digest(name)
        found = self.measure(config, folder)
        for name in ("artifact", "checkpoint"):  # what was measured is not trained again, and weights are large
            shutil.rmtree(folder / name, ignore_errors=True)
        return found

    def _known(self) -> Mapping[str, Path]:
        """Folders of trials by what they hold, whatever older code called them."""
        if self._folders is None:
            self._folders = {}
            for file in sorted((self.out / "trials").glob("*/config.yaml")):
                with suppress(HoldfastError):  # cut short: that trial is done anew
                    self._folders[_trial(load_config(file))] = file.parent
        return self._folders

    def _changes(self, after: Mapping[str, Any]) -> tuple[float, float]:
        before = cast("Mapping[str, float]", self.before["sources"])
        changes = [float(after["sources"][name]) - float(score) for name, score in before.items()]
        return float(after["exact"]) - float(self.before["exact"]), sum(changes) / len(changes)

    def _outcome(self, search: Search) -> Outcomes:
        done = _done(search)
        whole = [trial for trial in done if trial.value is not None and "reason" not in trial.user_attrs]
        whole = [trial for trial in whole if trial.user_attrs.get("share") == 1.0]
        ranked = sorted(whole, key=lambda trial: (-(trial.value or 0.0), -trial.user_attrs["change"]))
        findings = [self._finding(trial.params, trial.user_attrs) for trial in ranked]
        best = findings[0] if ranked and (ranked[0].value or 0.0) > 0 else None
        reasons = [str(trial.user_attrs["reason"]) for trial in done if "reason" in trial.user_attrs]
        nearest = findings[0] if findings and best is None else None
        return Outcomes(best, nearest, len(done), len(reasons), tuple(dict.fromkeys(reasons)))

    def _finding(self, params: Mapping[str, Any], facts: Mapping[str, Any]) -> Finding:
        config = self.recipe(str(params["method"]), float(params["rate"]), str(params["keep"]))
        kept = "" if params["keep"] == "none" else f" and {params['keep']}"
        words = f"{params['method']} at a rate of {config.tune.llm.lr:g}{kept}"
        return Finding(config, float(facts["gain"]), float(facts["change"]), words)


def _named(config: RunConfig) -> str:
    """A configuration by what it sets otherwise than by default, so that a setting that comes later changes no name."""
    return json.dumps(plain_config(config), sort_keys=True)


def _trial(config: RunConfig) -> str:
    """The same without the model, which all trials of a search share and a run writes down by its whole path."""
    return _named(config.model_copy(update={"model": "pocket"}))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _done(search: Search) -> Sequence[Any]:
    from optuna.trial import TrialState

    return search.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))


def _line(search: Search) -> str:
    """The last trial in one line."""
    trial = search.trials[-1]
    words = ", ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in trial.params.values())
    if "reason" in trial.user_attrs:
        return f"{words}: {trial.user_attrs['reason']}"
    gain, change, share = (trial.user_attrs.get(name, float("nan")) for name in ("gain", "change", "share"))
    return f"{words}: target {gain:+.1f}, sources {change:+.1f} after {share:.0%} of the steps"


class ValidationRuns:
    """Trains and measures as a study does, with one loaded base for all trials."""

    def __init__(self, base: Path, listen: Callable[[Any], None]) -> None:
        from holdfast.runs.shelf import KeepingShelf

        self.base, self.listen, self.shelf = base, listen, KeepingShelf()

    def __call__(self, config: RunConfig, folder: Path) -> Mapping[str, Any]:
        """See :data:`Measure`."""
        from holdfast.runs.run import Runner

        return Runner(config, folder, base=self.base, listen=self.listen, shelf=self.shelf).execute("validation")
