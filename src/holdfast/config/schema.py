"""Every setting of a run, with its default and its bounds. Unknown keys are errors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from holdfast.values import JSON

AS_IT_IS = "{question}"
"""The prompt that changes no question."""


MOST_SEED = 2**54
"""Every component draws from a seed of its own, 1000 times this one and a little more, and torch takes 64 bits."""


class ConfigSection(BaseModel):
    """A part of the configuration; a key it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _method_name_as_recipe(value: Any) -> Any:
    return {"method": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    """Methods of one component, or fusions one after the other, written as a list: the first with those that follow."""
    value = [_method_name_as_recipe(item) for item in value] if isinstance(value, list | tuple) else value
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return {**value[0], "then": [*value[0].get("then", []), *value[1:]]}
    return _method_name_as_recipe(value)


class ComponentRecipe(BaseModel):
    """How one component changes: a method, its learning rate, and the method's own options; or a list of several that
    go together.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    method: str = Field(default="frozen", description="by name; its options stand beside it")
    lr: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="peak learning rate; default: the method's own"
    )
    then: tuple[Annotated[ComponentRecipe, BeforeValidator(_method_name_as_recipe)], ...] = Field(
        default=(), description="what stands beside it; the same as writing a list"
    )

    @property
    def options(self) -> JSON:
        """The keys that belong to the method."""
        return dict(self.model_extra or {})

    @property
    def all(self) -> list[ComponentRecipe]:
        """This one and those beside it."""
        return [self, *(other for recipe in self.then for other in recipe.all)]

    @model_validator(mode="after")
    def _frozen_is_alone(self) -> ComponentRecipe:
        if self.then and any(recipe.method == "frozen" for recipe in self.all):
            raise ValueError("frozen stands alone; take it out of the list, or write it for the whole component")
        return self

    @model_serializer(mode="wrap")
    def _one_is_written_as_one(self, write: SerializerFunctionWrapHandler) -> JSON:
        """A method alone is dumped without ``then``, as it was before there could be several."""
        written: JSON = write(self)
        if not self.then:
            written.pop("then", None)
        return written


class Tune(ConfigSection):
    """How each component changes; a bare word is the name of a method without options."""

    vision: Annotated[ComponentRecipe, BeforeValidator(_listed)] = ComponentRecipe()
    connector: Annotated[ComponentRecipe, BeforeValidator(_listed)] = ComponentRecipe()
    llm: Annotated[ComponentRecipe, BeforeValidator(_listed)] = ComponentRecipe()


class StabiliserSpec(BaseModel):
    """A stabiliser by name with its options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    stabiliser: str = Field(description="by name; its options stand beside it")

    @property
    def options(self) -> JSON:
        """The keys that belong to the stabiliser."""
        return dict(self.model_extra or {})


class FusionSpec(BaseModel):
    """A fusion by name with its options; a list of them is applied one after the other."""

    model_config = ConfigDict(extra="allow", frozen=True)

    method: str = Field(description="by name; its options stand beside it")
    components: tuple[Literal["vision", "connector", "llm"], ...] | None = Field(
        default=None, description="the components whose change is edited; default: all that are tuned"
    )
    experts: tuple[str, ...] = Field(
        default=(), description="folders of other runs on the same base, whose changes are fused with this one's"
    )
    then: tuple[FusionSpec, ...] = Field(default=(), description="what follows; the same as writing a list")

    @property
    def options(self) -> JSON:
        """The keys that belong to the fusion."""
        return dict(self.model_extra or {})

    @property
    def all(self) -> list[FusionSpec]:
        """This one and those that follow."""
        return [self, *(later for spec in self.then for later in spec.all)]


def _name_as_stabiliser(value: Any) -> Any:
    return {"stabiliser": value} if isinstance(value, str) else value


Share = Annotated[float, Field(ge=0, lt=1)]


def _path_as_task(value: Any) -> Any:
    return {"data": value} if isinstance(value, str) else value


class TaskSpec(ConfigSection):
    """Where a task's examples come from, how they are asked and how they are scored.

    ``data`` is a file of examples, a data set of Hugging Face (its Hub id, a folder of save_to_disk, parquet or arrow
    files), ``pocket:NAME`` or the name of a task card. A single file is divided into train, validation and test by
    image, so that no picture stands in two of them; a data set's own splits of these names are taken as they are.
    """

    data: str = Field(
        description="a file of examples, a prepared folder, a data set of Hugging Face, the name of a task card, or "
        "pocket:NAME"
    )
    name: str | None = Field(default=None, description="what the task is called; default: its file's name")
    root: str | None = Field(default=None, description="folder of the images; default: the file's own")
    split: str | None = Field(default=None, description="of a data set: the split trained on; default: train")
    subset: str | None = Field(default=None, description="of a data set of the Hub: which of its configurations")
    validation: str | Share = Field(
        default=0.1, description="a file or a split of the data set, or the share split off"
    )
    test: str | Share = Field(default=0.1, description="a file or a split of the data set, or the share split off")
    prompt: str = Field(default=AS_IT_IS, description="the text asked; {question} and {choices} are filled in")
    system: str | None = Field(default=None, description="system prompt of items that bring none of their own")
    columns: dict[str, str] = Field(
        default={},
        description="field of an example (question, answer, image, id, choices, system) -> what the file calls it",
    )
    reasoning: Literal["keep", "drop"] = Field(
        default="keep",
        description="of answers that begin with their own (<think>...</think>): keep trains on it and asks the model "
        "to think; it is never judged",
    )
    metric: str | None = Field(default=None, description="by name; default: the card's, or exact_match")
    variant: str | None = Field(default=None, description="of the metric, by name; default: the metric's first")
    limit: int | None = Field(default=None, gt=0, description="at most so many training examples")
    weight: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="how often a training example of this data set is taken, beside those of mix",
    )
    test_limit: int | None = Field(default=None, gt=0, description="at most so many test examples")
    max_new_tokens: int | None = Field(
        default=None, gt=0, description="longest answer; default: evaluate.max_new_tokens"
    )

    @model_serializer(mode="wrap")
    def _as_before_reasoning(self, write: SerializerFunctionWrapHandler) -> JSON:
        """The default is dumped as nothing, as it was before there was a choice."""
        written: JSON = write(self)
        if self.reasoning == "keep":
            written.pop("reasoning", None)
        return written


