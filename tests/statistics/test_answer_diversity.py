"""Answer diversity by hand and by exact expectation."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import pytest

from rlvr.statistics.answer_diversity import answer_diversity, expected_distinct
from rlvr.types import UserError


def test_diversity_by_hand():
    """7 x4, 8 x1, 9 x1, two unreadable of 8: agreement 12/30; entropy .867563 (plug-in) + 2/12."""
    found = answer_diversity({"7": 4, "8": 1, "9": 1}, 8)
    assert (found.answered, found.distinct, found.agreement) == (6, 3, 0.4)
    plug_in = -(4 / 6 * math.log(4 / 6) + 2 / 6 * math.log(1 / 6))
    assert plug_in == pytest.approx(0.867563, abs=1e-6)
    assert found.entropy == pytest.approx(plug_in + 1 / 6, rel=1e-12)


def test_agreement_is_unbiased_and_entropy_nearly():
    """All 3^5 answer sequences for p = .6, .3, .1: E agreement = .46 exactly; the correction halves the bias
    of the plug-in entropy even at five answers."""
    p = {"a": 0.6, "b": 0.3, "c": 0.1}
    truth = -sum(x * math.log(x) for x in p.values())
    agreement = entropy = plug_in = distinct = 0.0
    for answers in product(p, repeat=5):
        chance = math.prod(p[x] for x in answers)
        found = answer_diversity(Counter(answers), 5)
        agreement += chance * found.agreement
        entropy += chance * found.entropy
        plug_in += chance * (found.entropy - (found.distinct - 1) / 10)
        distinct += chance * expected_distinct(Counter(answers), 3)
    assert agreement == pytest.approx(0.36 + 0.09 + 0.01, abs=1e-12)
    assert abs(entropy - truth) < abs(plug_in - truth) / 2
    assert distinct == pytest.approx(sum(1 - (1 - x) ** 3 for x in p.values()), abs=1e-12)


def test_too_few_answers_are_nan():
    none, one = answer_diversity({}, 12), answer_diversity({"7": 1}, 12)
    assert (none.answered, none.distinct) == (0, 0)
    assert math.isnan(none.entropy)
    assert math.isnan(none.agreement)
    assert math.isnan(one.agreement)
    assert one.entropy == 0.0


def test_expected_distinct_by_hand():
    """2 + 1 answers, two drawn: pairs aa, ab, ab: (1 + 2 + 2) / 3."""
    assert expected_distinct({"a": 2, "b": 1}, 2) == pytest.approx(5 / 3, rel=1e-12)
    assert expected_distinct({"a": 2, "b": 1}, 3) == 2.0


def test_answers_of_later_rounds_are_refused():
    with pytest.raises(UserError, match="13 answers from a first round of 12"):
        answer_diversity({"7": 13}, 12)
    with pytest.raises(UserError, match="at least 1 per answer"):
        answer_diversity({"7": 0}, 12)
    with pytest.raises(UserError, match=r"in 1\.\.3"):
        expected_distinct({"a": 3}, 4)
