"""The page of every method, stabiliser and fusion, made from their cards, docstrings and options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from holdfast.config.fields import value_in_words
from holdfast.methods.absent import ABSENT, PEFT_ABSENT
from holdfast.methods.describe import Description, Option, catalogue
from holdfast.methods.peft_bridge import PeftMethod
from holdfast.methods.registry import METHODS

HEAD = """# Methods

What can be written under `tune`, `keep` and `fuse` of a recipe. `holdfast methods` lists the same, and
`holdfast methods NAME` prints one entry. Everything here is made from the code.

A **method** says how the weights of one component change: *selective* methods train some of the model's own weights,
*additive* ones put something beside them, *reparameterization* writes the change in fewer numbers. A **stabiliser** is
a term or rule while training, a **fusion** an edit of tuned minus base afterwards.

What each gains and keeps on the pocket model, every one at its own learning rate: [the fair table](fair.md).

## Several on one component

A list of methods goes onto one component, each with its own rate and options:

```yaml
tune:
  llm: [{{method: lora, r: 8, lr: 1e-3}}, {{method: norms, lr: 1e-4}}, {{method: prefix, tokens: 10}}]
```

Two of them may not stand on the same ground: base values that one trains, reads when it starts or wraps, and places
that only one method can take. Before step 1 such a list is refused with both names and with what they would share.

| what | its ground |
|---|---|
| whole tensors (`full`, `layers`, `norms`, `bitfit`) | the tensors that train |
| sparse entries (`fish_mask`, `spu`) | every matrix that entries are chosen from |
| changes beside a layer (LoRA and its kin) | the layer's weight; its bias may be another's |
| what scales or turns a layer (IA3, OFT, RoAd) | the layer's weight and bias |
| wrappers that do not call their layer ({passed_by}) | the same, and the layer's input and output |
| inserted modules (`adapter`, `houlsby`, `loreft`) | one side of a module: its input or its output; no base values |
| prompts, prefixes, steering of rows | the rows that the llm, or the tower, reads |

So an adapter or a prefix goes with anything but another in its place, and LoRA with norms, with biases, and with
another LoRA on other layers. A module put behind a layer that LoRA wraps acts on the layer's own output, before LoRA's
is added. These go with no other: {alone}; and neither do methods of packages that do not say `goes_beside`.
The run merges and exports as its parts do: all of them must be mergeable for a plain model, and one PEFT method with
tensors tuned whole is one PEFT adapter.
"""

TITLES = {"method": "Methods", "stabiliser": "Stabilisers", "fusion": "Fusions"}


def page() -> str:
    """The whole page as Markdown."""
    parts = [head()]
    for kind, entries in groupby(catalogue(), key=lambda entry: entry.kind):
        found = list(entries)
        parts += [f"## {TITLES[kind]}\n", *overview(found), ""]
        for entry in found:
            parts += section(entry)
    parts += [
        "## Not here, and why\n",
        *(f"- {plain(absent.name)} ({absent.family}): {absent.reason}." for absent in ABSENT),
        "",
        *(f"- PEFT's {absent.name}: {absent.reason}." for absent in PEFT_ABSENT),
    ]
    return "\n".join(parts) + "\n"


def head() -> str:
    """What stands above the lists, with the methods that are named by what they say of themselves."""
    kinds = METHODS.all()
    alone = [name for name, kind in kinds.items() if not kind.goes_beside]
    passed_by = [name for name, kind in kinds.items() if issubclass(kind, PeftMethod) and not kind.calls_layers]
    named = {"alone": alone, "passed_by": passed_by}
    return HEAD.format(**{key: ", ".join(f"`{name}`" for name in names) for key, names in named.items()})


def overview(entries: Sequence[Description]) -> Iterator[str]:
    """One line an entry."""
    yield "| name | kind | what | paper | year |"
    yield "|---|---|---|---|---|"
    for entry in entries:
        card = entry.card
        kind = f"{card.paradigm}, {card.family}" if entry.kind == "method" else card.family
        cells = (f"[`{card.name}`](#{card.name})", kind, card.summary, card.paper, str(card.year or ""))
        yield "| " + " | ".join(map(plain, cells)) + " |"


def section(entry: Description) -> Iterator[str]:
    """What is known of one entry."""
    card = entry.card
    yield f"### {card.name} {{ #{card.name} }}\n"
    yield f"{sentence(card.summary)}\n"
    if entry.text:
        yield f"{plain(entry.text)}\n"
    facts = {
        "paper": card.paper + (f", {card.year}" if card.year else ""),
        "official code": card.official_code,
        "merges into the weights": "yes" if card.mergeable else "no",
        "packed base (load.bits)": entry.beside_packed,
        "extra cost when used": card.extra_inference_cost,
        "checked against": card.checked_against,
        "provided by": str(entry.provider) if entry.provider.package != "holdfast" else card.provided_by,
    }
    yield "; ".join(f"{name}: {plain(str(value))}" for name, value in facts.items() if value) + ".\n"
    yield f"```yaml\n{entry.example}\n```\n"
    if entry.options:
        sourced = any(option.source for option in entry.options)
        yield "| option | takes | default | bounds | meaning |" + (" default from |" if sourced else "")
        yield "|---|---|---|---|---|" + ("---|" if sourced else "")
        for option in entry.options:
            yield row(option, sourced=sourced)
        yield ""


def row(option: Option, *, sourced: bool) -> str:
    """The table line of an option; with the source of its default where the entry names any."""
    default = value_in_words(option.default)
    name = f"`{option.name}`" + "".join(f", also `{other}`" for other in option.also)
    cells: tuple[str, ...] = (name, option.type, f"`{default}`" if default else "", option.bounds, option.meaning)
    cells += (option.source,) if sourced else ()
    return "| " + " | ".join(map(plain, cells)) + " |"


def plain(text: str) -> str:
    """A docstring's text as Markdown, on one line, safe in a table."""
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")


def sentence(text: str) -> str:
    """A clause as a sentence."""
    text = plain(text).rstrip(".")
    return text[:1].upper() + text[1:] + "."
