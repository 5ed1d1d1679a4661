"""Chat templates in the shapes that public models have, rebuilt here: who speaks, how a turn ends, what is left out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """One shape of chat template.

    Attributes:
        source: The Jinja text; ``<image>`` stands for an image.
        end: What must stand behind each answer that is trained on.
        lead: What must stand before an answer within what is trained on.
        special: Special tokens to add to the tokenizer.
        plain: Added tokens that are not special.
        system: Whether it writes a system turn.
        several: Whether it takes several turns.
    """

    source: str
    end: str = "</s>"
    lead: str = ""
    special: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    system: bool = True
    several: bool = True


PARTS = (
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}"
)
IMAGES_FIRST = (
    "{% for c in m['content'] if c['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] }}{% endfor %}"
)
TEXT = "{{ m['content'] }}"
IM = ("<|im_start|>", "<|im_end|>")


def chatml(content: str = PARTS, *, before: str = "", tail: str = "\n", asked: str = "", default: str = "") -> str:
    """ChatML and its many children."""
    first = (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n" + default + "<|im_end|>\n{% endif %}"
        if default
        else ""
    )
    return (
        first + "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}" + before + content + "<|im_end|>"
        "{{ '" + tail.replace("\n", "\\n") + "' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}" + asked + "{% endif %}"
    )


def roles(
    user: str,
    assistant: str,
    *,
    system: str = "",
    between: str = "",
    end: str = "{{ eos_token }}",
    content: str = PARTS,
    start: str = "{{ bos_token }}",
    ask: str | None = None,
) -> str:
    """``USER: ... ASSISTANT: ...`` and its children."""
    return (
        start
        + "{% for m in messages %}{% if m['role'] == 'system' %}"
        + system
        + content
        + between
        + "{% elif m['role'] == 'user' %}"
        + user
        + content
        + between
        + "{% else %}"
        + assistant
        + content
        + end
        + "{% endif %}{% endfor %}"
        + "{% if add_generation_prompt %}"
        + (assistant if ask is None else ask)
        + "{% endif %}"
    )


def header(begin: str, role: str, close: str, end: str, *, trim: bool = False, start: str = "{{ bos_token }}") -> str:
    """Llama 3's kind: a header with the role, then the content."""
    content = PARTS.replace("c['text']", "c['text'] | trim") if trim else PARTS
    return (
        start
        + "{% for m in messages %}"
        + begin
        + "{{ "
        + role
        + " }}"
        + close
        + content
        + end
        + "{% endfor %}{% if add_generation_prompt %}"
        + begin
        + "assistant"
        + close
        + "{% endif %}"
    )


NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
ALTERNATE = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}{% endfor %}"
)
THOUGHTS = ("<think>", "</think>")
LAST_THINKS = "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
DROPS_THOUGHTS = (
    "{% set text = m['content'] if m['content'] is string else m['content'][-1]['text'] %}"
    "{{ text.split('</think>')[-1] if m['role'] == 'assistant' else '' }}"
)

