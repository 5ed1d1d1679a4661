"""A chat template that takes pictures, around one that takes text."""

from __future__ import annotations

_BEFORE = """\
{#- Content in parts becomes one text, a mark for each picture; then follows the language model's own template. -#}
{%- set composed = namespace(messages=[], pieces=[]) -%}
{%- for message in messages -%}
  {%- if message['content'] is string -%}
    {%- set composed.messages = composed.messages + [message] -%}
  {%- else -%}
    {%- set composed.pieces = [] -%}
    {%- for part in message['content'] -%}
      {%- if part['type'] == 'image' -%}
        {%- set composed.pieces = composed.pieces + ['MARK'] -%}
      {%- elif part['type'] == 'text' -%}
        {%- set composed.pieces = composed.pieces + [part['text']] -%}
      {%- else -%}
        {{- raise_exception('this model takes text and pictures, and no ' ~ part['type']) -}}
      {%- endif -%}
    {%- endfor -%}
    {%- set composed.messages = composed.messages + [dict(message, content=composed.pieces | join('\\n'))] -%}
  {%- endif -%}
{%- endfor -%}
{%- set messages = composed.messages -%}
"""


def with_pictures(template: str, mark: str) -> str:
    """A template whose text is what ``template`` makes of the parts joined by line breaks, ``mark`` for a picture.

    Args:
        template: Jinja text of a language model's chat template.
        mark: The image token.
    """
    return _BEFORE.replace("MARK", mark.replace("\\", "\\\\").replace("'", "\\'")).rstrip("\n") + template
