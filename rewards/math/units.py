r"""Units after a number: `5 \text{ cm}^2`, `18 dollars`, `3 \mathrm{~m} / \mathrm{s}`.

Here they are left aside; which contradict each other says rlvr.rewards.math.known_units. A single bare letter is never
a unit: in `6m` and `5t` it is a variable, and leaving it aside would make `5t` equal 5.
"""

from __future__ import annotations

import re

FONT = r"\\(?:text|mathrm|mbox|textrm|textit|textbf|operatorname|rm)"
_POWER = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d))?"
_IN_BRACES = r"(?:[^{}]|\^\{-?\d\})*"
_IN_TEXT = re.compile(rf"(?:\s*(?:/|\\cdot|\\times)?\s*{FONT}\s*\{{{_IN_BRACES}\}}{_POWER})+$")
_CONTENT = re.compile(rf"{FONT}\s*\{{({_IN_BRACES})\}}")
_UNIT_WORDS = re.compile(r"(?:[A-Za-z°/.\-^ ]|(?<=[A-Za-z^])\d|(?<=\^-)\d)*")
_NOT_UNITS = re.compile(
    r"\b(?:or|and|not|no|nor|either|neither|maybe|perhaps|but|if|is|are|to|than|isn|base|"
    # a doubt or a condition
    r"unless|when|where|wrong|false|incorrect|mistake|otherwise|alternatively|versus|vs|"
    # an operation: "5 squared" is 25
    r"(?<![a-z]\s)(?:squared|cubed)(?!\s*[a-z])|factorial|plus|minus|times\s+\S+|divided|doubled|tripled|halved|off|choose|"
    r"mod|modulo|pi|"
    # a factor or a sign: "3 dozen" is 36
    r"dozens?|gross|scores?|lakhs?|crores?|mil|mn|bn|thousands|(?:m|b|tr)illions|hundreds|negative|below)\b",
    re.IGNORECASE)
_NEVER_ALONE = re.compile(
    r"[ /.^\-\d]*[eijknopqrvwxyzMB][ ./^\-\d]*|"  # a variable in an upright font, millions, billions
    r"\s*(?:half|halves|(?:third|fourth|fifth|sixth|eighth|tenth|hundredth|thousandth)s?)\s*")
PERCENT = re.compile(r"\s*(?:\\text\s*\{\s*)?(?<![A-Za-z])(?:percent|per cent|pct)\s*\}?$")
_BARE = re.compile(
    r"(?<=[\d})])\s*(?:cm|mm|km|kg|mg|ml|ft|lbs?|mph|kph|sq|square|cubic|dollars?|cents?|degrees?|met(?:er|re)s?|"
    r"feet|foot|inch(?:es)?|miles?|yards?|hours?|hrs?|minutes?|mins?|seconds?|secs?|days?|weeks?|months?|years?|units?|"
    rf"pounds?|grams?|lit(?:er|re)s?|people|students?|ways?|points?|times)(?![A-Za-z]){_POWER}$"
)


def without_unit(text: str) -> str:
    r"""The normalized answer without a unit at its end; `percent` becomes `\%`. Never cut down to nothing."""
    cut = PERCENT.sub(r"\\%", text)
    if cut != text:
        return cut.strip()
    for _ in range(2):  # "5 square feet"
        match = _BARE.search(text)
        text = text[: match.start()].strip() if match else text
    match = _IN_TEXT.search(text)
    rest = text[: match.start()].strip() if match else ""
    if match is None or not rest or "\\text" in rest or "\\mathrm" in rest:
        return text
    words = _CONTENT.findall(match[0])
    return rest if all(_is_unit(word.replace("{", "").replace("}", "")) for word in words) else text


def _is_unit(word: str) -> bool:
    return not (_NOT_UNITS.search(word) or _NEVER_ALONE.fullmatch(word)) and _UNIT_WORDS.fullmatch(word) is not None


_COUNTED = re.compile(r"\b(?:how many|number of|in)\s+(dozen|gross|score|lakh|crore)s?\b", re.IGNORECASE)


def without_counted_word(answer: str, question: str) -> str:
    """`7 dozen eggs` as 7 eggs where the question asks for dozens; elsewhere it is a factor."""
    for asked in _COUNTED.finditer(question):
        answer = re.sub(rf"(?<![A-Za-z\\]){asked[1]}s?(?![A-Za-z])", "", answer, flags=re.IGNORECASE)
    return answer
