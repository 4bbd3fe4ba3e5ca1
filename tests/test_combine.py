"""Several monitoring elements → one verdict."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dqmroot.combine import combine_flags
from dqmroot.errors import UsageError

FLAGS = np.array([[0, 1, -1, 1, -1], [0, 0, -1, 1, 1], [0, 0, -1, -1, -1]])


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ("any", [0, 1, -1, 1, 1]),
        ("at_least_1", [0, 1, -1, 1, 1]),
        ("at_least_2", [0, 0, -1, 1, 0]),
        ("at_least_3", [0, 0, -1, 0, 0]),
        ("all", [0, 0, -1, 1, 1]),
    ],
)
def test_rules(rule: str, verdict: list[int]) -> None:
    out = combine_flags(FLAGS, rule)
    assert out.dtype == np.int8
    np.testing.assert_array_equal(out, verdict)


def test_one_me_is_its_own_verdict() -> None:
    for rule in ("any", "all", "at_least_1"):
        np.testing.assert_array_equal(combine_flags([0, 1, -1], rule), [0, 1, -1])


@pytest.mark.parametrize("rule", ["at_least_4", "at_least_0", "most", "at_least_", ""])
def test_impossible_rules(rule: str) -> None:
    with pytest.raises(UsageError, match="rule"):
        combine_flags(FLAGS, rule)


@given(arrays(np.int8, st.tuples(st.integers(1, 5), st.integers(1, 8)), elements=st.integers(-1, 1)))
def test_laws(flags: np.ndarray) -> None:
    verdicts = [combine_flags(flags, f"at_least_{n}") for n in range(1, len(flags) + 1)]
    np.testing.assert_array_equal(verdicts[0], combine_flags(flags, "any"))
    for looser, stricter in itertools.pairwise(verdicts):
        assert (stricter <= looser).all()
    np.testing.assert_array_equal(combine_flags(flags, "all") == -1, (flags == -1).all(axis=0))
    np.testing.assert_array_equal(combine_flags(flags[::-1], "all"), combine_flags(flags, "all"))
