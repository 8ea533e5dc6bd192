r"""Units after a number: `5 \text{ cm}^2`, `18 dollars`, `3 \mathrm{~m} / \mathrm{s}`.

They are left aside, not compared, except for the power of one and the same unit. A single bare letter is never a unit
here: in `6m` and `5t` it is a variable, and leaving it aside would make `5t` equal 5.
"""

from __future__ import annotations

import re

_FONT = r"\\(?:text|mathrm|mbox|textrm|textit|textbf|operatorname|rm)"
_POWER = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d))?"
_IN_BRACES = r"(?:[^{}]|\^\{-?\d\})*"
_IN_TEXT = re.compile(rf"(?:\s*(?:/|\\cdot|\\times)?\s*{_FONT}\s*\{{{_IN_BRACES}\}}{_POWER})+$")
_CONTENT = re.compile(rf"{_FONT}\s*\{{({_IN_BRACES})\}}")
_UNIT_WORDS = re.compile(r"(?:[A-Za-z°/.\-^ ]|(?<=[A-Za-z^])\d|(?<=\^-)\d)*")
_NOT_UNITS = re.compile(
    r"\b(?:or|and|not|no|nor|either|neither|maybe|perhaps|but|if|is|are|to|than|isn|base|"
    # a doubt or a condition
    r"unless|when|where|wrong|false|incorrect|mistake|otherwise|alternatively|versus|vs|"
    # an operation: "5 squared" is 25
    r"(?<![a-z]\s)(?:squared|cubed)(?!\s*[a-z])|factorial|plus|minus|times\s+\S+|divided|doubled|tripled|halved|off|choose|mod|modulo|pi)\b",
    re.IGNORECASE)
_NEVER_ALONE = re.compile(
    r"[ /.^\-\d]*[eijknopqrvwxyz][ ./^\-\d]*|"  # a variable in an upright font
    r"\s*(?:half|halves|(?:third|fourth|fifth|sixth|eighth|tenth|hundredth|thousandth)s?)\s*")
_PERCENT = re.compile(r"\s*(?:\\text\s*\{\s*)?(?<![A-Za-z])(?:percent|per cent|pct)\s*\}?$")
_BARE = re.compile(
    r"(?<=[\d})])\s*(?:cm|mm|km|kg|mg|ml|ft|lbs?|mph|kph|sq|square|cubic|dollars?|cents?|degrees?|met(?:er|re)s?|"
    r"feet|foot|inch(?:es)?|miles?|yards?|hours?|hrs?|minutes?|mins?|seconds?|secs?|days?|weeks?|months?|years?|units?|"
    rf"pounds?|grams?|lit(?:er|re)s?|people|students?|ways?|points?|times)(?![A-Za-z]){_POWER}$"
)


def without_unit(text: str) -> str:
    r"""The normalized answer without a unit at its end; `percent` becomes `\%`. Never cut down to nothing."""
    cut = _PERCENT.sub(r"\\%", text)
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


def same_unit_other_power(gold: str, answer: str) -> bool:
    """Whether both end in the same unit to different powers: cm^2 and cm^3. Other units are not compared."""
    units = [re.sub(r"\\[A-Za-z]+|[^A-Za-z0-9-]", "", text[len(without_unit(text)) :]) for text in (gold, answer)]
    letters = [re.sub(r"[^A-Za-z]", "", unit) for unit in units]
    return units[0] != units[1] and letters[0] == letters[1] != ""
