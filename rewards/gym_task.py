r"""Answers to reasoning-gym tasks, judged by the task's own scorer made binary: correct is a score of exactly 1.

Scorers give partial credit (0.01 for any readable number, the share of a grid that is right); as a reward that pays
for wrong answers, and as a probe it is no solved problem, so everything below 1 is wrong.

The answer is what the last `<answer>...</answer>` after any thinking holds, the package's own convention; a completion
without such a tag may put it in a last `\boxed{...}`. It is compared as text by most tasks: no LaTeX.

Scorers are too kind to some answers, and would run others as code: `rlvr.rewards.gym_answers` says which are handed to
them and which full scores are believed.

A scorer that raises on an answer could not read it (wrong). That it reads its own gold answer is tested before
training, and that it refuses answers that need no thought (NONSENSE) and the right answer with more behind it: that of
`game_of_life_halting` in version 0.1.25 accepts any text.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from itertools import pairwise
from typing import Any

from rlvr.interfaces import Verifier
from rlvr.rewards.boxed import END_THINK, THINK, decisive_box, final_answer
from rlvr.rewards.gym_answers import believable, equal_numbers, is_huge, may_be_evaluated
from rlvr.types import Problem, Reason, Verdict

MAX_CHARS = 20_000
NONSENSE = ("?", "@@ no answer @@")
"""Texts that answer no problem."""
CONSTANTS = ("nan", "NaN", "inf", "-inf", "0", "1", "-1", "None", "True", "[]", "{}", "()", "[[]]", "''", "0/0",
             "1e999", "9" * 50)
"""Texts that answer few problems of a task."""
RUBBISH = ("{} zzz", "{}, zzz", "{}\nzzz", "{}, 7, 8", "not {}", "{} or 1")
"""The right answer with something around it."""
AUDITED, ALLOWED, AUDIT_SECONDS = 12, 4, 4.0
"""How many problems of a task are tried with these, for how many of them one text may be right by chance, and the time
after which no further problem is tried."""
ANSWERS = ("example_answer", "example_correct_answer", "possible_answer")
"""Where tasks with many right answers keep one, in their metadata."""
END_ANSWER = "</answer>"
_WITHOUT_ANSWER = {Reason.UNBALANCED: END_ANSWER, Reason.EMPTY: f"<answer>{END_ANSWER}"}
_TAGS = re.compile(r"<answer>|</answer>")
_EVALUATES = re.compile(r"\beval\(|\bparse_expr\(")


def _package() -> str:
    try:
        return installed("reasoning-gym")
    except PackageNotFoundError:
        return "not-installed"


class GymVerifier(Verifier):
    """The scorer of the task that `problem.extra["gym"]` names; a source `gym:TASK` fills it."""

    name = "gym"
    version = f"3+reasoning-gym-{_package()}"

    def __init__(self) -> None:
        import reasoning_gym  # 3 seconds: before the clock of a verdict starts

        self._create = cache(lambda task, params: reasoning_gym.create_dataset(task, **ast.literal_eval(params)))
        self._audit = cache(self._complaint)

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
        gym = problem.extra["gym"]
        if self._guarded(gym) and not may_be_evaluated(problem.gold):
            return (f"the right answer {problem.gold[:60]!r} of {gym['task']!r} is no finished expression (an integral "
                    "that was not carried out, say), so an answer like it cannot be told from the question")
        return self._audit(gym["task"], repr(gym["params"]))

    @classmethod
    def decisive(cls, text: str) -> str:
        answer = answer_of(text)
        if isinstance(answer, Reason):
            return _WITHOUT_ANSWER.get(answer) or decisive_box(text)
        alone = f"<answer>{answer}</answer>"
        return alone if answer_of(alone) == answer else text

    def gold_completion(self, problem: Problem) -> str:
        return f"<answer>{problem.gold}</answer>"

    def _complaint(self, task: str, params: str) -> str | None:
        """One sentence if the task's scorer gives the full score to a text that is no answer, else None. Tried on
        problems that the task makes."""
        settings = ast.literal_eval(params)
        dataset = self._create(task, repr({**settings, "seed": 0, "size": AUDITED}))
        passed: Counter[str] = Counter()
        begun = time.monotonic()
        for index in range(AUDITED):
            if time.monotonic() - begun > AUDIT_SECONDS:
                break
            entry = dataset[index]
            gold = gold_of(entry)
            extra = {"gym": {"task": task, "params": settings, "entry": entry}}
            for text in (*NONSENSE, *CONSTANTS, *RUBBISH) if gold else ():
                answer = text if text in NONSENSE + CONSTANTS else text.replace("{}", gold)
                if not equal_numbers(answer, gold):
                    problem = Problem("", "", gold, self.name, extra)
                    passed[text] += self._reason(problem, answer) is Reason.TESTS_PASSED
        text, times = passed.most_common(1)[0] if passed else ("", 0)
        if times <= ALLOWED:
            return None
        what = text.replace("{}", "THE ANSWER")
        return f"the scorer of {task!r} gives the full score to {what!r} for {times} of {AUDITED} problems"

    def _guarded(self, gym: Mapping[str, Any]) -> bool:
        return _evaluates(type(self._create(gym["task"], repr(gym["params"]))))

    def _reason(self, problem: Problem, answer: str) -> Reason:
        gym = problem.extra["gym"]
        dataset = self._create(gym["task"], repr(gym["params"]))
        if self._guarded(gym) and not may_be_evaluated(answer):
            return Reason.BAD_CHARS
        if is_huge(answer):
            return Reason.HUGE
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
        if answer == problem.gold:
            return Reason.IDENTICAL
        told = believable(gym["task"], answer, problem.gold, gym["entry"])
        return Reason.TESTS_PASSED if told else Reason.WRONG_ANSWER


def gold_of(entry: Mapping[str, Any]) -> str:
    """One right answer to an entry of a task, as text; empty where the task gives none."""
    if entry["answer"] is not None:
        return _carried_out(str(entry["answer"]))
    found = [entry["metadata"][name] for name in ANSWERS if entry["metadata"].get(name) is not None]
    answer = found[0] if found else ""
    return answer if isinstance(answer, str) else json.dumps(answer)


def _carried_out(answer: str) -> str:
    """`Integral(x*cos(x), x) + C` as what it is: for `intermediate_integration`, `cos` in a product with a power is a
    function of that name and no cosine, so that it gives such integrals back as their own answer."""
    if "Integral(" not in answer:
        return answer
    from sympy.parsing.sympy_parser import parse_expr  # the package's own text, never a completion

    return str(parse_expr(answer).doit())


def answer_of(text: str) -> str | Reason:
    r"""The answer of a completion, stripped and never empty, or the Reason why there is none."""
    after = text.rpartition(END_THINK)[2]
    if THINK in after:
        return Reason.UNFINISHED_THINK
    tags = list(_TAGS.finditer(after))
    if not tags:
        return final_answer(text)
    if tags[-1][0] != END_ANSWER:
        return Reason.UNBALANCED  # it was cut off while it changed its answer
    for opened, closed in reversed(list(pairwise(tags))):
        if opened[0] != END_ANSWER and closed[0] == END_ANSWER:
            return after[opened.end() : closed.start()].strip() or Reason.EMPTY
    return Reason.UNBALANCED


@cache
def _evaluates(dataset: type[Any]) -> bool:
    """Whether the task's scorer runs `eval` or sympy's parser. A parser that the task brings along, as
    propositional_logic does, is safe."""
    own = getattr(inspect.getmodule(dataset), "parse_expr", None)
    harmless = own is not None and own.__module__ == dataset.__module__
    return not harmless and _EVALUATES.search(inspect.getsource(dataset.score_answer)) is not None
