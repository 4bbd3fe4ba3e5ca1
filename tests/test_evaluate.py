"""Figures of a score, against scikit-learn and against sums made by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from dqmroot.errors import EmptySelectionError, UsageError
from dqmroot.evaluate import (
    auc,
    auc_interval,
    calibration,
    confusion,
    evaluate_kinds,
    evaluate_scores,
    false_discovery_rate,
    false_rate_at,
    ls_to_detect,
    overlap,
    rate_interval,
    roc,
)

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


@given(few, few)
def test_roc_equals_sklearn_and_encloses_the_auc(good: list[float], bad: list[float]) -> None:
    curve = roc(good, bad)
    rates, found, _ = roc_curve([0] * len(good) + [1] * len(bad), good + bad, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_rate, rates, atol=1e-12)
    np.testing.assert_allclose(curve.detection, found, atol=1e-12)
    assert np.trapezoid(curve.detection, curve.false_rate) == pytest.approx(auc(good, bad))


def test_false_discovery_rate_names_its_prevalence() -> None:
    assert false_discovery_rate(0.01, 0.99, 0.5) == pytest.approx(0.01)
    assert false_discovery_rate(0.01, 0.99, 0.01) == pytest.approx(0.5)
    assert false_discovery_rate(0, 0, 0.5) == 0
    with pytest.raises(UsageError, match="prevalence"):
        false_discovery_rate(0.1, 0.9, 0)


def test_rate_interval_equals_scipy() -> None:
    for count, n in [(0, 10), (3, 10), (10, 10), (1, 1000)]:
        expected = scipy.stats.binomtest(count, n).proportion_ci(0.95, "exact")
        assert rate_interval(count, n) == pytest.approx((expected.low, expected.high))
    with pytest.raises(UsageError, match="trial"):
        rate_interval(1, 0)


def test_auc_interval_covers() -> None:
    rng = np.random.default_rng(0)
    truth = scipy.stats.norm.cdf(1.5 / np.sqrt(2))
    inside = 0
    for _ in range(300):
        area = auc(rng.normal(size=60), rng.normal(1.5, 1, 40))
        low, high = auc_interval(area, 60, 40)
        inside += low <= truth <= high
    assert 0.9 <= inside / 300 <= 1
    assert auc_interval(1.0, 100, 50)[0] == pytest.approx(1 - rate_interval(0, 50)[1])


def test_confusion_equals_sklearn() -> None:
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    np.testing.assert_array_equal(confusion(truth, found, 3), confusion_matrix(truth, found))
    np.testing.assert_array_equal(confusion([0, -1, 1], [0, 1, -1]), [[1, 0], [0, 0]])
    with pytest.raises(UsageError, match="beyond"):
        confusion([2], [0])


def test_overlap() -> None:
    truth, found = np.zeros((3, 4, 4), bool), np.zeros((3, 4, 4), bool)
    truth[0, :2, :2] = found[0, :2, :3] = truth[1, 0, 0] = True
    np.testing.assert_allclose(overlap(truth, found), [4 / 6, 0, np.nan])


def test_ls_to_detect() -> None:
    run, lumi = np.array([1, 1, 1, 2, 2]), np.array([1, 2, 3, 5, 6])
    assert ls_to_detect([1, 0, 1, 0, 0], run, {1: 2, 2: 5}, lumi) == {1: 2.0, 2: float("inf")}


def test_calibration() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20000)
    good = (rng.random(20000) > p).astype(int)
    honest, boasting = calibration(p, good), calibration(np.where(p > 0.5, 0.99, 0.01), good, 2)
    assert honest.error < 0.02
    assert boasting.error == pytest.approx(0.24, abs=0.02)
    assert sum(honest.n) == 20000
    with pytest.raises(EmptySelectionError, match="labelled"):
        calibration([np.nan], [1])


def test_kinds_are_evaluated_apart() -> None:
    found = evaluate_kinds([1, 2, 3, 0, 9], ["good", "", "dead", "hot", "dead"])
    assert list(found) == ["dead", "hot"]
    assert (found["dead"].auc, found["hot"].auc) == (1.0, 0.0)
    assert found["dead"].n_bad == 2


def test_evaluation_states_prevalence_and_confusion() -> None:
    result = evaluate_scores([1, 2, 3, 4], [1, 1, 1, 0], [0, 0, 1, 1])
    assert (result.prevalence, result.accuracy) == (0.25, 0.75)
    assert result.confusion == ((2, 1), (0, 1))
    assert result.auc_low < 1 == result.auc_high
