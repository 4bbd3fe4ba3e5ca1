"""The statistics of occupancy maps and the likelihood ratio, against scipy and against truth."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from dqmroot.detectors import detector
from dqmroot.detectors.likelihood import log_mean, log_ratio, scan
from dqmroot.detectors.occupancy import Occupancy
from dqmroot.errors import UsageError


@pytest.fixture
def binomial() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.9, (12, 20))
    p[:, :2] = 1
    events = rng.integers(1300, 2000, 40)
    return rng.binomial(events[:, None, None], p), p, events


def test_binomial_counts_tell_the_number_of_events(binomial) -> None:
    counts, p, events = binomial
    learnt = Occupancy.learn(counts)
    np.testing.assert_allclose(learnt.shape * learnt.saturation, p.ravel(), rtol=0.05)
    np.testing.assert_allclose(learnt.rate(counts.reshape(40, -1))[:, 0] / learnt.saturation, events, rtol=1e-3)
    assert learnt.scatter == pytest.approx(1, abs=0.05)
    pulls, _ = learnt.pulls(counts.reshape(40, -1).astype(float))
    assert pulls[:, p.ravel() < 1].std() == pytest.approx(1, abs=0.05)


def test_poisson_counts_are_known_too() -> None:
    mean = np.random.default_rng(1).uniform(20, 400, (12, 20))
    learnt = Occupancy.learn(np.random.default_rng(2).poisson(mean, (50, 12, 20)))
    assert learnt.saturation == 0
    assert learnt.scatter == pytest.approx(1, abs=0.05)


def test_faults_do_not_move_the_rate(binomial) -> None:
    counts, _, events = binomial
    learnt = Occupancy.learn(counts)
    broken = counts.copy()
    broken[:, 4:8, 5:15] = 0
    np.testing.assert_allclose(learnt.rate(broken.reshape(40, -1))[:, 0] / learnt.saturation, events, rtol=2e-3)


def test_log_ratio_equals_scipy() -> None:
    counts, events, p = np.array([[[3.0, 12, 40]]]), 50, np.array([0.1, 0.3, 0.7])
    for factor in (0.5, 1.2):
        expected = scipy.stats.binom.logpmf(counts, events, factor * p) - scipy.stats.binom.logpmf(counts, events, p)
        found = log_ratio(counts, p * events * np.ones((1, 1, 3)), factor, np.full((1, 1, 1), float(events)))
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        poisson = scipy.stats.poisson.logpmf(counts, factor * p * events) - scipy.stats.poisson.logpmf(
            counts, p * events
        )
        np.testing.assert_allclose(log_ratio(counts, p * events * np.ones((1, 1, 3)), factor), poisson, rtol=1e-9)


def test_scan_is_the_mean_over_places() -> None:
    ratio = np.random.default_rng(0).normal(0, 2, (3, 5, 6))
    live = np.ones((5, 6), bool)
    by_hand = [
        np.log(np.mean([np.exp(ls[y : y + 2, x : x + 3].sum()) for y in range(4) for x in range(4)])) for ls in ratio
    ]
    np.testing.assert_allclose(scan(ratio, [(2, 3)], live), by_hand)
    both = log_mean(np.stack([scan(ratio, [shape], live) for shape in ((2, 3), (1, 1))], axis=1))
    np.testing.assert_allclose(scan(ratio, [(2, 3), (1, 1)], live), both)
    live[0] = False
    on_grid = [
        np.log(np.mean([np.exp(ls[y : y + 2, x : x + 3].sum()) for y in (2,) for x in (0, 3)] * 2)) for ls in ratio
    ]
    live[1] = False
    np.testing.assert_allclose(scan(ratio, [(2, 3)], live, (2, 3)), on_grid)


def test_likelihood_ratios_average_to_one_on_good_maps(sample) -> None:
    # The mean of P(x|fault)/P(x|good) over good x is 1 for any fault: a law that no wrong formula keeps.
    rng = np.random.default_rng(0)
    expected = np.full((20000, 4, 4), 3.0)
    ratio = scan(log_ratio(rng.poisson(expected).astype(float), expected, 1.3), [(1, 1), (2, 2)], np.ones((4, 4), bool))
    assert np.exp(ratio).mean() == pytest.approx(1, abs=0.02)


def test_scan_tells_hot_from_dead(sample, fault) -> None:
    made = detector("likelihood_scan").fit(sample(2, 100))
    clean = sample(2, 100, 30, seed=3)
    factors = np.array(made.parameters["factors"])
    for kind, group in (("dead", factors < 1), ("hot", factors > 1)):
        best = made.by_factor(fault(clean, kind, 3)).argmax(axis=1)
        assert group[best].mean() > 0.9


@pytest.mark.parametrize("parameters", [{"shapes": []}, {"shapes": [[1]]}, {"factors": [1.0]}, {"factors": [-1]}])
def test_impossible_parameters(parameters) -> None:
    with pytest.raises(UsageError, match="likelihood_scan"):
        detector("likelihood_scan", **parameters)
