"""`rlvr audit`: how far a verifier can be trusted on a dataset, measured before a model is trained against it.

1. every gold answer must be accepted as the answer to its own problem;
2. answers known to be wrong (rlvr.judging.wrong_answers, and golds of other problems) must be refused: the
   false-positive rate with its 95% Clopper-Pearson upper bound, and the pass@k that an unsolvable problem could reach
   by it (1 - (1 - f)^k);
3. a second grader judges the same answers, and the completions of a model where a file of them is given: the list of
   disagreements is where to look;
4. verdicts per second, and their p50, p99 and longest time.

The wrong answers are not a random draw from what a model writes: the bound is for answers like these. Answers are
drawn from the seed alone, so an audit can be repeated.
"""

from __future__ import annotations

import ast
import dataclasses
import math
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tqdm.auto import tqdm

from rlvr.config.registry import resolve
from rlvr.judging.judge import Judge
from rlvr.judging.wrong_answers import value_key, wrong_answers
from rlvr.rewards.programs.code_block import last_program
from rlvr.statistics.false_positives import FalsePositiveAudit
from rlvr.statistics.false_positives import audit as bound
from rlvr.types import Problem, Reason, UserError, Verdict, in_one_line

KS = (1, 16, 256)
SHOWN = 5
"""Entries of each list on the terminal; the JSON file has all."""
AIM = 1e-4
"""A false-positive rate that leaves pass@256 as it is: at most 2.5% of an unsolvable problem."""
OWN_SHOWN = 20
"""Disagreements on the model's own completions that are shown."""
COMPLETION = "completion"
CROSS = "another problem's gold"
SECOND = {"math": "math_verify"}
"""Default second grader by verifier."""
CHUNK = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """One judged answer."""

    problem: Problem
    rule: str
    """How the answer was made: a rule of rlvr.judging.wrong_answers, CROSS, or COMPLETION."""
    answer: str
    text: str


@dataclass
class Audit:
    """What was found. Lists hold plain rows, as they go to JSON."""

    data: str
    verifier: str
    version: str
    problems: int
    rejected_golds: list[dict[str, str]]
    rules: dict[str, FalsePositiveAudit]
    overall: FalsePositiveAudit | None
    """None: no rule applies to these gold answers."""
    accepted: list[dict[str, Any]]
    second: str | None = None
    disagreements: list[dict[str, Any]] = field(default_factory=list)
    completions: dict[str, Any] | None = None
    speed: dict[str, float] = field(default_factory=dict)
    left_out: int = 0
    """Answers that cannot be written as a completion: a target that a problem's numbers do not reach."""

    @property
    def passed(self) -> bool:
        return not self.rejected_golds

    def as_dict(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "data": self.data, "verifier": self.verifier, "version": self.version, "problems": self.problems,
            "golds_accepted": self.problems - len(self.rejected_golds), "rejected_golds": self.rejected_golds,
            "false_positives": _rate(self.overall) if self.overall else None,
            "rules": {rule: _rate(found) for rule, found in self.rules.items()}, "accepted_wrong": self.accepted,
            "left_out": self.left_out,
            "second_grader": self.second, "disagreements": self.disagreements, "completions": self.completions,
            "speed": self.speed,
        }


def _rate(found: FalsePositiveAudit) -> dict[str, Any]:
    return {"wrong_answers": found.wrong_answers, "accepted": found.accepted, "rate": found.rate.value,
            "upper_95": found.rate.high, **{f"pass@{k}_floor": found.floor(k) for k in KS}}


