"""Answers known to be wrong, made from gold answers by rule: what `rlvr audit` gives a verifier to refuse.

Each rule changes the meaning, not only the spelling, for every gold answer it applies to; it is silent where it could
not be sure. The rules read text only and share no code with the verifiers they are used against.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

_INTEGER = re.compile(r"-?\d+")
_PLAIN = re.compile(r"[-+]?\d+(?:\.\d+)?")
_FRACTION = re.compile(r"([-+]?)\\?[dt]?frac\{?(\d+)\}?\{?(\d+)\}?|([-+]?\d+)/(\d+)")
_NOT_ONE_VALUE = re.compile(r"[=,;<>]|\\(?:in|le|ge|ne|leq|geq|neq|pm|mp|cup|text|mathrm|mbox|infty|begin|equiv|mathbb)"
                            r"(?![A-Za-z])|\bor\b|\band\b|\\\{|:")
_STEP = re.compile(r"(?<![\d.,_{^])\d+(?![\d.,}])")

_UNITS = (("cm", "m", "km"), ("inches", "feet", "miles"), ("hours", "minutes", "seconds"), ("kg", "lbs"),
          ("dollars", "cents", "euros"), ("km/h", "m/s"))
_WITH_UNIT = re.compile(r"(.*\d.*\\(?:text|mathrm|mbox)\{\s*)([A-Za-z/]+)(\s*\}(?:\^\{?\d\}?)?)")


def wrong_answers(gold: str) -> Iterator[tuple[str, str]]:
    """(name of the rule, wrong answer) for a gold answer of mathematics, in LaTeX without a box."""
    bare = gold.strip().removeprefix(r"\$").strip("$").strip()
    if re.fullmatch(r"-?\d{1,3}(,(\\!)?\d{3})+", bare):
        bare = bare.replace(",", "").replace("\\!", "")
    for rule, answer in _of_integer(bare) if _INTEGER.fullmatch(bare) else _of_expression(bare):
        if value_key(answer) != value_key(bare):
            yield rule, answer
    yield from ((rule, answer) for rule, answer in _forms_of_names(bare) if value_key(answer) != value_key(bare))
    yield from _named_lists(bare)
    yield from (("constant", answer) for answer in _constants(bare))
    yield from _with_words(bare)
    yield from (("other unit", answer) for answer in _other_units(bare, dollars=gold.strip().startswith(r"\$")))


def _of_integer(gold: str) -> Iterator[tuple[str, str]]:
    n = int(gold)
    yield from (("neighbour", str(n + step)) for step in (-1, 1, -2, 2, 10, -10, 100))
    yield from [("scaled", str(10 * n)), ("scaled", str(100 * n)), ("scaled", f"{n}/100"), ("scaled", f"{n / 10}"),
                ("scaled", str(2 * n)), ("negated", str(-n))] if n else []
    yield from (("close decimal", f"{n}{tail}") for tail in (".5", ".001", ".01", ".0001"))
    yield "close fraction", rf"\frac{{{10 * n + 1}}}{{10}}"
    yield "close fraction", rf"{abs(n)}\frac{{1}}{{1000}}"
    other = n + 1
    yield from (("two answers", form) for form in (
        f"{n}, {other}", rf"{n} \text{{ or }} {other}", rf"{other} \text{{ or }} {n}", f"{n} or {other}",
        rf"\{{{n}, {other}\}}", f"({n}, {other})", f"[{n}, {other}]", rf"{n} \pm 1", f"{n}; {other}",
        rf"{n} \text{{ and }} {other}", rf"{n}, {other}, {other + 1}"))
    yield from (("false chain", form) for form in (f"{other}={n}", f"{n}={other}", f"x={n}={other}", f"{n}+1={n}"))
    yield from (("inequality", form) for form in (f"x>{n}", rf"x \le {n}", rf"\ne {n}", f"[{n}, \\infty)"))
    if n >= 0:
        yield from (("other base", f"{n}_{base}") for base in (7, 8))
    yield from (("variable", form) for form in (f"{n}x" if n else "x", f"{n}+x", rf"{n}\pi" if n else r"\pi"))
    if n not in (0, 1):
        yield from (("root or inverse", form) for form in (rf"\sqrt{{{n}}}", f"({n})^2") if n != -1 or "^" not in form)
        if n != -1:
            yield "root or inverse", rf"\frac{{1}}{{{n}}}"
    yield from (("list of one", form) for form in (f"[{n}]", rf"\{{[{n}]\}}", rf"\langle {n} \rangle"))
    if n:
        yield "doubled percent", rf"{n}\%\%"
    yield "modulus", rf"{n} \pmod{{{abs(n) + 2}}}"
    digits = str(abs(n))
    if len(digits) > 1:
        yield "digits swapped", gold.replace(digits, digits[-1] + digits[1:-1] + digits[0])
        yield "digit dropped", gold.replace(digits, digits[:-1])
        yield "digit dropped", gold.replace(digits, digits[1:])
    yield "digit added", f"{gold}0{n % 7}" if n else "1"


def _of_expression(gold: str) -> Iterator[tuple[str, str]]:
    for match in _STEP.finditer(gold):
        for step in (1, 2):
            yield "number changed", f"{gold[: match.start()]}{int(match[0]) + step}{gold[match.end() :]}"
    if not _NOT_ONE_VALUE.search(gold):
        yield from [("one added", f"({gold})+1"), ("one added", f"({gold})-1"), ("scaled", rf"2\left({gold}\right)"),
                    ("scaled", rf"\frac{{{gold}}}{{10}}"), ("negated", f"-({gold})"),
                    ("two answers", rf"{gold} \text{{ or }} 17"), ("two answers", f"{gold}, 17"),
                    ("false chain", f"17={gold}"), ("variable", rf"({gold}) w")]
        if not re.search(r"\d[eE][-+]?\d|10\s*\^|\d{7}", gold):  # too small beside 10^15
            yield "close decimal", f"({gold})+0.001"
    parts, brackets = _parts(gold)
    if len(parts) > 1:
        left, right = brackets
        yield "element dropped", left + ", ".join(parts[:-1]) + right
        yield "element added", left + ", ".join([*parts, "97"]) + right
        yield "element twice", left + ", ".join([*parts, parts[0]]) + right
        if left == "(" and len({value_key(part) for part in parts}) > 1 and "infty" not in gold:
            yield "order changed", left + ", ".join(reversed(parts)) + right
        if "infty" not in gold and brackets in (("(", ")"), (r"\{", r"\}")):
            left, right = (r"\{", r"\}") if left == "(" else ("(", ")")
            yield "set for tuple", left + ", ".join(parts) + right
    if len(parts) == 2 and "infty" not in gold and brackets in (("(", "]"), ("[", ")"), ("[", "]")):
        yield "bracket changed", ("(" if brackets[0] == "[" else "[") + gold[1:]
    choice = re.fullmatch(r"(\\text\{)?\(?([A-E])\)?\}?", gold)
    if choice:
        yield from (("other choice", gold.replace(choice[2], letter)) for letter in "ABCDE" if letter != choice[2])


def _other_units(gold: str, dollars: bool) -> Iterator[str]:
    """The gold answer with another unit of the same kind in place of its own; 0 is 0 in all of them."""
    if not re.search("[1-9]", gold):
        return
    found = _WITH_UNIT.fullmatch(gold)
    if found:
        for kind in _UNITS:
            yield from (f"{found[1]}{other}{found[3]}" for other in kind if found[2] in kind and other != found[2])
    if re.fullmatch(r"[-+\d./]+\s*\^(?:\{\s*)?\\circ\}?", gold):
        yield gold.partition("^")[0] + r"\text{ radians}"
    if dollars and _PLAIN.fullmatch(gold):
        yield rf"{gold}\text{{ cents}}"


CONSTANTS = ("0", "1", "-1", "2", "nan", "inf", r"\infty", r"-\infty", r"\text{nan}", r"\text{none}", r"\emptyset",
             r"\{\}", "()", r"\text{true}", r"\ldots", "?", ",", "x", "i")
"""What a lazy policy or a broken verifier may settle on."""


def _constants(gold: str) -> Iterator[str]:
    """Constants that the gold answer is not; numbers only for a plain number: an expression may have that value."""
    plain = bool(_PLAIN.fullmatch(gold) or _FRACTION.fullmatch(gold))
    words = re.findall(r"[A-Za-z0-9]+|\S", gold.casefold())
    for constant in CONSTANTS:
        if not plain and _PLAIN.fullmatch(constant):
            continue
        if value_key(constant) != value_key(gold) and constant.strip("-\\{}").casefold() not in words and not (
                "empty" in gold or "infty" in gold or r"\{" in gold or "none" in gold.casefold()):
            yield constant


_CHANGING_WORDS = ("sevenths", "thirds", "halves", "hundredths", "point five", "and a half", "less three",
                   "more than that", "over two", "by two", "squared", "cubed", "to the fourth", "factorial", "root two",
                   "in binary", "in hexadecimal", "base seven", "mod two", "choose two", "grand",
                   "hundred", "thousand", "million", "tens", "pi", "x", "percent off", "or nine", "or so",
                   "guess", "maybe", "wrong", "not", "at most", "at least", "zzz", "zzz zzz")
_ABOUT = (r"\approx", r"\cong", r"\simeq", r"\sim", r"\doteq", "≅", "≃", "≈", r"\equiv", r"\ne", r"\to", r"\Rightarrow",
          r"\propto", r"\mid", "#", "&", r"\quad", r"\\", ";")
"""Signs that are no equality. Whatever stands around one that a verifier does not know may be passed over."""


def _with_words(gold: str) -> Iterator[tuple[str, str]]:
    """The gold answer with something after it that makes another value or no answer of it."""
    if not re.search(r"[1-9]", gold) or _NOT_ONE_VALUE.search(gold) or "\\frac" in gold.removeprefix("-")[1:]:
        return
    for word in _CHANGING_WORDS:
        yield "word after the number", rf"{gold}\text{{ {word}}}"
    yield "word after the number", f"{gold} zzz"
    for unit in ("m", "cm", "apples"):
        yield "repeated unit", gold + rf"\text{{ {unit}}}" * 100
    if _INTEGER.fullmatch(gold):
        yield from (("sign between two answers", f"{gold}{sign}{int(gold) + 1}") for sign in _ABOUT)
        yield from (("sign between two answers", f"{int(gold) + 1}{sign}{gold}") for sign in _ABOUT)


_NUMBER_WORDS = {0: "zero", 1: "one", 2: "two", 3: "three", 5: "five", 8: "eight", 12: "twelve"}


def _forms_of_names(gold: str) -> Iterator[tuple[str, str]]:
    """Another value behind a name or an option's letter, and other words."""
    if _INTEGER.fullmatch(gold):
        yield from _named_integers(gold)
    choice = re.fullmatch(r"(?:\\text\{)?\(?([A-E])\)?\}?", gold)
    if choice:
        other = "B" if choice[1] == "A" else "A"
        yield from (("other choice", form) for form in (
            rf"\textbf{{({other})}}\ 12", rf"\text{{Choice {other}}}", f"{other}. x = 4", f"{choice[1]}+1",
            f"2{choice[1]}", rf"({choice[1]}) \text{{ or }} ({other})", rf"\text{{not ({choice[1]})}}",
            rf"\text{{({choice[1]}) is wrong}}"))
    words = re.fullmatch(r"\\text\{([A-Za-z ]{3,})\}", gold)
    if words:
        yield from (("other words", form) for form in (
            rf"\text{{not {words[1]}}}", rf"\text{{{words[1]} or other}}", rf"\text{{un{words[1]}}}",
            rf"\text{{{words[1][:-1]}}}", rf"\text{{{words[1]} and more}}", rf"\text{{{words[1]} zzz}}"))


