"""Figures of a score, against scikit-learn and against sums made by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dqmroot.errors import EmptySelectionError, UsageError
from dqmroot.evaluate import auc, evaluate_scores, false_rate_at

few = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=40)


@given(few, few)
def test_auc_equals_sklearn_with_ties(good: list[float], bad: list[float]) -> None:
    expected = roc_auc_score([0] * len(good) + [1] * len(bad), good + bad)
    assert auc(good, bad) == pytest.approx(expected, abs=1e-12)


@given(few, few)
def test_auc_knows_only_the_order(good: list[float], bad: list[float]) -> None:
    assert auc(np.exp(good), np.exp(bad)) == auc(good, bad)
    assert auc(good, bad) + auc(bad, good) == pytest.approx(1)


def test_heavy_tails_do_not_lower_the_auc() -> None:
    # A grid of 100 thresholds between the extremes gives .833, .717 and .541 here.
    rng = np.random.default_rng(0)
    good, bad = rng.exponential(1, 2000), rng.exponential(5, 2000)
    areas = [auc(good**p, bad**p) for p in (1, 2, 4)]
    assert areas[0] == areas[1] == areas[2] == pytest.approx(5 / 6, abs=0.02)


@given(few, few, st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_false_rate_by_trying_every_cut(good: list[float], bad: list[float], detection: float) -> None:
    g, b = np.array(good), np.array(bad)
    tried = min((g >= cut).mean() for cut in b if (b >= cut).mean() >= detection)
    assert false_rate_at(good, bad, detection) == pytest.approx(tried)


def test_evaluation() -> None:
    score = np.array([1, 2, 3, 4, np.nan, 9, 2.5])
    good = np.array([1, 1, 0, 0, 1, -1, 1])
    result = evaluate_scores(score, good, [0, 1, 1, 1, -1, 1, 0])
    assert (result.n_good, result.n_bad, result.n_not_judged) == (3, 2, 1)
    assert (result.auc, result.false_rate_at_99) == (1.0, 0.0)
    assert result.mean_good == pytest.approx(5.5 / 3)
    assert (result.flagged_good, result.flagged_bad) == (pytest.approx(1 / 3), 1.0)


def test_json_has_null_for_what_is_unknown() -> None:
    data = json.loads(json.dumps(evaluate_scores([1, 2], [1, 0]).to_dict(), allow_nan=False))
    assert data["flagged_good"] is None


def test_a_missing_class_is_told() -> None:
    with pytest.raises(EmptySelectionError, match="2 good and 0 bad"):
        evaluate_scores([1, 2], [1, 1])
    with pytest.raises(EmptySelectionError, match="0 good"):
        false_rate_at([], [1])
    with pytest.raises(UsageError, match="labels"):
        evaluate_scores([1, 2], [1, 0, 1])
