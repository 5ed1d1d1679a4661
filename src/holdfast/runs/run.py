"""One run from its configuration to its verdict."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from holdfast import files
from holdfast.config.schema import RunConfig
from holdfast.data.images import open_image
from holdfast.errors import HoldfastError, within
from holdfast.events import (
    Dividing,
    Event,
    ExampleShown,
    FinishedBefore,
    GradientsChecked,
    LeaksFound,
    LedgerWritten,
    Listener,
    LoadingModel,
    Predicted,
    Predicting,
    StepDone,
    Validated,
    Waiting,
    silence,
)
from holdfast.inference.together import predict_together
from holdfast.methods.guard import check_restored, look_at, starts_elsewhere
from holdfast.methods.ledger import check_moved, write_ledger
from holdfast.methods.recipe import Recipe, fuse_all, restore
from holdfast.methods.registry import METHODS
from holdfast.models.anatomy import COMPONENTS
from holdfast.models.loading import Loaded, stored_bits_of
from holdfast.models.shipped import model_beside
from holdfast.planning.short import memory_short, step_memory
from holdfast.ranks import divided_by, division, join
from holdfast.runs.adopting import adopt
from holdfast.runs.artifacts import check_base, load_artifacts, save_artifacts
from holdfast.runs.base import share_answers
from holdfast.runs.divergence import FILE as DIVERGENCE
from holdfast.runs.divergence import BaseLogits, base_logits
from holdfast.runs.during import KeptMoments, answer_moments, check_moments, moments_of
from holdfast.runs.environment import environment, warn_of_other_bits, with_evaluation
from holdfast.runs.experts import bring_experts
from holdfast.runs.fingerprint import check_fingerprint, check_same_recipe
from holdfast.runs.folder import RunFolder, safe_name
from holdfast.runs.leaks import FILE as LEAKS
from holdfast.runs.leaks import find_leaks
from holdfast.runs.lengths import longest_row, within_length
from holdfast.runs.reading import Tasks, check_room, visible
from holdfast.runs.scores import recipe_scores
from holdfast.runs.shelf import NO_SHELF, Shelf
from holdfast.runs.teaching import open_teacher
from holdfast.runs.validation import measure
from holdfast.scoring.scorecard import score_file
from holdfast.speed.decision import Decision, Engaged, to_json
from holdfast.speed.features.cache import FeatureCache
from holdfast.speed.policy import evaluation_cache
from holdfast.tasks.drawn import Joined
from holdfast.tasks.mixing import weighted
from holdfast.tasks.task import Task
from holdfast.training.batches import count_steps
from holdfast.training.loop import Outcome, Trainer
from holdfast.training.peak import PeakMemory
from holdfast.training.pools import Pools
from holdfast.training.sharding import check_sharded
from holdfast.values import JSON

VALIDATION = "validation.json"
"""Loss and accuracy on validation parts, of a run that a study chooses by."""

Want = Literal["scores", "artifact", "validation"]
"""How far a run goes: to its scores; or, in a study, to what training changed or to its validation loss."""


class Runner:
    """Steps of a run in their order; each finds what an earlier call has finished and goes on from there."""

    def __init__(
        self,
        config: RunConfig,
        out: Path,
        *,
        base: Path,
        listen: Listener,
        parent: Path | None = None,
        other: Path | None = None,
        shelf: Shelf = NO_SHELF,
    ) -> None:
        """Args:
        config: The whole configuration.
        out: The run folder.
        base: Where relative paths of the configuration start.
        listen: Hears what happens.
        parent: A run of the same recipe without fusion, whose training is edited.
        other: A run that may have done the very training, being asked something else; then nothing is trained.
        shelf: Where models and tasks come from; default: each is loaded anew.
        """
        config = config.model_copy(update={"model": model_beside(config.model, base)})
        self.config, self.base, self.shelf, self.ranks = config, base, shelf, join()
        self.listen = listen if self.ranks.first else silence
        self.parent = None if parent is None else RunFolder(parent)
        self.other = None if other is None else RunFolder(other)
        self.folder = RunFolder(out)

    def execute(self, want: Want = "scores") -> JSON:
        """Tune, evaluate and score.

        Args:
            want: ``artifact`` ends after training. ``validation`` measures what was trained on validation parts, and
                asks no test item.

        Returns:
            The entry of ``scores.json``; of ``validation.json``; nothing for an artifact.

        Raises:
            HoldfastError: Any mistake in configuration or data, before step 1 wherever it can be known by then.
        """
        check_same_recipe(self.config)
        if self.config.target is None:
            raise HoldfastError("the configuration names no target", remedy="add target: my-data.jsonl")
        check_moments(self.config)
        recipe = Recipe(self.config)
        tasks = self.shelf.tasks(self.config, self.base, self.listen)
        assert tasks.target is not None
        if not tasks.target.test:
            remedy = "add examples, or set target.test"
            raise HoldfastError("the target has no test examples", remedy=remedy, key="target.test")
        with self.folder.held():
            return self._execute(recipe, tasks, want)

    def _execute(self, recipe: Recipe, tasks: Tasks, want: Want) -> JSON:
        self.folder.begin(self.config)
        if want == "validation" and (self.folder.path / VALIDATION).exists():
            return dict(self.folder.read_json(VALIDATION, "loss"))
        if self.folder.scores.exists() and want == "scores":
            self.listen(FinishedBefore(self.folder.path))
            return self.folder.entry()
        if self.parent is None and not (self.folder.artifact / "artifact.json").exists():
            recipe.check_sources(any(task.train for task in tasks.sources))
        self.listen(LoadingModel(self.config.model))
        with within("model"):
            stored, elsewhere = stored_bits_of(self.config.model, trust_remote_code=self.config.trust_remote_code)
            recipe.check_packed(stored, elsewhere=elsewhere)
        if divided_by():
            check_sharded(self.config, recipe, stored)
            self.listen(Dividing(division()))
        with within("model"):
            loaded = self.shelf.model(self.config)
        warn_of_other_bits(loaded.device)
        tasks = visible(tasks, loaded, skip=self.config.skip_bad)
        assert tasks.target is not None
        if self.config.evaluate.options == "generate":
            check_room(tasks.all, loaded, self.config.evaluate.max_new_tokens)
        if not (self.folder.path / "skipped.json").exists():
            self.folder.write_json("skipped.json", [str(problem) for problem in tasks.skipped])
        check_fingerprint(self.folder, loaded, [*tasks.all, *tasks.mix], self.config.evaluate)
        if not (self.folder.artifact / "artifact.json").exists():
            if self.parent is not None:
                self._take_over(self.parent, loaded, recipe, tasks)
            elif self._adopt(tasks):
                self._look_for_leaks(tasks, mixed=False)
            else:
                self._tune(loaded, recipe, tasks)
        self.ranks.wait()  # until the artifact is written
        if want == "artifact":
            return {}
        if want == "validation":
            return self._validate(loaded, tasks)
        self._answer_moments(loaded, tasks)
        self.evaluate(loaded, tasks)
        entry: JSON = {}
        if self.ranks.first:
            entry = recipe_scores(self.folder, self.config, recipe, tasks)
            self.folder.write_json("scores.json", {"recipes": {entry["name"]: entry}})
        return self.ranks.same(entry)

    def _tune(self, loaded: Loaded, recipe: Recipe, tasks: Tasks) -> None:
        assert tasks.target is not None
        train, identity = self.config.train, loaded.identity
        every = [weighted(task.train, task.weight, self.config.seed) for task in [tasks.target, *tasks.mix]]
        examples: Sequence[Any] = Joined(tuple(every)) if len(every) > 1 else every[0]
        sources = tasks.shown(recipe)
        for place, stabiliser in enumerate(recipe.stabilisers):
            with within("keep", place):
                examples = stabiliser.mix(examples, sources, self.config.seed)
        self._look_for_leaks(tasks, mixed=len(examples) > sum(map(len, every)))
        skip = self.config.skip_bad
        own, long = within_length(tasks.target.train, loaded, train.max_length, skip=skip)
        mixed = bool(tasks.mix) or len(examples) != len(tasks.target.train)
        examples, long = within_length(examples, loaded, train.max_length, skip=skip) if mixed else (own, long)
        validation, more = within_length(tasks.target.validation, loaded, train.max_length, skip=skip)
        self.folder.write_json("skipped.json", [str(problem) for problem in [*tasks.skipped, *long, *more]])
        if not examples:
            raise HoldfastError("the target has no training examples", remedy="give it examples to train on")
        sample = loaded.chat.encode(examples[:1], with_answers=True, max_length=train.max_length)
        base = look_at(loaded, sample)
        # Masks, Fisher information and fusions look at the target's own examples, whatever is mixed in for training.
        recipe.check_steps(count_steps(train, len(examples)))
        pools = Pools(loaded, train, self.config.seed, own, validation, sources, self.config.speed.head)
        bring_experts(recipe.fusions, loaded)
        peak = PeakMemory(loaded.model)
        recipe.attach(loaded, self.config.seed, pools, pools.loss, partial(open_teacher, head=self.config.speed.head))
        if train.gradient_checkpointing:
            loaded.model.activation_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
        ledger = write_ledger(recipe, loaded.anatomy)
        self.folder.write_json("ledger.json", ledger.to_json())
        self.listen(LedgerWritten(ledger))
        row = longest_row(examples, loaded, train.max_length)
        need = step_memory(self.config, recipe, loaded, row)
        short = memory_short(self.config, recipe, loaded, need, row)
        if short is not None:
            self.listen(short)
        self.listen(ExampleShown(loaded.chat.show(sample)))
        if self.ranks.same(starts_elsewhere(base, loaded)):
            for task in tasks.all:
                self._predict(loaded, task, self.folder.start_predictions(task.name), "start", None)
        with peak:
            outcome = self._train(loaded, recipe, tuple(examples), validation)
        check_moved(base.values, recipe, loaded.anatomy)
        artifacts = recipe.detach()
        if train.gradient_checkpointing:
            loaded.model.activation_checkpointing_disable()  # type: ignore[operator]
        check_restored(base, loaded)
        if recipe.fusions:
            artifacts = fuse_all(loaded, artifacts, recipe.fusions, self.config.seed, pools, pools.loss)
        self.folder.write_json(
            "training.json",
            {
                "steps": outcome.steps,
                "seconds": outcome.seconds,
                "stopped_early": outcome.stopped_early,
                "last": outcome.last,
                "memory": None if need is None else need.peak,
                "peak_memory": peak.bytes,
            },
        )
        if self.ranks.first:
            save_artifacts(
                self.folder.artifact, artifacts, model=self.config.model, identity=identity, ledger=ledger.to_json()
            )
            shutil.rmtree(self.folder.path / "checkpoint", ignore_errors=True)

    def _adopt(self, tasks: Tasks) -> bool:
        """Whether the training was there already; a run that has begun to train goes on instead."""
        begun = any((self.folder.path / name).exists() for name in ("train.jsonl", "checkpoint", "checkpoint.old"))
        found = self.other is not None and self.ranks.first and not begun and adopt(self.other, self.folder, tasks)
        return self.ranks.same(found)

    def _answer_moments(self, loaded: Loaded, tasks: Tasks) -> None:
        """Every task, asked of what was trained by the moments of ``evaluate.during``."""
        moments = KeptMoments(self.folder)
        cache = self._features(loaded, tasks) if self.ranks.same(moments.path.exists()) else None

        def ask(step: int) -> None:
            for task in tasks.all:
                self._predict(loaded, task, moments.at(step).predictions(task.name), f"step {step}", cache)

        answer_moments(loaded, tasks, self.config, moments, ask)

    def _validate(self, loaded: Loaded, tasks: Tasks) -> JSON:
        """What was trained, measured on the validation parts of target and sources."""
        artifacts, record = load_artifacts(self.folder.artifact)
        check_base(loaded, record, self.folder.artifact)
        restore(loaded, artifacts)
        with within("target"):
            found = measure(loaded, tasks, self.config)
        self.folder.write_json(VALIDATION, found)
        return found

    def _look_for_leaks(self, tasks: Tasks, *, mixed: bool) -> None:
        """Say before step 1 which test sets share something with training; ``mixed``: sources are trained on too."""
        assert tasks.target is not None
        if not self.ranks.first:
            return
        training = [task.train for task in [tasks.target, *tasks.mix, *(tasks.sources if mixed else ())]]
        leaks = find_leaks(training, tasks.all)
        self.folder.write_json(LEAKS, [leak.to_json() for leak in leaks])
        if leaks:
            self.listen(LeaksFound([leak.sentence() for leak in leaks]))

    def _take_over(self, parent: RunFolder, loaded: Loaded, recipe: Recipe, tasks: Tasks) -> None:
        """Fuse what another run has trained; its seconds count, for without them there were nothing to fuse."""
        assert recipe.fusions, "only a fusion builds on another run"
        artifacts, record = load_artifacts(parent.artifact)
        check_base(loaded, record, parent.artifact)
        bring_experts(recipe.fusions, loaded)
        begun = time.perf_counter()
        assert tasks.target is not None
        given = tasks.target.train, tasks.target.validation, tasks.shown(recipe)
        pools = Pools(loaded, self.config.train, self.config.seed, *given)
        artifacts = fuse_all(loaded, artifacts, recipe.fusions, self.config.seed, pools, pools.loss)
        training = parent.read_json("training.json", "seconds")
        seconds = training["seconds"] + time.perf_counter() - begun
        self.folder.write_json("ledger.json", record["ledger"])
        self.folder.write_json("environment.json", environment())
        self.folder.write_json("training.json", training | {"seconds": seconds, "parent": parent.path.name})
        for name in (LEAKS, "train.jsonl"):
            if self.ranks.first and (parent.path / name).exists():
                files.copy_file(parent.path / name, self.folder.path / name)
        if self.ranks.first:
            identity = record["base_identity"]
            save_artifacts(
                self.folder.artifact, artifacts, model=self.config.model, identity=identity, ledger=record["ledger"]
            )

    def _train(self, loaded: Loaded, recipe: Recipe, examples: tuple[Any, ...], validation: tuple[Any, ...]) -> Outcome:
        moments = KeptMoments(self.folder)
        saved = any((self.folder.path / name).exists() for name in ("checkpoint", "checkpoint.old"))
        if self.ranks.first and not saved:
            # Of a try that ended before its first checkpoint.
            (self.folder.path / "train.jsonl").unlink(missing_ok=True)
            moments.begin()
        log = TrainingLog(self.folder, self.config, self.listen) if self.ranks.first else None
        trainer = Trainer(
            loaded,
            recipe,
            self.config.train,
            examples,
            validation,
            seed=self.config.seed,
            run=self.folder.path,
            listen=log or silence,
            speed=self.config.speed,
            keep=moments.folders(moments_of(self.config, len(examples))),
        )
        try:
            return trainer.fit()
        finally:
            if log is not None:
                log.close()

    def evaluate(self, loaded: Loaded, tasks: Tasks) -> None:
        """Base and tuned predictions on every task; ``loaded`` is the untouched base when this is called."""
        artifacts, record = load_artifacts(self.folder.artifact)
        check_base(loaded, record, self.folder.artifact)
        if not (self.folder.path / "ledger.json").exists():  # lost since; the artifact has it too
            self.folder.write_json("ledger.json", record["ledger"])
        cache = self._features(loaded, tasks)
        for task in tasks.all:
            if self.ranks.first:
                save_drawn_images(task, self.folder.path.parent / ".base" / "images")
            self._base_predictions(loaded, task, cache)
        says = self._base_logits(loaded, tasks)
        restore(loaded, artifacts)
        if says is not None:
            self.folder.write_json(DIVERGENCE, says.against(loaded))
        for task in tasks.all:
            self._predict(loaded, task, self.folder.predictions(task.name), "tuned", cache)

    def _base_logits(self, loaded: Loaded, tasks: Tasks) -> BaseLogits | None:
        """Of the target, where divergences are asked for and not there yet; the first process does it alone."""
        wanted = self.config.evaluate.kl and self.ranks.first and tasks.target is not None
        if not wanted or (self.folder.path / DIVERGENCE).exists():
            return None
        assert tasks.target is not None
        return base_logits(loaded, tasks.target, self.config)

    def _features(self, loaded: Loaded, tasks: Tasks) -> FeatureCache | None:
        methods = {name: [part.method for part in getattr(self.config.tune, name).all] for name in COMPONENTS}
        reached = {part for own in methods.values() for method in own for part in METHODS.find(method).reaches}
        frozen = {name for name in ("vision", "connector") if methods[name] == ["frozen"]} - reached
        examples = [example for task in tasks.all for example in task.test]
        with self.ranks.in_turn():
            return evaluation_cache(loaded, frozen, self.config.speed, examples, self.listen)

    def _base_predictions(self, loaded: Loaded, task: Task, cache: FeatureCache | None) -> None:
        """Made once a model and task, beside the run folders, and copied into each run.

        The first process sees what is missing, and the others answer their shares of it when they are told the file.
        """
        if not self.ranks.first:
            nothing: Path | None = None
            while (told := self.ranks.same(nothing)) is not None:
                self._predict(loaded, task, told, "base", cache)
            return

        def make(file: Path) -> None:
            self.ranks.same(file)
            self._predict(loaded, task, file, "base", cache)

        settings = self.config.evaluate
        limit = task.max_new_tokens or settings.max_new_tokens
        place = self.folder.path.parent / ".base" / loaded.answering
        way = "" if settings.options == "generate" else f"-{settings.options}"
        share_answers(
            place / f"{safe_name(task.name)}-{task.key()}-{limit}{way}.jsonl",
            self.folder.base_predictions(task.name),
            task,
            make=make,
            wait=lambda holder: self.listen(Waiting(f"the base's answers to {task.name}", holder)),
        )
        self.ranks.same(None)

    def _predict(self, loaded: Loaded, task: Task, file: Path, who: str, cache: FeatureCache | None) -> None:
        settings = self.config.evaluate
        self.listen(Predicting(task.name, who, len(task.test)))
        report = predict_together(
            loaded,
            task,
            file,
            batch_size=settings.batch_size,
            max_new_tokens=settings.max_new_tokens,
            advance=lambda count: self.listen(Predicted(task.name, who, count)),
            speed=self.config.speed,
            options=settings.options,
            cache=cache,
        )
        if report:
            report["feature_cache"] = Decision(cache is not None, f"behind the {cache.stage}" if cache else "not used")
            self.folder.write_json("environment.json", with_evaluation(self.folder, task.name, who, report))
        if self.ranks.first:
            score_file(file, metric=task.metric, variant=task.variant)


def save_drawn_images(task: Task, folder: Path) -> None:
    """Keep the pictures of a task that draws its own, under their key, so that a report can show them."""
    for example in task.test:
        for pixels in example.images[:1]:
            if isinstance(pixels, Path) or (file := folder / f"{safe_name(example.image_key)}.png").exists():
                continue
            with files.beside(file) as partial:
                open_image(pixels).save(partial, format="PNG")


class TrainingLog:
    """Passes events on and keeps them: ``train.jsonl``, and the trackers that accelerate knows."""

    def __init__(self, folder: RunFolder, config: RunConfig, listen: Listener) -> None:
        self.folder, self.every, self.listen = folder, config.train.log_every, listen
        self.trackers: list[Any] = []
        if config.train.trackers:
            from accelerate import Accelerator

            absent = [name for name in config.train.trackers if find_spec(name) is None]
            if absent:  # accelerate would go on without it
                raise HoldfastError(
                    f"tracker '{absent[0]}' of train.trackers is not installed",
                    remedy=f"pip install {absent[0]}, or take it out of train.trackers",
                    key="train.trackers",
                )
            accelerator = Accelerator(log_with=list(config.train.trackers), project_dir=str(folder.path / "logs"))
            try:
                accelerator.init_trackers("holdfast")
            except (ImportError, ValueError) as error:
                raise HoldfastError(
                    f"a tracker of {', '.join(config.train.trackers)} cannot start ({error})",
                    remedy="install it, or set train.trackers: []",
                    key="train.trackers",
                ) from error
            self.trackers = list(accelerator.trackers)

    def __call__(self, event: Event) -> None:
        self.listen(event)
        match event:
            case StepDone(step=step, steps=steps) if step % self.every == 0 or step in (1, steps):
                record = {"step": step, "loss": event.loss, "lr": event.lr, "norm": event.norm, "tokens": event.tokens}
                self.folder.append("train.jsonl", record | {"seconds": round(event.seconds, 3)})
                self._track({"train/loss": event.loss, "train/lr": event.lr, "train/norm": event.norm}, step)
            case Validated(step=step, loss=loss, exact=exact):
                self.folder.append("train.jsonl", {"event": "validation", "step": step, "loss": loss, "exact": exact})
                self._track({"validation/loss": loss, "validation/exact": exact}, step)
            case Engaged(report=report):
                divided = {"divided": division()} if divided_by() else {}
                self.folder.write_json("environment.json", environment(**to_json(report), **divided))
            case GradientsChecked(missing=missing):
                self.folder.write_json("gradients.json", {"without_gradient_after_step_1": list(missing)})
            case _:
                pass

    def _track(self, values: dict[str, float], step: int) -> None:
        for tracker in self.trackers:
            tracker.log(values, step=step)

    def close(self) -> None:
        """Finish the trackers."""
        for tracker in self.trackers:
            tracker.finish()
