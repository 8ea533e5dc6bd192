"""Any bytes as a data file, or as a file of completions, become problems or one line that names the place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from rlvr.config.data import DataSpec
from rlvr.data.completions import read_completions, read_texts
from rlvr.data.load import load_problems
from rlvr.types import Problem, UserError
from tests.fuzz.driver import fuzz

SPECS = [
    DataSpec("rows.jsonl", verifier="math", prompt="prompt", gold="gold"),
    DataSpec("rows.jsonl", verifier="math", prompt="prompt", gold="gold", chat=True, system="Think."),
    DataSpec("rows.jsonl", verifier="math", prompt="prompt", gold="gold", id="id", gold_boxed=True),
    DataSpec("rows.jsonl", verifier="math", prompt="prompt", gold="gold", gold_pattern=r"#### (.*)"),
]
PROBLEMS = [Problem(str(i), "p", "1", "math") for i in range(3)]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["\ud800", "\u2028", "\x85", "#### 7", r"\boxed{7}", "nan", "1e400"]),
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["role", "content", "type", "text", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", 1]), "content": trees}), max_size=3
)
rows = st.fixed_dictionaries({}, optional={"prompt": st.one_of(trees, messages), "gold": trees, "id": scalars})
spoilt_rows = st.tuples(
    st.sampled_from(["prompt", "gold", "id"]), scalars, st.integers(0, 9).map(str)
).map(lambda three: {"prompt": "p", "gold": r"#### 7 \boxed{7}", "id": three[2], three[0]: three[1]})
"""Rows that are right, or wrong in one field alone."""
sound = st.fixed_dictionaries(
    {"problem_id": st.sampled_from(["0", "1", "2"]), "sample": st.integers(0, 3), "text": st.text(max_size=9)},
    optional={"step": st.integers(0, 3), "truncated": st.booleans(), "tokens": st.integers(0, 9)},
)
FIELDS = ["problem_id", "sample", "text", "step", "truncated", "tokens"]
spoilt = st.tuples(sound, st.dictionaries(st.sampled_from(FIELDS), scalars, max_size=1)).map(
    lambda two: {**two[0], **two[1]}
)
"""Rows that are right, or wrong in one field alone."""
completions = st.fixed_dictionaries(
    {},
    optional={
        "problem_id": st.one_of(st.sampled_from(["0", "1", "2"]), scalars),
        "sample": st.one_of(st.integers(-1, 3), scalars),
        "text": scalars,
        "step": scalars,
        "truncated": scalars,
        "tokens": scalars,
    },
)
ODD = {
    "nested": b"[" * 100_000,
    "infinite": b'{"prompt": "p", "gold": 1e400}',
    "twice": b'{"prompt": "a", "prompt": "b"}',
    "no text": b"\xff\xfe",
    "two": b"{}{}",
    "null": b"null",
    "string": b'"x"',
    "NUL": b"\x00",
    "blank": b"",
    "long": b'{"prompt": "' + b"x" * 100_000 + b'"}',
}


def file_of(lines: list[Any]) -> bytes:
    """Rows as JSON, names of `ODD` as what they stand for, bytes as they are."""
    encoded = (
        ODD[line] if isinstance(line, str) else line if isinstance(line, bytes) else json.dumps(line).encode()
        for line in lines
    )
    return b"\n".join(encoded)


def one_line(error: UserError) -> None:
    assert str(error) and "\n" not in str(error) and len(str(error)) < 2000


def test_data_rows(tmp_path: Path, seconds: float) -> None:
    def check(value: tuple[int, list[Any]]) -> None:
        which, lines = value
        file = tmp_path / "rows.jsonl"
        file.write_bytes(file_of(lines))
        spec = DataSpec(
            **{**{name: getattr(SPECS[which], name) for name in DataSpec.__dataclass_fields__}, "source": str(file)}
        )
        try:
            problems = load_problems(spec, where="data.train")
        except UserError as error:
            one_line(error)
        else:
            assert problems and len({problem.id for problem in problems}) == len(problems)
            for problem in problems:  # what was read can be written down again
                json.dumps([problem.id, problem.gold]).encode()
                json.dumps(problem.prompt, ensure_ascii=False).encode()  # as a tokenizer needs it
                assert problem.gold == problem.gold.strip() != ""

    lines = st.one_of(
        st.lists(spoilt_rows, min_size=1, max_size=2),
        st.lists(st.one_of(rows, st.sampled_from(sorted(ODD)), st.binary(max_size=20)), max_size=4),
    )
    fuzz(st.tuples(st.integers(0, len(SPECS) - 1), lines), check, seconds)


def test_completions(tmp_path: Path, seconds: float) -> None:
    def check(lines: list[Any]) -> None:
        file = tmp_path / "completions.jsonl"
        file.write_bytes(file_of(lines))
        for read in (lambda: read_completions(file, PROBLEMS, default_step=0), lambda: read_texts(file)):
            try:
                read()
            except UserError as error:
                one_line(error)

    fuzz(
        st.one_of(
            st.lists(spoilt, max_size=4),
            st.lists(st.one_of(completions, st.sampled_from(sorted(ODD)), st.binary(max_size=20)), max_size=6),
        ),
        check,
        seconds,
    )
