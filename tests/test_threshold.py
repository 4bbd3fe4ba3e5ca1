"""Working points: where each method cuts, and what happens when there is nothing to cut."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dqmroot.errors import EmptySelectionError, UnknownNameError, UsageError
from dqmroot.threshold import NO_SPREAD, WorkingPoint, find_working_point, parse_working_point

SCORES = np.random.default_rng(0).normal(10, 2, 1000)


def test_mean_sigma() -> None:
    point = find_working_point("mean_sigma", 2, SCORES)
    assert point.threshold == pytest.approx(SCORES.mean() + 2 * SCORES.std())
    assert point.expected_false_rate == pytest.approx(np.mean(point.threshold < SCORES))
    assert (point.n, point.mean, point.std) == (1000, pytest.approx(SCORES.mean()), pytest.approx(SCORES.std()))


def test_quantile() -> None:
    assert find_working_point("quantile", 0.9, SCORES).threshold == pytest.approx(np.quantile(SCORES, 0.9))


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=200), st.floats(0.001, 0.9))
@example([0.0] + [1.0] * 9, 0.8999999999999999)  # 10 × the rate is rounded up to 9
@example([0.0] * 71 + [1.0] * 29, 0.29)  # 100 × the rate is rounded down to below 29
def test_false_rate_is_kept_and_no_smaller_cut_keeps_it(scores: list[float], rate: float) -> None:
    point = find_working_point("false_rate", rate, scores)
    values = np.array(scores)
    if point.usable:
        assert (values > point.threshold).mean() <= rate
        below = values[values < point.threshold]
        if len(below):
            assert (values > below.max()).mean() > rate
    else:
        assert np.ptp(values) <= 1e-6 * values.max()


def test_too_few_ls_for_the_rate_are_told() -> None:
    point = find_working_point("false_rate", 1e-3, SCORES[:100])
    assert point.threshold == SCORES[:100].max()
    assert "100 good LS cannot show a false rate of 0.001" in point.note
    assert point.expected_false_rate == pytest.approx(1 / 101)


def test_the_study_without_spread() -> None:
    # The slides: mean MSE 9.011344042610287e-06, std 1.6940658945086007e-21, which is the rounding of the sum.
    scores = np.full(20, 9.011344042610287e-06)
    assert scores.std() == pytest.approx(1.6940658945086007e-21)
    for method in ("mean_sigma", "quantile", "false_rate"):
        point = find_working_point(method, None, scores)
        assert not point.usable
        assert point.note == NO_SPREAD
        assert np.isnan(point.threshold)
        assert np.isnan(point.expected_false_rate)
        assert (point.flag([1.0, 9e-6]) == -1).all()


def test_small_but_true_spread_is_used() -> None:
    scores = 9e-6 * (1 + 1e-4 * np.random.default_rng(0).normal(size=100))
    assert find_working_point("mean_sigma", 3, scores).usable


def test_scores_that_are_not_judged_are_left_out() -> None:
    point = find_working_point("quantile", 0.5, [np.nan, 1.0, 2.0, 3.0, np.inf])
    assert (point.n, point.threshold) == (3, 2.0)
    with pytest.raises(EmptySelectionError, match="no good LS"):
        find_working_point("quantile", 0.5, [np.nan])


def test_flags() -> None:
    point = find_working_point("quantile", 0.5, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(point.flag([1.0, 2.0, 2.5, np.nan]), [0, 0, 1, -1])
    assert point.flag([1.0]).dtype == np.int8


@pytest.mark.parametrize("scores", [SCORES, np.full(5, 2.0)])
def test_json_round_trip(scores: np.ndarray) -> None:
    point = find_working_point("mean_sigma", 3, scores, source="run 1")
    back = WorkingPoint.from_dict(json.loads(json.dumps(point.to_dict(), allow_nan=False)))
    np.testing.assert_equal(vars(back), vars(point))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("false_rate=1e-3", ("false_rate", 1e-3)),
        (" mean_sigma = 3 ", ("mean_sigma", 3.0)),
        ("quantile", ("quantile", None)),
    ],
)
def test_parse(text: str, parsed: tuple[str, float | None]) -> None:
    assert parse_working_point(text) == parsed


@pytest.mark.parametrize(
    ("text", "error", "tells"),
    [
        ("false_rat=1", UnknownNameError, "false_rate"),
        ("false_rate=x", UsageError, "'x' is not a number"),
        ("1e-3", UsageError, "method=number"),
        ("quantile=1=2", UsageError, "method=number"),
    ],
)
def test_parse_errors(text: str, error: type[Exception], tells: str) -> None:
    with pytest.raises(error, match=tells):
        parse_working_point(text)


@pytest.mark.parametrize(
    ("method", "value"),
    [("mean_sigma", -1), ("median_mad", -1), ("quantile", 1.0), ("false_rate", 0), ("false_rate", float("nan"))],
)
def test_impossible_values(method: str, value: float) -> None:
    with pytest.raises(UsageError, match=method):
        find_working_point(method, value, SCORES)
    with pytest.raises(UnknownNameError, match="mean_sigma"):
        find_working_point("mean_sigm", 3, SCORES)


def test_robust_cuts_ignore_a_few_bad_ls() -> None:
    polluted = np.concatenate([SCORES, np.full(5, 1e4)])
    for method in ("median_mad", "trimmed_sigma"):
        clean, dirty = (find_working_point(method, 3, scores).threshold for scores in (SCORES, polluted))
        assert dirty == pytest.approx(clean, rel=0.03)
        assert clean == pytest.approx(find_working_point("mean_sigma", 3, SCORES).threshold, rel=0.06)
    assert find_working_point("mean_sigma", 3, polluted).threshold > 1000


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_detection_rate_is_reached_and_no_larger_cut_reaches_it(bad: list[float], rate: float) -> None:
    point = find_working_point("detection_rate", rate, SCORES, bad=bad)
    values = np.array(bad)
    assert (values > point.threshold).mean() >= rate
    assert (values > np.nextafter(point.threshold, np.inf)).mean() < rate


def test_f1_weighs_by_prevalence() -> None:
    rng = np.random.default_rng(0)
    bad = rng.normal(16, 2, 500)
    cuts = {}
    for prevalence in (0.5, 0.01):
        cuts[prevalence] = find_working_point("f1", prevalence, SCORES, bad=bad).threshold

        def f1(cut: float, share: float = prevalence) -> float:
            found, false = share * np.mean(bad > cut), (1 - share) * np.mean(cut < SCORES)
            return 2 * found / (found + false + share)

        assert f1(cuts[prevalence]) == pytest.approx(max(map(f1, np.linspace(5, 22, 500))), abs=0.01)
    assert cuts[0.01] > cuts[0.5]


def test_good_scores_without_spread_can_still_be_told_from_bad_ones() -> None:
    point = find_working_point("detection_rate", 0.5, np.zeros(10), bad=[0.2, 0.4])
    np.testing.assert_array_equal(point.flag([0.0, 0.3, 0.4]), [0, 0, 1])


def test_methods_that_need_bad_ls_say_so() -> None:
    with pytest.raises(UsageError, match="needs bad LS"):
        find_working_point("f1", None, SCORES)
    with pytest.raises(EmptySelectionError, match="no bad LS"):
        find_working_point("detection_rate", None, SCORES, bad=[np.nan])