def _named_integers(gold: str) -> Iterator[tuple[str, str]]:
    """For an integer."""
    n, other = int(gold), int(gold) + 1
    for name in ("x", "[ABC]", "x^2+y^2", r"m\angle 2", "P(A)", "10a+b", r"\sum a_i", r"\text{Answer}"):
        yield "name of another value", f"{name}={other}"
    yield from (("name of another value", form) for form in (
        f"{other}=x", rf"\text{{The answer is {other}}}", rf"\text{{The answer is not {n}}}", f"**{other}**",
        rf"\text{{Answer: {n} or {other}}}"))
    yield from (("unsolved", form) for form in (f"-x={n}", f"x+1={n}", f"x^2+1={n}", f"2x+z={n}",
                                              f"x={n}, y={other}"))
    yield from (("option of another value", form) for form in (
        rf"\textbf{{(C)}}\ {other}", f"C. {other}", rf"\text{{(C) }} {n} \text{{ (D) }} {other}", f"(C)+{n}", "C"))
    yield from (("number in words", rf"\text{{{word}}}") for value, word in _NUMBER_WORDS.items() if value != n)
    yield from (("number in words", rf"\text{{{word} hundred}}") for value, word in _NUMBER_WORDS.items()
                if 0 < value < 10 and 100 * value != n)


