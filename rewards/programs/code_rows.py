"""Rows of public programming datasets -> question, reference program and unit tests. Each reads one row.

    livecodebench   livecodebench/code_generation_lite
    humaneval_plus  evalplus/humanevalplus
    mbpp_plus       evalplus/mbppplus
    code_r1         ganler/code-r1-12k

The tests are read by `rlvr.rewards.programs.test_rows`. Where a dataset has no reference program the gold answer is
empty.
The questions ask for a program but not for a fenced block, which is all `unit_tests` judges: the recipe's `system` or
`template` asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr.rewards.programs import test_rows
from rlvr.types import Reading

Row = Mapping[str, Any]


def _extra(name: str, row: Row) -> dict[str, Any]:
    """The tests of a row and the limits of the dataset's own judge."""
    return {"tests": getattr(test_rows, name)(row), "limits": dict(test_rows.LIMITS[name])}


def livecodebench(row: Row) -> Reading:
    """The statement, then the starter code, or else a request to read standard input and print the answer."""
    starter = row["starter_code"].strip()
    hint = (f"Use this starter code:\n```python\n{starter}\n```" if starter else
            "Read the input from standard input and print the answer to standard output.")
    return Reading(f"{row['question_content'].strip()}\n\n{hint}", "", _extra("livecodebench", row))


def humaneval_plus(row: Row) -> Reading:
    """The head of a function to complete. Gold: head and canonical solution."""
    return Reading(f"Complete this function:\n```python\n{row['prompt'].rstrip()}\n```",
                   row["prompt"] + row["canonical_solution"], _extra("humaneval_plus", row))


def mbpp_plus(row: Row) -> Reading:
    """The task with its first assert, which alone names the function. Gold: the reference program."""
    question = f"{row['prompt'].strip()}\nThe program should pass this test:\n```python\n{row['test_list'][0]}\n```"
    return Reading(question, row["code"], _extra("mbpp_plus", row))


def code_r1(row: Row) -> Reading:
    """The last user message. The dataset's system message is left out; the recipe can set `system`."""
    users = [message["content"] for message in row["prompt"] if message["role"] == "user"]
    if not users:
        raise ValueError("the column 'prompt' has no user message")
    return Reading(users[-1], "", _extra("code_r1", row))
