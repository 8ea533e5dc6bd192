"""The rollouts that a training kept (`train.keep_rollouts`), read from its run directory."""

from __future__ import annotations

from typing import Any

from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_header, read_samples
from rlvr.types import UserError

TABLE_ROWS = 500
"""Most rows of a table for a tracker."""
TABLE = ("sample", "text", "correct", "reason", "extracted", "tokens", "reward", "credit")


def read_rollouts(run_dir: RunDir, step: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and rows of what was kept at a step. UserError for a damaged file."""
    path = run_dir.rollouts(step)
    header = read_header(path)
    if header.get("step") != step or "kept" not in header:
        raise UserError(f"damaged at its beginning, or not of step {step}: restore the file, or delete it to do "
                        "without these rollouts", where=str(path))
    return header, list(read_samples(path))


def rollout_table(run_dir: RunDir, *, after: int, until: int) -> list[dict[str, Any]]:
    """Rollouts of the steps in (after, until] with their prompts; of more than `TABLE_ROWS` those of the latest steps,
    whole steps but for the first."""
    found: list[dict[str, Any]] = []
    for step in reversed([one for one in run_dir.rollout_steps() if after < one <= until]):
        header, rows = read_rollouts(run_dir, step)
        prompts = {problem["id"]: prompt_text(problem["prompt"]) for problem in header["problems"]}
        found = [{"step": step, "problem_id": row["problem_id"], "prompt": prompts[row["problem_id"]],
                  **{key: row[key] for key in TABLE}, "text": _encodable(row["text"])} for row in rows] + found
        if len(found) >= TABLE_ROWS:
            break
    return found[-TABLE_ROWS:]


def _encodable(text: str) -> str:
    """Lone surrogates, which models with byte-level vocabularies produce, as what one can read: trackers send UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def prompt_text(prompt: str | list[dict[str, Any]]) -> str:
    """A prompt as one text: a chat as `role: content` paragraphs."""
    return prompt if isinstance(prompt, str) else "\n\n".join(f"{one['role']}: {one['content']}" for one in prompt)


def question_text(prompt: str | list[dict[str, Any]]) -> str:
    """What tells a prompt from the others of its set: of a chat the text of its last message."""
    if isinstance(prompt, str):
        return prompt
    said = prompt[-1]["content"]
    return said if isinstance(said, str) else " ".join(part["text"] for part in said if part.get("type") == "text")