def _named_lists(gold: str) -> Iterator[tuple[str, str]]:
    """For several numbers, with or without names."""
    parts, brackets = _parts(gold)
    if len(parts) in (2, 3) and all(_PLAIN.fullmatch(part) for part in parts) and len(set(parts)) == len(parts):
        if brackets[0] == "(":
            yield "one name for several values", ", ".join(f"x={part}" for part in parts)
            yield "one name for several values", r" \text{ or } ".join(f"x={part}" for part in parts)
        yield "names in another order", ", ".join(f"{name}={part}" for name, part in zip("zyx", parts, strict=False))
    named = [re.fullmatch(r"\s*([a-z])\s*=\s*(-?\d+)\s*", part) for part in gold.split(",")]
    if len(named) > 1 and all(named) and len({match[1] for match in named if match}) == len(named):
        for name in (named[0][1] if named[0] else "x", "w"):
            yield "one name for several values", ", ".join(f"{name}={match[2]}" for match in named if match)


def _parts(gold: str) -> tuple[list[str], tuple[str, str]]:
    """Elements of a list, tuple, set or interval of simple elements, and its brackets."""
    text = re.sub(r"\\(?:left|right)\s*", "", gold).strip()
    brackets, inner = ("", ""), text
    for left, right in (("(", ")"), ("[", "]"), ("(", "]"), ("[", ")"), (r"\{", r"\}")):
        if text.startswith(left) and text.endswith(right):
            brackets, inner = (left, right), text[len(left) : -len(right)]
    if re.search(r"[()\[\]=]|\\[{}]|\\text|\\mathrm|\d,\d{3}|,\\!|\\begin|\{,\}", inner):
        return [], brackets
    return [part.strip() for part in inner.split(",")], brackets


