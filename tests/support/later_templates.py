"""More shapes of chat templates, those of models that came later: dates, tools, channels, switches, macros."""

from __future__ import annotations

from tests.support.templates import IM, NO_SYSTEM, PARTS, THOUGHTS, Shape, chatml, header

_TEXT_OF = "{% set t = m['content'] if m['content'] is string else m['content'][0]['text'] %}"
_HEADER = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_TURN = (
    "{{ bos_token }}{% if (enable_thinking is defined and enable_thinking) or messages[0]['role'] == 'system' %}"
    "<|turn>system\n{% if enable_thinking is defined and enable_thinking %}<|think|>\n{% endif %}"
    "{% if messages[0]['role'] == 'system' %}{% set m = messages[0] %}" + _TEXT_OF + "{{ t }}{% endif %}<turn|>\n"
    "{% endif %}{% for m in messages if m['role'] != 'system' %}<|turn>"
    "{{ 'model' if m['role'] == 'assistant' else 'user' }}\n" + PARTS + "<turn|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn>model\n{% endif %}"
)
_CHANNELS = ("<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>")
_NAMED = ("<|im_system|>", "<|im_user|>", "<|im_assistant|>", "<|im_middle|>", "<|im_end|>")
_CHANNEL = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>")

LATER: dict[str, Shape] = {
    "tools_or_default_system": Shape(
        "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}{% endfor %}<|im_end|>\n"
        "{% elif messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}" + chatml(),
        "<|im_end|>",
        special=IM,
    ),
    "tool_calls_beside_content": Shape(
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}" + PARTS + "{% if m.tool_calls %}"
        "{% for call in m.tool_calls %}{{ call | tojson }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        "<|im_end|>",
        special=IM,
    ),
    "looks_for_the_last_question": Shape(
        "{% set n = namespace(last=messages | length - 1, open=true) %}{% for m in messages[::-1] %}"
        "{% if n.open and m.role == 'user' %}{% set n.open = false %}{% set n.last = messages | length - loop.index %}"
        "{% endif %}{% endfor %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
        "{% if m.role == 'assistant' %}{% if loop.index0 > n.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
        + _TEXT_OF
        + "{{ t.split('</think>')[-1] }}{% else %}"
        + PARTS
        + "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
        "{% endif %}",
        "<|im_end|>",
        special=IM,
        plain=THOUGHTS,
    ),
    "writes_the_date": Shape(
        "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\nToday: {{ strftime_now('%d %b %Y') }}<|eot_id|>"
        + header("<|start_header_id|>", "m['role']", "<|end_header_id|>\n\n", "<|eot_id|>", start=""),
        "<|eot_id|>",
        special=_HEADER,
    ),
    "writes_the_time": Shape("{{ strftime_now('%H:%M:%S.%f') }}\n" + chatml(), "<|im_end|>", special=IM),
    "default_system_with_date": Shape(
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set m = messages[0] %}"
        + _TEXT_OF
        + "{% set first, rest = t, messages[1:] %}{% else %}"
        "{% set first, rest = 'It is ' + strftime_now('%Y-%m-%d'), messages %}{% endif %}"
        "{{ '[SYSTEM_PROMPT]' + first + '[/SYSTEM_PROMPT]' }}{% for m in rest %}{% if m['role'] == 'user' %}[INST]"
        + PARTS
        + "[/INST]{% elif m['role'] == 'assistant' %}"
        + PARTS
        + "{{ eos_token }}{% else %}{{ raise_exception('Only user and assistant') }}{% endif %}{% endfor %}",
        special=("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    ),
    "numbers_images_when_told": Shape(
        "{% set n = namespace(i=0) %}"
        + chatml(
            PARTS.replace(
                "<image>",
                "{% set n.i = n.i + 1 %}{% if add_vision_id %}Picture {{ n.i }}: {% endif %}<|vision_start|><image>"
                "<|vision_end|>",
            ),
            default="You help.",
        ),
        "<|im_end|>",
        special=(*IM, "<|vision_start|>", "<|vision_end|>"),
    ),
    "numbers_images_in_each_turn": Shape(
        chatml(
            "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
            "{% for c in m['content'] if c['type'] == 'image' %}Image-{{ loop.index }}: <image>\n{% endfor %}"
            "{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] }}{% endfor %}{% endif %}"
        ),
        "<|im_end|>",
        special=IM,
    ),
    "knows_images_by_key": Shape(
        chatml(PARTS.replace("c['type'] == 'image'", "'image' in c or c['type'] in ('image', 'image_url')")),
        "<|im_end|>",
        special=IM,
    ),
    "images_and_videos": Shape(
        chatml(
            PARTS.replace(
                "{% else %}{{ c['text'] }}",
                "{% elif c['type'] == 'video' %}<video>{% elif c['type'] == 'text' %}{{ c['text'] }}",
            )
        ),
        "<|im_end|>",
        special=IM,
    ),
    "colon_unless_an_image_follows": Shape(
        "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}"
        "{{ ':' if m['content'][0]['type'] == 'image' else ': ' }}"
        "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% else %}<image>{% endif %}{% endfor %}"
        "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
        "<end_of_utterance>",
        lead=" ",
        special=("<|im_start|>", "<end_of_utterance>"),
    ),
    "asks_with_a_closing_mark": Shape(
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}<|Assistant|></think>"
        + PARTS
        + "<|end|>{% else %}<|User|>"
        + PARTS
        + "{% endif %}{% endfor %}{% if add_generation_prompt %}<|Assistant|>"
        "{{ '<think>' if thinking is defined and thinking else '</think>' }}{% endif %}",
        "<|end|>",
        special=("<|User|>", "<|Assistant|>", "<|end|>"),
        plain=THOUGHTS,
    ),
    "tells_the_question_not_to_think": Shape(
        "[gMASK]<sop>{% for m in messages %}<|{{ m['role'] }}|>\n{% if m['role'] == 'assistant' %}<think></think>\n"
        "{% endif %}" + PARTS + "{% if m['role'] == 'user' and enable_thinking is defined and not enable_thinking %}"
        "/nothink{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n"
        "{% if enable_thinking is defined and not enable_thinking %}<think></think>\n{% endif %}{% endif %}",
        special=("<|user|>", "<|assistant|>", "<|system|>", "[gMASK]", "<sop>"),
        plain=THOUGHTS,
    ),
    "another_switch_for_thinking": Shape(
        chatml(asked="{% if thinking_mode is not defined %}{{ '<seed:think>' }}{% endif %}"),
        "<|im_end|>",
        lead="\n</seed:think>\n\n",
        special=(*IM, "<seed:think>", "</seed:think>"),
    ),
    "thinks_in_the_system_prompt": Shape(
        "{{ bos_token }}{% if messages[0]['role'] != 'system' %}[S]Think in [THINK]x[/THINK] first.[/S]{% endif %}"
        "{% for m in messages %}{% if m['role'] == 'user' %}[INST]" + PARTS + "[/INST]{% elif m['role'] == 'system' %}"
        "[S]" + PARTS + "[/S]{% else %}{% if m['content'] is string %}{{ m['content'] }}{% else %}"
        "{% for b in m['content'] %}{% if b['type'] == 'text' %}{{ b['text'] }}{% elif b['type'] == 'thinking' %}"
        "[THINK]{{ b['thinking'] }}[/THINK]{% endif %}{% endfor %}{% endif %}{{ eos_token }}{% endif %}{% endfor %}",
        special=("[INST]", "[/INST]", "[S]", "[/S]", "[THINK]", "[/THINK]"),
    ),
    "turns": Shape(_TURN, "<turn|>", special=_CHANNELS),
    "turns_with_an_empty_channel": Shape(
        _TURN.replace("<|turn>model\n{% endif %}", "<|turn>model\n<|channel>thought\n<channel|>{% endif %}"),
        "<turn|>",
        special=_CHANNELS,
    ),
    "system_inside_the_first_question": Shape(
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set m = messages[0] %}"
        + _TEXT_OF
        + "{% set first, rest = t + '\n\n', messages[1:] %}{% else %}{% set first, rest = '', messages %}{% endif %}"
        "{% for m in rest %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' }}"
        "{{ first if loop.first }}"
        + PARTS.replace("c['text']", "c['text'] | trim")
        + "{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        "<end_of_turn>",
        special=("<start_of_turn>", "<end_of_turn>"),
    ),
    "asks_always": Shape(
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}" + PARTS + "<|im_end|>{{ '\n' }}{% endfor %}"
        "{{ '<|im_start|>assistant\n' }}",
        "<|im_end|>",
        special=IM,
    ),
    "asks_always_in_words": Shape(
        "{% for m in messages %}{{ '### ' + m['role'] + ':\n' }}" + PARTS + "{{ '\n\n' }}{% endfor %}"
        "{{ '### assistant:\n' }}"
    ),
    "marks_what_is_generated": Shape(
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
        "{% generation %}" + PARTS + "<|im_end|>{% endgeneration %}\n{% else %}" + PARTS + "<|im_end|>\n{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        "<|im_end|>",
        special=IM,
    ),
    "macro": Shape(
        "{% macro show(m) %}" + PARTS + "{% endmacro %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ show(m) }}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        "<|im_end|>",
        special=IM,
    ),
    "ends_when_nothing_is_asked": Shape(
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' }}" + PARTS + "<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
        "<|end|>\n</s>",
        special=("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
    ),
    "no_end_behind_the_last": Shape(
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}" + PARTS + "{% if not loop.last %}<|im_end|>\n"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_end|>\n<|im_start|>assistant\n' }}{% endif %}",
        special=IM,
        several=False,
    ),
    "a_token_for_every_role": Shape(
        "{% if messages[0]['role'] != 'system' %}<|im_system|>system<|im_middle|>You help.<|im_end|>{% endif %}"
        "{% for m in messages %}{{ '<|im_' + m['role'] + '|>' + m['role'] + '<|im_middle|>' }}" + PARTS + "<|im_end|>"
        "{% endfor %}{% if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>{% endif %}",
        "<|im_end|>",
        special=_NAMED,
    ),
    "the_mark_stands_behind": Shape(
        NO_SYSTEM
        + "{{ bos_token }}{% for m in messages %}"
        + PARTS
        + "{{ '<|asked|>' if m['role'] == 'user' else '<|said|>' }}{% endfor %}",
        "<|said|>",
        special=("<|asked|>", "<|said|>"),
        system=False,
    ),
    "channels_with_date_and_effort": Shape(
        "{{ '<|start|>system<|message|>Date: ' + strftime_now('%Y-%m-%d') }}{{ reasoning_effort or ' medium' }}<|end|>"
        "{% for m in messages %}{% if m['role'] == 'assistant' %}<|start|>assistant<|channel|>final<|message|>"
        + PARTS
        + "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}{% else %}"
        "<|start|>{{ 'developer' if m['role'] == 'system' else 'user' }}<|message|>"
        + PARTS
        + "<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}",
        "<|return|>",
        lead="<|channel|>final<|message|>",
        special=_CHANNEL,
        several=False,
    ),
}
"""Shapes by name."""
