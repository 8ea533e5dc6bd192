"""Sets of problems: their overlap, their content hash, and their rows in a run directory."""

from __future__ import annotations

import hashlib
import json
import logging
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from rlvr.config.data import NEUTRAL_TEMPLATE
from rlvr.config.wording import short
from rlvr.types import Message, Problem, UserError

logger = logging.getLogger(__name__)


def question(problem: Problem, template: str = NEUTRAL_TEMPLATE) -> str:
    """The question without template and system message, and its pictures: what a problem is compared by."""
    before, _, after = template.partition("{prompt}")
    if isinstance(problem.prompt, str):
        return problem.prompt.removeprefix(before).removesuffix(after)
    users = [_text(message["content"]).removeprefix(before).removesuffix(after)
             for message in problem.prompt if message["role"] == "user"]
    return "\n".join([*users, *map(_fingerprint, problem.images)])


def check_overlap(train: Sequence[Problem], probe: Sequence[Problem], *, train_template: str = NEUTRAL_TEMPLATE,
                  probe_template: str = NEUTRAL_TEMPLATE, allow: bool = False) -> int:
    """Number of probe problems whose question is also trained on, up to case, width forms and white space.

    With an overlap the boundary would measure memorisation, so it raises UserError; with `allow` it is only logged.
    """
    train_ids = {normal(question(problem, train_template)): problem.id for problem in train}
    shared = [(problem.id, train_ids[key]) for problem in probe
              if (key := normal(question(problem, probe_template))) in train_ids]
    if shared and not allow:
        raise UserError(f"data: {len(shared)} of {len(probe)} probe problems are also in data.train (first: "
                        f"{shared[0][0]!r} is {shared[0][1]!r}), so pass@k would measure memory; use disjoint splits, "
                        "or set data.allow_overlap=true if memory is what you want to measure")
    if shared:
        logger.warning("%d of %d probe problems are also trained on (data.allow_overlap)", len(shared), len(probe))
    return len(shared)


def problem_rows(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """The rows of a run's problems.jsonl."""
    return [{"id": p.id, "prompt": _as_data(p.prompt), "gold": p.gold, "verifier": p.verifier} for p in problems]


def problem_set_hash(problems: Iterable[Problem]) -> str:
    """SHA-256 (hex) over everything a probe depends on: id, prompt, gold, verifier, extra. Order does not matter."""
    digest = hashlib.sha256()
    for problem in sorted(problems, key=lambda problem: problem.id):
        content = [problem.id, _as_data(problem.prompt), problem.gold, problem.verifier, dict(problem.extra),
                   *problem.images]
        digest.update(json.dumps(content, sort_keys=True, default=_fingerprint).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _text(content: Any) -> str:
    """The text of a message; if it has parts, their texts."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] if part.get("type") == "text" else "" if part == {"type": "image"}
                   else json.dumps(part, default=_fingerprint) for part in content)


def _as_data(prompt: str | tuple[Message, ...]) -> str | list[dict[str, Any]]:
    return prompt if isinstance(prompt, str) else [dict(message) for message in prompt]


def normal(text: str) -> str:
    """What questions are compared by: without case, width forms and differences in white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _fingerprint(value: Any) -> Any:
    """What stands for bytes, an image, an array or an exact number in a content hash."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, Fraction | Decimal):
        return str(value)
    if hasattr(value, "tobytes"):  # numpy arrays have a shape, PIL images a size
        form = str(value.shape if hasattr(value, "shape") else value.size)
        return [type(value).__name__, form, hashlib.sha256(value.tobytes()).hexdigest()]
    raise UserError(f"a problem holds {short(value)}; expected JSON data, bytes, images or arrays in data.*.extra")
