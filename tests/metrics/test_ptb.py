"""The tokenizer against answers of Stanford's PTBTokenizer 3.4.1 (``-preserveLines -lowerCase``)."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.metrics.text.ptb import tokenise, words

JAR_VARIABLE = "HOLDFAST_PTB_JAR"

# Each line was given to the Java program; ``~`` stands for its no-break space.
ANSWERS = [
    ("A man's dog isn't here, don't can't won't.", "a man 's dog is n't here , do n't ca n't wo n't ."),
    ("I cannot gonna gotta lemme gimme wanna 'tis 'twas", "i can not gon na got ta lem me gim me wan na 't is 't was"),
    ("St. Louis Mr. Smith went to Washington D.C. yesterday", "st. louis mr. smith went to washington d.c. yesterday"),
    ("the U.S. Army a.m. 10 a.m. 10a.m. 10:30 p.m.", "the u.s. army a.m. 10 a.m. 10a . m. 10:30 p.m."),
    ("$5 5$ US$5 £5 €5 5% 5,000 5.5 .5 -5 +5", "$ 5 5 $ us$ 5 # 5 $ 5 5 % 5,000 5.5 .5 -5 +5"),
    ("½ cup 1 1/2 cups 5½", "1/2 cup 1~1/2 cups 5 1/2"),
    ("(a man) [a dog] {cat} <b> < > <3 :)", "-lrb- a man -rrb- -lsb- a dog -rsb- -lcb- cat -rcb- <b> < > < 3 :-rrb-"),
    ("\"hello\" 'hello' `hello` “hello” ‘hello’ it’s", "`` hello '' ` hello ' ` hello ` `` hello '' ` hello ' it 's"),
    ("well-known T-shirt 3-year-old word- five--six", "well-known t-shirt 3-year-old word - five -- six"),
    ("a/b and/or w/ w/o", "a/b and/or w / w/o"),
    ("wait... wait.. wait. . . . wait…  --- -- - – —", "wait ... wait . . wait ... wait ... -- -- - -- --"),
    ("foo.com foo@bar.com @foo #foo http://a.com/x.", "foo.com foo@bar.com @foo #foo http://a.com/x ."),
    ("R&B AT&T &amp; rock&roll", "r&b at&t & rock & roll"),
    ("e.g. etc. vs. no. 5 fig. 5", "e.g. etc. vs. no. 5 fig. 5"),
    ("6 o'clock O'Brien y'all rock'n'roll rock 'n' roll", "6 o'clock o'brien y' all rock 'n' roll rock 'n' roll"),
    ("90's 90s '90s dogs' James's", "90 's 90s '90s dogs ' james 's"),
    ("5'10\" (555) 555-1234", "5 ' 10 '' -lrb-555-rrb-~555-1234"),
    ("12-25-2014 2014-12-25 25.12.2014", "12-25-2014~2014 -12 -25 25.12.2014"),
    ("what?! wow!! Yahoo!", "what ?! wow !! yahoo !"),
    ("a_b a__b *** a*b c++ =", "a_b a __ b *** a * b c++ ="),
    ("she'd've couldn't've don''t", "she 'd 've could n't 've don '' t"),
    ("Jan. Feb. Ph.D. Ph.D", "jan. . feb. . ph.d. . ph.d"),
    ("vitamin c. The man", "vitamin c . the man"),
    ("vitamin c. the man", "vitamin c. the man"),
    ("&lt;tag&gt; &quot;x&quot; &nbsp; &#39;", "< tag > `` x '' &#39;"),
    ("résumé 日本語 ★ 45°F 😀", "résumé 日本語 ★ 45 ° f"),
    ("file.txt a-b.png x.jpg! 1-a hello.World", "file.txt a-b . png x.jpg ! 1-a hello.world"),
    ("  leading   and\ttab ", "leading and tab"),
    ("", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "answer"), ANSWERS)
def test_tokens(text: str, answer: str) -> None:
    assert " ".join(tokenise([text, "end"])[0]).replace("\u00a0", "~") == answer


def test_the_next_line_can_matter() -> None:
    assert tokenise(["vitamin c.", "The man ran"])[0] == ["vitamin", "c", "."]
    assert tokenise(["vitamin c.", "a man ran"])[0] == ["vitamin", "c."]
    assert tokenise(["Acme Inc.", "The man"])[0] == ["acme", "inc.", "."]


def test_punctuation_is_dropped_but_lower_case_brackets_stay() -> None:
    assert words(['A "dog" (big), isn\'t it?'])[0] == ["a", "dog", "-lrb-", "big", "-rrb-", "is", "n't", "it"]


@given(st.lists(st.text(max_size=40), max_size=4))
def test_any_text_tokenises_line_by_line(lines: list[str]) -> None:
    tokens = tokenise(lines)
    assert len(tokens) == len(lines)
    assert all(token and " " not in token for line in tokens for token in line)


PARTS = (
    "a A the The dog Man cannot gonna c u.s st Mr inc jan no ph.d I 5 10 1990 1,000 3.5 1/2 555 1234 . . . , ? ! ; "
    ": ' ' \" ` ( ) [ ] - - -- _ / & &amp; $ # @ % * + = < > ... ’ “ ” – é ½ ° s t n't 's 're ll o com www jpg ~ ^ |"
)


def fuzz(seed: int, n: int) -> list[str]:
    """Short lines of words, marks and digits thrown together."""
    draw = random.Random(seed)
    parts = PARTS.split()
    return [
        "".join(draw.choice(parts) + (" " if draw.random() < 0.45 else "") for _ in range(draw.randrange(1, 9)))
        for _ in range(n)
    ]


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get(JAR_VARIABLE) or shutil.which("java") is None,
    reason=f"needs Java, and stanford-corenlp-3.4.1.jar named by {JAR_VARIABLE}",
)
def test_against_the_java_program(gold: Path, tmp_path: Path) -> None:
    problems = json.loads((gold / "scienceqa" / "problems_first1773.json").read_text(encoding="utf-8"))
    texts = [line for p in problems.values() for key in ("question", "hint", "lecture") for line in p[key].split("\n")]
    real = sorted({text.replace("\r", " ") for text in texts if text.strip()})
    for lines, allowed in ((real, 0), (fuzz(11, 20_000), 4)):
        file = tmp_path / "lines.txt"
        file.write_text("\n".join(lines), encoding="utf-8")
        command = ["java", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-cp", os.environ[JAR_VARIABLE]]
        command += ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", str(file)]
        done = subprocess.run(command, capture_output=True, check=True)
        java = [line.rstrip(" ") for line in done.stdout.decode("utf-8").split("\n")]
        ours = [" ".join(tokens) for tokens in tokenise(lines)]
        assert sum(a != b for a, b in zip(java, ours, strict=False)) <= allowed
