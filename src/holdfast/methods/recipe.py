"""A recipe: what changes in each component, stabilisers and a fusion, attached to a model and taken off again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from holdfast.config.schema import ComponentRecipe, RunConfig
from holdfast.errors import HoldfastError, within
from holdfast.methods.contract import Artifact, Batch, Context, Method, ParameterGroup, Seen, Teacher, none_given
from holdfast.methods.fusion.base import Fusion, check_experts
from holdfast.methods.registry import METHODS, make_fusion, make_method, make_stabiliser
from holdfast.methods.several import SEVERAL, Several, below, parts_of, rates_of
from holdfast.methods.stabilisers.base import Stabiliser, total
from holdfast.models.anatomy import COMPONENTS
from holdfast.models.loading import Loaded
from holdfast.models.quantised import packed_components, packed_elsewhere
from holdfast.ranks import asked_for
from holdfast.registry import ours
from holdfast.speed.sharing.supports import WHOLE_ROWS
from holdfast.values import JSON


class Recipe:
    """The sentence ``tune / keep / fuse`` of a configuration as objects."""

    def __init__(self, config: RunConfig) -> None:
        """Check names and options; nothing is attached yet.

        Raises:
            HoldfastError: Unknown method, stabiliser, fusion or option; or nothing that could train.
        """
        self.config = config
        self.methods: dict[str, Method] = {}
        self.learning_rates: dict[str, float] = {}
        for component in COMPONENTS:
            with within("tune", component):
                method, rate = _made(getattr(config.tune, component), f"tune.{component}: ")
            self.methods[component], self.learning_rates[component] = method, rate
        self.stabilisers: list[Stabiliser] = []
        for place, item in enumerate(config.keep):
            with within("keep", place):
                self.stabilisers.append(make_stabiliser(item.stabiliser, item.options))
        self.fusions: list[Fusion] = []
        if config.fuse is not None:
            for spec in config.fuse.all:
                with within("fuse"):
                    self.fusions.append(make_fusion(spec.method, spec.options))
                    self.fusions[-1].components = spec.components or COMPONENTS
                    self.fusions[-1].experts_from = spec.experts
                    check_experts(self.fusions[-1], 1 + len(spec.experts))
                    self._check_fusible(self.fusions[-1])
        if config.load.bits is not None:
            self.check_packed(dict.fromkeys(config.load.components, config.load.bits))

    def check_packed(self, packed: Mapping[str, int], *, elsewhere: Collection[str] = ()) -> None:
        """Refuse methods and fusions that need the weights of components which are kept packed.

        Args:
            packed: Bits a weight, by component.
            elsewhere: Components whose packed weights are GPTQ's or AWQ's.

        Raises:
            HoldfastError: With the method or fusion, and what goes there instead.
        """
        for component in elsewhere:
            strangers = [part for part in self.methods[component].parts() if not part.beside_any_layer()]
            if component in self.active and strangers:
                raise HoldfastError(
                    f"method '{strangers[0].card.name}' does not know the layers of '{component}', which another tool "
                    "stored packed (GPTQ, AWQ)",
                    remedy="use lora, or give the model before it was quantised with load: {bits: 4}",
                    key=f"tune.{component}",
                )
        for component, bits in packed.items():
            unfit = [part for part in self.methods[component].parts() if bits not in part.packed_bits()]
            if component in self.active and unfit:
                does = "writes" if unfit[0].card.paradigm == "selective" else "reads"
                raise HoldfastError(
                    f"method '{unfit[0].card.name}' {does} the weights of '{component}', which are kept in {bits} bits",
                    remedy="use a method that works beside them (lora, adapter, prefix), or leave this component out "
                    "of load.components",
                    key=f"tune.{component}",
                )
            fusion = next((fusion for fusion in self.fusions if component in fusion.components), None)
            if fusion is not None and component in self.active:
                raise HoldfastError(
                    f"fusion '{fusion.card.name}' edits the weights of '{component}', which are kept in {bits} bits",
                    remedy="drop the fusion, or load.bits",
                    key="fuse",
                )

    def check_sharded(self) -> None:
        """Refuse what is not known to train while weights, or their gradients, are divided among processes.

        Raises:
            HoldfastError: With the method or stabiliser.
        """
        parts = {f"tune.{place}": part for place, part in self.parts.items()}
        terms = {f"keep.{place}": part for place, part in enumerate(self.stabilisers)}
        for key, part in (parts | terms).items():
            if not vars(type(part)).get("over_shards", False):
                what = "stabiliser" if isinstance(part, Stabiliser) else "method"
                raise HoldfastError(
                    f"{what} '{part.card.name}' works on whole tensors, and accelerate was asked for {asked_for()}, "
                    "which takes them apart",
                    remedy="start plain processes (accelerate launch --multi_gpu, or --processes); "
                    f"docs/devices.md says what trains under {asked_for()}",
                    key=key,
                )

    def _check_fusible(self, fusion: Fusion) -> None:
        name = fusion.card.name
        for component in fusion.components:
            stuck = [part.card.name for part in self.methods[component].parts() if not part.card.mergeable]
            if stuck:
                others = [other for other, beside in self.active.items() if beside.card.mergeable]
                raise HoldfastError(
                    f"fusion '{name}' edits weights, and method '{stuck[0]}' on '{component}' changes none "
                    "that could be edited",
                    remedy=f"fuse what can be merged (components: [{', '.join(others)}])"
                    if others
                    else "fuse a mergeable method, or drop the fusion",
                )

    @property
    def active(self) -> dict[str, Method]:
        """The methods of components that are not frozen."""
        return {name: method for name, method in self.methods.items() if method.card.name != "frozen"}

    @property
    def parts(self) -> dict[str, Method]:
        """The same, those that share a component each by itself, as ``component`` or ``component.place``."""
        return {
            component if part.place is None else f"{component}.{part.place}": part
            for component, method in self.active.items()
            for part in method.parts()
        }

    def touches(self) -> set[str]:
        """The components whose outputs change while it is attached."""
        return {component for method in self.active.values() for component in method.touches()}

    @property
    def paradigm(self) -> str:
        """The paradigms in use; a fusion makes the recipe selective too."""
        found = {part.card.paradigm for part in self.parts.values()}
        if self.fusions:
            found.add("selective")
        return " + ".join(sorted(found)) or "baseline"

    def check_steps(self, steps: int) -> None:
        """Refuse methods that do not go with so many optimizer steps.

        Raises:
            HoldfastError: A method's schedule does not fit.
        """
        for component, method in self.active.items() if steps else ():
            for place, part in enumerate(method.parts()):
                with within("tune", component, *((place,) if len(method.parts()) > 1 else ())):
                    part.check_steps(steps)

    @property
    def needs_sources(self) -> bool:
        """Whether something of it looks at training examples of the sources."""
        return bool(self._lookers)

    def check_sources(self, there: bool) -> None:
        """Refuse what looks at training examples of the sources where there are none.

        Args:
            there: Whether there are, or may be.

        Raises:
            HoldfastError: With the first method, stabiliser or fusion that does.
        """
        for who, key in () if there else self._lookers:
            with within(*key):
                raise none_given(who, "sources")

    @property
    def _lookers(self) -> list[tuple[str, tuple[str | int, ...]]]:
        """Who looks at training examples of the sources, and where it stands."""
        found: list[tuple[str, tuple[str | int, ...]]] = []
        for component, method in self.active.items():
            for part in method.parts():
                if part.needs_sources:
                    place = () if part.place is None else (part.place,)
                    found.append((f"method '{part.card.name}'", ("tune", component, *place)))
        for position, stabiliser in enumerate(self.stabilisers):
            if stabiliser.needs_sources:
                found.append((f"stabiliser '{stabiliser.card.name}'", ("keep", position)))
        for fusion in self.fusions:
            if fusion.needs_sources:
                found.append((f"fusion '{fusion.card.name}'", ("fuse",)))
        return found

    def attach(
        self,
        loaded: Loaded,
        seed: int,
        batches: Callable[..., Iterator[Batch]] | None = None,
        loss: Callable[[Batch], Tensor] | None = None,
        teacher: Callable[[str], Teacher] | None = None,
    ) -> None:
        """Freeze the model and attach every method, then every stabiliser.

        Args:
            loaded: The untouched base.
            seed: Of everything drawn at random.
            batches: See :class:`holdfast.methods.contract.Context`.
            loss: The mean answer loss of one batch.
            teacher: Opens a finished run by its folder.

        Raises:
            HoldfastError: A component is empty, or a method cannot work on it.
        """
        self.check_packed(packed_components(loaded.anatomy), elsewhere=packed_elsewhere(loaded.anatomy))
        loaded.model.requires_grad_(False)
        for position, (component, method) in enumerate(self.methods.items()):
            part = loaded.anatomy.component(component)
            if method.card.name != "frozen" and not part.parameters:
                raise HoldfastError(
                    f"the model has no parameters in component '{component}'",
                    remedy="leave it frozen",
                    key=f"tune.{component}",
                )
            loaded.model.eval()  # whoever looks at losses now must not meet the dropout of what was just added
            generator = torch.Generator().manual_seed(seed * 1000 + position)
            try:
                words = getattr(loaded.chat, "tokenizer", None)  # a model may be tuned without a chat
                method.attach(part, Context(generator, batches, loss, self.learning_rates[component], words))
                _mark(loaded.model, self.parts.values())
            except HoldfastError as error:
                key = ".".join(("tune", component, *error.key))
                raise HoldfastError(f"tune.{component}: {error.problem}", remedy=error.remedy, key=key) from error
        loaded.model.eval()
        for position, stabiliser in enumerate(self.stabilisers):
            generator = torch.Generator().manual_seed(seed * 1000 + 100 + position)
            with within("keep", position):
                context = Context(generator, batches, loss, tokenizer=loaded.chat.tokenizer, teacher=teacher)
                stabiliser.check(self.parts)
                stabiliser.begin(self.parts, context)
        _mark(loaded.model, [*self.parts.values(), *self.stabilisers])
        for fusion in self.fusions if batches is not None else ():
            with within("fuse"):
                fusion.require(Context(torch.Generator(), batches, loss))

    def named_trainable(self) -> dict[str, nn.Parameter]:
        """Every tensor the optimizer moves, as ``component/name``."""
        return {
            f"{component}/{name}": parameter
            for component, method in self.active.items()
            for name, parameter in method.named_trainable().items()
        }

    def parameter_groups(self, weight_decay: float) -> list[ParameterGroup]:
        """Optimizer groups of all components with their own learning rates."""
        return [
            group
            for component, method in self.active.items()
            for group in method.parameter_groups(self.learning_rates[component], weight_decay)
        ]

    @property
    def wants_logits(self) -> bool:
        """Whether a term of the loss looks at what the model says."""
        return any(part.wants_logits for part in self._terms())

    @property
    def wants_pixels(self) -> str | None:
        """Who looks at pixels, for which features cannot stand in, if anybody does."""
        return next((part.card.name for part in self.stabilisers if part.wants_pixels), None)

    def _terms(self) -> list[Stabiliser | Method]:
        return [*self.stabilisers, *self.active.values()]

    def penalty(self, step: int) -> Tensor | None:
        """The sum of the terms that stabilisers and methods add to the loss of a step."""
        return total(part.penalty(step) for part in self._terms())

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        """The sum of their terms of one batch, summed over its answer tokens."""
        return total(part.batch_penalty(seen) for part in self._terms() if part.wants_logits)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Inside, the model computes what the untouched base computes."""
        with ExitStack() as stack:
            for method in self.active.values():
                stack.enter_context(method.suspended())
            yield

    def bind(self, optimizer: torch.optim.Optimizer, steps: int | None = None) -> None:
        """See :class:`holdfast.methods.contract.Method`.

        Raises:
            HoldfastError: A method's schedule does not fit the number of steps.
        """
        self.check_steps(steps or 0)
        for component, method in self.active.items():
            method.steps = steps
            with within("tune", component):
                method.bind(optimizer)

    def before_step(self, step: int) -> None:
        """Stabilisers first: they turn the gradient that methods then mask."""
        for stabiliser in self.stabilisers:
            stabiliser.before_step(step, self.named_trainable())
        for method in self.active.values():
            method.before_step(step)

    def after_step(self, step: int) -> None:
        """See :class:`holdfast.methods.contract.Method`; stabilisers after the methods that wrote the step."""
        for method in self.active.values():
            method.after_step(step)
        for stabiliser in self.stabilisers:
            stabiliser.after_step(step, self.named_trainable())

    def divide(self, rows: Mapping[nn.Parameter, range]) -> list[nn.Parameter]:
        """See :class:`holdfast.methods.contract.Method`."""
        return [parameter for method in self.active.values() for parameter in method.divide(rows)]

    def reunite(self) -> None:
        """See :class:`holdfast.methods.contract.Method`."""
        for method in self.active.values():
            method.reunite()

    def state(self) -> dict[str, Tensor]:
        """What an exact resume needs beside the trainable tensors, as ``component/name`` or ``keep.place/name``."""
        parts: dict[str, Method | Stabiliser] = dict(self.active)
        parts |= {f"keep.{place}": stabiliser for place, stabiliser in enumerate(self.stabilisers)}
        return {f"{owner}/{name}": tensor for owner, part in parts.items() for name, tensor in part.state().items()}

    def load(self, trainable: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint after ``attach``."""
        for component, method in self.active.items():
            method.load(below(trainable, component + "/"), below(state, component + "/"))
        for place, stabiliser in enumerate(self.stabilisers):
            stabiliser.load(below(state, f"keep.{place}/"))

    def detach(self) -> list[Artifact]:
        """Restore the base bit for bit; one artifact per tuned component."""
        for stabiliser in self.stabilisers:
            stabiliser.end()
        # In reverse, so that wrappers come off in the order in which they were put on.
        artifacts = [method.detach() for method in reversed(list(self.active.values()))][::-1]
        for method in self.active.values():
            _mark(method.component.model, ())
        for artifact in artifacts:
            if artifact.method != SEVERAL or artifact.method in METHODS:  # each part of several says its own
                artifact.provider = METHODS.provider(artifact.method)
        return artifacts


def _made(recipe: ComponentRecipe, where: str) -> tuple[Method, float]:
    """What a component's section asks for, and its peak learning rate; of several the first one's."""
    made, rates = [], []
    for place, part in enumerate(recipe.all):
        with within(*((place,) if recipe.then else ())):
            method = make_method(part.method, part.options, where=where)
        made.append(method)
        rates.append(part.lr if part.lr is not None else method.default_lr)
    return (Several(made, rates) if recipe.then else made[0]), rates[0]


def kind_of(artifact: Artifact) -> type[Method]:
    """The class of an artifact's method; of several on one component see :func:`parts_of`.

    Raises:
        HoldfastError: The package that provided the method is not installed.
    """
    if artifact.method not in METHODS and artifact.provider != ours():
        package, version = artifact.provider.package, artifact.provider.version
        raise HoldfastError(
            f"the method '{artifact.method}' on '{artifact.component}' comes from the package {artifact.provider}, "
            "which is not installed",
            remedy=f"pip install {package}" + (f"=={version}" if version else ""),
        )
    return METHODS.find(artifact.method)


def restore(loaded: Loaded, artifacts: Sequence[Artifact]) -> list[Method]:
    """Put saved artifacts on a fresh base; returns the methods, which can merge themselves."""
    loaded.model.requires_grad_(False)
    methods = []
    for artifact in artifacts:
        made = [_saved(part) for part in parts_of(artifact)]
        method = made[0] if len(made) == 1 else Several(made, rates_of(artifact))
        method.restore(loaded.anatomy.component(artifact.component), artifact)
        methods.append(method)
    _mark(loaded.model, [part for method in methods for part in method.parts()])
    return methods


def _saved(artifact: Artifact) -> Method:
    settings = kind_of(artifact).Settings
    # Older code took options that did nothing; what is no option any more is passed over.
    known = {name: value for name, value in artifact.options.items() if settings.knows(name)}
    return make_method(artifact.method, known)


def _mark(model: nn.Module, methods: Iterable[Method | Stabiliser]) -> None:
    """Say on the model which method looks at whole rows, for whoever would put several questions into one."""
    names = [method.card.name for method in methods if not method.per_token]
    if names:
        object.__setattr__(model, WHOLE_ROWS, names[0])
    elif hasattr(model, WHOLE_ROWS):
        object.__delattr__(model, WHOLE_ROWS)


def fuse(
    loaded: Loaded,
    artifacts: Sequence[Artifact],
    fusion: Fusion,
    seed: int,
    batches: Callable[..., Iterator[Batch]] | None = None,
    loss: Callable[[Batch], Tensor] | None = None,
) -> list[Artifact]:
    """Apply a fusion to what training changed in its components; the result is one dense artifact for each of them, or
    one of what its experts share and have of their own (:mod:`holdfast.methods.experts`).

    What the fusion's other runs changed in these components is fused with it, expert by expert after this one.
    Artifacts of other components come back as they are, and the fusion sees the model without them.
    ``loaded`` must be the untouched base and is the untouched base again afterwards. ``batches`` and ``loss`` are for
    fusions that look at examples, see :class:`holdfast.methods.contract.Context`.
    """
    generator = torch.Generator().manual_seed(seed * 1000 + 999)
    context = None if batches is None else Context(generator, batches, loss)
    names = loaded.anatomy.names()
    base = {name: parameter.detach().clone() for name, parameter in names.items()}
    loaded.model.eval()
    apart = [artifact for artifact in artifacts if artifact.component not in fusion.components]
    several: list[dict[str, Tensor]] = []
    for expert in (artifacts, *fusion.others):
        try:
            own = [artifact for artifact in expert if artifact.component in fusion.components]
            for method in restore(loaded, own):
                method.merge()
            several.append({n: p.detach().clone() for n, p in names.items() if not torch.equal(p.detach(), base[n])})
            if len(several) == 1:
                fusion.observe_tuned(loaded.model, base, list(several[0]), context)
        finally:
            with torch.no_grad():
                for name, parameter in names.items():
                    parameter.copy_(base[name])
    changed = [name for name in names if any(name in tuned for tuned in several)]
    fusion.observe_base(loaded.model, list(several[0]), context)
    before_all = {name: base[name].cpu() for name in changed}
    whole = [{n: tuned.get(n, base[n]).cpu() for n in changed} for tuned in several]
    facts: JSON = {}
    if fusion.shares and len(whole) > 1:
        fused = fusion.divide(before_all, whole)
        called = ["this run", *(Path(place).name for place in fusion.experts_from)]
        facts["experts"] = {"names": called, "weights": list(fusion.weights), "scales": list(fusion.scales)}
    else:
        fused = fusion.fuse(before_all, whole, generator)
    before = {artifact.component: artifact.metadata.get("fused_by") for artifact in artifacts}
    results = apart
    for component in loaded.anatomy:
        part = {name: tensor for name, tensor in fused.items() if name.partition(":")[0] in component.parameters}
        if part:
            said = " and ".join(filter(None, (before.get(component.name), fusion.card.name)))
            results.append(Artifact(component.name, "full", {}, part, {"fused_by": said, **facts}))
    return sorted(results, key=lambda artifact: COMPONENTS.index(artifact.component))


def fuse_all(
    loaded: Loaded,
    artifacts: Sequence[Artifact],
    fusions: Sequence[Fusion],
    seed: int,
    batches: Callable[..., Iterator[Batch]] | None = None,
    loss: Callable[[Batch], Tensor] | None = None,
) -> list[Artifact]:
    """Apply fusions one after the other, each to what the one before left; see :func:`fuse`."""
    fused = list(artifacts)
    for place, fusion in enumerate(fusions):
        # Two of a kind would otherwise make the same draws.
        fused = fuse(loaded, fused, fusion, seed + 7919 * place, batches, loss)
    return fused
