"""What the model wrote in training: kept rollouts of steps spread over the run, each beside what the probes say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.report.cases import shorten
from rlvr.report.load import ProbePoint, Run
from rlvr.report.words import number
from rlvr.runs.rollouts import prompt_text, read_rollouts
from rlvr.runs.run_dir import RunDir

MAX_STEPS = 8
"""Steps shown, the first and the last among them; with the next limit this bounds the size of the page."""
MAX_OF_STEP = 4
"""Rollouts shown of a step: of right and wrong ones as many as there are up to half of it each, then any."""


@dataclass(frozen=True)
class KeptRollout:
    """One rollout, as words."""

    problem_id: str
    prompt: str
    gold: str
    correct: bool | None
    """None: not judged."""
    reason: str
    extracted: str | None
    numbers: str
    """`17 tokens, reward 1, credit 0.71`."""
    text: str
    probed: str
    """Counts of the same problem in the probes up to then; empty where it is not probed."""


@dataclass(frozen=True)
class RolloutStep:
    """What was kept of one step."""

    step: int
    drawn: int
    """Rollouts that the step trained on."""
    kept: int
    right: int
    """Of those kept."""
    probe: str
    """The probe at this step or the last before it, in words; empty before the first."""
    rollouts: tuple[KeptRollout, ...]


def rollout_steps(run: Run) -> list[RolloutStep]:
    """Up to `MAX_STEPS` steps, evenly spread; [] where no rollouts were kept."""
    files = RunDir(run.path)
    by_prompt = {text.prompt: problem_id for problem_id, text in run.problems.items()}
    return [_step(run, step, *read_rollouts(files, step), by_prompt) for step in spread(files.rollout_steps())]


def spread(steps: Sequence[int]) -> list[int]:
    """At most `MAX_STEPS` of the steps, from the first to the last at even distances."""
    if len(steps) <= MAX_STEPS:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (MAX_STEPS - 1))] for i in range(MAX_STEPS)]


def chosen(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """`MAX_OF_STEP` of the rows, in their order: right and wrong ones, of different problems as far as there are."""
    order: list[int] = []
    for correct in (True, False):
        of_kind = [i for i, row in enumerate(rows) if row["correct"] is correct]
        firsts = {rows[i]["problem_id"]: i for i in reversed(of_kind)}.values()
        order += sorted(of_kind, key=lambda i: (i not in firsts, i))[: MAX_OF_STEP // 2]
    order += [i for i in range(len(rows)) if i not in order]
    return [rows[i] for i in sorted(order[:MAX_OF_STEP])]


def _step(
    run: Run, step: int, header: Mapping[str, Any], rows: list[dict[str, Any]], by_prompt: Mapping[str, str]
) -> RolloutStep:
    problems = {problem["id"]: problem for problem in header["problems"]}
    # The rollouts of step s are drawn by the model after s - 1 updates.
    before = [probe for probe in run.probes if probe.step < step]
    return RolloutStep(
        step=step, drawn=int(header["rollouts"]), kept=len(rows),
        right=sum(row["correct"] is True for row in rows), probe=_probe_words(run, before[-1]) if before else "",
        rollouts=tuple(_rollout(run, before, row, problems[row["problem_id"]], by_prompt) for row in chosen(rows)),
    )


def _rollout(
    run: Run, before: Sequence[ProbePoint], row: Mapping[str, Any], problem: Mapping[str, Any],
    by_prompt: Mapping[str, str],
) -> KeptRollout:
    prompt = prompt_text(problem["prompt"])
    probed_as = by_prompt.get(prompt)
    counts = [(probe, run.rows.get(probe.step, {}).get(probed_as)) for probe in before] if probed_as else []
    return KeptRollout(
        problem_id=row["problem_id"], prompt=shorten(prompt), gold=shorten(str(problem["gold"])),
        correct=row["correct"], reason=row["reason"], extracted=row["extracted"], text=shorten(row["text"]),
        numbers=", ".join([f"{row['tokens']:,} tokens", *(f"{name} {row[name]:g}" for name in ("reward", "credit")
                                                          if row[name] is not None)]),
        probed=", ".join(f"{count.c}/{count.n} {'by the base' if probe.kind == 'base' else f'at step {probe.step}'}"
                         for probe, count in counts if count),
    )


def _probe_words(run: Run, probe: ProbePoint) -> str:
    where = "of the base" if probe.kind == "base" else f"at step {probe.step}"
    values = ", ".join(f"pass@{k} {number(probe.get(f'pass@{k}').value)}%" for k in dict.fromkeys((1, run.k_max)))
    return f"the probe {where}: {values}"
