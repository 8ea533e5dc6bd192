r"""Answers to reasoning-gym tasks, judged by the task's own scorer made binary: correct is a score of exactly 1.

Scorers give partial credit (0.01 for any readable number, the share of a grid that is right); as a reward that pays
for wrong answers, and as a probe it is no solved problem, so everything below 1 is wrong.

The answer is what the last `<answer>...</answer>` after any thinking holds, the package's own convention; a completion
without such a tag may put it in a last `\boxed{...}`. It is compared as text by most tasks: no LaTeX.

Several scorers run `eval` or sympy's parser on the answer, which would let a completion run code in the judge. For
these, an answer with a parenthesis, quote or backslash must be arithmetic of numbers, names and mathematical functions,
or a list of text that calls nothing either; without these characters nothing can be called.

A scorer that raises on an answer could not read it (wrong). That it reads its own gold answer, and refuses nonsense,
is what `check_gold` tests: that of `game_of_life_halting` in version 0.1.25 accepts any text.
"""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from itertools import pairwise
from typing import Any

from rlvr.interfaces import Verifier
from rlvr.rewards.boxed import END_THINK, THINK, decisive_box, final_answer
from rlvr.types import Problem, Reason, Verdict

MAX_CHARS = 20_000
NONSENSE = ("?", "@@ no answer @@")
"""Texts that answer no task."""
END_ANSWER = "</answer>"
_WITHOUT_ANSWER = {Reason.UNBALANCED: END_ANSWER, Reason.EMPTY: f"<answer>{END_ANSWER}"}
_TAGS = re.compile(r"<answer>|</answer>")
_EVALUATES = re.compile(r"\beval\(|\bparse_expr\(")
_FUNCTIONS = frozenset(("sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan", "sinh", "cosh", "tanh", "exp",
                        "log", "ln", "sqrt", "Abs", "abs"))
_ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.List, ast.Tuple, ast.operator,
               ast.unaryop)


def _package() -> str:
    try:
        return installed("reasoning-gym")
    except PackageNotFoundError:
        return "not-installed"


class GymVerifier(Verifier):
    """The scorer of the task that `problem.extra["gym"]` names; a source `gym:TASK` fills it."""

    name = "gym"
    version = f"1+reasoning-gym-{_package()}"

    def __init__(self) -> None:
        import reasoning_gym  # 3 seconds: before the clock of a verdict starts

        self._create = cache(lambda task, params: reasoning_gym.create_dataset(task, **ast.literal_eval(params)))

    def verify(self, problem: Problem, text: str) -> Verdict:
        """`identical`, `tests_passed` (right in another form), `wrong_answer`, `unparsable`, or why there is none."""
        answer = answer_of(text)
        if isinstance(answer, Reason):
            return Verdict(False, answer)
        if len(answer) > MAX_CHARS:
            return Verdict(False, Reason.TOO_LONG, answer[:200])
        reason = self._reason(problem, answer)
        correct = reason in (Reason.IDENTICAL, Reason.TESTS_PASSED)
        return Verdict(correct, reason, answer[:200], tier="gym")

    def check_gold(self, problem: Problem) -> str | None:
        """Complains where the task gives no answer to test its scorer with, and of a scorer that accepts nonsense."""
        if "gym" not in problem.extra:
            return "the verifier `gym` judges problems of a source `gym:TASK` alone"
        if not problem.gold:
            return f"the task {problem.extra['gym']['task']!r} gives no right answer to test its scorer with"
        for text in NONSENSE:
            if self._reason(problem, text) is Reason.TESTS_PASSED:
                return f"the scorer of {problem.extra['gym']['task']!r} gives the full score to {text!r}"
        return None

    @classmethod
    def decisive(cls, text: str) -> str:
        answer = answer_of(text)
        if isinstance(answer, Reason):
            return _WITHOUT_ANSWER.get(answer) or decisive_box(text)
        alone = f"<answer>{answer}</answer>"
        return alone if answer_of(alone) == answer else text

    def gold_completion(self, problem: Problem) -> str:
        return f"<answer>{problem.gold}</answer>"

    def _reason(self, problem: Problem, answer: str) -> Reason:
        gym = problem.extra["gym"]
        dataset = self._create(gym["task"], repr(gym["params"]))
        if _evaluates(type(dataset)) and not may_be_evaluated(answer):
            return Reason.BAD_CHARS
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                score = dataset.score_answer(answer, gym["entry"])
        except MemoryError:
            raise
        except Exception:  # whatever a task's parser raises on text that is no answer
            return Reason.UNPARSABLE
        if score != 1.0:
            return Reason.WRONG_ANSWER
        return Reason.IDENTICAL if answer == problem.gold else Reason.TESTS_PASSED


def answer_of(text: str) -> str | Reason:
    r"""The answer of a completion, stripped and never empty, or the Reason why there is none."""
    after = text.rpartition(END_THINK)[2]
    if THINK in after:
        return Reason.UNFINISHED_THINK
    tags = list(_TAGS.finditer(after))
    if not tags:
        return final_answer(text)
    for opened, closed in reversed(list(pairwise(tags))):
        if opened[0] != END_ANSWER and closed[0] == END_ANSWER:
            return after[opened.end() : closed.start()].strip() or Reason.EMPTY
    return Reason.UNBALANCED


@cache
def _evaluates(dataset: type[Any]) -> bool:
    """Whether the task's scorer runs `eval` or sympy's parser; a parser of its own, as propositional_logic has, is
    neither."""
    own = getattr(inspect.getmodule(dataset), "parse_expr", None)
    harmless = own is not None and own.__module__ == dataset.__module__
    return not harmless and _EVALUATES.search(inspect.getsource(dataset.score_answer)) is not None


def may_be_evaluated(answer: str) -> bool:
    """Whether `eval` of the answer, and of a text that it evaluates to, can call nothing but mathematical functions."""
    if not re.search(r"[('\"\\]", answer):
        return True
    try:
        nodes = list(ast.walk(ast.parse(answer.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(map(_is_plain_text, nodes)) or all(map(_is_arithmetic, nodes))


def _is_plain_text(node: ast.AST) -> bool:
    """Lists of text and numbers. sympy evaluates text again, so that must call nothing either."""
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str) or not re.search(r"[('\"\\]", node.value)
    return isinstance(node, ast.Expression | ast.List | ast.Tuple | ast.Load)


def _is_arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and not node.keywords
    return isinstance(node, _ARITHMETIC)
