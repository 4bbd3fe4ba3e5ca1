"""Several monitoring elements → one verdict."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dqmroot.combine import Combiner, combine_flags
from dqmroot.errors import EmptySelectionError, UsageError
from dqmroot.evaluate import auc, calibration

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


@pytest.fixture
def scores() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    good = (rng.random(3000) > 0.3).astype(int)
    table = rng.gamma(2, 1, (3, 3000)) * 1e-6
    table[0, good == 0] *= rng.uniform(1, 6, (good == 0).sum())
    table[1, good == 0] *= rng.uniform(1, 3, (good == 0).sum())
    return table, good


def test_trained_combiner_beats_each_me_and_is_calibrated(scores) -> None:
    table, good = scores
    made = Combiner.train(["a", "b", "noise"], table[:, :2000], good[:2000])
    probability = made.probability(table[:, 2000:])
    tested = good[2000:]
    area = auc(probability[tested == 1], probability[tested == 0])
    assert all(area > auc(row[2000:][tested == 1], row[2000:][tested == 0]) for row in table)
    assert made.weights[0] > made.weights[1] > made.weights[2] >= 0
    assert calibration(probability, tested).error < 0.06


def test_combiner_round_trip_and_missing_mes(scores) -> None:
    table, good = scores
    made = Combiner.from_dict(json.loads(json.dumps(Combiner.train(["a", "b", "c"], table, good).to_dict())))
    assert made == Combiner.train(["a", "b", "c"], table, good)
    table[1, :5] = np.nan
    table[:, 6] = np.nan
    probability = made.probability(table)
    assert np.isfinite(probability[:5]).all()
    assert np.isnan(probability[6])
    assert made.flag(table)[6] == -1
    assert set(made.flag(table)) == {-1, 0, 1}


def test_prevalence_moves_the_probability(scores) -> None:
    table, good = scores
    made = Combiner.train(["a", "b", "c"], table, good)
    rare = made.probability(table, share=0.01)
    assert (rare < made.probability(table)).all()
    np.testing.assert_allclose(made.probability(table, share=made.share), made.probability(table))
    with pytest.raises(UsageError, match="share"):
        made.probability(table, share=1)


def test_combiner_errors(scores) -> None:
    table, good = scores
    with pytest.raises(EmptySelectionError, match="0 bad"):
        Combiner.train(["a", "b", "c"], table, np.ones(3000))
    with pytest.raises(UsageError, match="2 monitoring elements"):
        Combiner.train(["a", "b"], table, good)
    with pytest.raises(UsageError, match="for a combiner of 3"):
        Combiner.train(["a", "b", "c"], table, good).probability(table[:2])
