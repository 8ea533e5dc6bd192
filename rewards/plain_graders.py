r"""Graders to compare with: math-verify as it comes, and equality of strings. Second opinions of `rlvr audit`.

Neither is meant for training. math-verify alone accepts a number anywhere in the text when there is no box, and false
chains such as 205 = 204; string equality refuses every other spelling and so bounds an accuracy from below.
"""

from __future__ import annotations

from importlib.metadata import version as installed

from rlvr.interfaces import Verifier
from rlvr.rewards.boxed import decisive_box, final_answer
from rlvr.types import Problem, Reason, Verdict


class MathVerifyAlone(Verifier):
    """math-verify with its defaults, on the whole completion. Its time-outs are off, as the judge has one."""

    name = "math_verify"
    version = "+".join(f"{package}-{installed(package)}" for package in ("math-verify", "sympy"))

    def __init__(self) -> None:
        import math_verify  # sympy: not for those who only ask for the version

        self._library = math_verify

    def verify(self, problem: Problem, text: str) -> Verdict:
        """`symbolic` or `wrong_answer`; no finer reasons."""
        gold = self._parse(rf"\boxed{{{problem.gold}}}")
        if not gold:
            return Verdict(None, Reason.GOLD_ERROR)
        answer = self._parse(text)
        if not answer:
            return Verdict(False, Reason.UNPARSABLE)
        correct = self._library.verify(gold, answer, timeout_seconds=None)
        return Verdict(correct, Reason.SYMBOLIC if correct else Reason.WRONG_ANSWER, str(answer[-1])[:200])

    def check_gold(self, problem: Problem) -> str | None:
        return None if self._parse(rf"\boxed{{{problem.gold}}}") else "math-verify reads nothing in it"

    def gold_completion(self, problem: Problem) -> str:
        return rf"The final answer is $\boxed{{{problem.gold}}}$."

    def _parse(self, text: str) -> list[object]:
        return self._library.parse(text, parsing_timeout=None)  # pyright: ignore[reportArgumentType]


class ExactString(Verifier):
    r"""Compares the last \boxed{} with the gold answer, character by character, without blanks."""

    name = "exact_string"
    version = "2"

    def verify(self, problem: Problem, text: str) -> Verdict:
        answer = final_answer(text)
        if isinstance(answer, Reason):
            return Verdict(False, answer)
        same = self.answer_key(answer) == self.answer_key(problem.gold)
        return Verdict(same, Reason.IDENTICAL if same else Reason.WRONG_ANSWER, answer[:200])

    def check_gold(self, problem: Problem) -> str | None:
        return None if problem.gold.strip() else "it is empty"

    @classmethod
    def decisive(cls, text: str) -> str:
        return decisive_box(text)

    @classmethod
    def answer_key(cls, answer: str) -> str:
        return "".join(answer.split())

    def gold_completion(self, problem: Problem) -> str:
        return rf"\boxed{{{problem.gold}}}"