def run_audit(
    problems: Sequence[Problem], *, data: str, verifier: str, second: str | None = None,
    completions: Sequence[tuple[str, str]] = (), without_gold: Sequence[str] = (), cross: int = 20, seed: int = 0,
    workers: int = 2, timeout: float = 10.0,
) -> Audit:
    """Audit `verifier` on `problems` (whose own `verifier` is replaced).

    Args:
        second: registry name of the grader to compare with; None: the default for `verifier`, if there is one.
        completions: (problem id, text) of a model.
        without_gold: what is said of the rows whose gold answer could not be read; each is a rejected gold.
        cross: golds of other problems given as the answer to each problem.

    Raises: UserError for an unknown verifier or problem id.
    """
    problems = [dataclasses.replace(problem, verifier=verifier) for problem in problems]
    second = second or SECOND.get(verifier)
    found = resolve("verifiers", verifier)
    with Judge(workers=workers, timeout=timeout, cache_size=0) as judge:
        complaints: list[str | None] = []
        for chunk in _chunks(problems, "gold answers"):
            complaints += judge.check_golds(chunk)
        rejected = [{"id": "", "gold": "", "why": line} for line in without_gold]
        rejected += [{"id": problem.id, "gold": problem.gold, "why": complaint}
                     for problem, complaint in zip(problems, complaints, strict=True) if complaint is not None]
        usable = [problem for problem, complaint in zip(problems, complaints, strict=True) if complaint is None]
        wrong, left_out = _wrong_items(usable, found(), cross, seed)
        own = _completion_items(problems, completions)
        judge.stats()
        begun = time.perf_counter()
        verdicts = _judge(judge, [*wrong, *own], verifier, "wrong answers")
        seconds = time.perf_counter() - begun
        stats = judge.stats()
        others = _judge(judge, [*wrong, *own], second, "second grader") if second else None
    counts, accepted_counts = Counter(item.rule for item in wrong), Counter[str]()
    accepted = []
    for item, verdict in zip(wrong, verdicts, strict=False):
        if verdict.correct is True:
            accepted_counts[item.rule] += 1
            accepted.append(_row(item, verdict))
    result = Audit(
        data=data, verifier=verifier, version=found.version, problems=len(problems) + len(without_gold),
        rejected_golds=rejected,
        rules={rule: bound(counts[rule], accepted_counts[rule]) for rule in sorted(counts)},
        overall=bound(len(wrong), len(accepted)) if wrong else None, accepted=accepted, second=second,
        left_out=left_out,
        speed={"verdicts": len(verdicts), "verdicts_per_s": len(verdicts) / max(seconds, 1e-9), "p50_ms": stats.p50_ms,
               "p99_ms": stats.p99_ms, "max_ms": stats.max_ms, "workers": workers},
    )
    if others is not None:
        result.disagreements = [
            {**_row(item, verdict), "second": other.correct, "second_reason": other.reason.value}
            for item, verdict, other in zip([*wrong, *own], verdicts, others, strict=True)
            if verdict.correct is not other.correct
        ]
    if own:
        result.completions = _completion_counts(verdicts[len(wrong) :], others and others[len(wrong) :])
    return result


def _chunks(things: Sequence[T], what: str) -> Iterator[Sequence[T]]:
    """In chunks, so that memory stays flat, under a progress bar where there is a terminal."""
    with tqdm(total=len(things), desc=what, unit="", disable=None) as bar:
        for start in range(0, len(things), CHUNK):
            yield things[start : start + CHUNK]
            bar.update(len(things[start : start + CHUNK]))


def _judge(judge: Judge, items: Sequence[Item], verifier: str, what: str) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for chunk in _chunks(items, what):
        verdicts += judge.judge([dataclasses.replace(item.problem, verifier=verifier) for item in chunk],
                                [item.text for item in chunk])
    return verdicts


def _wrong_items(problems: Sequence[Problem], verifier: Any, cross: int, seed: int) -> tuple[list[Item], int]:
    """Perturbed golds and golds of other problems, each in the form in which the verifier wants an answer; and how
    many have no such form."""
    programs = all("tests" in problem.extra for problem in problems)
    keys = [value_key(problem.gold) for problem in problems]
    items: list[Item] = []
    left_out = 0
    for index, problem in enumerate(problems):
        if not problem.gold:
            continue
        made = list(_wrong_programs(problem, verifier) if programs else wrong_answers(problem.gold))
        others = [i for i in range(len(problems)) if keys[i] != keys[index] and problems[i].gold]
        draw = random.Random(f"{seed}/{problem.id}").sample(others, min(cross, len(others)))
        made += [(CROSS, problems[other].gold) for other in draw]
        for rule, answer in dict.fromkeys(made):
            try:
                text = verifier.gold_completion(dataclasses.replace(problem, gold=answer))
            except ValueError:  # what `Verifier.gold_completion` raises for an answer without a completion
                left_out += 1
            else:
                items.append(Item(problem, rule, answer, text))
    return items, left_out


def _wrong_programs(problem: Problem, verifier: Any) -> list[tuple[str, str]]:
    """Programs that do not solve the task: they end at once and, where functions are called, return nothing or what
    equals everything."""
    always = "class A:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
    made = [("ends at once", "import sys\nsys.exit(0)\n"), ("empty", "pass\n")]
    gold = last_program(verifier.gold_completion(problem))
    if problem.extra["tests"]["kind"] == "stdin" or isinstance(gold, Reason):
        return made
    for rule, value, head in (("returns nothing", "None", ""), ("equals everything", "A()", always)):
        tree = ast.parse(gold)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.body = [ast.Return(ast.parse(value, mode="eval").body)]
        made.append((rule, head + ast.unparse(ast.fix_missing_locations(tree))))
    return made


def _completion_items(problems: Sequence[Problem], completions: Sequence[tuple[str, str]]) -> list[Item]:
    by_id = {problem.id: problem for problem in problems}
    unknown = [problem_id for problem_id, _ in completions if problem_id not in by_id]
    if unknown:
        raise UserError(f"--completions: problem {unknown[0]!r} is not in --data ({len(unknown)} of {len(completions)} "
                        f"completions; ids there are like {next(iter(by_id), '')!r})")
    return [Item(by_id[problem_id], COMPLETION, text[-200:], text) for problem_id, text in completions]


def _completion_counts(verdicts: Sequence[Verdict], others: Sequence[Verdict] | None) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "judged": len(verdicts), "correct": sum(verdict.correct is True for verdict in verdicts),
        "reasons": dict(Counter(verdict.reason.value for verdict in verdicts)),
    }
    if others is not None:
        counts["second_correct"] = sum(other.correct is True for other in others)
        counts["agree"] = sum(a.correct is b.correct for a, b in zip(verdicts, others, strict=True))
    return counts


