r"""What an answer adds without changing its value: `\text{for all real } x`, `, k \in \mathbb{Z}`, `\text{(mod 9)}`."""

from __future__ import annotations

import re

from rlvr.rewards.math.latex import rename, split_top, variables

_TEXT = r"\\(?:text|mathrm|mbox|textbf)"
_TAIL = re.compile(
    rf"\s*[,;]?\s*\(?\s*(?:{_TEXT}\s*\{{\s*,?\s*(?:where|for|with)\b[^{{}}]*\}}|\\forall(?![A-Za-z])|"
    r"(?:where|for (?:all|any|some|every))(?![A-Za-z]))(?P<rest>.*)$")
_MEMBER = re.compile(r"\s*[,;]\s*\(?\s*(?P<name>[a-zA-Z])\s*\\in\s*\\mathbb\{(?P<set>[ZRNQC])\}\s*\)?$|"
                     r"\s*\(\s*(?P<name2>[a-zA-Z])\s*\\in\s*\\mathbb\{(?P<set2>[ZRNQC])\}\s*\)$")
_HARMLESS_WORDS = """where for with any all some every each real constant constants integer integers arbitrary is are a
an number numbers the in of reals and be being complex nonnegative"""
_HARMLESS = frozenset(_HARMLESS_WORDS.split())
_ANY = re.compile(r"\\(?:text|forall|in|equiv|mathrm|mbox|[lg]e)(?![A-Za-z])|where|for |[<>]")
_SIGNS = re.compile(rf"{_TEXT}(?![A-Za-z])|[{{}}(),]|\\forall|\\in(?![A-Za-z])|\\mathbb\s*\{{\s*[A-Z]\s*\}}")
_MODULUS = re.compile(rf"\s*{_TEXT}\s*\{{\s*\(\s*mod(?:ulo)?\s+\d+\s*\)\s*\}}$")
_CONGRUENCE = re.compile(r"(?P<name>[A-Za-z](?:\s*_\s*\w)?|[A-Z]{2}|\\[a-z]+)\s*\\equiv\s*(?P<value>-?\d+)\s*"
                         r"(?:\\pmod\s*\{\s*\d+\s*\}|\(\s*\\bmod\s*\d+\s*\)|\\(?:text|mathrm)\s*\{\s*\(mod \d+\)\s*\})")
_IDENTICALLY = re.compile(r"([A-Za-z](?:\s*\(\s*[a-z]\s*\))?)\s*\\equiv(?![A-Za-z])\s*(?!.*\\p?mod)")


def without_conditions(gold: str, answer: str) -> tuple[str, str]:
    """Both without conditions that say only of what kind a letter is; a condition that both have stays."""
    if not _ANY.search(gold + answer):
        return gold, answer
    if "mod" not in gold:
        answer = _MODULUS.sub("", answer)
        congruence = _CONGRUENCE.fullmatch(answer)
        if congruence is not None and "\\equiv" not in gold:
            answer = f"{congruence['name']}={congruence['value']}"
    if "\\equiv" in answer and "\\equiv" not in gold:
        answer = _identically(gold, answer)
    (gold_head, gold_kind), (head, kind) = _cut(gold), _cut(answer)
    if gold_kind and kind and gold_kind != kind:
        return gold, answer
    gold, answer = gold_head, _same_parameter(gold_head, head, kind)
    return gold, _without_domain(gold, answer)


def _identically(gold: str, answer: str) -> str:
    r"""`f \equiv 0` and `f(x) \equiv x` as equations, where the gold answer gives a function."""
    match = _IDENTICALLY.match(answer)
    if match is None or match[1][:1] != gold[:1] or "(" not in gold.partition("=")[0]:
        return answer
    return f"{gold.partition('=')[0]}={answer[match.end() :]}"


def _same_parameter(gold: str, answer: str, kind: str) -> str:
    r"""The answer with the gold answer's name for an integer: `n \pi, n \in \mathbb{Z}` for `k \pi`."""
    wanted, given = (variables(one) - variables(other) for one, other in ((gold, answer), (answer, gold)))
    if kind == "Z" and len(wanted) == len(given) == 1 and (wanted | given) <= set("knmjlrt"):
        return rename(answer, {given.pop(): wanted.pop()})
    return answer


def _cut(text: str) -> tuple[str, str]:
    """The text without such a condition, and of what kind it says the letter is: Z, R ... or nothing."""
    member = _MEMBER.search(text)
    if member is not None and (member["name"] or member["name2"]) in variables(text[: member.start()]):
        return text[: member.start()].strip(), member["set"] or member["set2"]
    tail = _TAIL.search(text)
    if tail is None or not text[: tail.start()].strip():
        return text, ""
    said = _SIGNS.sub(" ", tail[0])
    words = re.findall(r"[A-Za-z]+", said)
    letters = {word for word in words if len(word) == 1 and word.lower() != "a"} or {"a"} & set(words)
    if set(re.sub(r"[A-Za-z\s]", "", said)) or not letters <= variables(text[: tail.start()]) or any(
            word.lower() not in _HARMLESS for word in words if len(word) > 1):
        return text, ""
    return text[: tail.start()].strip(" ,;"), "Z" if "integer" in said else ""


def _without_domain(gold: str, answer: str) -> str:
    r"""`f(x) = \sqrt{x}, x \ge 0` without its domain, where the gold answer names none."""
    parts = split_top(answer, frozenset({",", ";"}))
    if len(parts) != 2 or re.search(r"[<>,;]|\\(?:[lg]e|in|ne)(?![A-Za-z])", gold):
        return answer
    function = re.match(r"[A-Za-z]\s*(?:\(\s*|_\s*\{?\s*)([a-z])\s*[)}]?\s*=", parts[0])
    domain = re.match(r"([a-z])\s*(?:\\(?:in|[lg]e|ne)(?![A-Za-z])|[<>])", parts[1])
    return parts[0] if function and domain and function[1] == domain[1] and "=" not in parts[1] else answer
