"""The training loop: a step is accumulate, clip, before_step, optimizer, after_step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from holdfast import ranks
from holdfast.config.schema import Speed, Train
from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.events import GradientsChecked, Listener, MemorySplit, Resumed, StepDone, Validated, silence
from holdfast.methods.contract import Seen
from holdfast.methods.ledger import check_gradients
from holdfast.methods.recipe import Recipe
from holdfast.models.batch import Batch
from holdfast.models.loading import Loaded
from holdfast.models.memory import out_of_memory
from holdfast.speed.ahead import Ahead
from holdfast.speed.blocks import blocks_of, compiled, without_kv_cache
from holdfast.speed.decision import OFF, Decision, Engaged, Report
from holdfast.speed.division import image_tokens, shares
from holdfast.speed.frozen import without_graph
from holdfast.speed.policy import feature_cache, packed_training, shared_training
from holdfast.speed.sharing.attention import in_two_pieces
from holdfast.speed.sharing.batcher import Batcher
from holdfast.stopping import noted
from holdfast.training import fused
from holdfast.training.alike import start_alike, still_alike
from holdfast.training.batches import Stream, count_steps, parts
from holdfast.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from holdfast.training.log import cut_back
from holdfast.training.loss import answer_logits, answer_loss
from holdfast.training.memory import Randomness, clean_up
from holdfast.training.schedule import schedule
from holdfast.training.sharding import sharded
from holdfast.training.shards import Shards


@dataclass
class Outcome:
    """What training came to; ``last`` is the step behind which it ended, ``steps`` what was planned."""

    steps: int
    seconds: float
    stopped_early: bool
    last: int = 0
    losses: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Made:
    """What one step came to; see :class:`holdfast.events.StepDone`."""

    loss: float
    lr: float
    norm: float
    tokens: int


class Trainer:
    """Trains an attached recipe; resumes from the run folder's checkpoint where there is one."""

    def __init__(
        self,
        loaded: Loaded,
        recipe: Recipe,
        train: Train,
        examples: tuple[Example, ...],
        validation: tuple[Example, ...],
        *,
        seed: int,
        run: Path | None = None,
        listen: Listener = silence,
        speed: Speed | None = None,
        keep: Mapping[int, Path] | None = None,
    ) -> None:
        """
        Args:
            keep: Step -> the folder in which what is trained by then is kept, to be looked at later.
        """
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import AutocastKwargs

        if not examples:
            raise HoldfastError("the target has no training examples", remedy="give it examples to train on")
        self.loaded, self.recipe, self.train, self.speed = loaded, recipe, train, speed or Speed()
        self.examples, self.validation, self.run_folder = examples, validation[: train.validation_limit], run
        self.listen, self.seed, self.ranks = listen, seed, ranks.here()
        self.stream = Stream(examples, train.batch_size, train.accumulate, seed, train.order)
        self.steps = count_steps(train, len(examples))
        self.keep = keep or {}
        self.largest = train.batch_size  # examples of one forward pass; less after a step ran out of memory
        self.keep_logits = recipe.wants_logits
        if self.speed.head == "liger":
            fused.require()
        torch.manual_seed(seed)
        start_alike(recipe)
        groups = recipe.parameter_groups(train.weight_decay)
        if not groups and self.steps:
            raise HoldfastError(
                "the recipe trains nothing", remedy="name a method other than 'frozen', or train.steps: 0"
            )
        self.optimizer = torch.optim.AdamW(groups or [{"params": []}], betas=train.betas)
        recipe.bind(self.optimizer, self.steps)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.factor = schedule(train, self.steps)
        # The library keeps the first precision of a process for good, and a tracker or an earlier run may have set it.
        AcceleratorState._reset_state()
        # Where blocks are gathered and given back one by one, converted weights must not outlive them either.
        converted = AutocastKwargs(cache_enabled=not ranks.sharded())
        self.accelerator = Accelerator(
            mixed_precision=_precision(train), cpu=loaded.device.type == "cpu", kwargs_handlers=[converted]
        )
        self.own_forward = "forward" in vars(loaded.model)
        self.shards = Shards()
        # Precision alone: this process's gradients are added to the others' in _step.
        self.model = self.accelerator.prepare_model(loaded.model, evaluation_mode=True)
        self.image = image_tokens(loaded, examples) if self.ranks.world > 1 else 0.0

    def fit(self) -> Outcome:
        """Train to the end, to an early stop, or to an interruption (a checkpoint is written first).

        Raises:
            KeyboardInterrupt: After the step in progress was finished and saved.
            HoldfastError: The loss is not a number.
        """
        guarded = self.frozen if self.speed.frozen_no_grad else set[str]()
        blocks = blocks_of(self.loaded.model)
        try:
            with (
                without_graph(self.loaded.model, self.loaded.anatomy, guarded),
                without_kv_cache(self.loaded.model),
                in_two_pieces(self.loaded.model),
                compiled(blocks, self.speed.compile),
            ):
                self.batcher, self.report = self._engage()
                self.coming = Ahead(
                    self._prepared,
                    end=self.steps,
                    workers=self.speed.workers,
                    device=self.loaded.device,
                    begin=self._in_worker,
                )
                self.listen(Engaged(self.report))
                progress = self._resume()
                with sharded(self.loaded, self.recipe, self.optimizer, self.train.clip, self.examples) as self.shards:
                    return self._fit(progress)
        finally:
            # Under mixed precision the library replaces the model's forward, and puts it back as the model's own
            # attribute, where it was its class's.
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            if not self.own_forward:
                vars(self.loaded.model).pop("forward", None)

    def _resume(self) -> Progress:
        progress = None
        if self.run_folder is not None:
            moments = "cpu" if ranks.divided_by() else None  # whole, they may be more than a device holds
            with self.ranks.in_turn():
                progress = load_checkpoint(self.run_folder, self.recipe, self.optimizer, self.steps, moments=moments)
        if progress is not None and self.run_folder is not None:
            self.listen(Resumed(progress.step, self.steps))
            if self.ranks.first:
                cut_back(self.run_folder / "train.jsonl", progress.step)
        return progress or Progress()

    def _fit(self, progress: Progress) -> Outcome:
        outcome = Outcome(self.steps, progress.seconds, progress.stopped)
        begun = time.perf_counter() - progress.seconds
        with noted() as interrupted, self.coming:
            while progress.step < self.steps and not progress.stopped:
                made = self._step(progress.step)
                outcome.losses.append(made.loss)
                progress.step += 1
                progress.seconds = time.perf_counter() - begun
                done = StepDone(step=progress.step, steps=self.steps, seconds=progress.seconds, **asdict(made))
                self.listen(done)
                self._after(progress)
                begun += self._kept(progress)
                due = self.train.checkpoint_every and progress.step % self.train.checkpoint_every == 0
                ended = bool(self.ranks.total(float(interrupted()))[0])  # all stop behind the same step
                if due or ended:
                    self._save(progress)
                if ended:
                    raise KeyboardInterrupt
        outcome.seconds, outcome.stopped_early, outcome.last = progress.seconds, progress.stopped, progress.step
        self._save(progress)
        return outcome

    def _save(self, progress: Progress) -> None:
        self._write(self.run_folder, progress, self.optimizer)

    def _write(self, place: Path | None, progress: Progress, optimizer: torch.optim.Optimizer | None) -> None:
        """The first process writes; where tensors are divided, the others send it what they have."""
        still_alike(self.recipe, self.shards.undivided(self.recipe.named_trainable()))
        if place is not None and (self.ranks.first or self.shards.all_save):
            save_checkpoint(place, self.recipe, optimizer, progress, self.shards)
        self.ranks.wait()

    def _kept(self, progress: Progress) -> float:
        """Write down what is trained by now, where it will be looked at; the seconds of that, which are no training."""
        place = self.keep.get(progress.step)
        if place is None:
            return 0.0
        begun = time.perf_counter()
        self._write(place, progress, None)
        return time.perf_counter() - begun

    @property
    def frozen(self) -> set[str]:
        """Image encoder and connector, where nothing changes them."""
        return {"vision", "connector"} - self.recipe.touches()

    def _engage(self) -> tuple[Batcher, Report]:
        """Decide, check and prepare, as the precision of the run has it."""
        seen = self.steps * self.train.batch_size * self.train.accumulate
        loaded, speed, frozen = self.loaded, self.speed, self.frozen
        with self.ranks.in_turn(), self.accelerator.autocast():
            cache, cached = feature_cache(
                loaded,
                frozen,
                speed,
                [*self.examples, *self.validation],
                passes=seen / len(self.examples),
                listen=self.listen,
                pixels_for=self.recipe.wants_pixels,
            )
            batcher = Batcher(loaded, max_length=self.train.max_length, layout="shared", cache=cache)
            shared = shared_training(batcher, speed, self.train, self.examples, seen=seen)
            batcher.layout = "shared" if shared else "separate"
            batcher.filling, packed = packed_training(batcher, speed, self._divided, steps=self.steps)
        attention = str(loaded.model.config.get_text_config()._attn_implementation)  # type: ignore[union-attr, operator]
        report: Report = {
            "share_images": shared,
            "packing": packed,
            "feature_cache": cached,
            "frozen_no_grad": Decision(
                speed.frozen_no_grad and bool(frozen), "frozen: " + (", ".join(sorted(frozen)) or "no encoder is")
            ),
            "precision": self.accelerator.mixed_precision,
            "attention": attention.removesuffix("_shared"),
            "compile": Decision(True, "the blocks of the llm") if speed.compile else OFF,
            "split_on_oom": Decision(False, "memory has sufficed") if speed.split_on_oom else OFF,
        }
        return batcher, report

    def _step(self, step: int) -> Made:
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * self.factor(step)
        self.model.train()
        self._draw_anew(step, self.ranks.rank + 1)
        tokens, summed = self._accumulate(step)
        self.shards.add_up(self.recipe.named_trainable())
        if step == 0:
            missing = check_gradients(
                self.recipe, self.loaded.anatomy, images=self.images_seen, reached=self.shards.reached
            )
            self.listen(GradientsChecked(missing))
        self._draw_anew(step, 0)
        norm = self._clip()
        self.recipe.before_step(step)
        norm = self.shards.move(self.optimizer, norm)
        self.recipe.after_step(step)
        self.optimizer.zero_grad(set_to_none=True)
        return Made(summed, max(g["lr"] for g in self.optimizer.param_groups), norm, tokens)

    def _draw_anew(self, step: int, who: int) -> None:
        """Of several processes each draws its own dropout, whoever else resumes; what all draw, they draw alike."""
        if self.ranks.world > 1:
            torch.manual_seed((self.seed * 1_000_003 + step) * 1_009 + who)

    def _accumulate(self, step: int) -> tuple[int, float]:
        """The gradient of one step, in as many parts as memory asks for: its answer tokens and its loss.

        Of several processes this one does a share of the examples; tokens and loss are those of all.
        """
        tokens: int | None = None
        while True:
            before = Randomness()
            try:
                batches = [self.batcher.place(batch) for batch in self.coming.take(step)]
                self.report["workers"] = self.coming.decision
                # One normaliser for the whole step: accumulating k batches equals one batch k times as large.
                if tokens is None:  # the others count once, whatever memory asks for here
                    tokens = int(self.ranks.total(sum(batch.answer_tokens for batch in batches))[0])
                passes = self.shards.most(len(batches))
                with self.shards.summing(passes):
                    summed = self._gradient(step, batches, 1 / max(tokens, 1))
                    for _ in range(passes - len(batches)):
                        self._keep_company(batches[0])
                summed, seen = self.ranks.total(summed, any(batch.shows_images for batch in batches))
                self.images_seen = bool(seen)
                return tokens, summed
            except (RuntimeError, MemoryError) as error:
                if not self.speed.split_on_oom or not out_of_memory(error):
                    raise
                if ranks.divided_by():  # a second try would gather what the others do not send
                    raise HoldfastError(
                        f"memory ran out at step {step + 1}, and processes that divide weights cannot try again",
                        remedy="set train.gradient_checkpointing: true, or lower train.batch_size",
                    ) from error
                if self.largest == 1:
                    raise HoldfastError(
                        f"one example alone does not fit into memory at step {step + 1}",
                        remedy="set train.gradient_checkpointing: true, or lower train.max_length",
                    ) from error
            clean_up(self.loaded.model, self.optimizer)
            before.restore()
            self.largest = (self.largest + 1) // 2
            self.report["split_on_oom"] = Decision(True, f"from step {step + 1} on {self.largest} examples a pass")
            self.listen(MemorySplit(step + 1, self.largest))
            self.listen(Engaged(self.report))

    def _divided(self, step: int) -> list[list[Example]]:
        """This process's share of a step's examples, in as many parts as memory asks for."""
        chosen = [example for batch in self.stream.step(step) for example in batch]
        chosen = shares(chosen, self.ranks.world, image=self.image)[self.ranks.rank]
        return parts(chosen, self.largest) if len(chosen) > self.largest else [chosen]

    def _prepared(self, step: int) -> list[Batch]:
        """The batches of a step on the CPU; a function of the step, wherever it is called."""
        return [self.batcher.prepare(examples) for examples in self._divided(step)]

    def _in_worker(self, workers: int) -> None:
        """Workers remember as much together as one process would alone."""
        self.batcher.rows.limit //= workers

    def _gradient(self, step: int, batches: Sequence[Batch], scale: float) -> float:
        """The gradient of some examples, each token's loss times ``scale``; returns what that loss comes to."""
        summed = 0.0
        for part, batch in enumerate(batches):
            with self.accelerator.autocast():
                result = answer_loss(self.model, batch, head=self.speed.head, keep_logits=self.keep_logits)
                loss = result.total * scale
                term = self.recipe.penalty(step) if part == 0 and self.ranks.first else None
                if self.keep_logits and result.logits is not None:
                    base, again = partial(self._base, batch), partial(self._again, batch)
                    per_batch = self.recipe.batch_penalty(Seen(batch, result.logits, result.targets, base, again))
                    if per_batch is not None:
                        term = per_batch * scale if term is None else term + per_batch * scale
            summed += float(loss.detach())
            if not torch.isfinite(loss.detach()):
                ids = ", ".join(example.id for example in self._divided(step)[part][:4])
                raise HoldfastError(
                    f"the loss of step {step + 1} is {float(loss.detach())}", item=ids, remedy="lower the learning rate"
                )
            self.shards.backward(self.accelerator, loss if term is None else loss + term)
            if "head" not in self.report or self.report["head"] != result.head:
                self.report["head"] = result.head
                self.listen(Engaged(self.report))
        return summed

    def _keep_company(self, batch: Batch) -> None:
        """A pass that adds nothing, beside processes that have more batches in this step and gather from all."""
        with self.accelerator.autocast():
            nothing = answer_loss(self.model, batch, head=self.speed.head).total * 0
        self.shards.backward(self.accelerator, nothing)

    def _base(self, batch: Batch) -> Tensor:
        """What the untouched base says at the answers."""
        kind = self.loaded.device.type
        # Autocast remembers converted weights, and these are not the weights it remembers.
        converting = torch.autocast(kind, enabled=torch.is_autocast_enabled(kind), cache_enabled=False)
        self.model.eval()
        with self.recipe.suspended(), torch.no_grad(), converting:
            logits, _ = answer_logits(self.model, batch, head=self.speed.head)
        self.model.train()
        return logits

    def _again(self, batch: Batch, other: Batch | None = None) -> Tensor:
        """What the model in training says in another pass: with gradients, and with dropout of its own."""
        return answer_logits(self.model, other or batch, head=self.speed.head)[0]

    def _clip(self) -> float:
        parameters = [parameter for parameter in self.recipe.named_trainable().values() if parameter.grad is not None]
        limit = float("inf") if self.train.clip is None else self.train.clip
        return self.shards.clip(self.accelerator, parameters, limit)

    def _after(self, progress: Progress) -> None:
        every = self.train.evaluate_every
        if not every or progress.step % every or not self.validation:
            return
        loss, exact = self.validate()
        self.listen(Validated(progress.step, loss, exact))
        if progress.best is None or loss < progress.best:
            progress.best, progress.worse = loss, 0
        else:
            progress.worse += 1
            progress.stopped = self.train.patience is not None and progress.worse >= self.train.patience

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """Mean answer loss per token, and the share of items in percent that greedy decoding gets exactly right."""
        self.model.eval()
        total, tokens, exact = 0.0, 0, 0
        size = self.train.batch_size
        begins = range(self.ranks.rank * size, len(self.validation), self.ranks.world * size)

        def made(place: int) -> Batch:
            begin = begins[place] if place < len(begins) else 0
            return self.batcher.prepare(self.validation[begin : begin + size])

        # Workers of the training are asleep meanwhile, with their batches made, and keep what they know of examples.
        passes = self.shards.most(len(begins))
        with Ahead(
            made,
            end=passes,
            workers=self.speed.workers,
            device=self.loaded.device,
            begin=self._in_worker,
            strict=False,
        ) as coming:
            for place in range(passes):
                batch = self.batcher.place(coming.take(place))
                with self.accelerator.autocast():
                    result = answer_loss(self.model, batch, head=self.speed.head)
                if place >= len(begins):
                    continue  # beside processes that have more
                total += float(result.total)
                tokens += result.tokens
                exact += int(result.exact.sum())
        loss, count, right = self.ranks.total(total, tokens, exact)
        return loss / max(count, 1), 100 * right / len(self.validation)


def _precision(train: Train) -> str:
    if train.precision != "auto":
        return "no" if train.precision == "fp32" else "bf16"
    return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
