"""Reference tests, moments and baselines against sums made by hand and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from dqmroot.detectors import detector
from dqmroot.detectors.moments import moments
from dqmroot.detectors.shapes import largest, stretched
from dqmroot.errors import UsageError

REFERENCE = np.array([[16.0, 1, 17], [16, 1, 17]])
TEST = np.array([[4.0, 9, 20], [17, 1, 16]])


def test_max_pull_uses_the_root_of_the_expectation() -> None:
    total, reference = TEST.sum(axis=1, keepdims=True), REFERENCE.sum(axis=0)
    expected = total * reference / reference.sum()
    pull = np.abs(TEST - expected) / np.sqrt(np.maximum(expected, 1) * (1 + total / reference.sum()))
    np.testing.assert_allclose(detector("max_pull").fit(REFERENCE).score(TEST), pull.max(axis=1), rtol=1e-6)
    np.testing.assert_allclose(detector("max_pull", k=2).fit(REFERENCE).score(TEST), largest(pull, 2), rtol=1e-6)
    np.testing.assert_allclose(detector("chi2").fit(REFERENCE).score(TEST), (pull**2).sum(axis=1) / 3, rtol=1e-6)


def test_pulls_of_good_ls_have_unit_width() -> None:
    rng = np.random.default_rng(0)
    shape = rng.uniform(50, 500, (12, 20))
    made = detector("max_pull").fit(rng.poisson(shape, (3, 12, 20)))
    pulls = made._pull(rng.poisson(shape, (400, 12, 20)))
    assert pulls.std(axis=0).mean() == pytest.approx(
        1, abs=0.25
    )  # only 3 LS make the reference: its error is shared by all LS
    assert np.sqrt(np.square(pulls).mean()) == pytest.approx(1, abs=0.05)


def test_kolmogorov_equals_scipy() -> None:
    rng = np.random.default_rng(1)
    counts = rng.multinomial(500, np.full(30, 1 / 30)).astype(float)
    made = detector("kolmogorov", significance=True).fit(np.ones((1, 30)))
    values = np.repeat(np.arange(30) + 1.0, counts.astype(int))
    expected = scipy.stats.kstest(values, lambda x: np.floor(x) / 30).statistic
    # scipy takes the distance on both sides of each step; the histogram's is that at the bin edges.
    edges = np.abs(np.cumsum(counts) / 500 - np.arange(1, 31) / 30).max()
    assert made.score(counts[None])[0] == pytest.approx(edges * np.sqrt(500))
    assert edges <= expected


def test_beta_binomial_equals_scipy() -> None:
    reference, data, tolerance = np.array([50.0, 30, 120]), np.array([40.0, 35, 100]), 0.05
    made = detector("beta_binomial", tolerance=tolerance).fit(reference[None])
    n, total = int(data.sum()), reference.sum()
    pulls = []
    for k, r in zip(data, reference, strict=True):
        s = 1 / np.sqrt(1 + (r * tolerance**2) ** 2)
        law = scipy.stats.betabinom(n, s * r + 1, s * (total - r) + 1)
        pulls.append(np.sqrt(-2 * (law.logpmf(k) - law.logpmf(round(n * r / total)))))
    np.testing.assert_allclose(made.score_bins(data[None])[0], pulls, rtol=1e-6)


def test_tolerance_forgives_small_deviations_of_large_counts() -> None:
    reference = np.full((1, 10), 1e7)
    data = reference.copy()
    data[0, 3] *= 1.01
    strict, tolerant = (detector("beta_binomial", tolerance=t).fit(reference).score(data)[0] for t in (0.0, 0.05))
    assert strict > 5
    assert tolerant < 1


def test_moments_equal_scipy() -> None:
    counts = np.random.default_rng(0).poisson(20, (4, 12)).astype(float)
    out = moments(counts, 4)
    for row, ls in zip(out, counts, strict=True):
        values = np.repeat(np.arange(12) + 0.5, ls.astype(int))
        kurtosis = scipy.stats.kurtosis(values, fisher=False)
        np.testing.assert_allclose(row, [values.mean(), values.std(), scipy.stats.skew(values), kurtosis])
    assert moments(counts.reshape(4, 3, 4), 3).shape == (4, 6)


def test_zero_fraction_counts_live_bins_only() -> None:
    good = np.array([[0.0, 3, 4, 5]] * 4)
    np.testing.assert_allclose(detector("zero_fraction").fit(good).score([[0.0, 0, 4, 5], [9, 1, 1, 1]]), [1 / 3, 0])


def test_drifting_reference_follows_slow_changes_and_not_faults() -> None:
    rng = np.random.default_rng(0)
    shape = np.full(20, 1000.0)
    slow = [shape * (1 + np.linspace(-0.5, 0.5, 20) * t / 200) for t in range(200)]
    me = rng.poisson(slow).astype(float)
    drifting, fixed = (detector(name).fit(me[:20]).score(me) for name in ("drifting_reference", "max_pull"))
    assert drifting[-20:].max() < 6 < fixed[-20:].min()
    faulty = rng.poisson(np.tile(shape, (100, 1))).astype(float)
    faulty[30:, 4] = 0
    scores = detector("drifting_reference").fit(faulty[:20]).score(faulty)
    assert scores[30:].min() > 10 > scores[:30].max()


def test_counts_are_required() -> None:
    with pytest.raises(UsageError, match="leave out `normalise`"):
        detector("max_pull").fit(np.full((4, 10), 0.1))
    with pytest.raises(UsageError, match="negative"):
        detector("chi2").fit(np.array([[1.0, -1, 5]]))
    assert np.isnan(detector("chi2").fit(REFERENCE).score([[1, -1, 5]])).all()


def test_stretched_moves_and_keeps_the_sum() -> None:
    rows = np.zeros((2, 10))
    rows[:, 2] = 6
    out = stretched(rows, [1.0, 2.0])
    np.testing.assert_allclose(out[0], rows[0])
    np.testing.assert_allclose(out[1], [0, 0, 0, 0, 3, 3, 0, 0, 0, 0])
    np.testing.assert_allclose(stretched(np.ones(10), [0.5, 1.3]).sum(axis=1), 10)
