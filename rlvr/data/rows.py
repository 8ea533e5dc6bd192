"""One dataset row -> Problem, by the columns or the reader of a DataSpec."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rlvr.config.data import NEUTRAL_TEMPLATE, DataSpec, is_file
from rlvr.config.registry import resolve_reader
from rlvr.config.wording import first_line, short
from rlvr.data.images import read_images, with_placeholders
from rlvr.rewards.boxed import final_answer
from rlvr.types import Message, Problem, Reason, UserError, hidden

MESSAGE_KEYS = {"role", "content"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class NoGold(UserError):
    """A row without a readable gold answer: left out with `drop_bad_golds`."""


def problem_of(row: Mapping[str, Any], at: str, row_id: str, spec: DataSpec, pattern: re.Pattern[str] | None,
               where: str) -> Problem:
    """The problem that a row describes.

    `at` is the row's place for error messages, `row_id` its id unless `spec.id` names a column, `pattern` the compiled
    `spec.gold_pattern`. Raises NoGold for a row without a readable gold answer, UserError for anything else.
    """
    problem_id = row_id
    if spec.id is not None:
        value = _column(row, spec.id, at, f"{where}.id")
        if value is None or not str(value).strip():
            raise UserError(f"{at}: no id in column {spec.id!r} ({where}.id); fill it, or remove {where}.id")
        problem_id = str(value)
        if any(map(hidden, problem_id)):
            raise UserError(f"{at}: id {problem_id!r} in column {spec.id!r} ({where}.id), expected text in one line "
                            "without control characters; fix it, or choose another column")
    if spec.reader is not None:
        return _read_problem(row, at, problem_id, spec, where)
    gold = "" if spec.gold is None else _gold_answer(row, at, spec.gold, spec, pattern, where)
    extra = {name: _column(row, name, at, f"{where}.extra") for name in spec.extra}
    question, choices = _column(row, spec.prompt, at, f"{where}.prompt"), options(row, at, spec, where)
    _check_encodable([question, choices], at, spec.prompt, where)
    if choices:
        extra["choices"] = choices
        if isinstance(question, str):
            question += "".join(f"\n({letter}) {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    prompt, images = prompt_of(question, at, spec, where), ()
    if spec.image is not None:
        assert not isinstance(prompt, str)  # check_spec wants chat
        prompt, images = _with_images(prompt, row, at, spec.image, spec, where)
    return Problem(problem_id, prompt, gold, spec.judged_by, MappingProxyType(extra), images)


def _gold_answer(row: Mapping[str, Any], at: str, column: str, spec: DataSpec, pattern: re.Pattern[str] | None,
                 where: str) -> str:
    gold = _gold(_column(row, column, at, f"{where}.gold"), at, column, where)
    if pattern is not None:
        matches = [match.group(1) for match in pattern.finditer(gold)]
        if not matches or not (matches[-1] or "").strip():
            raise NoGold(f"{at}: no answer in column {column!r}: {where}.gold_pattern {pattern.pattern!r} does not "
                         f"match {short(gold)}; fix the pattern or the row")
        gold = matches[-1].strip()
    return _last_box(gold, at, column, where) if spec.gold_boxed else gold


def _with_images(prompt: tuple[Message, ...], row: Mapping[str, Any], at: str, column: str, spec: DataSpec,
                 where: str) -> tuple[tuple[Message, ...], tuple[bytes, ...]]:
    folder = Path(spec.source).expanduser().parent if is_file(spec.source) else None
    try:
        images = read_images(_column(row, column, at, f"{where}.image"), folder,
                             max_pixels=spec.image_max_pixels, blank=spec.blank_images)
        return with_placeholders(prompt, len(images)), images
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{at}: column {column!r} ({where}.image): {error}; fix or drop the row") from None


def options(row: Mapping[str, Any], at: str, spec: DataSpec, where: str) -> list[str]:
    """The options of a multiple-choice row, none for other rows."""
    if spec.choices is None:
        return []
    given = _column(row, spec.choices, at, f"{where}.choices")
    if given is None or given == [] or given == "":
        return []
    if not isinstance(given, list) or len(given) > len(LETTERS):
        raise UserError(f"{at}: found {short(given)} in column {spec.choices!r} ({where}.choices), expected a list of "
                        f"at most {len(LETTERS)} options, or nothing")
    return [str(option) for option in given]


def _read_problem(row: Mapping[str, Any], at: str, problem_id: str, spec: DataSpec, where: str) -> Problem:
    assert spec.reader is not None
    try:
        reading = resolve_reader(spec.reader)(row)
    except KeyError as error:
        raise UserError(f"{at}: no column {error} for {where}.reader {spec.reader!r} (columns: "
                        f"{', '.join(map(str, row))})") from None
    except (ValueError, TypeError, LookupError, AttributeError, SyntaxError) as error:
        raise NoGold(f"{at}: {where}.reader {spec.reader!r} cannot read the row: {first_line(error)}; fix or drop "
                      f"it, or set {where}.drop_bad_golds: true") from error
    return Problem(problem_id, prompt_of(reading.prompt, at, spec, where), reading.gold, spec.judged_by,
                   MappingProxyType(dict(reading.extra)))


_BRACELESS_BOX = re.compile(r"\\boxed\s+([^$]+?)\s*(?:\$|$)")


def _last_box(solution: str, at: str, column: str, where: str) -> str:
    r"""The answer of a worked solution. Some of MATH end in `\boxed 2$` or `\fbox{2}`, which no completion may."""
    answer = final_answer(solution)
    if answer is Reason.NO_BOX and (boxes := _BRACELESS_BOX.findall(solution)):
        return boxes[-1]
    if answer is Reason.NO_BOX:
        answer = final_answer(solution.replace("\\fbox", "\\boxed"))
    if isinstance(answer, Reason):
        raise NoGold(f"{at}: no answer in column {column!r}: {where}.gold_boxed finds no \\boxed{{...}} ({answer}) in "
                      f"{short(solution[-40:])}; fix or drop the row, or set {where}.drop_bad_golds: true")
    return answer


def prompt_of(value: Any, at: str, spec: DataSpec, where: str) -> str | tuple[Message, ...]:
    """The question in template and system message: text, or chat messages with `spec.chat`."""
    if isinstance(value, str) and value.strip():
        # Not str.format: mathematics is full of braces.
        text = spec.template.replace("{prompt}", value)
        if not spec.chat:
            return text
        messages: list[dict[str, Any]] = [{"role": "user", "content": text}]
    elif isinstance(value, list) and value and all(isinstance(m, dict) and m.keys() >= MESSAGE_KEYS for m in value):
        if not spec.chat or spec.template != NEUTRAL_TEMPLATE:
            raise UserError(f"{at}: column {spec.prompt!r} holds chat messages, which needs {where}.chat: true and no "
                            f"{where}.template")
        messages = [{**message, "content": _plain(message["content"])} for message in value]
        if messages[-1]["role"] == "assistant":
            raise UserError(f"{at}: the messages in column {spec.prompt!r} end with the assistant's; expected the "
                            "user's as the last one, since the answer must not be in the prompt")
    else:
        raise UserError(f"{at}: found {short(value)} in column {spec.prompt!r} ({where}.prompt), expected text or a "
                        "list of chat messages")
    if spec.system is not None:
        messages = [{"role": "system", "content": spec.system}, *messages]
    return tuple(messages)


def _plain(content: Any) -> Any:
    """Parts that are all text as one text, which every chat template reads; with pictures they stay parts."""
    if isinstance(content, list) and content and all(isinstance(part, Mapping) and part.get("type") == "text"
                                                     and isinstance(part.get("text"), str) for part in content):
        return "".join(part["text"] for part in content)
    return content


def _check_encodable(value: Any, at: str, column: str, where: str) -> None:
    """UserError for half of a surrogate pair, as broken JSON escapes leave it: no tokenizer takes it."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{at}: column {column!r} ({where}.prompt) holds {value[error.start]!r}, half of a "
                            "surrogate pair, which is no character; fix the row") from None
    elif isinstance(value, Mapping):
        for item in value.values():
            _check_encodable(item, at, column, where)
    elif isinstance(value, list):
        for item in value:
            _check_encodable(item, at, column, where)


def _gold(value: Any, at: str, column: str, where: str) -> str:
    if isinstance(value, list) and len(value) == 1:
        return _gold(value[0], at, column, where)
    if value is None or (isinstance(value, str) and not value.strip()) or (
            isinstance(value, float) and not math.isfinite(value)) or value == []:
        raise NoGold(f"{at}: no gold answer in column {column!r} ({where}.gold): found {short(value)}; every row "
                        "needs one: fill it or drop the row")
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    raise UserError(f"{at}: found {short(value)} in column {column!r} ({where}.gold), expected text, a number or a "
                    f"list of exactly one; what a verifier needs beside the answer belongs into {where}.extra")


def _column(row: Mapping[str, Any], name: str, at: str, key: str) -> Any:
    if name not in row:
        close = difflib.get_close_matches(name, list(row), n=1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        raise UserError(f"{at}: no column {name!r}; {guess}set {key} to one of: {', '.join(map(str, row))}")
    return row[name]