def value_key(answer: str) -> tuple[str, object]:
    """Equal keys: surely the same answer. Plain numbers by value, lists without brackets in any order, all else by its
    characters; `f(x) = 1` and `k = 1` are 1."""
    text = re.sub(r"\\(?:left|right|!|,|;|\s)|\s|\$", "", answer)
    text = re.sub(r"\\[dt]frac", r"\\frac", text).removesuffix(r"\%").removesuffix("%").removesuffix(r"^\circ")
    text = re.sub(r"(?<=\d)\\(?:text|mathrm|mbox)\{[^{}]*\}(?:\^\{?\d\}?)?$", "", text)
    text = re.sub(r"^[a-zA-Z](?:\([a-zA-Z]\))?=", "", text)
    if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?", text):
        text = text.replace(",", "")
    if _PLAIN.fullmatch(text):
        return ("number", Fraction(text))
    found = _FRACTION.fullmatch(text)
    if found and int(found[3] or found[5]):
        top = Fraction((found[1] or "") + found[2]) if found[2] else Fraction(found[4])
        return ("number", top / int(found[3] or found[5]))
    if "," in text and not re.search(r"[()\[\]{}]", text):
        return ("list", tuple(sorted((value_key(part) for part in text.split(",")), key=str)))
    return ("text", text)