SHAPES: dict[str, Shape] = {
    # ChatML and its children
    "chatml": Shape(chatml(), "<|im_end|>", special=IM),
    "chatml_plain_marks": Shape(chatml(), "<|im_end|>", plain=IM),
    "chatml_default_system": Shape(chatml(default="You are a helpful assistant."), "<|im_end|>", special=IM),
    "chatml_text_only": Shape(chatml(TEXT), "<|im_end|>", special=IM),
    "chatml_no_line_break": Shape(chatml(tail=""), "<|im_end|>", special=IM),
    "chatml_images_first": Shape(chatml(IMAGES_FIRST), "<|im_end|>", special=IM),
    "chatml_end_is_no_token": Shape(chatml(), "<|im_end|></s>"),
    "chatml_wrapped_images": Shape(
        chatml(PARTS.replace("<image>", "<|vision_start|><image><|vision_end|>")),
        "<|im_end|>",
        special=(*IM, "<|vision_start|>", "<|vision_end|>"),
    ),
    "chatml_counted_images": Shape(
        "{% set n = namespace(i=0) %}"
        + chatml(PARTS.replace("<image>", "{% set n.i = n.i + 1 %}Picture {{ n.i }}: <image>\n")),
        "<|im_end|>",
        special=IM,
    ),
    # thinking
    "thinks_when_told": Shape(
        chatml(
            before=LAST_THINKS,
            asked="{% if enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}",
        ),
        "<|im_end|>",
        special=IM,
        plain=THOUGHTS,
    ),
    "thinks_always": Shape(
        chatml(before=LAST_THINKS, asked="{{ '<think>\n' }}"),
        "<|im_end|>",
        lead="\n</think>\n\n",
        special=IM,
        plain=THOUGHTS,
    ),
    "asks_for_thoughts_and_shows_none": Shape(
        chatml(asked="{{ '<think>\n' }}"), "<|im_end|>", lead="\n</think>\n\n", special=IM, plain=THOUGHTS
    ),
    "closes_thoughts_when_asked": Shape(
        chatml(asked="{{ '<think></think>' }}"), "<|im_end|>", special=IM, plain=THOUGHTS
    ),
    "drops_earlier_thoughts": Shape(
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
        + DROPS_THOUGHTS
        + "{% else %}"
        + PARTS
        + "{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}",
        "<|im_end|>",
        lead="\n</think>\n\n",
        special=IM,
        plain=THOUGHTS,
    ),
    "other_thinking_marks": Shape(
        chatml(asked="{{ '◁think▷' }}"), "<|im_end|>", lead="\n◁/think▷\n\n", special=IM, plain=("◁think▷", "◁/think▷")
    ),
    # USER and ASSISTANT
    "vicuna": Shape(
        roles(
            "USER: ", "ASSISTANT: ", between=" ", start="A chat between a person and an assistant. ", ask="ASSISTANT:"
        ),
        lead=" ",
    ),
    "llava_1_5": Shape(
        roles("USER: ", "ASSISTANT: ", between=" ", content=IMAGES_FIRST, end=" ", start="", ask="ASSISTANT:"),
        lead=" ",
    ),
    "line_by_line": Shape(
        roles("### Human: ", "### Assistant: ", between="\n", end="\n", ask="### Assistant:"), lead=" "
    ),
    "capitals_with_colon": Shape(
        roles("User: ", "Assistant: ", between="<end_of_utterance>\n", end="<end_of_utterance>\n", ask="Assistant:"),
        "<end_of_utterance>",
        lead=" ",
        special=("<end_of_utterance>",),
    ),
    "ignores_the_generation_prompt": Shape(roles("USER: ", "ASSISTANT: ", between="\n", ask="")),
    "text_only_roles": Shape(roles("user: ", "assistant: ", content=TEXT, between="\n")),
    "gpt4_correct": Shape(
        roles(
            "GPT4 User: ", "GPT4 Assistant: ", between="<|end_of_turn|>", end="<|end_of_turn|>", ask="GPT4 Assistant:"
        ),
        "<|end_of_turn|>",
        lead=" ",
        special=("<|end_of_turn|>",),
    ),
    "zephyr": Shape(
        roles(
            "<|user|>\n", "<|assistant|>\n", system="<|system|>\n", between="{{ eos_token }}\n", end="{{ eos_token }}\n"
        )
    ),
    "phi_3": Shape(
        roles("<|user|>\n", "<|assistant|>\n", system="<|system|>\n", between="<|end|>\n", end="<|end|>\n", start=""),
        "<|end|>",
        special=("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
    ),
    "deepseek": Shape(roles("User: ", "Assistant: ", between="\n\n", ask="Assistant:"), lead=" "),
    "deepseek_wide_bars": Shape(roles("<｜User｜>", "<｜Assistant｜>"), special=("<｜User｜>", "<｜Assistant｜>")),
    "instruct_brackets": Shape(
        NO_SYSTEM + ALTERNATE + roles("[INST] ", " ", between=" [/INST]", ask=""), lead=" ", system=False
    ),
    "instruct_brackets_as_tokens": Shape(
        ALTERNATE + roles("[INST]", "", between="[/INST]", ask=""), special=("[INST]", "[/INST]"), system=False
    ),
    "instruct_system_inside": Shape(
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] "
        "{% if loop.index0 == 1 and messages[0]['role'] == 'system' %}<<SYS>>\n{{ messages[0]['content'] if "
        "messages[0]['content'] is string else messages[0]['content'][0]['text'] }}\n<</SYS>>\n\n{% endif %}"
        + PARTS
        + " [/INST]{% elif m['role'] == 'assistant' %} "
        + PARTS
        + " {{ eos_token }}{% endif %}{% endfor %}",
        end=" </s>",
        lead=" ",
    ),
    # headers
    "llama_3": Shape(
        header("<|start_header_id|>", "m['role']", "<|end_header_id|>\n\n", "<|eot_id|>"),
        "<|eot_id|>",
        special=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "llama_4": Shape(
        header("<|header_start|>", "m['role']", "<|header_end|>\n\n", "<|eot|>", trim=True),
        "<|eot|>",
        special=("<|header_start|>", "<|header_end|>", "<|eot|>"),
    ),
    "gemma": Shape(
        NO_SYSTEM
        + ALTERNATE
        + header(
            "<start_of_turn>",
            "'model' if m['role'] == 'assistant' else m['role']",
            "\n",
            "<end_of_turn>\n",
            trim=True,
        ).replace("<start_of_turn>assistant\n", "<start_of_turn>model\n"),
        "<end_of_turn>",
        special=("<start_of_turn>", "<end_of_turn>"),
        system=False,
    ),
    "granite": Shape(
        header("<|start_of_role|>", "m['role']", "<|end_of_role|>", "<|end_of_text|>\n"),
        "<|end_of_text|>",
        special=("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"),
    ),
    "command_r": Shape(
        roles(
            "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
            "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
            system="<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>",
            between="<|END_OF_TURN_TOKEN|>",
            end="<|END_OF_TURN_TOKEN|>",
        ),
        "<|END_OF_TURN_TOKEN|>",
        special=("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"),
    ),
    "glm_4": Shape(
        "[gMASK]<sop>" + roles("<|user|>\n", "<|assistant|>\n", system="<|system|>\n", end="", start=""),
        special=("<|user|>", "<|assistant|>", "<|system|>", "[gMASK]", "<sop>"),
    ),
    "exaone": Shape(
        roles("[|user|]", "[|assistant|]", system="[|system|]", between="\n", end="[|endofturn|]\n", start=""),
        "[|endofturn|]",
        special=("[|user|]", "[|assistant|]", "[|system|]", "[|endofturn|]"),
    ),
    "falcon": Shape(roles("User: ", "Falcon: ", between="\n", end="\n", start="", ask="Falcon:"), lead=" "),
    "paligemma": Shape(
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
        + PARTS
        + "\n{% else %}"
        + PARTS
        + "{{ eos_token }}{% endif %}{% endfor %}",
        system=False,
    ),
    "harmony": Shape(
        "{% for m in messages %}<|start|>{{ m['role'] }}"
        "{% if m['role'] == 'assistant' %}<|channel|>final{% endif %}<|message|>"
        + PARTS
        + "{% if m['role'] == 'assistant' %}<|return|>{% else %}<|end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
        "<|return|>",
        lead="<|channel|>final<|message|>",
        special=("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"),
    ),
    "space_and_colon": Shape(roles(" User: ", " Assistant: ", ask=" Assistant:", start=""), lead=" "),
    "system_in_the_last_question": Shape(
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{% if loop.last %}"
        "{{ messages[0]['content'][0]['text'] if messages[0]['role'] == 'system' }}{% endif %}[Q]"
        + PARTS
        + "[/Q]{% elif m['role'] == 'assistant' %} "
        + PARTS
        + "{{ eos_token }}{% endif %}{% endfor %}",
        lead=" ",
    ),
    "two_ends": Shape(chatml(tail="<|endoftext|>"), "<|im_end|><|endoftext|>", special=(*IM, "<|endoftext|>")),
    "numbered_rounds": Shape(
        "{% for m in messages %}{% if m['role'] == 'user' %}[Round {{ loop.index0 // 2 + 1 }}]\n\nQ: "
        + PARTS
        + "\n\nA:{% elif m['role'] == 'assistant' %} "
        + PARTS
        + "{{ eos_token }}\n\n{% endif %}{% endfor %}",
        lead=" ",
        system=False,
    ),
    "dialogue_dashes": Shape(roles("- ", "* ", between="\n", end="{{ eos_token }}\n", start="")),
}
"""Shapes by name."""

REFUSED = {
    "says it twice": "{% for m in messages %}{{ m['content'] }}\n{{ m['content'] }}{% endfor %}",
    "keeps the last turn": "{% for m in messages[-1:] %}{{ m['role'] }}: " + PARTS + "\n{% endfor %}",
    "writes in capitals": "{% for m in messages %}{{ m['role'] }}: {{ m['content'] | upper }}\n{% endfor %}",
    "counts the turns up front": "{{ messages | length }}{% for m in messages %}{{ m['role'] }}: "
    + PARTS
    + "{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
    "always raises": "{{ raise_exception('Use the other endpoint') }}",
    "divides by nothing": "{{ 1 / (messages | length - messages | length) }}",
    "counts too far at once": "{% for a in range(10 ** 7) %}{% endfor %}",
    "never ends": "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
    "never ends in a macro": "{% macro f(x) %}{% for b in range(90000) %}{% endfor %}{% endmacro %}"
    "{% for a in range(90000) %}{{ f(a) }}{% endfor %}",
    "is no template": "{% for m in messages %}{{ m['role'] }",
}
"""Templates that cannot be trained with: what they do."""
