"""Frames between judge and jail: what was packed comes back equal; anything else is refused, soon."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from rlvr.rewards.programs.wire import dump, load, pack, unpack
from tests.fuzz.driver import fuzz

hashable = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=9),
    st.binary(max_size=9),
    st.fractions(),
    st.decimals(allow_nan=False).map(Decimal),
)
values = st.recursive(
    hashable,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.sets(hashable, max_size=4),
        st.frozensets(hashable, max_size=4),
        st.dictionaries(hashable, inner, max_size=4),
    ),
    max_leaves=12,
)
tags = st.sampled_from(["i", "t", "s", "z", "d", "b", "c", "q", "F", "D", "o", "type", "x"])
json_trees = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=9),
        st.sampled_from(["sNaN", "1e999999999", "0x" + "f" * 5000, "inf"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(tags, inner, max_size=2)),
    max_leaves=12,
)


def test_values_come_back(seconds: float) -> None:
    def check(value: Any) -> None:
        back = unpack(load(dump(pack(value))[4:]))
        assert back == value and type(back) is type(value)

    fuzz(values, check, seconds / 2)


def test_what_is_no_value_is_refused(seconds: float) -> None:
    def check(body: Any) -> None:
        try:
            value = unpack(load(body if isinstance(body, bytes) else json.dumps(body).encode()))
        except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError):
            return  # what the judge takes for a candidate's fault
        assert _plain(value)

    fuzz(
        st.one_of(json_trees, st.binary(max_size=60), st.integers(1, 200_000).map(lambda n: b"[" * n)),
        check,
        seconds / 2,
    )


def _plain(value: Any) -> bool:
    """Whether comparing `value` runs none of a candidate's code."""
    plain = {type(None), bool, int, float, str, bytes, complex, list, tuple, set, frozenset, dict, Fraction, Decimal}
    return type(value) in plain or type(value).__module__ in ("collections", "rlvr.rewards.programs.wire")