def _row(item: Item, verdict: Verdict) -> dict[str, Any]:
    return {"id": item.problem.id, "gold": item.problem.gold[:500], "rule": item.rule, "answer": item.answer[:500],
            "correct": verdict.correct, "reason": verdict.reason.value}


def table(result: Audit) -> str:
    """The audit for a terminal."""
    accepted = result.problems - len(result.rejected_golds)
    lines = [f"{result.data}: {result.problems:,} problems, verifier {result.verifier} ({result.version})",
             f"gold accepts gold   {accepted:,} of {result.problems:,}"
             + ("" if result.passed else f": {len(result.rejected_golds)} FAIL")]
    lines += _some(["  " + ": ".join(filter(None, (row["id"], row["why"]))) for row in result.rejected_golds],
                   result.problems)
    lines += _of_completions(result)
    if result.overall is not None:
        width = max(map(len, [*result.rules, "all wrong answers"]))
        heads = "".join(f"{f'pass@{k}':>10}" for k in KS)
        lines += ["", f"{'':<{width + 20}} {'at most':>10}{'by luck alone, at most':>{10 * len(KS)}}",
                  f"{'wrong answers':<{width}} {'judged':>9} {'accepted':>9} {'rate':>10}{heads}"]
        for rule, found in [*result.rules.items(), ("all wrong answers", result.overall)]:
            bounds = "".join(f"{100 * share:>9.3g}%" for share in (found.rate.high, *map(found.floor, KS)))
            lines.append(f"{rule:<{width}} {found.wrong_answers:>9,} {found.accepted:>9,} {bounds}")
        lines.append("at most: upper end of the 95% interval; by luck alone: pass@k of a problem that is never solved")
    if result.left_out:
        lines.append(f"left out            {result.left_out:,} answers that no completion of their problem can give")
    if result.overall is not None:
        lines += _some([f"  accepted: {row['answer'][:60]!r} for gold {row['gold'][:60]!r} ({row['id']}, {row['rule']})"
                        for row in result.accepted])
    if result.second is not None:
        judged = f"{len(result.disagreements):,} disagreements in {result.speed['verdicts']:,.0f} verdicts"
        lines += ["", f"second grader       {result.second}: {judged}"]
        lines += _disagreements([row for row in result.disagreements if row["rule"] != COMPLETION])
    speed = result.speed
    if speed.get("verdicts"):
        lines += ["", f"speed               {speed['verdicts_per_s']:,.0f} verdicts/s in {speed['workers']} workers; "
                      f"p50 {speed['p50_ms']:.2f} ms, p99 {speed['p99_ms']:.1f} ms, max {speed['max_ms']:.0f} ms"]
    lines += ["", *_conclusion(result)]
    return "\n".join(lines)


def _of_completions(result: Audit) -> list[str]:
    """How the model's own completions were judged, and where the two graders differ on them: what to read first."""
    if result.completions is None:
        return []
    counts = ", ".join(f"{key} {value:,}" for key, value in result.completions.items() if isinstance(value, int))
    own = [row for row in result.disagreements if row["rule"] == COMPLETION]
    return ["", f"completions         {counts}", *_disagreements(own, OWN_SHOWN)]


def _disagreements(rows: Sequence[dict[str, Any]], most: int = SHOWN) -> list[str]:
    return _some([f"  {row['correct']} ({row['reason']}), second {row['second']}: {row['answer'][-60:]!r} for "
                  f"gold {row['gold'][:60]!r} ({row['id']})" for row in rows], most)


def _conclusion(result: Audit) -> list[str]:
    """What the numbers mean for a training, a sentence each."""
    said, found = [], result.overall
    if not result.passed:
        said.append(f"Not usable: {len(result.rejected_golds):,} gold answers were rejected (exit code 1); drop those "
                    "rows with drop_bad_golds, fix them, or use another verifier.")
    if found is None:
        said.append("No wrong answers could be made from these gold answers, so false positives were not measured.")
    elif found.accepted:
        said.append(f"{found.accepted:,} of {found.wrong_answers:,} wrong answers were ACCEPTED: see which, and if "
                    "they are wrong; each such answer counts at every try.")
    elif found.rate.high > AIM:
        said.append(f"No wrong answer was accepted, but {found.wrong_answers:,} are too few to exclude a rate of "
                    f"{AIM:.0e}: that takes {math.ceil(math.log(0.05) / math.log1p(-AIM)):,}.")
    else:
        said.append(f"No wrong answer was accepted: fewer than {found.rate.high:.1e} of such answers are (95%).")
    return said


def _some(lines: list[str], most: int = SHOWN) -> list[str]:
    shown = list(map(in_one_line, lines[:most]))  # ids and gold answers are whatever the data holds
    return shown if len(lines) <= most else [*shown, f"  ... and {len(lines) - most:,} more"]