Task = Annotated[TaskSpec, BeforeValidator(_path_as_task)]


class Train(ConfigSection):
    """The loop: how long, how large, which schedule."""

    epochs: float = Field(default=3.0, gt=0, description="passes over the training examples")
    steps: int | None = Field(default=None, ge=0, description="optimizer steps; overrides epochs")
    batch_size: int = Field(default=16, gt=0, description="examples per forward and backward")
    order: Literal["images", "random", "length"] = Field(
        default="images",
        description="images: questions of one image follow each other; random: they do not; length: like images, and "
        "batches hold rows of similar length",
    )
    accumulate: int = Field(default=1, gt=0, description="batches per optimizer step")
    warmup: float = Field(default=0.03, ge=0, le=1, description="share of the steps")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="how the learning rate falls after the warmup"
    )
    final_lr: float = Field(default=0.0, ge=0, le=1, description="share of the peak at the last step")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's, on matrices only")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="AdamW's running means")
    clip: float | None = Field(default=1.0, gt=0, description="largest gradient norm; null: no clipping")
    max_length: int | None = Field(default=None, gt=0, description="tokens of a row; images are never cut")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="of training; auto: bf16 on a GPU that has it, else fp32"
    )
    gradient_checkpointing: bool = Field(default=False, description="less memory, a second forward pass")
    evaluate_every: int | None = Field(default=None, gt=0, description="steps between validation passes")
    validation_limit: int = Field(default=200, gt=0, description="at most so many validation examples a pass")
    patience: int | None = Field(default=None, gt=0, description="early stop after so many worse validations")
    checkpoint_every: int | None = Field(default=None, gt=0, description="steps between resumable checkpoints")
    log_every: int = Field(default=10, gt=0, description="steps between lines of train.jsonl")
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = Field(
        default=("tensorboard",), description="where curves go besides train.jsonl; [] for nowhere"
    )


def _bare_word(value: Any) -> Any:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_bare_word)]


MOST_WORKERS = 256
"""Processes that prepare batches: several times as many as serve any one GPU, and few enough to start."""


def _whole_number_or_auto(value: Any) -> Any:
    """One sentence for a mistake, where a union would say two things."""
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_WORKERS
    if value != "auto" and not whole:
        raise ValueError(f"it should be a whole number from 0 to {MOST_WORKERS}, or auto")
    return value


Workers = Annotated[int | Literal["auto"], BeforeValidator(_whole_number_or_auto)]


