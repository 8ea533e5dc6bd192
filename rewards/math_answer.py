r"""Final answers of mathematics problems: the last `\boxed{}` against a reference answer in LaTeX.

Built for pass@k at large k, where false positives count k times: a box is required (rlvr.rewards.boxed), two
answers are not one, and whatever is doubtful is wrong. In this order, each decides only what it can:

1. the same text after normalization (`identical`), or the same words where the gold answer is words;
2. exact numbers, lists and tuples of numbers (`exact_number`), numerals in a base;
3. forms that are refused (rlvr.rewards.math.guards) and equations that are false in themselves, such as 205 = 204;
4. computer algebra (`symbolic`, rlvr.rewards.math.symbolic).

Equality of value suffices: unreduced fractions, expanded products and surds in another form are right. Percent,
currency and degree signs and units may be there or not, but may not contradict each other (known_units). `x = 5` and
`x \in S` are read as 5 and S.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property, lru_cache
from importlib.metadata import version as installed

from rlvr.interfaces import Verifier
from rlvr.rewards.boxed import decisive_box, final_answer
from rlvr.rewards.math.clock import OutOfTime, within
from rlvr.rewards.math.compare import CONTROL, Comparison, normalized
from rlvr.rewards.math.equations import value_side, values_in
from rlvr.rewards.math.exact import CLOCK, RATIO
from rlvr.rewards.math.guards import MAX_CHARS, bomb, numeral
from rlvr.rewards.math.inequalities import read_region
from rlvr.rewards.math.latex import squeezed
from rlvr.rewards.math.letters import SET_OF_NUMBERS, in_own_letters
from rlvr.rewards.math.normalize import normalize
from rlvr.rewards.math.numbers import plus_and_minus, read_number, read_sequence, same_sequence
from rlvr.rewards.math.options import read_option
from rlvr.rewards.math.outcome import Outcome
from rlvr.rewards.math.units import without_counted_word, without_decoration, without_unit
from rlvr.rewards.math.words import CHOICE, as_text, words
from rlvr.types import Problem, Reason, Verdict

CPU_SECONDS = 1.5
"""For one answer; the slowest of the right answers in our case files takes a third of it."""
OUT_OF_TIME = f"the comparison with the gold answer took more than {CPU_SECONDS} s of CPU time"
_KEY_BITS = 10_000
"""Python writes no integer of more than 4,300 digits."""
_PARSERS = ("math-verify", "latex2sympy2_extended", "sympy")
_MISSING = frozenset(("nan", "none", "null", "n/a", "<na>"))
"""What programs write for a cell without a value."""
_HOLLOW = re.compile(r"(?!\\\{\\\}$)\W*|.*\\(?:frac|sqrt|text|mathrm)\s*(?:\{[^{}]*\}\s*)?\{\s*\}.*")
"""Without a letter or digit, the empty set aside, or with an empty group: `-`, `()`, `\\sqrt{}`."""
_POLES = re.compile(r"/|!|\^|\\(?:frac|ln|log|tan|cot|sec|csc|infty|[Gg]amma|zeta|binom|div)(?![A-Za-z])")
"""What a value that does not exist is written with; most gold answers have none of these and are not parsed for it."""
_ABOUT = re.compile(r"(?<![A-Za-z\\])(?:approximately|approx|roughly)(?![A-Za-z])", re.IGNORECASE)


class MathVerifier(Verifier):
    r"""Gold: the bare reference answer in LaTeX (`\frac{1}{2}`, `\text{Evelyn}`, `1,-2`), without `\boxed` or `$`.

    Tolerance: a decimal that stands for a value without a finite decimal (`0.3333333` for \frac13, `1.41421356237` for
    \sqrt2), or for a gold answer with a decimal point, may be off by a millionth, relative below 1 and absolute above.
    A unit that contradicts the gold answer's own is wrong; one that either of them leaves out is not missed.

    The first verdict imports sympy and math-verify and warms them up (about a second), unless `warm_up` did.
    """

    name = "math"
    version = "+".join(["10", *(f"{package}-{installed(package)}" for package in _PARSERS)])

    def __init__(self) -> None:
        self._without_value = lru_cache(maxsize=4096)(self._why_without_value)

    @cached_property
    def comparison(self) -> Comparison:
        from rlvr.rewards.math import symbolic  # sympy: not for those who only ask for the version

        symbolic.warm_up()
        return Comparison(symbolic)

    def warm_up(self) -> None:
        _ = self.comparison

    def verify(self, problem: Problem, text: str) -> Verdict:
        """`tier` names the path that decided: extract, text, exact, guard or symbolic."""
        self.warm_up()  # not on the clock of a comparison
        gold = normalized(problem.gold)
        if not gold or CONTROL.search(gold):
            return Verdict(None, Reason.GOLD_ERROR)
        if (why := self._without_value(gold)) is not None:
            return Verdict(None, Reason.GOLD_ERROR, detail=why)
        answer = final_answer(text)
        if isinstance(answer, Reason):
            return Verdict(False, answer, tier="extract")
        question = question_of(problem)
        counted = without_counted_word(answer, question)
        return bounded(answer, lambda: self.comparison.outcome(
            problem.gold, counted, MAX_CHARS + 2 * len(problem.gold), question))

    def check_gold(self, problem: Problem) -> str | None:
        """Complains of an empty gold answer, of one that is not a bare answer, and of one that the parser misreads."""
        self.warm_up()
        try:
            complaint = within(2 * CPU_SECONDS, lambda: self._complaint(problem))
        except OutOfTime:
            complaint = f"comparing it with itself takes more than {2 * CPU_SECONDS} s of CPU time"
        return complaint and f"the gold answer {problem.gold[:100]!r} cannot be judged by: {complaint}"

    @classmethod
    def decisive(cls, text: str) -> str:
        return decisive_box(text)

    @classmethod
    def answer_key(cls, answer: str) -> str:
        """Words in one case, numbers as reduced fractions without a unit, other text in one spelling."""
        text = normalize(answer)
        said = words(text)
        if said is not None:
            return said
        number = read_number(text)
        if number is None:
            return squeezed(text)
        if max(number.value.numerator.bit_length(), number.value.denominator.bit_length()) > _KEY_BITS:
            return squeezed(text)
        return f"{number.value}" + r"\%" * number.percent

    def gold_completion(self, problem: Problem) -> str:
        return rf"The final answer is $\boxed{{{problem.gold}}}$."

    def _why_without_value(self, gold: str) -> str | None:
        r"""What makes a normalized gold answer no answer at all: `\frac{1}{0}`, `nan`. It must not accept itself."""
        if gold.casefold() in _MISSING:
            return "it stands for a missing value; if it is meant, write it in \\text{}"
        if _HOLLOW.fullmatch(gold):
            return "nothing stands in it"
        if (read_number(gold) or words(gold) or CLOCK.fullmatch(gold) or RATIO.fullmatch(gold)  # 12:00 is no quotient
                or not _POLES.search(gold) or bomb("", gold)):
            return None
        try:
            undefined = within(CPU_SECONDS, lambda: any(map(self.comparison.symbolic.undefined, values_in(gold))))
        except (OutOfTime, RecursionError):
            return None  # `check_gold` complains of these
        return "it is read as an undefined value" if undefined else None

    def _complaint(self, problem: Problem) -> str | None:
        raw_gold, gold = problem.gold, normalized(problem.gold)
        if not gold:
            return "it is empty"
        if CONTROL.search(gold) or "\\boxed" in raw_gold:
            return "it has control characters or a box in it"
        if final_answer(rf"\boxed{{{raw_gold}}}") != raw_gold.strip():
            return "its braces do not match"
        if (why := self._without_value(gold)) is not None:
            return why
        option = read_option(gold)
        gold = option.value if option is not None and option.value else gold
        gold, _ = without_decoration(gold, "", "")
        if words(gold) or numeral(gold) or read_number(gold) or RATIO.fullmatch(gold) or CLOCK.fullmatch(gold):
            return None
        if _ABOUT.search(gold):
            return "it says itself that it is not exact; leave the word out"
        if bomb("", gold):
            return "it is too large to evaluate, so only an answer written the same way would count"
        sequence = read_sequence(gold)
        if sequence is not None and (same_sequence(sequence, sequence) == "same"
                                     or all(map(CHOICE.fullmatch, sequence.parts))):
            return None
        if as_text(gold, gold) is not None or SET_OF_NUMBERS.fullmatch(gold):
            return None
        region = read_region(gold, self.comparison.symbolic.constant)
        gold = region.union if region is not None else in_own_letters(gold)
        return self.comparison.symbolic.misreading(without_unit(plus_and_minus(value_side(gold))))


def bounded(answer: str, compare: Callable[[], Outcome]) -> Verdict:
    """The verdict of a comparison, and a wrong one where that takes too long: `huge`, which says so in its detail."""
    try:
        outcome = within(CPU_SECONDS, compare)
    except OutOfTime:
        return Verdict(False, Reason.HUGE, answer[:200], tier="symbolic", detail=OUT_OF_TIME)
    except RecursionError:
        return Verdict(False, Reason.TOO_DEEP, answer[:200], tier="symbolic", detail="nested too deeply to compare")
    return Verdict(outcome.correct, outcome.reason, answer[:200], tier=outcome.tier)


def question_of(problem: Problem) -> str:
    """The text of the prompt, or of what the user says in it."""
    return problem.prompt if isinstance(problem.prompt, str) else " ".join(
        part if isinstance(part, str) else str(part.get("text", ""))
        for message in problem.prompt if message["role"] == "user"
        for part in ([message["content"]] if isinstance(message["content"], str) else message["content"])
    )
