"""Programs against unit tests: the last fenced block of a completion is run in a jail (rlvr.rewards.programs.sandbox).

`Problem.extra["tests"]` is one of

    {"kind": "call", "entry": "add", "cases": [{"args": [1, 2], "expected": 3}], "atol": 1e-6}
    {"kind": "stdin", "cases": [{"input": "1 2\\n", "output": "3\\n"}]}
    {"kind": "assert" | "unittest" | "pytest", "entry": "add", "code": "assert add(1, 2) == 3"}

`entry` may be a method, `Solution.add`: each call gets a new Solution. `atol` is optional, and so is `prelude`: imports
that the dataset promises to its programs. `Problem.extra["limits"]` may set "seconds" (CPU time of one test),
"total_seconds" (wall time of all) and "memory_mib" (`rlvr.rewards.programs.limits`). `rlvr.rewards.programs.test_rows`
reads the rows of public datasets. `judge.packages` of a recipe names packages that programs may import.

How a program is kept from forging a verdict: expected values never enter its jail; what it answers comes back as plain
JSON and is compared here; its exit status alone never passes; test code runs in a jail of its own and calls the
program through a proxy (`rlvr.rewards.programs.remote`). All tests have to pass, the first that fails ends the run.
Nothing that a program does makes a verdict anything but wrong: the tests are at fault only where a program that does
nothing shows that too.

What this does not do: no writable file system and no child processes for the program (threads are fine); no answers
that only a checker program can judge; test code can hand the program plain data and the program's own objects, but no
functions or objects of its own. A program whose own output varies from run to run gets verdicts that vary.
"""

from __future__ import annotations

import gc
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rlvr.interfaces import Verifier
from rlvr.rewards.programs.code_block import in_block, last_program
from rlvr.rewards.programs.form import code_complaint, form_complaint
from rlvr.rewards.programs.jail import Jails
from rlvr.rewards.programs.limits import Limits, positive
from rlvr.rewards.programs.packages import find
from rlvr.rewards.programs.run import Run, idle
from rlvr.rewards.programs.sandbox import choose_tier
from rlvr.types import Problem, Reason, Verdict


class UnitTestsVerifier(Verifier):
    """Gold: a reference program, or "" where the dataset has none (then only the tests' form is checked).

    Args:
        tier: "bwrap" or "landlock"; None takes the first that holds on this machine.
        packages: what programs may import besides the standard library, as `judge.packages` of a recipe names it.

    Raises UserError where no tier does. The constructor proves the tier with a canary program (50 ms).
    """

    name = "unit_tests"
    version = "7"
    answer_alone = False

    def __init__(self, tier: str | None = None, packages: Sequence[str] = ()) -> None:
        self.tier = choose_tier(tier)
        found = find(tuple(packages))
        self.version = "+".join((type(self).version, *found.versions))
        self._jails = Jails(self.tier, packages=found)
        self._jails.refill()
        self._last_checked: tuple[Mapping[str, Any] | None, str | None] = (None, None)
        self._good_preludes = {""}
        # Judges only an empty gold answer (see gold_completion); 128 random bits that no program can know
        self._no_gold = f"no reference program {secrets.token_hex(16)}"

    def verify(self, problem: Problem, text: str) -> Verdict:
        """`tier` names the jail's tier; `extracted` is the program's head, `detail` the case that failed and how."""
        complaint = self._form(problem)
        if complaint is not None:
            return Verdict(None, Reason.GOLD_ERROR, detail=complaint)
        if text == self._no_gold and not problem.gold:
            return self._without_reference(problem)
        program = last_program(text)
        if isinstance(program, Reason):
            detail = "no closed fenced block of Python" if program in (Reason.NO_BOX, Reason.UNBALANCED) else ""
            return Verdict(False, program, tier="extract", detail=detail)
        with _uncollected():
            run = Run(self._jails, problem, program)
            reason, detail = run.reason(), run.detail
            if reason is Reason.GOLD_ERROR:  # the program may have brought that about: then an idle one does not
                reason, detail = self._blame(problem, detail)
        correct = None if reason is Reason.GOLD_ERROR else reason is Reason.TESTS_PASSED
        return Verdict(correct, reason, program[:200], tier=f"sandbox:{self.tier}", detail=detail)

    def check_gold(self, problem: Problem) -> str | None:
        """The form of the tests and limits. Whether the reference program passes them, `verify` says."""
        return self._form(problem) or code_complaint(problem)

    def _without_reference(self, problem: Problem) -> Verdict:
        """Whether prelude and test code run at all, tried with a program that does nothing; a prelude is tried once."""
        tests = problem.extra["tests"]
        known = tests.get("prelude", "") if tests["kind"] in ("call", "stdin") else None
        if known not in self._good_preludes:
            run = Run(self._jails, problem, idle(tests.get("entry", "")), audit=True)
            if run.reason() in (Reason.GOLD_ERROR, Reason.CRASHED):  # nothing in an idle program crashes
                return Verdict(None, Reason.GOLD_ERROR, detail=run.detail)
            if known is not None:
                self._good_preludes.add(known)
        return Verdict(True, Reason.IDENTICAL, tier="no reference")

    def _blame(self, problem: Problem, detail: str) -> tuple[Reason, str]:
        """gold_error if the tests cannot be run with a program that does nothing either, else wrong."""
        run = Run(self._jails, problem, idle(problem.extra["tests"].get("entry", "")), audit=True)
        if run.reason() is Reason.GOLD_ERROR:
            return Reason.GOLD_ERROR, run.detail
        return Reason.WRONG_ANSWER, detail

    def _form(self, problem: Problem) -> str | None:
        if self._last_checked[0] is not problem.extra:  # megabytes of tests are checked once, not for each completion
            self._last_checked = (problem.extra, form_complaint(problem))
        return self._last_checked[1]

    @classmethod
    def own_limit(cls, problem: Problem) -> float | None:
        """`total_seconds` where the problem sets it; else the Judge grants what `granted` asks for."""
        limits = problem.extra.get("limits", {})
        seconds = limits.get("total_seconds") if isinstance(limits, Mapping) else None
        return seconds if positive(seconds) else None

    @classmethod
    def granted(cls, problem: Problem) -> float | None:
        """The time after which a verdict ends for certain, and ten seconds to take things down on a busy machine."""
        try:
            limits = Limits(**problem.extra.get("limits", {}))
            return None if limits.total_seconds else limits.at_most(problem.extra["tests"]) + 10
        except (TypeError, KeyError):  # of another form, as `check_gold` will say
            return None

    def gold_completion(self, problem: Problem) -> str:
        """The reference program in a fenced block, where it does not stand in one already."""
        if problem.gold.lstrip().startswith(("```", "~~~")):
            return problem.gold
        return in_block(problem.gold) if problem.gold else self._no_gold

    def close(self) -> None:
        """Kill the jails that wait for work. They also end by themselves when this process ends."""
        self._jails.close()


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection: it would walk a candidate's millions of lists again and again, for three quarters of the
    time that they take us (3.4 s instead of 1.1 s for 8 MiB of `[],`)."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
