r"""Units after a number: `5 \text{ cm}^2`, `18 dollars`, `3 \mathrm{~m} / \mathrm{s}`, `20 \text{ red apples}`.

Here they are left aside; which contradict each other says rlvr.rewards.math.known_units. Only known units and things
count (rlvr.rewards.math.unit_table), in phrases such as "cm", "dollars per day", "slices of pizza", "hours in total".
A single bare letter is never a unit: in `6m` and `5t` it is a variable, and leaving it aside would make `5t` equal 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from rlvr.rewards.math.latex import variables
from rlvr.rewards.math.unit_table import ADJECTIVES, CONNECTORS, TAILS, is_thing, is_unit_word

FONT = r"\\(?:text|mathrm|mbox|textrm|textit|textbf|textnormal|textsf|mathsf|operatorname|rm)"
_POWER = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d))?"
_IN_BRACES = r"(?:[^{}]|\^\{-?\d\})*"
_ITEM = rf"(?:{FONT}\s*\{{{_IN_BRACES}\}}|\\(?:Omega|AA|mu(?=\s*{FONT}))(?![A-Za-z]))"
_IN_TEXT = re.compile(rf"(?:\s*(?:/|\\cdot|\\times)?\s*{_ITEM}{_POWER}){{1,8}}$")
_COMMANDS = (
    (re.compile(rf"{FONT}(?![A-Za-z])|\\(?:cdot|times|circ)(?![A-Za-z])|[{{}}.]|\\[,;: ]|~"), " "),
    (re.compile(r"\\Omega(?![A-Za-z])"), "ohm"), (re.compile(r"\\AA(?![A-Za-z])"), "angstrom"),
    (re.compile(r"\\mu(?![A-Za-z])\s*"), "u"), (re.compile(r"(?<=[a-z])-(?=[a-z])"), " "),
    (re.compile(r"(?<![A-Za-z])([kMGm]) (?=ohm)"), r"\1"),
)
PERCENT = re.compile(r"\s*(?:\\text\s*\{\s*)?(?<![A-Za-z])(?:percent|per cent|pct)\s*\}?$")
_BARE = re.compile(rf"(?<=[\d}})])\s*([A-Za-z][A-Za-z ./]*){_POWER}$")
_SHORT_BARE = frozenset({"cm", "mm", "km", "kg", "mg", "ml", "ft", "lb", "hr", "sq", "of", "a", "an", "the", "on"})
_ATTACHED = re.compile(r"(?<=[A-Za-z])(-?\d+)")
_TOKEN = re.compile(r"[A-Za-z]+|\^\s*-?\d+|\S")
_NOUNS = "[JYB]*(?:[UB]p?|Ip?(?![UBI])){1,3}"
_GRAMMAR = re.compile(rf"(?:FP|[RE])?{_NOUNS}(?:[PRFEI]+{_NOUNS}){{0,3}}(?:I?[TYE]){{0,2}}|[TYE]")
"""Over the letters of `_kind`: "red apples", "cm", "dollars per day", "hours in total", "of a mile"."""
_MAX_WORDS = 10

_NOT_UNITS = re.compile(
    r"\b(?:or|and|not|no|nor|either|neither|maybe|perhaps|but|if|is|are|to|than|isn|base|"
    # a doubt or a condition
    r"unless|when|where|wrong|false|incorrect|mistake|otherwise|alternatively|versus|vs|except|guess|about|almost|"
    r"least|most|"  # a bound, also where the question asks "how many squares at least"
    # an operation: "5 squared" is 25
    r"(?<![a-z]\s)(?:squared|cubed)(?!\s*[a-z])|factorial|plus|minus|less|over|by|point|times\s+\S+|divided|doubled|tripled|"
    r"halved|off|choose|roots?|powers?|times|twice|thrice|doubles?|triples?|sums?|products?|differences?|remainders?|"
    r"squares?|cubes?|primes?|reciprocals?|inverses?|fewer|more|increased?|decreased?|ratios?|mod|modulo|pi|binary|octal|hex(?:adecimal)?|"
    # a factor or a sign: "3 dozen" is 36
    r"dozens?|gross|scores?|lakhs?|crores?|mil|mn|bn|grand|tens|hundreds?|thousands?|(?:m|b|tr)illions?|negative|below|"
    r"one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|"
    r"hal(?:f|ves)|(?:third|fourth|quarter|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth)s?)\b",
    re.IGNORECASE)
_ONE_LETTER = re.compile(r"[ /.^\-\d]*[eijknopqrvwxyzMB][ ./^\-\d]*")
"""A variable in an upright font, millions, billions."""


def without_unit(text: str) -> str:
    r"""The normalized answer without a unit at its end; `percent` becomes `\%`. Never cut down to nothing."""
    return split_unit(text)[0]


@lru_cache(maxsize=8192)
def split_unit(text: str) -> tuple[str, str]:
    """(the answer without its unit, the words of the unit); the words are empty where there is no unit."""
    if text[-1:].isdigit() and "^" not in text:
        return text, ""
    cut = PERCENT.sub(r"\\%", text)
    if cut != text:
        return cut.strip(), ""
    rest, phrase = _cut(text)
    return (rest, phrase) if rest and is_unit(phrase) else (text, "")


def _cut(text: str) -> tuple[str, str]:
    """What may be a number, and the words after it, which may be a unit."""
    match = _IN_TEXT.search(text)
    rest = text[: match.start()].strip() if match else ""
    if match is not None and rest and "\\text" not in rest and "\\mathrm" not in rest:
        return rest, plain_words(match[0])
    bare = _BARE.search(text) if match is None else None
    if bare is not None and all(len(word) > 2 or word in _SHORT_BARE for word in re.findall("[A-Za-z]+", bare[1])):
        return text[: bare.start()].strip(), plain_words(bare[0])
    return text, ""


def plain_words(suffix: str) -> str:
    r"""The words of `\text{ kg}\cdot\mathrm{m}^2`: kg m^2."""
    for pattern, replacement in _COMMANDS:
        suffix = pattern.sub(replacement, suffix)
    return suffix.strip()


def is_unit(phrase: str, also: frozenset[str] = frozenset()) -> bool:
    """Whether the words are a unit, a counted thing or a phrase of these; `also`: more words for things."""
    tokens = _TOKEN.findall(_ATTACHED.sub(r"^\1", phrase))  # m2
    words = [token for token in tokens if token[0].isalpha()]
    names = [word for word in words if is_unit_word(word) or is_thing(word)]
    if not words or len(words) > _MAX_WORDS or len(set(names)) < len(names):  # m m: no unit
        return False
    if len(words) == 1 and _ONE_LETTER.fullmatch(phrase):
        return False
    kinds = "".join(_kind(token, also) for token in tokens if token != ")")
    if kinds in ("T", "Y", "E"):
        return words[0].lower() in ("left", "total", "remaining", "altogether", "each", "apiece")
    return _GRAMMAR.fullmatch(kinds) is not None


def _kind(token: str, also: frozenset[str]) -> str:
    """One letter of _GRAMMAR: Unit, adJective, Both of these, Tail, adjective or tail (Y), power (p), In, Each, oF,
    peR, other connectors (P); ? for any other word."""
    word = token.lower()
    if token[0] == "^" or word in ("squared", "cubed"):
        return "p"
    if word in ("in", "each", "of", "per", "every", "/"):
        return {"in": "I", "each": "E", "of": "F"}.get(word, "R")
    if word in CONNECTORS:
        return "P"
    if is_unit_word(token) or is_thing(token) or word in also:
        return "B" if word in ADJECTIVES else "U"
    if word in TAILS:
        return "Y" if word in ADJECTIVES else "T"
    return "J" if word in ADJECTIVES else "?"


def without_decoration(gold: str, answer: str, question: str) -> tuple[str, str]:
    """Both normalized answers without units that are not in the table.

    The gold answer is right whatever is written after it, unless that is a factor or an operation. The answer may use
    the words of the gold answer and of the question, such as "How many florins ...", for things.
    """
    rest, phrase = _cut(gold)
    of_gold = re.findall("[a-z]+", phrase.lower())
    if rest and phrase and not is_unit(phrase) and is_decoration(phrase):
        gold = rest
    rest, phrase = _cut(answer)
    if not rest or not phrase or is_unit(phrase) or not is_decoration(phrase) or "^" in phrase:
        return gold, answer
    return gold, rest if is_unit(phrase, frozenset({*of_gold, *_asked(question)})) else answer


def _asked(question: str) -> Iterator[str]:
    """The words after "how many" and "number of", and those in the plural: what is counted."""
    text = question.lower()
    for found in _ASKED.findall(text):
        yield from found.split()
    yield from re.findall(r"\b[a-z]{3,}s\b", text)


_ASKED = re.compile(r"\b(?:how many|number of|how much)\s+((?:[a-z]+\s+){0,2}[a-z]+)")


def is_decoration(phrase: str) -> bool:
    """Whether no word of it could change the value of a number before it."""
    return (re.fullmatch(r"[A-Za-z°/.,\-^ ()\d]*", phrase) is not None and not _NOT_UNITS.search(phrase)
            and not _ONE_LETTER.fullmatch(phrase))


_COUNTED = re.compile(r"\b(?:how many|number of|in)\s+(dozen|gross|score|lakh|crore|quarter|thousand)s?\b",
                      re.IGNORECASE)
_BARE_LETTER = re.compile(r"(?<=[\d}])(?: |\\,|\\ |~)+(K|h|J|N|W|V|L)$")
_BARE_MICRO = re.compile(r"(?<=[\d}])\s*\\mu ([mgsLFAVWJN])$")
_MOLAR = re.compile(r"(10\s*\^\s*\{-?\d+\}\s*)\\(?:mathrm|text)\s*\{\s*M\s*\}$")
_CURRENCY_FIRST = re.compile(
    rf"^(?:{FONT}\s*\{{\s*)?(USD|EUR|GBP|INR|Rs|RMB|CNY|JPY)\b\.?\s*(?:\}}\s*)?(?=\d)([^{{}}]*)$")


def spelled_out(gold: str, answer: str) -> str:
    r"""The answer with its unit in `\text{}` where that can only be one: `300 K`, `10 h`, `USD 64`.

    A bare letter may only be a unit where the gold answer has no letters: that of `5 K` is otherwise a variable.
    """
    answer = _CURRENCY_FIRST.sub(r"\2\\text{ \1}", answer)
    answer = _MOLAR.sub(r"\1\\text{ molar}", answer)
    if not variables(gold):
        answer = _BARE_LETTER.sub(r"\\text{ \1}", answer)
        answer = _BARE_MICRO.sub(r"\\mu\\text{\1}", answer)
    return answer


def without_counted_word(answer: str, question: str) -> str:
    """`7 dozen eggs` as 7 eggs where the question asks for dozens; elsewhere it is a factor."""
    for asked in _COUNTED.finditer(question):
        answer = re.sub(rf"(?<![A-Za-z\\]){asked[1]}s?(?![A-Za-z])", "", answer, flags=re.IGNORECASE)
    return answer
