"""The rules of the PTB-compatible tokenizer: at each place the longest match wins, and the earlier rule among equals.

The captioning scripts call Stanford's PTBTokenizer 3.4.1. These rules reproduce what that program answers; they were
found and are checked by asking it (letter strings for the abbreviations, real and random text for the rest). A rule is
``(token)(context)``: the context counts towards the length of the match but is not part of the token.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# Abbreviations keep their period. Those that may end a sentence give it back as a token of its own where a capital, a
# second space or a line end follows. Both lists were asked of the original for every string of up to four letters.
CLOSING = """
    al ala apr ariz assn aug bancorp bhd bldg blvd bros calif co colo conn corp cos ct dak dec esq est etc ext feb
    fla fri ga inc ind intl jan jr jul jun kan kans ky ltd mar md mich minn mo mon mont neb nev nov oct okla penn plc rd
    rt sep sept seq sq sr sys tel tenn thu thurs tue tues univ va vt wed wis wisc wyo
    [A]rk [A]z [D]el [I]ll [L]a [M]ass [M]iss [O]re [P]a [T]ex [W]ash (?:ph|ed)\\.d
"""
OPENING = """
    adj adm adv alex assoc asst atty attys ave brig capt cf cie cmdr col comdr cpl dept det dr drs elec ens ft gen gov
    govs hon insp invt jos lieut lt maj messrs mlle mme mr mrs ms msgr mt natl pfc ph pres prof profs pvt rep reps rev
    sen sens sfc sgt spc st ste supt supts treas vs wm
"""
# Kept with their period before a digit only.
NUMBERED = "art arts ca fig figs no nos op pp prop"
# A capitalised one of these after a single letter and a period closes the sentence: ``vitamin c. The`` is split.
OPENERS = """
    [A] [A]bout [A]ccording [A]dditionally [A]fter [A]n [A]s [A]t [B]ut [E]arlier [H]e [H]er [H]ere [H]owever [I]f [I]n
    [I]t [L]ast [M]any [M]ore [M]r\\. [M]s\\. [N]ow [O]nce [O]ne [O]ther [O]ur [S]he [S]ince [S]o [S]ome [S]uch [T]hat
    [T]he [T]heir [T]hen [T]here [T]hese [T]hey [T]his [W]e [W]hat [W]hen [W]hile [Y]et [Y]ou