class Speed(ConfigSection):
    """Speed-ups that change no result; ``environment.json`` says which engaged, and why others did not.

    ``on`` refuses to start where a speed-up cannot engage; ``auto`` goes on without it. YAML reads a bare ``on`` or
    ``off`` as true or false; both are understood.
    """

    share_images: Switch = Field(default="auto", description="questions about one image become one row")
    packing: Switch = Field(
        default="auto",
        description="rows of different images behind each other in one, without padding; on: wherever there is some; "
        "auto: above 10 % of it, where counting says that it saves time; by flash-attn's kernels where they are at "
        "hand and no row is shared",
    )
    feature_cache: Switch = Field(default="auto", description="features of frozen image encoders are computed once")
    cache_dir: str | None = Field(default=None, description="default: HOLDFAST_CACHE, or the user's cache folder")
    cache_gb: float = Field(default=20.0, gt=0, description="largest size of the feature cache in GB")
    head: Literal["auto", "answers", "chunked", "liger", "full"] = Field(
        default="auto",
        description="answers: logits where labels are; chunked: those in pieces; full: logits everywhere; liger: fused",
    )
    frozen_no_grad: bool = Field(default=True, description="frozen encoders never join the autograd graph")
    workers: Workers = Field(
        default="auto",
        description="processes that decode, resize and tokenize coming batches; 0: none; auto: none on a CPU, up to 8 "
        "on a GPU",
    )
    split_on_oom: bool = Field(default=True, description="out of memory: the same step again in smaller parts")
    compile: bool = Field(default=False, description="torch.compile the blocks of the llm")
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "flex_attention"] = Field(
        default="auto", description="an implementation by name; auto: the library's choice"
    )


class Load(ConfigSection):
    """How the base is kept in memory: a frozen component's matrices may take four or eight bits a weight."""

    bits: Literal[4, 8] | None = Field(
        default=None, description="bits a weight of frozen matrices; null: those of the model's own dtype"
    )
    components: tuple[Literal["vision", "connector", "llm"], ...] = Field(
        default=("llm",), min_length=1, description="the components whose matrices are kept so"
    )
    values: Literal["nf4", "fp4"] = Field(default="nf4", description="what the sixteen values of four bits are")
    double: bool = Field(default=True, description="the scales of four bits take eight bits themselves")
    compute: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="precision of products with four-bit weights; auto: the dtype of the other weights"
    )


def _steps_or_epoch(value: Any) -> Any:
    """One sentence for a mistake, where a union would say several things."""
    many = list(value) if isinstance(value, list | tuple) else [value]
    whole = all(isinstance(step, int) and not isinstance(step, bool) and step > 0 for step in many)
    if value not in (None, "epoch") and not (many and whole):
        raise ValueError("it should be a number of steps, a list of steps, or epoch")
    return value


During = Annotated[int | Literal["epoch"] | tuple[int, ...] | None, BeforeValidator(_steps_or_epoch)]


class Evaluate(ConfigSection):
    """Prediction: greedy decoding, so that scoring has no randomness."""

    batch_size: int = Field(default=32, gt=0, description="items asked together")
    max_new_tokens: int = Field(default=32, gt=0, description="longest answer")
    options: Literal["generate", "likelihood"] = Field(
        default="generate", description="likelihood: of given options the likeliest is the answer; no text is generated"
    )
    source_limit: int | None = Field(default=None, gt=0, description="at most so many items per source task")
    during: During = Field(
        default=None,
        description="E and F over training: steps between two moments at which every task is asked, a list of steps, "
        "or epoch; what is trained by then is kept on disk until the training has ended",
    )
    kl: bool = Field(default=False, description="measure how far the tuned model's next tokens are from the base's")


class RunConfig(ConfigSection):
    """One recipe on one model and one target, with one seed."""

    model: str = Field(default="pocket", description="a Hub id, a model folder, pocket or pocket-2")
    trust_remote_code: bool = Field(default=False, description="run code that comes with the model")
    load: Load = Load()
    tune: Tune = Tune()
    keep: tuple[Annotated[StabiliserSpec, BeforeValidator(_name_as_stabiliser)], ...] = Field(
        default=(), description="stabilisers: terms or rules that keep general ability while training"
    )
    fuse: Annotated[FusionSpec | None, BeforeValidator(_listed)] = Field(
        default=None, description="a fusion, or a list of them: an edit of tuned minus base after training"
    )
    target: Task | None = Field(default=None, description="the task that is tuned for")
    mix: tuple[Task, ...] = Field(
        default=(), description="data sets that are trained on beside the target, each at its weight; never asked"
    )
    sources: tuple[Task, ...] = Field(default=(), description="tasks that must be kept, asked before and after")
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    speed: Speed = Speed()
    seed: int = Field(default=0, ge=0, le=MOST_SEED, description="of initial values, order, subsamples and dropout")
    skip_bad: bool = Field(default=False, description="leave bad examples out and record them in skipped.json")
    name: str | None = Field(default=None, description="what the recipe is called in tables; default: the run folder's")