"""
EXTENSIONS = (
    "bat bmp c class cgi cpp dll docx? exe gif gz h html? jar java jpe?g mov mp[34] pdf php pl png pptx? ps py sql tar "
    "txt wav x xml zip wm[va]"
)
APOSTROPHE = "(?:['\u0092\u2019]|&apos;)"
ANY_APOSTROPHE = "(?:['\u0092\u2019`\u0091\u2018\u201b]|&apos;)"
SPACE_OR_LINE = "[ \t\u00a0\u2000-\u200a\u3000\r\n\u000b\u000c\u0085\u2028\u2029]"


def alternatives(words: str) -> str:
    """Longest first, so that the regular expression is as greedy as the original automaton."""
    return "(?:" + "|".join(_caseless(word) for word in sorted(words.split(), key=len, reverse=True)) + ")"


def _caseless(word: str) -> str:
    """A pattern for any case; ``[T]he`` asks for the capital."""
    head, _, tail = word.partition("]") if word.startswith("[") and word[2] == "]" else ("", "", word)
    return f"{head}{']' if head else ''}(?i:{tail})"


@cache
def letter_class(*, ascii_only: bool) -> tuple[str, str]:
    """Bodies of the character classes for letters and digits.

    Letters take combining marks with them, and stop at U+FFFF: what lies beyond is not tokenizable and is dropped.
    """
    if ascii_only:
        return "A-Za-z", "0-9"
    letters: list[str] = []
    digits: list[str] = []
    for kind, out in (("LM", letters), ("Nd", digits)):
        start = None
        for code in range(0x10001):
            found = unicodedata.category(chr(code)) if code < 0x10000 else "Cn"
            inside = (code == 0xAD and kind == "LM") or found == kind or (kind == "LM" and found[0] in "LM")
            if inside and start is None:
                start = code
            elif not inside and start is not None:
                out.append(f"\\U{start:08x}-\\U{code - 1:08x}")
                start = None
    return "".join(letters), "".join(digits)


@cache
def rules(*, ascii_only: bool) -> list[tuple[re.Pattern[str], str]]:
    """Every rule as a compiled pattern with the name of its rewriting, in order of precedence."""
    letters, digits = letter_class(ascii_only=ascii_only)
    entity = "&[aeiouAEIOU](?i:acute|grave|uml);"
    L, D, LD = f"(?:[{letters}]|{entity})", f"[{digits}]", f"(?:[{letters}{digits}]|{entity})"
    A, Q, N = APOSTROPHE, ANY_APOSTROPHE, SPACE_OR_LINE
    word = rf"{L}{LD}*(?:[.!?]{L}{LD}*)*"
    not_word = "[A-Za-z\u00ad]*[A-MO-Za-mo-z]\u00ad*"
    short = rf"{A}(?:[msdMSD]|(?i:re|ve|ll))"
    negation = rf"[nN]{Q}[tT]"
    num = rf"(?:{D}*(?:[.:,\u00ad\u066b\u066c]{D}+)+|{D}+)"
    hyphen = "[-_\u058a\u2010\u2011]"
    thing = rf"(?:[dDoOlL]{Q}{LD})?{LD}+(?:{hyphen}(?:[dDoOlL]{Q}{LD})?{LD}+)*"
    dotted = r"[A-Za-z](?:\.[A-Za-z])+|(?i:(?:canada|sino|korean|eu|japan|non)-u\.s|u\.s\.-(?:u\.k|u\.s\.s\.r))"
    hthing = r"[A-Za-z0-9][A-Za-z0-9.,\u00ad]*(?:-(?:[A-Za-z](?:\.[A-Za-z])+\.|[A-Za-z0-9\u00ad]+))+"
    apo_word = (
        rf"{A}[nN]{A}?|[lLdDjJ]{A}|(?i:dunkin|somethin|ol){A}|[A-HJ-XZn]{Q}{L}{{2}}{L}*|{A}[2-9]0[sS]"
        rf"|{A}(?i:em|till?|cause)|{L}{L}*[aeiouyAEIOUY]{Q}[aeiouA-Z]{L}*"
        rf"|(?i:cont'd\.?|'twas|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l)|[oO]{Q}[oO]"
    )
    quotes = f"[`\u2018-\u201f\u0082\u0084\u0091-\u0094\u2039\u203a\u00ab\u00bb]{{1,2}}|{A}"
    no_url = ' \t\n\f\r"<>|'
    # The original wrote ``,-_`` inside a class: a range from comma to underscore, digits and capitals included.
    likely_url = (
        rf"(?:(?i:www)\.(?:[^{no_url}.!?(){{}},]+\.)+[a-zA-Z]{{2,4}}"
        rf"|(?:[^{no_url}`'!(){{}},-_$]+\.)+(?i:com|net|org|edu))(?:/[^{no_url}()]+[^{no_url}.!?(){{}},-])?"
    )
    closing = rf"(?:{alternatives(CLOSING)}|p?p[tT](?:y|e|ys|es))"
    opening = rf"(?:{alternatives(OPENING)}|[mM](?:fg|tg))"
    name = "[A-Za-z][A-Za-z0-9:.-]*"
    value = r"""(?:'[^'"\r\n]*'|"[^'"\r\n]*")"""
    markup = rf"<(?:[!?][A-Za-z-][^>\r\n]*|/?{name}(?: +(?:{name}(?: *= *{value})?|{value}))* */?)>"
    symbols = (
        r"([+%&~^|\\\u00a6\u00a7\u00a8\u00a9\u00ac\u00ae\u00af\u00b0-\u00b3\u00b4-\u00ba\u00d7\u00f7\u0387\u05be\u05c0"
        r"\u05c3\u05c6\u05f3\u05f4\u0600-\u0603\u0606-\u060a\u060c\u0614\u061b\u061e\u066a\u066d\u0703-\u070d\u07f6-\u07f8"
        r"\u0964\u0965\u0e4f\u1fbd\u2016\u2017\u2020-\u2023\u2030-\u2038\u203b\u203e-\u2042\u2044\u207a-\u207f"
        r"\u208a-\u208e\u2100-\u214f\u2190-\u21ff\u2200-\u2bff\u3012\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40"
        r"\uff5b-\uff65])"
    )
    table: list[tuple[str, str]] = [
        (r"([cC][aA][nN])((?i:not))", "keep"),
        (rf"({A}[tT])((?i:was|is))", "keep"),
        (r"((?i:gon(?=na)|got(?=ta)|lem(?=me)|gim(?=me)|wan(?=na)))((?i:na|ta|me))", "keep"),
        (r"([cC]\+\+|[cCfF]#)", "keep"),
        (rf"({markup})", "markup"),
        (r"(&(?i:md|mdash|ndash);|[\u0096\u0097\u2013-\u2015])", "dash"),
        (r"(&amp;)", "ampersand"),
        (r"(&(?:(?i:ht|tl|ur|lr|qc|ql|qr|odq|cdq)|#[0-9]+);)", "keep"),
        (rf"({word})({short})", "word"),
        (rf"({not_word})({negation})", "word"),
        (rf"({word})", "word"),
        (rf"({apo_word})", "keep"),
        (rf"([yY]{A})({L})", "apostrophe"),
        (rf"((?i:https?)://[^{no_url}(){{}}]+[^{no_url}.!?(){{}},-])", "keep"),
        (rf"({likely_url})", "keep"),
        (
            r"((?:&lt;|<)?[a-zA-Z0-9][^ \t\n\f\r\"<>|()\u00a0{}]*@(?:[^ \t\n\f\r\"<>|(){}.\u00a0]+\.)*"
            r"[^ \t\n\f\r\"<>|(){}.\u00a0]+(?:&gt;|>)?)",
            "keep",
        ),
        (rf"(@[A-Za-z_][A-Za-z_0-9]*|#{L}+)", "keep"),
        (rf"({short})([^A-Za-z])", "apostrophe"),
        (rf"({negation})([^A-Za-z])", "apostrophe"),
        (rf"({D}{{1,2}}[-/]{D}{{1,2}}[-/]{D}{{2,4}})", "keep"),
        (rf"([-+]?{num})", "number"),
        (r"([\u207a\u207b\u208a\u208b]?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u2080-\u2089]+)", "keep"),
        (rf"((?:{D}{{1,4}}[- \u00a0])?{D}{{1,4}}(?:\\?/|\u2044){D}{{1,4}})", "space"),
        (r"([\u00bc-\u00be\u2153-\u215e])", "fraction"),
        (rf"((?i:-(?:rrb|lrb|rcb|lcb|rsb|lsb)-|c\.d\.s|pro-|anti-|cap{A}n|c{A}est))", "keep"),
        (r"((?i:s(?:&|&amp;)(?:p-500|ls)))", "keep"),
        (r"([A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:\\?/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2})", "keep"),
        (r"([A-Z]*\$|#)", "keep"),
        (r"([\u00a2-\u00a5\u0080\u20a0\u20ac])", "currency"),
        (rf"([A-Za-z])(\.{N}+(?:{alternatives(OPENERS)}|{markup}){N})", "keep"),
        (rf"((?:{dotted})\.)({N}+(?:{alternatives(OPENERS)}|{markup}){N})", "sentence"),
        (rf"({alternatives(NUMBERED)}\.)({N}?{D})", "keep"),
        (rf"({closing}\.)({N}(?:{N}|[A-Z]|{markup}))", "sentence"),
        (rf"({closing}\.)([\s\S]{{2}})", "keep"),
        (rf"({closing}\.)(\Z)", "sentence"),
        (rf"({closing}\.)", "keep"),
        (rf"({opening}\.)", "keep"),
        (rf"((?:{dotted}|[A-Za-z])\.)", "keep"),
        (rf"({A}[0-9][0-9])({N})", "keep"),
        (rf"({LD}+(?:\.{LD}+)*\.{alternatives(EXTENSIONS)})((?:{N}|[.?!,]))", "keep"),
        (rf"({word}\.)([,;:\u3001])", "word"),
        (
            r"((?:\([0-9]{2,3}\)[ \u00a0]?|(?:\+\+?)?(?:[0-9]{2,4}[- \u00a0])?[0-9]{2,4}[- \u00a0])[0-9]{3,4}"
            r"[- \u00a0]?[0-9]{3,5}|(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5})",
            "phone",
        ),
        (r"(\"|&quot;)([A-Za-z0-9$])", "open"),
        (r"(\"|&quot;|'')", "close"),
        (r"([<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]])([^A-Za-z0-9])", "parentheses"),
        (r"([-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\))", "brackets"),
        (r"(<|&lt;)", "less"),
        (r"(>|&gt;)", "greater"),
        (r"([\[\](){}])", "brackets"),
        (r"(-+)", "dash"),
        (r"(\.{3,5}|(?:\.[ \u00a0]){2,4}\.|[\u0085\u2026])", "ellipsis"),
        (r"(@+|#+|_+|\*+|(?:\\\*){1,3})", "keep"),
        (r"([,;:\u3001])", "keep"),
        (r"([?!]+|[.\u00a1\u00bf\u037e\u0589\u061f\u06d4\u0700-\u0702\u07fa\u3002])", "keep"),
        (r"(=|/)", "keep"),
        (rf"({hthing})", "word"),
        (rf"({hthing}\.)([,;:\u3001])", "word"),
        (rf"({thing}\.)([,;:\u3001])", "keep"),
        (rf"({thing})", "keep"),
        (r"([A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+)", "ampersand"),
        (rf"('|&apos;)([A-Za-z](?!{N})[\s\S])", "open"),
        (rf"({quotes})", "close"),
        (rf"({short}|{negation})", "apostrophe"),
        (r"(<<|>>)", "keep"),
        (symbols, "keep"),
    ]
    return [(re.compile(pattern), kind) for pattern, kind in table]
